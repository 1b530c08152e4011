//! Carries a decision out: journal first, then the effect, then events. What came of it goes back to the pipeline.

use std::{fmt::Write as _, time::Duration};

use super::{
    journal,
    ledger::Restart,
    ports::World,
    shared::{ReconcileError, Shared},
    transitions::{Transition, event},
};
use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    clock::Time as _,
    domain::{
        blocked::{BlockReason, Blocked},
        journal::{Journal, Outcome, WorkloadRecord},
        policy::Policy,
        snapshot::Snapshot,
        step::{PlannedStep, Step},
        surroundings::Elsewhere,
    },
    execute::{
        Done, ExecuteError,
        crash::{Boundary, Moment, Place},
        ports::Ports as _,
    },
    kube_io::{
        event::EventType,
        write::{EvictError, WriteError},
    },
    plan::{
        effect::{Effect, Words},
        next::Next,
    },
};

/// At rest: how often a policy is looked at although nothing woke us.
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
    /// What turned out to be in the way.
    pub(super) blocked: Vec<Blocked>,
    /// Events to write.
    pub(super) events: Vec<Transition>,
    /// When to look again.
    pub(super) again: Duration,
    /// Another writer came first, or it could not be done: look again by [`Pace`](super::pace::Pace).
    pub(super) failed: bool,
}

impl Performed {
    fn nothing(resource: RedisMemoryPolicy, again: Duration) -> Self {
        let status = resource.status.clone().unwrap_or_default();
        Self {
            resource,
            journal: status.journal,
            records: status.workloads,
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
    shared: &Shared<W>,
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
        Next::Remember(records) => remember(shared, policy, resource, records).await,
        Next::Upkeep(effects) => Box::pin(upkeep(shared, policy, resource, effects, snapshot)).await,
        Next::Begin(journal) => Box::pin(begin(shared, policy, resource, *journal)).await,
        Next::Record(journal) => arrive(shared, resource, *journal).await,
        Next::Act(journal, effect) => Box::pin(step(shared, policy, resource, *journal, &effect)).await,
        Next::End(record) => Box::pin(end(shared, policy, resource, *record)).await,
        Next::Gate(blocked, after) => {
            let why = blocked.iter().map(|one| one.reason.as_str()).collect::<Vec<_>>().join(", ");
            tracing::debug!(policy = %policy.name, namespace = %policy.namespace, %why, "waiting at a gate");
            Ok(Performed::nothing(resource, after))
        }
    }
}

async fn upkeep<W: World>(
    shared: &Shared<W>,
    policy: &Policy,
    resource: RedisMemoryPolicy,
    effects: Vec<(Effect, String)>,
    snapshot: &Snapshot,
) -> Result<Performed, ReconcileError> {
    let mut performed = Performed::nothing(resource, AT_ONCE);
    for (effect, reason) in effects {
        let now = shared.time().now();
        // Who sets it back again and again wins: the next look knows, and says so.
        if !shared.reverts.may(&effect, snapshot, now) {
            continue;
        }
        match shared.executor.carry_out(policy, &effect, None).await {
            Ok(_) => {
                shared.reverts.made(&effect, now);
                let Words { event, action, pod } = effect.words();
                tracing::info!(policy = %policy.name, namespace = %policy.namespace, %pod, %reason, "{event}");
                performed.say(EventType::Normal, event, action, format!("{pod}: {reason}"), Some(pod.to_string()));
            }
            // Another writer came first: what is true now is looked at again.
            Err(ExecuteError::Write {
                source: WriteError::Conflict(_) | WriteError::Gone(_) | WriteError::UidChanged(_),
                ..
            }) => performed.failed = true,
            Err(error @ ExecuteError::Fenced(_)) => return Err(error.into()),
            Err(error) => {
                let pod = effect.words().pod;
                tracing::warn!(policy = %policy.name, namespace = %policy.namespace, %pod, %error, "upkeep failed");
                // A label that is refused must not keep a remediation from its end; of limits a quota may let go any time.
                if let (Effect::Label { .. }, ExecuteError::Write { source, .. }) = (&effect, &error)
                    && source.is_refusal()
                {
                    shared.reverts.refused(&effect, &source.to_string(), now);
                }
                let reason = match (&effect, &error) {
                    (Effect::Resize { .. }, ExecuteError::Write { source, .. }) if source.is_refusal() => {
                        BlockReason::ResizeRefused
                    }
                    (_, ExecuteError::Write { source, .. }) if source.is_refusal() => BlockReason::PermissionMissing,
                    // An API server that is away says nothing about rights or quotas.
                    _ => BlockReason::StepFailed,
                };
                performed.blocked.push(Blocked::new(reason, format!("{pod}: {error}")));
                performed.failed = true;
            }
        }
    }
    Ok(performed)
}

async fn begin<W: World>(
    shared: &Shared<W>,
    policy: &Policy,
    resource: RedisMemoryPolicy,
    mut journal: Journal,
) -> Result<Performed, ReconcileError> {
    let mine = Elsewhere { policy: format!("{}/{}", policy.namespace, policy.name), shard: journal.shard.clone() };
    let most = shared.limits.remediations;
    if !shared.ledger.take(&policy.uid, mine, &shared.stored_remediations(), most) {
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
    let ports = &shared.executor.ports;
    ports.reached(Place::BeginShown.into()).await;
    let resource = journal::finalizer(ports, resource, true).await?;
    ports.reached(Place::BeginFinalizer.into()).await;
    let resource = journal::write(shared, &resource, Some(&journal), &records).await?;
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
    shared: &Shared<W>,
    policy: &Policy,
    resource: RedisMemoryPolicy,
    records: Vec<WorkloadRecord>,
) -> Result<Performed, ReconcileError> {
    let journal = resource.status.as_ref().and_then(|status| status.journal.clone());
    let records = journal::bounded(records);
    let resource = journal::write(shared, &resource, journal.as_ref(), &records).await?;
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
    shared: &Shared<W>,
    resource: RedisMemoryPolicy,
    journal: Journal,
) -> Result<Performed, ReconcileError> {
    let (ports, kind) = (&shared.executor.ports, journal.step().map(Step::kind));
    if let Some(kind) = kind {
        ports.reached(Boundary::Step(kind, Moment::BeforeArrival)).await;
    }
    let performed = record(shared, resource, journal).await?;
    if let Some(kind) = kind {
        ports.reached(Boundary::Step(kind, Moment::AfterArrival)).await;
    }
    Ok(performed)
}

async fn record<W: World>(
    shared: &Shared<W>,
    resource: RedisMemoryPolicy,
    journal: Journal,
) -> Result<Performed, ReconcileError> {
    let records = resource.status.clone().unwrap_or_default().workloads;
    let resource = journal::write(shared, &resource, Some(&journal), &records).await?;
    Ok(Performed { journal: Some(journal), ..Performed::nothing(resource, AT_ONCE) })
}

async fn step<W: World>(
    shared: &Shared<W>,
    policy: &Policy,
    resource: RedisMemoryPolicy,
    journal: Journal,
    effect: &Effect,
) -> Result<Performed, ReconcileError> {
    if let Effect::Evict { peer } | Effect::EvictPrimary { peer } = effect {
        let restart = Restart { policy: policy.uid.clone(), pod: peer.pod.clone(), at: shared.time().now() };
        let most = shared.limits.restarts_per_hour;
        if !shared.ledger.take_restart(restart, &peer.uid, &shared.stored_restarts(&resource), most) {
            let mut performed = Performed::nothing(resource, LATER);
            let text = "another pod has just been restarted: the restarts of this hour are used up".to_owned();
            performed.blocked.push(Blocked::new(BlockReason::ClusterBudget, text));
            return Ok(performed);
        }
    }
    let stored = resource.status.as_ref().and_then(|status| status.journal.as_ref());
    let stands = stored.is_some_and(|stored| journal::same(stored, &journal));
    let planned = journal.planned().cloned();
    let kind = planned.as_ref().map(|planned| planned.step.kind());
    let mut performed = if stands {
        Performed::nothing(resource, AT_ONCE)
    } else {
        if let Some(kind) = kind {
            shared.executor.ports.reached(Boundary::Step(kind, Moment::BeforeIntent)).await;
        }
        record(shared, resource, journal).await?
    };
    match shared.executor.carry_out(policy, effect, kind).await {
        Ok(done) => {
            if let Done::SwitchedOver { paused: Some(paused), .. } = &done {
                shared.metrics.write_paused(*paused);
            }
            shared.metrics.remediated(effect.words().action, "Done");
            succeeded(policy, planned.as_ref(), effect, &done, &mut performed);
        }
        Err(error) => {
            shared.metrics.remediated(effect.words().action, "Failed");
            if let ExecuteError::Switchover { paused: Some(paused), .. } = &error {
                shared.metrics.write_paused(*paused);
            }
            if let (Effect::Evict { peer } | Effect::EvictPrimary { peer }, false) = (effect, may_have_happened(&error))
            {
                shared.ledger.give_restart_back(&policy.uid, &peer.uid);
            }
            let answer = Answer::of(effect, &error);
            failed(policy, effect, error, &mut performed)?;
            if let Some(answer) = answer {
                keep_answer(shared, answer, &mut performed).await?;
            }
        }
    }
    Ok(performed)
}

/// What the journal keeps of an effect that was not carried out.
struct Answer {
    /// Why, in words.
    why: String,
    /// An attempt of a switchover was answered by this failure.
    attempt: bool,
    /// An attempt of a switchover has ended by its own word.
    settled: bool,
}

impl Answer {
    /// `None`: somebody else was faster, or we may not lead, and nothing is said of the set by that.
    fn of(effect: &Effect, error: &ExecuteError) -> Option<Self> {
        match error {
            ExecuteError::Fenced(_)
            | ExecuteError::NowPrimary { .. }
            | ExecuteError::Evict(EvictError::Fenced(_) | EvictError::Gone | EvictError::UidChanged(_))
            | ExecuteError::Write {
                source:
                    WriteError::Fenced(_) | WriteError::Conflict(_) | WriteError::Gone(_) | WriteError::UidChanged(_),
                ..
            } => None,
            other => Some(Self {
                why: other.to_string(),
                // One that only ends what a process that died had begun is no attempt of its own.
                attempt: matches!(effect, Effect::Switchover(order) if order.begins),
                settled: matches!(other, ExecuteError::Switchover { failure, .. } if failure.restores()),
            }),
        }
    }
}

/// Keeps in the journal why the step under way failed, and that an attempt of a switchover has ended by its own word. If it
/// cannot be kept, the attempt counts as cut short, and whoever ends the switchover makes sure of it once more.
async fn keep_answer<W: World>(
    shared: &Shared<W>,
    answer: Answer,
    performed: &mut Performed,
) -> Result<(), ReconcileError> {
    let Some(before) = performed.journal.clone() else { return Ok(()) };
    let mut journal = before.clone();
    journal.current.failed(&answer.why);
    if answer.attempt {
        journal.current.failures = journal.current.failures.saturating_add(1);
    }
    if let (true, Some(record)) = (answer.settled, journal.current.switchover.as_mut()) {
        record.settled = true;
    }
    if journal == before {
        return Ok(());
    }
    match record(shared, performed.resource.clone(), journal).await {
        Ok(written) => (performed.resource, performed.journal) = (written.resource, written.journal),
        Err(error @ ReconcileError::Fenced(_)) => return Err(error),
        Err(error) => tracing::warn!(%error, "why a step failed could not be kept in the journal"),
    }
    Ok(())
}

/// An eviction whose answer was lost may have been carried out.
fn may_have_happened(error: &ExecuteError) -> bool {
    matches!(error, ExecuteError::Evict(EvictError::Other(_)))
}

fn succeeded(policy: &Policy, planned: Option<&PlannedStep>, effect: &Effect, done: &Done, performed: &mut Performed) {
    let Words { event, action, pod } = effect.words();
    let reason = planned.map(|planned| planned.reason.clone()).unwrap_or_default();
    let mut note = format!("{pod}: {reason}");
    if let Effect::SetBacklog { size, back: true, .. } = effect {
        note = format!("{pod}: repl-backlog-size is {size} again, as before the remediation");
    }
    if let Effect::Carry { settings, back, .. } = effect {
        let values = settings.iter().map(|(name, value)| format!("{name} is {value:?}")).collect::<Vec<_>>().join(", ");
        let why = if *back {
            "again, because it did not become primary"
        } else {
            "now, as on the primary, whose role it gets"
        };
        note = format!("{pod}: {values} {why}");
    }
    if *done == Done::Evicted {
        performed.again = AFTER_EVICTION;
    }
    if let (Done::ClientsClosed { closed }, Effect::CloseClients { primary, .. }) = (done, effect) {
        if *closed == 0 {
            return;
        }
        note = format!(
            "{closed} connections that still stood on {pod} were closed: {primary} is primary, and the eviction of {pod} \
             is waited for"
        );
    }
    if let (Done::SwitchedOver { method, paused, .. }, Effect::Switchover(order)) = (done, effect) {
        note = format!(
            "{} is primary now instead of {}: {reason}; method {}",
            order.to.pod,
            order.from.pod,
            method.as_str()
        );
        if let Some(paused) = paused {
            let _ = write!(note, "; writes paused {} ms", paused.as_millis());
        }
        let paused_ms = paused.map_or(0, |paused| u64::try_from(paused.as_millis()).unwrap_or(u64::MAX));
        tracing::info!(
            policy = %policy.name, namespace = %policy.namespace, from = %order.from.pod, to = %order.to.pod,
            method = method.as_str(), paused_ms, "switchover completed"
        );
    } else {
        tracing::info!(policy = %policy.name, namespace = %policy.namespace, %pod, %reason, "{event}");
    }
    performed.say(EventType::Normal, event, action, note, Some(pod.to_string()));
    say_fallbacks(effect, done, performed);
}

/// A replica that follows by an address loses its primary at that one's next restart: people must know.
fn say_fallbacks(effect: &Effect, done: &Done, performed: &mut Performed) {
    let (primary, fallbacks) = match (effect, done) {
        (Effect::Repoint { to, .. }, Done::Repointed(fallback))
        | (Effect::Demote { to, .. }, Done::Demoted(fallback)) => (&to.pod, fallback.as_slice()),
        (Effect::Switchover(order), Done::SwitchedOver { fallbacks, .. }) => (&order.to.pod, fallbacks.as_slice()),
        _ => return,
    };
    for fallback in fallbacks {
        tracing::warn!(pod = %fallback.replica, name = %fallback.name, "the name of the new primary does not resolve");
        let pod = Some(fallback.replica.to_string());
        performed.say(EventType::Warning, "FollowsByAddress", effect.words().action, fallback.text(primary), pod);
    }
}

fn failed(
    policy: &Policy,
    effect: &Effect,
    error: ExecuteError,
    performed: &mut Performed,
) -> Result<(), ReconcileError> {
    let Words { action, pod, .. } = effect.words();
    performed.again = LATER;
    match error {
        ExecuteError::Fenced(_) => return Err(error.into()),
        ExecuteError::Evict(EvictError::BudgetSaysNo(text)) => {
            let text = format!("the eviction of {pod} is not allowed now: {text}");
            performed.blocked.push(Blocked::new(BlockReason::DisruptionBudget, text));
        }
        ExecuteError::Evict(EvictError::BudgetBroken(text)) => {
            let text = format!("{pod} cannot be evicted while several budgets cover it: {text}");
            performed.blocked.push(Blocked::new(BlockReason::DisruptionBudget, text));
        }
        ExecuteError::Evict(EvictError::Forbidden(text)) => {
            performed.blocked.push(Blocked::new(BlockReason::PermissionMissing, text));
        }
        // Somebody else was faster: what is true now is looked at again.
        ExecuteError::NowPrimary { .. }
        | ExecuteError::LeadsAgain { .. }
        | ExecuteError::NotAsJudged { .. }
        | ExecuteError::NotAsExpected { .. }
        | ExecuteError::Evict(EvictError::Gone | EvictError::UidChanged(_))
        | ExecuteError::Write {
            source: WriteError::Conflict(_) | WriteError::Gone(_) | WriteError::UidChanged(_),
            ..
        } => performed.failed = true,
        ExecuteError::Switchover { failure, paused } => {
            tracing::warn!(policy = %policy.name, namespace = %policy.namespace, why = failure.text(), "switchover failed");
            let mut note = failure.text().to_owned();
            if let Some(paused) = paused {
                let _ = write!(note, "; writes paused {} ms", paused.as_millis());
            }
            performed.say(EventType::Warning, "SwitchoverAborted", action, note, Some(pod.to_string()));
        }
        other => {
            tracing::warn!(policy = %policy.name, namespace = %policy.namespace, %pod, error = %other, "{action} failed");
            performed.blocked.push(Blocked::new(BlockReason::StepFailed, format!("{action} {pod}: {other}")));
            performed.failed = true;
        }
    }
    Ok(())
}

async fn end<W: World>(
    shared: &Shared<W>,
    policy: &Policy,
    resource: RedisMemoryPolicy,
    record: WorkloadRecord,
) -> Result<Performed, ReconcileError> {
    let before = resource.status.clone().unwrap_or_default().workloads;
    let records = journal::with_record(&before, record.clone());
    let ports = &shared.executor.ports;
    ports.reached(Place::EndDue.into()).await;
    let resource = journal::write(shared, &resource, None, &records).await?;
    ports.reached(Place::EndRecorded.into()).await;
    shared.ledger.release(&policy.uid);
    let resource = journal::finalizer(ports, resource, false).await?;
    ports.reached(Place::EndReleased.into()).await;
    let outcome = record.outcome.map_or("Ended", Outcome::as_str);
    tracing::info!(
        policy = %policy.name, namespace = %policy.namespace, remediation = %record.remediation, outcome,
        message = %record.message, "remediation ended"
    );
    shared.metrics.remediated("Remediation", outcome);
    let mut performed = Performed { journal: None, records, ..Performed::nothing(resource, AT_ONCE) };
    // A pause is what people asked for.
    let expected = matches!(record.outcome, Some(Outcome::Succeeded | Outcome::WindowClosed | Outcome::Paused));
    let kind = if expected { EventType::Normal } else { EventType::Warning };
    let reason = format!("Remediation{outcome}");
    performed.say(kind, &reason, "Plan", format!("{}: {}", record.name, record.message), None);
    Ok(performed)
}
