//! What every reconcile of one term of leadership shares, and how one can fail.

use kube::runtime::reflector::Store;

use super::{
    pace::Pace,
    registry::{Guarded, Registry},
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
    /// Pod caches.
    pub registry: Registry,
    /// Every policy, as last seen.
    pub policies: Store<Guarded>,
    /// Flags of the binary.
    pub settings: PlanSettings,
    /// The clock.
    pub clock: Clock,
    /// Metrics.
    pub metrics: Metrics,
    /// Failures in a row.
    pub pace: Pace,
    /// Until when the API server asked us to wait.
    pub overload: Overload,
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
