//! The steps, each looked at once: done already → on to the next; not possible yet → wait; else its effect. The
//! switchover and a restart in place have files of their own.

use super::{Advance, SOON};
use crate::{
    domain::{
        bytes::Bytes,
        journal::{Outcome, StartRole},
        names::PodName,
        sample::Role,
        snapshot::Target,
        step::Step,
    },
    plan::{
        begin::{settings, stored},
        effect::{Effect, Peer},
        gates::Phase,
        next::{LATER, Next},
        proof::{self, Proof},
        records, replica, resize,
    },
};

/// Settings are applied at most this often to one pod before their difference is drift.
const RESTORE_ATTEMPTS: u32 = 3;

impl<'a> Advance<'a> {
    /// What to do at that step.
    pub(super) fn step(&self, step: &Step) -> Next {
        match step {
            Step::Evict { pod } => self.evict(pod),
            Step::Resize { pod, limit } => self.resize(pod, *limit),
            Step::AwaitReplica { pod } => self.await_replica(pod),
            Step::RestoreSettings { pod } => self.restore(pod),
            Step::Persist { pod } => self.persist(pod),
            Step::AwaitPrimary { pod } => self.await_primary(pod),
            Step::RaiseBacklog { pod, size } => self.raise_backlog(pod, *size),
            Step::Prove { pod } => self.prove(pod),
            Step::Switchover { from, to: Some(to) } => self.switchover(from, to),
            Step::Switchover { from, to: None } => self.failover(from),
            Step::Repoint { pod, to } => self.repoint(pod, to),
        }
    }

    fn evict(&self, pod: &PodName) -> Next {
        let Some(record) = self.journal.member(pod) else {
            return self.end(Outcome::Superseded, "the journal does not know the member that it evicts");
        };
        let begun = self.journal.current.begun_at.is_some();
        let gone = match self.target(pod) {
            None => true,
            Some(target) => target.pod.uid != record.identity.uid || target.pod.terminating,
        };
        if gone && self.journal.evicting(pod) {
            return Next::Record(Box::new(self.proceed()));
        }
        let Some(target) = self.target(pod) else {
            return self.wait(format!("{pod} does not exist"));
        };
        if let Err(next) = self.gates(Phase::Evict(pod.clone())) {
            return next;
        }
        if let Some(given_up) = self.refused_too_long(&format!("the eviction of {pod}")) {
            return given_up;
        }
        if self.journal.in_place(pod) {
            return self.evict_primary(target, record);
        }
        // Read from the live snapshot, not from the journal: the pod that is primary now is never evicted.
        if !target.sample().is_some_and(|sample| matches!(sample.replication.role, Role::Replica(_))) {
            return self.end(Outcome::Superseded, &format!("{pod} is no replica any more; a new plan is made"));
        }
        // The container restarted in place: what was to be cured is gone, with the evidence for it.
        if target.sample().is_some_and(|sample| sample.run_id != record.identity.run_id) {
            return self.end(Outcome::Superseded, &format!("the Redis of {pod} has restarted; a new plan is made"));
        }
        // While a disruption budget says no, the same intent is carried out again: nothing new is written, unless what is
        // to be remembered of the pod is another thing by now.
        let journal = records::renewed(if begun { self.journal.clone() } else { self.intend() }, target);
        match Peer::of(target) {
            Some(peer) => Next::Act(Box::new(journal), Box::new(Effect::Evict { peer })),
            None => self.wait(format!("{pod} has no address")),
        }
    }

    /// The pod that replaced the evicted one, once it exists.
    pub(super) fn replacement(&self, pod: &PodName) -> Option<&'a Target> {
        let record = self.journal.member(pod)?;
        self.target(pod).filter(|target| target.pod.uid != record.identity.uid && !target.pod.terminating)
    }

    fn resize(&self, pod: &PodName, limit: Bytes) -> Next {
        let Some(target) = self.replacement(pod) else {
            return self.wait(format!("the replacement of {pod} does not exist yet"));
        };
        match resize::step_effect(self.ctx, target, limit) {
            Some(effect) => match self.refused_too_long(&format!("the new limit of {pod}")) {
                Some(given_up) => given_up,
                None => Next::Act(Box::new(self.intend()), Box::new(effect)),
            },
            None => Next::Record(Box::new(self.proceed())),
        }
    }

    fn await_replica(&self, pod: &PodName) -> Next {
        let Some(target) = self.replacement(pod) else {
            return self.wait(format!("the replacement of {pod} does not exist yet"));
        };
        // Before it is ready: a readiness probe may ask for the link to the primary.
        if let Some(next) = self.led_off_a_replica(target) {
            return next;
        }
        if !target.pod.ready {
            return self.wait(format!("{pod} is {}", target.pod.not_ready()));
        }
        let Some(primary) = self.shard.primary() else {
            return self.no_single_primary();
        };
        let lag = self.ctx.policy.restart.max_replication_lag;
        // Amid a chain it has what the replica has that it follows; how far that one is, the gates ask before the next.
        let feeder = self.shard.feeder(target).filter(|feeder| self.journal.chained && self.is_of_the_set(feeder));
        if let Err(why) = replica::synced(self.shard, feeder.unwrap_or(primary), target, lag) {
            return self.wait(why);
        }
        let mut journal = self.proceed();
        if let Some(record) = journal.members.iter_mut().find(|record| record.identity.pod == *pod) {
            record.caught_up_at = Some(self.ctx.now);
            record.returned_as = record.returned_as.or(Some(StartRole::Replica));
        }
        Next::Record(Box::new(journal))
    }

    /// A replacement whose start arguments name a pod that is a replica by now: it is told to follow the primary, as the
    /// pod before it did. A set that had no chain when the remediation began keeps none; where there was one, nobody is led off
    /// it. Under Sentinel it is left to them.
    fn led_off_a_replica(&self, target: &Target) -> Option<Next> {
        if !self.shard.is_plain() || self.journal.chained {
            return None;
        }
        let Role::Replica(link) = &target.sample()?.replication.role else { return None };
        let (followed, primary) = (self.shard.resolve(&link.primary)?, self.shard.primary()?);
        if !matches!(followed.sample()?.replication.role, Role::Replica(_)) || followed.pod.uid == target.pod.uid {
            return None;
        }
        if !self.is_of_the_set(primary) {
            return None;
        }
        let (peer, to) = (Peer::of(target)?, Peer::of(primary)?);
        if !self.may_try_again() {
            return Some(self.wait(format!("{} was told to follow {} and does not yet", peer.pod, to.pod)));
        }
        let by_name = replica::stable_name(&link.primary, &followed.pod, &primary.pod);
        Some(Next::Act(Box::new(self.intend()), Box::new(Effect::Repoint { peer, by_name, to })))
    }

    fn restore(&self, pod: &PodName) -> Next {
        let (Some(target), Some(record)) = (self.replacement(pod), self.journal.member(pod)) else {
            return self.wait(format!("the replacement of {pod} does not exist yet"));
        };
        let (Some(sample), Some(peer)) = (target.sample(), Peer::of(target)) else {
            return self.wait(format!("{pod} gives no sample: {}", target.why_silent()));
        };
        let Ok(config) = &sample.config else {
            return self.wait(format!("the settings of {pod} cannot be read"));
        };
        let seen = |journal| records::started(self.ctx, journal, target, config);
        let differing = records::differing(&record.settings, &settings(config));
        if differing.is_empty() {
            return Next::Record(Box::new(seen(self.proceed())));
        }
        if self.journal.current.attempt >= RESTORE_ATTEMPTS {
            let names: Vec<_> = differing.iter().map(|value| value.name.as_str()).collect();
            return self.end(
                Outcome::ConfigDrift,
                &format!("{} of {pod} could not be set to what the pod before had", names.join(", ")),
            );
        }
        let settings = differing.into_iter().map(|value| (value.name, value.before)).collect();
        Next::Act(Box::new(seen(self.intend())), Box::new(Effect::Restore { peer, settings }))
    }

    fn prove(&self, pod: &PodName) -> Next {
        let (Some(target), Some(record)) = (self.replacement(pod), self.journal.member(pod)) else {
            return self.wait(format!("the replacement of {pod} does not exist yet"));
        };
        match proof::judge(self.ctx, record, target) {
            Proof::Waiting(why) => {
                // There is nothing new to judge before the next sample.
                let next = self.ctx.settings.assess.sample_interval;
                let pause = proof::pause(self.ctx, record).max(next).clamp(SOON, LATER);
                match self.wait(format!("proof of {pod}: {why}")) {
                    Next::Wait(why, _) => Next::Wait(why, pause),
                    over => over,
                }
            }
            Proof::Failed(why) => self.end(Outcome::Ineffective, &format!("{pod} was restarted, but {why}")),
            Proof::Holds { rss, used, .. } => {
                let mut journal = self.proceed();
                if let Some(record) = journal.members.iter_mut().find(|record| record.identity.pod == *pod) {
                    record.rss_after_bytes = Some(stored(rss));
                    record.used_after_bytes = Some(stored(used));
                }
                Next::Record(Box::new(journal))
            }
        }
    }

    fn repoint(&self, pod: &PodName, to: &PodName) -> Next {
        // The role went on to another: nothing is left to repoint to, and the effect would be refused for ever.
        if let Some(live) = self.shard.primary().filter(|live| live.pod.name != *to) {
            let text = format!("{} became primary, not {to}; a new plan is made", live.pod.name);
            return self.end(Outcome::Superseded, &text);
        }
        if self.scaled_away(pod) {
            return Next::Record(Box::new(self.proceed()));
        }
        let (Some(target), Some(primary)) = (self.target(pod), self.target(to)) else {
            return self.wait(format!("{pod} or {to} does not exist"));
        };
        let Some(Role::Replica(link)) = target.sample().map(|sample| &sample.replication.role) else {
            return self.wait(format!("{pod} is not seen as a replica"));
        };
        let gave_the_role = |step: &Step| matches!(step, Step::Switchover { from, .. } if from == pod);
        let before = self.journal.done().iter().rev().find_map(|planned| match &planned.step {
            Step::Switchover { from, .. } => self.target(from),
            _ => None,
        });
        // FAILOVER leaves who gave the role following an address.
        let own_name = replica::own_name(&link.primary, &primary.pod)
            .filter(|_| self.journal.current.attempt == 0)
            .filter(|_| self.journal.done().iter().any(|planned| gave_the_role(&planned.step)));
        if replica::follows(self.shard, primary, &link.primary) && own_name.is_none() {
            let lag = self.ctx.policy.restart.max_replication_lag;
            return match replica::synced(self.shard, primary, target, lag) {
                Ok(()) => Next::Record(Box::new(self.proceed())),
                Err(why) => self.wait(why),
            };
        }
        if !self.may_try_again() {
            return self.wait(format!("{pod} was told to follow {to} and does not yet"));
        }
        let (Some(replica), Some(new)) = (Peer::of(target), Peer::of(primary)) else {
            return self.wait(format!("{pod} or {to} has no address"));
        };
        let by_name = before.and_then(|old| replica::stable_name(&link.primary, &old.pod, &primary.pod)).or(own_name);
        Next::Act(Box::new(self.intend()), Box::new(Effect::Repoint { peer: replica, by_name, to: new }))
    }
}
