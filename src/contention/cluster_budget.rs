//! The cluster's budget while this process leads: who holds a slot for a remediation, and what was restarted within
//! the hour. Pure but for a lock.
//!
//! Reconciles of several policies run at the same time, and each sees the others through a cache that lags. So a slot
//! is taken here, in one move, before the journal is written, and given back only when the journal is seen to be gone.
//! After a restart of the process the journals themselves are the record: the cache is complete before the first
//! reconcile.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    domain::{
        blocked::BlockReason,
        names::{PodName, PodUid},
        surroundings::Elsewhere,
    },
};

/// Restarts count for this long.
pub const HOUR: Duration = Duration::from_secs(3600);

/// What the cluster allows: flags of the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterLimits {
    /// Remediations that may be under way at once.
    pub remediations: u32,
    /// Pods that may be restarted within an hour; `None`: no bound.
    pub restarts_per_hour: Option<u32>,
}

/// One restart, as a record or a journal tells of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Restart {
    /// UID of the policy.
    pub policy: String,
    /// The pod.
    pub pod: PodName,
    /// When.
    pub at: Timestamp,
}

/// Slots and restarts of this process.
#[derive(Debug, Default)]
pub struct ClusterBudget(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Remediations that this process began, by policy UID.
    slots: BTreeMap<String, Elsewhere>,
    /// Evictions that this process asked for, by policy UID and pod UID.
    restarts: BTreeMap<(String, PodUid), Restart>,
    /// Who had a slot at the last look.
    known: BTreeSet<String>,
}

impl State {
    /// Remediations under way but for that policy's, those of this process and those that are stored.
    fn others(&self, own: &str, stored: &BTreeMap<String, Elsewhere>) -> Vec<Elsewhere> {
        let mut all = stored.clone();
        all.extend(self.slots.clone());
        all.remove(own);
        all.into_values().collect()
    }

    /// Pods restarted within the hour. What both this process and the stored records know of counts once.
    fn lately(&mut self, stored: &[Restart], now: Timestamp) -> u32 {
        self.restarts.retain(|_, restart| recent(restart, now));
        let count = |restarts: &mut dyn Iterator<Item = &Restart>| {
            let mut counts: BTreeMap<(String, PodName), u32> = BTreeMap::new();
            for restart in restarts {
                *counts.entry((restart.policy.clone(), restart.pod.clone())).or_default() += 1;
            }
            counts
        };
        let mut counts = count(&mut self.restarts.values());
        for (pod, known) in count(&mut stored.iter().filter(|restart| recent(restart, now))) {
            let here = counts.entry(pod).or_default();
            *here = known.max(*here);
        }
        counts.values().sum()
    }
}

fn recent(restart: &Restart, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(restart.at)).unwrap_or_default() < HOUR
}

impl ClusterBudget {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remediations under way but for that policy's.
    pub fn others(&self, own: &str, stored: &BTreeMap<String, Elsewhere>) -> Vec<Elsewhere> {
        self.state().others(own, stored)
    }

    /// Takes a slot for that policy, unless all are taken or another remediates the same workload.
    pub fn take(&self, own: &str, mine: Elsewhere, stored: &BTreeMap<String, Elsewhere>, most: u32) -> bool {
        let mut state = self.state();
        let others = state.others(own, stored);
        let free = u32::try_from(others.len()).is_ok_and(|taken| taken < most)
            && others.iter().all(|other| !other.shard.is(&mine.shard));
        if free {
            state.slots.insert(own.to_owned(), mine);
        }
        free
    }

    /// Whether a slot that was taken at the last look is free now, by what is stored and by what this process took.
    pub fn freed(&self, stored: &BTreeMap<String, Elsewhere>) -> bool {
        let mut state = self.state();
        let now: BTreeSet<String> = stored.keys().chain(state.slots.keys()).cloned().collect();
        let freed = state.known.difference(&now).next().is_some();
        state.known = now;
        freed
    }

    /// Whether this process took a slot for that policy that it has not given back.
    pub fn holds(&self, own: &str) -> bool {
        self.state().slots.contains_key(own)
    }

    /// Gives the slot of that policy back: its journal was seen to be gone.
    pub fn release(&self, own: &str) {
        self.state().slots.remove(own);
    }

    /// Gives back the slots of policies that no longer exist.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.state().slots.retain(|uid, _| exists(uid));
    }

    /// Pods restarted within the hour, over all policies.
    pub fn restarts_last_hour(&self, stored: &[Restart], now: Timestamp) -> u32 {
        self.state().lately(stored, now)
    }

    /// Counts a restart that is about to be asked for, unless the hour's budget is used up.
    pub fn take_restart(&self, restart: Restart, uid: &PodUid, stored: &[Restart], most: Option<u32>) -> bool {
        let mut state = self.state();
        let free = most.is_none_or(|most| state.lately(stored, restart.at) < most);
        if free {
            state.restarts.insert((restart.policy.clone(), uid.clone()), restart);
        }
        free
    }

    /// The restart did not happen.
    pub fn give_restart_back(&self, policy: &str, uid: &PodUid) {
        self.state().restarts.remove(&(policy.to_owned(), uid.clone()));
    }
}

/// A remediation that is frozen because data was lost disturbs nobody, for as long as it takes: it holds no slot.
fn frozen(policy: &RedisMemoryPolicy) -> bool {
    let conditions = policy.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let reason = BlockReason::PrimaryEmpty.as_str();
    conditions.iter().any(|one| one.type_ == "RemediationBlocked" && one.status == "True" && one.reason == reason)
}

/// The remediation that the policy's journal tells of, if it holds a slot, and the policy's UID.
pub fn remediation(policy: &RedisMemoryPolicy) -> Option<(String, Elsewhere)> {
    let journal = policy.status.as_ref()?.journal.as_ref().filter(|_| !frozen(policy))?;
    let name = format!("{}/{}", policy.namespace().unwrap_or_default(), policy.name_any());
    Some((policy.uid()?, Elsewhere { policy: name, shard: journal.shard.clone() }))
}

/// The newest restart that the policy may tell of. What its journal tells of may count from now.
pub fn newest_restart(policy: &RedisMemoryPolicy) -> Option<Timestamp> {
    let status = policy.status.as_ref()?;
    if status.journal.is_some() {
        return Some(Timestamp::MAX);
    }
    status.workloads.iter().flat_map(|record| record.restarts.iter()).map(|restart| restart.at).max()
}

/// The restarts that records and journals tell of. An eviction of a journal counts from when its replacement had caught
/// up, until then from now.
pub fn restarts<'a>(policies: impl Iterator<Item = &'a RedisMemoryPolicy>, now: Timestamp) -> Vec<Restart> {
    let mut found = Vec::new();
    for policy in policies {
        let (Some(uid), Some(status)) = (policy.uid(), policy.status.as_ref()) else { continue };
        let of = |pod: &PodName, at| Restart { policy: uid.clone(), pod: pod.clone(), at };
        let recorded = status.workloads.iter().flat_map(|record| record.restarts.iter());
        found.extend(recorded.map(|restart| of(&restart.pod, restart.at)));
        if let Some(journal) = &status.journal {
            let evicted = journal.members.iter().filter(|member| journal.evicted(&member.identity.pod));
            found.extend(evicted.map(|member| of(&member.identity.pod, member.caught_up_at.unwrap_or(now))));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;
    use crate::domain::{
        fixtures::{self, NOW, seconds_ago},
        shard::ShardId,
    };

    fn elsewhere(workload: &str) -> Elsewhere {
        Elsewhere { policy: format!("shop/{workload}"), shard: ShardId::whole(workload.into()) }
    }

    fn stored(policies: &[(&str, &str)]) -> BTreeMap<String, Elsewhere> {
        policies.iter().map(|(uid, workload)| ((*uid).to_owned(), elsewhere(workload))).collect()
    }

    #[test]
    fn there_are_as_many_slots_as_the_flag_says() {
        let budget = ClusterBudget::default();
        let nothing = stored(&[]);
        assert!(budget.take("a", elsewhere("w-a"), &nothing, 2));
        assert!(budget.take("b", elsewhere("w-b"), &nothing, 2));
        assert!(!budget.take("c", elsewhere("w-c"), &nothing, 2));
        assert!(budget.take("a", elsewhere("w-a"), &nothing, 2), "who has one may take it again");
        budget.release("a");
        assert!(!budget.holds("a") && budget.holds("b"));
        assert!(budget.take("c", elsewhere("w-c"), &nothing, 2));
        budget.retain(|uid| uid == "c");
        assert_eq!(budget.others("c", &nothing), []);
        assert!(!ClusterBudget::default().take("a", elsewhere("w-a"), &nothing, 0));
    }

    #[test]
    fn a_slot_that_is_given_back_is_noticed_once_and_only_when_the_journal_is_seen_to_be_gone() {
        let budget = ClusterBudget::default();
        assert!(!budget.freed(&stored(&[])));
        assert!(budget.take("a", elsewhere("w-a"), &stored(&[]), 1));
        assert!(!budget.freed(&stored(&[])));
        budget.release("a");
        // The cache lags: it still has the journal, and would refuse a policy that is woken now.
        assert!(!budget.freed(&stored(&[("a", "w-a")])));
        assert!(budget.freed(&stored(&[])));
        assert!(!budget.freed(&stored(&[])));
    }

    #[test]
    fn a_workload_has_one_remediation_whatever_the_number() {
        let budget = ClusterBudget::default();
        assert!(!budget.take("a", elsewhere("w"), &stored(&[("b", "w")]), 9));
        assert!(budget.take("a", elsewhere("w"), &stored(&[("a", "w")]), 1), "its own journal is no other");
    }

    #[test]
    fn journals_of_an_earlier_process_hold_their_slots() {
        let budget = ClusterBudget::default();
        let journals = stored(&[("a", "w-a")]);
        assert!(!budget.take("b", elsewhere("w-b"), &journals, 1));
        assert_eq!(budget.others("b", &journals), [elsewhere("w-a")]);
        assert!(budget.take("b", elsewhere("w-b"), &journals, 2));
        // What is known twice is one.
        assert_eq!(budget.others("c", &stored(&[("a", "w-a"), ("b", "w-b")])).len(), 2);
    }

    #[test]
    fn restarts_of_the_hour_count_once() {
        let budget = ClusterBudget::default();
        let at =
            |policy: &str, pod: &str, ago| Restart { policy: policy.into(), pod: pod.into(), at: seconds_ago(ago) };
        let known =
            vec![at("a", "redis-0", 60), at("a", "redis-1", 3599), at("a", "redis-2", 3600), at("b", "redis-0", 5)];
        assert_eq!(budget.restarts_last_hour(&known, NOW), 3);
        let again = at("a", "redis-0", 0);
        assert!(budget.take_restart(again, &"uid-0".into(), &[], Some(1)));
        assert_eq!(budget.restarts_last_hour(&known, NOW), 3, "the record and this process mean the same restart");
        let next = || at("c", "redis-0", 0);
        assert!(!budget.take_restart(next(), &"uid-1".into(), &known, Some(3)));
        assert!(budget.take_restart(next(), &"uid-1".into(), &known, Some(4)));
        assert_eq!(budget.restarts_last_hour(&known, NOW), 4);
        budget.give_restart_back("c", &"uid-1".into());
        assert_eq!(budget.restarts_last_hour(&known, NOW), 3);
        assert!(budget.take_restart(next(), &"uid-1".into(), &known, None), "no bound");
        let later = NOW.saturating_add(jiff::SignedDuration::from_hours(2)).unwrap();
        assert_eq!(budget.restarts_last_hour(&known, later), 0);
    }

    #[test]
    fn policies_tell_of_remediations_and_restarts() {
        let mut policy = RedisMemoryPolicy::new("sessions", serde_json::from_str(r#"{"selector":{}}"#).unwrap());
        policy.metadata.namespace = Some("shop".into());
        policy.metadata.uid = Some("a".into());
        assert_eq!((remediation(&policy), newest_restart(&policy)), (None, None));
        let (rule, snapshot) = fixtures::enforced();
        let settings = crate::plan::PlanSettings::default();
        let ctx = crate::plan::Context::of(&rule, &snapshot, &[], NOW, &settings);
        let mut journal = crate::plan::begin::consider(&ctx).begin.unwrap();
        journal.cursor = 1;
        policy.status =
            Some(crate::api::v1alpha1::RedisMemoryPolicyStatus { journal: Some(journal), ..Default::default() });
        let elsewhere = Elsewhere { policy: "shop/sessions".into(), shard: fixtures::shard_id() };
        assert_eq!(remediation(&policy), Some(("a".to_owned(), elsewhere)));
        assert_eq!(newest_restart(&policy), Some(Timestamp::MAX), "its journal counts from now");
        let found = restarts([&policy].into_iter(), NOW);
        assert_eq!(found, [Restart { policy: "a".into(), pod: fixtures::pod_name(1), at: NOW }]);
    }
}
