//! One turn of a policy: whether it is looked at now, the look, and when it is its turn again.

use std::{sync::Arc, time::Duration};

use kube::{Resource as _, ResourceExt as _, runtime::reflector::ObjectRef};

use super::{
    ports::World,
    reconcile::{self, DELETING_AGAIN, DELETION_PATIENCE},
    shared::{ReconcileError, Shared},
};
use crate::{api::v1alpha1::StoredPolicy, clock::Time as _, metrics::ReconcileResult};

/// A wall clock that was set is slept on for so long: windows and cooldowns are judged anew.
const CLOCK_SET_AGAIN: Duration = Duration::from_secs(1);

/// Reconciles and measures; a policy whose last look failed, or an API server that asked for time, is left alone for now.
/// When it is looked at again; `None`: when something changes.
pub async fn timed<W: World>(
    policy: Arc<StoredPolicy>,
    shared: Arc<Shared<W>>,
) -> Result<Option<Duration>, ReconcileError> {
    let (uid, now) = (policy.uid().unwrap_or_default(), shared.time().uptime());
    let deleting_for = policy.meta().deletion_timestamp.as_ref().map(|_| shared.memory.deleting_for(&uid, now));
    let patience = |left: Duration| deleting_for.map_or(left, |_| left.min(DELETING_AGAIN));
    // The API server asked us to come back later, or the last look failed. Probing, metrics and the lease go on.
    let paused = shared.pace.left(&uid, now).filter(|_| deleting_for.is_none_or(|waited| waited <= DELETION_PATIENCE));
    if let Some(left) = shared.world.asked_to_wait().max(paused.map(patience)) {
        return Ok(Some(left));
    }
    let woken = shared.world.woken(&ObjectRef::from_obj(&*policy));
    if let Some(left) = shared.memory.only_our_heartbeat(&uid, policy.resource_version().as_deref(), now)
        && !woken
    {
        return Ok(Some(left));
    }
    if shared.memory.clock_was_set(&uid, shared.time().steps()) {
        return Ok(Some(CLOCK_SET_AGAIN));
    }
    let begun = shared.time().uptime();
    let result = Box::pin(reconcile::reconcile(policy, Arc::clone(&shared))).await;
    let outcome = if result.is_ok() { ReconcileResult::RequeueAfter } else { ReconcileResult::Error };
    shared.metrics.reconciled(outcome, shared.time().uptime().saturating_sub(begun));
    result
}

/// A look failed: when the policy is looked at again.
pub fn failed<W: World>(policy: &StoredPolicy, error: &ReconcileError, shared: &Shared<W>) -> Duration {
    let (namespace, name) = (policy.namespace().unwrap_or_default(), policy.name_any());
    if error.is_conflict() {
        tracing::debug!(%namespace, policy = %name, %error, "decided again");
    } else {
        tracing::warn!(%namespace, policy = %name, reason = error.reason(), %error, "reconcile failed");
    }
    let pause = shared.pace.failed(&policy.uid().unwrap_or_default(), shared.time().uptime());
    let deleting = policy.meta().deletion_timestamp.is_some();
    let pause = if deleting { pause.min(DELETING_AGAIN) } else { pause };
    pause.max(shared.world.asked_to_wait().unwrap_or_default())
}
