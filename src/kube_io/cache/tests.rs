//! The watch against a stand-in API server; tests/api_kube watches real pods.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use kube::{ResourceExt as _, core::Expression};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::kube_io::testing::{Answer, Log, Recorded, fake, refusal};

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

/// Lists are answered with pods of these names, labelled by what is before the dash; the watch that follows never says
/// anything.
fn listed(uri: &str, names: &[&str]) -> Answer {
    if uri.contains("watch=true") {
        return Answer::Silence;
    }
    let app = |name: &str| name.split('-').next().unwrap_or_default().to_owned();
    let pod =
        |name: &&str| json!({ "metadata": { "name": name, "namespace": "shop", "labels": { "app": app(name) } } });
    let items: Vec<Value> = names.iter().map(pod).collect();
    Answer::Http(200, json!({ "kind": "PodList", "metadata": { "resourceVersion": "5" }, "items": items }))
}

struct Bench {
    cache: PodCache,
    log: Log,
    woken: mpsc::UnboundedReceiver<String>,
    failures: Arc<AtomicUsize>,
}

fn bench(answer: impl Fn(&Recorded) -> Answer + Send + Sync + 'static) -> Bench {
    let (client, log) = fake(answer);
    let (wake, woken) = mpsc::unbounded_channel();
    let failures = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&failures);
    let failed = Arc::new(move || drop(count.fetch_add(1, Ordering::Relaxed).to_string()));
    let wake = Arc::new(move |uid: &str| drop(wake.send(uid.to_owned())));
    Bench { cache: PodCache::watch(client, "shop", failed, wake), log, woken, failures }
}

impl Bench {
    fn follow(&self, follower: &str, app: &str) {
        let selector = || Expression::Equal("app".into(), app.to_owned()).into();
        self.cache.follow(follower, &format!("app={app}"), selector);
    }

    /// Waits until that holds for what the follower sees. It is looked at whenever anybody is woken.
    async fn until(&mut self, follower: &str, holds: impl Fn(&Seen) -> bool) -> Seen {
        let look = async {
            loop {
                let seen = self.cache.seen(follower);
                if holds(&seen) {
                    return seen;
                }
                self.woken.recv().await.expect("a running watch");
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect("in time")
    }

    fn lists(&self) -> Vec<String> {
        let all = self.log.all().into_iter().map(|request| request.uri);
        all.filter(|uri| !uri.contains("watch=true")).collect()
    }
}

#[tokio::test]
async fn many_followers_are_one_list_and_one_watch() {
    let mut bench = bench(|request| listed(&request.uri, &["redis-0", "valkey-0", "web-0"]));
    for n in 0..100 {
        bench.follow(&format!("policy-{n}"), if n % 2 == 0 { "redis" } else { "valkey" });
    }
    for (follower, name) in [("policy-98", "redis-0"), ("policy-99", "valkey-0")] {
        let seen = bench.until(follower, |seen| seen.synced).await;
        assert_eq!(seen.pods.iter().map(|pod| pod.name_any()).collect::<Vec<_>>(), [name]);
        assert_eq!(seen.shared_with.len(), 50);
    }
    let lists = bench.lists();
    assert_eq!(lists.len(), 1, "{lists:#?}");
    assert!(
        lists[0].contains("limit=50") && lists[0].contains("labelSelector=app+in+%28redis%2Cvalkey%29"),
        "{lists:?}"
    );
    assert!(bench.log.len() <= 2, "a list and a watch");
}

#[tokio::test]
async fn a_new_selector_is_listed_for_and_the_others_stay() {
    let mut bench = bench(|request| listed(&request.uri, &["redis-0", "valkey-0"]));
    bench.follow("a", "redis");
    bench.until("a", |seen| seen.synced).await;
    bench.follow("b", "valkey");
    assert!(bench.cache.seen("a").synced && !bench.cache.seen("b").synced);
    let seen = bench.until("b", |seen| seen.synced).await;
    assert_eq!(seen.pods.len(), 1);
    bench.follow("c", "valkey");
    assert!(bench.cache.seen("c").synced, "another selects the same: nothing is asked for");
    assert_eq!(bench.lists().len(), 2);
}

#[tokio::test]
async fn a_missing_right_is_said_until_it_is_granted_and_asked_for_by_one() {
    let granted = Arc::new(AtomicBool::new(false));
    let may = Arc::clone(&granted);
    let mut bench = bench(move |request| {
        if !may.load(Ordering::Relaxed) {
            return refusal(403, "Forbidden", "pods is forbidden", &json!([]));
        }
        listed(&request.uri, &["redis-0"])
    });
    for follower in ["a", "b", "c"] {
        bench.follow(follower, "redis");
    }
    for follower in ["a", "b", "c"] {
        let seen = bench.until(follower, |seen| seen.failing.is_some()).await;
        assert_eq!(seen.failing, Some(WatchFailure { forbidden: true, text: "pods is forbidden".into() }));
        assert!(!seen.synced);
    }
    assert!(bench.failures.load(Ordering::Relaxed) <= 2, "one watch fails, not three");
    // A list that is begun is no list that succeeded.
    assert!(bench.cache.seen("a").failing.is_some());
    granted.store(true, Ordering::Relaxed);
    let mut told = BTreeSet::new();
    while told.len() < 3 {
        told.insert(
            tokio::time::timeout(PATIENCE, bench.woken.recv()).await.expect("in time").expect("a running watch"),
        );
    }
    assert_eq!(bench.until("a", |seen| seen.synced).await.failing, None);
}

#[tokio::test]
async fn a_dropped_cache_stops_watching() {
    let bench = bench(|_| Answer::Silence);
    bench.follow("a", "redis");
    let Bench { cache, mut woken, .. } = bench;
    drop(cache);
    assert!(tokio::time::timeout(PATIENCE, woken.recv()).await.expect("in time").is_none(), "the task still runs");
}
