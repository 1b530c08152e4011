//! One turn of a policy: whether it is looked at now, the look, and when it is its turn again.

use std::{sync::Arc, time::Duration};

use kube::{Resource as _, ResourceExt as _, runtime::reflector::ObjectRef};

use super::{
    ports::World,
    reconcile::{self, DELETING_AGAIN, DELETION_PATIENCE},
    reconciler::{ReconcileError, Reconciler},
};
use crate::{api::v1alpha1::StoredPolicy, clock::Time as _, metrics::ReconcileResult};

/// How long a wall clock that was set is slept on: windows and cooldowns are judged anew.
const CLOCK_SET_AGAIN: Duration = Duration::from_secs(1);

/// Reconciles and measures; a policy whose last look failed, or an API server that asked for time, is left alone for now.
/// When it is looked at again; `None`: when something changes.
pub async fn timed<W: World>(
    policy: Arc<StoredPolicy>,
    reconciler: Arc<Reconciler<W>>,
) -> Result<Option<Duration>, ReconcileError> {
    let (uid, now) = (policy.uid().unwrap_or_default(), reconciler.time().uptime());
    let deleting_for = policy.meta().deletion_timestamp.as_ref().map(|_| reconciler.memory.deleting_for(&uid, now));
    let patience = |left: Duration| deleting_for.map_or(left, |_| left.min(DELETING_AGAIN));
    // The API server asked us to come back later, or the last look failed. Probing, metrics and the lease go on.
    let paused =
        reconciler.backoff.left(&uid, now).filter(|_| deleting_for.is_none_or(|waited| waited <= DELETION_PATIENCE));
    if let Some(left) = reconciler.world.asked_to_wait().max(paused.map(patience)) {
        return Ok(Some(left));
    }
    let woken = reconciler.world.woken(&ObjectRef::from_obj(&*policy));
    if let Some(left) = reconciler.memory.only_ours(&uid, policy.resource_version().as_deref(), now)
        && !woken
    {
        return Ok(Some(left));
    }
    if reconciler.memory.clock_was_set(&uid, reconciler.time().steps()) {
        return Ok(Some(CLOCK_SET_AGAIN));
    }
    let begun = reconciler.time().uptime();
    let result = Box::pin(reconcile::reconcile(policy, Arc::clone(&reconciler))).await;
    // What failed is looked at again by its own pace, whoever wrote last.
    let again = result.as_ref().ok().copied().flatten().unwrap_or_default();
    reconciler.memory.look_again(&uid, again, reconciler.time().uptime());
    let outcome = if result.is_ok() { ReconcileResult::RequeueAfter } else { ReconcileResult::Error };
    reconciler.metrics.reconciled(outcome, reconciler.time().uptime().saturating_sub(begun));
    result
}

/// A look failed: when the policy is looked at again.
pub fn failed<W: World>(policy: &StoredPolicy, error: &ReconcileError, reconciler: &Reconciler<W>) -> Duration {
    let (namespace, name) = (policy.namespace().unwrap_or_default(), policy.name_any());
    if error.is_conflict() {
        tracing::debug!(%namespace, policy = %name, %error, "decided again");
    } else {
        tracing::warn!(%namespace, policy = %name, reason = error.reason(), %error, "reconcile failed");
    }
    let pause = reconciler.backoff.failed(&policy.uid().unwrap_or_default(), reconciler.time().uptime());
    let deleting = policy.meta().deletion_timestamp.is_some();
    let pause = if deleting { pause.min(DELETING_AGAIN) } else { pause };
    pause.max(reconciler.world.asked_to_wait().unwrap_or_default())
}
