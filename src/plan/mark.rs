//! The mark that two primaries leave in the record of their set, and when it goes again.
//!
//! Which of two primaries is right is a person's question, and it does not go away when one of them does: the one that
//! is left may be the one without the writes.

use super::{
    Context,
    begin::{identity, stored},
    rogue_primary::{self, RoguePrimary},
};
use crate::{
    assess::several,
    domain::{
        bytes::Bytes,
        journal::{Journal, WorkloadRecord},
        lineage::{Claimant, SeveralPrimaries},
        names::PodUid,
        snapshot::Target,
        step::Step,
    },
    topology::Shard,
};

/// The records as they must be from now on, if a mark must be made or goes; the journal that is under way stays as it
/// is.
pub fn due(ctx: &Context<'_>, journal: Option<&Journal>) -> Option<Vec<WorkloadRecord>> {
    let mut records = ctx.records.to_vec();
    for shard in &ctx.look.shards {
        if shard.claimed_by(ctx.snapshot).is_some() || shard.id.is_nameless() || shard.settles_itself() {
            continue;
        }
        let journal = journal.filter(|journal| shard.id.is(&journal.shard));
        match several::mark(shard, ctx.records) {
            None if matters(shard) && !expected(ctx, shard, journal) => {
                let mark = Some(made(ctx, shard, journal));
                match records.iter_mut().find(|record| shard.id.is(&record.shard)) {
                    Some(record) => record.several_primaries = mark,
                    None => records.push(WorkloadRecord {
                        several_primaries: mark,
                        ..WorkloadRecord::new(shard.id.clone(), shard.name.clone(), ctx.now)
                    }),
                }
            }
            Some(mark) if settled(ctx, shard, mark) => {
                if let Some(record) = records.iter_mut().find(|record| shard.id.is(&record.shard)) {
                    record.several_primaries = None;
                }
            }
            _ => {}
        }
    }
    (records != ctx.records).then_some(records)
}

/// Several are primaries, and one of them holds something: a set that is just being built has nothing to lose.
fn matters(shard: &Shard<'_>) -> bool {
    shard.has_too_many_primaries() && shard.lead.all().iter().copied().any(holds_keys)
}

fn holds_keys(target: &Target) -> bool {
    target.sample().is_some_and(|sample| sample.keys > 0)
}

/// The remediation under way deals with them: a switchover that was begun looks at its own two pods, and an old primary
/// that we evicted is demoted.
fn expected(ctx: &Context<'_>, shard: &Shard<'_>, journal: Option<&Journal>) -> bool {
    journal.is_some_and(|journal| {
        let begun = journal.current.begun_at.is_some();
        (begun && matches!(journal.step(), Some(Step::Switchover { .. })))
            || matches!(rogue_primary::judge(ctx, shard, journal), RoguePrimary::Demote(_))
    })
}

fn made(ctx: &Context<'_>, shard: &Shard<'_>, journal: Option<&Journal>) -> SeveralPrimaries {
    let recorded = recorded(ctx, shard, journal);
    let claimants = |wanted: bool| {
        let primaries = shard.lead.all().iter().copied();
        let recorded = recorded.as_ref();
        primaries.filter(move |target| (Some(&target.pod.uid) == recorded) == wanted).filter_map(claimant)
    };
    SeveralPrimaries {
        seen_at: ctx.now,
        recorded: claimants(true).next(),
        others: claimants(false).take(SeveralPrimaries::MAX_OTHERS).collect(),
    }
}

/// The primary that clients were led to: the one that our journal names, the only one that carries the primary's label,
/// the one that our last switchover made, the only one that replicas follow, or the only one that holds keys.
fn recorded(ctx: &Context<'_>, shard: &Shard<'_>, journal: Option<&Journal>) -> Option<PodUid> {
    let record = shard.record(ctx.records);
    let is = |wanted: Option<&crate::domain::journal::MemberIdentity>| {
        let wanted = wanted?;
        shard.lead.all().iter().copied().find(|target| identity(target).as_ref() == Some(wanted))
    };
    let only = |holds: &dyn Fn(&Target) -> bool| {
        let mut found = shard.lead.all().iter().copied().filter(|target| holds(target));
        found.next().filter(|_| found.next().is_none())
    };
    let label = Some(&ctx.policy.redis.role_label.primary);
    let followed = |primary: &Target| super::replica::adopted(shard, primary, shard.replicas.iter().copied());
    is(journal.map(|journal| &journal.primary))
        .or_else(|| only(&|target| target.pod.role_label.as_ref() == label))
        .or_else(|| is(record.and_then(|record| record.primary.as_ref())))
        .or_else(|| only(&followed))
        .or_else(|| only(&holds_keys))
        .map(|target| target.pod.uid.clone())
}

fn claimant(target: &Target) -> Option<Claimant> {
    let sample = target.sample()?;
    Some(Claimant {
        identity: identity(target)?,
        replid: sample.replication.replid.clone(),
        offset: stored(Bytes(sample.replication.offset)),
        keys: stored(Bytes(sample.keys)),
    })
}

/// Every member answers, one is primary, and it is the recorded one or a person has accepted it.
fn settled(ctx: &Context<'_>, shard: &Shard<'_>, mark: &SeveralPrimaries) -> bool {
    let Some(primary) = shard.primary().filter(|_| shard.unknown.is_empty()) else { return false };
    let accepted = ctx.snapshot.surroundings.accepted.as_deref() == Some(several::acceptance(mark, primary).as_str());
    accepted || mark.continued_by(primary)
}

#[cfg(test)]
mod tests;
