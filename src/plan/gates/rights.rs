//! Gates of rights: what Kubernetes and the Redis users let this operator do.

use super::Scene;
use crate::{
    domain::{
        blocked::{BlockReason, Blocked},
        pod::Right,
        policy::Mode,
        snapshot::RedisRights,
        step::StepKind,
        switchover::SwitchoverMethod,
    },
    plan::switchover::choice,
    topology::Handover,
};

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
    let rights = &scene.ctx.snapshot.redis_rights;
    let method = match scene.shard.handover() {
        Handover::BySentinel => SwitchoverMethod::Sentinel,
        _ => choice::choose(scene.ctx.settings.switchover, rights, members.iter().copied()).method,
    };
    let of_members = missing.iter().filter(|(pod, _)| members.contains(&pod));
    let (pod, commands) = of_members
        .map(|(pod, commands)| {
            let needed = method.in_the_way(commands).into_iter().filter(|command| needs(scene, command));
            (pod, needed.collect::<Vec<_>>())
        })
        .find(|(_, commands)| !commands.is_empty())?;
    let method = if scene.hands_over { format!(" (switchover method {})", method.as_str()) } else { String::new() };
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
    scene.steps.iter().flat_map(|planned| planned.step.kind().sends()).any(|sent| sent.rule() == command)
}
