//! Members that claim more than they may: a second primary, a primary without data. Who is demoted, and what freezes.
//!
//! Two primaries may both hold writes that the other lacks, so everything is frozen until a person has decided, with
//! one exception: a pod that we evicted while it was a replica of the recorded primary, or whose role we gave to that one and
//! whose container restarts, comes back as a primary by its template's start arguments, and holds nothing that was
//! acknowledged since. It is demoted at once, under any authority over the role label: the second primary is our doing
//! (docs/adr/0018).

use super::{
    Context,
    effect::{Effect, MemberName, Peer},
    replica,
};
use crate::{
    assess::{empty, several},
    domain::{
        blocked::{BlockReason, Blocked},
        journal::Journal,
        names::PodName,
        sample::Role,
        snapshot::Target,
        step::Step,
    },
    topology::{Rogue, Shard},
};

/// What is to be done about such members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoguePrimary {
    /// There is none.
    Clear,
    /// The old primary is back as a primary: this effect makes it a replica of the new one.
    Demote(Box<Effect>),
    /// Nothing is done to the set, and this is why.
    Frozen(Blocked),
}

/// Judges the shard of a remediation under way. A switchover that was begun looks at both of its pods itself, but
/// an empty primary ends that too.
pub fn judge(ctx: &Context<'_>, shard: &Shard<'_>, journal: &Journal) -> RoguePrimary {
    if let Some(blocked) = primary_empty(shard).or_else(|| unsettled(ctx, shard)) {
        return RoguePrimary::Frozen(blocked);
    }
    let begun = journal.current.begun_at.is_some();
    if begun && matches!(journal.step(), Some(Step::Switchover { .. })) {
        return RoguePrimary::Clear;
    }
    let why = match shard.rogue(journal) {
        Rogue::Clear => return RoguePrimary::Clear,
        Rogue::Frozen(why) => why,
        Rogue::Demote { old, new } => match (Peer::of(old), Peer::of(new)) {
            (Some(peer), Some(to)) => {
                let by_name = stable_name(shard, new);
                return RoguePrimary::Demote(Box::new(Effect::Demote { by_name, peer, to }));
            }
            _ => "one of them has no address".to_owned(),
        },
    };
    let names = shard.lead.all().iter().map(|target| target.pod.name.as_str()).collect::<Vec<_>>().join(", ");
    RoguePrimary::Frozen(Blocked::new(
        BlockReason::TwoPrimaries,
        format!(
            "{names} are all primaries, and {why}; nothing is done until exactly one is: compare their data, then \
             REPLICAOF"
        ),
    ))
}

/// A primary without data while a replica has some: the replicas must not be touched, nor anything else.
pub fn primary_empty(shard: &Shard<'_>) -> Option<Blocked> {
    let (primary, holder) = empty::primary_empty(shard)?;
    Some(Blocked::new(
        BlockReason::PrimaryEmpty,
        format!(
            "primary {} holds no key and {} still holds {}; nothing is done: save the replica's data before it syncs \
             (REPLICAOF NO ONE on it), then decide",
            primary.pod.name,
            holder.pod.name,
            holder.sample().map_or(0, |sample| sample.keys)
        ),
    ))
}

/// The one primary that there is after several were there does not hold the recorded history: see [`several`].
pub fn unsettled(ctx: &Context<'_>, shard: &Shard<'_>) -> Option<Blocked> {
    let (mark, primary) = several::unsettled(shard, ctx.records)?;
    Some(Blocked::new(BlockReason::TwoPrimaries, several::text(ctx.policy, mark, primary)))
}

/// Nothing may be done to the pods of that shard, not even a resize, because it has several primaries or an empty one.
pub fn is_frozen(ctx: &Context<'_>, shard: &Shard<'_>) -> bool {
    empty::primary_empty(shard).is_some()
        || shard.has_too_many_primaries()
        || several::unsettled(shard, ctx.records).is_some()
}

/// The pods of all shards that are frozen.
pub fn frozen_pods(ctx: &Context<'_>) -> Vec<PodName> {
    let members = ctx.look.shards.iter().filter(|shard| is_frozen(ctx, shard)).flat_map(|shard| shard.members.iter());
    members.map(|target| target.pod.name.clone()).collect()
}

/// The new primary's name in the form by which another replica follows it: survives its next restart.
fn stable_name(shard: &Shard<'_>, new: &Target) -> Option<MemberName> {
    let mut followed = shard.replicas.iter().filter_map(|target| match &target.sample()?.replication.role {
        Role::Replica(link) => Some(&link.primary),
        Role::Primary | Role::Unknown => None,
    });
    // Only a name of that very pod is the same name with that pod's name put in.
    followed.find_map(|configured| replica::stable_name(configured, &new.pod, &new.pod))
}

#[cfg(test)]
mod tests;
