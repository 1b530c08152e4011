//! Gates on the Sentinels of a set: nothing is taken from it that a failover would need.

use super::{Phase, Scene};
use crate::{
    domain::{
        blocked::{BlockReason, Blocked},
        names::PodName,
    },
    topology::{Disturbance, Handover},
};

/// Only the primary is left to be restarted, and its Sentinels cannot be told to move its role. Or the plan, made before
/// they were seen or after they were last seen, would move it in another way or restart the primary in place.
pub(super) fn role_is_theirs(scene: &Scene<'_>) -> Option<Blocked> {
    let primary = scene.shard.primary()?;
    let handover = scene.shard.handover();
    let about_the_primary = scene.restarting.is_empty() || scene.hands_over || scene.in_place.is_some();
    let by_us = scene.in_place.is_some() || !scene.hand_overs.is_empty();
    let text = match handover {
        // Of a set with a chain its own gate says it.
        Handover::Never if about_the_primary && !scene.shard.is_plain() => never(scene, &primary.pod.name),
        Handover::BySentinel if by_us => {
            format!("a Sentinel watches {} by now, and the plan was made without; a new one is made", primary.pod.name)
        }
        Handover::Switchover | Handover::InPlace if scene.hands_over && !by_us => {
            format!("no Sentinel watches {} any more, and the plan was made for one", primary.pod.name)
        }
        _ => return None,
    };
    Some(Blocked::new(BlockReason::SentinelSeen, text))
}

fn never(scene: &Scene<'_>, primary: &PodName) -> String {
    match scene.shard.sentinels_are_hasty() {
        Some(after) => format!(
            "{primary} is primary under Sentinels that take it for dead after {} ms (down-after-milliseconds): before all of \
             them know the next one they would begin a failover of their own. Its replicas are restarted, it is not: set \
             down-after-milliseconds above 3000 on each of them (SENTINEL SET {} down-after-milliseconds 5000), and where they \
             get it from; or see to it that another member is primary, then it is restarted as a replica",
            after.as_millis(),
            scene.shard.electors(primary).map_or("NAME", |electors| electors.set),
        ),
        None if scene.shard.replicas.is_empty() => format!(
            "{primary} is primary under Sentinel and has no replica that could take over: run more of them, and it is \
             restarted once its role is another's"
        ),
        None => format!(
            "{primary} is primary under Sentinel, and none of them says so: its replicas are restarted, it is not. Once \
             another member is primary it is restarted as a replica"
        ),
    }
}

/// Every Sentinel agrees, nothing fails over, and a failover stays possible while the pod is away.
pub(super) fn ready(scene: &Scene<'_>) -> Option<Blocked> {
    let forbids = |pod: Option<&PodName>| {
        let calm = scene.forgot || pod.is_some_and(|pod| scene.moved_by_sentinel(pod));
        scene.shard.sentinels_forbid(&Disturbance { restarted: pod, calm })
    };
    let fault = match scene.phase {
        Phase::Switchover => forbids(None)?,
        _ => scene.restarted_now().find_map(|target| forbids(Some(&target.pod.name)))?,
    };
    let reason = if fault.lasts { BlockReason::SentinelsUnfit } else { BlockReason::SentinelsNotReady };
    Some(Blocked::new(reason, fault.text))
}

/// No restart leaves something in the lists of the Sentinels that is there for ever.
pub(super) fn forget(scene: &Scene<'_>) -> Option<Blocked> {
    let text = scene.restarted_now().find_map(|target| scene.shard.sentinels_would_remember(&target.pod.name))?;
    Some(Blocked::new(BlockReason::SentinelsUnfit, text))
}
