//! Gates on copies of the data: enough replicas while one restarts, a primary that is not empty, and for a primary that
//! nothing takes over from consent and proof.

use std::net::IpAddr;

use super::{Phase, Scene};
use crate::{
    assess::{persistence, services},
    domain::{
        blocked::{BlockReason, Blocked},
        names::PodName,
        sample::Role,
        snapshot::Target,
    },
    plan::{candidate, estimate},
    topology::Handover,
};

pub(super) fn downtime_allowed(scene: &Scene<'_>) -> Option<Blocked> {
    let primary = scene.in_place_now()?;
    if scene.ctx.policy.restart.allow_downtime {
        return None;
    }
    let advice = match services::pinning(scene.shard, primary) {
        // Clients that are held to this pod would all meet a replica once another one is primary.
        Some(service) => format!(
            "Service {} selects {}, so that its clients stay with this pod whoever is primary: set \
             spec.restart.allowDowntime: true",
            service.name,
            services::selector(service)
        ),
        None => "run three pods whose Service selects the role label, with spec.redis.roleAuthority: Operator, \
                 or set spec.restart.allowDowntime: true"
            .to_owned(),
    };
    Some(Blocked::new(
        BlockReason::DowntimeNotAllowed,
        format!(
            "{} is the primary and nothing can take over from it, so writes would stop while it restarts: {advice}",
            primary.pod.name
        ),
    ))
}

/// Writes stop at a hand-over for no longer than the policy consents to. A role that goes back to its start is owed.
pub(super) fn write_gap(scene: &Scene<'_>) -> Option<Blocked> {
    let hands_over = scene.hands_over && !scene.only_hands_back();
    let text = hands_over.then(|| estimate::gap_too_long(scene.ctx, scene.shard)).flatten()?;
    Some(Blocked::new(BlockReason::WriteGapTooLong, text))
}

/// Other replicas that stay while one restarts: those of the set, less the one.
pub(super) fn enough_copies(scene: &Scene<'_>) -> Option<Blocked> {
    let Scene { shard, restarting, .. } = scene;
    if shard.members.len() == 1 {
        return None;
    }
    let is_replica = |name: &PodName| shard.replicas.iter().any(|replica| replica.pod.name == *name);
    let one_restarts = match &scene.phase {
        Phase::Preflight => (scene.hands_over && !scene.only_moves_the_role()) || restarting.iter().any(is_replica),
        Phase::Evict(pod) => is_replica(pod),
        Phase::Persist(_) | Phase::Switchover => false,
    };
    let left = shard.replicas.len().saturating_sub(usize::from(one_restarts));
    let minimum = scene.ctx.policy.restart.minimum_synced_replicas;
    (!usize::try_from(minimum).is_ok_and(|minimum| left >= minimum)).then(|| {
        let only = if left == 0 { ", so the primary would be the only copy of the data" } else { "" };
        let (there, wanted) = (shard.members.len(), shard.wanted());
        let advice = if wanted > there {
            format!("wait for the missing pods ({there} of {wanted} are there)")
        } else {
            "run more replicas, or lower it".to_owned()
        };
        Blocked::new(
            BlockReason::TooFewReplicas,
            format!(
                "{left} other synced replicas would be left while one restarts{only}; \
                 spec.restart.minimumSyncedReplicas is {minimum}: {advice}"
            ),
        )
    })
}

/// A replica that follows a Service would, once the role moves, connect to any pod that the Service has then: perhaps to
/// itself. One that follows an address would lose a primary that comes back with another.
pub(super) fn follows_a_member(scene: &Scene<'_>) -> Option<Blocked> {
    scene.shard.replicas.iter().find_map(|replica| {
        let Role::Replica(link) = &replica.sample()?.replication.role else { return None };
        let host = &link.primary.host;
        let advice = "let it follow a pod's stable name, for example redis-0.redis-nodes";
        let text = if scene.hands_over && link.link_up && scene.shard.resolve(&link.primary).is_none() {
            format!("{} follows {host}, which is no member's name or address: {advice}", replica.pod.name)
        } else if scene.in_place.is_some() && host.parse::<IpAddr>().is_ok() {
            format!(
                "{} follows its primary by the address {host}, which the primary loses when it restarts: {advice}",
                replica.pod.name
            )
        } else {
            return None;
        };
        Some(Blocked::new(BlockReason::ReplicaFollowsNoMember, text))
    })
}

/// The candidate is at least what the primary is. Looked at when the remediation begins, and again right before
/// the role moves: the candidate may have been restarted in between.
pub(super) fn candidate_fit(scene: &Scene<'_>) -> Option<Blocked> {
    if !matches!(scene.phase, Phase::Preflight | Phase::Switchover) {
        return None;
    }
    let primary = scene.shard.primary()?;
    let unfit = |candidate: &Target| candidate::unfit(scene.ctx.snapshot, scene.shard, primary, candidate);
    let to = scene.hand_overs.iter().find(|(from, _)| *from == primary.pod.name);
    let unfit = match to {
        Some((_, to)) => unfit(scene.shard.replicas.iter().find(|replica| replica.pod.name == *to)?)?,
        // A Sentinel may choose any but those that say that they are never to be chosen.
        None if scene.hands_over && scene.shard.handover() == Handover::BySentinel => {
            let choice = candidate::for_sentinels(scene.shard);
            if choice.is_empty() {
                unfit(scene.shard.replicas.first()?)?
            } else {
                choice.into_iter().find_map(unfit)?
            }
        }
        None => return None,
    };
    Some(Blocked::new(BlockReason::CandidateUnfit, unfit))
}

pub(super) fn persistence_proven(scene: &Scene<'_>) -> Option<Blocked> {
    let primary = scene.in_place_now()?;
    let survives = persistence::survives_restart(primary, scene.shard.set_of(primary));
    let missing = survives.and_then(|()| persistence::starts_with_data(primary, &scene.starts)).err()?;
    Some(Blocked::new(
        BlockReason::PersistenceNotProven,
        format!("{} would be restarted as the primary that it is, but {missing}", primary.pod.name),
    ))
}
