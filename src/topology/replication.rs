//! A primary and its replicas, without Sentinel and without Redis Cluster: the roles are whatever start arguments, people
//! and this operator make them.

use super::{Follow, Handover, Rogue, Rules, Shard, sentinel};
use crate::domain::{
    blocked::Blocked,
    journal::{Journal, StartRole},
    sample::FailoverState,
    snapshot::Target,
    step::Step,
};

pub(super) struct Replication;

impl Rules for Replication {
    fn refusal(&self, shard: &Shard<'_>) -> Option<Blocked> {
        sentinel::untold(shard)
    }

    /// Where clients do not follow, the role stays where it is. Where a replica follows another one, the primary is
    /// left alone.
    fn handover(&self, shard: &Shard<'_>) -> Handover {
        if shard.chained {
            return Handover::Never;
        }
        if shard.follow.is_by_label() { Handover::Switchover } else { Handover::InPlace }
    }

    fn one_is_meant(&self, shard: &Shard<'_>) -> bool {
        one_is_meant(shard)
    }

    fn settles_itself(&self) -> bool {
        false
    }

    fn rogue<'a>(&self, shard: &Shard<'a>, journal: &Journal) -> Rogue<'a> {
        match old_and_new(shard, journal) {
            Ok((old, new)) => Rogue::Demote { old, new },
            Err(why) => Rogue::Frozen(why),
        }
    }
}

/// Several servers that replicate nothing may each be meant to stand alone, unless a label names the one primary.
pub(super) fn one_is_meant(shard: &Shard<'_>) -> bool {
    shard.follow != Follow::Nothing || !shard.replicates_nothing()
}

/// The one case in which a primary is demoted, or what is missing for it, in words.
fn old_and_new<'a>(shard: &Shard<'a>, journal: &Journal) -> Result<(&'a Target, &'a Target), String> {
    let [one, other] = *shard.lead.all() else {
        return Err("there are more than two".to_owned());
    };
    if !shard.follow.is_by_label() {
        return Err("the roles are not this operator's to give".to_owned());
    }
    let recorded = &journal.primary;
    let (new, old) = if one.pod.uid == recorded.uid { (one, other) } else { (other, one) };
    let Some(kept) = new.sample().filter(|sample| new.pod.uid == recorded.uid && sample.run_id == recorded.run_id)
    else {
        return Err(format!("{} is not the process any more that took the role over", recorded.pod));
    };
    started_by_our_doing(journal, old, new)?;
    if kept.keys == 0 {
        return Err(format!("{} holds no key", new.pod.name));
    }
    let failing_over =
        |target: &Target| target.sample().is_none_or(|sample| sample.replication.failover_state != FailoverState::None);
    if failing_over(new) || failing_over(old) {
        return Err("a failover is in progress".to_owned());
    }
    Ok((old, new))
}

/// That this pod starts as a primary is our doing, by the journal: it is the replacement of one that we evicted while it was a
/// replica of the recorded primary, or we gave its role to that primary and its container has restarted since. Both held
/// nothing that the recorded primary lacks; what such a pod is made later is not our doing.
fn started_by_our_doing(journal: &Journal, old: &Target, new: &Target) -> Result<(), String> {
    let name = &old.pod.name;
    let steps = journal.done();
    let handed_over = steps.iter().enumerate().rev().find_map(|(at, planned)| match &planned.step {
        Step::Switchover { from, to: Some(to) } => Some((at, from, to)),
        _ => None,
    });
    let since = match handed_over {
        Some((_, _, to)) if *to != new.pod.name => return Err(format!("the role was handed over to {to}")),
        Some((at, ..)) => at,
        None => 0,
    };
    let record = journal.member(name);
    let replaced = record.is_some_and(|record| record.identity.uid != old.pod.uid);
    // An eviction before the switchover was another process' end.
    let evicted = steps.iter().skip(since).any(|planned| matches!(&planned.step, Step::Evict { pod } if pod == name));
    let gave_the_role = handed_over.is_some_and(|(_, from, _)| from == name);
    // The same process was a replica of the recorded primary: somebody has made it a primary again.
    let restarted = record.is_some_and(|record| {
        let process = old.sample().map(|sample| &sample.run_id);
        record.identity.uid == old.pod.uid && process.is_some_and(|process| *process != record.identity.run_id)
    });
    let ours = ((evicted || journal.evicting(name)) && replaced) || (gave_the_role && restarted);
    if !ours {
        return Err(format!(
            "{name} was not evicted by us while {} was primary, nor did it give it the role and restart",
            new.pod.name
        ));
    }
    // It starts as a replica: somebody has given it the role, and clients may have written to it since.
    if record.is_some_and(|record| record.returned_as == Some(StartRole::Replica)) {
        return Err(format!("{name} came back as a replica and was made a primary since"));
    }
    Ok(())
}
