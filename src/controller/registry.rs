//! What is kept per policy while the process lives: its pod cache, and when its numbers were last written.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::{Client, runtime::reflector::ObjectRef};
use tokio::task::AbortHandle;

use super::wakes::Wakes;
use crate::{
    api::v1alpha1::StoredPolicy,
    kube_io::cache::{PodCache, WatchFailed},
};

/// A policy as the controller sees it: one that cannot be read must not stop the rest.
pub(super) type Guarded = StoredPolicy;
/// Names a policy to be reconciled.
pub(super) type PolicyRef = ObjectRef<Guarded>;

/// What is kept per policy, by UID.
pub struct Registry {
    client: Client,
    wakes: Wakes,
    watch_failed: WatchFailed,
    entries: Mutex<HashMap<String, Entry>>,
}

#[derive(Debug)]
struct Entry {
    policy: PolicyRef,
    selector: String,
    cache: Arc<PodCache>,
    forward: AbortHandle,
    /// Uptime at which the status was last written, or at which the policy was first seen.
    written_at: Duration,
    /// It waits for a slot of the cluster's budget.
    waits: bool,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.forward.abort();
    }
}

impl Registry {
    /// An empty registry. Changes of pods wake their policy; failures of watches are counted.
    pub fn new(client: Client, wakes: Wakes, watch_failed: WatchFailed) -> Self {
        Self { client, wakes, watch_failed, entries: Mutex::default() }
    }

    /// The pod cache of that policy; a changed selector starts a new one.
    pub fn cache(&self, uid: &str, policy: &PolicyRef, selector: &str, now: Duration) -> Arc<PodCache> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(uid)
            && entry.selector == selector
        {
            return Arc::clone(&entry.cache);
        }
        let namespace = policy.namespace.as_deref().unwrap_or_default();
        let cache =
            Arc::new(PodCache::watch_counted(self.client.clone(), namespace, selector, Arc::clone(&self.watch_failed)));
        let forward = self.forward(&cache, policy.clone());
        let policy = policy.clone();
        let entry = Entry {
            policy,
            selector: selector.to_owned(),
            cache: Arc::clone(&cache),
            forward,
            written_at: now,
            waits: false,
        };
        entries.insert(uid.to_owned(), entry);
        cache
    }

    fn forward(&self, cache: &PodCache, policy: PolicyRef) -> AbortHandle {
        let mut changes = cache.changes();
        let wakes = self.wakes.clone();
        tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                wakes.wake(policy.clone());
            }
        })
        .abort_handle()
    }

    /// Time since the status was last written.
    pub fn since_written(&self, uid: &str, now: Duration) -> Option<Duration> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(uid).map(|entry| now.saturating_sub(entry.written_at))
    }

    /// The status was written now.
    pub fn written(&self, uid: &str, now: Duration) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(uid) {
            entry.written_at = now;
        }
    }

    /// Whether that policy waits for a slot of the cluster's budget.
    pub fn waits(&self, uid: &str, waits: bool) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(uid) {
            entry.waits = waits;
        }
    }

    /// A slot was given back: whoever waits for one is looked at.
    pub fn wake_waiting(&self) {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in entries.values().filter(|entry| entry.waits) {
            self.wakes.wake(entry.policy.clone());
        }
    }

    /// Drops what belongs to policies that no longer exist.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| exists(uid));
    }

    /// Whether anything is kept.
    pub fn is_watching(&self) -> bool {
        !self.entries.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Drops what belongs to that policy.
    pub fn forget(&self, uid: &str) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}
