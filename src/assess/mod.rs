//! Snapshot and policy to findings. Pure: time comes in with the snapshot, nothing is read or written.
//!
//! One file a subject. A value that is not known gives no finding, neither good nor bad; that something could not be
//! looked at is a finding of its own (`reach`).

pub mod drift;
pub mod empty;
pub mod fragmentation;
pub mod headroom;
pub mod judged;
mod limits;
pub mod members;
pub mod persistence;
mod reach;
pub mod reverted;
mod rights;
pub mod roles;
pub mod services;
pub mod several;
pub mod start_roles;
pub mod target;
pub mod topology;
mod usage;

pub use limits::WILL_RAISE;

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{
    finding::{Finding, FindingCode},
    journal::{Journal, WorkloadRecord},
    names::PodName,
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

/// Every finding, worst first, then by code in the order of the catalogue, then by pod. Equal input gives equal
/// output.
pub fn assess(policy: &Policy, snapshot: &Snapshot, settings: &AssessSettings) -> Vec<Finding> {
    let mut findings = Vec::new();
    if snapshot.targets.is_empty() {
        findings.push(Finding::new(
            FindingCode::NoTargets,
            None,
            format!("the selector matches no pod in namespace {}", policy.namespace),
            "check spec.selector against the labels of the Redis pods",
        ));
    }
    for target in &snapshot.targets {
        let view = View { policy, target, around: Some(snapshot), now: snapshot.at, settings };
        findings.extend(target::findings(&view));
    }
    findings.extend(roles::findings(policy, snapshot));
    findings.extend(members::findings(policy, snapshot));
    findings.extend(drift::findings(snapshot));
    findings.extend(persistence::findings(snapshot));
    findings.extend(rights::findings(policy, snapshot));
    findings.extend(reverted::findings(snapshot));
    sort(&mut findings);
    findings
}

/// [`assess`], and what is found with the help of what is remembered. `journal`: the remediation under way.
pub fn with_records(
    policy: &Policy,
    snapshot: &Snapshot,
    settings: &AssessSettings,
    records: &[WorkloadRecord],
    journal: Option<&Journal>,
) -> Vec<Finding> {
    let mut findings = assess(policy, snapshot, settings);
    // Where the primary is not settled no label is moved, so none is announced.
    let unsettled = several::unsettled_pods(snapshot, records);
    let of_unsettled = |pod: &PodName| unsettled.iter().any(|target| target.pod.name == *pod);
    findings.retain(|finding| {
        finding.code != FindingCode::RoleLabelMissing || !finding.pod.as_ref().is_some_and(of_unsettled)
    });
    findings.extend(drift::of_records(policy, records));
    findings.extend(drift::of_starts(snapshot, records, journal));
    findings.extend(start_roles::findings(policy, snapshot, records));
    findings.extend(several::findings(policy, snapshot, records));
    sort(&mut findings);
    findings
}

/// Puts findings into the order of [`assess`].
pub fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| {
        let worst_first = b.severity.cmp(&a.severity);
        worst_first.then(a.code.cmp(&b.code)).then_with(|| a.pod.cmp(&b.pod)).then_with(|| a.evidence.cmp(&b.evidence))
    });
}

/// One target and what it is judged by.
#[derive(Clone, Copy, Debug)]
struct View<'a> {
    policy: &'a Policy,
    target: &'a Target,
    /// The rest of the snapshot; `None` when one server is looked at by itself.
    around: Option<&'a Snapshot>,
    now: Timestamp,
    settings: &'a AssessSettings,
}

impl View<'_> {
    fn finding(&self, code: FindingCode, evidence: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::new(code, Some(self.target.pod.name.clone()), evidence, remedy)
    }

    /// The older policy that acts for this target's workload instead of ours.
    fn claimed_by(&self) -> Option<&str> {
        let owner = self.target.pod.owner.as_ref()?;
        let claims = &self.around?.claimed_by_other;
        claims.iter().find(|(uid, _)| *uid == owner.uid).map(|(_, name)| name.as_str())
    }
}

#[cfg(test)]
mod tests;
