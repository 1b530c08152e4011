//! Gates of people's time: the stop of the whole operator or of a policy, windows, approval.

use super::{Phase, Scene};
use crate::{
    domain::{
        blocked::{BlockReason, Blocked},
        policy::{Approval, Mode},
        step::{PlannedStep, Step},
        window::{self, State},
    },
    plan::{estimate, hold},
};

/// Names the approved plan on the policy.
pub const APPROVE_ANNOTATION: &str = "redismemory.io/approve";

pub(super) fn not_stopped(scene: &Scene<'_>) -> Option<Blocked> {
    let how = scene.ctx.snapshot.surroundings.stopped.as_ref()?;
    Some(Blocked::new(
        BlockReason::ClusterStopped,
        format!("the whole operator is stopped by {how}: only role labels are kept"),
    ))
}

pub(super) fn suspended(scene: &Scene<'_>) -> Option<Blocked> {
    scene.ctx.policy.suspend.then(|| Blocked::new(BlockReason::Suspended, "spec.suspend is true"))
}

/// Nothing that is still to be done disturbs what people hold.
pub(super) fn not_held(scene: &Scene<'_>) -> Option<Blocked> {
    let hands_over = |planned: &PlannedStep| matches!(planned.step, Step::Switchover { .. });
    let about = |planned: &&PlannedStep| match &scene.phase {
        Phase::Preflight => true,
        Phase::Evict(pod) | Phase::Persist(pod) => planned.step.pod() == pod && !hands_over(planned),
        Phase::Switchover => hands_over(planned),
    };
    let steps: Vec<PlannedStep> = scene.steps.iter().filter(about).cloned().collect();
    Some(Blocked::new(BlockReason::Held, hold::in_the_way(scene.ctx, scene.shard, &steps)?))
}

/// "the next window opens at 2026-01-04T03:00+01:00": when it goes on.
pub(in crate::plan) fn next_window(scene_ctx: &crate::plan::Context<'_>) -> String {
    let windows = &scene_ctx.policy.restart.windows;
    match window::next_opening(windows, scene_ctx.now) {
        Some(opens) => format!("the next window opens at {}", window::local(windows, opens)),
        None => "no window ever opens again".to_owned(),
    }
}

pub(super) fn window_open(scene: &Scene<'_>) -> Option<Blocked> {
    let closed = window::state(&scene.ctx.policy.restart.windows, scene.ctx.now) == State::Closed;
    (closed && !scene.only_hands_back())
        .then(|| Blocked::new(BlockReason::WindowClosed, format!("no window is open; {}", next_window(scene.ctx))))
}

/// A window in which the first pod or hand-over fits lets it begin: what does not fit any more is not begun, and the next
/// window makes a plan of what is left ([`super::super::advance`]).
pub(super) fn fits_window(scene: &Scene<'_>) -> Option<Blocked> {
    let windows = &scene.ctx.policy.restart.windows;
    let State::Open { closes } = window::state(windows, scene.ctx.now) else { return None };
    let left = std::time::Duration::try_from(closes.duration_since(scene.ctx.now)).unwrap_or_default();
    let (need, what) = estimate::unit(scene.shard, scene.disturbing())?;
    (left < need && !scene.only_hands_back()).then(|| {
        Blocked::new(
            BlockReason::WindowTooShort,
            format!(
                "{what} takes about {}, and the window closes at {}, in {}; {}",
                estimate::shown(need),
                window::local(windows, closes),
                estimate::shown(left),
                next_window(scene.ctx)
            ),
        )
    })
}

/// Manual asks before the first step, Supervised before the primary is touched. In Observe there is nothing to approve.
pub(super) fn approved(scene: &Scene<'_>) -> Option<Blocked> {
    let policy = scene.ctx.policy;
    let asks = policy.mode == Mode::Enforce
        && match policy.restart.approval {
            Approval::Automatic => false,
            Approval::Manual => scene.phase == Phase::Preflight,
            Approval::Supervised => touches_the_primary(scene),
        };
    let given = scene.ctx.snapshot.surroundings.approved.as_deref();
    if !asks || given == Some(scene.plan_hash) {
        return None;
    }
    let what = match policy.restart.approval {
        Approval::Supervised => "the next step touches the primary: nothing is done",
        Approval::Manual | Approval::Automatic => "nothing is begun",
    };
    let other = given.map_or("", |_| " (what is approved now is another plan)");
    Some(Blocked::new(
        BlockReason::ApprovalNeeded,
        format!(
            "{what} until a person approves the plan{other}: kubectl annotate --overwrite rmp {} -n {} {APPROVE_ANNOTATION}={}",
            policy.name, policy.namespace, scene.plan_hash
        ),
    ))
}

fn touches_the_primary(scene: &Scene<'_>) -> bool {
    match &scene.phase {
        // Of what is left the first thing is the primary: nothing is begun only to wait for the word.
        Phase::Preflight => scene.begins_with_primary(),
        Phase::Switchover => true,
        Phase::Evict(pod) | Phase::Persist(pod) => {
            scene.shard.lead.all().iter().any(|primary| primary.pod.name == *pod)
        }
    }
}

#[cfg(test)]
mod tests;
