//! The documentation says what the code says: every code has its section, every link leads somewhere, and the
//! reference of the resource is the schema.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of a test are test code")]

#[path = "docs/book.rs"]
mod book;
#[path = "docs/commands.rs"]
mod commands;
#[path = "docs/comparison.rs"]
mod comparison;
#[path = "docs/fences.rs"]
mod fences;
#[path = "docs/getting_started.rs"]
mod getting_started;
#[path = "docs/policies.rs"]
mod policies;
#[path = "docs/typed.rs"]
mod typed;
#[path = "docs/values.rs"]
mod values;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use pretty_assertions::assert_eq;
use redis_memory_operator::{
    domain::{blocked::BlockReason, finding::FindingCode},
    metrics,
};
use rstest::rstest;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The `### Name` sections of a page, each with its text.
fn sections(page: &str) -> Vec<(&str, &str)> {
    page.split("\n### ").skip(1).map(|section| section.split_once('\n').unwrap_or((section, ""))).collect()
}

#[test]
fn every_finding_has_its_section_with_severity_and_remedy() {
    let page = read("docs/findings.md");
    let sections = sections(&page);
    let expected: Vec<_> = FindingCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(expected, sections.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "codes, in the catalogue's order");
    for (code, (_, text)) in FindingCode::ALL.iter().zip(&sections) {
        let severity = format!("**{}**", code.severity());
        assert!(text.contains(&severity), "{code}: the page does not say {severity}");
        for part in ["Evidence:", "Remedy:"] {
            assert!(text.contains(part), "{code}: no {part}");
        }
    }
}

#[test]
fn every_reason_of_a_refusal_has_its_section() {
    let page = read("docs/blocked-reasons.md");
    let expected: BTreeSet<_> = BlockReason::ALL.iter().map(|reason| reason.as_str()).collect();
    let found: BTreeSet<_> = sections(&page).iter().map(|(name, _)| *name).collect();
    assert_eq!(expected, found);
    for (name, text) in sections(&page) {
        assert!(text.contains("What to do:"), "{name}: the page does not say what to do");
    }
}

/// `scripts/deployments` writes the rows; a deployment that was never run has one that says so.
#[test]
fn every_deployment_has_its_row() {
    let page = read("docs/deployments.md");
    let files = fs::read_dir(root().join("tests/deployments")).unwrap().map(|entry| entry.unwrap().file_name());
    let names = files.filter_map(|file| file.to_str()?.strip_suffix(".yaml").map(str::to_owned));
    // A volume and the client are parts of all of them.
    let names: BTreeSet<String> = names.filter(|name| !["volume", "writer"].contains(&name.as_str())).collect();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let rows: BTreeSet<String> = rows.map(|(name, _)| name.to_owned()).collect();
    assert!(rows.len() >= 8, "the table was not found");
    assert_eq!(names, rows, "run scripts/deployments");
}

/// SECURITY.md names tests: each of them exists.
#[test]
fn the_tests_that_are_named_as_proof_exist() {
    let page = read("SECURITY.md");
    let table = page.split("\n## ").find(|part| part.starts_with("Attacks")).unwrap();
    let words = table.split('`').skip(1).step_by(2).filter(|word| word.contains('_') && !word.contains(['/', '.']));
    let named: BTreeSet<&str> = words.filter(|word| *word != "master_host").collect();
    assert!(named.len() >= 15, "{named:?}");
    let sources = ["src/observe/snapshot/tests.rs", "src/cli/acl.rs"].map(read);
    let tests =
        ["redis_attacks", "redis_hostile", "redis_canary", "redis_tls"].map(|name| read(format!("tests/{name}.rs")));
    let all = sources.into_iter().chain(tests).collect::<String>();
    let missing: Vec<_> = named.into_iter().filter(|name| !all.contains(&format!("fn {name}("))).collect();
    assert_eq!(Vec::<&str>::new(), missing);
}

/// Files and folders that a page names in code form: those of the tree that begin with one of its folders.
fn named_files(page: &str) -> Vec<&str> {
    let code = page.split('`').skip(1).step_by(2);
    let inside = |text: &&str| {
        ["src/", "tests/", "docs/", "crds/", "charts/", "config/", "scripts/", "benches/", "image/"]
            .iter()
            .any(|it| text.starts_with(it))
    };
    code.filter(inside).filter(|text| !text.contains([' ', '*', '{', '<'])).collect()
}

#[test]
fn the_architecture_names_files_that_exist() {
    let page = read("ARCHITECTURE.md");
    let named = named_files(&page);
    assert!(named.len() > 40, "the table of what to open names files");
    let missing: Vec<_> = named.into_iter().filter(|file| !root().join(file).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(named_files("open `src/lib.rs` and `a b`"), ["src/lib.rs"]);
}

/// The files below src/plan, but for those of tests, as the table of its rooms names them.
fn files_of_plan(below: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(root().join("src/plan").join(below)).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{below}{}", entry.file_name().to_str().unwrap());
        if name.ends_with("tests") || name.ends_with("tests.rs") {
            continue;
        }
        if entry.path().is_dir() {
            found.extend(files_of_plan(&format!("{name}/")));
        } else {
            found.insert(name);
        }
    }
    found
}

#[test]
fn the_architecture_has_every_file_of_plan_once() {
    let page = read("ARCHITECTURE.md");
    let table = page.split("\n## ").find(|part| part.starts_with("The rooms of `plan`")).unwrap();
    let first_cells = table.lines().filter_map(|line| line.strip_prefix("| ")?.split('|').next());
    let named: Vec<&str> = first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let once: BTreeSet<String> = named.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(once.len(), named.len(), "a file is named twice");
    let files = files_of_plan("");
    let gone: Vec<_> = once.iter().filter(|name| !name.ends_with('/') && !files.contains(*name)).collect();
    let has = |file: &String| once.iter().any(|name| name == file || (name.ends_with('/') && file.starts_with(name)));
    let missing: Vec<_> = files.iter().filter(|file| !has(file)).collect();
    assert_eq!((gone, missing), (Vec::<&String>::new(), Vec::<&String>::new()), "gone, missing");
}

fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !["target", ".git"].contains(&name) {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The blocks of all pages that people read to use the operator or to work on it; a change log tells what was.
fn all_blocks() -> Vec<fences::Block> {
    let pages = pages().into_iter().filter(|path| !path.ends_with("CHANGELOG.md"));
    pages
        .flat_map(|path| fences::blocks(path.strip_prefix(root()).unwrap(), &fs::read_to_string(&path).unwrap()))
        .collect()
}

/// The targets of `[text](target)`, without those that lead out of the repository.
fn links(page: &str) -> Vec<&str> {
    let starts = page.match_indices("](").map(|(at, _)| at + 2);
    let targets = starts.filter_map(|at| page[at..].split_once(')').map(|(target, _)| target));
    targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).collect()
}

/// What a heading is called in a link: lower case, words joined by `-`.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let headings = page.lines().filter(|line| {
        fenced ^= line.starts_with("```");
        !fenced && line.starts_with('#')
    });
    headings
        .map(|line| {
            let text = line.trim_start_matches('#').trim().to_lowercase();
            let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

fn broken_links(page_path: &Path, page: &str) -> Vec<String> {
    let leads_nowhere = |target: &&str| {
        let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
        let path = if file.is_empty() { page_path.to_owned() } else { page_path.parent().unwrap().join(file) };
        !path.exists() || (!anchor.is_empty() && !anchors(&fs::read_to_string(&path).unwrap()).contains(anchor))
    };
    links(page).into_iter().filter(leads_nowhere).map(|target| format!("{}: {target}", page_path.display())).collect()
}

#[test]
fn links_between_pages_lead_somewhere() {
    let pages = pages();
    assert!(pages.len() > 5, "the pages were not found");
    let broken: Vec<_> = pages.iter().flat_map(|path| broken_links(path, &fs::read_to_string(path).unwrap())).collect();
    assert_eq!(Vec::<String>::new(), broken);
}

#[rstest]
#[case::file("[x](nowhere.md)")]
#[case::anchor("# Here\n[x](#there)")]
fn a_broken_link_is_seen(#[case] page: &str) {
    assert_eq!(1, broken_links(&root().join("README.md"), page).len());
}

#[test]
fn pages_name_only_targets_that_the_makefile_has() {
    let makefile = read("Makefile");
    let is_target = |name: &str| makefile.lines().any(|line| line.starts_with(&format!("{name}:")));
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        for (at, _) in page.match_indices("`make ") {
            let words = page[at + 1..].split('`').next().unwrap();
            for name in words.split_whitespace().skip(1).filter(|word| !word.contains('=') && !word.starts_with('-')) {
                assert!(is_target(name), "{}: `{words}`: no target {name}", path.display());
            }
        }
    }
}

/// docs/reference.md from the definition, which tests/crd.rs compares with the types.
fn reference(definition: &Value) -> String {
    let version = &definition["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let mut page = String::from(
        "<!-- Generated from crds/redismemorypolicies.yaml by `make generate`. Do not edit. -->\n\
         # RedisMemoryPolicy reference\n\n",
    );
    let group = definition["spec"]["group"].as_str().unwrap();
    let _ = writeln!(page, "`{group}/{}`, namespaced, short name `rmp`.", version["name"].as_str().unwrap());
    for (part, title) in [("spec", "Spec"), ("status", "Status")] {
        let _ = write!(page, "\n## {title}\n\n| field | type | default | meaning |\n|---|---|---|---|\n");
        rows(part, &schema["properties"][part], &mut page);
    }
    page.push_str("\n## What the API server refuses\n\nBesides wrong types, and numbers and texts out of the bounds above:\n\n| field | message |\n|---|---|\n");
    rules("", schema, &mut page);
    page
}

fn rows(path: &str, schema: &Value, page: &mut String) {
    let required: BTreeSet<_> =
        schema["required"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap()).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let default = match &field["default"] {
            Value::Null if required.contains(name.as_str()) => "required".to_owned(),
            // The defaults of a group are those of its fields.
            Value::Null | Value::Object(_) => String::new(),
            value => format!("`{value}`"),
        };
        let meaning = cell(field["description"].as_str().unwrap_or_default());
        let _ = writeln!(page, "| `{}` | {} | {default} | {meaning} |", shown(&path), kind(field));
        rows(&path, field, page);
        if field["items"]["properties"].is_object() {
            rows(&format!("{path}[]"), &field["items"], page);
        }
    }
}

/// `spec.` says nothing on a page about the spec.
fn shown(path: &str) -> &str {
    path.split_once('.').map_or(path, |(_, rest)| rest)
}

fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn kind(field: &Value) -> String {
    if let Some(values) = field["enum"].as_array() {
        let values: Vec<_> = values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        return values.join(" ");
    }
    if field["x-kubernetes-int-or-string"] == true {
        return "number or text".to_owned();
    }
    let (min, max) = (&field["minimum"], &field["maximum"]);
    match field["type"].as_str().unwrap_or_default() {
        "array" => format!("list of {}", kind(&field["items"])),
        "string" => "text".to_owned(),
        "integer" if min.is_number() && max.is_number() => format!("{min} to {max}"),
        "integer" if min.is_number() => format!("number from {min}"),
        "integer" => "number".to_owned(),
        other => other.to_owned(),
    }
}

fn rules(path: &str, schema: &Value, page: &mut String) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = rule["message"].as_str().map_or_else(|| format!("`{}`", rule["messageExpression"]), cell);
        let field = format!("{path}{}", rule["fieldPath"].as_str().unwrap_or_default());
        let _ = writeln!(page, "| `{}` | {message} |", field.trim_start_matches('.'));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        rules(&format!("{path}.{name}"), field, page);
    }
    if schema["items"].is_object() {
        rules(&format!("{path}[]"), &schema["items"], page);
    }
}

/// Where `make generate` wants what is generated; `None`: it is compared with what is there.
#[allow(clippy::disallowed_methods, reason = "a test's own setting")]
fn generate_into() -> Option<PathBuf> {
    std::env::var("RMO_GENERATE_INTO").map(PathBuf::from).ok()
}

/// What stands above the table of docs/metrics.md, and what no table can say.
const METRICS_HEAD: &str = "\
<!-- Generated from src/metrics/table.rs by `make generate`. Do not edit. -->
# Metrics

`/metrics` of the operator's port (chart: `metrics.service`, `metrics.serviceMonitor`, `metrics.podMonitor`), as OpenMetrics
text. A scrape shows what was measured and judged last: it causes no probe and no request.
[Alerts](runbooks/README.md) and [dashboards](dashboards.md) are made of these.

- Series with the label `pod` are of that Redis pod, and join with redis_exporter's on `namespace` and `pod`. What is not known
  has no series: a server that does not answer, or that is not measured yet, has no memory.
- Series of policies and pods are exported by the process that leads; a standby has only those without the label `namespace`.
  Where Prometheus adds the operator's own `pod` and `instance`, a query over a change of leader counts by the labels below.
- Scrape with `honor_labels: true` (the chart's monitors do): `namespace` and `pod` are the Redis pod's. Without it Prometheus
  calls them `exported_namespace` and `exported_pod`, and the alerts find nothing.
- What a policy can cost is bounded: its pods times the metrics with the label `pod`, and besides closed lists (findings,
  refusals, steps, outcomes) and at most 100 workloads.
- How good the estimate of a hand-over was: `redis_memory_policy_write_gap_seconds{kind=\"measured\"}` against
  `kind=\"estimated\"`. Every pause of writes is in `redis_memory_policy_failover_write_pause_seconds`, attempts without an
  exchange included.
- Outcomes of `redis_memory_policy_switchovers_total`: `HandedOver`; `FoundHandedOver` (by an attempt before, whose process
  died); `RoleStayed` (the old primary is primary); `NotSettled` (the next attempt looks).
- Counters whose labels are closed lists are there from the start, with 0, so that `increase()` sees the first of each kind.
- `level` is a state set: of the four series of a policy one is 1. Codes: [findings](findings.md); reasons:
  [refusals](blocked-reasons.md).

| name | type | labels | unit | meaning |
|---|---|---|---|---|
";

/// docs/metrics.md from the table that the program registers by.
fn metrics_page() -> String {
    let mut page = METRICS_HEAD.to_owned();
    for metric in metrics::TABLE {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, unit) = (metric.name, metric.kind.as_str(), metric.unit);
        let _ = writeln!(page, "| `{name}` | {kind} | {} | {unit} | {} |", labels.join(" "), cell(metric.meaning));
    }
    page
}

/// With RMO_GENERATE_INTO (`make generate`) it writes the page there instead of comparing.
#[test]
fn the_page_of_metrics_is_current() {
    let page = metrics_page();
    match generate_into() {
        Some(into) => fs::write(into.join("docs/metrics.md"), page).unwrap(),
        None => assert_eq!(read("docs/metrics.md"), page, "run `make generate` and commit the result"),
    }
}

/// With RMO_GENERATE_INTO (`make generate`) it writes the page there instead of comparing.
#[test]
fn reference_is_current() {
    let into = generate_into();
    let directory = into.clone().unwrap_or_else(|| root().to_owned());
    let from = directory.join("crds/redismemorypolicies.yaml");
    let definition: Value = serde_yaml::from_str(&fs::read_to_string(&from).unwrap()).unwrap();
    let page = reference(&definition);
    match into {
        Some(_) => fs::write(directory.join("docs/reference.md"), page).unwrap(),
        None => assert_eq!(read("docs/reference.md"), page, "run `make generate` and commit the result"),
    }
}
