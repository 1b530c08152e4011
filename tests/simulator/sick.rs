//! A primary that the kernel kills for its limit: its role goes to a member with room enough that was not killed itself, and
//! nobody is restarted for it (S21); and it goes (L10).

use std::collections::BTreeMap;

use redis_memory_operator::domain::{
    bytes::Bytes,
    oom::{Cause as Why, PodKills},
};

use crate::{
    fit::rank,
    killed::Raise,
    kubernetes::Resource,
    redis::{Link, Ms, Role, Server},
    shape::{Start, Watch, pod_name, set_of, set_uid},
    view,
    world::World,
};

/// From the last look at limits and kills to the arrival of the first command, and a step of the world; besides, Services are
/// waited for until they lead to both pods.
const LAST_LOOK: Ms = 500;
/// Nothing is in the way of the role's leaving, and it leaves within this time of an operator's being at work (L10).
const STAYS: Ms = 45_000;

/// What is known of one set.
#[derive(Clone, Debug, Default)]
pub struct Sick {
    /// When each pod last had room enough and was not known to have been killed.
    fit_at: BTreeMap<usize, Ms>,
    /// For how long nothing has been in the way of the role's leaving.
    stays: Ms,
}

impl World {
    /// In every step.
    pub fn stays(&mut self, set: usize, dt: Ms) {
        if self.schedule.sets[set].killed.is_none() {
            return;
        }
        let now = self.now;
        let fit: Vec<usize> = self.servers.of_set(set).filter(|it| self.may_lead(it)).map(|it| it.pod).collect();
        let due = self.ought_to_leave(set).filter(|_| self.someone_works && self.is_undisturbed(set));
        let sick = &mut self.observer.sick[set];
        sick.fit_at.extend(fit.into_iter().map(|pod| (pod, now)));
        sick.stays = if due.is_some() { sick.stays + dt } else { 0 };
        if let Some(text) = due.filter(|_| sick.stays > STAYS) {
            self.observer.flag(now, "L10", text);
        }
    }

    /// The role was given to that pod by us.
    pub fn leaves_for(&mut self, pod: usize) {
        let set = set_of(pod);
        let Some(journal) = self.remediation(set).filter(|journal| journal.leaves_sick) else { return };
        // Who gets back what it had is another matter.
        if journal.primary.pod == pod_name(pod) {
            return;
        }
        self.left += 1;
        let (now, held_at) = (self.now, self.observer.held_at(set));
        let fit_at = self.observer.sick[set].fit_at.get(&pod).copied();
        let waited = LAST_LOOK + self.schedule.endpoint_delay;
        if fit_at.is_none_or(|at| at + waited < held_at) {
            let limit = self.kube.pod(pod).map_or(0, |pod| pod.limit_mib);
            let text = format!(
                "{}, whose limit is {limit} Mi, got the role of a killed primary at {held_at}, and was last fit for it at {fit_at:?}",
                pod_name(pod)
            );
            self.observer.flag(now, "S21", text);
        }
    }

    /// A pod is evicted by us.
    pub fn restarts_nobody_for_it(&mut self, pod: usize) {
        if self.remediation(set_of(pod)).is_some_and(|journal| journal.leaves_sick) {
            let now = self.now;
            self.observer.flag(now, "S21", format!("{} is restarted because the primary is killed", pod_name(pod)));
        }
    }

    /// Its limit is what the policies over it demand, by the least that they can, and nobody knows that it was killed.
    fn may_lead(&self, server: &Server) -> bool {
        let (set, members) = (set_of(server.pod), self.schedule.sets[set_of(server.pod)].members);
        let Some(pod) = self.kube.pod(server.pod) else { return false };
        let least = self.servers.of_set(set).map(|it| it.maxmemory).min().unwrap_or(Bytes::ZERO);
        let need = self.kube.over(set).map(|policy| policy.shape.headroom.need(least, members)).min().unwrap_or(0);
        let known = self.kube.over(set).any(|policy| remembered(policy, server.uid).is_some());
        pod.limit_mib >= need && pod.killed.is_none() && !known
    }

    /// The role of that set ought to leave its primary, which is killed for its limit, and can; what is said if it stays.
    pub fn ought_to_leave(&self, set: usize) -> Option<String> {
        let shape = &self.schedule.sets[set];
        let killed = shape.killed.filter(|_| !self.schedule.obstructed(set) && self.schedule.installs == 1)?;
        // Where one pod alone starts as the primary the role stays, or goes by what was seen of starts; hasty Sentinels leave it
        // nowhere; of one that lets nobody in nothing is known.
        let unmoved = shape.start == Start::ByOrdinal || shape.watch.as_ref().is_some_and(Watch::is_hasty);
        let unmoved = unmoved || self.servers.of_set(set).any(|it| it.locked);
        if unmoved {
            return None;
        }
        // The oldest acts.
        let policy = self.kube.over(set).next()?;
        if !policy.may_act() || starts_alone(policy, set) {
            return None;
        }
        let headroom = policy.shape.headroom;
        let may_raise = headroom.resizes && headroom.maximum_mib.is_none() && killed.raise == Raise::Given;
        let mut primaries = self.servers.of_set(set).filter(|it| it.role == Role::Primary);
        let (leader, None) = (primaries.next()?, primaries.next()) else { return None };
        let pod = self.kube.pod(leader.pod).filter(|pod| pod.killed.is_some() && !may_raise)?;
        let need = headroom.need(leader.maxmemory, shape.members);
        // Of an unknown cause nothing follows.
        let unknown = |kills: &PodKills| matches!(kills.cause, Why::Unknown | Why::NoMaxmemory);
        if pod.limit_mib >= need || remembered(policy, leader.uid).is_some_and(unknown) {
            return None;
        }
        let fit = |it: &Server| {
            let there = matches!(it.role, Role::Replica(_)) && it.link == Link::Up && !it.locked;
            let equal = rank(it.storage) >= rank(leader.storage);
            let roomy = self.kube.pod(it.pod).is_some_and(|pod| pod.restarts == 0 && pod.limit_mib >= need);
            there && equal && roomy
        };
        let may = |it: &&Server| it.ip != leader.ip && it.priority != Some(0);
        let others: Vec<&Server> = self.servers.of_set(set).filter(may).collect();
        let to = others.iter().find(|it| fit(it))?;
        // A Sentinel may choose any.
        if self.is_watched(set) && !others.iter().copied().all(fit) {
            return None;
        }
        let (from, limit) = (pod_name(leader.pod), pod.limit_mib);
        Some(format!(
            "{from}, which is killed for its limit of {limit} Mi, keeps its role, and {} has room",
            pod_name(to.pod)
        ))
    }

    /// Every member is well, nobody lies, nothing is under way, and nothing is said to be in the way.
    fn is_undisturbed(&self, set: usize) -> bool {
        let now = self.now;
        let well = |it: &Server| {
            let linked = it.role == Role::Primary || it.link == Link::Up;
            let answers = !it.hung(now) && now >= it.flap_until.max(it.slow_until).max(it.loading_until);
            linked && answers && it.child.is_none()
        };
        let honest = |it: &Server| self.lies.iter().all(|(pod, _, until)| *pod != it.pod || now >= *until);
        let idle = self.kube.policies.iter().all(|it| it.journal().is_none());
        let said = self
            .kube
            .over(set)
            .next()
            .is_some_and(|policy| !policy.shown().is_empty() && !self.is_no_reason(set, policy));
        let quiet = self.kube.down(set).is_empty() && self.servers.of_set(set).all(|it| well(it) && honest(it));
        quiet && self.caches_follow() && idle && !said
    }

    /// All that is said to be in the way is that the primary itself has too little room for a full sync: that is what its role
    /// is to leave, and nobody syncs from it then.
    fn is_no_reason(&self, set: usize, policy: &Resource) -> bool {
        let Some(leader) = self.servers.of_set(set).find(|it| it.role == Role::Primary) else { return false };
        let own = format!("{} has ", pod_name(leader.pod));
        let refusals = policy.status().map(|status| status.refusals.as_slice()).unwrap_or_default();
        !refusals.is_empty() && refusals.iter().all(|it| it.reason == "FullSyncHeadroom" && it.text.starts_with(&own))
    }
}

/// The kills of that pod that the policy's status remembers.
fn remembered(policy: &Resource, uid: u32) -> Option<&PodKills> {
    let kills = policy.status().map(|status| status.oom_kills.as_slice()).unwrap_or_default();
    kills.iter().find(|kills| kills.pod_uid == view::uid_text(uid))
}

/// One pod of that set is known to start as the primary alone.
fn starts_alone(policy: &Resource, set: usize) -> bool {
    let records = policy.status().map(|status| status.workloads.as_slice()).unwrap_or_default();
    records.iter().any(|it| it.shard.sets.contains(&set_uid(set)) && !it.starts_as_primary.is_empty())
}
