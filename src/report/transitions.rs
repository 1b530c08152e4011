//! Events: one for each transition, found by comparing the status before and after. Pure.

use super::findings;
use crate::{
    api::v1alpha1::{FindingStatus, RedisMemoryPolicyStatus},
    domain::{
        event::{EventNote, EventType},
        finding::advice,
    },
};

/// One event, and the pod that it concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The pod, when it is about one.
    pub pod: Option<String>,
    /// What is said.
    pub note: EventNote,
}

/// What changed between two statuses and is worth an event: findings that came or went (Warning and worse), and what
/// blocks a remediation. What could not be judged is in both, marked stale: what is not in `after` was judged and not
/// found, or is about a pod that is gone for good (`is_there` says which there are), of which nothing is said. `unseen`: why a
/// finding of that code, which is gone, is not known to be over.
pub fn between(
    before: &RedisMemoryPolicyStatus,
    after: &RedisMemoryPolicyStatus,
    is_there: impl Fn(&str) -> bool,
    unseen: impl Fn(&str) -> Option<&'static str>,
) -> Vec<Transition> {
    let mut events = Vec::new();
    let (earlier, now) = (findings::each(&before.findings), findings::each(&after.findings));
    let weighty = |finding: &&FindingStatus| finding.severity != "Info";
    let known = |among: &[FindingStatus], finding: &FindingStatus| findings::is_among(among, finding);
    let new: Vec<_> = now.iter().filter(weighty).filter(|finding| !known(&earlier, finding)).cloned().collect();
    for finding in findings::grouped(&new) {
        // An event stays when the mode or the decision changes: it says what held then.
        let note = format!(
            "{}. When this was written: {}",
            about(&finding, &finding.evidence),
            advice(&finding.remedy, &finding.remedy_afterwards)
        );
        events.push(event(EventType::Warning, &finding.code, "Assess", note, only_pod(&finding)));
    }
    // The list is capped: a finding that fell off its end is not over.
    if after.findings.len() < 20 {
        let over = earlier.iter().filter(weighty).filter(|finding| !known(&now, finding));
        let over: Vec<_> = over.filter(|finding| finding.pod.as_deref().is_none_or(&is_there)).cloned().collect();
        for finding in findings::grouped(&over) {
            let (end, said) = match unseen(&finding.code) {
                Some(why) => ("Unseen", format!("whether it still holds is not known: {why}")),
                None => ("Resolved", "it was looked at again and does not hold any more".to_owned()),
            };
            let (reason, note) = (format!("{}{end}", finding.code), about(&finding, &said));
            events.push(event(EventType::Normal, &reason, "Assess", note, only_pod(&finding)));
        }
    }
    events.extend(blocked(before, after));
    events
}

/// While pods are restarted on purpose, a member that does not answer or has no label yet is no news; what blocks is.
pub fn matters_while_remediating(transition: &Transition) -> bool {
    transition.note.reason == "RemediationBlocked"
}

fn about(finding: &FindingStatus, text: &str) -> String {
    match (&finding.pod, finding.pods.as_slice()) {
        (Some(pod), [_, _, ..]) => format!("{}, {pod}: {text}", findings::about(finding)),
        (Some(pod), _) => format!("{pod}: {text}"),
        (None, _) => text.to_owned(),
    }
}

/// The pod, where it is about one.
fn only_pod(finding: &FindingStatus) -> Option<String> {
    finding.pod.clone().filter(|_| finding.pods.len() < 2)
}

fn blocked(before: &RedisMemoryPolicyStatus, after: &RedisMemoryPolicyStatus) -> Option<Transition> {
    let of = |status: &RedisMemoryPolicyStatus| {
        let found = status.conditions.iter().find(|condition| condition.type_ == super::conditions::BLOCKED);
        found.filter(|condition| condition.status == "True").map(|c| (c.reason.clone(), c.message.clone()))
    };
    let (reason, message) = of(after)?;
    if of(before).is_some_and(|(earlier, _)| earlier == reason) {
        return None;
    }
    Some(event(EventType::Warning, "RemediationBlocked", "Plan", format!("{reason}: {message}"), None))
}

/// An event.
pub fn event(kind: EventType, reason: &str, action: &str, note: String, pod: Option<String>) -> Transition {
    let note = EventNote { type_: kind, reason: reason.to_owned(), action: action.to_owned(), note };
    Transition { pod, note }
}
