//! What every reconcile of one term of leadership shares, and how one can fail.

use std::time::Duration;

use kube::runtime::reflector::Store;

use super::registry::{Guarded, Registry};
use crate::{
    clock::Clock,
    execute::{ExecuteError, Executor},
    kube_io::{error::KubeError, fence::Fenced, write::WriteError},
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

    /// How soon to try again; after conflicts in a row see `plan::pace`.
    pub const fn retry_after(&self) -> Duration {
        match self {
            Self::Write(WriteError::Conflict(_)) => Duration::from_millis(200),
            Self::Write(_) | Self::Execute(_) | Self::Fenced(_) => Duration::from_secs(6),
            Self::Read(_) => Duration::from_secs(10),
        }
    }
}
