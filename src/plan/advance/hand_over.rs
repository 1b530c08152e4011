//! The step Switchover, looked at once: exchanged already, as before, or somewhere in between.

mod holding;
mod label;
mod order;

use self::{holding::Labels, order::addresses};
use super::Advance;
use crate::{
    domain::{
        blocked::{BlockReason, Blocked},
        journal::{Journal, MemberIdentity, Outcome, SwitchoverRecord},
        names::{PodName, PodUid},
        sample::{FailoverState, Role},
        snapshot::Target,
        switchover::{SwitchoverChoice, SwitchoverMethod},
    },
    plan::{
        begin::identity,
        carry,
        effect::{Effect, Peer, SwitchoverOrder},
        gates::Phase,
        next::Next,
        replica,
        switchover::choice::choose,
    },
};

/// A switchover that failed this often ends the remediation: the cause is not going away by itself.
const ATTEMPTS: u32 = 2;
/// One that was cut short this often ends it too: each time the operator died in the middle, or lost its Lease, and whether
/// the set would have let it happen is not known.
const CUT_SHORT: u32 = 5;

/// No further attempt is made.
pub(super) struct UsedUp {
    /// By the set, each time; else the operator was cut short too often.
    pub(super) refused: bool,
    /// For people.
    pub(super) text: String,
}

/// Where the role is to go: there, or, when the label did not follow, back.
struct Direction<'a> {
    /// The one that is primary until then.
    from: &'a Target,
    /// The one that becomes primary; `None`: its pod does not exist just now.
    to: Option<&'a Target>,
    to_name: &'a PodName,
    back: bool,
}

impl Advance<'_> {
    pub(super) fn switchover(&self, from: &PodName, to: &PodName) -> Next {
        let begun = self.journal.current.begun_at.is_some();
        if !begun && self.journal.hands_back() && !self.starts_alone(to) {
            return Next::Record(Box::new(self.finish()));
        }
        if !begun && let Some(end) = self.is_well() {
            return end;
        }
        let back = begun && self.journal.current.switchover.as_ref().is_some_and(|record| record.back);
        let (from, to) = if back { (to, from) } else { (from, to) };
        let Some(old) = self.target(from) else {
            let labels = if begun { Labels::AsTheyAre } else { Labels::LeftToUpkeep };
            return self.hold(&labels, format!("{from} does not exist"));
        };
        if begun && self.shard.lead.is_several() {
            let text = format!("{from} and {to} must not both be primary: nothing is done until exactly one is");
            return self.hold_at(&Labels::AsTheyAre, Blocked::new(BlockReason::TwoPrimaries, text));
        }
        let way = Direction { from: old, to: self.target(to), to_name: to, back };
        if begun && let Some(claimant) = self.claimed_by_third(&way) {
            return self.hold_at(&Labels::AsTheyAre, claimant);
        }
        if let Some(moved) = self.moved_by_somebody(&way) {
            let end = || self.end(Outcome::Superseded, &format!("{moved}; a new plan is made"));
            return self.off_an_address(&way).unwrap_or_else(end);
        }
        match way.to {
            Some(new) if begun && is_primary(new) && is_replica(old) => self.exchanged(&way, new),
            Some(new) if begun && is_primary(new) && old.sample().is_none() && self.handed_over(&way, new) => {
                self.settled(new)
            }
            Some(new) if !begun => match self.ready_to_switch(old, new) {
                Ok(()) => match carry::over(self.journal.clone(), old, new) {
                    Ok(None) => self.start(&way, new),
                    Ok(Some((journal, effect))) => Next::Act(Box::new(journal), Box::new(effect)),
                    Err(why) => self.end(Outcome::ConfigDrift, &why),
                },
                Err(next) => next,
            },
            Some(new) if is_primary(old) && is_replica(new) => self.once_more(&way, new),
            Some(new) if !back && is_primary(old) && new.sample().is_none() => {
                self.call_off(&way, new, &format!("{to} does not answer"))
            }
            None if !begun => self.hold(&Labels::LeftToUpkeep, format!("{to} does not exist")),
            None if !back && is_primary(old) => {
                self.close(&way, Outcome::Superseded, &format!("{to} does not exist; a new plan is made"))
            }
            _ => self.go_on(&way),
        }
    }

    /// Somebody else moved the role while it was being handed over, in words.
    fn moved_by_somebody(&self, way: &Direction<'_>) -> Option<String> {
        let begun = self.journal.current.begun_at.is_some();
        let Some(new) = way.to else { return self.taken_by_third(way) };
        // The labels say that the role was handed over, the roles that somebody has moved it back: no second time.
        if begun && !way.back && is_primary(way.from) && is_replica(new) && self.labels_moved(way.from, new) {
            return Some(format!("somebody made {} the primary again", way.from.pod.name));
        }
        // The candidate's process is another one by now, and primary: what we wait for is gone, and nobody is without a primary.
        let record = self.journal.current.switchover.as_ref();
        let another = record.is_some_and(|record| {
            new.sample().is_some_and(|sample| {
                let known = |identity: &MemberIdentity| sample.run_id == identity.run_id;
                !record.candidate.as_ref().is_some_and(known) && !known(&record.primary)
            })
        });
        let old_is_over = is_replica(way.from) && is_free(way.from) || record.is_some_and(|it| self.both_are_gone(it));
        if begun && another && is_primary(new) && old_is_over {
            return Some(format!("the Redis of {} has restarted and is primary", new.pod.name));
        }
        // Nor is the old primary's process there any more, which what was begun could be ended with.
        let restarted =
            record.is_some_and(|record| way.from.sample().is_some_and(|sample| sample.run_id != record.primary.run_id));
        if begun && restarted && is_primary(new) && is_replica(way.from) && is_free(way.from) {
            let (old, new) = (&way.from.pod.name, &new.pod.name);
            return Some(format!("the Redis of {old} has restarted, and {new} is primary"));
        }
        self.taken_by_third(way)
    }

    /// Somebody else gave the role to a third member, and one of the two follows it: there is nothing left to hand over. The
    /// labels follow the live roles as soon as the two pods are no longer left to this step.
    ///
    /// Of one whose pod was replaced, and whose replacement does not answer (there is no node for it, say), nothing more is
    /// asked: the process that could still exchange anything is gone.
    fn taken_by_third(&self, way: &Direction<'_>) -> Option<String> {
        let third = self.shard.primary()?;
        let begun = self.journal.current.begun_at.is_some();
        let record = self.journal.current.switchover.as_ref();
        let lost = |target: Option<&Target>, recorded: fn(&SwitchoverRecord) -> Option<&PodUid>| {
            let another = |target: &Target| record.and_then(recorded).is_some_and(|uid| target.pod.uid != *uid);
            record.is_some() && target.is_none_or(|target| target.sample().is_none() && another(target))
        };
        let from_over = (is_replica(way.from) && is_free(way.from)) || lost(Some(way.from), |it| Some(&it.primary.uid));
        let to_over = way.to.is_some_and(is_replica) || lost(way.to, |it| Some(&it.candidate.as_ref()?.uid));
        let adopted = !begun || replica::adopted(self.shard, third, [Some(way.from), way.to].into_iter().flatten());
        (from_over && to_over && adopted).then(|| format!("{} became primary, not {}", third.pod.name, way.to_name))
    }

    /// FAILOVER leaves the old primary following an address, which goes with the candidate's pod: before such an end it is
    /// told the name.
    fn off_an_address(&self, way: &Direction<'_>) -> Option<Next> {
        let new = way.to.filter(|new| is_primary(new))?;
        let Role::Replica(link) = &way.from.sample()?.replication.role else { return None };
        let by_name = Some(replica::own_name(&link.primary, &new.pod)?);
        let (peer, to) = (Peer::of(way.from)?, Peer::of(new)?);
        let effect = Effect::Repoint { peer, by_name, to };
        let begun = self.journal.current.begun_at.is_some() && self.may_try_again();
        begun.then(|| Next::Act(Box::new(self.intend()), Box::new(effect)))
    }

    /// A third member says that it is primary, and neither of the two follows it: it may have started as one, or lie. What
    /// it holds is not what they hold, and with the candidate promoted there would be two.
    fn claimed_by_third(&self, way: &Direction<'_>) -> Option<Blocked> {
        let third = self.shard.primary()?;
        let new = way.to?;
        if !is_replica(way.from) || !is_replica(new) || replica::adopted(self.shard, third, [way.from, new]) {
            return None;
        }
        let (third, from, new) = (&third.pod.name, &way.from.pod.name, &new.pod.name);
        let text = format!(
            "{third} says that it is primary, and neither {from} nor {new}, which share the data, follows it: make \
             {third} follow {new} (REPLICAOF) to keep theirs; the switchover then goes on by itself"
        );
        Some(Blocked::new(BlockReason::TwoPrimaries, text))
    }

    /// The labels that this operator keeps say that the role is handed over.
    fn labels_moved(&self, old: &Target, new: &Target) -> bool {
        let primary = Some(&self.ctx.policy.redis.role_label.primary);
        self.shard.follow.is_ours() && old.pod.role_label.as_ref() != primary && new.pod.role_label.as_ref() == primary
    }

    /// The labels are moved once the exchange was seen: nothing of it is left to be done with an old primary that has
    /// fallen silent since. The steps that need it have gates.
    fn handed_over(&self, way: &Direction<'_>, new: &Target) -> bool {
        let candidate = self.journal.current.switchover.as_ref().and_then(|record| record.candidate.as_ref());
        candidate.is_some() && candidate == identity(new).as_ref() && self.labels_moved(way.from, new)
    }

    /// The roles are exchanged, by us before a restart of the operator or a moment ago.
    fn exchanged(&self, way: &Direction<'_>, new: &Target) -> Next {
        if self.shard.follow.is_theirs() {
            return self.followed(way, new);
        }
        if self.labels_moved(way.from, new) { self.settled(new) } else { self.go_on(way) }
    }

    fn settled(&self, new: &Target) -> Next {
        match identity(new) {
            Some(primary) => {
                let mut journal = Journal { primary, ..self.proceed() };
                // Writes go to the pod that the label names: until it followed they did not arrive.
                let exchanged = self.journal.current.switchover.as_ref().and_then(|record| record.exchanged_at);
                if let (Some(gap), Some(since)) = (&mut journal.write_gap, exchanged) {
                    gap.add(self.ctx.since(since));
                }
                // What was given to it is its own now.
                journal.carried.retain(|carried| carried.identity != journal.primary);
                Next::Record(Box::new(journal))
            }
            None => self.hold(&Labels::AsTheyAre, format!("{} gave no sample", new.pod.name)),
        }
    }

    /// The roles are as before: an attempt failed, or its process died before it changed a role.
    fn once_more(&self, way: &Direction<'_>, new: &Target) -> Next {
        let (from, to) = (&way.from.pod.name, way.to_name);
        let recorded = self.journal.current.switchover.as_ref().map(|record| &record.primary);
        if recorded.is_some() && recorded != identity(way.from).as_ref() {
            return self.end(Outcome::Superseded, &format!("the Redis of {from} has restarted; a new plan is made"));
        }
        let candidate = self.journal.current.switchover.as_ref().and_then(|record| record.candidate.as_ref());
        if !way.back && candidate.is_some() && candidate != identity(new).as_ref() {
            // No gate has looked at this process: it may have other settings, and become primary with them.
            return self.close(
                way,
                Outcome::Superseded,
                &format!("the Redis of {to} has restarted; a new plan is made"),
            );
        }
        if !way.back
            && let Some(unseen) = self.unseen()
        {
            return self.call_off(way, new, &unseen);
        }
        // The label came after all, while the role was about to go back.
        if way.back && self.label_at(way.from, new).is_ok() {
            return self.settled(way.from);
        }
        if let Some(given_up) = self.no_more_attempts(way) {
            return given_up;
        }
        match self.fit(way.from, new) {
            Ok(()) => self.start(way, new),
            Err(why) => self.hold_as_before(way, new, why),
        }
    }

    /// A member of the plan that does not answer, or does not exist, in words.
    pub(super) fn unseen(&self) -> Option<String> {
        if let Some(silent) = self.shard.unknown.first() {
            return Some(format!("{} does not answer", silent.pod.name));
        }
        let absent = self.journal.members.iter().find(|record| self.target(&record.identity.pod).is_none())?;
        Some(format!("{} does not exist", absent.identity.pod))
    }

    /// The end, when the attempts are used up; the message says by whom: the set refused, or the operator was cut short.
    fn no_more_attempts(&self, way: &Direction<'_>) -> Option<Next> {
        let (from, to) = (&way.from.pod.name, way.to_name);
        let UsedUp { refused, text: failed } = self.used_up(
            &format!("the role could not be handed from {from} to {to}"),
            &format!("it handed the role from {from} to {to}"),
        )?;
        Some(match (way.back, refused) {
            (true, _) => {
                self.close(way, Outcome::LabelDidNotFollow, &format!("{}, and {failed}", self.complaint(from)))
            }
            (false, true) => self.close(way, Outcome::SwitchoverFailed, &failed),
            (false, false) => self.close_with(way, || self.give_up(None, &failed)),
        })
    }

    /// That the attempts are used up, and in words: what `failed`, or what the operator was cut short at.
    pub(super) fn used_up(&self, failed: &str, cut_short_while: &str) -> Option<UsedUp> {
        let current = &self.journal.current;
        let cut_short = current.attempt.saturating_sub(current.failures);
        let why = current.failure.as_ref().map(|why| format!("; the last time: {why}")).unwrap_or_default();
        let refused = current.failures >= ATTEMPTS;
        let text = if refused {
            format!("{failed} in {} attempts{why}", current.failures)
        } else {
            format!(
                "the operator was cut short {cut_short} times (it died or lost its Lease) while {cut_short_while}{why}"
            )
        };
        (refused || cut_short >= CUT_SHORT).then_some(UsedUp { refused, text })
    }

    /// Nothing is handed over while a member does not answer. Nothing was, either: the candidate's label is taken back,
    /// so that clients do not meet a replica for as long as that lasts.
    fn call_off(&self, way: &Direction<'_>, new: &Target, unseen: &str) -> Next {
        if let Some(first) = self.set_first(&Labels::Only { primary: way.from, other: new }) {
            return first;
        }
        let text = format!("{unseen}, and {} is still primary; a new plan is made", way.from.pod.name);
        self.close(way, Outcome::Superseded, &text)
    }

    /// Ends a switchover that was begun, with the old primary as primary: only when an attempt has ended by its own word.
    /// Until then a command of a process that died may be on its way to the old primary, and would leave nobody primary
    /// with nobody who knows why: it is undone first.
    fn close(&self, way: &Direction<'_>, outcome: Outcome, message: &str) -> Next {
        self.close_with(way, || self.end(outcome, message))
    }

    fn close_with(&self, way: &Direction<'_>, end: impl FnOnce() -> Next) -> Next {
        match &self.journal.current.switchover {
            Some(record) if !record.settled && !self.both_are_gone(record) => self.go_on(way),
            _ => end(),
        }
    }

    /// Neither process of the exchange is there any more: nothing that was begun with them is left to be ended.
    fn both_are_gone(&self, record: &SwitchoverRecord) -> bool {
        let gone = |identity: &MemberIdentity| match self.target(&identity.pod) {
            None => true,
            Some(target) => {
                target.pod.uid != identity.uid || target.sample().is_some_and(|sample| sample.run_id != identity.run_id)
            }
        };
        gone(&record.primary) && record.candidate.as_ref().is_some_and(gone)
    }

    /// The gates of a switchover that has not begun.
    fn ready_to_switch(&self, old: &Target, new: &Target) -> Result<(), Next> {
        self.gates(Phase::Switchover)?;
        self.fit(old, new)
            .map_err(|why| self.hold_at(&Labels::LeftToUpkeep, Blocked::new(BlockReason::ReplicaNotSynced, why)))
    }

    /// Whether the candidate holds what the primary holds. The error says what is missing.
    pub(super) fn fit(&self, old: &Target, new: &Target) -> Result<(), String> {
        let (Some(upstream), Some(candidate)) = (old.sample(), new.sample()) else {
            return Err("a sample is missing".to_owned());
        };
        let lag = self.ctx.policy.restart.max_replication_lag;
        replica::synced(self.shard, old, new, lag)?;
        replica::same_keys(upstream, candidate).map_err(|why| format!("{}: {why}", new.pod.name))
    }

    /// A new attempt, with the two processes as they are now.
    fn start(&self, way: &Direction<'_>, new: &Target) -> Next {
        let (Some(primary), Some(candidate), Some(sample)) = (identity(way.from), identity(new), way.from.sample())
        else {
            let why = format!("{} or {} gave no sample", way.from.pod.name, way.to_name);
            return self.hold_as_before(way, new, why);
        };
        if let Some(unseen) = self.unseen() {
            return self.hold_as_before(way, new, unseen);
        }
        let choice = self.ctx.settings.switchover;
        let members = self.shard.members.iter().map(|member| &member.pod.name);
        if choice == SwitchoverChoice::Auto && !self.ctx.snapshot.rights_known_of(members.clone()) {
            let why = "a member could not be asked what its Redis user may do".to_owned();
            return self.hold_as_before(way, new, why);
        }
        let chosen = choose(choice, &self.ctx.snapshot.redis_rights, members);
        let before = self.journal.current.switchover.as_ref();
        let mut why = chosen.why;
        let known = |target: &Target| self.ctx.snapshot.users_of(&target.pod.name).is_some();
        if !(known(way.from) && known(new)) {
            why.push_str("; their ACL users are not compared: ACL LIST could not be read (right acl|list)");
        }
        why.truncate(why.floor_char_boundary(256));
        let record = SwitchoverRecord {
            method: chosen.method,
            why,
            primary,
            candidate: Some(candidate),
            replid: sample.replication.replid.clone(),
            candidate_addresses: addresses(self.shard, way, new),
            exchanged_at: None,
            back: way.back,
            settled: false,
        };
        let mut journal = self.journal.clone();
        if way.back && before.is_some_and(|record| !record.back) {
            journal.current.attempt = 0;
            (journal.current.failures, journal.current.failure) = (0, None);
        }
        journal.current.begun_at = journal.current.begun_at.or(Some(self.ctx.now));
        journal.current.attempt = journal.current.attempt.saturating_add(1);
        journal.current.switchover = Some(record.clone());
        let resumed = before.is_some();
        match self.order(way, &record, resumed) {
            Some(order) => {
                let order = SwitchoverOrder { begins: true, ..order };
                Next::Act(Box::new(journal), Box::new(Effect::Switchover(Box::new(order))))
            }
            None => self.hold_as_before(way, new, format!("{} or {} has no address", way.from.pod.name, way.to_name)),
        }
    }

    /// Somewhere in between: what was begun is ended, with the processes that it was begun with. Nothing more is begun.
    fn go_on(&self, way: &Direction<'_>) -> Next {
        let Some(record) = &self.journal.current.switchover else {
            // A journal of the first version, which knew only FAILOVER.
            return match (way.to, way.to.and_then(identity), identity(way.from)) {
                (Some(new), Some(candidate), Some(primary)) => {
                    let replid = new.sample().map(|sample| sample.replication.replid.clone()).unwrap_or_default();
                    let why = "it was begun by an earlier version".to_owned();
                    let method = SwitchoverMethod::Native;
                    let candidate_addresses = addresses(self.shard, way, new);
                    let (exchanged_at, back) = (None, false);
                    let record = SwitchoverRecord {
                        method,
                        why,
                        primary,
                        candidate: Some(candidate),
                        replid,
                        candidate_addresses,
                        exchanged_at,
                        back,
                        settled: false,
                    };
                    let mut journal = self.journal.clone();
                    journal.current.switchover = Some(record);
                    Next::Record(Box::new(journal))
                }
                _ => self.hold(&Labels::AsTheyAre, format!("{} or {} gave no sample", way.from.pod.name, way.to_name)),
            };
        };
        match self.order(way, record, true) {
            Some(order) => Next::Act(Box::new(self.journal.clone()), Box::new(Effect::Switchover(Box::new(order)))),
            None => self.hold(&Labels::AsTheyAre, format!("{} or {} has no address", way.from.pod.name, way.to_name)),
        }
    }
}

pub(super) fn is_primary(target: &Target) -> bool {
    target.sample().is_some_and(|sample| matches!(sample.replication.role, Role::Primary))
}

/// No `FAILOVER` is under way there.
fn is_free(target: &Target) -> bool {
    target.sample().is_some_and(|sample| sample.replication.failover_state == FailoverState::None)
}

fn is_replica(target: &Target) -> bool {
    target.sample().is_some_and(|sample| matches!(sample.replication.role, Role::Replica(_)))
}

#[cfg(test)]
mod tests;
