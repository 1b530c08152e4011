//! Whether the API server lets us see policies: a missing definition, a missing right or a watch that fails is said in the
//! log, at most once a minute, and counted each time.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::{
    Client,
    runtime::{controller, watcher},
};

use super::{reconciler::ReconcileError, scope::Scope};
use crate::{admin::Health, clock::Clock, kube_io::policies::Policies, metrics::Metrics};

/// How every namespace together is called in the log.
const EVERYWHERE: &str = "all";

/// A failure that goes on is said again after this time.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// Policies that cannot be listed are asked for again after this time; where nothing waits for the answer after …
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(5);
/// … this many times as long.
const RARELY: u32 = 12;
/// A named namespace that refuses so often in a row is not waited for: rights that were just granted take a moment.
pub(super) const REFUSALS: u32 = 3;
/// The kind that is watched, in the metric.
const KIND: &str = "RedisMemoryPolicy";

/// Says and counts that policies cannot be listed or watched.
#[derive(Clone)]
pub(super) struct Failures {
    clock: Clock,
    metrics: Metrics,
    health: Health,
    said_at: Arc<Mutex<Option<Duration>>>,
    unreadable: Arc<Mutex<BTreeSet<String>>>,
}

impl Failures {
    pub(super) fn new(clock: Clock, metrics: Metrics, health: Health) -> Self {
        Self { clock, metrics, health, said_at: Arc::default(), unreadable: Arc::default() }
    }

    /// That named namespace may not be read, and is not waited for.
    pub(super) fn passed_over(&self, namespace: &str) {
        if self.now_unreadable(|all| all.insert(namespace.to_owned())) {
            tracing::warn!(
                namespace,
                "this namespace of --watch-namespaces may not be read: it was deleted, or has no Role of this install yet; its \
                 policies are not looked at, and those of the others are"
            );
        }
    }

    /// That named namespace has been read.
    pub(super) fn readable(&self, namespace: &str) {
        if self.now_unreadable(|all| all.remove(namespace)) {
            tracing::info!(namespace, "this namespace of --watch-namespaces may be read again");
        }
    }

    /// Whether that change is one; if so, it is told to those who read the metrics and the health.
    fn now_unreadable(&self, change: impl FnOnce(&mut BTreeSet<String>) -> bool) -> bool {
        let mut all = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut all);
        if changed {
            self.metrics.unreadable(all.len());
            self.health.unreadable(all.iter().cloned().collect());
        }
        changed
    }

    /// Of that namespace; `None`: of all.
    pub(super) fn failed(&self, namespace: Option<&str>, error: &dyn std::fmt::Display) {
        self.metrics.watch_failed(KIND);
        let now = self.clock.uptime();
        let mut said_at = self.said_at.lock().unwrap_or_else(PoisonError::into_inner);
        if said_at.is_none_or(|said| now.saturating_sub(said) >= SAY_AGAIN) {
            *said_at = Some(now);
            tracing::warn!(
                %error,
                namespace = namespace.unwrap_or(EVERYWHERE),
                "RedisMemoryPolicies cannot be listed or watched: is the API server away, their definition missing (chart \
                 value crds.install), or the right to list and watch them?"
            );
        }
    }

    /// What the controller tells of each look and of its watch. Looks say their own failures.
    pub(super) fn told<T>(&self, told: &Result<T, controller::Error<ReconcileError, watcher::Error>>) {
        if let Err(controller::Error::QueueError(error)) = told {
            self.failed(None, error);
        }
    }
}

/// Asks until policies can be listed wherever they are looked at, and then says that this process is as ready as it can be.
/// A standby does it too: one that cannot see policies must not take the place of one that can. Of several namespaces those that
/// refuse hold up nobody, as long as one can be read; they are asked again now and then. `again`: what lies between two questions.
pub(super) async fn until_listed(client: Client, scope: Scope, health: Health, failures: Failures, again: Duration) {
    let mut waited_for: Vec<(Option<&str>, u32)> = scope.places().into_iter().map(|place| (place, 0)).collect();
    let mut any = false;
    loop {
        let asked = waited_for.iter().map(|(namespace, refusals)| {
            let policies = Policies::new(client.clone(), *namespace);
            async move { (*namespace, *refusals, policies.exist().await) }
        });
        let mut still = Vec::new();
        for (namespace, refusals, answer) in futures::future::join_all(asked).await {
            let Err(error) = answer else {
                any = true;
                if let Some(namespace) = namespace {
                    failures.readable(namespace);
                }
                continue;
            };
            failures.failed(namespace, &error);
            let refusals = if error.is_forbidden() { refusals.saturating_add(1) } else { 0 };
            if let Some(namespace) = namespace.filter(|_| refusals == REFUSALS) {
                failures.passed_over(namespace);
            }
            still.push((namespace, refusals));
        }
        waited_for = still;
        let refused = |(namespace, refusals): &(Option<&str>, u32)| namespace.is_some() && *refusals >= REFUSALS;
        let settled = any && waited_for.iter().all(refused);
        if settled {
            health.policies_listed();
        }
        if waited_for.is_empty() {
            return;
        }
        tokio::time::sleep(if settled { again.saturating_mul(RARELY) } else { again }).await;
    }
}
