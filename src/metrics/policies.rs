//! The series of policies: what the last look judged, and what came of it. Every label is a name in Kubernetes or a word of
//! a closed list: a status that somebody else wrote adds no series of its own making.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use super::{
    PolicyKey,
    table::{self, Metric},
};
use crate::domain::{
    blocked::BlockReason,
    finding::{FindingCode, Severity},
    journal::Outcome,
    step::StepKind,
};

/// The levels of a verdict, each with a series.
const LEVELS: [&str; 4] = ["ActNow", "Plan", "Fine", "Unknown"];
/// Workloads of one policy that have series; a status holds no more.
const WORKLOADS: usize = 100;

/// What the last look judged of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySeries {
    /// The level of the verdict; none of the four: there is no verdict yet.
    pub level: String,
    /// Pods of which it is found; of what is about the policy as a whole, 1.
    pub findings: BTreeMap<(FindingCode, Severity), u32>,
    /// Reasons that are in the way, and since when.
    pub refusals: BTreeMap<BlockReason, Timestamp>,
    /// The kinds of the steps of the plan that is due or under way; `None`: there is no plan.
    pub plan: Option<Vec<StepKind>>,
    /// How and when the last remediation of each workload ended.
    pub last: BTreeMap<String, (Outcome, Timestamp)>,
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

/// What is exported of one policy beside its targets.
#[derive(Debug, Default)]
pub(super) struct Exported {
    pub(super) judged: Option<PolicySeries>,
    pub(super) blocked: Option<String>,
    pub(super) active: Option<String>,
    /// How long writes stop at a hand-over, by workload: estimated, and as it was last measured.
    pub(super) write_gaps: Vec<WriteGapSeries>,
    /// Bytes that restarts gave back.
    pub(super) reclaimed: u64,
}

/// One series: the labels after namespace and policy, and the value.
type Series<'a> = (Vec<(&'static str, &'a str)>, f64);

/// A family of policies: the metric, and the series of one policy.
type Family = (&'static Metric, fn(&Exported) -> Vec<Series<'_>>);

/// In the order in which they are shown.
const GAUGES: &[Family] = &[
    (&table::VERDICT, verdict),
    (&table::FINDINGS, |of| {
        let findings = of.judged.iter().flat_map(|judged| &judged.findings);
        let labels =
            |code: FindingCode, severity: Severity| vec![("code", code.as_str()), ("severity", severity.as_str())];
        findings.map(|((code, severity), pods)| (labels(*code, *severity), f64::from(*pods))).collect()
    }),
    (&table::REFUSALS, |of| refusals(of, |_| 1.0)),
    (&table::REFUSED_SINCE, |of| refusals(of, seconds)),
    (&table::BLOCKED, |of| of.blocked.iter().map(|reason| (vec![("reason", reason.as_str())], 1.0)).collect()),
    (&table::PLAN_DUE, |of| {
        of.judged.iter().map(|judged| (Vec::new(), f64::from(u8::from(judged.plan.is_some())))).collect()
    }),
    (&table::PLAN_STEPS, plan_steps),
    (&table::LAST_REMEDIATION, |of| {
        let last = of.judged.iter().flat_map(|judged| &judged.last).take(WORKLOADS);
        last.map(|(workload, (outcome, at))| {
            (vec![("workload", workload.as_str()), ("outcome", outcome.as_str())], seconds(*at))
        })
        .collect()
    }),
    (&table::WRITE_GAP, write_gaps),
];

fn verdict(of: &Exported) -> Vec<Series<'_>> {
    let Some(judged) = of.judged.as_ref().filter(|judged| LEVELS.contains(&judged.level.as_str())) else {
        return Vec::new();
    };
    let holds = |level: &str| f64::from(u8::from(level == judged.level));
    LEVELS.iter().map(|level| (vec![("level", *level)], holds(level))).collect()
}

fn refusals(of: &Exported, value: impl Fn(Timestamp) -> f64) -> Vec<Series<'_>> {
    let refusals = of.judged.iter().flat_map(|judged| &judged.refusals);
    refusals.map(|(reason, since)| (vec![("reason", reason.as_str())], value(*since))).collect()
}

fn write_gaps(of: &Exported) -> Vec<Series<'_>> {
    let both = |gap: &'_ WriteGapSeries| [("estimated", Some(gap.estimated)), ("measured", gap.measured)];
    let each = |gap| both(gap).into_iter().filter_map(move |(kind, time)| Some((gap, kind, time?)));
    let series = of.write_gaps.iter().take(WORKLOADS).flat_map(each);
    series
        .map(|(gap, kind, time)| (vec![("workload", gap.workload.as_str()), ("kind", kind)], time.as_secs_f64()))
        .collect()
}

fn plan_steps(of: &Exported) -> Vec<Series<'_>> {
    let mut steps: BTreeMap<&'static str, u32> = BTreeMap::new();
    for kind in of.judged.iter().filter_map(|judged| judged.plan.as_ref()).flatten() {
        *steps.entry(kind.word()).or_default() += 1;
    }
    steps.into_iter().map(|(step, number)| (vec![("step", step)], f64::from(number))).collect()
}

/// Whole seconds: nobody asks when to the millisecond.
#[allow(clippy::cast_precision_loss, reason = "a gauge is a float; exact for the next million years")]
fn seconds(at: Timestamp) -> f64 {
    at.as_second() as f64
}

pub(super) fn encode<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    policies: impl Iterator<Item = (&'a PolicyKey, &'a Exported)> + Clone,
) -> fmt::Result {
    for (metric, series) in GAUGES {
        let mut family = encoder.encode_descriptor(metric.family(), metric.meaning, None, metric.kind.encoded())?;
        for (key, exported) in policies.clone() {
            for (more, value) in series(exported) {
                let mut labels = own(key);
                labels.extend(more);
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    let metric = table::ACTIVE;
    let mut family = encoder.encode_descriptor(metric.family(), metric.meaning, None, metric.kind.encoded())?;
    for (key, exported) in policies.clone() {
        let Some(workload) = &exported.active else { continue };
        let mut labels = own(key);
        labels.push(("workload", workload.as_str()));
        ConstGauge::new(1_i64).encode(family.encode_family(&labels)?)?;
    }
    let metric = table::RECLAIMED;
    let mut family = encoder.encode_descriptor(metric.family(), metric.meaning, None, metric.kind.encoded())?;
    for (key, exported) in policies {
        ConstCounter::new(exported.reclaimed).encode(family.encode_family(&own(key))?)?;
    }
    Ok(())
}

fn own(key: &PolicyKey) -> Vec<(&'static str, &str)> {
    vec![("namespace", key.namespace.as_str()), ("policy", key.policy.as_str())]
}
