//! Gates on room and time: memory for a full sync, a grace period for a clean shutdown, a template that fits.

use std::time::Duration;

use super::{Phase, Scene};
use crate::{
    assess::headroom,
    domain::blocked::{BlockReason, Blocked},
    domain::pod::{Pod, StatefulSet},
    domain::snapshot::Target,
    plan::candidate,
};

/// Spare time beyond save and shutdown-timeout, for preStop hooks and the kubelet (10 s).
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(10);

pub(super) fn full_sync_headroom(scene: &Scene<'_>) -> Option<Blocked> {
    let alone = scene.shard.members.len() == 1;
    let forks = if alone { "a save or rewrite" } else { "a full sync" };
    scene.shard.members.iter().filter(|target| may_feed(scene, target)).find_map(|target| {
        let limit = target.pod.limit()?;
        let need = headroom::fork_need(target.sample()?);
        let room = limit.saturating_sub(target.sample()?.memory.rss);
        (room < need).then(|| {
            Blocked::new(
                BlockReason::FullSyncHeadroom,
                format!(
                    "{} has {} between its resident memory and its limit of {limit}; {forks} may take {}: raise the \
                     limit by {} or more",
                    target.pod.name,
                    room.quantised(),
                    need.quantised(),
                    need.saturating_sub(room).quantised()
                ),
            )
        })
    })
}

/// Whether that member may have to serve a full sync: the primary now, whom a restarted replica follows, and the candidate. From
/// a primary that is left because its limit is too low nobody syncs any more, and room is what it lacks.
fn may_feed(scene: &Scene<'_>, target: &Target) -> bool {
    let is = |other: &Target| other.pod.uid == target.pod.uid;
    if scene.sick {
        return match scene.hand_overs.as_slice() {
            [] => candidate::for_sentinels(scene.shard).into_iter().any(is),
            named => named.iter().any(|(_, to)| *to == target.pod.name),
        };
    }
    let mut feeders = scene.restarted_now().filter_map(|restarted| scene.shard.feeder(restarted));
    scene.shard.primary().is_some_and(is) || feeders.any(is) || scene.phase == Phase::Switchover
}

pub(super) fn min_replicas_to_write(scene: &Scene<'_>) -> Option<Blocked> {
    let one_less = match &scene.phase {
        Phase::Switchover => false,
        // A primary that is restarted as such takes no replica away.
        Phase::Evict(pod) | Phase::Persist(pod) => scene.in_place.as_ref() != Some(pod),
        Phase::Preflight => !scene.only_moves_the_role(),
    };
    let (all, one_less) =
        if scene.shard.has_ends() { of_the_primary(scene) } else { (scene.shard.replicas.len(), one_less) };
    let left = all.saturating_sub(usize::from(one_less));
    scene.shard.members.iter().find_map(|target| {
        let needed = target.sample()?.config.as_ref().ok()?.min_replicas_to_write;
        (usize::try_from(needed).is_ok_and(|needed| left < needed)).then(|| {
            Blocked::new(
                BlockReason::MinReplicasToWrite,
                format!(
                    "{} wants min-replicas-to-write {needed}; {left} would be left while one replica restarts",
                    target.pod.name
                ),
            )
        })
    })
}

/// In a set with a chain: how many follow the primary itself, and whether one of those restarts.
fn of_the_primary(scene: &Scene<'_>) -> (usize, bool) {
    let shard = scene.shard;
    let is_its = |replica: &Target| {
        let (feeder, primary) = (shard.feeder(replica), shard.primary());
        feeder.zip(primary).is_some_and(|(feeder, primary)| feeder.pod.uid == primary.pod.uid)
    };
    let all = shard.replicas.iter().filter(|replica| is_its(replica)).count();
    (all, scene.restarted_now().any(is_its))
}

/// Only a primary that is restarted in place must have the time to save: a replica that is killed in its save, the old
/// primary after a switchover among them, loads what it had and gets the rest from its primary.
pub(super) fn grace_period(scene: &Scene<'_>) -> Option<Blocked> {
    let target = scene.in_place_now()?;
    let sample = target.sample()?;
    let config = sample.config.as_ref().ok()?;
    let save = if config.save.is_empty() { Duration::ZERO } else { sample.persistence.last_save_took };
    let need = save + config.shutdown_timeout + SHUTDOWN_MARGIN;
    (target.pod.grace_period < need).then(|| {
        Blocked::new(
            BlockReason::GracePeriodTooShort,
            format!(
                "{}, which is restarted as the primary that it is: terminationGracePeriodSeconds is {}, a \
                 shutdown that saves everything may take {} s",
                target.pod.name,
                target.pod.grace_period.as_secs(),
                need.as_secs()
            ),
        )
    })
}

/// The revision that the StatefulSet would give to a replacement of that pod (Kubernetes:
/// `newVersionedStatefulSetPod`; `OnDelete` and everything at or above the partition get the update revision).
fn replacement_revision<'a>(set: &'a StatefulSet, pod: &Pod) -> &'a str {
    match set.ordinal(&pod.name) {
        Some(ordinal) if !set.on_delete && ordinal < set.partition => &set.current_revision,
        _ => &set.update_revision,
    }
}

pub(super) fn same_revision(scene: &Scene<'_>) -> Option<Blocked> {
    scene.restarted_now().find_map(|target| {
        let set = scene.shard.set_of(target)?;
        if !set.observed {
            return Some(Blocked::new(
                BlockReason::EvictionWouldRollOut,
                format!("StatefulSet {} was changed and its controller has not looked yet", set.name),
            ));
        }
        let next = replacement_revision(set, &target.pod);
        let now = target.pod.revision.as_deref().unwrap_or_default();
        (now != next).then(|| {
            Blocked::new(
                BlockReason::EvictionWouldRollOut,
                format!(
                    "{} runs revision {now}, its replacement would run {next}: finish the roll-out of {} first",
                    target.pod.name, set.name
                ),
            )
        })
    })
}

pub(super) fn template_holds_data(scene: &Scene<'_>) -> Option<Blocked> {
    scene.restarted_now().find_map(|target| {
        let set = scene.shard.set_of(target)?;
        let container = target.pod.container.as_ref().ok()?;
        let limit = set.template_limits.iter().find(|(name, _)| *name == container.name)?.1?;
        let floor = headroom::template_floor(&target.sample()?.memory);
        (limit < floor).then(|| {
            Blocked::new(
                BlockReason::TemplateTooSmall,
                format!(
                    "the template of {} gives {} a limit of {limit}; {}'s data needs {} while it loads: raise the \
                     template's limit",
                    set.name,
                    container.name,
                    target.pod.name,
                    floor.quantised()
                ),
            )
        })
    })
}
