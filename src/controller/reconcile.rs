//! One reconcile: resolve → observe (reads) → decide (pure) → perform (writes) → report (writes).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt as _,
    runtime::{controller::Action, reflector::ObjectRef},
};

use super::{
    carry, claims, judge, ledger,
    perform::{self, Performed},
    registry::{Guarded, PolicyRef},
    report, series,
    shared::{ReconcileError, Shared},
    transitions::{self, Transition},
};
use crate::{
    api::v1alpha1::{FINALIZER, FindingStatus, RedisMemoryPolicy, RedisMemoryPolicyStatus},
    assess::{self, judged::Judged},
    domain::{
        policy::Policy,
        snapshot::Snapshot,
        surroundings::{Elsewhere, Surroundings},
    },
    execute::Executor,
    kube_io::{event::EventTarget, write::WriteError},
    metrics::PolicyKey,
    observe::snapshot::Claim,
    plan::{
        Context,
        decide::{self, Act, Decision},
        gates, promise,
    },
    validate,
};

/// A policy that cannot be evaluated now; looked at again when something changes, or after this time.
const STALLED_AGAIN: Duration = Duration::from_secs(300);
/// The pod cache has not been filled yet.
const CACHE_AGAIN: Duration = Duration::from_secs(1);
/// Events that are being written at the same time.
const EVENTS_AT_ONCE: usize = 8;
/// A deletion is let through after this long, whatever is unfinished (it must be through within 30 s).
const DELETION_PATIENCE: Duration = Duration::from_secs(20);

/// Reconciles one policy.
pub async fn reconcile(resource: Arc<Guarded>, shared: Arc<Shared>) -> Result<Action, ReconcileError> {
    shared.forget_gone();
    match &resource.0 {
        Ok(policy) => Box::pin(shared.reconcile(policy.clone())).await,
        Err(invalid) => {
            tracing::warn!(name = %resource.name_any(), error = %invalid.error, "a stored policy cannot be read");
            Ok(Action::requeue(STALLED_AGAIN))
        }
    }
}

/// What was observed and decided, and from which version of the resource.
struct Turn {
    resource: RedisMemoryPolicy,
    policy: Arc<Policy>,
    snapshot: Snapshot,
    decision: Decision,
}

impl Shared {
    async fn reconcile(&self, resource: RedisMemoryPolicy) -> Result<Action, ReconcileError> {
        // Nothing of ours is under way and it is going: it needs nothing from us.
        let deleting = resource.metadata.deletion_timestamp.is_some();
        if deleting && !resource.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
            return Ok(Action::await_change());
        }
        if self.overdue_deletion(&resource) {
            self.release(resource).await?;
            return Ok(Action::await_change());
        }
        let policy = match validate::validate(&resource) {
            Ok(policy) => Arc::new(policy),
            Err(invalid) => {
                let text: Vec<String> = invalid.iter().map(ToString::to_string).collect();
                return self.stalled(&resource, "InvalidSpec", &text.join("; ")).await;
            }
        };
        let selector = validate::selector_string(&resource.spec.selector);
        let reference: PolicyRef = ObjectRef::new(&policy.name).within(&policy.namespace);
        let cache = self.registry.cache(&policy.uid, &reference, &selector, self.clock.uptime());
        if !cache.is_ready() {
            let failing = cache.changes().borrow().failing.clone();
            return match failing {
                Some(failure) if failure.forbidden => {
                    self.stalled(&resource, "ReadingRightsMissing", &failure.text).await
                }
                _ => Ok(Action::requeue(CACHE_AGAIN)),
            };
        }
        let Some(turn) = Box::pin(self.decide(resource, policy, &selector, &cache.pods())).await? else {
            return Ok(Action::await_change());
        };
        Box::pin(self.act_and_report(turn)).await
    }

    /// Observes and decides: from caches first, and live when something is to be done. `None`: the policy is gone.
    async fn decide(
        &self,
        resource: RedisMemoryPolicy,
        policy: Arc<Policy>,
        selector: &str,
        pods: &[Arc<Pod>],
    ) -> Result<Option<Turn>, ReconcileError> {
        let others = self.policies.state();
        let claims = claims::of_others(&resource, others.iter().filter_map(|other| other.0.as_ref().ok()), pods);
        // A slot without a journal: its write failed, or was not seen to succeed. Only a live look can tell.
        let active = resource.status.as_ref().is_some_and(|status| status.journal.is_some() || carry::asks(status))
            || self.ledger.holds(&policy.uid);
        if !active && resource.metadata.deletion_timestamp.is_none() {
            let judge = |pods: &[_]| judge::of(Arc::clone(&policy), pods, self.settings.assess);
            let snapshot = self.observer.cached(&policy, pods, &claims, judge).await?;
            let snapshot = Snapshot { surroundings: self.surroundings(&resource), ..snapshot };
            let decision = self.decision(&resource, &policy, &snapshot, false);
            if decision.act != Act::LookLive {
                return Ok(Some(Turn { resource, policy, snapshot, decision }));
            }
        }
        self.decide_live(&resource, selector, &claims).await
    }

    /// The resource, the pods and every Redis as they are now; only from this is anything changed.
    async fn decide_live(
        &self,
        seen: &RedisMemoryPolicy,
        selector: &str,
        claims: &[Claim],
    ) -> Result<Option<Turn>, ReconcileError> {
        let namespace = seen.namespace().unwrap_or_default();
        let Some(resource) = self.observer.reader.policy(&namespace, &seen.name_any()).await? else {
            return Ok(None);
        };
        // A spec that changed in between is validated, and its selector watched, in a reconcile of its own.
        if resource.metadata.generation != seen.metadata.generation || resource.uid() != seen.uid() {
            return Err(ReconcileError::Write(WriteError::Conflict("the spec changed".to_owned())));
        }
        let Ok(policy) = validate::validate(&resource).map(Arc::new) else {
            return Ok(None);
        };
        // Reconciles of one policy never overlap: without a journal now, none is being written.
        if resource.status.as_ref().is_none_or(|status| status.journal.is_none()) {
            self.ledger.release(&policy.uid);
        }
        let judge = |pods: &[_]| judge::of(Arc::clone(&policy), pods, self.settings.assess);
        let snapshot = self.observer.live(&policy, selector, claims, judge).await?;
        let snapshot = Snapshot { surroundings: self.surroundings(&resource), ..snapshot };
        let decision = self.decision(&resource, &policy, &snapshot, true);
        Ok(Some(Turn { resource, policy, snapshot, decision }))
    }

    /// What lies around that policy: what people said, and what the other policies do.
    fn surroundings(&self, resource: &RedisMemoryPolicy) -> Surroundings {
        let own = resource.uid().unwrap_or_default();
        let now = self.clock.now();
        Surroundings {
            stopped: self.stop.how(),
            approved: resource.annotations().get(gates::APPROVE_ANNOTATION).map(|hash| hash.trim().to_owned()),
            elsewhere: self.ledger.others(&own, &self.stored_remediations()),
            maximum_remediations: self.limits.remediations,
            restarts_last_hour: self.ledger.restarts_last_hour(&self.stored_restarts(resource), now),
            maximum_restarts_per_hour: self.limits.restarts_per_hour,
            reach: self.observer.sampler.reach(),
        }
    }

    /// The remediations of all policies, by their journals.
    pub(super) fn stored_remediations(&self) -> BTreeMap<String, Elsewhere> {
        let policies = self.policies.state();
        ledger::remediations(policies.iter().filter_map(|policy| policy.0.as_ref().ok()))
    }

    /// The restarts of all policies, that policy's by what was just read of it.
    pub(super) fn stored_restarts(&self, resource: &RedisMemoryPolicy) -> Vec<ledger::Restart> {
        let policies = self.policies.state();
        let others = policies.iter().filter_map(|policy| policy.0.as_ref().ok());
        let others = others.filter(|other| other.uid() != resource.uid());
        ledger::restarts(others.chain([resource]), self.clock.now())
    }

    fn decision(&self, resource: &RedisMemoryPolicy, policy: &Policy, snapshot: &Snapshot, live: bool) -> Decision {
        let none = RedisMemoryPolicyStatus::default();
        let status = resource.status.as_ref().unwrap_or(&none);
        let now = self.clock.now();
        let ctx = Context { policy, snapshot, records: &status.workloads, now, settings: &self.settings };
        let deleting = resource.metadata.deletion_timestamp.is_some();
        decide::decide(&ctx, status.journal.as_ref(), deleting, live)
    }

    async fn act_and_report(&self, turn: Turn) -> Result<Action, ReconcileError> {
        let Turn { resource, policy, snapshot, decision } = turn;
        let previous = resource.status.clone().unwrap_or_default();
        // The decision stands on what was seen; people are told of it when it has settled.
        let snapshot = self.observer.settled(&policy, &snapshot);
        let (records, now) = (&previous.workloads, self.clock.now());
        let ctx = Context { policy: &policy, snapshot: &snapshot, records, now, settings: &self.settings };
        let mut findings = promise::findings(&ctx, previous.journal.as_ref());
        findings.extend(assess::drift::of_records(&policy, &previous.workloads));
        findings.extend(assess::drift::of_starts(&snapshot, &previous.workloads, previous.journal.as_ref()));
        assess::sort(&mut findings);
        let judged = Judged::of(&policy, &snapshot, &self.settings.assess);
        let findings = carry::findings(&findings, &judged, &snapshot, &previous);
        let key = PolicyKey::new(&policy.namespace, &policy.name);
        self.metrics.publish_targets(&key, series::of(&policy, &snapshot, &findings, &judged));
        // A plan is shown before it is carried out.
        let resource = match &decision.act {
            Act::Begin(_) => {
                let input = self.input(&policy, &snapshot, (&findings, &judged), &decision, &previous);
                self.write_status(resource, &policy, &report::status(&input, &previous)).await?
            }
            _ => resource,
        };
        // The finalizer belongs to a remediation: one that was set just before a crash, without its journal, goes.
        let idle = previous.journal.is_none() && !matches!(decision.act, Act::Begin(_));
        let resource = if idle { self.release(resource).await? } else { resource };
        if resource.metadata.deletion_timestamp.is_some() && idle {
            return Ok(Action::await_change());
        }
        let (plan, mut blocked) = (decision.plan, decision.blocked);
        let mut performed = Box::pin(perform::perform(self, &policy, resource, decision.act)).await?;
        blocked.append(&mut performed.blocked);
        let Performed { resource, journal, records, events, again, failed, .. } = performed;
        let previous = resource.status.clone().unwrap_or_default();
        let input = report::Input {
            generation: policy.generation,
            snapshot: &snapshot,
            findings: &findings,
            judged: &judged,
            plan: plan.as_ref(),
            blocked: &blocked,
            journal: journal.as_ref(),
            records: &records,
            now: self.clock.now(),
        };
        let status = report::status(&input, &previous);
        self.metrics.set_blocked(&key, blocked.first().map(|first| first.reason.as_str()));
        self.metrics.set_active(&key, journal.as_ref().map(|journal| journal.workload_name.as_str()));
        let since = self.registry.since_written(&policy.uid, self.clock.uptime());
        self.emit(&resource, events, &snapshot).await;
        if report::worth_writing(&previous, &status, since) {
            let mut news = transitions::between(&previous, &status, |pod| carry::is_there(&snapshot, pod));
            if journal.is_some() {
                news.retain(transitions::matters_while_remediating);
            }
            self.emit(&resource, news, &snapshot).await;
            self.write_status(resource, &policy, &status).await?;
        }
        if failed {
            return Ok(Action::requeue(self.pace.failed(&policy.uid, self.clock.uptime())));
        }
        self.pace.through(&policy.uid, again, self.clock.uptime());
        Ok(Action::requeue(again))
    }

    fn input<'a>(
        &self,
        policy: &Policy,
        snapshot: &'a Snapshot,
        (findings, judged): (&'a [FindingStatus], &'a Judged),
        decision: &'a Decision,
        previous: &'a RedisMemoryPolicyStatus,
    ) -> report::Input<'a> {
        report::Input {
            generation: policy.generation,
            snapshot,
            findings,
            judged,
            plan: decision.plan.as_ref(),
            blocked: &decision.blocked,
            journal: previous.journal.as_ref(),
            records: &previous.workloads,
            now: self.clock.now(),
        }
    }

    async fn write_status(
        &self,
        resource: RedisMemoryPolicy,
        policy: &Policy,
        status: &RedisMemoryPolicyStatus,
    ) -> Result<RedisMemoryPolicy, ReconcileError> {
        let part = serde_json::to_value(status).unwrap_or_default();
        let version = resource.resource_version().unwrap_or_default();
        let Executor { writer, fence, .. } = &self.executor;
        let written = writer.apply_status(fence, &policy.namespace, &policy.name, &version, part).await?;
        self.registry.written(&policy.uid, self.clock.uptime());
        Ok(written)
    }

    async fn stalled(
        &self,
        resource: &RedisMemoryPolicy,
        reason: &str,
        message: &str,
    ) -> Result<Action, ReconcileError> {
        let previous = resource.status.clone().unwrap_or_default();
        let generation = resource.metadata.generation.unwrap_or_default();
        let status = report::stalled(reason, message, generation, &previous, self.clock.now());
        if report::worth_writing(&previous, &status, None) {
            let part = serde_json::to_value(&status).unwrap_or_default();
            let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
            let version = resource.resource_version().unwrap_or_default();
            let Executor { writer, fence, .. } = &self.executor;
            writer.apply_status(fence, &namespace, &name, &version, part).await?;
        }
        Ok(Action::requeue(STALLED_AGAIN))
    }

    /// Events are for people: one that cannot be written stops nothing, and slow ones do not wait for each other.
    async fn emit(&self, resource: &RedisMemoryPolicy, events: Vec<Transition>, snapshot: &Snapshot) {
        let Executor { writer, fence, .. } = &self.executor;
        let write = |Transition { pod, note }| async move {
            let mut about = EventTarget::policy(resource);
            if let Some(target) = pod.and_then(|pod| snapshot.target(&pod.into())) {
                about = about.with_pod(&target.pod.name, &target.pod.uid);
            }
            if let Err(error) = writer.event(fence, &about, &note).await {
                tracing::warn!(%error, reason = %note.reason, "an event could not be written");
            }
        };
        stream::iter(events).for_each_concurrent(EVENTS_AT_ONCE, write).await;
    }

    fn overdue_deletion(&self, resource: &RedisMemoryPolicy) -> bool {
        resource.metadata.deletion_timestamp.as_ref().is_some_and(|since| {
            let waited = Duration::try_from(self.clock.now().duration_since(since.0)).unwrap_or_default();
            waited > DELETION_PATIENCE
        })
    }

    /// Takes the finalizer away, if it is there.
    async fn release(&self, resource: RedisMemoryPolicy) -> Result<RedisMemoryPolicy, ReconcileError> {
        let Executor { writer, fence, .. } = &self.executor;
        Ok(super::journal::finalizer(writer, fence, resource, false).await?)
    }

    /// Drops caches, connections and series of policies that no longer exist.
    fn forget_gone(&self) {
        let live: Vec<String> = self.policies.state().iter().filter_map(|policy| policy.uid()).collect();
        self.ledger.retain(|uid| live.iter().any(|known| known == uid));
        for (uid, policy) in self.registry.retain(|uid| live.iter().any(|known| known == uid)) {
            self.observer.sampler.forget(&uid);
            self.pace.forget(&uid);
            self.metrics.forget(&PolicyKey::new(policy.namespace.unwrap_or_default(), policy.name));
        }
    }
}
