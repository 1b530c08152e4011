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
    metrics::gauge::ConstGauge,
};

use super::{
    policies,
    table::{self, Metric},
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
    /// Used memory.
    pub used: Option<Bytes>,
    /// Resident memory.
    pub resident: Option<Bytes>,
    /// `maxmemory`; zero: nothing bounds the data.
    pub maxmemory: Option<Bytes>,
    /// The headroom that the policy wants over `maxmemory`.
    pub headroom_required: Option<Bytes>,
    /// Limit − `maxmemory`, in bytes; negative when the limit is the smaller.
    pub headroom: Option<i64>,
    /// Resident / used memory.
    pub fragmentation_ratio: Option<Ratio>,
    /// Resident − used memory, in bytes; negative when memory is swapped out.
    pub fragmentation_bytes: Option<i64>,
    /// How long the last fork blocked the server; `None`: there was none.
    pub latest_fork: Option<Duration>,
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
    pub(super) of_policy: policies::Exported,
}

/// Everything that only who watches exports.
#[derive(Debug, Default)]
pub(super) struct Targets {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    watches: bool,
    /// Slots of the cluster's budget: taken, and most.
    budget: Option<(u32, u32)>,
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

    pub(super) fn set_budget(&self, taken: u32, most: u32) {
        let mut state = self.lock();
        if state.watches {
            state.budget = Some((taken, most));
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
            state.budget = None;
        }
    }

    /// A poisoned lock only means that a thread died elsewhere: every update is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type TargetLabels<'a> = [(&'static str, Cow<'a, str>); 4];

/// A gauge of targets: the metric, and the value of one target.
type TargetGauge = (&'static Metric, fn(&TargetSeries, &Measured) -> Option<f64>);

/// In the order in which they are shown.
const TARGET_GAUGES: &[TargetGauge] = &[
    (&table::USED_MEMORY, |_, measured| measured.used.map(bytes)),
    (&table::RESIDENT_MEMORY, |_, measured| measured.resident.map(bytes)),
    (&table::MAXMEMORY, |_, measured| measured.maxmemory.map(bytes)),
    (&table::CONTAINER_LIMIT, |target, _| target.container_limit.map(bytes)),
    (&table::HEADROOM_REQUIRED, |_, measured| measured.headroom_required.map(bytes)),
    (&table::HEADROOM, |_, measured| measured.headroom.map(signed)),
    (&table::COMPLIANT, |target, _| target.compliant.map(|yes| f64::from(u8::from(yes)))),
    (&table::STALE_FINDINGS, |target, _| target.stale_findings.map(f64::from)),
    (&table::FRAGMENTATION_RATIO, |_, measured| measured.fragmentation_ratio.map(|ratio| f64::from(ratio.0) / 100.0)),
    (&table::FRAGMENTATION_BYTES, |_, measured| measured.fragmentation_bytes.map(signed)),
    (&table::LATEST_FORK, |_, measured| measured.latest_fork.map(|time| time.as_secs_f64())),
    (&table::SAMPLE_AGE, |_, measured| measured.sample_age.map(|age| age.as_secs_f64())),
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

impl Collector for Targets {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let state = self.lock();
        if !state.watches {
            return Ok(());
        }
        let read = |exported: &Exported| exported.series.iter().map(|target| (target.measured.0)()).collect();
        let measured: Vec<Vec<Measured>> = state.policies.values().map(read).collect();
        for gauge in TARGET_GAUGES {
            encode_targets(&mut encoder, &state, gauge, &measured)?;
        }
        for (metric, value) in
            state.budget.iter().flat_map(|(taken, most)| [(table::BUDGET_TAKEN, taken), (table::BUDGET_MOST, most)])
        {
            let family = encoder.encode_descriptor(metric.family(), metric.meaning, None, metric.kind.encoded())?;
            ConstGauge::new(i64::from(*value)).encode(family)?;
        }
        policies::encode(&mut encoder, state.policies.iter().map(|(key, exported)| (key, &exported.of_policy)))
    }
}

fn encode_targets(
    encoder: &mut DescriptorEncoder<'_>,
    state: &State,
    gauge: &TargetGauge,
    measured: &[Vec<Measured>],
) -> fmt::Result {
    let (metric, value_of) = gauge;
    let mut family = encoder.encode_descriptor(metric.family(), metric.meaning, None, metric.kind.encoded())?;
    for ((key, exported), measured) in state.policies.iter().zip(measured) {
        for (target, measured) in exported.series.iter().zip(measured) {
            let Some(value) = value_of(target, measured) else { continue };
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::metrics::{Metrics, WriteGapSeries};

    fn watching() -> (Metrics, PolicyKey) {
        let metrics = Metrics::new("operator");
        metrics.show_targets(true);
        (metrics, PolicyKey::new("shop", "sessions"))
    }

    fn series(metrics: &Metrics) -> Vec<String> {
        let page = metrics.render().expect("a page");
        let ours = |line: &&str| line.starts_with("redis_memory_policy_") && line.contains("namespace=");
        let always = |line: &&str| !line.starts_with("redis_memory_policy_reclaimed_bytes_total{");
        page.lines().filter(ours).filter(always).map(str::to_owned).collect()
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
        assert_eq!(lines[2..4], [format!("{gap},kind=\"estimated\"}} 0.3"), format!("{gap},kind=\"measured\"}} 0.04")]);
        assert_eq!(
            lines[1],
            "redis_memory_policy_blocked{namespace=\"shop\",policy=\"sessions\",reason=\"DisruptionBudget\"} 1.0"
        );
        let active =
            "redis_memory_policy_remediation_active{namespace=\"shop\",policy=\"sessions\",workload=\"redis\"} 1";
        assert_eq!(lines[4], active);
        metrics.set_blocked(&policy, None);
        metrics.set_active(&policy, None);
        metrics.set_write_gaps(&policy, Vec::new());
        assert_eq!(series(&metrics).len(), 1);
        metrics.forget(&policy);
        assert_eq!(series(&metrics), Vec::<String>::new());
    }

    /// One series twice, and Prometheus refuses the whole page.
    #[test]
    fn workloads_of_one_name_are_told_apart_by_their_policies() {
        let (metrics, policy) = watching();
        metrics.set_active(&policy, Some("redis"));
        metrics.set_active(&PolicyKey::new("shop", "carts"), Some("redis"));
        let lines = series(&metrics);
        assert_eq!(lines.len(), 2);
        assert_ne!(lines[0], lines[1]);
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
