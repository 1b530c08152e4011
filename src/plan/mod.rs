//! Pure planning: policy + snapshot + journal + now → what to do next, and why not.
//!
//! Nothing here performs I/O, waits, or reads a clock. A decision comes out as a value; `execute` carries it out.

pub mod advance;
pub mod authority;
pub mod backlog;
pub mod begin;
pub mod blocked;
pub mod decide;
pub mod effect;
pub mod gates;
pub mod in_place;
pub mod labels;
pub mod order;
pub mod proof;
pub mod replica;
pub mod resize;
pub mod switchover;
#[cfg(test)]
mod walk;

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    assess::AssessSettings,
    domain::{journal::WorkloadRecord, policy::Policy, snapshot::Snapshot},
};

/// Times that are flags of the binary, not policy: tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct PlanSettings {
    /// What the assessment needs.
    pub assess: AssessSettings,
    /// A proof reads samples from this long after the link came up (jemalloc has decayed by then).
    pub proof_settle: Duration,
    /// A proof that does not hold by then has failed.
    pub proof_timeout: Duration,
}

/// Everything that a decision is made from.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The validated policy.
    pub policy: &'a Policy,
    /// What was observed.
    pub snapshot: &'a Snapshot,
    /// What is remembered of each workload.
    pub records: &'a [WorkloadRecord],
    /// Now.
    pub now: Timestamp,
    /// Flags of the binary.
    pub settings: &'a PlanSettings,
}

impl Context<'_> {
    /// Time that passed since `then`; zero when `then` is in the future.
    pub fn since(&self, then: Timestamp) -> Duration {
        Duration::try_from(self.now.duration_since(then)).unwrap_or(Duration::ZERO)
    }
}
