//! Findings about one target.

use jiff::Timestamp;

use super::{AssessSettings, View, fragmentation, limits, reach, sort, usage};
use crate::domain::{finding::Finding, policy::Policy, snapshot::Target};

/// Findings about one target, looked at by itself: without its workload, its template and the operator's rights.
/// Sorted as [`super::assess`] sorts.
pub fn assess_target(policy: &Policy, target: &Target, now: Timestamp, settings: &AssessSettings) -> Vec<Finding> {
    let mut findings = self::findings(&View { policy, target, around: None, now, settings });
    sort(&mut findings);
    findings
}

pub(super) fn findings(view: &View<'_>) -> Vec<Finding> {
    let mut findings = reach::findings(view);
    let Some(sample) = view.target.sample().filter(|sample| !sample.server.is_sentinel) else { return findings };
    findings.extend(limits::findings(view, sample));
    findings.extend(usage::findings(view, sample));
    findings.extend(fragmentation::findings(view));
    findings
}
