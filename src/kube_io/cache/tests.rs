//! The watch against a stand-in API server; tests/kube_live.rs watches real pods.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::*;
use crate::kube_io::testing::{Answer, fake, refusal};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_new_version_of_the_same_is_no_change() {
    let before: Pod = serde_json::from_value(json!({
        "metadata": { "name": "redis-0", "resourceVersion": "7", "labels": { "app": "redis" } },
        "status": { "phase": "Running" },
    }))
    .expect("a pod");
    let mut after = before.clone();
    after.metadata.resource_version = Some("8".into());
    assert!(!differs(&before, &after));
    after.metadata.labels = None;
    assert!(differs(&before, &after));
}

/// Lists are answered; the watch that follows never says anything.
fn listed(uri: &str, names: &[&str]) -> Answer {
    if uri.contains("watch=true") {
        return Answer::Silence;
    }

    let items: Vec<Value> =
        names.iter().map(|name| json!({ "metadata": { "name": name, "namespace": "shop" } })).collect();
    Answer::Http(200, json!({ "kind": "PodList", "metadata": { "resourceVersion": "5" }, "items": items }))
}

#[tokio::test]
async fn pods_are_listed_in_pages() {
    let (client, log) = fake(|request| listed(&request.uri, &["redis-0", "redis-1"]));
    let cache = PodCache::watch(client, "shop", "app=redis");
    tokio::time::timeout(PATIENCE, cache.ready()).await.expect("in time");
    assert!(cache.is_ready());
    assert_eq!(cache.pods().len(), 2);
    let state = cache.changes().borrow().clone();
    assert_eq!(state, CacheState { version: 1, synced: true, failing: None });
    let page = &log.all()[0].uri;
    assert!(page.contains("limit=50") && page.contains("labelSelector=app%3Dredis"), "{page}");
}

#[tokio::test]
async fn a_missing_right_is_said_until_it_is_granted() {
    let asked = AtomicBool::new(false);
    let (client, _) = fake(move |request| {
        if !asked.swap(true, Ordering::Relaxed) {
            return refusal(403, "Forbidden", "pods is forbidden", &json!([]));
        }
        listed(&request.uri, &["redis-0"])
    });
    let cache = PodCache::watch(client, "shop", "app=redis");
    let mut changes = cache.changes();
    let failing = tokio::time::timeout(PATIENCE, changes.wait_for(|state| state.failing.is_some())).await;
    let failure = failing.expect("in time").expect("a running watch").failing.clone().expect("a failure");
    assert_eq!(failure, WatchFailure { forbidden: true, text: "pods is forbidden".into() });
    assert!(!cache.is_ready());
    let recovered = tokio::time::timeout(PATIENCE, changes.wait_for(|state| state.synced)).await;
    assert_eq!(recovered.expect("in time").expect("a running watch").failing, None);
}

#[tokio::test]
async fn a_dropped_cache_stops_watching() {
    let (client, _) = fake(|_| Answer::Silence);
    let cache = PodCache::watch(client, "shop", "app=redis");
    let mut changes = cache.changes();
    drop(cache);
    let ended = tokio::time::timeout(PATIENCE, changes.changed()).await.expect("in time");
    assert!(ended.is_err(), "the task still runs");
}
