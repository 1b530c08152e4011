//! What is kept per policy while the process lives: its pod cache, and when its numbers were last written.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::{Client, core::error_boundary::DeserializeGuard, runtime::reflector::ObjectRef};
use tokio::{sync::mpsc, task::AbortHandle};

use crate::{api::v1alpha1::RedisMemoryPolicy, kube_io::cache::PodCache};

/// A policy as the controller sees it: one that cannot be read must not stop the rest.
pub(super) type Guarded = DeserializeGuard<RedisMemoryPolicy>;
/// Names a policy to be reconciled.
pub(super) type PolicyRef = ObjectRef<Guarded>;

/// What is kept per policy, by UID.
pub struct Registry {
    client: Client,
    wake: mpsc::UnboundedSender<PolicyRef>,
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
    /// Reconciles in a row that met another writer.
    conflicts: u32,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.forward.abort();
    }
}

impl Registry {
    /// An empty registry. Changes of pods are sent to `wake`.
    pub fn new(client: Client, wake: mpsc::UnboundedSender<PolicyRef>) -> Self {
        Self { client, wake, entries: Mutex::default() }
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
        let cache = Arc::new(PodCache::watch(self.client.clone(), namespace, selector));
        let forward = self.forward(&cache, policy.clone());
        let policy = policy.clone();
        let entry = Entry {
            policy,
            selector: selector.to_owned(),
            cache: Arc::clone(&cache),
            forward,
            written_at: now,
            conflicts: 0,
        };
        entries.insert(uid.to_owned(), entry);
        cache
    }

    fn forward(&self, cache: &PodCache, policy: PolicyRef) -> AbortHandle {
        let mut changes = cache.changes();
        let wake = self.wake.clone();
        tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                if wake.send(policy.clone()).is_err() {
                    return;
                }
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

    /// A reconcile met another writer; returns how many did so in a row.
    pub fn conflicted(&self, uid: &str) -> u32 {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get_mut(uid).map_or(1, |entry| {
            entry.conflicts = entry.conflicts.saturating_add(1);
            entry.conflicts
        })
    }

    /// A reconcile met no other writer.
    pub fn undisturbed(&self, uid: &str) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(uid) {
            entry.conflicts = 0;
        }
    }

    /// Drops what belongs to policies that no longer exist; returns their UIDs and names.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) -> Vec<(String, PolicyRef)> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<String> = entries.keys().filter(|uid| !exists(uid)).cloned().collect();
        let removed = gone.into_iter().filter_map(|uid| entries.remove(&uid).map(|entry| (uid, entry.policy.clone())));
        removed.collect()
    }
}
