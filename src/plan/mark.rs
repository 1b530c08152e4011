//! The mark that two primaries leave in the record of their set, and when it goes again.
//!
//! Which of two primaries is right is a person's question, and it does not go away when one of them does: the one that
//! is left may be the one without the writes.

use super::{
    Context,
    authority::{self, Authority},
    begin::{identity, stored},
    returning::{self, Verdict},
};
use crate::{
    assess::{
        roles, several,
        topology::{self, Workload},
    },
    domain::{
        bytes::Bytes,
        journal::{Journal, WorkloadRecord},
        lineage::{Claimant, SeveralPrimaries},
        names::PodUid,
        snapshot::Target,
        step::Step,
    },
};

/// The records as they must be from now on, if a mark must be made or goes; the journal that is under way stays as it
/// is.
pub fn due(ctx: &Context<'_>, journal: Option<&Journal>) -> Option<Vec<WorkloadRecord>> {
    let mut records = ctx.records.to_vec();
    for workload in topology::workloads(ctx.snapshot) {
        let claimed = ctx.snapshot.claimed_by_other.iter().any(|(uid, _)| *uid == workload.uid);
        if claimed || workload.uid.is_empty() || given_by_others(ctx, &workload) {
            continue;
        }
        let journal = journal.filter(|journal| journal.workload == workload.uid);
        match several::mark(&workload, ctx.records) {
            None if matters(ctx, &workload) && !expected(ctx, &workload, journal) => {
                let mark = Some(made(ctx, &workload, journal));
                match records.iter_mut().find(|record| record.uid == workload.uid) {
                    Some(record) => record.several_primaries = mark,
                    None => records.push(WorkloadRecord {
                        several_primaries: mark,
                        ..WorkloadRecord::new(workload.uid.clone(), workload.name.clone(), ctx.now)
                    }),
                }
            }
            Some(mark) if settled(ctx, &workload, mark) => {
                if let Some(record) = records.iter_mut().find(|record| record.uid == workload.uid) {
                    record.several_primaries = None;
                }
            }
            _ => {}
        }
    }
    (records != ctx.records).then_some(records)
}

/// Several are primaries, and one of them holds something: a set that is just being built has nothing to lose.
fn matters(ctx: &Context<'_>, workload: &Workload<'_>) -> bool {
    roles::several_primaries(ctx.policy, workload) && workload.primaries.iter().copied().any(holds_keys)
}

fn holds_keys(target: &Target) -> bool {
    target.sample().is_some_and(|sample| sample.keys > 0)
}

/// A Sentinel or Redis Cluster decides between its primaries itself.
fn given_by_others(ctx: &Context<'_>, workload: &Workload<'_>) -> bool {
    matches!(authority::of(ctx.policy, workload), Authority::Sentinel | Authority::Cluster)
}

/// The remediation under way deals with them: a switchover that was begun looks at its own two pods, and an old primary
/// that we evicted is demoted.
fn expected(ctx: &Context<'_>, workload: &Workload<'_>, journal: Option<&Journal>) -> bool {
    journal.is_some_and(|journal| {
        let begun = journal.current.begun_at.is_some();
        (begun && matches!(journal.step(), Some(Step::Switchover { .. })))
            || matches!(returning::judge(ctx, workload, journal), Verdict::Demote(_))
    })
}

fn made(ctx: &Context<'_>, workload: &Workload<'_>, journal: Option<&Journal>) -> SeveralPrimaries {
    let recorded = recorded(ctx, workload, journal);
    let claimants = |wanted: bool| {
        let primaries = workload.primaries.iter().copied();
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
fn recorded(ctx: &Context<'_>, workload: &Workload<'_>, journal: Option<&Journal>) -> Option<PodUid> {
    let record = ctx.records.iter().find(|record| record.uid == workload.uid);
    let is = |wanted: Option<&crate::domain::journal::MemberIdentity>| {
        let wanted = wanted?;
        workload.primaries.iter().copied().find(|target| identity(target).as_ref() == Some(wanted))
    };
    let only = |holds: &dyn Fn(&Target) -> bool| {
        let mut found = workload.primaries.iter().copied().filter(|target| holds(target));
        found.next().filter(|_| found.next().is_none())
    };
    let label = Some(&ctx.policy.redis.role_label.primary);
    let followed = |primary: &Target| super::replica::adopted(ctx.snapshot, primary, workload.replicas.iter().copied());
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
fn settled(ctx: &Context<'_>, workload: &Workload<'_>, mark: &SeveralPrimaries) -> bool {
    let Some(primary) = workload.primary().filter(|_| workload.unknown.is_empty()) else { return false };
    let accepted = ctx.snapshot.surroundings.accepted.as_deref() == Some(several::acceptance(mark, primary).as_str());
    accepted || mark.continued_by(primary)
}

#[cfg(test)]
mod tests;
