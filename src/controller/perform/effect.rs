//! Carries effects out: those of upkeep, and the one of the step under way, whose journal is written first.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    AT_ONCE, LATER, Performed, counted,
    outcome::{AGAIN, failed, may_have_happened, succeeded},
    record,
};
use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    clock::Time as _,
    contention::cluster_budget::Restart,
    controller::{
        journal,
        ports::World,
        reconciler::{ReconcileError, Reconciler},
    },
    domain::{
        blocked::{BlockReason, Blocked},
        event::EventType,
        journal::Journal,
        policy::Policy,
        snapshot::Snapshot,
    },
    execute::{
        Done, ExecuteError,
        crash::{Boundary, Moment},
        ports::Ports as _,
    },
    kube_io::write::{EvictError, WriteError},
    plan::{
        effect::{Effect, Words},
        maxmemory,
    },
    redis_io::RedisError,
};

pub(super) async fn upkeep<W: World>(
    reconciler: &Reconciler<W>,
    policy: &Policy,
    resource: RedisMemoryPolicy,
    effects: Vec<(Effect, String)>,
    snapshot: &Snapshot,
) -> Result<Performed, ReconcileError> {
    let mut performed = Performed::nothing(resource, AT_ONCE);
    for (effect, reason) in effects {
        let now = reconciler.time().now();
        // Who sets it back again and again wins: the next look knows, and says so.
        if !reconciler.reverts.may(&effect, snapshot, now) {
            continue;
        }
        match Box::pin(reconciler.executor.carry_out(policy, &effect, None)).await {
            Ok(_) => {
                let is_news = reconciler.reverts.made(&effect, now);
                if let Effect::SetMaxmemory { peer, value, .. } = &effect
                    && let Some(records) = maxmemory::made(&performed.records, peer, *value)
                {
                    performed.records = records;
                }
                let Words { event, action, pod } = effect.words();
                tracing::info!(policy = %policy.name, namespace = %policy.namespace, %pod, %reason, "{event}");
                if is_news {
                    performed.say(EventType::Normal, event, action, format!("{pod}: {reason}"), Some(pod.to_string()));
                }
            }
            Err(error) => not_done(reconciler, policy, (&effect, now), error, &mut performed)?,
        }
    }
    remember_made(reconciler, &mut performed).await;
    Ok(performed)
}

/// Upkeep that was not carried out: whether it is looked at again, left alone or said. Only a lost lease is a failure.
fn not_done<W: World>(
    reconciler: &Reconciler<W>,
    policy: &Policy,
    (effect, now): (&Effect, Timestamp),
    error: ExecuteError,
    performed: &mut Performed,
) -> Result<(), ReconcileError> {
    match error {
        // Another writer came first: what is true now is looked at again.
        ExecuteError::Write {
            source: WriteError::Conflict(_) | WriteError::Gone(_) | WriteError::UidChanged(_),
            ..
        } => performed.failed = true,
        // The server is not as it was judged.
        error @ (ExecuteError::NotSet { .. } | ExecuteError::Redis { source: RedisError::RunIdChanged { .. }, .. }) => {
            tracing::debug!(policy = %policy.name, namespace = %policy.namespace, %error, "looking again");
            performed.failed = true;
        }
        // Its clients waited: it is left for a while, and a finding says so.
        error @ ExecuteError::EvictionStopped { .. } => {
            tracing::warn!(policy = %policy.name, namespace = %policy.namespace, %error, "left alone for a while");
            reconciler.reverts.stopped(effect, &error.to_string(), now);
        }
        error @ ExecuteError::Fenced(_) => return Err(error.into()),
        error => {
            let pod = effect.words().pod;
            tracing::warn!(policy = %policy.name, namespace = %policy.namespace, %pod, %error, "upkeep failed");
            if let ExecuteError::Write { source, .. } = &error
                && source.is_refusal()
            {
                match effect {
                    // A label that is refused must not keep a remediation from its end; of limits a quota may let go any time.
                    Effect::Label { .. } => reconciler.reverts.refused(effect, &source.to_string(), now),
                    Effect::Resize { .. } => reconciler.reverts.limit_refused(effect, &source.to_string(), now),
                    _ => {}
                }
            }
            performed.blocked.push(Blocked::new(refusal(effect, &error), format!("{pod}: {error}; {AGAIN}")));
            performed.failed = true;
        }
    }
    Ok(())
}

/// By which reason upkeep that failed is said.
fn refusal(effect: &Effect, error: &ExecuteError) -> BlockReason {
    match (effect, error) {
        (Effect::Resize { .. }, ExecuteError::Write { source, .. }) if source.is_refusal() => {
            BlockReason::ResizeRefused
        }
        (_, ExecuteError::Write { source, .. }) if source.is_refusal() => BlockReason::PermissionMissing,
        (_, ExecuteError::Redis { source: RedisError::Refused { code, .. }, .. }) if code == "NOPERM" => {
            BlockReason::PermissionMissing
        }
        // An API server that is away says nothing about rights or quotas.
        _ => BlockReason::StepFailed,
    }
}

/// Writes down what was set: who sets it back before the next look has the last word, too.
async fn remember_made<W: World>(reconciler: &Reconciler<W>, performed: &mut Performed) {
    let stored = performed.resource.status.as_ref().map(|status| &status.workloads);
    if stored.is_none_or(|stored| *stored == performed.records) {
        return;
    }
    match journal::write(reconciler, &performed.resource, performed.journal.as_ref(), &performed.records).await {
        Ok(resource) => performed.resource = resource,
        // The next look sees it, unless it is gone by then.
        Err(error) => {
            tracing::debug!(%error, "what was set is not written down yet");
            performed.failed = true;
        }
    }
}

pub(super) async fn step<W: World>(
    reconciler: &Reconciler<W>,
    policy: &Policy,
    resource: RedisMemoryPolicy,
    journal: Journal,
    effect: &Effect,
) -> Result<Performed, ReconcileError> {
    if let Effect::Evict { peer } | Effect::EvictPrimary { peer } = effect {
        let restart = Restart { policy: policy.uid.clone(), pod: peer.pod.clone(), at: reconciler.time().now() };
        let most = reconciler.limits.restarts_per_hour;
        if !reconciler.cluster_budget.take_restart(restart, &peer.uid, &reconciler.stored_restarts(&resource), most) {
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
            reconciler.executor.ports.reached(Boundary::Step(kind, Moment::BeforeIntent)).await;
        }
        record(reconciler, resource, journal).await?
    };
    if let Effect::Switchover(order) = effect {
        reconciler.reverts.labels_move([&order.from.uid, &order.to.uid]);
    }
    let begun = reconciler.time().uptime();
    let carried = Box::pin(reconciler.executor.carry_out(policy, effect, kind)).await;
    counted::count(&reconciler.metrics, effect, &carried, reconciler.time().uptime().saturating_sub(begun));
    match carried {
        Ok(done) => {
            if let Done::SwitchedOver { paused: Some(paused), .. } | Done::FailedOver { paused: Some(paused), .. } =
                &done
            {
                keep_pause(reconciler, *paused, &mut performed).await?;
            }
            succeeded(policy, planned.as_ref(), effect, &done, &mut performed);
        }
        Err(error) => {
            if let (Effect::Evict { peer } | Effect::EvictPrimary { peer }, false) = (effect, may_have_happened(&error))
            {
                reconciler.cluster_budget.give_restart_back(&policy.uid, &peer.uid);
            }
            let answer = Answer::of(effect, &error);
            failed(policy, effect, error, &mut performed)?;
            if let Some(answer) = answer {
                keep_answer(reconciler, answer, &mut performed).await?;
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
                attempt: match effect {
                    Effect::Switchover(order) => order.begins,
                    Effect::Failover(order) => order.begins,
                    _ => false,
                },
                settled: matches!(other, ExecuteError::Switchover { failure, .. } if failure.restores()),
            }),
        }
    }
}

/// Keeps in the journal why the step under way failed, and that an attempt of a switchover has ended by its own word. If it
/// cannot be kept, the attempt counts as cut short, and the process that ends the switchover makes sure of it once more.
async fn keep_answer<W: World>(
    reconciler: &Reconciler<W>,
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
    keep(reconciler, before, journal, performed).await
}

/// Keeps in the journal how long writes were held back. If it cannot be kept, the hand-over counts as not measured.
async fn keep_pause<W: World>(
    reconciler: &Reconciler<W>,
    paused: Duration,
    performed: &mut Performed,
) -> Result<(), ReconcileError> {
    let Some(before) = performed.journal.clone() else { return Ok(()) };
    let mut journal = before.clone();
    if let Some(gap) = &mut journal.write_gap {
        // Of several hand-overs the last one is kept.
        gap.measured_milliseconds = None;
        gap.add(paused);
    }
    keep(reconciler, before, journal, performed).await
}

/// Writes the journal if it is another one than before; only a lost lease is a failure.
async fn keep<W: World>(
    reconciler: &Reconciler<W>,
    before: Journal,
    journal: Journal,
    performed: &mut Performed,
) -> Result<(), ReconcileError> {
    if journal == before {
        return Ok(());
    }
    match record(reconciler, performed.resource.clone(), journal).await {
        Ok(written) => (performed.resource, performed.journal) = (written.resource, written.journal),
        Err(error @ ReconcileError::Fenced(_)) => return Err(error),
        Err(error) => tracing::warn!(%error, "what came of a step could not be kept in the journal"),
    }
    Ok(())
}
