//! What a reconcile looks at: the policy, its pods as they are watched, and a snapshot, from caches or live.

use std::{
    collections::BTreeMap,
    ops::ControlFlow::{self, Break, Continue},
    sync::Arc,
    time::Duration,
};

use jiff::SignedDuration;
use kube::{Resource as _, ResourceExt as _};

use super::{
    ports::{Freshness, Policies as _, Watched, World},
    reconciler::{ReconcileError, Reconciler},
};
use crate::{
    api::v1alpha1::{RedisMemoryPolicy, RedisMemoryPolicyStatus},
    assess,
    clock::Time as _,
    contention::{claims, cluster_budget},
    domain::{
        oom::ACKNOWLEDGED_ANNOTATION,
        policy::Policy,
        snapshot::Snapshot,
        surroundings::{Claim, Elsewhere, Reach, Surroundings},
    },
    kube_io::{around::Around, cache::Seen, write::WriteError},
    observe::pods,
    plan::{Context, gates, in_place},
    report::{findings, sets},
    validate::{
        self,
        resolve::{Problem, Resolved, resolve},
    },
};

/// The pod cache has not been filled yet; it wakes when it has.
const CACHE_AGAIN: Duration = Duration::from_secs(5);
/// While nothing is begun, what is known of volumes and nodes may be this old: a live look reads it again.
const VOLUMES_BELIEVED: Duration = Duration::from_secs(60);
/// A watch that has failed for this time is said in the status.
const WATCH_PATIENCE: Duration = Duration::from_secs(60);

/// What a look rests on.
pub(super) struct Ground {
    /// The policy, and what keeps its spec from being used.
    pub(super) resolved: Resolved,
    /// Its selector, in the form of a query.
    selector: String,
    /// Its pods, as they are watched.
    watched: Watched,
    /// What other policies claim of them.
    claims: Vec<Claim>,
    /// Look again within this time, whatever comes of it: a watch is failing.
    pub(super) at_most: Duration,
}

/// What was observed, and of which version of the resource.
pub(super) struct Observed {
    /// The resource.
    pub(super) resource: RedisMemoryPolicy,
    /// The same, validated.
    pub(super) policy: Arc<Policy>,
    /// Its targets and what lies around them.
    pub(super) snapshot: Snapshot,
    /// All of it is as it is now: something may be done on it.
    pub(super) live: bool,
    /// What keeps the spec from being used.
    pub(super) problem: Option<Problem>,
}

impl<W: World> Reconciler<W> {
    /// What a look at that policy rests on, or when to look again because there is nothing yet.
    pub(super) async fn ground(
        &self,
        mut resolved: Resolved,
    ) -> Result<ControlFlow<Option<Duration>, Ground>, ReconcileError> {
        let Resolved { resource, policy, problem } = &mut resolved;
        let selector = validate::selector_string(&resource.spec.selector);
        let now = self.time().uptime();
        let watched = self.world.watched(policy, &resource.spec.selector, &selector, now);
        let failing = watched.pods.failing.clone();
        let at_most = if failing.is_some() { WATCH_PATIENCE } else { Duration::MAX };
        let failing_for = self.memory.failing_for(&policy.uid, failing.is_some(), now);
        if !watched.pods.synced && resource.status.as_ref().is_none_or(|status| status.journal.is_none()) {
            return match failing {
                Some(failure) if failure.forbidden => {
                    let problem = Problem::new("ReadingRightsMissing", failure.text);
                    self.cannot_be_evaluated(resource, &problem).await.map(|again| Break(Some(again)))
                }
                _ => Ok(Break(Some(CACHE_AGAIN))),
            };
        }
        if let (Some(failure), true) = (failing, failing_for >= WATCH_PATIENCE) {
            let text = format!("the pods have not been watched for {} s: {}", failing_for.as_secs(), failure.text);
            problem.get_or_insert_with(|| Problem::new("WatchFailing", text));
        }
        let Seen { pods, shared_with, .. } = &watched.pods;
        let others = self.world.rivals(&policy.namespace, shared_with);
        let claims = claims::of_others(resource, others.iter().filter_map(|other| other.policy()), pods);
        Ok(Continue(Ground { resolved, selector, watched, claims, at_most }))
    }

    /// Whether something of that policy is under way, or only a live look can tell.
    pub(super) fn is_active(&self, resource: &RedisMemoryPolicy) -> bool {
        // A slot without a journal: its write failed, or was not seen to succeed.
        resource.status.as_ref().is_some_and(|status| status.journal.is_some() || findings::asks(status))
            || self.cluster_budget.holds(&resource.uid().unwrap_or_default())
            || resource.metadata.deletion_timestamp.is_some()
    }

    /// From caches.
    pub(super) async fn observe(&self, ground: &Ground) -> Result<Observed, ReconcileError> {
        let Resolved { resource, policy, problem } = &ground.resolved;
        let snapshot = self.world.cached(policy, &ground.watched, &ground.claims, self.settings.assess).await?;
        let around = ground.watched.around.as_deref();
        let snapshot = self.placed(resource, policy, snapshot, (Freshness::Lately, around)).await;
        let (resource, policy, problem) = (resource.clone(), Arc::clone(policy), problem.clone());
        Ok(Observed { resource, policy, snapshot, live: false, problem })
    }

    /// The resource, the pods and every Redis as they are now; only from this is anything changed.
    pub(super) async fn observe_live(
        &self,
        ground: &Ground,
    ) -> Result<ControlFlow<Option<Duration>, Observed>, ReconcileError> {
        let Resolved { resource: seen, problem: seen_problem, .. } = &ground.resolved;
        let namespace = seen.namespace().unwrap_or_default();
        let Some(stored) = self.executor.ports.policy(&namespace, &seen.name_any()).await? else {
            return Ok(Break(None));
        };
        // A spec that changed in between is validated, and its selector watched, in a reconcile of its own.
        let changed = || ReconcileError::Write(WriteError::Conflict("the spec changed".to_owned()));
        if stored.meta().generation != seen.metadata.generation || stored.uid() != seen.uid() {
            return Err(changed());
        }
        let Resolved { resource, policy, problem } = resolve(&stored).map_err(|_| changed())?;
        if resource.spec != seen.spec {
            return Err(changed());
        }
        if let Some(again) = self.journal_of_another(&resource, &policy).await? {
            return Ok(Break(Some(again)));
        }
        // Reconciles of one policy never overlap: without a journal now, none is being written.
        if resource.status.as_ref().is_none_or(|status| status.journal.is_none()) {
            self.cluster_budget.release(&policy.uid);
        }
        let snapshot = self.world.live(&policy, &ground.selector, &ground.claims, self.settings.assess).await?;
        let snapshot = self.placed(&resource, &policy, snapshot, (Freshness::Now, None)).await;
        let problem = problem.or_else(|| seen_problem.clone());
        Ok(Continue(Observed { resource, policy, snapshot, live: true, problem }))
    }

    /// The snapshot with what lies around that policy, the StatefulSets that have lost all of their pods, and what is behind the
    /// claims of primaries that are to be restarted in place; elsewhere nothing is read for it.
    async fn placed(
        &self,
        resource: &RedisMemoryPolicy,
        policy: &Policy,
        snapshot: Snapshot,
        (how, watched): (Freshness, Option<&Around>),
    ) -> Snapshot {
        let unwritten = self.memory.unwritten(&policy.uid, &snapshot, self.time().now());
        let around = Surroundings { unwritten, ..self.surroundings(resource, self.world.reach(how)) };
        let mut snapshot = Snapshot { surroundings: around, ..snapshot };
        let none = RedisMemoryPolicyStatus::default();
        let status = resource.status.as_ref().unwrap_or(&none);
        let emptied = sets::without_pods(status, &snapshot);
        if !emptied.is_empty() {
            snapshot.stateful_sets.extend(self.world.stateful_sets(policy, &emptied, watched).await);
        }
        let ctx = Context::of(policy, &snapshot, &status.workloads, self.time().now(), &self.settings);
        let ahead = in_place::ahead(&ctx, status.journal.as_ref());
        if ahead.is_empty() {
            return snapshot;
        }
        let age = if how == Freshness::Now { Duration::ZERO } else { VOLUMES_BELIEVED };
        let volumes = self.world.volumes(&policy.namespace, &snapshot, &ahead, age).await;
        Snapshot { volumes, ..snapshot }
    }

    /// What lies around that policy: what people said, and what the other policies do.
    fn surroundings(&self, resource: &RedisMemoryPolicy, reach: Reach) -> Surroundings {
        let own = resource.uid().unwrap_or_default();
        let now = self.time().now();
        if let Some(status) = &resource.status {
            self.reverts.believe(status, now);
        }
        let said = |name: &str| resource.annotations().get(name).map(|value| value.trim().to_owned());
        Surroundings {
            stopped: self.stop.how(),
            approved: said(gates::APPROVE_ANNOTATION),
            accepted: said(assess::several::ACCEPT_ANNOTATION),
            hold: pods::hold(&resource.metadata),
            request: validate::request::pending(resource),
            elsewhere: self.cluster_budget.others(&own, &self.stored_remediations()),
            maximum_remediations: self.limits.remediations,
            restarts_last_hour: self.cluster_budget.restarts_last_hour(&self.stored_restarts(resource), now),
            maximum_restarts_per_hour: self.limits.restarts_per_hour,
            reach,
            stored: resource.status.as_ref().map(RedisMemoryPolicyStatus::shards).unwrap_or_default(),
            kills: resource.status.as_ref().map(|status| status.oom_kills.clone()).unwrap_or_default(),
            acknowledged: said(ACKNOWLEDGED_ANNOTATION),
            left_alone: self.reverts.left_alone(now),
            refused_limits: self.reverts.refused_limits(now),
            unwritten: Vec::new(),
        }
    }

    /// The remediations of all policies, by their journals.
    pub(super) fn stored_remediations(&self) -> BTreeMap<String, Elsewhere> {
        self.world.remediations()
    }

    /// The restarts of all policies, that policy's by what was just read of it.
    pub(super) fn stored_restarts(&self, resource: &RedisMemoryPolicy) -> Vec<cluster_budget::Restart> {
        let (now, hour) = (self.time().now(), SignedDuration::try_from(cluster_budget::HOUR).unwrap_or_default());
        let policies = self.world.restarted_within(hour, now);
        let others = policies.iter().filter_map(|policy| policy.policy());
        let others = others.filter(|other| other.uid() != resource.uid());
        cluster_budget::restarts(others.chain([resource]), now)
    }
}
