//! What is kept while the process lives: of each namespace with policies its caches, and of each policy when its numbers
//! were last written.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{
    Client, Resource as _, ResourceExt as _,
    core::{Expression, Selector},
    runtime::reflector::ObjectRef,
};

use super::{ports::Watched, wakes::Wakes};
use crate::{
    api::v1alpha1::StoredPolicy,
    kube_io::{
        around::{Around, KindFailed},
        cache::PodCache,
    },
    validate,
};

/// A policy as the controller sees it: one that cannot be read must not stop the rest.
pub(super) type Guarded = StoredPolicy;
/// Names a policy to be reconciled.
pub(super) type PolicyRef = ObjectRef<Guarded>;

/// What is kept: the caches of each namespace that has policies, and an entry for each of these.
pub struct Registry {
    client: Client,
    wakes: Wakes,
    watch_failed: KindFailed,
    entries: Arc<Entries>,
    namespaces: Mutex<BTreeMap<String, Namespace>>,
}

/// By the policy's UID.
type Entries = Mutex<HashMap<String, Entry>>;

#[derive(Debug)]
struct Entry {
    policy: PolicyRef,
    /// Uptime at which the status was last written, or at which the policy was first seen.
    written_at: Duration,
    /// It waits for a slot of the cluster's budget.
    waits: bool,
}

/// The caches of one namespace. The watches end with the last policy that needs them.
#[derive(Debug)]
struct Namespace {
    pods: PodCache,
    around: Arc<Around>,
}

impl Registry {
    /// An empty registry. Changes of pods wake the policies that select them; failures of watches are counted by kind.
    pub fn new(client: Client, wakes: Wakes, watch_failed: KindFailed) -> Self {
        Self { client, wakes, watch_failed, entries: Arc::default(), namespaces: Mutex::default() }
    }

    /// A policy was seen, perhaps for the first time: its pods are watched before it is looked at, so that all policies of
    /// a namespace are in its first list, and know of each other.
    pub(super) fn met(&self, stored: &Guarded, now: Duration) {
        if stored.meta().deletion_timestamp.is_some() {
            return;
        }
        let (Some(uid), Ok(resolved)) = (stored.uid(), validate::resolve::resolve(stored)) else { return };
        let selector = &resolved.resource.spec.selector;
        self.follow(&uid, &ObjectRef::from_obj(stored), selector, &validate::selector_string(selector), now, |_| ());
    }

    /// What that policy sees, by this selector from now on.
    pub fn view(&self, uid: &str, policy: &PolicyRef, selector: &LabelSelector, query: &str, now: Duration) -> Watched {
        self.follow(uid, policy, selector, query, now, |namespace| Watched {
            pods: namespace.pods.seen(uid),
            around: Some(Arc::clone(&namespace.around)),
        })
    }

    fn follow<T>(
        &self,
        uid: &str,
        policy: &PolicyRef,
        selector: &LabelSelector,
        query: &str,
        now: Duration,
        look: impl FnOnce(&Namespace) -> T,
    ) -> T {
        let entry = || Entry { policy: policy.clone(), written_at: now, waits: false };
        lock(&self.entries).entry(uid.to_owned()).or_insert_with(entry);
        let name = policy.namespace.as_deref().unwrap_or_default();
        let mut namespaces = self.namespaces();
        let namespace = namespaces.entry(name.to_owned()).or_insert_with(|| self.begin(name));
        namespace.pods.follow(uid, query, || Selector::try_from(selector.clone()).unwrap_or_else(|_| nothing()));
        look(namespace)
    }

    fn begin(&self, namespace: &str) -> Namespace {
        let (entries, wakes, failed) =
            (Arc::downgrade(&self.entries), self.wakes.clone(), Arc::clone(&self.watch_failed));
        let pods_failed = Arc::clone(&failed);
        let pods = PodCache::watch(
            self.client.clone(),
            namespace,
            Arc::new(move || pods_failed("Pod")),
            Arc::new(move |uid| wake(&entries, &wakes, uid)),
        );
        Namespace { pods, around: Arc::new(Around::new(self.client.clone(), namespace, failed)) }
    }

    /// Time since the status was last written.
    pub fn since_written(&self, uid: &str, now: Duration) -> Option<Duration> {
        lock(&self.entries).get(uid).map(|entry| now.saturating_sub(entry.written_at))
    }

    /// The status was written now.
    pub fn written(&self, uid: &str, now: Duration) {
        if let Some(entry) = lock(&self.entries).get_mut(uid) {
            entry.written_at = now;
        }
    }

    /// Whether that policy waits for a slot of the cluster's budget.
    pub fn waits(&self, uid: &str, waits: bool) {
        if let Some(entry) = lock(&self.entries).get_mut(uid) {
            entry.waits = waits;
        }
    }

    /// A slot was given back: the policies that wait for one are looked at.
    pub fn wake_waiting(&self) {
        for entry in lock(&self.entries).values().filter(|entry| entry.waits) {
            self.wakes.wake(entry.policy.clone());
        }
    }

    /// Drops what belongs to policies that no longer exist.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        let gone: Vec<String> = lock(&self.entries).keys().filter(|uid| !exists(uid)).cloned().collect();
        for uid in &gone {
            self.forget(uid);
        }
    }

    /// Drops what belongs to that policy, and with the last of a namespace its watches.
    pub fn forget(&self, uid: &str) {
        let Some(entry) = lock(&self.entries).remove(uid) else { return };
        let name = entry.policy.namespace.unwrap_or_default();
        let mut namespaces = self.namespaces();
        if namespaces.get(&name).is_some_and(|namespace| !namespace.pods.leave(uid)) {
            namespaces.remove(&name);
        }
    }

    /// The namespaces that are watched.
    #[cfg(test)]
    pub(super) fn watched(&self) -> BTreeSet<String> {
        self.namespaces().keys().cloned().collect()
    }

    fn namespaces(&self) -> MutexGuard<'_, BTreeMap<String, Namespace>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(entries: &Weak<Entries>, wakes: &Wakes, uid: &str) {
    let Some(entries) = entries.upgrade() else { return };
    if let Some(entry) = lock(&entries).get(uid) {
        wakes.wake(entry.policy.clone());
    }
}

fn lock(entries: &Entries) -> MutexGuard<'_, HashMap<String, Entry>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What cannot be read selects nothing. Validation lets none of it come here.
fn nothing() -> Selector {
    Expression::In(String::new(), BTreeSet::new()).into()
}
