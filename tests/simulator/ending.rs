//! What must be true in the end: nothing is under way, every set is whole, and what is not cured says why.

use redis_memory_operator::domain::journal::Outcome;

use crate::{
    faults::{Fault, Lie, Trigger},
    kubernetes::Resource,
    redis::{Link, Role},
    schedule::Schedule,
    shape::{Beside, Oddity, SetShape, Start, Storage, Watch, pod, pod_name, set_of, set_uid},
    world::World,
};

/// Findings that a limit does not bear what a server may hold.
const HEADROOM: [&str; 2] = ["HeadroomInsufficient", "MaxmemoryUnset"];

/// What may stay in the way of a set of that shape, although nothing is wrong any more.
fn refusals(schedule: &Schedule, shape: &SetShape, policy: &Resource, struck: bool) -> Vec<&'static str> {
    let odd = |wanted: fn(&Oddity) -> bool| shape.odd.iter().any(|(_, odd)| wanted(odd));
    let watch = shape.watch.as_ref();
    // Its first restart may end a remediation: people must have the Sentinels forget one, or an address. What was not proven by
    // then, and did not help, is found fragmented again within its cooldown.
    let leaves_one = watch.is_some_and(|watch| watch.leaves_an_id() || !watch.by_name);
    let grounds = [
        (struck || leaves_one && !schedule.restart_helps, "Cooldown"),
        (struck, "RemediationFailed"),
        (struck, "RemediationGaveUp"),
        (struck, "OomCauseRemains"),
        // Restarts wait for a limit that is refused.
        (shape.killed.is_some(), "ResizeRefused"),
        (struck, "ChainedReplicas"),
        (struck, "NoPrimary"),
        (struck || !schedule.restart_helps, "RemediationIneffective"),
        (struck || odd(|odd| *odd == Oddity::SmallMaxmemory), "MembersDiffer"),
        (policy.shape.headroom.window.is_some(), "WindowClosed"),
        (policy.shape.headroom.window.is_some(), "WindowTooShort"),
        // A full set takes more of a full sync.
        (shape.cache.is_some(), "FullSyncHeadroom"),
        // A replica that ignores no maxmemory refuses writes, unless any key may go.
        (shape.cache.is_some_and(|cache| !cache.ignores), "CandidateUnfit"),
        // While its primary comes down, or one of them has a bound that a person set, or a limit that bears less.
        ((shape.cache.is_some() || shape.killed.is_some()) && policy.shape.headroom.sets, "MembersDiffer"),
        (schedule.policies.len() > 1, "ClaimedByOlderPolicy"),
        (shape.members == 1 && !policy.shape.downtime, "DowntimeNotAllowed"),
        (shape.members == 1 && shape.storage(0) == Storage::Nothing, "PersistenceNotProven"),
        (shape.members == 2 && policy.shape.synced > 0, "TooFewReplicas"),
        (odd(|odd| matches!(odd, Oddity::Priority(0) | Oddity::StoresNothing)), "CandidateUnfit"),
        (odd(|odd| *odd == Oddity::Locked), "MemberUnknown"),
        (shape.beside.iter().any(|beside| matches!(beside, Beside::Pinned(_))), "ClientsPinned"),
        (shape.saves_every.is_some(), "MemberBusy"),
        // And for twice the failover-timeout after they had.
        (watch.is_some() && struck || leaves_one, "SentinelsNotReady"),
        (watch.is_some_and(Watch::cannot_spare_one), "SentinelsNotReady"),
        (watch.is_some() && struck, "SentinelsUnfit"),
        (watch.is_some_and(Watch::cannot_spare_one), "SentinelsUnfit"),
        (watch.is_some_and(Watch::cannot_forget), "SentinelsUnfit"),
        (watch.is_some_and(Watch::is_hasty), "SentinelSeen"),
        // What struck an exchange is in what was measured of it, and a person consents to that or does not.
        (watch.is_some() && struck, "WriteGapTooLong"),
    ];
    grounds.into_iter().filter(|(holds, _)| *holds).map(|(_, reason)| reason).collect()
}

impl World {
    /// Nothing is under way, and every member is as it should be.
    pub fn settled(&self) -> bool {
        self.at_rest(|_| true)
    }

    /// The same but for what was given up, and is tried once more just now, at a set that something is in the way of for ever.
    pub fn settled_but_for_what_is_in_vain(&self) -> bool {
        let obstructed = |it: &Resource| {
            let sets = it.journal().map(|journal| journal.shard.sets.clone()).unwrap_or_default();
            (0..self.kube.sets.len()).any(|set| sets.contains(&set_uid(set)) && self.schedule.obstructed(set))
        };
        let gave_up = |it: &Resource| {
            let records = it.status().map(|status| status.workloads.as_slice()).unwrap_or_default();
            records.iter().any(|record| record.outcome == Some(Outcome::GaveUp))
        };
        self.at_rest(|it| !(obstructed(it) && gave_up(it)))
    }

    fn at_rest(&self, counts: impl Fn(&Resource) -> bool) -> bool {
        let mut policies = self.kube.policies.iter().filter(|it| !it.gone && counts(it));
        let idle = policies.all(|it| it.journal().is_none() && !it.finalizer() && !it.deleting());
        (0..self.kube.sets.len()).all(|set| self.for_people(set) || (idle && self.whole(set)))
    }

    /// Somebody else gave the role to a pod that was lost right then: no remediation of ours is under way, which may wait for
    /// that pod for a while. Whom to promote is for people to say.
    fn for_people(&self, set: usize) -> bool {
        // What a lying server once had cannot come back: it is for people to take note of.
        let lied = |(_, fault): &(Trigger, Fault)| matches!(fault, Fault::Lie { pod, lie: Lie::Keys, .. } if set_of(*pod) == set);
        if self.schedule.faults.iter().any(lied) && self.kube.over(set).any(|it| it.shown().contains("PrimaryEmpty")) {
            return true;
        }
        !self.servers.of_set(set).any(|it| it.role == Role::Primary)
            && self.kube.over(set).any(|it| it.shown().contains("NoPrimary"))
            && self.remediation(set).is_none()
    }

    fn whole(&self, set: usize) -> bool {
        let primaries = self.servers.of_set(set).filter(|it| it.role == Role::Primary).count();
        let up = |n: usize| self.servers.of_pod(n).is_some_and(|it| it.role == Role::Primary || it.link == Link::Up);
        if self.schedule.obstructed(set) {
            return primaries == 1 || self.schedule.takes_pods(set);
        }
        // A member that lets nobody in may be the primary: then no label is moved.
        let locked = self.schedule.sets[set].odd.iter().any(|(_, odd)| *odd == Oddity::Locked);
        let kept = !locked && !self.is_watched(set) && self.kube.over(set).next().is_some();
        let label = |n: usize| {
            let primary = self.servers.of_pod(n).is_some_and(|it| it.role == Role::Primary);
            self.kube.pod(n).is_some_and(|pod| pod.role == Some(if primary { "primary" } else { "replica" }))
        };
        primaries == 1
            && self.kube.down(set).is_empty()
            && self.kube.of_set(set).all(|(n, _)| up(n) && (!kept || label(n)))
    }

    /// In the end either nothing is fragmented, or a refusal says why.
    pub fn check_cure(&mut self) {
        for set in 0..self.kube.sets.len() {
            let left = self.left_of_an_exchange(set).filter(|_| !self.cannot_be_set_back(set));
            if let Some(text) = left.or_else(|| self.uncured(set)).or_else(|| self.overdrawn(set)) {
                let now = self.now;
                self.observer.flag(now, "L1", text);
            }
            if let Some(text) = self.ought_to_leave(set).filter(|_| !self.says_why(set)) {
                let now = self.now;
                self.observer.flag(now, "L10", text);
            }
        }
    }

    /// It is said that settings of an exchange are left.
    fn cannot_be_set_back(&self, set: usize) -> bool {
        let records = self.kube.over(set).filter_map(|it| it.status()).flat_map(|status| &status.workloads);
        records
            .into_iter()
            .any(|record| record.shard.sets.contains(&set_uid(set)) && record.message.contains("could not be set back"))
    }

    /// Where a limit does not bear what its server may hold, that is found.
    fn overdrawn(&self, set: usize) -> Option<String> {
        let policy = self.kube.over(set).next().filter(|_| self.schedule.sets[set].cache.is_some())?;
        let (headroom, members) = (policy.shape.headroom, self.schedule.sets[set].members);
        let findings = policy.status().map(|status| status.findings.as_slice()).unwrap_or_default();
        let known = findings.iter().any(|it| HEADROOM.contains(&it.code.as_str()));
        let wrong = |n: &usize| {
            let (Some(server), Some(pod)) = (self.servers.of_pod(*n), self.kube.pod(*n)) else { return false };
            let enough = headroom.is_enough(pod.limit_mib, server.maxmemory, members);
            !enough && !server.locked && !known
        };
        let wrong = self.kube.of_set(set).map(|(n, _)| n).find(wrong).filter(|_| !self.schedule.obstructed(set))?;
        Some(format!("the limit of {} does not bear its maxmemory, and no finding says so", pod_name(wrong)))
    }

    /// What is shown as in the way is something that the set, or what struck it, gives.
    fn says_why(&self, set: usize) -> bool {
        self.kube.over(set).next().is_some_and(|policy| {
            let shown = policy.shown();
            let killed = |set: usize| policy.shape.covers(set) && self.schedule.sets[set].killed.is_some();
            let struck = self.struck || (0..self.schedule.sets.len()).any(killed);
            refusals(&self.schedule, &self.schedule.sets[set], policy, struck)
                .iter()
                .any(|reason| shown.contains(reason))
        })
    }

    fn uncured(&self, set: usize) -> Option<String> {
        let shape = &self.schedule.sets[set];
        // The oldest acts.
        let policy = self.kube.over(set).next()?;
        let shown = policy.shown();
        if self.says_why(set) || self.schedule.obstructed(set) && !shown.is_empty() {
            return None;
        }
        // Known from its own return. Where a person has moved it, it is theirs.
        let records = policy.status().map(|status| status.workloads.as_slice()).unwrap_or_default();
        let known = records.iter().any(|it| it.shard.sets.contains(&set_uid(set)) && !it.starts_as_primary.is_empty());
        let leads = self.servers.of_set(set).find(|it| it.role == Role::Primary).map(|it| it.pod);
        let obstructed = self.schedule.obstructed(set);
        if known
            && !obstructed
            && shape.start == Start::ByOrdinal
            && leads != Some(pod(set, 0))
            && self.observer.ours(set)
        {
            return Some(format!("the role stays with {leads:?} against its start, and nobody says why: {shown:?}"));
        }
        // Of a server that lets nobody in nothing is known.
        let left = self.servers.of_set(set).filter(|it| it.is_to_be_cured(self.now) && !it.locked);
        let fragmented: Vec<_> = left.map(|it| pod_name(it.pod)).collect();
        (!fragmented.is_empty()).then(|| format!("{fragmented:?} stay fragmented and nobody says why: {shown:?}"))
    }

    pub fn describe(&self) -> String {
        let server = |n: usize| {
            self.servers.of_pod(n).map_or("none".to_owned(), |it| {
                format!("{:?} {:?} {:?} fragmented {}", it.role, it.link, it.failover, it.fragmented)
            })
        };
        let policy = |it: &Resource| {
            let step = it.journal().map(|journal| format!("{:?}", journal.step()));
            let last = it.status().map(|it| {
                it.workloads
                    .iter()
                    .map(|record| format!("{:?}: {}", record.outcome, record.message))
                    .collect::<Vec<_>>()
            });
            let (finalizer, gone, shown) = (it.finalizer(), it.gone, it.shown());
            format!("journal {step:?}, finalizer {finalizer}, gone {gone}, shown {shown}, last {last:?}")
        };
        let policies: Vec<String> = self.kube.policies.iter().map(policy).collect();
        let pods: Vec<String> = self.kube.places.keys().map(|n| format!("{} {}", pod_name(*n), server(*n))).collect();
        let down: Vec<usize> = (0..self.kube.sets.len()).flat_map(|set| self.kube.down(set)).collect();
        format!("{}; down {down:?}; {}", policies.join(" | "), pods.join(", "))
    }
}
