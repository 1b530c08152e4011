//! Prometheus metrics (OpenMetrics text). What a scrape shows is the newest that was measured: it never causes a probe.
//!
//! `redis_memory_policy_*` joins with redis_exporter on namespace and pod. Controller health has the names of Go's
//! controller-runtime, so that its dashboards work unchanged.

mod process;
mod targets;

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

pub use targets::{Measured, PolicyKey, Source, TargetSeries, WriteGapSeries};

use crate::kube_io::client::AnswerObserver;

/// `Content-Type` of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The one controller of this program, in controller-runtime's label.
const CONTROLLER: &str = "redismemorypolicy";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RemediationLabels {
    action: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabel {
    controller: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    controller: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    code: String,
    method: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabel {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabel {
    version: &'static str,
}

/// How a reconcile ended, in controller-runtime's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconcileResult {
    /// Done until something changes or the periodic look comes.
    Success,
    /// Comes back by itself after a wait of its own.
    RequeueAfter,
    /// Failed; comes back with backoff.
    Error,
}

impl ReconcileResult {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::RequeueAfter => "requeue_after",
            Self::Error => "error",
        }
    }
}

/// Every metric of the process. Cheap to clone; clones are the same metrics.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    targets: Arc<targets::Targets>,
    probe_errors: Family<ReasonLabel, Counter>,
    watch_errors: Family<KindLabel, Counter>,
    probe_duration: Histogram,
    remediations: Family<RemediationLabels, Counter>,
    write_pause: Histogram,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_errors: Family<ControllerLabel, Counter>,
    reconcile_time: Family<ControllerLabel, Histogram>,
    requests: Family<RequestLabels, Counter>,
    leader: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// From 1 ms to 5 s: a probe takes under a millisecond on a good network, and at most its deadline.
fn probe_histogram() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0])
}

/// Around what was measured: 4 ms guarded, 0.1 to 1 s by FAILOVER, 3 s the bound.
fn pause_histogram() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 10.0])
}

/// Up to a minute, as in controller-runtime.
fn reconcile_histogram() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
}

impl Metrics {
    /// All metrics, at zero. `lease_name` labels `leader_election_master_status`.
    pub fn new(lease_name: &str) -> Self {
        let mut registry = Registry::default();
        let targets = Arc::<targets::Targets>::default();
        registry.register_collector(Box::new(Arc::clone(&targets)));
        registry.register_collector(Box::new(process::Process));

        let build = Family::<VersionLabel, Gauge>::default();
        build.get_or_create(&VersionLabel { version: env!("CARGO_PKG_VERSION") }).set(1);
        let masters = Family::<NameLabel, Gauge>::default();
        let leader = masters.get_or_create_owned(&NameLabel { name: lease_name.to_owned() });
        let metrics = Self {
            registry: Arc::default(),
            targets,
            probe_errors: Family::default(),
            watch_errors: Family::default(),
            probe_duration: probe_histogram(),
            remediations: Family::default(),
            write_pause: pause_histogram(),
            reconciles: Family::default(),
            reconcile_errors: Family::default(),
            reconcile_time: Family::new_with_constructor(reconcile_histogram),
            requests: Family::default(),
            leader,
        };
        metrics.register_ours(registry.sub_registry_with_prefix("redis_memory_policy"), build);
        metrics.register_controller(&mut registry, masters);
        Self { registry: Arc::new(registry), ..metrics }
    }

    fn register_ours(&self, ours: &mut Registry, build: Family<VersionLabel, Gauge>) {
        ours.register("operator_build_info", "The running version, always 1", build);
        ours.register("probe_errors", "Probes of Redis without a sample, by reason", self.probe_errors.clone());
        ours.register(
            "watch_errors",
            "Lists and watches of the API server that failed, by kind",
            self.watch_errors.clone(),
        );
        ours.register("probe_duration_seconds", "Time of one probe of Redis", self.probe_duration.clone());
        ours.register("remediations", "Steps and remediations that ended, by result", self.remediations.clone());
        ours.register(
            "failover_write_pause_seconds",
            "Time during which a planned switchover held back writes",
            self.write_pause.clone(),
        );
    }

    fn register_controller(&self, registry: &mut Registry, masters: Family<NameLabel, Gauge>) {
        registry.register("controller_runtime_reconcile", "Reconciles, by result", self.reconciles.clone());
        registry.register("controller_runtime_reconcile_errors", "Failed reconciles", self.reconcile_errors.clone());
        registry.register(
            "controller_runtime_reconcile_time_seconds",
            "Time of one reconcile",
            self.reconcile_time.clone(),
        );
        registry.register("rest_client_requests", "Requests to the API server, by answer", self.requests.clone());
        registry.register("leader_election_master_status", "1 while this process leads", masters);
    }

    /// The page that a scrape gets.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }

    /// Replaces what is exported for the targets of a policy. What is not in the list vanishes.
    pub fn publish_targets(&self, policy: &PolicyKey, series: Vec<TargetSeries>) {
        self.targets.update(policy, |exported| exported.series = series);
    }

    /// Why the policy's remediation is blocked; `None`: it is not.
    pub fn set_blocked(&self, policy: &PolicyKey, reason: Option<&str>) {
        self.targets.update(policy, |exported| exported.blocked = reason.map(str::to_owned));
    }

    /// The workload of the policy's running remediation; `None`: none runs. Alerts on replication can be inhibited by it.
    pub fn set_active(&self, policy: &PolicyKey, workload: Option<&str>) {
        self.targets.update(policy, |exported| exported.active = workload.map(str::to_owned));
    }

    /// How long writes stop at the hand-overs of the policy's workloads.
    pub fn set_write_gaps(&self, policy: &PolicyKey, gaps: Vec<WriteGapSeries>) {
        self.targets.update(policy, |exported| exported.write_gaps = gaps);
    }

    /// Exports nothing of the policy any more: it was deleted.
    pub fn forget(&self, policy: &PolicyKey) {
        self.targets.forget(policy);
    }

    /// Exports nothing any more of policies that do not exist.
    pub fn retain(&self, exists: impl Fn(&PolicyKey) -> bool) {
        self.targets.retain(exists);
    }

    /// Whether this process leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Only the last known leader exports targets: two processes must not tell two stories about one pod. While the API
    /// server is away nobody leads, and what is watched is shown all the same.
    pub fn show_targets(&self, watches: bool) {
        self.targets.show(watches);
    }

    /// A list or watch of the API server failed.
    pub fn watch_failed(&self, kind: &'static str) {
        self.watch_errors.get_or_create(&KindLabel { kind }).inc();
    }

    /// A probe gave a sample.
    pub fn probe_took(&self, time: Duration) {
        self.probe_duration.observe(time.as_secs_f64());
    }

    /// A probe gave none; `reason` is `ProbeFailure::reason`.
    pub fn probe_failed(&self, reason: &'static str) {
        self.probe_errors.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// A step (its kind) or a whole remediation ended; `result` is a stable word.
    pub fn remediated(&self, action: &'static str, result: &'static str) {
        self.remediations.get_or_create(&RemediationLabels { action, result }).inc();
    }

    /// How long a switchover held back writes.
    pub fn write_paused(&self, time: Duration) {
        self.write_pause.observe(time.as_secs_f64());
    }

    /// A reconcile ended.
    pub fn reconciled(&self, result: ReconcileResult, time: Duration) {
        let label = ControllerLabel { controller: CONTROLLER };
        self.reconciles.get_or_create(&ReconcileLabels { controller: CONTROLLER, result: result.as_str() }).inc();
        if result == ReconcileResult::Error {
            self.reconcile_errors.get_or_create(&label).inc();
        }
        self.reconcile_time.get_or_create(&label).observe(time.as_secs_f64());
    }

    /// Counts the answers of the API server.
    pub fn answer_observer(&self) -> AnswerObserver {
        let requests = self.requests.clone();
        Arc::new(move |method, status| {
            // client-go's word for a request without an answer.
            let code = status.map_or_else(|| "<error>".to_owned(), |status| status.as_str().to_owned());
            requests.get_or_create(&RequestLabels { code, method: method.to_string() }).inc();
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(metrics: &Metrics, prefix: &str) -> Vec<String> {
        let page = metrics.render().expect("a page");
        page.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect()
    }

    #[test]
    fn counters_have_the_names_that_dashboards_know() {
        let metrics = Metrics::new("operator");
        metrics.probe_failed("Unreachable");
        metrics.remediated("Evict", "Succeeded");
        metrics.reconciled(ReconcileResult::Error, Duration::from_millis(3));
        metrics.answer_observer()(&http::Method::PATCH, Some(http::StatusCode::CONFLICT));
        metrics.answer_observer()(&http::Method::GET, None);
        metrics.set_leader(true);
        metrics.watch_failed("Pod");
        for line in [
            "redis_memory_policy_watch_errors_total{kind=\"Pod\"} 1",
            "redis_memory_policy_probe_errors_total{reason=\"Unreachable\"} 1",
            "redis_memory_policy_remediations_total{action=\"Evict\",result=\"Succeeded\"} 1",
            "controller_runtime_reconcile_total{controller=\"redismemorypolicy\",result=\"error\"} 1",
            "controller_runtime_reconcile_errors_total{controller=\"redismemorypolicy\"} 1",
            "rest_client_requests_total{code=\"409\",method=\"PATCH\"} 1",
            "rest_client_requests_total{code=\"<error>\",method=\"GET\"} 1",
            "leader_election_master_status{name=\"operator\"} 1",
        ] {
            assert_eq!(lines(&metrics, line), [line], "in {}", metrics.render().expect("a page"));
        }
    }

    #[test]
    fn histograms_count_what_was_observed() {
        let metrics = Metrics::new("operator");
        metrics.write_paused(Duration::from_millis(200));
        metrics.probe_took(Duration::from_millis(2));
        let pause = "redis_memory_policy_failover_write_pause_seconds";
        assert_eq!(lines(&metrics, &format!("{pause}_count")), [format!("{pause}_count 1")]);
        assert_eq!(
            lines(&metrics, &format!("{pause}_bucket{{le=\"0.25\"}}")),
            [format!("{pause}_bucket{{le=\"0.25\"}} 1")]
        );
        assert_eq!(
            lines(&metrics, &format!("{pause}_bucket{{le=\"0.1\"}}")),
            [format!("{pause}_bucket{{le=\"0.1\"}} 0")]
        );
        assert_eq!(lines(&metrics, "redis_memory_policy_probe_duration_seconds_count").len(), 1);
    }

    #[test]
    fn the_page_is_closed_as_openmetrics_wants_it() {
        let page = Metrics::new("operator").render().expect("a page");
        assert!(page.ends_with("# EOF\n"), "{page}");
    }
}
