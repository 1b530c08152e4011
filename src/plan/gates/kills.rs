//! Gate on kills by the kernel: a pod that was killed for want of memory is not restarted before what it was killed for is
//! another. A restart would only bring the next kill forward, and where the server is killed while it loads, end in a loop.

use super::{Context, Scene};
use crate::domain::{
    blocked::{BlockReason, Blocked},
    bytes::Bytes,
    oom::{Cause, PodKills},
    snapshot::Target,
};

pub(super) fn cause_mended(scene: &Scene<'_>) -> Option<Blocked> {
    let why = scene.restarted_now().find_map(|target| oom_cause_remains(scene.ctx, target))?;
    Some(Blocked::new(BlockReason::OomCauseRemains, why))
}

/// Why that pod is not restarted after a kill by the kernel, for people; `None`: it may be.
pub fn oom_cause_remains(ctx: &Context<'_>, target: &Target) -> Option<String> {
    let kills = ctx.look.kills_of(target)?;
    let remains = remains(ctx, target, kills)?;
    let (pod, cause) = (&target.pod.name, kills.cause);
    Some(format!(
        "the kernel killed {pod} ({cause}), and a restart changes nothing about that: {remains}; or take note of the kills"
    ))
}

/// What of the cause is as it was, and what would change it; `None`: it is mended, or a member is not known well enough, which
/// other gates say.
fn remains(ctx: &Context<'_>, target: &Target, kills: &PodKills) -> Option<String> {
    let (maxmemory, limit) = (target.sample()?.memory.maxmemory, target.pod.limit()?);
    if maxmemory == Bytes::ZERO {
        return Some("maxmemory is 0; set it".to_owned());
    }
    let need = ctx.look.demand(target).limit(maxmemory);
    if limit < need {
        return Some(format!(
            "its limit of {limit} is less than the {need} that maxmemory {maxmemory} needs; raise it to that"
        ));
    }
    // What it loads may be more than maxmemory, which is not enforced meanwhile: that it has loaded since is no proof.
    let at = kills.loading_limit().filter(|at| kills.cause == Cause::Loading && limit <= *at)?;
    Some(format!("its limit is the {at} at which it was killed while it loaded; raise it"))
}
