//! Which policies there are, by what is asked for of the others in each look: kept current by every event of their watch, so
//! that no look goes through all of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use kube::{
    ResourceExt as _,
    runtime::{
        reflector::{ObjectRef, Store},
        watcher::Event,
    },
};

use super::{
    gone::left_behind::{self, LeftBehind},
    registry::{Guarded, PolicyRef},
};
use crate::{contention::cluster_budget, domain::surroundings::Elsewhere};

/// Every policy, as last seen. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Roster {
    store: Store<Guarded>,
    state: Arc<Mutex<State>>,
}

/// All by UID.
#[derive(Debug, Default)]
struct State {
    policies: HashMap<String, Row>,
    /// The UID of each name: one that was deleted and made anew has another.
    names: HashMap<PolicyRef, String>,
    /// Those with a journal, readable or not in whole, by namespace.
    at_work: BTreeMap<String, BTreeSet<String>>,
    /// The remediations that hold a slot.
    remediations: BTreeMap<String, Elsewhere>,
    /// Those that tell of restarts, by the newest; one with a journal counts as of now.
    restarted: BTreeSet<(Timestamp, String)>,
    /// What deleted policies have left on servers, until somebody has said it.
    left_behind: Vec<LeftBehind>,
    /// Those of the list that is being read.
    listed: HashSet<String>,
    complete: bool,
}

#[derive(Debug)]
struct Row {
    policy: PolicyRef,
    restarted: Option<Timestamp>,
    /// What it would leave on servers.
    leaves: Vec<LeftBehind>,
}

impl Roster {
    /// Of the policies in that store. It must be told of each event before the store is.
    pub fn new(store: Store<Guarded>) -> Self {
        Self { store, state: Arc::default() }
    }

    /// Something has happened to a policy.
    pub fn told(&self, event: &Event<Guarded>) {
        let mut state = self.state();
        match event {
            Event::Init => state.listed.clear(),
            Event::InitApply(policy) => {
                state.listed.extend(policy.uid());
                state.put(policy);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut state.listed);
                let gone: Vec<String> = state.policies.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
                for uid in &gone {
                    state.delete(uid);
                }
                state.complete = true;
            }
            Event::Apply(policy) => state.put(policy),
            Event::Delete(policy) => state.delete(&policy.uid().unwrap_or_default()),
        }
    }

    /// Whether every policy has been seen once.
    pub fn is_complete(&self) -> bool {
        self.state().complete
    }

    /// What policies that were deleted since the last call have left on servers.
    pub(super) fn left_behind(&self) -> Vec<LeftBehind> {
        std::mem::take(&mut self.state().left_behind)
    }

    /// The UIDs and names of all.
    pub fn all(&self) -> HashMap<String, PolicyRef> {
        self.state().policies.iter().map(|(uid, row)| (uid.clone(), row.policy.clone())).collect()
    }

    /// The policy of that UID.
    pub fn named(&self, uid: &str) -> Option<PolicyRef> {
        Some(self.state().policies.get(uid)?.policy.clone())
    }

    /// These policies, and those of the namespace that are in the middle of a remediation.
    pub fn rivals(&self, namespace: &str, of: &BTreeSet<String>) -> Vec<Arc<Guarded>> {
        let names: Vec<PolicyRef> = {
            let state = self.state();
            let at_work = state.at_work.get(namespace).into_iter().flatten();
            let uids: BTreeSet<&String> = of.iter().chain(at_work).collect();
            uids.into_iter().filter_map(|uid| Some(state.policies.get(uid)?.policy.clone())).collect()
        };
        names.iter().filter_map(|name| self.store.get(name)).collect()
    }

    /// The remediations of all policies, by their journals.
    pub fn remediations(&self) -> BTreeMap<String, Elsewhere> {
        self.state().remediations.clone()
    }

    /// The policies that may tell of a restart since then.
    pub fn restarted_within(&self, time: SignedDuration, now: Timestamp) -> Vec<Arc<Guarded>> {
        let since = now.saturating_sub(time).unwrap_or(Timestamp::MIN);
        let names: Vec<PolicyRef> = {
            let state = self.state();
            let recent = state.restarted.range((since, String::new())..);
            recent.filter_map(|(_, uid)| Some(state.policies.get(uid)?.policy.clone())).collect()
        };
        names.iter().filter_map(|name| self.store.get(name)).collect()
    }

    /// A poisoned lock only means that a thread died elsewhere: the roster is always whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, stored: &Guarded) {
        let uid = stored.uid().unwrap_or_default();
        let policy = ObjectRef::from_obj(stored);
        if let Some(before) = self.names.get(&policy).filter(|before| **before != uid).cloned() {
            self.delete(&before);
        }
        self.remove(&uid);
        let namespace = stored.namespace().unwrap_or_default();
        let resource = stored.policy();
        let status = resource.and_then(|resource| resource.status.as_ref());
        if status.is_some_and(|status| status.journal.is_some()) {
            self.at_work.entry(namespace).or_default().insert(uid.clone());
        }
        if let Some((uid, elsewhere)) = resource.and_then(cluster_budget::remediation) {
            self.remediations.insert(uid, elsewhere);
        }
        let restarted = resource.and_then(cluster_budget::newest_restart);
        self.restarted.extend(restarted.map(|at| (at, uid.clone())));
        self.names.insert(policy.clone(), uid.clone());
        self.policies.insert(uid, Row { policy, restarted, leaves: left_behind::of(stored) });
    }

    fn delete(&mut self, uid: &str) {
        let left = self.remove(uid);
        self.left_behind.extend(left);
    }

    /// Takes it out; what it would leave on servers, should it be gone.
    fn remove(&mut self, uid: &str) -> Vec<LeftBehind> {
        let Some(Row { policy, restarted, leaves }) = self.policies.remove(uid) else { return Vec::new() };
        self.remediations.remove(uid);
        if let Some(at) = restarted {
            self.restarted.remove(&(at, uid.to_owned()));
        }
        let namespace = policy.namespace.clone().unwrap_or_default();
        if let Some(at_work) = self.at_work.get_mut(&namespace) {
            at_work.remove(uid);
            if at_work.is_empty() {
                self.at_work.remove(&namespace);
            }
        }
        self.names.remove(&policy);
        leaves
    }
}

#[cfg(test)]
mod tests;
