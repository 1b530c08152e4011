//! What an expression of PromQL names, as far as alerts and dashboards use the language.

use std::collections::BTreeSet;

use pretty_assertions::assert_eq;
use redis_memory_operator::metrics::{self, Kind, Metric};
use rstest::rstest;

/// Words with an underscore that are no names of ours.
const OF_PROMQL: &[&str] = &["group_left", "predict_linear", "histogram_quantile", "clamp_min", "__name__"];
/// Labels that Prometheus puts on every series.
const OF_PROMETHEUS: &[&str] = &["job", "instance"];

/// The words of an expression outside of quotes.
fn words(expr: &str) -> BTreeSet<&str> {
    let outside = expr.split('"').step_by(2);
    outside
        .flat_map(|part| part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .filter(|it| !it.is_empty())
        .collect()
}

/// The metrics that an expression names: what has an underscore and is no function, and what it asks for as a name. None
/// is missed: theirs have two.
pub(crate) fn named_metrics(expr: &str) -> BTreeSet<String> {
    let is_label = |word: &str| metrics::TABLE.iter().any(|metric| metric.labels.contains(&word));
    let named = words(expr).into_iter().filter(|it| it.contains('_') && !OF_PROMQL.contains(it) && !is_label(it));
    let asked = matched(expr).into_iter().filter(|(label, _)| label == "__name__").map(|(_, value)| value);
    named.map(str::to_owned).chain(asked).collect()
}

/// What is in braces: (label, value) of `label="value"`, `label=~"a|b"` and the like, each value by itself.
pub(crate) fn matched(expr: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let parts: Vec<&str> = expr.split('"').collect();
    for pair in parts.chunks_exact(2) {
        let label = pair[0]
            .trim_end_matches(['=', '~', '!'])
            .rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .next()
            .unwrap();
        found.extend(pair[1].split('|').map(|value| (label.to_owned(), value.to_owned())));
    }
    found
}

/// The metric of the table that a query names; a histogram is asked for by its parts.
pub(crate) fn metric(name: &str) -> Option<&'static Metric> {
    metrics::TABLE.iter().find(|metric| match metric.kind {
        Kind::Histogram => {
            let part = name.strip_prefix(metric.name);
            part.is_some_and(|part| ["_bucket", "_sum", "_count"].contains(&part))
        }
        Kind::Counter | Kind::Gauge => metric.name == name,
    })
}

/// What is wrong with the names in an expression: metrics and labels that do not exist.
pub(crate) fn problems(expr: &str) -> Vec<String> {
    let named = named_metrics(expr);
    let mut problems: Vec<String> =
        named.iter().filter(|name| metric(name).is_none()).map(|name| format!("{name} is no metric")).collect();
    if named.is_empty() {
        problems.push(format!("no metric in {expr}"));
    }
    let known: Vec<&Metric> = named.iter().filter_map(|name| metric(name)).collect();
    let mut labels: BTreeSet<&str> = known.iter().flat_map(|metric| metric.labels).copied().collect();
    labels.extend(OF_PROMETHEUS.iter().chain(&["__name__"]));
    if known.iter().any(|metric| metric.kind == Kind::Histogram) {
        labels.insert("le");
    }
    let starts = expr.match_indices(" by (").chain(expr.match_indices(" on (")).map(|(at, found)| at + found.len());
    let grouped = starts.flat_map(|at| expr[at..].split(')').next().unwrap().split(',').map(str::trim));
    let grouped = grouped.map(str::to_owned);
    let asked = matched(expr).into_iter().map(|(label, _)| label);
    problems.extend(
        grouped.chain(asked).filter(|label| !labels.contains(label.as_str())).map(|it| format!("no label {it}")),
    );
    problems
}

#[rstest]
#[case("max by (pod) (no_such_metric) > 1", &["no_such_metric"], &[])]
#[case("predict_linear(a_b{x=\"c_d\",y!~\"e|f\"}[1h], 3) and on (namespace) a_c", &["a_b", "a_c"], &[("x", "c_d"), ("y", "e"), ("y", "f")])]
#[case("{__name__=~\"a_b|a_c\"}", &["a_b", "a_c"], &[("__name__", "a_b"), ("__name__", "a_c")])]
fn what_an_expression_names_is_seen(#[case] expr: &str, #[case] found: &[&str], #[case] values: &[(&str, &str)]) {
    assert_eq!(named_metrics(expr), found.iter().map(|it| (*it).to_owned()).collect());
    assert_eq!(matched(expr), values.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>());
}

#[rstest]
#[case::right("sum by (code, job) (rest_client_requests_total{method=\"GET\"})", &[])]
#[case::a_part("sum by (le) (redis_memory_policy_probe_duration_seconds_bucket)", &[])]
#[case::no_metric("sum(redis_memory_policy_nothing)", &["redis_memory_policy_nothing is no metric"])]
#[case::no_part("redis_memory_policy_probe_duration_seconds", &["redis_memory_policy_probe_duration_seconds is no metric"])]
#[case::nothing("time()", &["no metric in time()"])]
#[case::no_label("sum by (pod) (redis_memory_policy_plan_due{container=\"x\"})", &["no label pod", "no label container"])]
#[case::of_no_histogram("sum by (le) (redis_memory_policy_plan_due)", &["no label le"])]
fn what_is_wrong_with_an_expression_is_seen(#[case] expr: &str, #[case] said: &[&str]) {
    assert_eq!(problems(expr), said);
}
