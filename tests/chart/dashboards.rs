//! Dashboards of Grafana: two files, of which the chart makes ConfigMaps. Each panel says what it shows, in which unit, and
//! what no data means; each query names metrics and labels that exist, and every metric is looked at somewhere.
//! `dashboards_data` asks a real Prometheus each query.

use std::{collections::BTreeSet, process::Command};

use pretty_assertions::assert_eq;
use redis_memory_operator::metrics;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    NAME,
    alerts::{alerts, read},
    boards::{BOARDS, asked_variables, dashboard, file, list, plain, queries, variables, word},
    helm::{of_kind, render, root, text},
    promql,
    tool::program,
};

/// Grafana 10.4's; a newer one makes its own of it when it reads it.
const SCHEMA_VERSION: u64 = 39;
/// Units of Grafana: it shows a word that it does not know behind the number, and says nothing.
const UNITS: &[&str] =
    &["bytes", "s", "dtdurations", "dateTimeFromNow", "short", "none", "percentunit", "ops", "reqps"];
/// Metrics that no dashboard and no alert looks at, and why.
const UNUSED: &[(&str, &str)] = &[];

fn is_row(panel: &Value) -> bool {
    panel["type"] == "row"
}

fn cells(panel: &Value) -> Option<[u64; 4]> {
    let number = |name: &str| panel["gridPos"][name].as_u64();
    Some([number("x")?, number("y")?, number("w")?, number("h")?])
}

fn overlap(one: [u64; 4], other: [u64; 4]) -> bool {
    let apart = |at: usize| one[at] + one[at + 2] <= other[at] || other[at] + other[at + 2] <= one[at];
    !apart(0) && !apart(1)
}

/// A fixed data source exists in one Grafana only.
fn fixed_sources(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                if name == "datasource" && *inner != json!({"type": "prometheus", "uid": "${datasource}"}) {
                    found.push(format!("{inner} is not the variable's data source"));
                }
                fixed_sources(inner, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fixed_sources(item, found)),
        _ => {}
    }
}

fn is_silent(value: &Value) -> bool {
    value.as_str().is_none_or(|text| text.trim().is_empty())
}

fn panel_problems(panel: &Value) -> Vec<String> {
    let title = panel["title"].as_str().unwrap_or_default();
    let mut problems: Vec<String> = Vec::new();
    let wanted = ["/title", "/description", "/fieldConfig/defaults/noValue", "/datasource/uid"];
    for path in wanted.iter().filter(|path| !is_row(panel) || **path == "/title") {
        if is_silent(panel.pointer(path).unwrap_or(&Value::Null)) {
            problems.push(format!("panel {title:?}: no {path}"));
        }
    }
    if is_row(panel) {
        return problems;
    }
    let overrides = list(panel, "/fieldConfig/overrides").iter().flat_map(|it| list(it, "/properties"));
    let units = overrides.filter(|property| property["id"] == "unit").map(|property| &property["value"]);
    for unit in units.chain([&panel["fieldConfig"]["defaults"]["unit"]]) {
        if !unit.as_str().is_some_and(|unit| UNITS.contains(&unit)) {
            problems.push(format!("panel {title:?}: {unit} is no unit that is known here"));
        }
    }
    let ids: BTreeSet<String> = list(panel, "/targets").iter().map(|it| it["refId"].to_string()).collect();
    if ids.is_empty() || ids.len() != list(panel, "/targets").len() {
        problems.push(format!("panel {title:?}: {ids:?} are the names of its queries"));
    }
    problems
}

/// What is wrong with the form of a dashboard.
fn problems(board: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let uid = board["uid"].as_str().unwrap_or_default();
    if !(8..=40).contains(&uid.len()) || !uid.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
        problems.push(format!("{uid:?} is no uid"));
    }
    if board["schemaVersion"] != SCHEMA_VERSION {
        problems.push(format!("schemaVersion {}", board["schemaVersion"]));
    }
    for name in ["/title", "/description"] {
        if is_silent(board.pointer(name).unwrap_or(&Value::Null)) {
            problems.push(format!("no {name}"));
        }
    }
    if !list(board, "/tags").contains(&json!("redis-memory")) || !board["id"].is_null() {
        problems.push("its tag leads from one to the other, and its id belongs to one Grafana".to_owned());
    }
    let panels = list(board, "/panels");
    problems.extend(panels.iter().flat_map(panel_problems));
    let ids: BTreeSet<String> = panels.iter().map(|panel| panel["id"].to_string()).collect();
    if ids.len() != panels.len() {
        problems.push("panels share an id".to_owned());
    }
    for (at, panel) in panels.iter().enumerate() {
        let Some(place) = cells(panel).filter(|[x, _, w, h]| x + w <= 24 && *w > 0 && *h > 0) else {
            problems.push(format!("panel {}: not on the grid of 24 columns", panel["title"]));
            continue;
        };
        let others = panels.iter().take(at).filter(|other| cells(other).is_some_and(|other| overlap(place, other)));
        problems.extend(others.map(|other| format!("panels {} and {} overlap", panel["title"], other["title"])));
    }
    fixed_sources(board, &mut problems);
    let names: BTreeSet<&str> = list(board, "/templating/list").iter().filter_map(|it| it["name"].as_str()).collect();
    for (place, expr) in queries(board) {
        let unknown = asked_variables(&expr);
        let mut unknown = unknown.iter().filter(|it| !names.contains(**it));
        problems.extend(unknown.next().map(|it| format!("{place}: no variable {it}")));
    }
    problems
}

#[test]
fn every_dashboard_is_whole() {
    let boards = BOARDS.map(dashboard);
    for board in &boards {
        assert_eq!(problems(board), Vec::<String>::new(), "{}", board["title"]);
        let shown = list(board, "/panels").iter().map(|panel| list(panel, "/targets").len()).sum::<usize>();
        assert_eq!(queries(board).len(), shown + list(board, "/annotations/list").len(), "each query has its place");
    }
    let uids: BTreeSet<&str> = boards.iter().map(|board| word(board, "/uid")).collect();
    assert_eq!(uids.len(), BOARDS.len(), "{uids:?}");
    let links: BTreeSet<String> =
        BOARDS.iter().flat_map(|it| read(&file(it)).split("/d/").skip(1).map(uid).collect::<Vec<_>>()).collect();
    assert!(!links.is_empty() && links.iter().all(|link| uids.contains(link.as_str())), "{links:?} lead nowhere");
}

fn uid(link: &str) -> String {
    link.split(['?', '"']).next().unwrap().to_owned()
}

#[rstest]
#[case::uid("/uid", json!("X"), "no uid")]
#[case::version("/schemaVersion", json!(12), "schemaVersion 12")]
#[case::silent("/panels/1/description", json!(" "), "no /description")]
#[case::no_data("/panels/1/fieldConfig/defaults/noValue", json!(null), "no /fieldConfig/defaults/noValue")]
#[case::unit("/panels/1/fieldConfig/defaults/unit", json!("byte"), "\"byte\" is no unit")]
#[case::one_place("/panels/2/gridPos", json!({"x": 0, "y": 1, "w": 5, "h": 5}), "overlap")]
#[case::off_the_grid("/panels/2/gridPos/w", json!(30), "not on the grid")]
#[case::id("/panels/2/id", json!(2), "share an id")]
#[case::queries("/panels/2/targets/1/refId", json!("A"), "names of its queries")]
#[case::fixed_source("/panels/2/datasource/uid", json!("PBFA97CFB590B2093"), "not the variable's")]
#[case::fixed_source_of_a_variable("/templating/list/1/datasource", json!(null), "not the variable's")]
#[case::no_variable("/panels/1/targets/0/expr", json!("x{pod=\"$node\"}"), "no variable node")]
fn what_is_wrong_with_a_dashboard_is_seen(#[case] path: &str, #[case] value: Value, #[case] said: &str) {
    let mut board = dashboard("fleet");
    *board.pointer_mut(path).unwrap() = value;
    let found = problems(&board);
    assert!(found.iter().any(|problem| problem.contains(said)), "{found:?}");
}

#[test]
fn queries_name_metrics_and_labels_that_exist() {
    for board in BOARDS {
        let board = dashboard(board);
        for (place, expr) in queries(&board) {
            assert_eq!(promql::problems(&plain(&expr)), Vec::<String>::new(), "{} / {place}", board["title"]);
        }
        for (name, selector, label) in variables(&board) {
            assert_eq!(promql::problems(&selector), Vec::<String>::new(), "{} / ${name}", board["title"]);
            assert_eq!(promql::problems(&format!("sum by ({label}) ({selector})")), Vec::<String>::new(), "${name}");
        }
    }
}

/// Both ways: what is exported is looked at, and what is said to be looked at nowhere is not.
#[test]
fn every_metric_is_in_a_dashboard_or_an_alert() {
    let mut exprs: Vec<String> = alerts().iter().map(|alert| word(alert, "/expr").to_owned()).collect();
    exprs.extend(BOARDS.iter().flat_map(|board| queries(&dashboard(board)).into_values()));
    let names: BTreeSet<String> = exprs.iter().flat_map(|expr| promql::named_metrics(expr)).collect();
    let used: BTreeSet<&str> = names.iter().filter_map(|name| promql::metric(name)).map(|metric| metric.name).collect();
    let unused: BTreeSet<&str> = UNUSED.iter().map(|(name, _)| *name).collect();
    let rest: BTreeSet<&str> =
        metrics::TABLE.iter().map(|metric| metric.name).filter(|it| !used.contains(it)).collect();
    assert_eq!(rest, unused, "show it, or say in UNUSED why nobody looks at it");
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn the_chart_makes_a_config_map_of_each() {
    assert_eq!(of_kind(&render(&[]), "ConfigMap").len(), 0, "off by default");
    let objects = render(&["dashboards.enabled=true"]);
    let maps = of_kind(&objects, "ConfigMap");
    assert_eq!(maps.len(), BOARDS.len());
    for (map, board) in maps.iter().zip(BOARDS) {
        assert_eq!(map["metadata"]["name"], format!("{NAME}-dashboard-{board}"));
        assert_eq!(map["metadata"]["namespace"], "ops");
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
        assert_eq!(map["metadata"]["labels"]["app.kubernetes.io/instance"], "r");
        assert!(map["metadata"]["annotations"].is_null());
        assert_eq!(map["data"], json!({ format!("{board}.json"): read(&file(board)) }), "to the letter");
    }
    let own = [
        "dashboards.enabled=true,dashboards.label=example/board,dashboards.labelValue=yes,dashboards.namespace=watch",
        "dashboards.folder=Redis",
        r#"json:dashboards.annotations={"a":"b"}"#,
    ];
    for map in of_kind(&render(&own), "ConfigMap") {
        assert_eq!(map["metadata"]["namespace"], "watch");
        assert_eq!(map["metadata"]["labels"]["example/board"], "yes");
        assert!(map["metadata"]["labels"]["grafana_dashboard"].is_null());
        assert_eq!(map["metadata"]["annotations"], json!({"a": "b", "grafana_folder": "Redis"}));
    }
}

/// Values of an older release, kept by `--reuse-values`, have no label for them.
#[rstest]
#[case::of_an_older_release("dashboards.label=null,dashboards.labelValue=null", "1")]
#[case::any_value("dashboards.labelValue=", "")]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn they_have_a_label_to_be_found_by(#[case] setting: &str, #[case] wanted: &str) {
    let objects = render(&["dashboards.enabled=true", setting]);
    let labels = of_kind(&objects, "ConfigMap").into_iter().map(|map| &map["metadata"]["labels"]["grafana_dashboard"]);
    assert_eq!(labels.collect::<Vec<_>>(), [wanted; BOARDS.len()]);
}

/// By the types of Grafana's own SDK, strictly: no field that it does not know, none that is missing, none of another type.
#[test]
#[ignore = "needs the tool dashboards (make test builds it, or set DASHBOARDS)"]
fn grafanas_own_types_read_them() {
    let check =
        |files: &[String]| Command::new(program("dashboards")).current_dir(root()).args(files).output().unwrap();
    let good = check(&BOARDS.map(file));
    assert!(good.status.success(), "{}", text(&good.stderr));

    for (path, value, said) in [
        ("/panels/1/options/colourMode", json!("value"), "colourMode"),
        ("/panels/1/options/graphMode", json!(1), "graphMode"),
        ("/panels/1/targets/0/query", json!("x"), "query"),
        ("/panels/3/fieldConfig/defaults/custom/lineWidht", json!(1), "lineWidht"),
        ("/panels/1/type", json!("singlestat"), "singlestat"),
        ("/templating/list/1/sortBy", json!(1), "sortBy"),
    ] {
        let mut board = dashboard("fleet");
        let (parent, name) = path.rsplit_once('/').unwrap();
        board.pointer_mut(parent).unwrap()[name] = value;
        let bad = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(bad.path(), board.to_string()).unwrap();
        let found = check(&[bad.path().display().to_string()]);
        assert!(!found.status.success() && text(&found.stderr).contains(said), "{path}: {}", text(&found.stderr));
    }
}
