//! Which pods are restarted, in which order, and who becomes the primary.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::{Context, resize, switchover::choice::announced};
use crate::{
    assess::{
        fragmentation::{self, DueReason, Verdict},
        topology::Workload,
    },
    domain::{
        bytes::Bytes,
        names::PodName,
        snapshot::Target,
        step::{Plan, PlannedStep, Step},
    },
};

/// A member that is to be restarted.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// The member.
    pub target: &'a Target,
    /// Its fragmentation, judged now.
    pub verdict: Verdict,
    /// What its restart is expected to give back.
    pub gain: Bytes,
}

/// The members that a remediation would restart: when any member's restart is due, every member whose own expected
/// gain reaches `minimumWaste`. Empty: nothing is due.
pub fn restarts<'a>(ctx: &Context<'_>, workload: &Workload<'a>) -> Vec<Candidate<'a>> {
    let candidates: Vec<Candidate<'_>> = workload
        .members
        .iter()
        .filter_map(|target| {
            let gain = fragmentation::expected_gain(&target.sample()?.memory);
            let verdict = fragmentation::judge(ctx.policy, target, ctx.now, &ctx.settings.assess);
            Some(Candidate { target, verdict, gain })
        })
        .collect();
    if !candidates.iter().any(|candidate| candidate.verdict.restart_due.is_some()) {
        return Vec::new();
    }
    candidates.into_iter().filter(|candidate| candidate.gain >= ctx.policy.fragmentation.minimum_waste).collect()
}

/// The frozen plan for a workload, or `None` when nothing is due. Without exactly one primary the order is not known
/// and the gates say so; the plan then lists no steps.
pub fn plan(ctx: &Context<'_>, workload: &Workload<'_>) -> Option<Plan> {
    let restarts = restarts(ctx, workload);
    if restarts.is_empty() {
        return None;
    }
    let mut steps = Vec::new();
    if let [primary] = workload.primaries.as_slice() {
        let is_primary = |candidate: &&Candidate<'_>| candidate.target.pod.uid == primary.pod.uid;
        for candidate in restarts.iter().filter(|candidate| !is_primary(candidate)) {
            restart(ctx, candidate, &mut steps);
        }
        if let Some(old) = restarts.iter().find(is_primary)
            && let Some(next) = next_primary(workload, &restarts)
        {
            hand_over(ctx, workload, old, next, &mut steps);
            restart(ctx, old, &mut steps);
        }
        steps = prove_replicas_together(steps);
    }
    steps.truncate(Plan::MAX_STEPS);
    let hash = hash(workload, &steps);
    Some(Plan { workload: workload.uid.clone(), workload_name: workload.name.clone(), steps, hash })
}

/// The best replica to become primary: one that is not restarted (it is clean) before one that is; ties by name.
fn next_primary<'a>(workload: &Workload<'a>, restarts: &[Candidate<'_>]) -> Option<&'a Target> {
    let restarted = |target: &Target| restarts.iter().any(|candidate| candidate.target.pod.uid == target.pod.uid);
    workload.replicas.iter().copied().min_by_key(|target| (restarted(target), target.pod.name.clone()))
}

fn restart(ctx: &Context<'_>, candidate: &Candidate<'_>, steps: &mut Vec<PlannedStep>) {
    let Candidate { target, verdict, gain } = candidate;
    let pod = target.pod.name.clone();
    let gain = gain.quantised();
    steps.push(PlannedStep { step: Step::Evict { pod: pod.clone() }, reason: why(ctx, verdict, gain) });
    if let Some((step, reason)) = resize::replacement_step(ctx, target) {
        steps.push(PlannedStep { step, reason });
    }
    let mut push = |step, reason: String| steps.push(PlannedStep { step, reason });
    push(
        Step::AwaitReplica { pod: pod.clone() },
        "it must be loaded, connected and caught up before another member is touched".to_owned(),
    );
    push(
        Step::RestoreSettings { pod: pod.clone() },
        "a new pod starts with its template's settings; what was changed at run time is applied again".to_owned(),
    );
    push(Step::Prove { pod }, format!("at least half of the expected {gain} must have come back"));
}

/// Why a pod is restarted, with quantised numbers.
fn why(ctx: &Context<'_>, verdict: &Verdict, gain: Bytes) -> String {
    let ratio = verdict.ratio.quantised();
    let threshold = ctx.policy.fragmentation.restart;
    match verdict.restart_due {
        Some(DueReason::Ratio) => {
            format!("fragmentation {ratio} is at or above {threshold}; a restart gives back about {gain}")
        }
        Some(DueReason::Efficiency) => {
            format!("less than half of its resident memory is data; a restart gives back about {gain}")
        }
        None => format!("fragmentation {ratio}, restarted with its set; a restart gives back about {gain}"),
    }
}

fn hand_over(
    ctx: &Context<'_>,
    workload: &Workload<'_>,
    old: &Candidate<'_>,
    next: &Target,
    steps: &mut Vec<PlannedStep>,
) {
    let (from, to) = (old.target.pod.name.clone(), next.pod.name.clone());
    steps.push(PlannedStep {
        step: Step::Switchover { from: from.clone(), to: to.clone() },
        reason: format!(
            "{from} is primary and must be restarted too; {to} is clean and in sync; {}",
            announced(ctx.settings.switchover)
        ),
    });
    for replica in workload.replicas.iter().filter(|replica| replica.pod.name != to) {
        steps.push(PlannedStep {
            step: Step::Repoint { pod: replica.pod.name.clone(), to: to.clone() },
            reason: format!("it follows {from}, which is restarted next"),
        });
    }
}

/// Moves the proofs of the replicas behind the last replica's settings: they settle at the same time, and nothing is
/// handed over before all of them hold. The old primary's proof stays last.
fn prove_replicas_together(steps: Vec<PlannedStep>) -> Vec<PlannedStep> {
    let first_part =
        steps.iter().position(|planned| matches!(planned.step, Step::Switchover { .. })).unwrap_or(steps.len());
    let mut steps = steps;
    let rest = steps.split_off(first_part);
    let (proofs, mut ordered): (Vec<_>, Vec<_>) =
        steps.into_iter().partition(|planned| matches!(planned.step, Step::Prove { .. }));
    ordered.extend(proofs);
    ordered.extend(rest);
    ordered
}

/// The names of the pods that a plan restarts, in order.
pub fn restarted_pods(steps: &[PlannedStep]) -> Vec<PodName> {
    let evictions = steps.iter().filter(|planned| matches!(planned.step, Step::Evict { .. }));
    evictions.map(|planned| planned.step.pod().clone()).collect()
}

/// Names a plan: reasons are left out, so that the noise of a number does not make another plan of it. The UIDs of the
/// pods are in, so that the same steps on other pods are another plan: an approval must not outlive what it was given
/// for.
fn hash(workload: &Workload<'_>, steps: &[PlannedStep]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(workload.uid.as_str());
    for member in &workload.members {
        hasher.update(format!("\n{} {}", member.pod.name, member.pod.uid));
    }
    for planned in steps {
        hasher.update(format!("\n{:?}", planned.step));
    }
    hasher.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
