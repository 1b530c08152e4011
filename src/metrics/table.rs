//! Every metric in one table: what is registered, what docs/metrics.md says and what alert rules may name comes from here.

use prometheus_client::{
    metrics::MetricType,
    registry::{Metric as Registered, Registry},
};

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations by size: `_bucket` (label `le`), `_sum` and `_count`.
    Histogram,
}

impl Kind {
    /// The word of the exposition format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    pub(super) const fn encoded(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
        }
    }
}

/// One metric, as a query names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name in queries; a counter's ends in `_total`.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// Its labels, without those that Prometheus adds.
    pub labels: &'static [&'static str],
    /// What one of it is; empty: a count.
    pub unit: &'static str,
    /// What it says.
    pub meaning: &'static str,
}

impl Metric {
    /// The name as it is registered: the encoder adds a counter's suffix.
    pub(super) fn family(&self) -> &'static str {
        self.name.strip_suffix("_total").unwrap_or(self.name)
    }

    pub(super) fn register(&self, registry: &mut Registry, metric: impl Registered) {
        registry.register(self.family(), self.meaning, metric);
    }
}

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal [$($label:literal)*] $unit:literal $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub(super) const $id: Metric =
                Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], unit: $unit, meaning: $meaning };
        )*

        /// Every metric, in the order in which docs/metrics.md has them.
        pub const TABLE: &[Metric] = &[$($id),*];
    };
}

metrics! {
    // Of each pod.
    USED_MEMORY = Gauge "redis_memory_policy_used_memory_bytes" ["namespace" "policy" "pod" "container"] "bytes"
        "used_memory of the newest sample";
    RESIDENT_MEMORY = Gauge "redis_memory_policy_resident_memory_bytes" ["namespace" "policy" "pod" "container"] "bytes"
        "used_memory_rss of the newest sample";
    MAXMEMORY = Gauge "redis_memory_policy_maxmemory_bytes" ["namespace" "policy" "pod" "container"] "bytes"
        "maxmemory of the newest sample, 0 where nothing bounds the data";
    CONTAINER_LIMIT = Gauge "redis_memory_policy_container_limit_bytes" ["namespace" "policy" "pod" "container"] "bytes"
        "Memory limit of the Redis container that holds now";
    HEADROOM_REQUIRED = Gauge "redis_memory_policy_headroom_required_bytes" ["namespace" "policy" "pod" "container"] "bytes"
        "Headroom over maxmemory that the policy wants; by method Measured, before it is measured, what is sure of that";
    HEADROOM = Gauge "redis_memory_policy_headroom_bytes" ["namespace" "policy" "pod" "container"] "bytes"
        "Memory limit less maxmemory";
    COMPLIANT = Gauge "redis_memory_policy_compliant" ["namespace" "policy" "pod" "container"] ""
        "1 when nothing above Info was found, absent until everything is judged";
    STALE_FINDINGS = Gauge "redis_memory_policy_stale_findings" ["namespace" "policy" "pod" "container"] ""
        "Findings from before that are not judged again yet, absent when there are none";
    FRAGMENTATION_RATIO = Gauge "redis_memory_policy_fragmentation_ratio" ["namespace" "policy" "pod" "container"] "ratio"
        "Resident memory of Redis divided by used memory";
    FRAGMENTATION_BYTES = Gauge "redis_memory_policy_fragmentation_bytes" ["namespace" "policy" "pod" "container"] "bytes"
        "Resident memory of Redis less used memory";
    LATEST_FORK = Gauge "redis_memory_policy_latest_fork_seconds" ["namespace" "policy" "pod" "container"] "seconds"
        "How long the last fork blocked the server, absent when it never forked";
    SAMPLE_AGE = Gauge "redis_memory_policy_sample_age_seconds" ["namespace" "policy" "pod" "container"] "seconds"
        "Age of the newest sample";
    // Of each policy.
    VERDICT = Gauge "redis_memory_policy_verdict" ["namespace" "policy" "level"] ""
        "1 for the level of the policy's verdict (ActNow, Plan, Fine, Unknown), 0 for the others";
    FINDINGS = Gauge "redis_memory_policy_findings" ["namespace" "policy" "code" "severity"] ""
        "What is found: pods of which it is found, 1 where it is about the policy, absent where it is not found";
    REFUSALS = Gauge "redis_memory_policy_refusals" ["namespace" "policy" "reason"] ""
        "1 for each reason that keeps a remediation from its next step, absent where it does not";
    REFUSED_SINCE = Gauge "redis_memory_policy_refused_since_timestamp_seconds" ["namespace" "policy" "reason"] "seconds"
        "Since when that reason has been in the way, in Unix time";
    BLOCKED = Gauge "redis_memory_policy_blocked" ["namespace" "policy" "reason"] ""
        "1 while something keeps a remediation from its next step: the first reason";
    PLAN_DUE = Gauge "redis_memory_policy_plan_due" ["namespace" "policy"] ""
        "1 while a remediation is due or under way, in the mode Observe too, else 0";
    PLAN_STEPS = Gauge "redis_memory_policy_plan_steps" ["namespace" "policy" "step"] ""
        "Steps of the plan that is due or under way, by kind, absent where there are none";
    ACTIVE = Gauge "redis_memory_policy_remediation_active" ["namespace" "policy" "workload"] ""
        "1 while pods of the workload are being restarted";
    LAST_REMEDIATION = Gauge "redis_memory_policy_last_remediation_timestamp_seconds" ["namespace" "policy" "workload" "outcome"] "seconds"
        "When the workload's last remediation ended, in Unix time, with how it ended";
    WRITE_GAP = Gauge "redis_memory_policy_write_gap_seconds" ["namespace" "policy" "workload" "kind"] "seconds"
        "How long writes stop when the primary's role is handed over or it restarts: estimated, and last measured";
    RECLAIMED = Counter "redis_memory_policy_reclaimed_bytes_total" ["namespace" "policy"] "bytes"
        "Resident memory that restarts gave back, as their proofs measured it, since this process leads";
    // Of the operator.
    BUILD_INFO = Gauge "redis_memory_policy_operator_build_info" ["version"] ""
        "The running version, always 1";
    BUDGET_TAKEN = Gauge "redis_memory_policy_cluster_budget_taken" [] ""
        "Remediations under way in the cluster that hold a slot, absent where this process does not lead";
    BUDGET_MOST = Gauge "redis_memory_policy_cluster_budget_most" [] ""
        "Remediations that may be under way at once, absent where this process does not lead";
    PROBE_ERRORS = Counter "redis_memory_policy_probe_errors_total" ["reason"] ""
        "Probes of Redis without a sample, by reason";
    PROBE_DURATION = Histogram "redis_memory_policy_probe_duration_seconds" [] "seconds"
        "Time of one probe of Redis that gave a sample";
    WATCH_ERRORS = Counter "redis_memory_policy_watch_errors_total" ["kind"] ""
        "Lists and watches of the API server that failed, by kind";
    UNREADABLE = Gauge "redis_memory_policy_unreadable_namespaces" [] ""
        "Namespaces of --watch-namespaces whose policies may not be read: the log and /readyz name them";
    REMEDIATIONS = Counter "redis_memory_policy_remediations_total" ["action" "result"] ""
        "Steps and remediations (action Remediation) that ended, by result";
    SWITCHOVERS = Counter "redis_memory_policy_switchovers_total" ["method" "outcome"] ""
        "Attempts to hand the primary's role over, by what came of them";
    SWITCHOVER_DURATION = Histogram "redis_memory_policy_switchover_duration_seconds" ["outcome"] "seconds"
        "Time of one attempt to hand the primary's role over, waiting for the Services included";
    WRITE_PAUSE = Histogram "redis_memory_policy_failover_write_pause_seconds" [] "seconds"
        "Time during which a planned switchover held back writes";
    // Of every controller, by the names of controller-runtime, client-go and the process collector.
    RECONCILES = Counter "controller_runtime_reconcile_total" ["controller" "result"] ""
        "Reconciles, by result";
    RECONCILE_ERRORS = Counter "controller_runtime_reconcile_errors_total" ["controller"] ""
        "Failed reconciles";
    RECONCILE_TIME = Histogram "controller_runtime_reconcile_time_seconds" ["controller"] "seconds"
        "Time of one reconcile";
    REQUESTS = Counter "rest_client_requests_total" ["code" "method"] ""
        "Requests to the API server, by answer";
    LEADER = Gauge "leader_election_master_status" ["name"] ""
        "1 while this process leads";
    PROCESS_RESIDENT = Gauge "process_resident_memory_bytes" [] "bytes"
        "Resident memory of the operator";
    PROCESS_CPU = Counter "process_cpu_seconds_total" [] "seconds"
        "CPU time of the operator, user and system";
    PROCESS_START = Gauge "process_start_time_seconds" [] "seconds"
        "When the operator's process started, in Unix time";
    PROCESS_OPEN_FDS = Gauge "process_open_fds" [] ""
        "Open file descriptors of the operator";
    PROCESS_MAX_FDS = Gauge "process_max_fds" [] ""
        "File descriptors that the operator may open, absent where there is no bound";
}
