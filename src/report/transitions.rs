//! Events: one for each transition, found by comparing the status before and after. Pure.

use super::findings;
use crate::{
    api::v1alpha1::{FindingStatus, RedisMemoryPolicyStatus},
    domain::event::{EventNote, EventType},
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
/// found, or is about a pod that is gone for good (`is_there` says which there are), of which nothing is said.
pub fn between(
    before: &RedisMemoryPolicyStatus,
    after: &RedisMemoryPolicyStatus,
    is_there: impl Fn(&str) -> bool,
) -> Vec<Transition> {
    let mut events = Vec::new();
    let known = findings::is_among;
    let weighty = |finding: &&FindingStatus| finding.severity != "Info";
    for finding in after.findings.iter().filter(weighty).filter(|finding| !known(&before.findings, finding)) {
        let note = format!("{}. {}", about(finding, &finding.evidence), finding.remedy);
        events.push(event(EventType::Warning, &finding.code, "Assess", note, finding.pod.clone()));
    }
    // The list is capped: a finding that fell off its end is not over.
    if after.findings.len() < 20 {
        let over = before.findings.iter().filter(weighty).filter(|finding| !known(&after.findings, finding));
        for finding in over.filter(|finding| finding.pod.as_deref().is_none_or(&is_there)) {
            let reason = format!("{}Resolved", finding.code);
            let note = about(finding, "no longer found");
            events.push(event(EventType::Normal, &reason, "Assess", note, finding.pod.clone()));
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
    match &finding.pod {
        Some(pod) => format!("{pod}: {text}"),
        None => text.to_owned(),
    }
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
