//! A primary that the kernel kills because its limit is too low, where that limit cannot be raised: each kill stops writes,
//! and where nothing is saved it loses the data. Its role goes to a member whose limit is enough, by the same switchover and
//! gates as any other; nobody is restarted ([ADR 0026](../../docs/adr/0026-the-role-leaves-a-killed-primary.md)).

use super::{Context, candidate, order};
use crate::{
    assess::{
        obstacle::{self, Obstacle},
        start_roles,
    },
    domain::{
        bytes::Bytes,
        oom::Cause,
        pod::Container,
        snapshot::Target,
        step::{PlannedStep, Step},
    },
    topology::{Handover, Shard},
};

/// Bytes of a cause: the reason of a step says more beside it.
const LONGEST_CAUSE: usize = 320;

/// The steps by which the role of that set leaves its primary; `None`: it is not killed for its limit, its limit can be raised,
/// or nobody has a limit that is enough.
pub(super) fn steps(ctx: &Context<'_>, shard: &Shard<'_>) -> Option<Vec<PlannedStep>> {
    let from = shard.primary()?;
    let killed = ctx.look.kills_of(from).filter(|kills| is_for_the_limit(kills.cause))?;
    let sample = from.sample().filter(|sample| !sample.persistence.loading)?;
    let (container, maxmemory) = (from.pod.container.as_ref().ok()?, sample.memory.maxmemory);
    let (limit, need) = (container.limit()?, ctx.look.demand(from).limit(maxmemory));
    if maxmemory == Bytes::ZERO || limit >= need {
        return None;
    }
    let why = not_raised(ctx, from, container, need)?;
    let times = if killed.times == 1 { String::new() } else { format!(" {} times", killed.times) };
    let mut cause = format!(
        "the kernel killed {}{times} ({}): its limit of {limit} is less than the {need} that maxmemory {maxmemory} needs, and is \
         not raised: {why}",
        from.pod.name, killed.cause
    );
    cause.truncate(cause.floor_char_boundary(LONGEST_CAUSE));
    let enough =
        |target: &Target| target.pod.limit().is_some_and(|limit| limit >= need) && ctx.look.kills_of(target).is_none();
    match shard.handover() {
        Handover::Switchover => {
            let to = successor(ctx, shard, from, &enough)?;
            let has = to.pod.limit().unwrap_or_default();
            Some(order::move_role(ctx, shard, from, to, &format!("{cause}; {} has {has}", to.pod.name)))
        }
        Handover::BySentinel if all(&candidate::for_sentinels(shard), &enough) => {
            Some(vec![order::by_sentinel(from, &cause)])
        }
        Handover::BySentinel | Handover::InPlace | Handover::Never => None,
    }
}

/// There are some, and each is so.
fn all(targets: &[&Target], is_so: &dyn Fn(&Target) -> bool) -> bool {
    !targets.is_empty() && targets.iter().all(|target| is_so(target))
}

/// Where one pod alone starts as the primary any restart of the set undoes it: then the role stays.
fn successor<'a>(
    ctx: &Context<'_>,
    shard: &Shard<'a>,
    from: &Target,
    enough: &dyn Fn(&Target) -> bool,
) -> Option<&'a Target> {
    let alone = start_roles::alone_by_record(shard, ctx.records);
    let next = order::next_primary(ctx, shard, from, &[], alone.as_ref(), enough)?;
    alone.is_none_or(|start| start.target.pod.uid == next.pod.uid).then_some(next)
}

/// The primary answers, and what was planned need not be done, or not so: its limit was raised, somebody has taken note of the
/// kills, nobody has a limit that is enough any more, or the member that was to take over was killed itself.
pub(super) fn is_over(ctx: &Context<'_>, shard: &Shard<'_>, planned: &[PlannedStep]) -> bool {
    let next = planned.iter().find_map(|planned| match &planned.step {
        Step::Switchover { to, .. } => shard.member(to.as_ref()?),
        _ => None,
    });
    shard.primary().is_some_and(|primary| primary.sample().is_some())
        && (steps(ctx, shard).is_none() || next.is_some_and(|next| ctx.look.kills_of(next).is_some()))
}

/// More memory would have kept it alive. Without `maxmemory` nothing is enough, and of what is not known nobody can say.
const fn is_for_the_limit(cause: Cause) -> bool {
    match cause {
        Cause::Loading
        | Cause::Fork
        | Cause::ClientBuffers
        | Cause::ReplicaBuffers
        | Cause::LimitBelowData
        | Cause::Headroom => true,
        Cause::NoMaxmemory | Cause::Unknown => false,
    }
}

/// Why the container does not get that limit soon; `None`: it does, or will.
fn not_raised(ctx: &Context<'_>, target: &Target, container: &Container, need: Bytes) -> Option<String> {
    match obstacle::judge(ctx.policy, Some(ctx.snapshot), target, container, need)? {
        Obstacle::NotWritten(_) => None,
        // A node without room may have some tomorrow: the next kill comes before.
        obstacle => Some(obstacle.why()),
    }
}

#[cfg(test)]
mod tests;
