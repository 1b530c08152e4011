//! The steps of a primary that is restarted as such, and of the backlog that is raised for the others.

use std::time::Duration;

use super::{Advance, SOON};
use crate::{
    domain::{
        acl::PlainCommand,
        blocked::{BlockReason, Blocked},
        bytes::Bytes,
        journal::{CurrentStep, Journal, MemberRecord, Outcome, RaisedBacklog},
        names::PodName,
        sample::Role,
        snapshot::Target,
        step::Step,
    },
    plan::{
        backlog,
        begin::{identity, stored},
        effect::{Effect, Peer},
        gates::Phase,
        in_place,
        next::{LATER, Next},
        records, replica,
    },
};

/// Attempts to have data saved before it is given up.
const PERSIST_ATTEMPTS: u32 = 3;
/// A save that is this old is made again before the eviction: the gates have kept it waiting.
const PERSISTED_LATELY: Duration = Duration::from_secs(600);
/// What has become old is written out once more, and no third time: each costs a fork, and an eviction that is refused for
/// that long is refused for longer.
const MOST_WRITES: u32 = 2;
/// The server's clock gives whole seconds for a save.
const CLOCK_STEP: Duration = Duration::from_secs(1);

/// Whether the primary of the set is away, by our own eviction, at this point of the plan.
pub(super) fn away(journal: &Journal) -> bool {
    let Some(step) = journal.step() else { return false };
    let evicting = matches!(step, Step::Evict { .. }) && journal.current.begun_at.is_some();
    journal.in_place(step.pod()) && (evicting || journal.evicted(step.pod()))
}

impl Advance<'_> {
    /// Has the primary write its data out, and waits until that has ended well.
    pub(super) fn persist(&self, pod: &PodName) -> Next {
        let Some(target) = self.target(pod) else {
            return self.wait(format!("{pod} does not exist"));
        };
        let (Some(sample), Some(peer)) = (target.sample(), Peer::of(target)) else {
            return self.wait(format!("{pod} gave no sample"));
        };
        let Ok(config) = &sample.config else {
            return self.wait(format!("the settings of {pod} cannot be read"));
        };
        if sample.replication.role != Role::Primary {
            return self.end(Outcome::Superseded, &format!("{pod} is no primary any more; a new plan is made"));
        }
        let begun = in_place::begun_writing(config, &sample.persistence);
        let command = if config.appendonly { PlainCommand::BgRewriteAof } else { PlainCommand::BgSave };
        let ask = |journal: Journal| Next::Act(Box::new(journal), Box::new(Effect::Send { peer, command }));
        let (Some(baseline), Some(since)) = (self.journal.current.baseline, self.journal.current.begun_at) else {
            if let Err(next) = self.gates(Phase::Persist(pod.clone())) {
                return next;
            }
            let mut journal = self.intend();
            journal.current.baseline = Some(i64::try_from(begun).unwrap_or(i64::MAX));
            return ask(journal);
        };
        if sample.persistence.child_running || sample.persistence.rewrite_scheduled {
            return self.wait(format!("{pod} is writing its data out"));
        }
        if sample.persistence_fails() {
            let text = format!("the save or rewrite of {pod} failed: see its log and its disk");
            return Next::Gate(vec![Blocked::new(BlockReason::PersistenceFailing, text)], LATER);
        }
        let waited = self.ctx.since(since);
        // Of a rewrite the server keeps no time, only that one more was begun; of a save it keeps both.
        let recent = config.appendonly
            || sample.persistence.since_last_save.is_some_and(|age| age <= waited.saturating_add(CLOCK_STEP));
        if begun > u64::try_from(baseline).unwrap_or(u64::MAX) && recent {
            let mut journal = self.proceed();
            if let Some(record) = journal.members.iter_mut().find(|record| record.identity.pod == *pod) {
                record.persisted_at = Some(self.ctx.now);
                record.persisted_times = record.persisted_times.saturating_add(1);
            }
            return Next::Record(Box::new(journal));
        }
        if self.journal.current.attempt >= PERSIST_ATTEMPTS {
            return self
                .end(Outcome::PersistFailed, &format!("{pod} did not write its data out; it was not restarted"));
        }
        ask(self.intend())
    }

    /// The gates hold and the pod is there: evicts it as the primary that it is.
    pub(super) fn evict_primary(&self, target: &Target, record: &MemberRecord) -> Next {
        let pod = &target.pod.name;
        let Some(sample) = target.sample().filter(|sample| sample.replication.role == Role::Primary) else {
            return self.end(Outcome::Superseded, &format!("{pod} is no primary any more; a new plan is made"));
        };
        if record.persisted_at.is_none_or(|at| self.ctx.since(at) > PERSISTED_LATELY) {
            if record.persisted_times >= MOST_WRITES {
                let why = self.journal.current.failure.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                let text = format!(
                    "{pod} could not be evicted within {} s of its save, {} times{why}",
                    PERSISTED_LATELY.as_secs(),
                    record.persisted_times
                );
                return self.give_up(None, &text);
            }
            // Back to the step before: what was written out is old by now.
            let mut journal = self.journal.clone();
            journal.cursor = journal.cursor.saturating_sub(1);
            journal.current = CurrentStep::default();
            return match journal.step() {
                Some(Step::Persist { pod: before }) if before == pod => Next::Record(Box::new(journal)),
                _ => self.end(Outcome::Superseded, &format!("{pod} was not saved before; a new plan is made")),
            };
        }
        let Some(peer) = Peer::of(target) else {
            return self.wait(format!("{pod} has no address"));
        };
        if self.journal.current.begun_at.is_some() {
            let journal = records::renewed(self.journal.clone(), target);
            return Next::Act(Box::new(journal), Box::new(Effect::EvictPrimary { peer }));
        }
        let mut journal = records::renewed(self.intend(), target);
        if let Some(gap) = &mut journal.write_gap {
            gap.since = Some(self.ctx.now);
        }
        if let Some(record) = journal.members.iter_mut().find(|record| record.identity.pod == *pod) {
            let number = |keys: u64| Some(i64::try_from(keys).unwrap_or(i64::MAX));
            record.keys = number(sample.keys);
            record.lasting_keys = number(sample.keys.saturating_sub(sample.keys_with_ttl));
        }
        Next::Act(Box::new(journal), Box::new(Effect::EvictPrimary { peer }))
    }

    /// Waits until it is primary again with its data, and its replicas follow it.
    pub(super) fn await_primary(&self, pod: &PodName) -> Next {
        let (Some(target), Some(record)) = (self.replacement(pod), self.journal.member(pod)) else {
            return self.wait(format!("the replacement of {pod} does not exist yet; writes are stopped"));
        };
        let Some(sample) = target.sample() else {
            return self.wait(format!("{pod} gives no sample yet: {}; writes are stopped", target.why_silent()));
        };
        if sample.persistence.loading {
            return self.wait(format!("{pod} is loading its data; writes are stopped"));
        }
        // Before anything else is waited for: its replicas are about to become as empty.
        if let Some(lost) = in_place::lost_keys(record, sample) {
            let text = format!(
                "{pod} was restarted and {lost}: nothing is done any more; restore its data, or delete the policy to \
                 take note of the loss"
            );
            return Next::Gate(vec![Blocked::new(BlockReason::PrimaryEmpty, text)], LATER);
        }
        if self.shard.lead.is_several() {
            return self.no_single_primary();
        }
        if sample.replication.role != Role::Primary {
            return self.wait(format!("{pod} is not primary again"));
        }
        if !target.pod.ready {
            return self.wait(format!("{pod} is {}", target.pod.not_ready()));
        }
        if let Some(journal) = self.writes_go_on() {
            return Next::Record(Box::new(journal));
        }
        let lag = self.ctx.policy.restart.max_replication_lag;
        let others = self.shard.members.iter().filter(|member| member.pod.uid != target.pod.uid);
        for other in others {
            if let Err(why) = replica::synced(self.shard, target, other, lag) {
                return self.wait(why);
            }
        }
        let Some(primary) = identity(target) else { return Next::Wait(format!("{pod} gave no sample"), SOON) };
        let mut journal = Journal { primary, ..self.proceed() };
        if let Some(record) = journal.members.iter_mut().find(|record| record.identity.pod == *pod) {
            record.caught_up_at = Some(self.ctx.now);
        }
        Next::Record(Box::new(journal))
    }

    /// The journal with how long writes stopped, if that is not in it yet: they go on before the replicas have synced.
    fn writes_go_on(&self) -> Option<Journal> {
        let since = self.journal.write_gap.as_ref()?.since?;
        let mut journal = self.journal.clone();
        if let Some(gap) = &mut journal.write_gap {
            gap.since = None;
            gap.add(self.ctx.since(since));
        }
        Some(journal)
    }

    /// Raises the backlog. It is no condition for going on: without it the replicas take a full sync.
    pub(super) fn raise_backlog(&self, pod: &PodName, size: Bytes) -> Next {
        let Some(target) = self.shard.primary().filter(|primary| primary.pod.name == *pod) else {
            return Next::Record(Box::new(self.proceed()));
        };
        let (Some(peer), Some(who), Some(sample)) = (Peer::of(target), identity(target), target.sample()) else {
            return Next::Record(Box::new(self.proceed()));
        };
        let Ok(config) = &sample.config else { return Next::Record(Box::new(self.proceed())) };
        if config.repl_backlog_size >= size || self.journal.current.attempt >= backlog::ATTEMPTS {
            return Next::Record(Box::new(self.proceed()));
        }
        let mut journal = self.intend();
        if !journal.raised.iter().any(|raised| raised.identity == who) {
            let before_bytes = stored(config.repl_backlog_size);
            journal.raised.push(RaisedBacklog { identity: who, before_bytes, attempt: 0 });
        }
        Next::Act(Box::new(journal), Box::new(Effect::SetBacklog { peer, size, back: false }))
    }
}
