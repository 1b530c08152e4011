//! Prometheus metrics (OpenMetrics text). What a scrape shows is the newest that was measured: it never causes a probe.
//!
//! `redis_memory_policy_*` joins with redis_exporter on namespace and pod. Controller health has the names of Go's
//! controller-runtime, so that its dashboards work unchanged.

mod policies;
mod process;
mod table;
mod targets;
#[cfg(test)]
mod tests;
mod zeros;

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

pub use policies::{PolicySeries, WriteGapSeries};
pub use table::{Kind, Metric, TABLE};
pub use targets::{Measured, PolicyKey, Source, TargetSeries};

use crate::{
    domain::{journal::Outcome, switchover::SwitchoverMethod},
    kube_io::client::AnswerObserver,
};

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
struct SwitchoverLabels {
    method: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
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
    const ALL: [Self; 3] = [Self::Success, Self::RequeueAfter, Self::Error];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::RequeueAfter => "requeue_after",
            Self::Error => "error",
        }
    }
}

/// What came of an attempt to hand the primary's role over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchoverOutcome {
    /// The role was handed over by this attempt.
    HandedOver,
    /// The role was found handed over: by an attempt before, whose process died.
    FoundHandedOver,
    /// It was not, and the old primary is primary.
    RoleStayed,
    /// What became of it was not seen by this attempt: the next one looks.
    NotSettled,
}

impl SwitchoverOutcome {
    const ALL: [Self; 4] = [Self::HandedOver, Self::FoundHandedOver, Self::RoleStayed, Self::NotSettled];

    const fn as_str(self) -> &'static str {
        match self {
            Self::HandedOver => "HandedOver",
            Self::FoundHandedOver => "FoundHandedOver",
            Self::RoleStayed => "RoleStayed",
            Self::NotSettled => "NotSettled",
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
    unreadable: Gauge,
    probe_duration: Histogram,
    remediations: Family<RemediationLabels, Counter>,
    write_pause: Histogram,
    switchovers: Family<SwitchoverLabels, Counter>,
    switchover_time: Family<OutcomeLabel, Histogram>,
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

/// From a bare exchange to one that waits its 30 s for the Services and as long for another's label.
fn switchover_histogram() -> Histogram {
    Histogram::new([0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0])
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
            unreadable: Gauge::default(),
            probe_duration: probe_histogram(),
            remediations: Family::default(),
            write_pause: pause_histogram(),
            switchovers: Family::default(),
            switchover_time: Family::new_with_constructor(switchover_histogram),
            reconciles: Family::default(),
            reconcile_errors: Family::default(),
            reconcile_time: Family::new_with_constructor(reconcile_histogram),
            requests: Family::default(),
            leader,
        };
        table::BUILD_INFO.register(&mut registry, build);
        table::LEADER.register(&mut registry, masters);
        metrics.register(&mut registry);
        metrics.begin_at_zero();
        Self { registry: Arc::new(registry), ..metrics }
    }

    fn register(&self, registry: &mut Registry) {
        table::PROBE_ERRORS.register(registry, self.probe_errors.clone());
        table::PROBE_DURATION.register(registry, self.probe_duration.clone());
        table::WATCH_ERRORS.register(registry, self.watch_errors.clone());
        table::UNREADABLE.register(registry, self.unreadable.clone());
        table::REMEDIATIONS.register(registry, self.remediations.clone());
        table::SWITCHOVERS.register(registry, self.switchovers.clone());
        table::SWITCHOVER_DURATION.register(registry, self.switchover_time.clone());
        table::WRITE_PAUSE.register(registry, self.write_pause.clone());
        table::RECONCILES.register(registry, self.reconciles.clone());
        table::RECONCILE_ERRORS.register(registry, self.reconcile_errors.clone());
        table::RECONCILE_TIME.register(registry, self.reconcile_time.clone());
        table::REQUESTS.register(registry, self.requests.clone());
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

    /// What the last look judged of the policy.
    pub fn publish_policy(&self, policy: &PolicyKey, series: PolicySeries) {
        self.targets.update(policy, |exported| exported.of_policy.judged = Some(series));
    }

    /// Restarts of the policy's pods gave back that much.
    pub fn reclaimed(&self, policy: &PolicyKey, bytes: u64) {
        self.targets.update(policy, |exported| {
            exported.of_policy.reclaimed = exported.of_policy.reclaimed.saturating_add(bytes);
        });
    }

    /// Slots of the cluster's budget: how many are taken, and how many there are.
    pub fn set_budget(&self, taken: usize, most: u32) {
        self.targets.set_budget(u32::try_from(taken).unwrap_or(u32::MAX), most);
    }

    /// Why the policy's remediation is blocked; `None`: it is not.
    pub fn set_blocked(&self, policy: &PolicyKey, reason: Option<&str>) {
        self.targets.update(policy, |exported| exported.of_policy.blocked = reason.map(str::to_owned));
    }

    /// The workload of the policy's running remediation; `None`: none runs. Alerts on replication can be inhibited by it.
    pub fn set_active(&self, policy: &PolicyKey, workload: Option<&str>) {
        self.targets.update(policy, |exported| exported.of_policy.active = workload.map(str::to_owned));
    }

    /// How long writes stop at the hand-overs of the policy's workloads.
    pub fn set_write_gaps(&self, policy: &PolicyKey, gaps: Vec<WriteGapSeries>) {
        self.targets.update(policy, |exported| exported.of_policy.write_gaps = gaps);
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
        debug_assert!(zeros::KINDS.contains(&kind), "{kind} does not begin at zero");
        self.watch_errors.get_or_create(&KindLabel { kind }).inc();
    }

    /// So many of the named namespaces may not be read.
    pub fn unreadable(&self, namespaces: usize) {
        self.unreadable.set(i64::try_from(namespaces).unwrap_or(i64::MAX));
    }

    /// A probe gave a sample.
    pub fn probe_took(&self, time: Duration) {
        self.probe_duration.observe(time.as_secs_f64());
    }

    /// A probe gave none; `reason` is `ProbeFailure::reason`.
    pub fn probe_failed(&self, reason: &'static str) {
        self.probe_errors.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// A step was taken, by the action of its effect, or failed.
    pub fn step_taken(&self, action: &'static str, done: bool) {
        let [well, badly] = zeros::RESULTS;
        self.remediated(action, if done { well } else { badly });
    }

    /// A whole remediation ended.
    pub fn remediation_ended(&self, outcome: Outcome) {
        self.remediated(zeros::REMEDIATION, outcome.as_str());
    }

    fn remediated(&self, action: &'static str, result: &'static str) {
        self.remediations.get_or_create(&RemediationLabels { action, result }).inc();
    }

    /// How long a switchover held back writes.
    pub fn write_paused(&self, time: Duration) {
        self.write_pause.observe(time.as_secs_f64());
    }

    /// An attempt to hand the primary's role over took that long.
    pub fn switchover_ended(&self, method: SwitchoverMethod, outcome: SwitchoverOutcome, time: Duration) {
        let labels = SwitchoverLabels { method: method.as_str(), outcome: outcome.as_str() };
        self.switchovers.get_or_create(&labels).inc();
        self.switchover_time.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }).observe(time.as_secs_f64());
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
