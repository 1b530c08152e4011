//! One look at a remediation under way: the journal and a live snapshot → the next thing to do.
//!
//! Every step is idempotent: what is already true is not done again, so a restarted operator simply looks.

use std::time::Duration;

use super::{
    Context, authority,
    begin::{identity, settings, stored},
    blocked::{BlockReason, Blocked},
    effect::{Effect, Peer, SwitchoverOrder},
    gates::{self, Phase, Scene},
    order,
    proof::{self, Proof},
    replica, resize,
};
use crate::{
    assess::topology::{self, Workload},
    domain::{
        journal::{CurrentStep, Journal, MemberRecord, Outcome, RestartRecord, Settings, WorkloadRecord},
        names::PodName,
        policy::Mode,
        sample::Role,
        snapshot::Target,
        step::Step,
    },
};

/// FAILOVER's own bound on waiting for the replica; writes are paused for at most this long (design.md section 7).
pub const FAILOVER_TIMEOUT: Duration = Duration::from_secs(3);
/// A switchover that failed this often ends the remediation: the cause is not going away by itself.
const SWITCHOVER_ATTEMPTS: u32 = 2;
/// Settings are applied at most this often to one pod before their difference is drift.
const RESTORE_ATTEMPTS: u32 = 3;

/// What to do next in a remediation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Look again after this time; the text says what is waited for.
    Wait(String, Duration),
    /// A gate does not hold: look again after this time.
    Gate(Vec<Blocked>, Duration),
    /// Write the journal, then look again at once.
    Record(Box<Journal>),
    /// Write the journal, then carry the effect out, then look again at once.
    Act(Box<Journal>, Box<Effect>),
    /// Write the record, clear the journal.
    End(Box<WorkloadRecord>),
}

/// How soon to look again while something comes up.
const SOON: Duration = Duration::from_secs(1);
/// How soon to look again at a gate.
const LATER: Duration = Duration::from_secs(10);

/// One look.
pub fn next(ctx: &Context<'_>, journal: &Journal, deleting: bool) -> Next {
    let workloads = topology::workloads(ctx.snapshot);
    let Some(workload) = workloads.iter().find(|workload| workload.uid == journal.workload) else {
        return end(ctx, journal, Outcome::Superseded, "the selector no longer finds a member of the set");
    };
    let Some(planned) = journal.planned() else {
        return end(ctx, journal, Outcome::Succeeded, &summary(journal));
    };
    let look = Look { ctx, journal, workload };
    if let Some(stop) = look.interrupted(deleting) {
        return stop;
    }
    match &planned.step {
        Step::Evict { pod } => look.evict(pod),
        Step::Resize { pod, limit } => look.resize(pod, *limit),
        Step::AwaitReplica { pod } => look.await_replica(pod),
        Step::RestoreSettings { pod } => look.restore(pod),
        Step::Prove { pod } => look.prove(pod),
        Step::Switchover { from, to } => look.switchover(from, to),
        Step::Repoint { pod, to } => look.repoint(pod, to),
    }
}

struct Look<'a> {
    ctx: &'a Context<'a>,
    journal: &'a Journal,
    workload: &'a Workload<'a>,
}

impl<'a> Look<'a> {
    fn target(&self, pod: &PodName) -> Option<&'a Target> {
        self.ctx.snapshot.target(pod)
    }

    fn end(&self, outcome: Outcome, message: &str) -> Next {
        end(self.ctx, self.journal, outcome, message)
    }

    /// What ends the remediation at a safe boundary: a stop by a person, or a world that is no longer the plan's.
    fn interrupted(&self, deleting: bool) -> Option<Next> {
        let policy = self.ctx.policy;
        if !self.at_boundary(deleting) {
            return None;
        }
        if deleting {
            return Some(self.end(Outcome::Stopped, "the policy is being deleted"));
        }
        if policy.suspend || policy.mode == Mode::Observe || !policy.fragmentation.restart_allowed {
            return Some(self.end(Outcome::Stopped, "the policy was suspended or no longer allows restarts"));
        }
        if policy.generation != self.journal.generation {
            return Some(self.end(Outcome::Superseded, "the spec changed; a new plan is made"));
        }
        let changed = self.changed_member()?;
        Some(self.end(Outcome::Superseded, &format!("{changed}; a new plan is made from what is now true")))
    }

    /// Nothing of ours is half done here. On deletion waiting is given up too: the set heals without us.
    fn at_boundary(&self, deleting: bool) -> bool {
        match self.journal.step() {
            None | Some(Step::Prove { .. }) => true,
            Some(Step::Evict { pod }) => {
                let untouched = |target: &Target| {
                    self.journal.member(pod).is_some_and(|record| record.identity.uid == target.pod.uid)
                        && !target.pod.terminating
                };
                self.journal.current.begun_at.is_none() || self.target(pod).is_some_and(untouched)
            }
            Some(Step::Switchover { .. }) => self.journal.current.begun_at.is_none(),
            Some(Step::AwaitReplica { .. } | Step::Resize { .. } | Step::RestoreSettings { .. }) => deleting,
            Some(Step::Repoint { .. }) => false,
        }
    }

    /// A member, or the primary, that is not what the journal says, in words.
    fn changed_member(&self) -> Option<String> {
        for target in &self.workload.members {
            let Some(record) = self.journal.member(&target.pod.name) else {
                return Some(format!("{} has joined the set", target.pod.name));
            };
            let being_evicted = self.journal.evicted(&target.pod.name)
                || (self.journal.current.begun_at.is_some()
                    && self
                        .journal
                        .step()
                        .is_some_and(|step| matches!(step, Step::Evict { pod } if *pod == target.pod.name)));
            if target.pod.uid != record.identity.uid && !being_evicted {
                return Some(format!("{} was replaced by somebody else", target.pod.name));
            }
        }
        let primary = &self.journal.primary;
        match self.workload.primaries.as_slice() {
            [live] if live.pod.uid != primary.uid => {
                Some(format!("{} is primary now, not {}", live.pod.name, primary.pod))
            }
            // The same pod with another process: it restarted, and what it holds must be judged anew.
            [live] if live.sample().is_some_and(|sample| sample.run_id != primary.run_id) => {
                Some(format!("the Redis of {} has restarted", live.pod.name))
            }
            _ => None,
        }
    }

    fn gates(&self, phase: Phase) -> Result<(), Next> {
        let scene = Scene {
            ctx: *self.ctx,
            workload: self.workload,
            authority: authority::of(self.ctx.policy, self.workload),
            restarting: order::restarted_pods(&self.journal.steps),
            phase,
        };
        let blocked = gates::check(&scene);
        if blocked.is_empty() { Ok(()) } else { Err(Next::Gate(blocked, LATER)) }
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
        if gone && begun {
            return Next::Record(Box::new(self.proceed()));
        }
        let Some(target) = self.target(pod) else {
            return Next::Wait(format!("{pod} does not exist"), SOON);
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
        let effect = Effect::Evict { pod: pod.clone(), uid: target.pod.uid.clone() };
        Next::Act(Box::new(journal), Box::new(effect))
    }

    /// The pod that replaced the evicted one, once it exists.
    fn replacement(&self, pod: &PodName) -> Option<&'a Target> {
        let record = self.journal.member(pod)?;
        self.target(pod).filter(|target| target.pod.uid != record.identity.uid && !target.pod.terminating)
    }

    fn resize(&self, pod: &PodName, limit: crate::domain::bytes::Bytes) -> Next {
        let Some(target) = self.replacement(pod) else {
            return self.wait(format!("the replacement of {pod} does not exist yet"));
        };
        match resize::step_effect(self.ctx, target, limit) {
            Some(effect) => Next::Act(Box::new(self.intend()), Box::new(effect)),
            None => Next::Record(Box::new(self.proceed())),
        }
    }

    fn await_replica(&self, pod: &PodName) -> Next {
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

    fn restore(&self, pod: &PodName) -> Next {
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

    fn prove(&self, pod: &PodName) -> Next {
        let (Some(target), Some(record)) = (self.replacement(pod), self.journal.member(pod)) else {
            return self.wait(format!("the replacement of {pod} does not exist yet"));
        };
        match proof::judge(self.ctx, record, target) {
            Proof::Waiting(why) => Next::Wait(format!("proof of {pod}: {why}"), SOON),
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

    fn switchover(&self, from: &PodName, to: &PodName) -> Next {
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

    fn repoint(&self, pod: &PodName, to: &PodName) -> Next {
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

    /// None or two primaries: everything is frozen, and the refusal says which.
    fn no_single_primary(&self) -> Next {
        let (reason, what) = if self.workload.primaries.is_empty() {
            (BlockReason::NoPrimary, "no member says that it is primary")
        } else {
            (BlockReason::TwoPrimaries, "more than one member says that it is primary")
        };
        Next::Gate(vec![Blocked::new(reason, format!("{what}: nothing is done until exactly one does"))], LATER)
    }

    /// Waits, unless the step has taken too long.
    fn wait(&self, why: String) -> Next {
        let begun = self.journal.current.begun_at.unwrap_or(self.ctx.now);
        let limit = self.ctx.policy.restart.step_timeout;
        if self.ctx.since(begun) > limit {
            return self.end(Outcome::TimedOut, &format!("after {} s: {why}", limit.as_secs()));
        }
        Next::Wait(why, SOON)
    }

    /// The journal with the effect of the present step intended once more.
    fn intend(&self) -> Journal {
        let mut journal = self.journal.clone();
        journal.current.begun_at = journal.current.begun_at.or(Some(self.ctx.now));
        journal.current.attempt = journal.current.attempt.saturating_add(1);
        journal
    }

    /// The journal with the cursor on the next step. A step that only waits begins at once.
    fn proceed(&self) -> Journal {
        let mut journal = self.journal.clone();
        journal.cursor = journal.cursor.saturating_add(1);
        let gated = matches!(journal.step(), None | Some(Step::Evict { .. } | Step::Switchover { .. }));
        journal.current = CurrentStep { begun_at: (!gated).then_some(self.ctx.now), attempt: 0 };
        journal
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

/// Ends the remediation: what is remembered of the workload.
fn end(ctx: &Context<'_>, journal: &Journal, outcome: Outcome, message: &str) -> Next {
    let before = ctx.records.iter().find(|record| record.uid == journal.workload);
    let mut restarts: Vec<RestartRecord> = before.map(|record| record.restarts.clone()).unwrap_or_default();
    for MemberRecord { identity, caught_up_at, .. } in &journal.members {
        let evicted = journal.evicted(&identity.pod);
        if evicted {
            restarts.retain(|restart| restart.pod != identity.pod);
            let at = caught_up_at.unwrap_or(ctx.now);
            restarts.push(RestartRecord { pod: identity.pod.clone(), at });
        }
    }
    restarts.truncate(32);
    let mut message = message.to_owned();
    message.truncate(message.floor_char_boundary(512));
    Next::End(Box::new(WorkloadRecord {
        uid: journal.workload.clone(),
        name: journal.workload_name.clone(),
        outcome,
        remediation: journal.id.clone(),
        ended_at: ctx.now,
        generation: ctx.policy.generation,
        message,
        restarts,
    }))
}

/// "3 pods restarted, 366 MiB came back": what a finished remediation did.
fn summary(journal: &Journal) -> String {
    let proven = journal.members.iter().filter_map(|record| Some(record.rss_bytes - record.rss_after_bytes?));
    let (mut pods, mut bytes) = (0, 0_i64);
    for reclaimed in proven {
        pods += 1;
        bytes = bytes.saturating_add(reclaimed.max(0));
    }
    let bytes = crate::domain::bytes::Bytes(u64::try_from(bytes).unwrap_or(0));
    format!("{pods} pods restarted, {} came back", bytes.quantised())
}
