//! The steps, each looked at once: done already → on to the next; not possible yet → wait; else its effect.

use std::time::Duration;

use super::{LATER, Look, Next, SOON};
use crate::{
    domain::{
        bytes::Bytes,
        journal::{Journal, Outcome, Settings},
        names::PodName,
        sample::Role,
        snapshot::Target,
        step::Step,
    },
    plan::{
        begin::{identity, settings, stored},
        blocked::{BlockReason, Blocked},
        effect::{Effect, Peer, SwitchoverOrder},
        gates::Phase,
        proof::{self, Proof},
        replica, resize,
    },
};

/// A switchover that failed this often ends the remediation: the cause is not going away by itself.
const SWITCHOVER_ATTEMPTS: u32 = 2;
/// Settings are applied at most this often to one pod before their difference is drift.
const RESTORE_ATTEMPTS: u32 = 3;
/// FAILOVER's own bound on waiting for the replica; writes are paused for at most this long.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(3);

impl<'a> Look<'a> {
    pub(super) fn evict(&self, pod: &PodName) -> Next {
        let Some(record) = self.journal.member(pod) else {
            return self.end(Outcome::Superseded, "the journal does not know the member that it evicts");
        };
        let begun = self.journal.current.begun_at.is_some();
        let gone = match self.target(pod) {
            None => true,
            Some(target) => target.pod.uid != record.identity.uid || target.pod.terminating,
        };
        if gone && begun {
            return Next::Record(Box::new(self.proceed()));
        }
        let Some(target) = self.target(pod) else {
            return Next::Wait(format!("{pod} does not exist"), LATER);
        };
        if let Err(next) = self.gates(Phase::Evict(pod.clone())) {
            return next;
        }
        // Read from the live snapshot, not from the journal: the pod that is primary now is never evicted.
        if !target.sample().is_some_and(|sample| matches!(sample.replication.role, Role::Replica(_))) {
            return self.end(Outcome::Superseded, &format!("{pod} is no replica any more; a new plan is made"));
        }
        // While a disruption budget says no, the same intent is carried out again: nothing new is written.
        let journal = if begun { self.journal.clone() } else { self.intend() };
        match peer(target) {
            Some(peer) => Next::Act(Box::new(journal), Box::new(Effect::Evict { peer })),
            None => self.wait(format!("{pod} has no address")),
        }
    }

    /// The pod that replaced the evicted one, once it exists.
    fn replacement(&self, pod: &PodName) -> Option<&'a Target> {
        let record = self.journal.member(pod)?;
        self.target(pod).filter(|target| target.pod.uid != record.identity.uid && !target.pod.terminating)
    }

    pub(super) fn resize(&self, pod: &PodName, limit: Bytes) -> Next {
        let Some(target) = self.replacement(pod) else {
            return self.wait(format!("the replacement of {pod} does not exist yet"));
        };
        match resize::step_effect(self.ctx, target, limit) {
            Some(effect) => Next::Act(Box::new(self.intend()), Box::new(effect)),
            None => Next::Record(Box::new(self.proceed())),
        }
    }

    pub(super) fn await_replica(&self, pod: &PodName) -> Next {
        let Some(target) = self.replacement(pod) else {
            return self.wait(format!("the replacement of {pod} does not exist yet"));
        };
        if !target.pod.ready {
            return self.wait(format!("{pod} is not Ready yet"));
        }
        let Some(primary) = self.workload.primary() else {
            return self.no_single_primary();
        };
        let lag = self.ctx.policy.restart.max_replication_lag;
        if let Err(why) = replica::synced(self.ctx.snapshot, primary, target, lag) {
            return self.wait(why);
        }
        let mut journal = self.proceed();
        if let Some(record) = journal.members.iter_mut().find(|record| record.identity.pod == *pod) {
            record.caught_up_at = Some(self.ctx.now);
        }
        Next::Record(Box::new(journal))
    }

    pub(super) fn restore(&self, pod: &PodName) -> Next {
        let (Some(target), Some(record)) = (self.replacement(pod), self.journal.member(pod)) else {
            return self.wait(format!("the replacement of {pod} does not exist yet"));
        };
        let (Some(sample), Some(peer)) = (target.sample(), peer(target)) else {
            return self.wait(format!("{pod} gave no sample yet"));
        };
        let Ok(config) = &sample.config else {
            return self.wait(format!("the settings of {pod} cannot be read"));
        };
        let differing = differing(&record.settings, &settings(config));
        if differing.is_empty() {
            return Next::Record(Box::new(self.proceed()));
        }
        if self.journal.current.attempt >= RESTORE_ATTEMPTS {
            let names: Vec<_> = differing.iter().map(|(name, _)| name.as_str()).collect();
            return self.end(
                Outcome::ConfigDrift,
                &format!("{} of {pod} could not be set to what the pod before had", names.join(", ")),
            );
        }
        Next::Act(Box::new(self.intend()), Box::new(Effect::Restore { peer, settings: differing }))
    }

    pub(super) fn prove(&self, pod: &PodName) -> Next {
        let (Some(target), Some(record)) = (self.replacement(pod), self.journal.member(pod)) else {
            return self.wait(format!("the replacement of {pod} does not exist yet"));
        };
        match proof::judge(self.ctx, record, target) {
            // There is nothing new to judge before the next sample.
            Proof::Waiting(why) => {
                let next = self.ctx.settings.assess.sample_interval.clamp(SOON, LATER);
                Next::Wait(format!("proof of {pod}: {why}"), next)
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

    pub(super) fn switchover(&self, from: &PodName, to: &PodName) -> Next {
        let begun = self.journal.current.begun_at.is_some();
        let (Some(old), Some(new)) = (self.target(from), self.target(to)) else {
            return self.wait(format!("{from} or {to} does not exist"));
        };
        if begun && self.workload.primaries.len() > 1 {
            let text = format!("{from} and {to} must not both be primary: nothing is done until exactly one is");
            return Next::Gate(vec![Blocked::new(BlockReason::TwoPrimaries, text)], LATER);
        }
        // Handed over already: by us before a restart of the operator, labels included.
        let is = |target: &Target, primary: bool| {
            target.sample().is_some_and(|sample| matches!(sample.replication.role, Role::Primary) == primary)
        };
        let label = &self.ctx.policy.redis.role_label;
        let labels_done =
            old.pod.role_label.as_ref() != Some(&label.primary) && new.pod.role_label.as_ref() == Some(&label.primary);
        if begun && is(new, true) && is(old, false) && labels_done {
            return match identity(new) {
                Some(primary) => Next::Record(Box::new(Journal { primary, ..self.proceed() })),
                None => self.wait(format!("{to} gave no sample")),
            };
        }
        if !begun && let Err(next) = self.ready_to_switch(old, new) {
            return next;
        }
        if self.journal.current.attempt >= SWITCHOVER_ATTEMPTS && is(old, true) && is(new, false) {
            return self.end(Outcome::SwitchoverFailed, &format!("the role could not be handed from {from} to {to}"));
        }
        match self.order(old, new) {
            Some(order) => Next::Act(Box::new(self.intend()), Box::new(Effect::Switchover(Box::new(order)))),
            None => self.wait(format!("{from} or {to} gave no sample")),
        }
    }

    /// The gates of a switchover that has not begun.
    fn ready_to_switch(&self, old: &Target, new: &Target) -> Result<(), Next> {
        self.gates(Phase::Switchover)?;
        let (Some(upstream), Some(candidate)) = (old.sample(), new.sample()) else {
            return Err(self.wait("a sample is missing".to_owned()));
        };
        let lag = self.ctx.policy.restart.max_replication_lag;
        let fit = replica::synced(self.ctx.snapshot, old, new, lag)
            .and_then(|()| replica::same_keys(upstream, candidate).map_err(|why| format!("{}: {why}", new.pod.name)));
        fit.map_err(|why| Next::Gate(vec![Blocked::new(BlockReason::ReplicaNotSynced, why)], LATER))
    }

    fn order(&self, old: &Target, new: &Target) -> Option<SwitchoverOrder> {
        let label = &self.ctx.policy.redis.role_label;
        let services = self.ctx.snapshot.services.iter().filter(|service| service.role_value == label.primary);
        Some(SwitchoverOrder {
            from: peer(old)?,
            to: peer(new)?,
            failover_address: replica::line_of(old.sample()?, &new.pod).map(|line| line.address.clone()),
            role_label: label.clone(),
            services: services.map(|service| service.name.clone()).collect(),
            failover_timeout: FAILOVER_TIMEOUT,
            max_lag: self.ctx.policy.restart.max_replication_lag,
        })
    }

    pub(super) fn repoint(&self, pod: &PodName, to: &PodName) -> Next {
        let (Some(target), Some(primary)) = (self.target(pod), self.target(to)) else {
            return self.wait(format!("{pod} or {to} does not exist"));
        };
        let Some(Role::Replica(link)) = target.sample().map(|sample| &sample.replication.role) else {
            return self.wait(format!("{pod} is not seen as a replica"));
        };
        if replica::follows(self.ctx.snapshot, primary, &link.primary) {
            let lag = self.ctx.policy.restart.max_replication_lag;
            return match replica::synced(self.ctx.snapshot, primary, target, lag) {
                Ok(()) => Next::Record(Box::new(self.proceed())),
                Err(why) => self.wait(why),
            };
        }
        let (Some(replica), Some(new)) = (peer(target), peer(primary)) else {
            return self.wait(format!("{pod} or {to} has no address"));
        };
        let before = self.journal.steps.iter().find_map(|planned| match &planned.step {
            Step::Switchover { from, .. } => self.target(from),
            _ => None,
        });
        let by_name = before.and_then(|old| replica::stable_name(&link.primary, &old.pod, &primary.pod));
        Next::Act(Box::new(self.intend()), Box::new(Effect::Repoint { peer: replica, by_name, to: new }))
    }
}

/// A target as an effect addresses it.
fn peer(target: &Target) -> Option<Peer> {
    let ip = target.pod.ip.as_deref()?.parse().ok()?;
    let port = target.pod.container.as_ref().ok()?.port;
    Some(Peer {
        pod: target.pod.name.clone(),
        uid: target.pod.uid.clone(),
        run_id: target.sample()?.run_id.clone(),
        address: std::net::SocketAddr::new(ip, port),
    })
}

/// The settings that must be applied so that `now` becomes `before`, in `CONFIG SET` form.
fn differing(before: &Settings, now: &Settings) -> Vec<(String, String)> {
    let yes_no = |on: bool| if on { "yes" } else { "no" }.to_owned();
    let all = [
        ("maxmemory", before.maxmemory != now.maxmemory, before.maxmemory.to_string()),
        ("maxmemory-policy", before.maxmemory_policy != now.maxmemory_policy, before.maxmemory_policy.clone()),
        ("appendonly", before.appendonly != now.appendonly, yes_no(before.appendonly)),
        ("save", before.save != now.save, before.save.clone()),
        ("repl-backlog-size", before.repl_backlog_size != now.repl_backlog_size, before.repl_backlog_size.to_string()),
    ];
    all.into_iter().filter(|(_, differs, _)| *differs).map(|(name, _, value)| (name.to_owned(), value)).collect()
}
