//! Gates on how clients find the primary: the role moves only where they follow it.

use super::{Phase, Scene};
use crate::{
    assess::services,
    domain::{
        blocked::{BlockReason, Blocked},
        pod::Service,
    },
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

/// A Sentinel has moved the role, and the old primary is about to go: no Service leads to it any more, nor to it alone. Charts
/// have labels (`isMaster`) or selectors that somebody of theirs turns, up to a minute later.
pub(super) fn clients_have_followed(scene: &Scene<'_>) -> Option<Blocked> {
    let Phase::Evict(pod) = &scene.phase else { return None };
    let old = scene.shard.member(pod).filter(|_| scene.moved_by_sentinel(pod))?;
    let new = scene.shard.primary()?;
    let label = &scene.ctx.policy.redis.role_label;
    let is_behind =
        |service: &&Service| service.ready_pods.contains(&old.pod.uid) || !service.ready_pods.contains(&new.pod.uid);
    let service =
        services::pinning(scene.shard, old).or_else(|| services::to_primary(scene.shard, label).find(is_behind))?;
    Some(Blocked::new(
        BlockReason::ClientsPinned,
        format!(
            "Service {} (it selects {}) still leads its clients to {}, and {} is primary: {} is restarted when whoever keeps that \
             Service, or the label that it selects, has turned it to {}. Where nobody does, nothing leads its clients to the \
             primary: turn it, or delete it",
            service.name,
            services::selector(service),
            old.pod.name,
            new.pod.name,
            old.pod.name,
            new.pod.name,
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
