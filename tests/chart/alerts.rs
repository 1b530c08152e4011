//! Alerts: one file of rules, of which the chart makes its PrometheusRule and config/ has a copy. Each alert names metrics,
//! labels and words that exist, has its page, and is seen to fire and not to (promtool, of Debian's `prometheus`).

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use pretty_assertions::assert_eq;
use redis_memory_operator::domain::{blocked::BlockReason, finding::FindingCode};
use serde_json::{Value, json};

use crate::{
    boards::word,
    helm::{of_kind, refusal, render, root, text},
    promql,
};

const RULES: &str = "charts/redis-memory-operator/files/alerts.yaml";
const CASES: &str = "tests/chart/alerts.test.yaml";

pub(crate) fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn groups() -> Value {
    serde_yaml::from_str::<Value>(&read(RULES)).unwrap()["groups"].take()
}

pub(crate) fn alerts() -> Vec<Value> {
    let all: Vec<Value> =
        groups().as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect();
    assert!(all.len() >= 15, "the rules were not found");
    all
}

#[test]
fn rules_name_metrics_labels_and_words_that_exist() {
    for alert in alerts() {
        let (name, expr) = (word(&alert, "/alert"), word(&alert, "/expr"));
        assert_eq!(promql::problems(expr), Vec::<String>::new(), "{name}");
        for (label, value) in promql::matched(expr) {
            let known = match label.as_str() {
                "code" => FindingCode::named(&value).is_some(),
                "reason" => BlockReason::named(&value).is_some(),
                "severity" => ["Info", "Warning", "Critical"].contains(&value.as_str()),
                "level" => read("crds/redismemorypolicies.yaml").contains(&format!("- {value}\n")),
                "outcome" => {
                    serde_json::from_value::<redis_memory_operator::domain::journal::Outcome>(json!(value)).is_ok()
                }
                other => panic!("{name}: {other} is checked by nobody"),
            };
            assert!(known, "{name}: {label} is never {value}");
        }
    }
}

/// A label that the expression does not keep is an empty word in a message at night.
#[test]
fn messages_name_only_labels_that_the_alert_has() {
    for alert in alerts() {
        let (name, expr) = (word(&alert, "/alert"), word(&alert, "/expr"));
        assert!(["info", "warning", "critical"].contains(&word(&alert, "/labels/severity")), "{name}");
        let kept = expr.split(" by (").nth(1).and_then(|rest| rest.split(')').next()).unwrap();
        let kept: BTreeSet<&str> = kept.split(',').map(str::trim).collect();
        let description = word(&alert, "/annotations/description");
        assert!(!word(&alert, "/annotations/summary").is_empty(), "{name}");
        let said: BTreeSet<&str> = description
            .split("$labels.")
            .skip(1)
            .map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap())
            .collect();
        assert_eq!(said, kept, "{name}: says the labels that it has, and no other");
        assert_eq!(description.matches("{{").count(), description.matches("}}").count(), "{name}");
    }
}

/// Every alert has its page, with all parts, and no page is left over.
#[test]
fn every_alert_has_its_runbook() {
    let list = read("docs/runbooks/README.md");
    let mut names = BTreeSet::from(["README.md".to_owned()]);
    for alert in alerts() {
        let (name, severity) = (word(&alert, "/alert"), word(&alert, "/labels/severity"));
        assert_eq!(
            word(&alert, "/annotations/runbook_url"),
            format!("https://redismemory.io/source/docs/runbooks/{name}.md")
        );
        let page = read(&format!("docs/runbooks/{name}.md"));
        assert!(page.starts_with(&format!("# {name}\n\nSeverity: **{severity}**.\n")), "{name}: {page}");
        let parts: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(parts, ["What it means", "First look", "What the operator does", "What you do"], "{name}");
        assert!(page.contains("\n```sh not-run\nkubectl "), "{name}: the first look is a command");
        assert!(list.contains(&format!("| [{name}]({name}.md) | {severity} |\n")), "{name} is not in the list");
        assert!(names.insert(format!("{name}.md")), "{name} is there twice");
    }
    let files = fs::read_dir(root().join("docs/runbooks")).unwrap();
    assert_eq!(files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect::<BTreeSet<_>>(), names);
}

#[test]
fn the_rules_of_config_are_those_of_the_chart() {
    assert!(read("config/alerts.yaml") == read(RULES), "run `make generate`");
}

/// Each alert is seen firing and seen silent.
#[test]
fn every_alert_has_both_cases() {
    let cases: Value = serde_yaml::from_str(&read(CASES)).unwrap();
    let mut seen: BTreeSet<(String, bool)> = BTreeSet::new();
    for case in cases["tests"].as_array().unwrap() {
        let name = word(case, "/name").split(':').next().unwrap();
        for asked in case["promql_expr_test"].as_array().unwrap() {
            assert!(word(asked, "/expr").contains(&format!("alertname=\"{name}\"")), "{case}");
            seen.insert((name.to_owned(), !asked["exp_samples"].as_array().unwrap().is_empty()));
        }
    }
    let both = |alert: &Value| [false, true].map(|fires| (word(alert, "/alert").to_owned(), fires));
    assert_eq!(seen, alerts().iter().flat_map(both).collect());
}

/// `$PROMTOOL`, else the one on the PATH.
#[allow(clippy::disallowed_methods, reason = "a test's own setting")]
fn promtool(arguments: &[&str]) {
    let program = std::env::var("PROMTOOL").map_or_else(|_| PathBuf::from("promtool"), PathBuf::from);
    let output = Command::new(&program).current_dir(root()).args(arguments).output().unwrap_or_else(|error| {
        panic!("{}: {error}; it is in Debian's package prometheus, or set PROMTOOL", program.display())
    });
    assert!(output.status.success(), "promtool {arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
#[ignore = "needs promtool (make test installs it, or set PROMTOOL)"]
fn rules_are_ones_that_prometheus_reads() {
    promtool(&["check", "rules", RULES]);
}

#[test]
#[ignore = "needs promtool (make test installs it, or set PROMTOOL)"]
fn each_alert_fires_and_does_not() {
    promtool(&["test", "rules", CASES]);
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn the_chart_makes_the_same_rules() {
    assert_eq!(of_kind(&render(&[]), "PrometheusRule").len(), 0, "off by default");
    let on = "metrics.prometheusRule.enabled=true";
    let objects = render(&[on, r#"json:metrics.prometheusRule.labels={"release":"p"}"#]);
    let rule = of_kind(&objects, "PrometheusRule")[0];
    assert_eq!(rule["spec"]["groups"], groups());
    assert_eq!(rule["metadata"]["labels"]["release"], "p");
    let fewer = render(&[on, "metrics.prometheusRule.disabled={RedisMemoryNoLeader,RedisMemoryForkSlow}"]);
    let groups = &of_kind(&fewer, "PrometheusRule")[0]["spec"]["groups"];
    assert_eq!(groups.as_array().unwrap().len(), 3, "a group without rules is left out");
    let left: Vec<&Value> =
        groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert_eq!(left.len(), alerts().len() - 2);
    let message = refusal(&[on, "metrics.prometheusRule.disabled={RedisMemoryForkslow}"]);
    assert!(message.contains("no alert is called RedisMemoryForkslow"), "{message}");
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn runbooks_may_be_elsewhere() {
    let objects =
        render(&["metrics.prometheusRule.enabled=true,metrics.prometheusRule.runbookUrl=https://wiki.example/redis/"]);
    let rule = of_kind(&objects, "PrometheusRule")[0];
    let first = word(rule, "/spec/groups/0/rules/0/annotations/runbook_url");
    assert_eq!(first, "https://wiki.example/redis/RedisMemoryHigh.md");
    assert!(!rule.to_string().contains("redismemory.io/source"));
}
