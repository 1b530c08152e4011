//! What a report says, once: JSON is this value, Markdown and HTML are made from it. What is not known is `null`, never
//! zero.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    api::v1alpha1::{FindingStatus, Mode, RefusalStatus, Summary, VerdictStatus},
    domain::finding::Severity,
};

/// The whole report. The names are stable; bytes are numbers, ratios are whole percent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// What it is about: "namespace shop", "all namespaces".
    pub(super) scope: String,
    /// When it was made.
    pub(super) made_at: Timestamp,
    /// What a reader must know to weigh it.
    pub(super) notes: Vec<String>,
    /// Everything added up.
    pub(super) totals: Totals,
    /// By namespace and name.
    pub(super) policies: Vec<PolicyPart>,
}

/// Everything added up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Totals {
    pub(super) policies: usize,
    /// How many policies have each verdict. Of those that have none: `NotEvaluated`, or `NoVerdict` where an operator wrote
    /// the status that gives none.
    pub(super) verdicts: BTreeMap<String, usize>,
    /// Sets that have pods.
    pub(super) sets: usize,
    /// Pods that were looked at.
    pub(super) pods: usize,
    /// Those whose Redis answered.
    pub(super) answered: usize,
    #[serde(flatten)]
    pub(super) memory: Sums,
    /// What right-sizing would take off the limits: of all sets.
    pub(super) right_sizing_saves: Sum,
}

/// Amounts of several pods, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sums {
    /// Memory limits.
    pub(super) limit: Sum,
    /// `used_memory`.
    pub(super) used: Sum,
    /// `used_memory_rss`.
    pub(super) rss: Sum,
    /// rss - used.
    pub(super) waste: Sum,
    /// What restarts should give back.
    pub(super) restart_gains: Sum,
}

/// A sum, and of how many of all it is: what is not known is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sum {
    /// `null`: of none of them it is known.
    pub(super) bytes: Option<u64>,
    pub(super) known: usize,
    pub(super) of: usize,
}

impl Sum {
    pub(super) fn of(amounts: impl IntoIterator<Item = Option<u64>>) -> Self {
        amounts.into_iter().fold(Self::default(), |sum, amount| sum.and(Self { bytes: amount, known: 1, of: 1 }))
    }

    /// Both together. Of what is not known `known` counts nothing.
    pub(super) fn and(self, other: Self) -> Self {
        let known = |sum: Self| sum.bytes.map_or(0, |_| sum.known);
        let bytes = match (self.bytes, other.bytes) {
            (Some(one), Some(other)) => Some(one.saturating_add(other)),
            (one, other) => one.or(other),
        };
        Self { bytes, known: known(self) + known(other), of: self.of + other.of }
    }
}

impl Sums {
    pub(super) fn of(pods: &[PodPart]) -> Self {
        let sum = |amount: fn(&PodPart) -> Option<u64>| Sum::of(pods.iter().map(amount));
        Self {
            limit: sum(|pod| pod.limit_bytes),
            used: sum(|pod| pod.used_bytes),
            rss: sum(|pod| pod.rss_bytes),
            waste: sum(|pod| pod.waste_bytes),
            restart_gains: sum(|pod| pod.restart_gains_bytes),
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            limit: self.limit.and(other.limit),
            used: self.used.and(other.used),
            rss: self.rss.and(other.rss),
            waste: self.waste.and(other.waste),
            restart_gains: self.restart_gains.and(other.restart_gains),
        }
    }
}

/// A policy, what the operator says of it, and its sets as they were seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyPart {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) mode: Mode,
    pub(super) suspend: bool,
    /// What a reader must know to weigh what follows.
    pub(super) notes: Vec<String>,
    /// Whether the operator has ever written a status.
    pub(super) evaluated: bool,
    /// As in the status; `null`: not evaluated yet, or by an operator that gives none.
    pub(super) verdict: Option<VerdictStatus>,
    /// As in the status.
    pub(super) summary: Option<Summary>,
    /// As in the status; of a policy that was not evaluated yet what one look finds.
    pub(super) findings: Vec<FindingStatus>,
    /// How many of them are about no pod of its sets as they were seen.
    pub(super) findings_elsewhere: Counts,
    /// As in the status.
    pub(super) refusals: Vec<RefusalStatus>,
    /// The plan in the status.
    pub(super) plan: Option<PlanPart>,
    /// By name.
    pub(super) sets: Vec<SetPart>,
    /// What happened, the newest first.
    pub(super) lately: Vec<Event>,
    /// How many older events are not shown.
    pub(super) older: usize,
}

impl PolicyPart {
    /// Its verdict, or what stands in its place.
    pub(super) fn level(&self) -> &str {
        let none = if self.evaluated { "NoVerdict" } else { "NotEvaluated" };
        self.verdict.as_ref().map_or(none, |verdict| &verdict.level)
    }
}

/// What is planned, or under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlanPart {
    pub(super) workload: String,
    pub(super) steps: usize,
    /// The pods that it restarts.
    pub(super) restarts: Vec<String>,
    /// How long writes stop by it, as estimated; `null`: they do not.
    pub(super) write_gap_milliseconds: Option<i64>,
}

/// One set.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetPart {
    pub(super) name: String,
    /// What a reader must know to weigh it.
    pub(super) note: Option<String>,
    /// How many pods it has; `pods` may be empty where they were not looked at.
    pub(super) size: usize,
    /// Who says that it is primary.
    pub(super) primaries: Vec<String>,
    /// Whether it takes writes.
    pub(super) writes: String,
    #[serde(flatten)]
    pub(super) memory: Sums,
    /// The worst ratio that means something, as in the status; `null`: not known, or all are almost empty.
    pub(super) worst_ratio_percent: Option<u32>,
    /// Findings about its pods; `null`: which pods it has is not known.
    pub(super) findings: Option<Counts>,
    pub(super) right_sizing: RightSizing,
    pub(super) pods: Vec<PodPart>,
}

/// How many findings there are of each severity: of several pods each counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counts {
    pub(super) critical: usize,
    pub(super) warning: usize,
    pub(super) info: usize,
}

impl Counts {
    pub(super) fn of<'a>(findings: impl Iterator<Item = &'a FindingStatus>) -> Self {
        findings.fold(Self::default(), |mut counts, found| {
            match Severity::named(&found.severity) {
                Severity::Critical => counts.critical += 1,
                Severity::Warning => counts.warning += 1,
                Severity::Info => counts.info += 1,
            }
            counts
        })
    }
}

/// What smaller limits would save.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RightSizing {
    /// What the limit of each pod could be; `null`: not known yet.
    pub(super) limit_bytes: Option<u64>,
    /// What all limits would be smaller by then; `null`: not known yet.
    pub(super) saves_bytes: Option<u64>,
    /// Why it is not known, or what it rests on.
    pub(super) why: String,
}

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodPart {
    pub(super) pod: String,
    /// primary, replica or unknown.
    pub(super) role: &'static str,
    /// Why its Redis tells nothing; `null`: it has answered.
    pub(super) silent: Option<String>,
    /// Whether the container has a memory limit; `null`: not known.
    pub(super) limited: Option<bool>,
    /// The memory limit that holds; `null`: none, or not known.
    pub(super) limit_bytes: Option<u64>,
    /// The limit that the policy needs; `null`: not known, or none is enough.
    pub(super) needed_bytes: Option<u64>,
    /// `maxmemory`; 0: nothing bounds the data.
    pub(super) maxmemory_bytes: Option<u64>,
    pub(super) used_bytes: Option<u64>,
    pub(super) rss_bytes: Option<u64>,
    /// rss - used.
    pub(super) waste_bytes: Option<u64>,
    /// limit - rss.
    pub(super) free_bytes: Option<u64>,
    /// `mem_fragmentation_ratio` in percent.
    pub(super) ratio_percent: Option<u32>,
    /// What most of the waste is.
    pub(super) cause: Option<&'static str>,
    /// What a restart should give back.
    pub(super) restart_gains_bytes: Option<u64>,
    /// For how long the process has run.
    pub(super) uptime_seconds: Option<u64>,
    /// Earlier readings of this pod, where there are any: at least two, the oldest first.
    pub(super) history: Vec<Point>,
}

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Point {
    pub(super) at: Timestamp,
    pub(super) used_bytes: u64,
    pub(super) rss_bytes: u64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    pub(super) at: Timestamp,
    pub(super) about: String,
    pub(super) what: String,
}
