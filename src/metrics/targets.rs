//! The series of targets and policies: encoded from what the controller published last, so that a target that is
//! gone has no series, and a scrape never sees half of an update.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
};

use crate::{
    clock::Clock,
    domain::{bytes::Bytes, ratio::Ratio},
};

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

/// What is exported of one target. What is not known has no series: a zero would be a lie.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetSeries {
    /// Pod.
    pub pod: String,
    /// Container; empty when it is not known.
    pub container: String,
    /// The memory limit that holds.
    pub container_limit: Option<Bytes>,
    /// The headroom that the policy wants over `maxmemory`.
    pub headroom_required: Option<Bytes>,
    /// Limit − `maxmemory`, in bytes; negative when the limit is the smaller.
    pub headroom: Option<i64>,
    /// Nothing above Info is found; `None` as long as not everything is judged.
    pub compliant: Option<bool>,
    /// Findings from before that are not judged again yet; `None`: there are none.
    pub stale_findings: Option<u32>,
    /// Resident / used memory.
    pub fragmentation_ratio: Option<Ratio>,
    /// Resident − used memory, in bytes; negative when memory is swapped out.
    pub fragmentation_bytes: Option<i64>,
    /// When the newest sample was taken. Its age is computed by the scrape, so that it grows while no sample comes.
    pub sampled_at: Option<Timestamp>,
}

/// What is exported of one policy.
#[derive(Debug, Default)]
pub(super) struct Exported {
    pub(super) series: Vec<TargetSeries>,
    pub(super) blocked: Option<String>,
    pub(super) active: Option<String>,
}

/// Everything that only the leader exports.
#[derive(Debug)]
pub(super) struct Targets {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    leads: bool,
    policies: BTreeMap<PolicyKey, Exported>,
}

impl Targets {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Without effect on a standby: a reconcile that outlives its term must not leave news for the next one.
    pub(super) fn update(&self, policy: &PolicyKey, change: impl FnOnce(&mut Exported)) {
        let mut state = self.lock();
        if state.leads {
            change(state.policies.entry(policy.clone()).or_default());
        }
    }

    pub(super) fn forget(&self, policy: &PolicyKey) {
        self.lock().policies.remove(policy);
    }

    pub(super) fn set_leader(&self, leads: bool) {
        let mut state = self.lock();
        state.leads = leads;
        if !leads {
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
    value: fn(&TargetSeries, Timestamp) -> Option<f64>,
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
        value: |target, _| target.headroom_required.map(bytes),
    },
    TargetGauge {
        name: "redis_memory_policy_headroom_bytes",
        help: "Memory limit less maxmemory",
        value: |target, _| target.headroom.map(signed),
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
        value: |target, _| target.fragmentation_ratio.map(|ratio| f64::from(ratio.0) / 100.0),
    },
    TargetGauge {
        name: "redis_memory_policy_fragmentation_bytes",
        help: "Resident memory of Redis less used memory",
        value: |target, _| target.fragmentation_bytes.map(signed),
    },
    TargetGauge {
        name: "redis_memory_policy_sample_age_seconds",
        help: "Age of the newest sample",
        value: |target, now| target.sampled_at.map(|at| now.duration_since(at).as_secs_f64().max(0.0)),
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

impl Collector for Targets {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let state = self.lock();
        if !state.leads {
            return Ok(());
        }
        let now = self.clock.now();
        for gauge in &TARGET_GAUGES {
            encode_targets(&mut encoder, &state, gauge, now)?;
        }
        encode_policies(&mut encoder, &state)
    }
}

fn encode_targets(
    encoder: &mut DescriptorEncoder<'_>,
    state: &State,
    gauge: &TargetGauge,
    now: Timestamp,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(gauge.name, gauge.help, None, MetricType::Gauge)?;
    for (key, exported) in &state.policies {
        for target in &exported.series {
            let Some(value) = (gauge.value)(target, now) else { continue };
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
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::Metrics;

    fn leading() -> (Metrics, PolicyKey, Clock) {
        let clock = Clock::start();
        let metrics = Metrics::new(clock, "operator");
        metrics.set_leader(true);
        (metrics, PolicyKey::new("shop", "sessions"), clock)
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
        let (metrics, policy, clock) = leading();
        let sampled_at = clock.now().checked_sub(Duration::from_secs(90)).expect("a time");
        let known = TargetSeries {
            container_limit: Some(Bytes::mib(512)),
            headroom: Some(-1),
            fragmentation_ratio: Some(Ratio(253)),
            sampled_at: Some(sampled_at),
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
        let age = lines[5].strip_prefix(&format!("redis_memory_policy_sample_age_seconds{} ", labels("redis-0")));
        let age: f64 = age.expect("an age").parse().expect("a number");
        assert!((90.0..120.0).contains(&age), "{age}");
        assert_eq!(lines.len(), 6, "{lines:#?}");
    }

    #[test]
    fn stale_series_vanish() {
        let (metrics, policy, _) = leading();
        metrics.publish_targets(&policy, vec![target("redis-0"), target("redis-1")]);
        metrics.publish_targets(&policy, vec![target("redis-1")]);
        metrics.set_blocked(&policy, Some("DisruptionBudget"));
        metrics.set_active(&policy, Some("redis"));
        let lines = series(&metrics);
        assert_eq!(lines.len(), 3, "{lines:#?}");
        assert_eq!(
            lines[1],
            "redis_memory_policy_blocked{namespace=\"shop\",policy=\"sessions\",reason=\"DisruptionBudget\"} 1"
        );
        assert_eq!(lines[2], "redis_memory_policy_remediation_active{namespace=\"shop\",workload=\"redis\"} 1");
        metrics.set_blocked(&policy, None);
        metrics.set_active(&policy, None);
        assert_eq!(series(&metrics).len(), 1);
        metrics.forget(&policy);
        assert_eq!(series(&metrics), Vec::<String>::new());
    }

    #[test]
    fn a_standby_exports_no_targets() {
        let (metrics, policy, _) = leading();
        metrics.publish_targets(&policy, vec![target("redis-0")]);
        metrics.set_leader(false);
        assert_eq!(series(&metrics), Vec::<String>::new());
        metrics.publish_targets(&policy, vec![target("redis-0")]);
        metrics.set_leader(true);
        assert_eq!(series(&metrics), Vec::<String>::new(), "what was known before the term is not shown as news");
    }

    #[test]
    fn label_values_cannot_break_out() {
        let (metrics, policy, _) = leading();
        metrics.publish_targets(&policy, vec![target("a\"} 1\nevil 2")]);
        let lines = series(&metrics);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains("a\\\"} 1\\nevil 2"), "{lines:#?}");
    }
}
