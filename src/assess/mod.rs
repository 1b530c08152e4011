//! Snapshot and policy to findings. Pure: time comes in with the snapshot, nothing is read or written.
//!
//! One file a subject. A value that is not known gives no finding, neither good nor bad; that something could not be
//! looked at is a finding of its own (`reach`).

mod assessment;
pub mod bound;
pub mod digest;
pub mod drift;
pub mod empty;
pub mod eviction;
pub mod fragmentation;
pub mod growth;
pub mod headroom;
pub mod judged;
mod limits;
pub mod members;
pub mod nodes;
pub mod obstacle;
pub mod oom;
mod own_maxmemory;
pub mod patch;
pub mod persistence;
mod reach;
mod readings;
pub mod reverted;
mod rights;
pub mod roles;
pub mod services;
pub mod several;
pub mod start_roles;
pub mod target;
mod usage;

pub use assessment::{Assessment, Member};
pub use limits::{RSS_NEAR_LIMIT, WILL_RAISE};
pub use own_maxmemory::{WILL_SET, in_start};

use std::time::Duration;

use crate::domain::{
    finding::{Finding, FindingCode},
    pod::StatefulSet,
    policy::Policy,
    snapshot::{Snapshot, Target},
};

/// What the binary's flags say about sampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssessSettings {
    /// A process younger than this is not judged for fragmentation.
    pub warm_up: Duration,
    /// Time between two samples of a target.
    pub sample_interval: Duration,
}

impl Default for AssessSettings {
    fn default() -> Self {
        Self { warm_up: Duration::from_secs(300), sample_interval: Duration::from_secs(15) }
    }
}

/// Puts findings into the order of [`Assessment::findings`].
pub fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| {
        let worst_first = b.severity.cmp(&a.severity);
        worst_first.then(a.code.cmp(&b.code)).then_with(|| a.pod.cmp(&b.pod)).then_with(|| a.evidence.cmp(&b.evidence))
    });
}

/// What lies around one target.
#[derive(Clone, Copy, Debug)]
struct Around<'a> {
    snapshot: &'a Snapshot,
    /// The StatefulSet that owns its pod.
    set: Option<&'a StatefulSet>,
    /// The members of its shard.
    members: &'a [&'a Target],
}

/// One target and what it is judged by.
#[derive(Clone, Copy, Debug)]
struct View<'a> {
    policy: &'a Policy,
    target: &'a Target,
    /// The rest of the snapshot; `None` when one server is looked at by itself.
    around: Option<Around<'a>>,
    /// How fragmented its memory is.
    fragmentation: &'a fragmentation::Verdict,
    /// What its limit must be for a `maxmemory`.
    demand: headroom::Demand,
    /// Whether its limit is enough.
    headroom: headroom::HeadroomVerdict,
    /// How its data grows; `None`: it does not, or not steadily.
    growth: Option<growth::Growth>,
}

impl View<'_> {
    fn finding(&self, code: FindingCode, evidence: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::new(code, Some(self.target.pod.name.clone()), evidence, remedy)
    }

    /// The older policy that acts for this target's shard instead of ours.
    fn claimed_by(&self) -> Option<&str> {
        obstacle::claimed_by(self.around.as_ref()?.snapshot, self.target)
    }
}

#[cfg(test)]
mod tests;
