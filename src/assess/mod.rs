//! Snapshot and policy to findings. Pure: time comes in with the snapshot, nothing is read or written.

pub mod fragmentation;
pub mod headroom;
pub mod target;
pub mod topology;

use std::time::Duration;

use crate::domain::{finding::Finding, policy::Policy, snapshot::Snapshot};

/// What the binary's flags say about sampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssessSettings {
    /// A process younger than this is not judged for fragmentation.
    pub warm_up: Duration,
    /// Time between two samples of a target.
    pub sample_interval: Duration,
}

impl Default for AssessSettings {
    fn default() -> Self {
        Self { warm_up: Duration::from_secs(300), sample_interval: Duration::from_secs(15) }
    }
}

/// Every finding, worst first, then by code, then by pod. Equal input gives equal output.
pub fn assess(_policy: &Policy, _snapshot: &Snapshot, _settings: &AssessSettings) -> Vec<Finding> {
    Vec::new()
}
