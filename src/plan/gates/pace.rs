//! Gates on permission and pace: rights, claims, earlier remediations, cooldown.

use std::time::Duration;

use jiff::Timestamp;

use super::{Phase, Scene};
use crate::{
    domain::{
        acl,
        blocked::{BlockReason, Blocked},
        journal::{Outcome, WorkloadRecord},
        pod::Right,
        policy::Mode,
        snapshot::{RedisRights, Target},
        step::StepKind,
    },
    plan::{Context, switchover::choice},
    topology::Shard,
};

pub(super) fn suspended(scene: &Scene<'_>) -> Option<Blocked> {
    scene.ctx.policy.suspend.then(|| Blocked::new(BlockReason::Suspended, "spec.suspend is true"))
}

pub(super) fn claimed(scene: &Scene<'_>) -> Option<Blocked> {
    let other = scene.shard.claimed_by(scene.ctx.snapshot)?;
    Some(Blocked::new(
        BlockReason::ClaimedByOlderPolicy,
        format!("policy {other} is older and matches pods of {}; it acts for them", scene.shard.name),
    ))
}

fn record<'a>(scene: &Scene<'a>) -> Option<&'a WorkloadRecord> {
    scene.shard.record(scene.ctx.records)
}

pub(super) fn not_ineffective(scene: &Scene<'_>) -> Option<Blocked> {
    let last = record(scene)?;
    let ineffective = last.outcome == Some(Outcome::Ineffective) && last.generation == scene.ctx.policy.generation;
    (ineffective && !scene.only_hands_back()).then(|| {
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
                "{}: {}; not tried again before the spec changes or the cooldown is over",
                outcome.as_str(),
                last.message
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

/// In Observe the plan is a dry run: what Enforce would need is a finding there, not a refusal.
fn acts(scene: &Scene<'_>) -> bool {
    scene.ctx.policy.mode == Mode::Enforce
}

pub(super) fn kubernetes_rights(scene: &Scene<'_>) -> Option<Blocked> {
    let rights = scene.ctx.snapshot.rights;
    let needs_resize = scene.steps.iter().any(|planned| planned.step.kind() == StepKind::Resize);
    let needed = [
        (true, rights.evict, "create pods/eviction", "acting.restart"),
        (scene.shard.follow.is_ours(), rights.label, "patch pods", "acting.roleLabel"),
        (needs_resize, rights.resize, "patch pods/resize", "acting.resize"),
    ];
    let (_, right, verb, value) = needed.into_iter().find(|(needed, right, ..)| *needed && *right != Right::Granted)?;
    acts(scene).then(|| {
        let state = if right == Right::Denied { "is missing" } else { "could not be checked" };
        Blocked::new(
            BlockReason::PermissionMissing,
            format!("the operator's right to {verb} {state}; the chart grants it with {value}=true"),
        )
    })
}

pub(super) fn redis_rights(scene: &Scene<'_>) -> Option<Blocked> {
    let RedisRights::Known(missing) = &scene.ctx.snapshot.redis_rights else {
        return None;
    };
    let members: Vec<_> = scene.shard.members.iter().map(|member| &member.pod.name).collect();
    // Of one that gives no sample another gate says why.
    let mut answering = scene.shard.members.iter().filter(|member| member.sample().is_some());
    if let Some(member) = answering.find(|member| !scene.ctx.snapshot.rights_known_of([&member.pod.name])) {
        let text = format!("what the Redis user may do on {} could not be asked; it is asked again", member.pod.name);
        return Some(Blocked::new(BlockReason::PermissionMissing, text));
    }
    let chosen =
        choice::choose(scene.ctx.settings.switchover, &scene.ctx.snapshot.redis_rights, members.iter().copied());
    let of_members = missing.iter().filter(|(pod, _)| members.contains(&pod));
    let (pod, commands) = of_members
        .map(|(pod, commands)| {
            let needed = chosen.method.in_the_way(commands).into_iter().filter(|command| needs(scene, command));
            (pod, needed.collect::<Vec<_>>())
        })
        .find(|(_, commands)| !commands.is_empty())?;
    let method =
        if scene.hands_over { format!(" (switchover method {})", chosen.method.as_str()) } else { String::new() };
    Some(Blocked::new(
        BlockReason::PermissionMissing,
        format!(
            "the Redis user may not run {} on {pod}{method}; extend its ACL, or, where the command was renamed \
             (rename-command), take that out: no ACL helps there",
            commands.join(", ")
        ),
    ))
}

/// Whether a step of the plan at hand sends that command.
fn needs(scene: &Scene<'_>, command: &str) -> bool {
    scene.steps.iter().flat_map(|planned| acl::of_step(planned.step.kind())).any(|sent| sent.rule() == command)
}

pub(super) fn cooldown(scene: &Scene<'_>) -> Option<Blocked> {
    if scene.phase != Phase::Preflight {
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
    started.max(by_record).max(by_process)
}

/// To the second: fractions say nothing to people.
fn short(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
