//! What came of an effect, in words: events, what is in the way, and when to look again.

use std::{fmt::Write as _, time::Duration};

use super::{AFTER_EVICTION, LATER, Performed};
use crate::{
    controller::reconciler::ReconcileError,
    domain::{
        blocked::{BlockReason, Blocked},
        event::EventType,
        names::PodName,
        policy::Policy,
        step::PlannedStep,
        switchover::SwitchoverMethod,
    },
    execute::{Done, ExecuteError},
    kube_io::write::{EvictError, WriteError},
    plan::effect::{Effect, Words},
};

/// When what failed is tried again (`controller::backoff`).
pub(super) const AGAIN: &str = "tried again by itself, after seconds at first and after minutes later";

/// An eviction whose answer was lost may have been carried out.
pub(super) fn may_have_happened(error: &ExecuteError) -> bool {
    matches!(error, ExecuteError::Evict(EvictError::Other(_)))
}

pub(super) fn succeeded(
    policy: &Policy,
    planned: Option<&PlannedStep>,
    effect: &Effect,
    done: &Done,
    performed: &mut Performed,
) {
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
    if let Effect::SetBack { settings, .. } = effect {
        let values = settings.iter().map(|(name, value)| format!("{name} is {value:?}")).collect::<Vec<_>>().join(", ");
        note = format!("{pod}: {values} again, as before the exchange of the role");
    }
    if let Effect::Forget { set, .. } = effect {
        note = format!(
            "the Sentinel in {pod} has forgotten, of {set}, who is gone since a restart; it finds the others again"
        );
    }
    if let Some(Moved { from, to, method, paused }) = moved(effect, done) {
        note = format!("{to} is primary now instead of {from}: {reason}; method {}", method.as_str());
        if let Some(paused) = paused {
            let _ = write!(note, "; writes paused {} ms", paused.as_millis());
        }
        let paused_ms = paused.map_or(0, |paused| u64::try_from(paused.as_millis()).unwrap_or(u64::MAX));
        tracing::info!(
            policy = %policy.name, namespace = %policy.namespace, %from, %to,
            method = method.as_str(), paused_ms, "switchover completed"
        );
    } else {
        tracing::info!(policy = %policy.name, namespace = %policy.namespace, %pod, %reason, "{event}");
    }
    performed.say(EventType::Normal, event, action, note, Some(pod.to_string()));
    say_fallbacks(effect, done, performed);
}

/// A role that was handed over.
struct Moved<'a> {
    from: &'a PodName,
    to: &'a PodName,
    method: SwitchoverMethod,
    paused: Option<Duration>,
}

fn moved<'a>(effect: &'a Effect, done: &'a Done) -> Option<Moved<'a>> {
    match (effect, done) {
        (Effect::Switchover(order), Done::SwitchedOver { method, paused, .. }) => {
            Some(Moved { from: &order.from.pod, to: &order.to.pod, method: *method, paused: *paused })
        }
        (Effect::Failover(order), Done::FailedOver { to, paused }) => {
            Some(Moved { from: &order.from.pod, to, method: SwitchoverMethod::Sentinel, paused: *paused })
        }
        _ => None,
    }
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

pub(super) fn failed(
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
            performed.blocked.push(Blocked::new(BlockReason::StepFailed, format!("{action} {pod}: {other}; {AGAIN}")));
            performed.failed = true;
        }
    }
    Ok(())
}
