//! Whether the API server lets us see policies: a missing definition, a missing right or a watch that fails is said in the
//! log, at most once a minute, and counted each time.

use std::{
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
/// Policies that cannot be listed are asked for again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// The kind that is watched, in the metric.
const KIND: &str = "RedisMemoryPolicy";

/// Says and counts that policies cannot be listed or watched.
#[derive(Clone)]
pub(super) struct Failures {
    clock: Clock,
    metrics: Metrics,
    said_at: Arc<Mutex<Option<Duration>>>,
}

impl Failures {
    pub(super) fn new(clock: Clock, metrics: Metrics) -> Self {
        Self { clock, metrics, said_at: Arc::default() }
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
/// A standby does it too: one that cannot see policies must not take the place of one that can.
pub(super) async fn until_listed(client: Client, scope: Scope, health: Health, failures: Failures) {
    for namespace in scope.places() {
        let policies = Policies::new(client.clone(), namespace);
        while let Err(error) = policies.exist().await {
            failures.failed(namespace, &error);
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
    health.policies_listed();
}
