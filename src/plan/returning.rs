//! Members that claim more than they may: a second primary, a primary without data. Who is demoted, and what freezes.
//!
//! Two primaries may both hold writes that the other lacks, so everything is frozen until a person has decided, with
//! one exception: the old primary that we evicted ourselves after a completed switchover comes back from its template's
//! start arguments as a primary, holding nothing that was acknowledged after the switchover. It is demoted at once,
//! whoever keeps the role label: the eviction and the switchover were ours, and so is the second primary.

use super::{
    Context,
    authority::{self, Authority},
    blocked::{BlockReason, Blocked},
    effect::{Effect, MemberName, Peer},
    replica,
};
use crate::{
    assess::{
        empty, roles, several,
        topology::{self, Workload},
    },
    domain::{
        journal::Journal,
        names::PodName,
        sample::{FailoverState, Role},
        snapshot::Target,
        step::Step,
    },
};

/// What is to be done about such members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is none.
    Clear,
    /// The old primary is back as a primary: this effect makes it a replica of the new one.
    Demote(Box<Effect>),
    /// Nothing is done to the workload, and this is why.
    Frozen(Blocked),
}

/// Judges the workload of a remediation under way. A switchover that was begun looks at both of its pods itself, but
/// an empty primary ends that too.
pub fn judge(ctx: &Context<'_>, workload: &Workload<'_>, journal: &Journal) -> Verdict {
    if let Some(blocked) = primary_empty(workload).or_else(|| unsettled(ctx, workload)) {
        return Verdict::Frozen(blocked);
    }
    let begun = journal.current.begun_at.is_some();
    let switching = begun && matches!(journal.step(), Some(Step::Switchover { .. }));
    if workload.primaries.len() < 2 || switching {
        return Verdict::Clear;
    }
    match demotion(ctx, workload, journal) {
        Ok(effect) => Verdict::Demote(Box::new(effect)),
        Err(why) => Verdict::Frozen(Blocked::new(
            BlockReason::TwoPrimaries,
            format!(
                "{} are all primaries, and {why}; nothing is done until exactly one is: compare their data, then \
                 REPLICAOF",
                workload.primaries.iter().map(|target| target.pod.name.as_str()).collect::<Vec<_>>().join(", ")
            ),
        )),
    }
}

/// A primary without data while a replica has some: the replicas must not be touched, nor anything else.
pub fn primary_empty(workload: &Workload<'_>) -> Option<Blocked> {
    let (primary, holder) = empty::primary_empty(workload)?;
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
pub fn unsettled(ctx: &Context<'_>, workload: &Workload<'_>) -> Option<Blocked> {
    let (mark, primary) = several::unsettled(workload, ctx.records)?;
    Some(Blocked::new(BlockReason::TwoPrimaries, several::text(ctx.policy, mark, primary)))
}

/// The pods to which nothing may be done, not even a resize, because their workload has several primaries or an empty
/// one.
pub fn frozen_pods(ctx: &Context<'_>) -> Vec<PodName> {
    let frozen = |workload: &Workload<'_>| {
        empty::primary_empty(workload).is_some()
            || roles::several_primaries(ctx.policy, workload)
            || several::unsettled(workload, ctx.records).is_some()
    };
    let workloads = topology::workloads(ctx.snapshot);
    let members = workloads.iter().filter(|workload| frozen(workload)).flat_map(|workload| workload.members.iter());
    members.map(|target| target.pod.name.clone()).collect()
}

/// The one case in which a primary is demoted, or what is missing for it, in words.
fn demotion(ctx: &Context<'_>, workload: &Workload<'_>, journal: &Journal) -> Result<Effect, String> {
    let [one, other] = workload.primaries.as_slice() else {
        return Err("there are more than two".to_owned());
    };
    match authority::of(ctx.policy, workload) {
        Authority::Operator | Authority::Label => {}
        Authority::Cluster | Authority::Sentinel | Authority::Static => {
            return Err("the roles are not this operator's to give".to_owned());
        }
    }
    let recorded = &journal.primary;
    let (new, old) = if one.pod.uid == recorded.uid { (*one, *other) } else { (*other, *one) };
    let Some(kept) = new.sample().filter(|sample| new.pod.uid == recorded.uid && sample.run_id == recorded.run_id)
    else {
        return Err(format!("{} is not the process any more that took the role over", recorded.pod));
    };
    evicted_after_switchover(ctx, journal, old, new)?;
    if kept.keys == 0 {
        return Err(format!("{} holds no key", new.pod.name));
    }
    let failing_over =
        |target: &Target| target.sample().is_none_or(|sample| sample.replication.failover_state != FailoverState::None);
    if failing_over(new) || failing_over(old) {
        return Err("a failover is in progress".to_owned());
    }
    let (Some(from), Some(to)) = (Peer::of(old), Peer::of(new)) else {
        return Err("one of them has no address".to_owned());
    };
    Ok(Effect::Demote { by_name: stable_name(workload, new), peer: from, to })
}

/// By the journal, or by the record of what was before it, this pod is the replacement of the primary that we evicted once
/// its role had been handed over.
fn evicted_after_switchover(ctx: &Context<'_>, journal: &Journal, old: &Target, new: &Target) -> Result<(), String> {
    let name = &old.pod.name;
    let steps = journal.done();
    let handed_over = steps.iter().rposition(|planned| match &planned.step {
        Step::Switchover { from, to } => from == name && *to == new.pod.name,
        _ => false,
    });
    // A remediation before this one may have ended between the switchover and the eviction.
    let before = ctx.records.iter().find(|record| record.uid == journal.workload);
    let by_record = before.and_then(|record| record.primary.as_ref()) == Some(&journal.primary);
    let Some(handed_over) = handed_over.or_else(|| by_record.then_some(0)) else {
        return Err(format!("no completed switchover of ours took the role from {name}"));
    };
    let replaced = journal.member(name).is_some_and(|record| record.identity.uid != old.pod.uid);
    // The step that evicts it may still be the one under way: its journal entry stands before the eviction.
    let evicting =
        journal.current.begun_at.is_some() && matches!(journal.step(), Some(Step::Evict { pod }) if pod == name);
    // An eviction before the switchover was another process' end.
    let evicted =
        steps.iter().skip(handed_over).any(|planned| matches!(&planned.step, Step::Evict { pod } if pod == name));
    if !((evicted || evicting) && replaced) {
        return Err(format!("{name} was not evicted by us after the switchover"));
    }
    Ok(())
}

/// The new primary's name in the form by which another replica follows it: survives its next restart.
fn stable_name(workload: &Workload<'_>, new: &Target) -> Option<MemberName> {
    let mut followed = workload.replicas.iter().filter_map(|target| match &target.sample()?.replication.role {
        Role::Replica(link) => Some(&link.primary),
        Role::Primary | Role::Unknown => None,
    });
    // Only a name of that very pod is the same name with that pod's name put in.
    followed.find_map(|configured| replica::stable_name(configured, &new.pod, &new.pod))
}

#[cfg(test)]
mod tests;
