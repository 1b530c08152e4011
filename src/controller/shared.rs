//! What every reconcile of one term of leadership shares, and how one can fail.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    ledger::{Ledger, Limits},
    memory::Memory,
    pace::Pace,
    registry::Registry,
    reverts::Reverts,
    roster::Roster,
    wakes::Wakes,
};
use crate::{
    clock::Clock,
    execute::{ExecuteError, Executor},
    kube_io::{error::KubeError, fence::Fenced, overload::Overload, write::WriteError},
    metrics::Metrics,
    observe::snapshot::Observer,
    plan::PlanSettings,
};

/// What every reconcile of one term of leadership shares.
pub struct Shared {
    /// Reads.
    pub observer: Observer,
    /// Writes.
    pub executor: Executor,
    /// Pod caches; they outlive the term.
    pub registry: Arc<Registry>,
    /// Who is to be looked at.
    pub wakes: Wakes,
    /// Every policy, as last seen.
    pub policies: Roster,
    /// Flags of the binary.
    pub settings: PlanSettings,
    /// What the cluster allows: flags of the binary.
    pub limits: Limits,
    /// Who holds a slot of the cluster's budget.
    pub ledger: Ledger,
    /// What others set back, so that nothing is fought over.
    pub reverts: Arc<Reverts>,
    /// What stops the whole operator, if anything does.
    pub stop: Stop,
    /// The clock.
    pub clock: Clock,
    /// Metrics.
    pub metrics: Metrics,
    /// Failures in a row.
    pub pace: Pace,
    /// What is remembered of each policy.
    pub memory: Memory,
    /// Names this install: namespace and name of its Lease.
    pub install: String,
    /// Until when the API server asked us to wait.
    pub overload: Overload,
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
