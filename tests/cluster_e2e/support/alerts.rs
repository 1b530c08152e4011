//! The chart's alerts and dashboards, by a real Prometheus that scrapes the operator inside the embedded cluster's network.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{boards::number, client, eventually, operator, prometheus::Prometheus, require};

/// An alert fires when its condition holds for a second: in production it waits for minutes.
const SOON: &str = "1s";

/// A Prometheus with the chart's rules.
#[derive(Debug)]
pub(crate) struct Alerts {
    prometheus: Prometheus,
    since: Instant,
}

impl Alerts {
    /// Watches the operator that is installed. `None` on an existing cluster, whose pods have no address here.
    #[allow(clippy::disallowed_methods, reason = "tests wait in real time")]
    pub(crate) fn watch() -> Option<Self> {
        if client::setting("USE_EXISTING_CLUSTER") == "1" {
            println!("the alerts are not looked at: an existing cluster's network cannot be entered");
            return None;
        }
        let address = operator::pod()["status"]["podIP"].as_str().map(|ip| format!("{ip}:8080"));
        let within = client::path("tests/cluster/in-netns");
        let address = address.expect("the operator's pod has an address");
        Some(Self { prometheus: Prometheus::start(Some(&within), &address, &rules()), since: Instant::now() })
    }

    /// Waits until the alert fires for that policy.
    pub(crate) fn await_firing(&self, alert: &str, namespace: &str, policy: &str) {
        eventually(&format!("{alert} fires for {policy}"), 30, || {
            let firing = self.prometheus.query(&firing(alert, namespace, policy))?;
            require(!firing.is_empty(), || "it does not fire".to_owned())
        });
    }

    /// The pods of the policy for which the alert has fired at any time.
    pub(crate) fn fired(&self, alert: &str, namespace: &str, policy: &str) -> Vec<String> {
        let ever = format!("max by (pod) (max_over_time({}[1h]))", firing(alert, namespace, policy));
        let series = self.prometheus.query(&ever).unwrap();
        let mut pods: Vec<String> =
            series.iter().map(|it| it["metric"]["pod"].as_str().unwrap_or_default().to_owned()).collect();
        pods.sort();
        pods
    }

    /// Waits until the alert has resolved, while what it is about is still exported and says otherwise: `metric` with that
    /// comparison finds something.
    pub(crate) fn await_resolved(&self, alert: &str, namespace: &str, policy: &str, (metric, holds): (&str, &str)) {
        eventually(&format!("{alert} has resolved for {policy}"), 30, || {
            let firing = self.prometheus.query(&firing(alert, namespace, policy))?;
            require(firing.is_empty(), || format!("{firing:?}"))?;
            self.finds(&format!("{} {holds}", of(metric, namespace, policy)))
        });
    }

    /// Waits until Prometheus has scraped a series of that policy.
    pub(crate) fn await_shown(&self, metric: &str, namespace: &str, policy: &str) {
        eventually(&format!("{metric} of {policy}"), 30, || self.finds(&of(metric, namespace, policy)));
    }

    fn finds(&self, expr: &str) -> Result<(), String> {
        let found = self.prometheus.query(expr)?;
        require(!found.is_empty(), || format!("{expr} finds nothing"))
    }

    /// Which of these queries have found a number at any time since this watches; panics with what is wrong with one.
    pub(crate) fn found<K: Ord + Clone>(&self, queries: &BTreeMap<K, String>) -> BTreeMap<K, bool> {
        let exprs: Vec<String> = queries.values().cloned().collect();
        let past = self.since.elapsed() + Duration::from_secs(1);
        let series = self.prometheus.over_time(&exprs, past).unwrap_or_else(|error| panic!("{error}"));
        let values = |series: &Value| series["values"].as_array().cloned().unwrap_or_default();
        let has_number = |found: &Vec<Value>| found.iter().flat_map(values).any(|it| number(&it[1]).is_some());
        queries.keys().cloned().zip(series.iter().map(has_number)).collect()
    }

    /// The values that a label has among the series of a selector.
    pub(crate) fn label_values(&self, label: &str, selector: &str) -> Vec<String> {
        self.prometheus.label_values(label, selector).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// The series of a policy.
fn of(metric: &str, namespace: &str, policy: &str) -> String {
    format!("{metric}{{namespace=\"{namespace}\", policy=\"{policy}\"}}")
}

/// The alert as Prometheus writes it down while it fires.
fn firing(alert: &str, namespace: &str, policy: &str) -> String {
    format!("ALERTS{{alertstate=\"firing\", alertname=\"{alert}\", namespace=\"{namespace}\", policy=\"{policy}\"}}")
}

/// The chart's rules, each with a short `for`.
fn rules() -> String {
    let file = client::path("charts/redis-memory-operator/files/alerts.yaml");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let lines = text.lines().map(|line| match line.split_once("for: ") {
        Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: {SOON}\n"),
        _ => format!("{line}\n"),
    });
    lines.collect()
}
