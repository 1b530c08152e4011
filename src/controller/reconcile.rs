//! One reconcile: resolve → observe (reads) → decide (pure) → perform (writes) → report (writes).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use jiff::SignedDuration;
use kube::{Resource as _, ResourceExt as _};

use super::{
    carry, claims, conditions, ledger, ownership,
    perform::{self, Performed},
    ports::{Freshness, Policies as _, PolicyVersion, Watched, World},
    registry::Guarded,
    report,
    resolve::{Problem, Resolved, resolve},
    shared::{ReconcileError, Shared},
    transitions::{self, Transition},
};
use crate::{
    api::v1alpha1::{FINALIZER, FindingStatus, RedisMemoryPolicy, RedisMemoryPolicyStatus},
    assess::{self, judged::Judged},
    clock::Time as _,
    domain::{
        blocked::BlockReason,
        policy::Policy,
        snapshot::Snapshot,
        surroundings::{Elsewhere, Reach, Surroundings},
    },
    kube_io::{cache::Seen, event::EventTarget, write::WriteError},
    metrics::PolicyKey,
    observe::snapshot::Claim,
    plan::{
        Context,
        decide::{self, Decision},
        gates, in_place,
        next::Next,
        promise,
    },
    validate,
};

/// The pod cache has not been filled yet; it wakes when it has.
const CACHE_AGAIN: Duration = Duration::from_secs(5);
/// Events that are being written at the same time.
const EVENTS_AT_ONCE: usize = 8;
/// A deletion is let through after this long, whatever is unfinished (it must be through within 30 s). Counted from when
/// it was first seen: another machine's clock says nothing.
pub(super) const DELETION_PATIENCE: Duration = Duration::from_secs(20);
/// What is being deleted is looked at this often.
pub(super) const DELETING_AGAIN: Duration = Duration::from_secs(5);
/// So old may be what is known of volumes and nodes while nothing is begun: a live look reads it again.
const VOLUMES_BELIEVED: Duration = Duration::from_secs(60);
/// A policy without pods and with nothing to do.
const NOTHING_AGAIN: Duration = Duration::from_secs(600);
/// A watch that has failed for so long is said in the status.
const WATCH_PATIENCE: Duration = Duration::from_secs(60);

/// Reconciles one policy. When it is looked at again; `None`: when something changes.
pub async fn reconcile<W: World>(
    stored: Arc<Guarded>,
    shared: Arc<Shared<W>>,
) -> Result<Option<Duration>, ReconcileError> {
    if shared.ledger.freed(&shared.stored_remediations()) {
        shared.world.wake_waiting();
    }
    Box::pin(shared.look(&stored)).await
}

/// What was observed and decided, and from which version of the resource.
struct Turn {
    resource: RedisMemoryPolicy,
    policy: Arc<Policy>,
    snapshot: Snapshot,
    decision: Decision,
    problem: Option<Problem>,
}

/// What came of observing.
enum Looked {
    /// A decision.
    Decided(Box<Turn>),
    /// The policy is gone.
    Gone,
    /// Its journal is not ours; look again after this time.
    NotOurs(Duration),
}

impl<W: World> Shared<W> {
    /// Deletion comes first, then the remediation under way, under its own spec if need be, and then the spec. `None`: not
    /// looked at again before something changes.
    pub(super) async fn look(&self, stored: &Guarded) -> Result<Option<Duration>, ReconcileError> {
        let resolved = resolve(stored);
        if stored.meta().deletion_timestamp.is_none() {
            return match resolved {
                Ok(resolved) => Box::pin(self.reconcile(resolved)).await,
                Err(problem) => self.stalled(stored, &problem).await.map(Some),
            };
        }
        let ours = stored.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
        let waited = self.memory.deleting_for(&stored.uid().unwrap_or_default(), self.time().uptime());
        if let (true, true, Ok(resolved)) = (ours, waited <= DELETION_PATIENCE, resolved) {
            let again = Box::pin(self.reconcile(resolved)).await?;
            return Ok(again.map(|again| again.min(DELETING_AGAIN)));
        }
        // Nothing of ours is under way, or nothing can be done about it any more.
        self.let_go(stored).await?;
        self.forget(stored);
        Ok(None)
    }

    async fn reconcile(&self, resolved: Resolved) -> Result<Option<Duration>, ReconcileError> {
        let Resolved { resource, policy, mut problem } = resolved;
        let selector = validate::selector_string(&resource.spec.selector);
        let now = self.time().uptime();
        let watched = self.world.watched(&policy, &resource.spec.selector, &selector, now);
        let failing = watched.pods.failing.clone();
        let at_most = if failing.is_some() { WATCH_PATIENCE } else { Duration::MAX };
        let failing_for = self.memory.failing_for(&policy.uid, failing.is_some(), now);
        if !watched.pods.synced && resource.status.as_ref().is_none_or(|status| status.journal.is_none()) {
            return match failing {
                Some(failure) if failure.forbidden => {
                    let problem = Problem::new("ReadingRightsMissing", failure.text);
                    self.cannot_be_evaluated(&resource, &problem).await.map(Some)
                }
                _ => Ok(Some(CACHE_AGAIN)),
            };
        }
        if let (Some(failure), true) = (failing, failing_for >= WATCH_PATIENCE) {
            let text = format!("the pods have not been watched for {} s: {}", failing_for.as_secs(), failure.text);
            problem.get_or_insert_with(|| Problem::new("WatchFailing", text));
        }
        match Box::pin(self.decide(resource, policy, &selector, &watched, problem)).await? {
            Looked::Decided(turn) => {
                let again = Box::pin(self.act_and_report(*turn)).await?;
                Ok(again.map(|again| again.min(at_most)))
            }
            Looked::Gone => Ok(None),
            Looked::NotOurs(again) => Ok(Some(again)),
        }
    }

    /// Observes and decides: from caches first, and live when something is to be done.
    async fn decide(
        &self,
        resource: RedisMemoryPolicy,
        policy: Arc<Policy>,
        selector: &str,
        watched: &Watched,
        problem: Option<Problem>,
    ) -> Result<Looked, ReconcileError> {
        let Watched { pods: Seen { pods, shared_with, .. }, .. } = watched;
        let others = self.world.rivals(&policy.namespace, shared_with);
        let claims = claims::of_others(&resource, others.iter().filter_map(|other| other.policy()), pods);
        // A slot without a journal: its write failed, or was not seen to succeed. Only a live look can tell.
        let active = resource.status.as_ref().is_some_and(|status| status.journal.is_some() || carry::asks(status))
            || self.ledger.holds(&policy.uid);
        if !active && resource.metadata.deletion_timestamp.is_none() {
            let snapshot = self.world.cached(&policy, watched, &claims, self.settings.assess).await?;
            let reach = self.world.reach(Freshness::Lately);
            let snapshot = Snapshot { surroundings: self.surroundings(&resource, reach), ..snapshot };
            let snapshot = self.with_volumes(&resource, &policy, snapshot, VOLUMES_BELIEVED).await;
            let decision = self.decision(&resource, &policy, &snapshot, false);
            if decision.act != Next::LookLive {
                return Ok(Looked::Decided(Box::new(Turn { resource, policy, snapshot, decision, problem })));
            }
        }
        Box::pin(self.decide_live(&resource, selector, &claims, problem)).await
    }

    /// The resource, the pods and every Redis as they are now; only from this is anything changed.
    async fn decide_live(
        &self,
        seen: &RedisMemoryPolicy,
        selector: &str,
        claims: &[Claim],
        seen_problem: Option<Problem>,
    ) -> Result<Looked, ReconcileError> {
        let namespace = seen.namespace().unwrap_or_default();
        let Some(stored) = self.executor.ports.policy(&namespace, &seen.name_any()).await? else {
            return Ok(Looked::Gone);
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
            return Ok(Looked::NotOurs(again));
        }
        // Reconciles of one policy never overlap: without a journal now, none is being written.
        if resource.status.as_ref().is_none_or(|status| status.journal.is_none()) {
            self.ledger.release(&policy.uid);
        }
        let snapshot = self.world.live(&policy, selector, claims, self.settings.assess).await?;
        let reach = self.world.reach(Freshness::Now);
        let snapshot = Snapshot { surroundings: self.surroundings(&resource, reach), ..snapshot };
        let snapshot = self.with_volumes(&resource, &policy, snapshot, Duration::ZERO).await;
        let decision = self.decision(&resource, &policy, &snapshot, true);
        let problem = problem.or(seen_problem);
        Ok(Looked::Decided(Box::new(Turn { resource, policy, snapshot, decision, problem })))
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
            elsewhere: self.ledger.others(&own, &self.stored_remediations()),
            maximum_remediations: self.limits.remediations,
            restarts_last_hour: self.ledger.restarts_last_hour(&self.stored_restarts(resource), now),
            maximum_restarts_per_hour: self.limits.restarts_per_hour,
            reach,
            stored: resource.status.as_ref().map(RedisMemoryPolicyStatus::shards).unwrap_or_default(),
            left_alone: self.reverts.left_alone(now),
        }
    }

    /// The remediations of all policies, by their journals.
    pub(super) fn stored_remediations(&self) -> BTreeMap<String, Elsewhere> {
        self.world.remediations()
    }

    /// The restarts of all policies, that policy's by what was just read of it.
    pub(super) fn stored_restarts(&self, resource: &RedisMemoryPolicy) -> Vec<ledger::Restart> {
        let (now, hour) = (self.time().now(), SignedDuration::try_from(ledger::HOUR).unwrap_or_default());
        let policies = self.world.restarted_within(hour, now);
        let others = policies.iter().filter_map(|policy| policy.policy());
        let others = others.filter(|other| other.uid() != resource.uid());
        ledger::restarts(others.chain([resource]), now)
    }

    /// With what is behind the claims of primaries that are to be restarted in place; elsewhere nothing is read for it.
    async fn with_volumes(
        &self,
        resource: &RedisMemoryPolicy,
        policy: &Policy,
        snapshot: Snapshot,
        age: Duration,
    ) -> Snapshot {
        let none = RedisMemoryPolicyStatus::default();
        let status = resource.status.as_ref().unwrap_or(&none);
        let (records, now) = (&status.workloads, self.time().now());
        let ctx = Context::of(policy, &snapshot, records, now, &self.settings);
        let ahead = in_place::ahead(&ctx, status.journal.as_ref());
        if ahead.is_empty() {
            return snapshot;
        }
        let volumes = self.world.volumes(&policy.namespace, &snapshot, &ahead, age).await;
        Snapshot { volumes, ..snapshot }
    }

    fn decision(&self, resource: &RedisMemoryPolicy, policy: &Policy, snapshot: &Snapshot, live: bool) -> Decision {
        let none = RedisMemoryPolicyStatus::default();
        let status = resource.status.as_ref().unwrap_or(&none);
        let now = self.time().now();
        let ctx = Context::of(policy, snapshot, &status.workloads, now, &self.settings);
        let deleting = resource.metadata.deletion_timestamp.is_some();
        decide::decide(&ctx, status.journal.as_ref(), deleting, live)
    }

    async fn act_and_report(&self, turn: Turn) -> Result<Option<Duration>, ReconcileError> {
        let Turn { resource, policy, snapshot, decision, problem } = turn;
        let previous = resource.status.clone().unwrap_or_default();
        // The decision stands on what was seen; people are told of it when it has settled.
        let snapshot = self.world.settled(&policy, &snapshot);
        let (records, now) = (&previous.workloads, self.time().now());
        let ctx = Context::of(&policy, &snapshot, records, now, &self.settings);
        let findings = promise::findings(&ctx, previous.journal.as_ref(), &decision);
        let judged = Judged::of(&ctx.look);
        let findings = carry::findings(&findings, &judged, &snapshot, &previous);
        let key = PolicyKey::new(&policy.namespace, &policy.name);
        self.world.show(&policy, &snapshot, &findings, &judged);
        // A plan is shown before it is carried out.
        let resource = match &decision.act {
            Next::Begin(_) => {
                if let Some(left) = self.memory.pause(&policy.uid, self.time().uptime()) {
                    return Ok(Some(left));
                }
                let input = self.input(&policy, &snapshot, (&findings, &judged), &decision, &previous);
                let status = self.status(&input, &previous, problem.as_ref());
                let said = self.memory.written(&policy.uid).unwrap_or_else(|| previous.clone());
                let written = self.write_status(&resource, &status).await?;
                self.news(&written, &said, &status, &snapshot, false).await;
                written
            }
            _ => resource,
        };
        // The finalizer belongs to a remediation: one that was set just before a crash, without its journal, goes.
        let idle = previous.journal.is_none() && !matches!(decision.act, Next::Begin(_));
        let resource = if idle { self.release(resource).await? } else { self.beat(resource).await? };
        if resource.metadata.deletion_timestamp.is_some() && idle {
            return Ok(None);
        }
        let resting = decision.act == Next::Rest;
        let (plan, mut blocked) = (decision.plan, decision.blocked);
        let mut performed = Box::pin(perform::perform(self, &policy, resource, decision.act, &snapshot)).await?;
        blocked.append(&mut performed.blocked);
        if blocked.iter().any(|one| one.reason == BlockReason::PrimaryEmpty) {
            self.ledger.release(&policy.uid);
        }
        self.world.waits(&policy.uid, blocked.iter().any(|one| one.reason == BlockReason::ClusterBudget));
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
            now: self.time().now(),
        };
        let status = self.status(&input, &previous, problem.as_ref());
        self.metrics.set_blocked(&key, blocked.first().map(|first| first.reason.as_str()));
        self.metrics.set_active(&key, journal.as_ref().map(|journal| journal.workload_name.as_str()));
        let later = self.tell(&resource, &previous, &status, &snapshot, events).await?;
        if failed {
            return Ok(Some(self.pace.failed(&policy.uid, self.time().uptime())));
        }
        let again = if journal.is_some() { again.min(ownership::HEARTBEAT) } else { again };
        // Without pods nothing changes by itself: a pod that comes wakes.
        let again = if resting && snapshot.targets.is_empty() { again.max(NOTHING_AGAIN) } else { again };
        self.pace.through(&policy.uid, again, self.time().uptime());
        let again = later.map_or(again, |later| again.min(later));
        self.memory.look_again(&policy.uid, again, self.time().uptime());
        Ok(Some(again))
    }

    /// Writes the status if it is news, and then the events: of what was done, whatever came of the write, and of what
    /// was written. What is left of the pause between two writes, if one is on: then nothing new is written or said.
    pub(super) async fn tell(
        &self,
        resource: &RedisMemoryPolicy,
        previous: &RedisMemoryPolicyStatus,
        status: &RedisMemoryPolicyStatus,
        snapshot: &Snapshot,
        done: Vec<Transition>,
    ) -> Result<Option<Duration>, ReconcileError> {
        let (uid, now) = (resource.uid().unwrap_or_default(), self.time().uptime());
        let worth = report::worth_writing(previous, status, self.world.since_written(&uid, now));
        let pause = if worth { self.memory.pause(&uid, now) } else { None };
        let said = self.memory.written(&uid).unwrap_or_else(|| previous.clone());
        let written = if worth && pause.is_none() { Some(self.write_status(resource, status).await) } else { None };
        self.emit(resource, done, Some(snapshot)).await;
        if let Some(written) = written {
            let written = written?;
            self.news(&written, &said, status, snapshot, previous.journal.is_some()).await;
        }
        Ok(pause)
    }

    /// Events of what was written and was not before.
    async fn news(
        &self,
        resource: &RedisMemoryPolicy,
        before: &RedisMemoryPolicyStatus,
        status: &RedisMemoryPolicyStatus,
        snapshot: &Snapshot,
        remediating: bool,
    ) {
        let mut news = transitions::between(before, status, |pod| carry::is_there(snapshot, pod));
        if remediating {
            news.retain(transitions::matters_while_remediating);
        }
        self.emit(resource, news, Some(snapshot)).await;
    }

    /// The status as it is written: with who writes it, and what keeps the spec from being used.
    fn status(
        &self,
        input: &report::Input<'_>,
        previous: &RedisMemoryPolicyStatus,
        problem: Option<&Problem>,
    ) -> RedisMemoryPolicyStatus {
        let mut status = report::status(input, previous);
        status.operator = Some(self.install.clone());
        if let Some(Problem { reason, text }) = problem {
            for (kind, holds) in [("Ready", false), ("Stalled", true)] {
                let earlier = previous.conditions.iter().find(|it| it.type_ == kind).cloned();
                if let (Some(earlier), Some(new)) = (earlier, status.conditions.iter_mut().find(|it| it.type_ == kind))
                {
                    *new = earlier;
                }
                conditions::replace(&mut status.conditions, kind, (holds, reason, text), input.generation, input.now);
            }
        }
        status
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
            now: self.time().now(),
        }
    }

    pub(super) async fn write_status(
        &self,
        resource: &RedisMemoryPolicy,
        status: &RedisMemoryPolicyStatus,
    ) -> Result<RedisMemoryPolicy, ReconcileError> {
        let part = serde_json::to_value(status).unwrap_or_default();
        let of = PolicyVersion::of(&resource.metadata);
        let written = self.executor.ports.apply_status(of, part).await?.under(&resource.spec);
        let (uid, now) = (resource.uid().unwrap_or_default(), self.time().uptime());
        let before = resource.status.clone().unwrap_or_default();
        self.memory.wrote(&uid, &before, written.status.clone().unwrap_or_default(), now);
        self.world.written(&uid, now);
        Ok(written)
    }

    /// Events are for people: one that cannot be written stops nothing, and slow ones do not wait for each other.
    async fn emit(&self, resource: &RedisMemoryPolicy, events: Vec<Transition>, snapshot: Option<&Snapshot>) {
        let ports = &self.executor.ports;
        let (uid, now) = (resource.uid().unwrap_or_default(), self.time().uptime());
        let write = |Transition { pod, note }| async move {
            let mut about = EventTarget::policy(resource);
            if let Some(target) = pod.and_then(|pod| snapshot?.target(&pod.into())) {
                about = about.with_pod(&target.pod.name, &target.pod.uid);
            }
            if let Err(error) = ports.event(&about, &note).await {
                tracing::warn!(%error, reason = %note.reason, "an event could not be written");
            }
        };
        let total = events.len();
        let allowed: Vec<Transition> = events.into_iter().filter(|_| self.memory.may_say(&uid, now)).collect();
        if allowed.len() < total {
            let (policy, unsaid) = (resource.name_any(), total - allowed.len());
            tracing::warn!(%policy, unsaid, "too many events of this policy: see its status");
        }
        stream::iter(allowed).for_each_concurrent(EVENTS_AT_ONCE, write).await;
    }

    /// Events that concern no pod.
    pub(super) async fn say(&self, resource: &RedisMemoryPolicy, events: Vec<Transition>) {
        self.emit(resource, events, None).await;
    }

    /// Takes the finalizer away, if it is there.
    async fn release(&self, resource: RedisMemoryPolicy) -> Result<RedisMemoryPolicy, ReconcileError> {
        Ok(super::journal::finalizer(&self.executor.ports, resource, false).await?)
    }
}
