//! What every reconcile of one term of leadership shares, and how one can fail.

use std::sync::Arc;

use tokio::sync::watch;

use super::{backoff::Backoff, memory::Memory, ports::World};
use crate::{
    contention::{
        cluster_budget::{ClusterBudget, ClusterLimits},
        reverts::Reverts,
    },
    execute::{ExecuteError, Executor},
    kube_io::{error::KubeError, fence::Fenced, write::WriteError},
    metrics::Metrics,
    plan::PlanSettings,
};

/// What every reconcile of one term of leadership shares, in that world.
pub struct Reconciler<W: World> {
    /// What is seen of the world.
    pub world: W,
    /// What is done to it.
    pub executor: Executor<W::Ports>,
    /// Flags of the binary.
    pub settings: PlanSettings,
    /// What the cluster allows: flags of the binary.
    pub limits: ClusterLimits,
    /// Who holds a slot of the cluster's budget.
    pub cluster_budget: ClusterBudget,
    /// What others set back, so that nothing is fought over.
    pub reverts: Arc<Reverts>,
    /// What stops the whole operator, if anything does.
    pub stop: Stop,
    /// Metrics.
    pub metrics: Metrics,
    /// Failures in a row.
    pub backoff: Backoff,
    /// What is remembered of each policy.
    pub memory: Memory,
    /// Names this install: namespace and name of its Lease.
    pub install: String,
}

impl<W: World> Reconciler<W> {
    /// The clock, which is the executor's.
    pub(super) const fn time(&self) -> &W::Ports {
        &self.executor.ports
    }
}

/// What people say about the whole operator.
#[derive(Clone, Debug)]
pub struct Stop {
    /// The flag `--stop`.
    pub flag: bool,
    /// The annotation on the Lease.
    pub annotation: watch::Receiver<bool>,
    /// The Lease as "namespace/name".
    pub lease: String,
}

impl Stop {
    /// By what the operator is stopped, in words.
    pub fn how(&self) -> Option<String> {
        if self.flag {
            return Some("the flag --stop (chart value stop)".to_owned());
        }
        let annotated = *self.annotation.borrow();
        annotated.then(|| format!("the annotation redismemory.io/stop on Lease {}", self.lease))
    }
}

/// Why a reconcile could not be finished. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// A read.
    #[error(transparent)]
    Read(#[from] KubeError),
    /// A write to the policy.
    #[error("writing the policy: {0}")]
    Write(#[from] WriteError),
    /// An effect.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// We may not lead any more.
    #[error(transparent)]
    Fenced(#[from] Fenced),
}

impl ReconcileError {
    /// A stable word for metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Read(error) => error.reason(),
            Self::Write(error) => error.reason(),
            Self::Execute(_) => "Execute",
            Self::Fenced(_) => "Fenced",
        }
    }

    /// Somebody wrote first: normal, and decided again.
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::Write(WriteError::Conflict(_)))
    }
}
