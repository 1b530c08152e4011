//! One reconcile: resolve → observe (reads) → judge, plan (pure) → execute (writes) → report (writes).

use std::{
    ops::ControlFlow::{self, Break, Continue},
    sync::Arc,
    time::Duration,
};

use kube::{Resource as _, ResourceExt as _};

use super::{
    observed::{Ground, Observed},
    ownership,
    perform::{self, Performed},
    ports::World,
    reconciler::{ReconcileError, Reconciler},
    registry::Guarded,
    tell::Told,
};
use crate::{
    api::v1alpha1::{FINALIZER, RedisMemoryPolicy, RedisMemoryPolicyStatus},
    assess::judged::Judged,
    clock::Time as _,
    domain::blocked::BlockReason,
    kube_io::write::WriteError,
    plan::{
        Context,
        decide::{self, Decision},
        next::Next,
        promise,
    },
    report,
    validate::resolve::{Resolved, resolve},
};

/// A deletion is let through after this time, whatever is unfinished (it must be through within 30 s). Counted from when
/// it was first seen: another machine's clock says nothing.
pub(super) const DELETION_PATIENCE: Duration = Duration::from_secs(20);
/// How soon to look again at what is being deleted.
pub(super) const DELETING_AGAIN: Duration = Duration::from_secs(5);
/// A policy without pods and with nothing to do.
const NOTHING_AGAIN: Duration = Duration::from_secs(600);

/// Reconciles one policy. When it is looked at again; `None`: when something changes.
pub(super) async fn reconcile<W: World>(
    stored: Arc<Guarded>,
    reconciler: Arc<Reconciler<W>>,
) -> Result<Option<Duration>, ReconcileError> {
    let stored_remediations = reconciler.stored_remediations();
    if reconciler.cluster_budget.freed(&stored_remediations) {
        reconciler.world.wake_waiting();
    }
    let taken = reconciler.cluster_budget.others("", &stored_remediations).len();
    reconciler.metrics.set_budget(taken, reconciler.limits.remediations);
    Box::pin(reconciler.look(&stored)).await
}

impl<W: World> Reconciler<W> {
    /// Deletion comes first, then the remediation under way, under its own spec if need be, and then the spec. `None`: not
    /// looked at again before something changes.
    pub(super) async fn look(&self, stored: &Guarded) -> Result<Option<Duration>, ReconcileError> {
        let resolved = resolve(stored);
        if stored.meta().deletion_timestamp.is_none() {
            return match resolved {
                Ok(resolved) => match Box::pin(self.reconcile(resolved)).await {
                    Err(ReconcileError::Write(error @ WriteError::OtherDefinition(_))) => {
                        self.not_taken(stored, &error).await.map(Some)
                    }
                    looked => looked,
                },
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

    /// The pipeline. What ends it early says when to look again.
    async fn reconcile(&self, resolved: Resolved) -> Result<Option<Duration>, ReconcileError> {
        let ground = match self.ground(resolved).await? {
            Continue(ground) => ground,
            Break(again) => return Ok(again),
        };
        let (observed, decision) = match Box::pin(self.observe_and_plan(&ground)).await? {
            Continue(planned) => planned,
            Break(again) => return Ok(again),
        };
        let told = self.judge(&observed, &decision);
        let (performed, rests) = match Box::pin(self.execute(observed.resource, decision, &told)).await? {
            Continue(performed) => performed,
            Break(again) => return Ok(again.map(|again| again.min(ground.at_most))),
        };
        let again = self.report(&told, performed, rests).await?;
        Ok(Some(again.min(ground.at_most)))
    }

    /// From caches first, and live when something is to be done: only on what is true now is anything changed.
    async fn observe_and_plan(
        &self,
        ground: &Ground,
    ) -> Result<ControlFlow<Option<Duration>, (Observed, Decision)>, ReconcileError> {
        if !self.is_active(&ground.resolved.resource) {
            let observed = self.observe(ground).await?;
            let decision = self.plan(&observed);
            if decision.act != Next::LookLive {
                return Ok(Continue((observed, decision)));
            }
        }
        Ok(match Box::pin(self.observe_live(ground)).await? {
            Continue(observed) => {
                let decision = self.plan(&observed);
                Continue((observed, decision))
            }
            Break(again) => Break(again),
        })
    }

    fn plan(&self, observed: &Observed) -> Decision {
        let Observed { resource, policy, snapshot, live, .. } = observed;
        let none = RedisMemoryPolicyStatus::default();
        let status = resource.status.as_ref().unwrap_or(&none);
        let ctx = Context::of(policy, snapshot, &status.workloads, self.time().now(), &self.settings);
        decide::decide(&ctx, status.journal.as_ref(), resource.metadata.deletion_timestamp.is_some(), *live)
    }

    /// What people are told of it. The decision stands on what was seen; people are told of it when it has settled.
    fn judge(&self, observed: &Observed, decision: &Decision) -> Told {
        let Observed { resource, policy, snapshot, problem, .. } = observed;
        let previous = resource.status.clone().unwrap_or_default();
        let snapshot = self.world.settled(policy, snapshot);
        let ctx = Context::of(policy, &snapshot, &previous.workloads, self.time().now(), &self.settings);
        let findings = promise::findings(&ctx, previous.journal.as_ref(), decision);
        let judged = Judged::of(&ctx.look);
        let sets = report::sets::of(&ctx.look);
        let findings = report::findings::shown(&findings, &judged, &snapshot, &previous);
        self.world.show(policy, &snapshot, &findings, &judged);
        let kills = ctx.look.kills.clone();
        Told { policy: Arc::clone(policy), snapshot, sets, findings, judged, kills, problem: problem.clone() }
    }

    /// Carries the decision out, and says whether it was to rest. A plan is shown before it is carried out.
    async fn execute(
        &self,
        resource: RedisMemoryPolicy,
        decision: Decision,
        told: &Told,
    ) -> Result<ControlFlow<Option<Duration>, (Performed, bool)>, ReconcileError> {
        let begins = matches!(decision.act, Next::Begin(_));
        let idle = !begins && resource.status.as_ref().is_none_or(|status| status.journal.is_none());
        let resource = if begins {
            match self.announce(&resource, told, &decision).await? {
                Continue(announced) => announced,
                Break(left) => return Ok(Break(Some(left))),
            }
        } else {
            resource
        };
        // The finalizer belongs to a remediation: one that was set just before a crash, without its journal, goes.
        let resource = if idle {
            super::journal::finalizer(&self.executor.ports, resource, false).await?
        } else {
            self.beat(resource).await?
        };
        if resource.metadata.deletion_timestamp.is_some() && idle {
            return Ok(Break(None));
        }
        let rests = decision.act == Next::Rest;
        let status = resource
            .status
            .as_ref()
            .filter(|status| status.journal.as_ref().is_some_and(|journal| decision.act.is_beside(journal)));
        let before = status.and_then(|status| report::conditions::in_the_way(&status.conditions));
        let performed = Box::pin(perform::perform(self, &told.policy, resource, decision.act, &told.snapshot)).await?;
        let mut blocked = [decision.blocked, performed.blocked].concat();
        if blocked.is_empty() {
            blocked.extend(before);
        }
        Ok(Continue((Performed { plan: decision.plan, blocked, ..performed }, rests)))
    }

    /// Writes what came of it, and says when to look again.
    async fn report(&self, told: &Told, performed: Performed, rests: bool) -> Result<Duration, ReconcileError> {
        let uid = &told.policy.uid;
        let is_blocked = |by: BlockReason| performed.blocked.iter().any(|one| one.reason == by);
        if is_blocked(BlockReason::PrimaryEmpty) {
            self.cluster_budget.release(uid);
        }
        self.world.waits(uid, is_blocked(BlockReason::ClusterBudget));
        let (again, failed, remediating) = (performed.again, performed.failed, performed.journal.is_some());
        let later = self.tell_performed(told, performed).await?;
        if failed {
            return Ok(self.backoff.failed(uid, self.time().uptime()));
        }
        let again = if remediating { again.min(ownership::HEARTBEAT) } else { again };
        // Without pods nothing changes by itself: a pod that comes wakes.
        let again = if rests && told.snapshot.targets.is_empty() { again.max(NOTHING_AGAIN) } else { again };
        self.backoff.through(uid, again, self.time().uptime());
        Ok(later.map_or(again, |later| again.min(later)))
    }
}
