//! The series of targets and policies: verdicts as the controller published them last, so that a target that is gone has
//! no series and a scrape never sees half of an update; measurements as they are when the scrape asks.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
};

use crate::domain::{bytes::Bytes, ratio::Ratio};

/// Names a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub policy: String,
}

impl PolicyKey {
    /// Names a policy.
    pub fn new(namespace: impl Into<String>, policy: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), policy: policy.into() }
    }
}

/// What is exported of one target: what the last reconcile judged, and what is measured, read when a scrape asks. What
/// is not known has no series: a zero would be a lie.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetSeries {
    /// Pod.
    pub pod: String,
    /// Container; empty when it is not known.
    pub container: String,
    /// The memory limit that holds.
    pub container_limit: Option<Bytes>,
    /// Nothing above Info is found; `None` as long as not everything is judged.
    pub compliant: Option<bool>,
    /// Findings from before that are not judged again yet; `None`: there are none.
    pub stale_findings: Option<u32>,
    /// What is measured.
    pub measured: Source,
}

/// What is measured of one target, from its newest sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// The headroom that the policy wants over `maxmemory`.
    pub headroom_required: Option<Bytes>,
    /// Limit − `maxmemory`, in bytes; negative when the limit is the smaller.
    pub headroom: Option<i64>,
    /// Resident / used memory.
    pub fragmentation_ratio: Option<Ratio>,
    /// Resident − used memory, in bytes; negative when memory is swapped out.
    pub fragmentation_bytes: Option<i64>,
    /// Age of the newest sample; it grows while no sample comes.
    pub sample_age: Option<Duration>,
}

/// Where a scrape gets what is measured.
#[derive(Clone)]
pub struct Source(Arc<dyn Fn() -> Measured + Send + Sync>);

impl Source {
    /// Asked at every scrape; must be quick.
    pub fn new(read: impl Fn() -> Measured + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }
}

impl Default for Source {
    fn default() -> Self {
        Self::new(Measured::default)
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        (self.0)() == (other.0)()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)().fmt(f)
    }
}

/// What is exported of one policy.
#[derive(Debug, Default)]
pub(super) struct Exported {
    pub(super) series: Vec<TargetSeries>,
    pub(super) blocked: Option<String>,
    pub(super) active: Option<String>,
    /// How long writes stop at a hand-over, by workload: estimated, and as it was last measured.
    pub(super) write_gaps: Vec<WriteGapSeries>,
}

/// Everything that only who watches exports.
#[derive(Debug, Default)]
pub(super) struct Targets {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    watches: bool,
    policies: BTreeMap<PolicyKey, Exported>,
}

impl Targets {
    /// Without effect on a standby: a reconcile that outlives its term must not leave news for the next one.
    pub(super) fn update(&self, policy: &PolicyKey, change: impl FnOnce(&mut Exported)) {
        let mut state = self.lock();
        if state.watches {
            change(state.policies.entry(policy.clone()).or_default());
        }
    }

    pub(super) fn forget(&self, policy: &PolicyKey) {
        self.lock().policies.remove(policy);
    }

    pub(super) fn retain(&self, exists: impl Fn(&PolicyKey) -> bool) {
        self.lock().policies.retain(|policy, _| exists(policy));
    }

    pub(super) fn show(&self, watches: bool) {
        let mut state = self.lock();
        state.watches = watches;
        if !watches {
            state.policies.clear();
        }
    }

    /// A poisoned lock only means that a thread died elsewhere: every update is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type TargetLabels<'a> = [(&'static str, Cow<'a, str>); 4];

/// A gauge of targets: name, help, and the value of one target.
struct TargetGauge {
    name: &'static str,
    help: &'static str,
    value: fn(&TargetSeries, &Measured) -> Option<f64>,
}

/// In the order in which they are shown.
const TARGET_GAUGES: [TargetGauge; 8] = [
    TargetGauge {
        name: "redis_memory_policy_container_limit_bytes",
        help: "Memory limit of the Redis container that holds now",
        value: |target, _| target.container_limit.map(bytes),
    },
    TargetGauge {
        name: "redis_memory_policy_headroom_required_bytes",
        help: "Headroom over maxmemory that the policy wants",
        value: |_, measured| measured.headroom_required.map(bytes),
    },
    TargetGauge {
        name: "redis_memory_policy_headroom_bytes",
        help: "Memory limit less maxmemory",
        value: |_, measured| measured.headroom.map(signed),
    },
    TargetGauge {
        name: "redis_memory_policy_compliant",
        help: "1 when nothing above Info was found, absent until everything is judged",
        value: |target, _| target.compliant.map(|yes| f64::from(u8::from(yes))),
    },
    TargetGauge {
        name: "redis_memory_policy_stale_findings",
        help: "Findings from before that are not judged again yet, absent when there are none",
        value: |target, _| target.stale_findings.map(f64::from),
    },
    TargetGauge {
        name: "redis_memory_policy_fragmentation_ratio",
        help: "Resident memory of Redis divided by used memory",
        value: |_, measured| measured.fragmentation_ratio.map(|ratio| f64::from(ratio.0) / 100.0),
    },
    TargetGauge {
        name: "redis_memory_policy_fragmentation_bytes",
        help: "Resident memory of Redis less used memory",
        value: |_, measured| measured.fragmentation_bytes.map(signed),
    },
    TargetGauge {
        name: "redis_memory_policy_sample_age_seconds",
        help: "Age of the newest sample",
        value: |_, measured| measured.sample_age.map(|age| age.as_secs_f64()),
    },
];

/// Exact up to 8 PiB, which is beyond any Redis.
#[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
const fn bytes(amount: Bytes) -> f64 {
    amount.0 as f64
}

#[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
const fn signed(amount: i64) -> f64 {
    amount as f64
}

/// How long writes stop at a hand-over of a workload.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteGapSeries {
    /// The workload.
    pub workload: String,
    /// Before it began.
    pub estimated: Duration,
    /// What it became, if that is known.
    pub measured: Option<Duration>,
}

impl Collector for Targets {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let state = self.lock();
        if !state.watches {
            return Ok(());
        }
        let read = |exported: &Exported| exported.series.iter().map(|target| (target.measured.0)()).collect();
        let measured: Vec<Vec<Measured>> = state.policies.values().map(read).collect();
        for gauge in &TARGET_GAUGES {
            encode_targets(&mut encoder, &state, gauge, &measured)?;
        }
        encode_policies(&mut encoder, &state)
    }
}

fn encode_targets(
    encoder: &mut DescriptorEncoder<'_>,
    state: &State,
    gauge: &TargetGauge,
    measured: &[Vec<Measured>],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(gauge.name, gauge.help, None, MetricType::Gauge)?;
    for ((key, exported), measured) in state.policies.iter().zip(measured) {
        for (target, measured) in exported.series.iter().zip(measured) {
            let Some(value) = (gauge.value)(target, measured) else { continue };
            let labels: TargetLabels<'_> = [
                ("namespace", Cow::Borrowed(&key.namespace)),
                ("policy", Cow::Borrowed(&key.policy)),
                ("pod", Cow::Borrowed(&target.pod)),
                ("container", Cow::Borrowed(&target.container)),
            ];
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn encode_policies(encoder: &mut DescriptorEncoder<'_>, state: &State) -> fmt::Result {
    let one = ConstGauge::new(1_i64);
    let help = "1 while the remediation of the policy is blocked, with the reason";
    let mut family = encoder.encode_descriptor("redis_memory_policy_blocked", help, None, MetricType::Gauge)?;
    for (key, exported) in &state.policies {
        let Some(reason) = &exported.blocked else { continue };
        let labels =
            [("namespace", key.namespace.as_str()), ("policy", key.policy.as_str()), ("reason", reason.as_str())];
        one.encode(family.encode_family(&labels)?)?;
    }
    let help = "1 while pods of the workload are being restarted";
    let mut family =
        encoder.encode_descriptor("redis_memory_policy_remediation_active", help, None, MetricType::Gauge)?;
    for (key, exported) in &state.policies {
        let Some(workload) = &exported.active else { continue };
        let labels = [("namespace", key.namespace.as_str()), ("workload", workload.as_str())];
        one.encode(family.encode_family(&labels)?)?;
    }
    encode_write_gaps(encoder, state)
}

fn encode_write_gaps(encoder: &mut DescriptorEncoder<'_>, state: &State) -> fmt::Result {
    let help =
        "How long writes stop when the primary's role is handed over or it restarts: estimated, and last measured";
    let mut family =
        encoder.encode_descriptor("redis_memory_policy_write_gap_seconds", help, None, MetricType::Gauge)?;
    for (key, exported) in &state.policies {
        for WriteGapSeries { workload, estimated, measured } in &exported.write_gaps {
            for (kind, time) in [("estimated", Some(*estimated)), ("measured", *measured)] {
                let Some(time) = time else { continue };
                let labels = [
                    ("namespace", key.namespace.as_str()),
                    ("policy", key.policy.as_str()),
                    ("workload", workload.as_str()),
                    ("kind", kind),
                ];
                ConstGauge::new(time.as_secs_f64()).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::metrics::Metrics;

    fn watching() -> (Metrics, PolicyKey) {
        let metrics = Metrics::new("operator");
        metrics.show_targets(true);
        (metrics, PolicyKey::new("shop", "sessions"))
    }

    fn series(metrics: &Metrics) -> Vec<String> {
        let page = metrics.render().expect("a page");
        let ours = |line: &&str| line.starts_with("redis_memory_policy_") && line.contains("namespace=");
        page.lines().filter(ours).map(str::to_owned).collect()
    }

    fn target(pod: &str) -> TargetSeries {
        TargetSeries { pod: pod.into(), container: "redis".into(), compliant: Some(false), ..TargetSeries::default() }
    }

    #[test]
    fn only_what_is_known_is_exported() {
        let (metrics, policy) = watching();
        let measured = Measured {
            headroom: Some(-1),
            fragmentation_ratio: Some(Ratio(253)),
            sample_age: Some(Duration::from_secs(90)),
            ..Measured::default()
        };
        let known = TargetSeries {
            container_limit: Some(Bytes::mib(512)),
            measured: Source::new(move || measured),
            ..target("redis-0")
        };
        metrics.publish_targets(&policy, vec![known, target("redis-1")]);
        let labels = |pod| format!("{{namespace=\"shop\",policy=\"sessions\",pod=\"{pod}\",container=\"redis\"}}");
        let lines = series(&metrics);
        assert_eq!(lines[0], format!("redis_memory_policy_container_limit_bytes{} 536870912.0", labels("redis-0")));
        assert_eq!(lines[1], format!("redis_memory_policy_headroom_bytes{} -1.0", labels("redis-0")));
        assert_eq!(lines[2], format!("redis_memory_policy_compliant{} 0.0", labels("redis-0")));
        assert_eq!(lines[3], format!("redis_memory_policy_compliant{} 0.0", labels("redis-1")));
        assert_eq!(lines[4], format!("redis_memory_policy_fragmentation_ratio{} 2.53", labels("redis-0")));
        assert_eq!(lines[5], format!("redis_memory_policy_sample_age_seconds{} 90.0", labels("redis-0")));
        assert_eq!(lines.len(), 6, "{lines:#?}");
    }

    // At rest a policy is reconciled once a minute: what was exported was up to a minute old, and said to be.
    #[test]
    fn a_scrape_shows_what_was_measured_since_the_last_reconcile() {
        let (metrics, policy) = watching();
        let age = Arc::new(AtomicU64::new(50));
        let read = Arc::clone(&age);
        let measured = move || Measured {
            sample_age: Some(Duration::from_secs(read.load(Ordering::Relaxed))),
            ..Measured::default()
        };
        metrics.publish_targets(&policy, vec![TargetSeries { measured: Source::new(measured), ..target("redis-0") }]);
        assert!(series(&metrics)[1].ends_with(" 50.0"), "{:?}", series(&metrics));
        age.store(1, Ordering::Relaxed);
        assert!(series(&metrics)[1].ends_with(" 1.0"), "{:?}", series(&metrics));
    }

    #[test]
    fn stale_series_vanish() {
        let (metrics, policy) = watching();
        metrics.publish_targets(&policy, vec![target("redis-0"), target("redis-1")]);
        metrics.publish_targets(&policy, vec![target("redis-1")]);
        metrics.set_blocked(&policy, Some("DisruptionBudget"));
        metrics.set_active(&policy, Some("redis"));
        let gap = WriteGapSeries {
            workload: "redis".into(),
            estimated: Duration::from_millis(300),
            measured: Some(Duration::from_millis(40)),
        };
        metrics.set_write_gaps(&policy, vec![gap]);
        let lines = series(&metrics);
        assert_eq!(lines.len(), 5, "{lines:#?}");
        let gap = "redis_memory_policy_write_gap_seconds{namespace=\"shop\",policy=\"sessions\",workload=\"redis\"";
        assert_eq!(lines[3..], [format!("{gap},kind=\"estimated\"}} 0.3"), format!("{gap},kind=\"measured\"}} 0.04")]);
        assert_eq!(
            lines[1],
            "redis_memory_policy_blocked{namespace=\"shop\",policy=\"sessions\",reason=\"DisruptionBudget\"} 1"
        );
        assert_eq!(lines[2], "redis_memory_policy_remediation_active{namespace=\"shop\",workload=\"redis\"} 1");
        metrics.set_blocked(&policy, None);
        metrics.set_active(&policy, None);
        metrics.set_write_gaps(&policy, Vec::new());
        assert_eq!(series(&metrics).len(), 1);
        metrics.forget(&policy);
        assert_eq!(series(&metrics), Vec::<String>::new());
    }

    #[test]
    fn a_standby_exports_no_targets() {
        let (metrics, policy) = watching();
        metrics.publish_targets(&policy, vec![target("redis-0")]);
        metrics.show_targets(false);
        assert_eq!(series(&metrics), Vec::<String>::new());
        metrics.publish_targets(&policy, vec![target("redis-0")]);
        metrics.show_targets(true);
        assert_eq!(series(&metrics), Vec::<String>::new(), "what was known before the term is not shown as news");
    }

    #[test]
    fn label_values_cannot_break_out() {
        let (metrics, policy) = watching();
        metrics.publish_targets(&policy, vec![target("a\"} 1\nevil 2")]);
        let lines = series(&metrics);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains("a\\\"} 1\\nevil 2"), "{lines:#?}");
    }
}
