//! Gates on the Sentinels of a set: nothing is taken from it that a failover would need.

use super::Scene;
use crate::{
    domain::blocked::{BlockReason, Blocked},
    topology::Handover,
};

/// Only the primary is left to be restarted, and its role is the Sentinels' to give. Or the plan, made before they were
/// seen, would move it or restart the primary in place.
pub(super) fn role_is_theirs(scene: &Scene<'_>) -> Option<Blocked> {
    let primary = scene.shard.primary()?;
    let about_the_primary = scene.restarting.is_empty() || scene.hands_over || scene.in_place.is_some();
    (scene.shard.handover() == Handover::Never && about_the_primary).then(|| {
        Blocked::new(
            BlockReason::SentinelSeen,
            format!(
                "{} is primary under Sentinel, and this version asks no Sentinel for a failover: its replicas are \
                 restarted, it is not. Once another member is primary it is restarted as a replica",
                primary.pod.name
            ),
        )
    })
}

/// Every Sentinel agrees, nothing fails over, and a failover stays possible while the pod is away.
pub(super) fn ready(scene: &Scene<'_>) -> Option<Blocked> {
    let text = scene.restarted_now().find_map(|target| scene.shard.sentinels_forbid(&target.pod.name))?;
    Some(Blocked::new(BlockReason::SentinelsNotReady, text))
}
