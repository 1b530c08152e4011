//! What is over: policies that are deleted, or cannot be evaluated any more. No connection, login, Secret read or series
//! of theirs is left, and a `maxmemory` that stays on its servers is said.

use std::{collections::HashSet, sync::Arc, time::Duration};

use kube::{Resource as _, ResourceExt as _};

pub(super) mod left_behind;

use super::{
    memory::Stage,
    outside::Outside,
    ports::{Policies as _, PolicyVersion, World},
    reconciler::{ReconcileError, Reconciler},
    registry::{Guarded, PolicyRef},
    series,
};
use crate::{
    api::v1alpha1::{FINALIZER, RedisMemoryPolicy, RedisMemoryPolicySpec},
    clock::Time as _,
    domain::event::EventType,
    kube_io::write::WriteError,
    metrics::PolicyKey,
    report::{self, transitions::event},
    validate::resolve::Problem,
};

/// A policy that cannot be evaluated now; looked at again when something changes, or after this time.
const STALLED_AGAIN: Duration = Duration::from_secs(300);
/// What is written is not taken: after this time it is tried again, for the definition may be updated at any time.
const NOT_TAKEN_AGAIN: Duration = Duration::from_secs(60);
/// How often it is looked whether policies are gone: nothing else tells of the last one.
const SWEEP_EVERY: Duration = Duration::from_secs(2);

/// Forgets what is gone, for as long as it is polled, once every policy has been seen.
pub(super) async fn sweep(reconciler: Arc<Reconciler<Outside>>) {
    loop {
        if reconciler.world.policies.is_complete() {
            reconciler.forget_gone();
            reconciler.say_left_behind().await;
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

impl Reconciler<Outside> {
    /// Drops caches, connections and series of policies that no longer exist: also what a look that was under way when
    /// its policy went has taken up again.
    fn forget_gone(&self) {
        let live = self.world.policies.all();
        let exists = |uid: &str| live.contains_key(uid);
        self.remember_only(exists);
        self.world.registry.retain(exists);
        self.world.observer.sampler.retain(exists);
        self.world.observer.nodes.retain(exists);
        let key = |policy: PolicyRef| PolicyKey::new(policy.namespace.unwrap_or_default(), policy.name);
        let names: HashSet<PolicyKey> = live.into_values().map(key).collect();
        self.metrics.retain(|policy| names.contains(policy));
    }
}

impl Reconciler<Outside> {
    /// Says once of each set what the operator set on its servers and leaves there: nobody looks after it any more. An event
    /// that cannot be written is in the log.
    pub(super) async fn say_left_behind(&self) {
        for left in self.world.policies.left_behind() {
            let (about, note) = (left.about(), left.note());
            tracing::info!(namespace = %left.namespace, policy = %left.policy, text = %note.note, "a policy is deleted");
            if let Err(error) = self.executor.ports.event(&about, &note).await {
                tracing::warn!(%error, reason = %note.reason, "an event could not be written");
            }
        }
    }
}

impl<W: World> Reconciler<W> {
    /// Forgets what this process remembers of policies that do not exist any more, and gives back the slots that they held: one
    /// that is deleted just before its journal is written has no look of its own any more.
    pub fn remember_only(&self, exists: impl Fn(&str) -> bool) {
        self.cluster_budget.retain(&exists);
        self.backoff.retain(&exists);
        self.memory.retain(&exists);
    }

    /// Nothing is watched for that policy any more.
    pub(super) fn forget(&self, stored: &Guarded) {
        let uid = stored.uid().unwrap_or_default();
        self.world.stop_watching(&uid);
        self.world.stop_probing(&uid);
        self.metrics.forget(&key(stored));
    }

    /// Takes our finalizer away, if it is there, whatever else the policy says.
    pub(super) async fn let_go(&self, stored: &Guarded) -> Result<(), ReconcileError> {
        if stored.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
            self.executor.ports.set_finalizer(PolicyVersion::of(stored.meta()), false).await?;
        }
        Ok(())
    }

    /// The policy cannot be evaluated as it is written, and nothing of it is under way that could go on.
    pub(super) async fn stalled(&self, stored: &Guarded, problem: &Problem) -> Result<Duration, ReconcileError> {
        let (namespace, policy) = (stored.namespace().unwrap_or_default(), stored.name_any());
        tracing::warn!(%namespace, %policy, reason = problem.reason, text = %problem.text, "a policy is not evaluated");
        self.world.stop_watching(&stored.uid().unwrap_or_default());
        self.no_longer_watched(&stored.uid().unwrap_or_default(), &key(stored));
        // The finalizer belongs to a remediation: one that was set just before a crash, without its journal, goes. That is
        // a write, and the next look comes with it.
        if !stored.is_remediated() && stored.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
            self.let_go(stored).await?;
            return Ok(STALLED_AGAIN);
        }
        let resource = stored.clone().under(&RedisMemoryPolicySpec::default());
        self.say_stalled(&resource, problem).await
    }

    /// The same of one whose pods may not be read: it is watched on, so that the right is noticed when it comes.
    pub(super) async fn cannot_be_evaluated(
        &self,
        resource: &RedisMemoryPolicy,
        problem: &Problem,
    ) -> Result<Duration, ReconcileError> {
        let key = PolicyKey::new(resource.namespace().unwrap_or_default(), resource.name_any());
        self.no_longer_watched(&resource.uid().unwrap_or_default(), &key);
        self.say_stalled(resource, problem).await
    }

    /// The definition in the cluster does not take what is to be written of it, and nothing is done that cannot be written
    /// down: said in the log and an event, and in the status as far as that is taken.
    pub(super) async fn not_taken(&self, stored: &Guarded, error: &WriteError) -> Result<Duration, ReconcileError> {
        let (namespace, policy) = (stored.namespace().unwrap_or_default(), stored.name_any());
        let text = error.to_string();
        tracing::warn!(%namespace, %policy, reason = error.reason(), %text, "a policy cannot be written");
        let (uid, now) = (stored.uid().unwrap_or_default(), self.time().uptime());
        let news = vec![event(EventType::Warning, error.reason(), "Report", text.clone(), None)];
        let resource = stored.clone().under(&RedisMemoryPolicySpec::default());
        self.say(&resource, self.memory.to_tell(&uid, news, now)).await;
        let again = self.say_stalled(&resource, &Problem::new(error.reason(), text)).await?;
        Ok(again.min(NOT_TAKEN_AGAIN))
    }

    fn no_longer_watched(&self, uid: &str, key: &PolicyKey) {
        self.world.stop_probing(uid);
        self.metrics.forget(key);
    }

    async fn say_stalled(&self, resource: &RedisMemoryPolicy, problem: &Problem) -> Result<Duration, ReconcileError> {
        let previous = resource.status.clone().unwrap_or_default();
        let generation = resource.metadata.generation.unwrap_or_default();
        let mut status = report::stalled(problem.reason, &problem.text, generation, &previous, self.time().now());
        status.operator = Some(self.install.clone());
        let key = PolicyKey::new(resource.namespace().unwrap_or_default(), resource.name_any());
        self.metrics.publish_policy(&key, series::of_policy(&status, &status.findings, &previous.workloads));
        if !report::worth_writing(&previous, &status, None) {
            return Ok(STALLED_AGAIN);
        }
        let stage = Stage::of(&status, previous.journal.as_ref());
        let (uid, now) = (resource.uid().unwrap_or_default(), self.time().uptime());
        if let Some(left) = self.memory.pause_of_news(&uid, &stage, now) {
            return Ok(left);
        }
        self.write_status(resource, &status).await?;
        Ok(STALLED_AGAIN)
    }
}

fn key(stored: &Guarded) -> PolicyKey {
    PolicyKey::new(stored.meta().namespace.clone().unwrap_or_default(), stored.name_any())
}
