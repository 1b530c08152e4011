//! Gates of what was done before: how the last remediation ended, and how long ago a pod started.

use std::time::Duration;

use jiff::Timestamp;

use super::{Phase, Scene};
use crate::{
    domain::{
        blocked::{BlockReason, Blocked},
        journal::{Outcome, WorkloadRecord},
        snapshot::Target,
    },
    plan::Context,
    topology::Shard,
};

fn record<'a>(scene: &Scene<'a>) -> Option<&'a WorkloadRecord> {
    scene.shard.record(scene.ctx.records)
}

pub(super) fn not_ineffective(scene: &Scene<'_>) -> Option<Blocked> {
    let last = record(scene)?;
    let ineffective = last.outcome == Some(Outcome::Ineffective) && last.generation == scene.ctx.policy.generation;
    (ineffective && !scene.asked && !scene.only_hands_back()).then(|| {
        Blocked::new(
            BlockReason::RemediationIneffective,
            format!("{}; it is not repeated until the spec changes", last.message),
        )
    })
}

pub(super) fn not_failed(scene: &Scene<'_>) -> Option<Blocked> {
    let last = record(scene)?;
    let outcome = last.outcome?;
    let failed = match outcome {
        Outcome::SwitchoverFailed | Outcome::LabelDidNotFollow => true,
        // What a restart did not do says nothing about a role that is handed back.
        Outcome::ConfigDrift | Outcome::PersistFailed => !scene.only_hands_back(),
        _ => false,
    };
    let reason = match outcome {
        Outcome::LabelDidNotFollow => BlockReason::LabelDidNotFollow,
        _ => BlockReason::RemediationFailed,
    };
    let same_spec = last.generation == scene.ctx.policy.generation;
    let waiting = scene.ctx.since(last.ended_at) < scene.ctx.policy.restart.cooldown;
    (failed && same_spec && waiting).then(|| {
        Blocked::new(
            reason,
            format!(
                "{}: {}; tried again at {}, or when the spec changes",
                outcome.as_str(),
                last.message,
                short(last.ended_at.saturating_add(scene.ctx.policy.restart.cooldown).unwrap_or(last.ended_at))
            ),
        )
    })
}

/// What gave up for an obstacle that no gate sees beforehand does not take a slot again and again.
pub(super) fn not_given_up(scene: &Scene<'_>) -> Option<Blocked> {
    let last = record(scene).filter(|last| last.outcome == Some(Outcome::GaveUp))?;
    let until = last.retry_at.filter(|until| *until > scene.ctx.now)?;
    (last.generation == scene.ctx.policy.generation).then(|| {
        let text = format!("{}; tried again at {}, or when the spec changes", last.message, short(until));
        Blocked::new(BlockReason::RemediationGaveUp, text)
    })
}

/// Keeps what begins by itself from beginning again and again. Who asks by hand knows of the restart before (ADR 0017).
pub(super) fn cooldown(scene: &Scene<'_>) -> Option<Blocked> {
    if scene.phase != Phase::Preflight || scene.asked {
        return None;
    }
    let cooldown = scene.ctx.policy.restart.cooldown;
    scene.restarted_now().find_map(|target| {
        let last = last_start(scene.ctx, scene.shard, target)?;
        let left = cooldown.saturating_sub(scene.ctx.since(last));
        (left > Duration::ZERO).then(|| {
            Blocked::new(
                BlockReason::Cooldown,
                format!("{} started at {}; the cooldown lasts until {}", target.pod.name, short(last), {
                    short(last.saturating_add(cooldown).unwrap_or(last))
                }),
            )
        })
    })
}

/// A process that says that it is younger than its container by more than this was not started with it.
const YOUNGER: Duration = Duration::from_secs(10);

/// When the pod last started, by its container, by the process itself and by our own record of restarts: the cooldown
/// counts from here.
pub fn last_start(ctx: &Context<'_>, shard: &Shard<'_>, target: &Target) -> Option<Timestamp> {
    let record = shard.record(ctx.records).into_iter();
    let restarts = record.flat_map(|record| &record.restarts).filter(|restart| restart.pod == target.pod.name);
    let by_record = restarts.map(|restart| restart.at).max();
    let started = target.pod.container.as_ref().ok().and_then(|container| container.started_at);
    // The pod was read before the server: the container may have restarted in between, or the process within it.
    let by_process = target.sample().and_then(|sample| sample.at.checked_sub(sample.server.uptime).ok());
    let by_process =
        by_process.filter(|at| started.and_then(|it| it.checked_add(YOUNGER).ok()).is_none_or(|it| *at > it));
    // What the kernel ended is no restart that somebody chose.
    let chosen = started.filter(|_| target.pod.container.as_ref().is_ok_and(|container| container.killed.is_none()));
    chosen.max(by_record).max(by_process)
}

/// To the second: fractions say nothing to people.
fn short(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
