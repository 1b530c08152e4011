//! Gates on how the workload is built: what is not handled (yet) is refused, with the reason.

use std::cmp::Ordering;

use super::{Phase, Scene};
use crate::{
    domain::{
        blocked::{BlockReason, Blocked},
        pod::Owner,
        recognition,
        sample::{Engine, Version},
        snapshot::Target,
        step::Plan,
    },
    plan::{chain, request},
};

/// `FAILOVER` came with 6.2.
const OLDEST: Version = Version { major: 6, minor: 2, patch: 0 };

/// What its kind of set forbids.
pub(super) fn kind(scene: &Scene<'_>) -> Option<Blocked> {
    scene.shard.refusal()
}

pub(super) fn server_supported(scene: &Scene<'_>) -> Option<Blocked> {
    scene.shard.members.iter().find_map(|target| {
        let server = &target.sample()?.server;
        let known = matches!(server.engine, Engine::Redis | Engine::Valkey);
        let text = format!(
            "{} runs {:?} {}; a switchover needs FAILOVER of Redis {OLDEST} or Valkey",
            target.pod.name, server.engine, server.version
        );
        let blocked = Blocked::new(BlockReason::ServerUnsupported, text);
        // An old version can be upgraded; another product stays one.
        (!(known && server.version >= OLDEST)).then(|| if known { blocked } else { blocked.ruling() })
    })
}

/// Where a replica follows another one only those that nobody follows are restarted. Under Sentinel nobody is: it leads every
/// replica to the primary. A chain that is made while the role is being handed over is waited for as a replica that does not
/// follow.
pub(super) fn chained(scene: &Scene<'_>) -> Option<Blocked> {
    let Scene { shard, restarting, .. } = scene;
    if !shard.chained {
        return None;
    }
    let text = match &scene.phase {
        Phase::Preflight if !shard.has_ends() || restarting.is_empty() => chain::refusal(shard),
        Phase::Preflight => chain::in_the_way(shard, restarting)?,
        Phase::Evict(pod) => chain::in_the_way(shard, std::slice::from_ref(pod))?,
        Phase::Persist(_) | Phase::Switchover => return None,
    };
    Some(Blocked::new(BlockReason::ChainedReplicas, text))
}

/// A hand-over is planned in one piece, and a plan has a bound.
pub(super) fn fits_a_plan(scene: &Scene<'_>) -> Option<Blocked> {
    let members = scene.shard.members.len();
    (members > Plan::MAX_MEMBERS).then(|| {
        Blocked::new(
            BlockReason::SetTooLarge,
            format!(
                "{} has {members} members, and a plan covers at most {}: restart its pods by hand, the primary last",
                scene.shard.name,
                Plan::MAX_MEMBERS
            ),
        )
    })
}

pub(super) fn inside_selector(scene: &Scene<'_>) -> Option<Blocked> {
    let outside = &scene.shard.outside;
    (!outside.is_empty()).then(|| {
        let list = outside.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let text = if scene.shard.primary_is_outside() {
            format!("the primary of this set is {list}, which is no selected pod; widen spec.selector")
        } else {
            format!("{list} replicates with this set but is no selected pod; widen spec.selector")
        };
        Blocked::new(BlockReason::MemberOutsideSelector, text)
    })
}

/// Only the pods of StatefulSets come back under their names, with their volumes.
pub(super) fn stateful_sets(scene: &Scene<'_>) -> Option<Blocked> {
    let shard = scene.shard;
    let is_set = |owner: &Owner| owner.kind == "StatefulSet";
    let comes_back = |member: &Target| member.pod.owner.as_ref().is_some_and(is_set) && shard.set_of(member).is_some();
    let other = shard.members.iter().find(|member| !comes_back(member))?;
    let pod = &other.pod.name;
    let only = "only the pods of a StatefulSet come back under their name, with their volumes";
    let (reason, text) = match &other.pod.owner {
        Some(owner) if owner.kind == "ReplicaSet" => (
            BlockReason::DeploymentPod,
            format!(
                "{pod} belongs to a Deployment ({}): the next pod would start while the evicted one still saves, on the \
                 same volume; run Redis as a StatefulSet",
                scene.ctx.snapshot.deployment(&owner.uid).map_or(&owner.name, |deployment| &deployment.name)
            ),
        ),
        Some(owner) if is_set(owner) => {
            let text = format!("StatefulSet {}, which {pod} names as its controller, does not exist", owner.name);
            return Some(Blocked::new(BlockReason::NoStatefulSet, text));
        }
        Some(owner) => (
            BlockReason::NoStatefulSet,
            format!("{pod} belongs to {} {}: {only}, so no other is restarted", owner.kind, owner.name),
        ),
        None => {
            (BlockReason::NoStatefulSet, format!("no controller of {pod} is known: {only}, so no other is restarted"))
        }
    };
    Some(Blocked::new(reason, text).ruling())
}

/// A set that is known only in part may have a primary that is not seen.
pub(super) fn whole_sets(scene: &Scene<'_>) -> Option<Blocked> {
    let shard = scene.shard;
    shard.stateful_sets.iter().find_map(|set| {
        let members = shard.members.iter().filter(|member| shard.set_of(member) == Some(set)).count();
        let wanted = usize::try_from(set.replicas).unwrap_or(usize::MAX);
        let advice = match members.cmp(&wanted) {
            Ordering::Equal => return None,
            Ordering::Less => "see why the others are missing, or let spec.selector take them too",
            Ordering::Greater => "wait until it has been scaled down",
        };
        Some(Blocked::new(
            BlockReason::SetIncomplete,
            format!(
                "StatefulSet {} wants {wanted} pods, {members} are selected and replicate together: {advice}",
                set.name
            ),
        ))
    })
}

pub(super) fn foreign_owner(scene: &Scene<'_>) -> Option<Blocked> {
    scene.shard.stateful_sets.iter().find_map(|set| {
        let before = || scene.ctx.snapshot.seen_before(&set.uid)?.owner.as_ref();
        let (owner, belongs) = match (&set.owner, before()) {
            (Some(owner), _) => (owner, "belongs".to_owned()),
            (None, Some((owner, at))) => {
                (owner, format!("belonged, until {} and so within the last hour,", at.strftime("%Y-%m-%dT%H:%M:%SZ")))
            }
            (None, None) => return None,
        };
        let product = recognition::product_of(owner).map(|product| format!(" ({product})")).unwrap_or_default();
        Some(
            Blocked::new(
                BlockReason::ForeignOwner,
                format!(
                    "StatefulSet {} {belongs} to {} {}{product}, which may fail over or restart on its own; sets of other \
                     operators are watched but not restarted by this version",
                    set.name, owner.kind, owner.name
                ),
            )
            .ruling(),
        )
    })
}

pub(super) fn template_role_label(scene: &Scene<'_>) -> Option<Blocked> {
    scene.shard.stateful_sets.iter().find_map(|set| {
        let value = set.template_role_label.as_ref()?;
        Some(Blocked::new(
            BlockReason::RoleLabelInTemplate,
            format!(
                "the pod template of {} sets {}={value}: every new pod would claim that role; remove the label from the \
                 template",
                set.name, scene.ctx.policy.redis.role_label.key
            ),
        ))
    })
}

/// What a person asks for has a plan.
pub(super) fn can_be_done(scene: &Scene<'_>) -> Option<Blocked> {
    let ask = request::of(scene.ctx, scene.shard)?;
    Some(Blocked::new(BlockReason::RequestRefused, request::impossible(scene.ctx, scene.shard, ask)?))
}

/// What a person asks for has another cause.
pub(super) fn cause_curable(scene: &Scene<'_>) -> Option<Blocked> {
    if scene.asked {
        return None;
    }
    let Scene { ctx, shard, restarting, .. } = scene;
    shard.members.iter().filter(|target| restarting.contains(&target.pod.name)).find_map(|target| {
        let verdict = &ctx.look.member(target)?.fragmentation;
        let instead = verdict.cause.instead_of_a_restart()?;
        Some(Blocked::new(
            BlockReason::CauseNotCurable,
            format!(
                "{}: most of the {} wasted is not fragmentation (fragmented {}, purgeable {}, other {}): {instead}",
                target.pod.name,
                verdict.waste.quantised(),
                verdict.fragmented.quantised(),
                verdict.purgeable.quantised(),
                verdict.other.quantised()
            ),
        ))
    })
}
