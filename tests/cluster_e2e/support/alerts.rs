//! The chart's alerts, evaluated by a real Prometheus that scrapes the operator inside the embedded cluster's network.

use super::{client, eventually, operator, prometheus::Prometheus, require};

/// An alert fires when its condition holds for a second: in production it waits for minutes.
const SOON: &str = "1s";

/// A Prometheus with the chart's rules.
#[derive(Debug)]
pub(crate) struct Alerts(Prometheus);

impl Alerts {
    /// Watches the operator that is installed. `None` on an existing cluster, whose pods have no address here.
    pub(crate) fn watch() -> Option<Self> {
        if client::setting("USE_EXISTING_CLUSTER") == "1" {
            println!("the alerts are not looked at: an existing cluster's network cannot be entered");
            return None;
        }
        let address = operator::pod()["status"]["podIP"].as_str().map(|ip| format!("{ip}:8080"));
        let within = client::path("tests/cluster/in-netns");
        Some(Self(Prometheus::start(Some(&within), &address.expect("the operator's pod has an address"), &rules())))
    }

    /// Waits until the alert fires for that policy.
    pub(crate) fn await_firing(&self, alert: &str, namespace: &str, policy: &str) {
        eventually(&format!("{alert} fires for {policy}"), 30, || {
            let firing = self.0.query(&firing(alert, namespace, policy))?;
            require(!firing.is_empty(), || "it does not fire".to_owned())
        });
    }

    /// The pods of the policy for which the alert has fired at any time.
    pub(crate) fn fired(&self, alert: &str, namespace: &str, policy: &str) -> Vec<String> {
        let ever = format!("max by (pod) (max_over_time({}[1h]))", firing(alert, namespace, policy));
        let series = self.0.query(&ever).unwrap();
        let mut pods: Vec<String> =
            series.iter().map(|it| it["metric"]["pod"].as_str().unwrap_or_default().to_owned()).collect();
        pods.sort();
        pods
    }

    /// Waits until the alert has resolved, while what it is about is still exported and says otherwise: `metric` with that
    /// comparison finds something.
    pub(crate) fn await_resolved(&self, alert: &str, namespace: &str, policy: &str, (metric, holds): (&str, &str)) {
        eventually(&format!("{alert} has resolved for {policy}"), 30, || {
            let firing = self.0.query(&firing(alert, namespace, policy))?;
            require(firing.is_empty(), || format!("{firing:?}"))?;
            let otherwise = format!("{metric}{{namespace=\"{namespace}\", policy=\"{policy}\"}} {holds}");
            let found = self.0.query(&otherwise)?;
            require(!found.is_empty(), || format!("{otherwise} finds nothing"))
        });
    }
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
