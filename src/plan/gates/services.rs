//! Gates on how clients find the primary: the role moves only where they follow it.

use super::Scene;
use crate::{
    assess::services,
    domain::blocked::{BlockReason, Blocked},
};

/// No role is moved away from a pod that a Service holds its clients to: they would all meet a replica from then on.
pub(super) fn clients_follow(scene: &Scene<'_>) -> Option<Blocked> {
    let label = &scene.ctx.policy.redis.role_label;
    let (first, _) = scene.hand_overs.first()?;
    let from = scene.shard.primary().filter(|primary| primary.pod.name == *first)?;
    let service = services::pinning(scene.shard, from)?;
    Some(Blocked::new(
        BlockReason::ClientsPinned,
        format!(
            "Service {} selects {}, which holds its clients to {}: they would not follow the role away from {}. Let it \
             select {}={} instead; or leave the role where it is (spec.redis.roleAuthority: Auto), so that only replicas \
             are restarted, and the primary in place where spec.restart.allowDowntime is true",
            service.name,
            services::selector(service),
            services::taken(service, scene.shard),
            from.pod.name,
            label.key,
            label.primary,
        ),
    ))
}

/// A Service that selects the role label and one more, which some members lack, would lose its pods with the role.
pub(super) fn takes_every_member(scene: &Scene<'_>) -> Option<Blocked> {
    let service = services::partial(scene.shard).filter(|_| scene.hands_over)?;
    Some(Blocked::new(
        BlockReason::ServiceTakesSome,
        format!(
            "Service {} selects {}, and of this set only {} can have all of that: its clients would lose the primary when \
             another member gets the role; take the labels that the other members lack out of its selector",
            service.name,
            services::selector(service),
            services::taken(service, scene.shard),
        ),
    ))
}

pub(super) fn role_service(scene: &Scene<'_>) -> Option<Blocked> {
    let label = &scene.ctx.policy.redis.role_label;
    let followed = services::to_primary(scene.shard, label).next().is_some();
    // What holds clients to some pods is said by its own reason, with what to do about it.
    let told = || clients_follow(scene).is_some() || takes_every_member(scene).is_some();
    (scene.hands_over && scene.shard.follow.is_by_label() && !followed && !told()).then(|| {
        Blocked::new(
            BlockReason::NoRoleService,
            format!(
                "no Service selects {}={} and takes every pod of {}: clients would not follow a new primary",
                label.key, label.primary, scene.shard.name
            ),
        )
    })
}

#[cfg(test)]
mod tests;
