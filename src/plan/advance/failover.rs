//! The step Switchover under Sentinel, looked at once. Whom the Sentinel chooses is read afterwards.

use std::time::Duration;

use super::{
    Advance,
    hand_over::{UsedUp, is_primary},
};
use crate::{
    domain::{
        blocked::{BlockReason, Blocked},
        journal::{Journal, Outcome, SwitchoverRecord, TemporarySettings},
        names::PodName,
        snapshot::Target,
        switchover::SwitchoverMethod,
    },
    plan::{
        begin::identity,
        candidate, carry,
        effect::{Effect, FailoverOrder, Peer, SentinelPeer},
        forget,
        gates::Phase,
        next::{LATER, Next},
        switchover::{PAUSE, sentinel::longest_pause},
        temporary::{self, values},
    },
    topology::Disturbance,
};

/// A Sentinel that was told to fail over has given up this long after its `failover-timeout`.
const GIVEN_UP: Duration = Duration::from_secs(30);

/// Proxies in front of one set that a journal names: far more than any set has.
const MOST_PROXIES: usize = 16;

impl Advance<'_> {
    pub(super) fn failover(&self, from: &PodName) -> Next {
        let Some(record) = &self.journal.current.switchover else { return self.before_failover(from) };
        let old = self.target(from);
        let is_same = old.and_then(identity).as_ref() == Some(&record.primary);
        let leads = self.shard.primary();
        match (old, leads) {
            (old, Some(new)) if new.pod.name != *from && !old.is_some_and(is_primary) => self.failed_over(new, old),
            // What was begun went with its process.
            (Some(old), _) if old.sample().is_some() && !is_same => {
                self.end(Outcome::Superseded, &format!("the Redis of {from} has restarted; a new plan is made"))
            }
            (None, _) => self.end(Outcome::Superseded, &format!("{from} is gone; a new plan is made")),
            (Some(old), Some(_)) if record.settled => self.once_more_by_sentinel(old),
            (Some(old), _) => self.end_failover(old, record),
        }
    }

    /// Nothing has been begun.
    fn before_failover(&self, from: &PodName) -> Next {
        let Some(old) = self.target(from).filter(|old| is_primary(old)) else {
            return self.end(Outcome::Superseded, &format!("{from} is not primary any more; a new plan is made"));
        };
        if let Some(end) = self.is_well() {
            return end;
        }
        if let Err(next) = self.gates(Phase::Switchover) {
            return next;
        }
        if let Err(why) = self.every_replica_fits(old) {
            return Next::Gate(vec![Blocked::new(BlockReason::ReplicaNotSynced, why)], LATER);
        }
        for replica in candidate::for_sentinels(self.shard) {
            match carry::over(self.journal.clone(), old, replica) {
                Ok(None) => {}
                Ok(Some((journal, effect))) => return Next::Act(Box::new(journal), Box::new(effect)),
                Err(why) => return self.end(Outcome::ConfigDrift, &why),
            }
        }
        self.start_failover(old)
    }

    /// The error says what is missing.
    fn every_replica_fits(&self, old: &Target) -> Result<(), String> {
        self.shard.replicas.iter().try_for_each(|replica| self.fit(old, replica))
    }

    /// The roles are as before: an attempt failed, or its process died before it changed a role.
    fn once_more_by_sentinel(&self, old: &Target) -> Next {
        let from = &old.pod.name;
        let failed = format!("no Sentinel took the role from {from}");
        match self.used_up(&failed, &format!("a Sentinel was to take the role from {from}")) {
            Some(UsedUp { refused: true, text }) => return self.end(Outcome::SwitchoverFailed, &text),
            Some(UsedUp { text, .. }) => return self.give_up(None, &text),
            None => {}
        }
        // Nobody has looked at it since: the Sentinel could choose it all the same, whatever it lacks.
        if let Some(unseen) = self.unseen() {
            let text = format!("{unseen}, and {from} is still primary; a new plan is made");
            return self.end(Outcome::Superseded, &text);
        }
        let what = Disturbance { restarted: None, calm: forget::has_forgotten(self.journal) };
        if let Some(fault) = self.shard.sentinels_forbid(&what) {
            return self.wait(fault.text);
        }
        match self.every_replica_fits(old) {
            Ok(()) => self.start_failover(old),
            Err(why) => self.wait(why),
        }
    }

    /// A new attempt, with the primary's process as it is now.
    fn start_failover(&self, old: &Target) -> Next {
        let from = &old.pod.name;
        let (Some(primary), Some(sample)) = (identity(old), old.sample()) else {
            return self.wait(format!("{from} gave no sample"));
        };
        // What an attempt before set and did not set back is not taken for what was there.
        let known = self.journal.temporary.as_ref().filter(|temporary| temporary.identity == primary);
        let wanted = || sample.config.as_ref().ok().and_then(temporary::wanted);
        let Some(settings) = known.map(|known| known.settings.clone()).or_else(wanted) else {
            return self.wait(format!("the settings of {from} cannot be read"));
        };
        let record = SwitchoverRecord {
            method: SwitchoverMethod::Sentinel,
            why: "the set's Sentinels decide who is primary".to_owned(),
            primary: primary.clone(),
            candidate: None,
            replid: sample.replication.replid.clone(),
            candidate_addresses: Vec::new(),
            exchanged_at: None,
            back: false,
            settled: false,
        };
        let resumed = self.journal.current.switchover.is_some();
        let mut journal = self.intend();
        journal.temporary = Some(Box::new(TemporarySettings { identity: primary, settings, back_attempt: 0 }));
        for proxy in self.shard.proxies(self.ctx.snapshot).filter(|proxy| proxy.leads_to(&record.primary.run_id)) {
            if journal.proxies.len() < MOST_PROXIES && !journal.proxies.contains(&proxy.service) {
                journal.proxies.push(proxy.service.clone());
            }
        }
        let order = self.failover_order(&journal, old, &record);
        journal.current.switchover = Some(record);
        match order {
            Some(order) => {
                let order = FailoverOrder { resumed, begins: true, ..order };
                Next::Act(Box::new(journal), Box::new(Effect::Failover(Box::new(order))))
            }
            None => self.wait(format!("{from} has no address, or no Sentinel says that it watches it")),
        }
    }

    /// What was begun is ended, with the process that it was begun with. Nothing more is begun.
    fn end_failover(&self, old: &Target, record: &SwitchoverRecord) -> Next {
        match self.failover_order(self.journal, old, record) {
            Some(order) => Next::Act(Box::new(self.journal.clone()), Box::new(Effect::Failover(Box::new(order)))),
            None => self.wait(format!("no Sentinel says that it watches {}", old.pod.name)),
        }
    }

    /// The role is another's. What held for the exchange is set back, and the Sentinels must agree before anybody else is
    /// disturbed: the member that is primary by their word is recorded.
    fn failed_over(&self, new: &Target, old: Option<&Target>) -> Next {
        if let (Some(_), Some(temporary)) = (old, &self.journal.temporary)
            && !temporary::is_back(self.ctx, temporary)
        {
            let drifted = || self.end(Outcome::ConfigDrift, &format!("{} is primary", new.pod.name));
            return temporary::due(self.ctx, self.journal).unwrap_or_else(drifted);
        }
        let faults = self.shard.sentinel_faults();
        if !faults.is_empty() {
            let faults: Vec<String> = faults.into_iter().map(|fault| fault.text).collect();
            return self.wait(format!("{} is primary; {}", new.pod.name, faults.join("; ")));
        }
        let Some(primary) = identity(new) else { return self.wait(format!("{} gave no sample", new.pod.name)) };
        let mut journal = Journal { primary, ..self.proceed() };
        // What was given to it is its own now.
        journal.carried.retain(|carried| carried.identity != journal.primary);
        Next::Record(Box::new(journal))
    }

    fn failover_order(&self, journal: &Journal, old: &Target, record: &SwitchoverRecord) -> Option<FailoverOrder> {
        let electors = self.shard.electors(&old.pod.name)?;
        let settings = journal.temporary.as_ref().map(|it| it.settings.as_slice()).unwrap_or_default();
        let (quiet, refusing): (Vec<_>, Vec<_>) = settings.iter().partition(|setting| temporary::is_quiet(setting));
        let others = self.shard.members.iter().filter(|member| member.pod.uid != old.pod.uid);
        let replicas = others.filter_map(|it| Some((Peer::of(it)?, electors.addresses_of(&it.pod.name)))).collect();
        let tried = journal.current.tried_at.or(journal.current.begun_at);
        let patience = electors.failover_timeout.saturating_add(GIVEN_UP);
        Some(FailoverOrder {
            from: Peer::at(&record.primary, old)?,
            from_addresses: electors.addresses_of(&old.pod.name),
            replid: record.replid.clone(),
            replicas,
            sentinels: electors.sentinels.iter().filter_map(|sentinel| SentinelPeer::of(sentinel)).collect(),
            majority: electors.majority(),
            known: electors.known,
            needed: electors.needed,
            set: electors.set.to_owned(),
            quiet: values(quiet, false),
            refusing: values(refusing, false),
            before: values(settings, true),
            coordinated: journal.current.failures == 0,
            resumed: true,
            begins: false,
            over: tried.is_some_and(|tried| self.ctx.since(tried) > patience),
            pause: PAUSE,
            longest_pause: longest_pause(electors.down_after),
            max_lag: self.ctx.policy.restart.max_replication_lag,
        })
    }
}
