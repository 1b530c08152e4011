//! The chart's dashboards of Grafana as files: their queries by place, their variables, and a query as Grafana sends it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;

/// The dashboards, by the names of their files.
pub(crate) const BOARDS: [&str; 2] = ["fleet", "set"];
/// What Grafana puts into a query by itself, and what it is where scrapes are a second apart.
const BUILT_IN: [(&str, &str); 2] = [("__rate_interval", "10s"), ("__range", "1m")];

/// The file of a dashboard, from the root of the repository.
pub(crate) fn file(board: &str) -> String {
    format!("charts/redis-memory-operator/files/dashboards/{board}.json")
}

/// A dashboard, read.
pub(crate) fn dashboard(board: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file(board));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{board}: {error}"))
}

/// The items of a list in it; none where there is no list.
pub(crate) fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A text that must be there.
pub(crate) fn word<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("{path} of {value}"))
}

/// Every query of a dashboard, by its place: panel and legend, or the name of the annotation.
pub(crate) fn queries(board: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for panel in list(board, "/panels") {
        for target in list(panel, "/targets") {
            let name = target["legendFormat"].as_str().unwrap_or_else(|| word(target, "/refId"));
            found.insert(format!("{} / {name}", word(panel, "/title")), word(target, "/expr").to_owned());
        }
    }
    for annotation in list(board, "/annotations/list") {
        found.insert(format!("annotation {}", word(annotation, "/name")), word(annotation, "/expr").to_owned());
    }
    found
}

/// The variables of a dashboard that are asked of Prometheus: name, selector and label.
pub(crate) fn variables(board: &Value) -> Vec<(String, String, String)> {
    let asked = list(board, "/templating/list").iter().filter(|it| it["type"] == "query");
    asked
        .map(|variable| {
            let query = word(variable, "/query");
            let inside = query.strip_prefix("label_values(").and_then(|it| it.strip_suffix(')'));
            let (selector, label) =
                inside.and_then(|it| it.rsplit_once(", ")).unwrap_or_else(|| panic!("{query}: not label_values"));
            (word(variable, "/name").to_owned(), selector.to_owned(), label.to_owned())
        })
        .collect()
}

/// The words behind `$` in a query that a person chooses: what Grafana puts in by itself is none of them.
pub(crate) fn asked_variables(expr: &str) -> BTreeSet<&str> {
    let words = expr.split('$').skip(1);
    let words = words.map(|it| it.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default());
    words.filter(|word| BUILT_IN.iter().all(|(name, _)| name != word)).collect()
}

/// The query with what Grafana puts in by itself.
pub(crate) fn plain(expr: &str) -> String {
    filled(expr, &BUILT_IN)
}

/// The query as Grafana sends it, when a person has chosen that; panics when a variable is left.
pub(crate) fn chosen(expr: &str, choice: &[(&str, &str)]) -> String {
    let sent = filled(&plain(expr), choice);
    assert!(!sent.contains('$'), "{sent}: not every variable is chosen");
    sent
}

fn filled(expr: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(expr.to_owned(), |expr, (name, value)| expr.replace(&format!("${name}"), value))
}

/// A number; an infinite or undefined one is none, for Grafana draws nothing of it.
pub(crate) fn number(value: &Value) -> Option<f64> {
    value.as_str()?.parse().ok().filter(|number: &f64| number.is_finite())
}
