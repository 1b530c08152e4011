//! What a plan means for each member of its set: why it is restarted, or why it is not. Pure.

use super::Input;
use crate::{
    api::v1alpha1::PlanMember,
    assess::fragmentation,
    domain::{
        finding::FindingCode,
        names::PodName,
        snapshot::Target,
        step::{Plan, PlannedStep, Step},
    },
};

/// Longest reason.
const WHY_CAP: usize = 500;

/// Every member of the set that the plan is about, the primary first.
pub(super) fn of(input: &Input<'_>, plan: &Plan) -> Vec<PlanMember> {
    // The shards of a Redis Cluster have one name as yet.
    let sets = input.sets.iter().filter(|set| set.id == plan.shard);
    let mut members: Vec<PlanMember> = sets
        .flat_map(|set| set.pods.iter().map(move |pod| (set, pod)))
        .map(|(set, pod)| {
            let role = if set.primaries.contains(pod) {
                "primary"
            } else if set.silent.contains(pod) {
                "unknown"
            } else {
                "replica"
            };
            let restart = plan.steps.iter().zip(1..).find(|(planned, _)| evicts(planned, pod));
            let why = match restart {
                Some((planned, n)) => format!("restarted in step {n}: {}", planned.reason),
                None => not_restarted(input, plan, pod),
            };
            let why = why.chars().take(WHY_CAP).collect();
            PlanMember { pod: pod.to_string(), role: role.to_owned(), restarted: restart.is_some(), why }
        })
        .collect();
    members.sort_by_key(|member| member.role != "primary");
    members.truncate(64);
    members
}

fn evicts(planned: &PlannedStep, pod: &PodName) -> bool {
    matches!(&planned.step, Step::Evict { pod: evicted } if evicted == pod)
}

/// Why the plan leaves that member alone.
fn not_restarted(input: &Input<'_>, plan: &Plan, pod: &PodName) -> String {
    if plan.steps.is_empty() {
        return match input.blocked.first() {
            Some(first) => format!("the set is not restarted: {}", first.reason),
            None => "the set is not restarted".to_owned(),
        };
    }
    if plan.left.contains(pod) {
        return "restarted by the plan after this one: one plan has no room for all".to_owned();
    }
    let of_pod = |code: FindingCode| {
        let mut findings = input.findings.iter();
        findings.find(|finding| finding.code == code.as_str() && finding.pod.as_deref() == Some(pod.as_str()))
    };
    if let Some(due) = of_pod(FindingCode::FragmentationRestartDue) {
        let promised = [fragmentation::WILL_RESTART, fragmentation::WOULD_RESTART].contains(&due.remedy.as_str());
        return if promised { "a restart is due, and this plan leaves it out".to_owned() } else { due.remedy.clone() };
    }
    match input.snapshot.target(pod).and_then(Target::sample) {
        None => "it does not answer".to_owned(),
        Some(sample) => format!(
            "no restart is due for it: ratio {}, and {} is where one may be",
            sample.memory.ratio.quantised(),
            input.policy.fragmentation.restart
        ),
    }
}
