//! Findings about one target.

use jiff::Timestamp;

use super::{
    AssessSettings, View, eviction,
    fragmentation::{self, Verdict},
    growth,
    headroom::{self, Demand, HeadroomVerdict},
    limits, reach, sort, usage,
};
use crate::domain::{finding::Finding, policy::Policy, snapshot::Target};

/// One target, judged by itself: without its shard, its template and the operator's rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alone {
    /// How fragmented its memory is.
    pub fragmentation: Verdict,
    /// Whether its limit is enough.
    pub headroom: HeadroomVerdict,
    /// Sorted as those of a whole look are.
    pub findings: Vec<Finding>,
}

impl Alone {
    /// Judges the target at that time.
    pub fn of(policy: &Policy, target: &Target, now: Timestamp, settings: &AssessSettings) -> Self {
        let fragmentation = fragmentation::judge(policy, target, now, settings);
        let demand = Demand::of(policy, &[target]);
        let headroom = headroom::judge(&demand, target);
        let growth = growth::judge(policy, target, now, settings);
        let view = View { policy, target, around: None, fragmentation: &fragmentation, demand, headroom, growth };
        let mut findings = self::findings(&view);
        sort(&mut findings);
        Self { fragmentation, headroom, findings }
    }
}

pub(super) fn findings(view: &View<'_>) -> Vec<Finding> {
    let mut findings = reach::findings(view);
    let Some(sample) = view.target.sample() else { return findings };
    findings.extend(limits::findings(view, sample));
    findings.extend(usage::findings(view, sample));
    findings.extend(eviction::findings(view, sample));
    findings.extend(fragmentation::findings(view));
    findings
}
