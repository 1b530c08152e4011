//! Findings as they are shown: those of this look, and earlier ones that it could not judge. Pure.
//!
//! An operator that has just started, a pod that does not answer and a pod that has just been replaced tell nothing. What
//! was found before stays, marked stale, until it is judged again: it is over only when it is judged and not found.

use jiff::Timestamp;

use super::{sets, verdict};
use crate::{
    api::v1alpha1::{FindingStatus, RedisMemoryPolicyStatus},
    assess::{judged::Judged, reverted},
    domain::{
        finding::{Finding, FindingCode, Severity},
        names::PodName,
        pod::StatefulSet,
        snapshot::Snapshot,
    },
};

/// Longest evidence of a finding.
const EVIDENCE_CAP: usize = 500;
/// Longest text of what is done about it: a command that is cut is none.
const REMEDY_CAP: usize = 1000;

/// Instead of what the operator said that it was about to do when it found that: it acts on what it sees now alone.
pub(super) const JUDGED_FIRST: &str = "nothing is done about it before it has been judged again";

/// What is shown, the worst first. `previous`: the stored status, perhaps another operator's.
pub fn shown(
    found: &[Finding],
    judged: &Judged,
    snapshot: &Snapshot,
    previous: &RedisMemoryPolicyStatus,
) -> Vec<FindingStatus> {
    let before = each(&previous.findings);
    let mut all: Vec<FindingStatus> = found.iter().map(|finding| of(finding, snapshot, previous, &before)).collect();
    let carried = before.iter().filter(|earlier| !is_among(&all, earlier));
    let nothing_runs = sets::all_scaled_to_zero(previous, snapshot);
    let carried = carried.filter(|earlier| !nothing_runs && open(earlier, judged, snapshot)).map(stale);
    let carried: Vec<FindingStatus> = carried.collect();
    all.extend(carried);
    sort(&mut all);
    all
}

/// What is shown while nothing can be evaluated: what was found before, all of it stale.
pub fn all(previous: &RedisMemoryPolicyStatus) -> Vec<FindingStatus> {
    each(&previous.findings).iter().map(stale).collect()
}

/// A stored finding names this many pods.
const MAX_PODS: usize = 64;

/// Findings as they are stored: those of one code with one remedy are one, with the pods that they are about. What is read
/// back stays by itself.
pub fn grouped(findings: &[FindingStatus]) -> Vec<FindingStatus> {
    let mut groups: Vec<FindingStatus> = Vec::new();
    for finding in findings {
        let alone = reverted::is_read_back(&finding.code) || finding.pod.is_none();
        let same = |group: &&mut FindingStatus| {
            group.code == finding.code
                && group.severity == finding.severity
                && group.stale == finding.stale
                && group.remedy == finding.remedy
                && group.remedy_afterwards == finding.remedy_afterwards
                && group.pod.is_some()
                && group.pods.len() < MAX_PODS
        };
        match (groups.iter_mut().find(same), &finding.pod) {
            (Some(group), Some(pod)) if !alone => {
                if group.pods.is_empty() {
                    group.pods.extend(group.pod.clone());
                }
                group.pods.push(pod.clone());
                group.since = group.since.into_iter().chain(finding.since).min();
            }
            _ => groups.push(finding.clone()),
        }
    }
    groups
}

/// Stored findings, one for each pod.
pub fn each(stored: &[FindingStatus]) -> Vec<FindingStatus> {
    let one = |finding: &FindingStatus, pod: &String| FindingStatus {
        pod: Some(pod.clone()),
        pods: Vec::new(),
        pod_uid: finding.pod_uid.clone().filter(|_| finding.pod.as_ref() == Some(pod)),
        ..finding.clone()
    };
    let mut all = Vec::new();
    for finding in stored {
        match finding.pods.as_slice() {
            [] => all.push(finding.clone()),
            pods => all.extend(pods.iter().map(|pod| one(finding, pod))),
        }
    }
    all
}

/// "3 pods (redis-0, redis-1, redis-2)", the only pod, or that it is about the whole.
pub fn about(finding: &FindingStatus) -> String {
    match (finding.pods.as_slice(), &finding.pod) {
        ([_, _, ..], _) => {
            let pods: Vec<PodName> = finding.pods.iter().map(|pod| pod.as_str().into()).collect();
            format!("{} pods ({})", pods.len(), super::sets::list(&pods))
        }
        (_, Some(pod)) => pod.clone(),
        (_, None) => "(policy)".to_owned(),
    }
}

/// Whether only a live look can judge what is carried: what Redis users may do is asked in no other.
pub fn asks(status: &RedisMemoryPolicyStatus) -> bool {
    let missing = FindingCode::PermissionMissing.as_str();
    status.findings.iter().any(|finding| finding.stale && finding.code == missing && finding.pod.is_some())
}

/// Whether that finding is among these: of one code, about one pod.
pub fn is_among(findings: &[FindingStatus], finding: &FindingStatus) -> bool {
    findings.iter().any(|other| other.code == finding.code && other.pod == finding.pod)
}

/// Whether an earlier finding that is not found now may still hold.
fn open(earlier: &FindingStatus, judged: &Judged, snapshot: &Snapshot) -> bool {
    // What this version cannot find it cannot judge either.
    let Some(code) = FindingCode::named(&earlier.code) else { return false };
    match earlier.pod.as_deref() {
        Some(pod) if !is_there(snapshot, pod) => comes_back(snapshot, pod),
        pod => !judged.again(code, pod),
    }
}

/// Whether a selected pod has that name.
pub fn is_there(snapshot: &Snapshot, pod: &str) -> bool {
    snapshot.targets.iter().any(|target| target.pod.name.as_str() == pod)
}

/// A pod of that name is wanted by its StatefulSet; or nothing is selected, and nothing tells which are.
fn comes_back(snapshot: &Snapshot, pod: &str) -> bool {
    let pod = PodName::from(pod);
    let of_its = |set: &StatefulSet| set.ordinal(&pod).map(|ordinal| ordinal < set.replicas);
    let wanted: Vec<bool> = snapshot.stateful_sets.iter().filter_map(of_its).collect();
    wanted.contains(&true) || (wanted.is_empty() && snapshot.targets.is_empty())
}

fn of(
    finding: &Finding,
    snapshot: &Snapshot,
    previous: &RedisMemoryPolicyStatus,
    before: &[FindingStatus],
) -> FindingStatus {
    let cap = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    let uid = |pod: &PodName| snapshot.target(pod).map(|target| target.pod.uid.to_string());
    // Where there were pods, none is more than something to know, unless none is wanted.
    let vanished =
        finding.code == FindingCode::NoTargets && had_pods(previous) && !sets::all_scaled_to_zero(previous, snapshot);
    let severity = if vanished { finding.severity.max(Severity::Warning) } else { finding.severity };
    FindingStatus {
        code: finding.code.as_str().to_owned(),
        severity: severity.to_string(),
        pod: finding.pod.as_ref().map(ToString::to_string),
        pod_uid: finding.pod.as_ref().and_then(uid),
        pods: Vec::new(),
        since: Some(since(finding, snapshot, before)),
        stale: false,
        evidence: cap(&finding.evidence, EVIDENCE_CAP),
        remedy: cap(&finding.remedy, REMEDY_CAP),
        remedy_afterwards: cap(&finding.afterwards, REMEDY_CAP),
    }
}

/// Since when it is so, where that is known, else when it was first found: one that a version wrote which kept no time is
/// taken for new.
fn since(finding: &Finding, snapshot: &Snapshot, before: &[FindingStatus]) -> Timestamp {
    let same = |earlier: &&FindingStatus| {
        earlier.code == finding.code.as_str() && earlier.pod.as_deref() == finding.pod.as_ref().map(PodName::as_str)
    };
    let known = finding.since.or_else(|| before.iter().find(same)?.since);
    known.unwrap_or_else(|| Timestamp::from_second(snapshot.at.as_second()).unwrap_or(snapshot.at))
}

fn had_pods(previous: &RedisMemoryPolicyStatus) -> bool {
    let counted = previous.summary.as_ref().is_some_and(|summary| summary.targets > 0);
    let said = |finding: &FindingStatus| {
        finding.code == FindingCode::NoTargets.as_str() && Severity::named(&finding.severity) >= Severity::Warning
    };
    counted || !previous.workloads.is_empty() || previous.findings.iter().any(said)
}

/// What was promised, or said to be in the way of a restart, was so at another look.
fn stale(earlier: &FindingStatus) -> FindingStatus {
    let of_then =
        earlier.code == FindingCode::FragmentationRestartDue.as_str() || verdict::is_promised(&earlier.remedy);
    let remedy = if of_then { JUDGED_FIRST.to_owned() } else { earlier.remedy.clone() };
    FindingStatus { stale: true, remedy, ..earlier.clone() }
}

/// As `assess` sorts: the worst first, then by code in the order of the catalogue, then by pod.
fn sort(findings: &mut [FindingStatus]) {
    let place = |finding: &FindingStatus| FindingCode::ALL.iter().position(|code| code.as_str() == finding.code);
    findings.sort_by(|a, b| {
        let worst_first = Severity::named(&b.severity).cmp(&Severity::named(&a.severity));
        worst_first
            .then_with(|| place(a).cmp(&place(b)))
            .then_with(|| a.pod.cmp(&b.pod))
            .then_with(|| a.evidence.cmp(&b.evidence))
    });
}

#[cfg(test)]
mod tests;
