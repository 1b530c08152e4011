//! What is written of a reconcile for people: the status if it is news, and events.

use std::{
    ops::ControlFlow::{self, Break, Continue},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream};
use kube::ResourceExt as _;

use super::{
    memory::Stage,
    perform::Performed,
    ports::{Policies as _, PolicyVersion, World},
    reconciler::{ReconcileError, Reconciler},
    series,
};
use crate::{
    api::v1alpha1::{FindingStatus, RedisMemoryPolicy, RedisMemoryPolicyStatus},
    assess::{judged::Judged, nodes, oom},
    clock::Time as _,
    domain::{oom::PodKills, policy::Policy, snapshot::Snapshot},
    kube_io::event::EventTarget,
    metrics::PolicyKey,
    plan::decide::Decision,
    report::{
        self, findings,
        sets::SetSeen,
        transitions::{self, Transition},
    },
    validate::resolve::Problem,
};

/// Events that are being written at the same time.
const EVENTS_AT_ONCE: usize = 8;

/// What people are told of a look, whatever comes of the decision.
pub(super) struct Told {
    /// The policy.
    pub(super) policy: Arc<Policy>,
    /// What was observed, settled.
    pub(super) snapshot: Snapshot,
    /// The sets that were seen.
    pub(super) sets: Vec<SetSeen>,
    /// What is found, now or earlier.
    pub(super) findings: Vec<FindingStatus>,
    /// What could be judged.
    pub(super) judged: Judged,
    /// Kills by the kernel that nobody has taken note of.
    pub(super) kills: Vec<PodKills>,
    /// What keeps the spec from being used.
    pub(super) problem: Option<Problem>,
}

impl<W: World> Reconciler<W> {
    /// Shows a plan before it is carried out; `Break`: what is left of the pause between two writes.
    pub(super) async fn announce(
        &self,
        resource: &RedisMemoryPolicy,
        told: &Told,
        decision: &Decision,
    ) -> Result<ControlFlow<Duration, RedisMemoryPolicy>, ReconcileError> {
        if let Some(left) = self.memory.pause(&told.policy.uid, self.time().uptime()) {
            return Ok(Break(left));
        }
        let previous = resource.status.clone().unwrap_or_default();
        let input = report::Input {
            plan: decision.plan.as_ref(),
            blocked: &decision.blocked,
            journal: previous.journal.as_ref(),
            records: &previous.workloads,
            ..self.input(told)
        };
        let status = self.status(&input, &previous, told.problem.as_ref());
        let said = self.memory.written(&told.policy.uid).unwrap_or_else(|| previous.clone());
        let written = self.write_status(resource, &status).await?;
        self.news(&written, &said, &status, &told.snapshot, false).await;
        Ok(Continue(written))
    }

    /// Tells what came of a decision. What is left of the pause between two writes, if one is on.
    pub(super) async fn tell_performed(
        &self,
        told: &Told,
        performed: Performed,
    ) -> Result<Option<Duration>, ReconcileError> {
        let Performed { resource, journal, records, plan, blocked, events, .. } = performed;
        let previous = resource.status.clone().unwrap_or_default();
        let input = report::Input {
            plan: plan.as_ref(),
            blocked: &blocked,
            journal: journal.as_ref(),
            records: &records,
            ..self.input(told)
        };
        let status = self.status(&input, &previous, told.problem.as_ref());
        let key = PolicyKey::new(&told.policy.namespace, &told.policy.name);
        self.metrics.publish_policy(&key, series::of_policy(&status, &told.findings, &records));
        self.metrics.set_blocked(&key, blocked.first().map(|first| first.reason.as_str()));
        self.metrics.set_active(&key, journal.as_ref().map(|journal| journal.workload_name.as_str()));
        self.metrics.set_write_gaps(&key, series::write_gaps(plan.as_ref(), &records));
        self.tell(&resource, &previous, &status, &told.snapshot, events).await
    }

    /// What does not depend on the decision.
    fn input<'a>(&self, told: &'a Told) -> report::Input<'a> {
        report::Input {
            policy: &told.policy,
            generation: told.policy.generation,
            sets: &told.sets,
            snapshot: &told.snapshot,
            findings: &told.findings,
            judged: &told.judged,
            kills: &told.kills,
            plan: None,
            blocked: &[],
            journal: None,
            records: &[],
            now: self.time().now(),
        }
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
        let stage = Stage::of(status, previous.journal.as_ref());
        let pause = if worth { self.memory.pause_of_news(&uid, &stage, now) } else { None };
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
        let is_there = |pod: &str| findings::is_there(snapshot, pod);
        let mut news = transitions::between(before, status, is_there, |code| nodes::unseen(code, snapshot));
        if remediating {
            news.retain(transitions::matters_while_remediating);
        }
        let news = self.memory.to_tell(&resource.uid().unwrap_or_default(), news, self.time().uptime());
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
            report::spec_not_used(&mut status, previous, (reason, text), input.generation, input.now);
        }
        status
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
        let (before, after) = (resource.status.clone().unwrap_or_default(), written.status.clone().unwrap_or_default());
        // A limit is raised as soon as it is seen to be stored that the kernel killed a server that loads.
        if oom::rescues(&before.oom_kills) == oom::rescues(&after.oom_kills) {
            self.memory.made(&uid, written.resource_version());
        }
        self.memory.wrote(&uid, &before, after, now);
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
}
