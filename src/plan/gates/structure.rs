//! Gates on how the workload is built: what is not handled (yet) is refused, with the reason.

use std::cmp::Ordering;

use super::Scene;
use crate::{
    assess::fragmentation::Cause,
    domain::{
        blocked::{BlockReason, Blocked},
        sample::{Engine, Version},
        step::Plan,
    },
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

pub(super) fn chained(scene: &Scene<'_>) -> Option<Blocked> {
    scene.shard.chained.then(|| {
        Blocked::new(
            BlockReason::ChainedReplicas,
            "a replica follows another replica; let every replica follow the primary",
        )
    })
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

/// What owns the members, where it is no StatefulSet.
fn no_stateful_set(scene: &Scene<'_>) -> Option<String> {
    let target = scene
        .shard
        .members
        .iter()
        .find(|target| target.pod.owner.as_ref().is_none_or(|owner| owner.kind != "StatefulSet"))?;
    let pod = &target.pod.name;
    let only = "only the pods of a StatefulSet come back under their name, with their volumes";
    Some(match &target.pod.owner {
        Some(owner) => format!("{pod} belongs to {} {}: {only}, so no other is restarted", owner.kind, owner.name),
        None => format!("no controller of {pod} is known: {only}, so no other is restarted"),
    })
}

pub(super) fn one_stateful_set(scene: &Scene<'_>) -> Option<Blocked> {
    let blocked = |text| Some(Blocked::new(BlockReason::NotOneStatefulSet, text));
    if let Some(text) = no_stateful_set(scene) {
        return Some(Blocked::new(BlockReason::NotOneStatefulSet, text).ruling());
    }
    let Some(set) = scene.shard.only_set() else {
        return blocked(
            "the members are not the pods of exactly one StatefulSet; only such pods come back under their name"
                .to_owned(),
        );
    };
    let members = scene.shard.members.len();
    let wanted = usize::try_from(set.replicas).unwrap_or(usize::MAX);
    let advice = match members.cmp(&wanted) {
        Ordering::Equal => return None,
        Ordering::Less => "see why the others are missing, or let spec.selector take them too",
        Ordering::Greater => "wait until it has been scaled down",
    };
    blocked(format!(
        "StatefulSet {} wants {wanted} pods, {members} are selected and replicate together: {advice}",
        set.name
    ))
}

pub(super) fn foreign_owner(scene: &Scene<'_>) -> Option<Blocked> {
    let set = scene.shard.only_set()?;
    let before = || scene.ctx.snapshot.seen_before(&set.uid)?.owner.as_ref();
    let (owner, belongs) = match (&set.owner, before()) {
        (Some(owner), _) => (owner, "belongs".to_owned()),
        (None, Some((owner, at))) => {
            (owner, format!("belonged, until {} and so within the last hour,", at.strftime("%Y-%m-%dT%H:%M:%SZ")))
        }
        (None, None) => return None,
    };
    Some(Blocked::new(
        BlockReason::ForeignOwner,
        format!(
            "StatefulSet {} {belongs} to {} {}, which may fail over or restart on its own; sets of other operators are \
             watched but not restarted by this version",
            set.name, owner.kind, owner.name
        ),
    )
    .ruling())
}

pub(super) fn template_role_label(scene: &Scene<'_>) -> Option<Blocked> {
    let set = scene.shard.only_set()?;
    let value = set.template_role_label.as_ref()?;
    Some(Blocked::new(
        BlockReason::RoleLabelInTemplate,
        format!(
            "the pod template of {} sets {}={value}: every new pod would claim that role; remove the label from the \
             template",
            set.name, scene.ctx.policy.redis.role_label.key
        ),
    ))
}

pub(super) fn cause_curable(scene: &Scene<'_>) -> Option<Blocked> {
    let Scene { ctx, shard, restarting, .. } = scene;
    shard.members.iter().filter(|target| restarting.contains(&target.pod.name)).find_map(|target| {
        let verdict = &ctx.look.member(target)?.fragmentation;
        let advice = match verdict.cause {
            Cause::Fragmented | Cause::TotalOnly => return None,
            Cause::Purgeable => "MEMORY PURGE gives it back without a restart",
            Cause::Other => "a restart rarely helps; look at modules, scripts and huge pages",
        };
        Some(Blocked::new(
            BlockReason::CauseNotCurable,
            format!(
                "{}: most of the {} wasted is not fragmentation (fragmented {}, purgeable {}, other {}): {advice}",
                target.pod.name,
                verdict.waste.quantised(),
                verdict.fragmented.quantised(),
                verdict.purgeable.quantised(),
                verdict.other.quantised()
            ),
        ))
    })
}
