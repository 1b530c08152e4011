//! Carries a decision out: journal first, then the effect, then events. What came of it goes back to the pipeline.

use std::time::Duration;

use super::{
    journal,
    ports::World,
    reconciler::{ReconcileError, Reconciler},
    series,
};
use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    domain::{
        blocked::{BlockReason, Blocked},
        event::EventType,
        journal::{Journal, Outcome, WorkloadRecord},
        policy::Policy,
        request::AnsweredRequest,
        snapshot::Snapshot,
        step::{Plan, Step},
        surroundings::Elsewhere,
    },
    execute::{
        crash::{Boundary, Moment, Place},
        ports::Ports as _,
    },
    metrics::PolicyKey,
    plan::next::Next,
    report::transitions::{Transition, event},
};

mod counted;
mod effect;
mod outcome;

/// At rest: how soon to look at a policy again although nothing woke us.
const REST: Duration = Duration::from_secs(60);
/// After something was done: look again at once.
pub(super) const AT_ONCE: Duration = Duration::from_millis(50);
/// An eviction was accepted: the pod needs a moment to go.
const AFTER_EVICTION: Duration = Duration::from_millis(500);
/// A budget says no, or a switchover did not come about.
const LATER: Duration = Duration::from_secs(10);

/// What came of a decision.
#[derive(Debug)]
pub(super) struct Performed {
    /// The resource after the last write.
    pub(super) resource: RedisMemoryPolicy,
    /// The journal that now stands.
    pub(super) journal: Option<Journal>,
    /// The records that now stand.
    pub(super) records: Vec<WorkloadRecord>,
    /// The plan that is due or under way.
    pub(super) plan: Option<Plan>,
    /// What is in the way.
    pub(super) blocked: Vec<Blocked>,
    /// Events to write.
    pub(super) events: Vec<Transition>,
    /// When to look again.
    pub(super) again: Duration,
    /// Another writer came first, or it could not be done: look again by [`Backoff`](super::backoff::Backoff).
    pub(super) failed: bool,
}

impl Performed {
    fn nothing(resource: RedisMemoryPolicy, again: Duration) -> Self {
        let status = resource.status.clone().unwrap_or_default();
        Self {
            resource,
            journal: status.journal,
            records: status.workloads,
            plan: None,
            blocked: Vec::new(),
            events: Vec::new(),
            again,
            failed: false,
        }
    }

    fn say(&mut self, kind: EventType, reason: &str, action: &str, note: String, pod: Option<String>) {
        self.events.push(event(kind, reason, action, note, pod));
    }
}

/// Carries out what was decided.
pub(super) async fn perform<W: World>(
    reconciler: &Reconciler<W>,
    policy: &Policy,
    resource: RedisMemoryPolicy,
    act: Next,
    snapshot: &Snapshot,
) -> Result<Performed, ReconcileError> {
    match act {
        Next::Rest | Next::LookLive => Ok(Performed::nothing(resource, REST)),
        Next::Wait(why, after) => {
            tracing::debug!(policy = %policy.name, namespace = %policy.namespace, %why, "waiting");
            Ok(Performed::nothing(resource, after))
        }
        Next::Remember(records) => remember(reconciler, policy, resource, records).await,
        Next::Answer(refusal) => answer(reconciler, resource, refusal).await,
        Next::Upkeep(effects) => Box::pin(effect::upkeep(reconciler, policy, resource, effects, snapshot)).await,
        Next::Begin(journal) => Box::pin(begin(reconciler, policy, resource, *journal)).await,
        Next::Record(journal) => {
            let before = resource.status.as_ref().and_then(|status| status.journal.as_ref());
            let gain = series::reclaimed(before, &journal);
            let performed = arrive(reconciler, resource, *journal).await?;
            // Counted when it is written: what is not is proven once more.
            if gain > 0 {
                reconciler.metrics.reclaimed(&PolicyKey::new(&policy.namespace, &policy.name), gain);
            }
            Ok(performed)
        }
        Next::Act(journal, due) => Box::pin(effect::step(reconciler, policy, resource, *journal, &due)).await,
        Next::End(record) => Box::pin(end(reconciler, policy, resource, *record)).await,
        Next::Gate(blocked, after) => {
            let why = blocked.iter().map(|one| one.reason.as_str()).collect::<Vec<_>>().join(", ");
            tracing::debug!(policy = %policy.name, namespace = %policy.namespace, %why, "waiting at a gate");
            Ok(Performed::nothing(resource, after))
        }
    }
}

async fn begin<W: World>(
    reconciler: &Reconciler<W>,
    policy: &Policy,
    resource: RedisMemoryPolicy,
    mut journal: Journal,
) -> Result<Performed, ReconcileError> {
    let mine = Elsewhere { policy: format!("{}/{}", policy.namespace, policy.name), shard: journal.shard.clone() };
    let most = reconciler.limits.remediations;
    if !reconciler.cluster_budget.take(&policy.uid, mine, &reconciler.stored_remediations(), most) {
        let mut performed = Performed::nothing(resource, LATER);
        let text = format!("another remediation has just begun; at most {most} at once in the cluster");
        performed.blocked.push(Blocked::new(BlockReason::ClusterBudget, text));
        return Ok(performed);
    }
    // What was announced is what is done: the reasons that the status shows for this plan are kept.
    if let Some(shown) = resource.status.as_ref().and_then(|status| status.plan.as_ref())
        && shown.hash == journal.plan_hash
    {
        journal.steps.clone_from(&shown.steps);
    }
    let records = resource.status.clone().unwrap_or_default().workloads;
    let ports = &reconciler.executor.ports;
    ports.reached(Place::BeginShown.into()).await;
    let resource = journal::finalizer(ports, resource, true).await?;
    ports.reached(Place::BeginFinalizer.into()).await;
    let resource = journal::write(reconciler, &resource, Some(&journal), &records).await?;
    ports.reached(Place::BeginJournal.into()).await;
    tracing::info!(
        policy = %policy.name, namespace = %policy.namespace, remediation = %journal.id, steps = journal.steps.len(),
        "remediation begins"
    );
    let note = format!("{} of {}: {} steps", journal.id, journal.workload_name, journal.steps.len());
    let mut performed = Performed { journal: Some(journal), ..Performed::nothing(resource, AT_ONCE) };
    performed.say(EventType::Normal, "RemediationStarted", "Plan", note, None);
    Ok(performed)
}

/// Writes the records, with the journal that stands.
async fn remember<W: World>(
    reconciler: &Reconciler<W>,
    policy: &Policy,
    resource: RedisMemoryPolicy,
    records: Vec<WorkloadRecord>,
) -> Result<Performed, ReconcileError> {
    let journal = resource.status.as_ref().and_then(|status| status.journal.clone());
    let records = journal::bounded(records);
    let resource = journal::write(reconciler, &resource, journal.as_ref(), &records).await?;
    for record in &records {
        if let Some(mark) = &record.several_primaries {
            tracing::warn!(
                policy = %policy.name, namespace = %policy.namespace, workload = %record.name,
                who = %mark.who_is_who(), "several primaries"
            );
        }
    }
    Ok(Performed::nothing(resource, AT_ONCE))
}

/// Writes that the next step is under way.
async fn arrive<W: World>(
    reconciler: &Reconciler<W>,
    resource: RedisMemoryPolicy,
    journal: Journal,
) -> Result<Performed, ReconcileError> {
    let (ports, kind) = (&reconciler.executor.ports, journal.step().map(Step::kind));
    if let Some(kind) = kind {
        ports.reached(Boundary::Step(kind, Moment::BeforeArrival)).await;
    }
    let performed = record(reconciler, resource, journal).await?;
    if let Some(kind) = kind {
        ports.reached(Boundary::Step(kind, Moment::AfterArrival)).await;
    }
    Ok(performed)
}

async fn record<W: World>(
    reconciler: &Reconciler<W>,
    resource: RedisMemoryPolicy,
    journal: Journal,
) -> Result<Performed, ReconcileError> {
    let records = resource.status.clone().unwrap_or_default().workloads;
    let resource = journal::write(reconciler, &resource, Some(&journal), &records).await?;
    Ok(Performed { journal: Some(journal), ..Performed::nothing(resource, AT_ONCE) })
}

async fn end<W: World>(
    reconciler: &Reconciler<W>,
    policy: &Policy,
    resource: RedisMemoryPolicy,
    record: WorkloadRecord,
) -> Result<Performed, ReconcileError> {
    let before = resource.status.clone().unwrap_or_default();
    let records = journal::with_record(&before.workloads, record.clone());
    let outcome = record.outcome.map_or("Ended", Outcome::as_str);
    let asked = before.journal.and_then(|journal| journal.request);
    let answer = asked.map(|id| AnsweredRequest::new(&id, outcome, &record.message, record.ended_at));
    let ports = &reconciler.executor.ports;
    ports.reached(Place::EndDue.into()).await;
    // The journal goes and the request that it carried out is answered in one write: it is begun no second time.
    let answered = answer.as_ref().or(before.request.as_ref());
    let resource = journal::write_answered(reconciler, &resource, None, &records, answered).await?;
    ports.reached(Place::EndRecorded.into()).await;
    reconciler.cluster_budget.release(&policy.uid);
    let resource = journal::finalizer(ports, resource, false).await?;
    ports.reached(Place::EndReleased.into()).await;
    tracing::info!(
        policy = %policy.name, namespace = %policy.namespace, remediation = %record.remediation, outcome,
        message = %record.message, "remediation ended"
    );
    if let Some(outcome) = record.outcome {
        reconciler.metrics.remediation_ended(outcome);
    }
    let mut performed = Performed { journal: None, records, ..Performed::nothing(resource, AT_ONCE) };
    // A pause is what people asked for.
    let expected = matches!(record.outcome, Some(Outcome::Succeeded | Outcome::WindowClosed | Outcome::Paused));
    let kind = if expected { EventType::Normal } else { EventType::Warning };
    let reason = format!("Remediation{outcome}");
    performed.say(kind, &reason, "Plan", format!("{}: {}", record.name, record.message), None);
    if let Some(answer) = answer {
        performed.say(kind, "RequestAnswered", "Plan", format!("{outcome}: {}", answer.message), None);
    }
    Ok(performed)
}

/// Writes that what a person asked for is not carried out, and why.
async fn answer<W: World>(
    reconciler: &Reconciler<W>,
    resource: RedisMemoryPolicy,
    answer: AnsweredRequest,
) -> Result<Performed, ReconcileError> {
    let records = resource.status.clone().unwrap_or_default().workloads;
    let resource = journal::write_answered(reconciler, &resource, None, &records, Some(&answer)).await?;
    tracing::info!(policy = ?resource.metadata.name, namespace = ?resource.metadata.namespace, why = %answer.message, "request refused");
    let mut performed = Performed::nothing(resource, AT_ONCE);
    performed.say(EventType::Warning, "RequestRefused", "Plan", answer.message, None);
    Ok(performed)
}
