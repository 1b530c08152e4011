//! Pure planning: policy + snapshot + journal + now → what to do next, and why not.
//!
//! Nothing here performs I/O, waits, or reads a clock. A decision comes out as a value; `execute` carries it out.

pub mod advance;
pub mod backlog;
pub mod begin;
pub mod candidate;
mod carry;
pub mod chain;
mod clients;
pub mod decide;
pub mod effect;
pub mod estimate;
mod forget;
pub mod gates;
pub mod hold;
pub mod in_place;
pub mod labels;
pub mod mark;
pub mod maxmemory;
pub mod next;
pub mod order;
pub mod promise;
pub mod proof;
mod records;
pub mod replica;
pub mod request;
pub mod resize;
pub mod rogue_primary;
mod sick;
pub mod switchover;
mod temporary;
pub mod time_left;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    assess::{AssessSettings, Assessment},
    domain::{
        journal::WorkloadRecord, policy::Policy, shard::ShardId, snapshot::Snapshot, switchover::SwitchoverChoice,
    },
    topology::Shard,
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
    /// Who chooses the method of a switchover.
    pub switchover: SwitchoverChoice,
}

impl Default for PlanSettings {
    /// The operator's own: jemalloc has decayed after a minute (measured), and four samples at 15 s take another.
    fn default() -> Self {
        Self {
            assess: AssessSettings::default(),
            proof_settle: Duration::from_secs(60),
            proof_timeout: Duration::from_secs(300),
            switchover: SwitchoverChoice::default(),
        }
    }
}

/// Everything that a decision is made from.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// What was observed, judged once.
    pub look: Arc<Assessment<'a>>,
    /// The validated policy.
    pub policy: &'a Policy,
    /// What was observed.
    pub snapshot: &'a Snapshot,
    /// What is remembered of each shard.
    pub records: &'a [WorkloadRecord],
    /// Now.
    pub now: Timestamp,
    /// Flags of the binary.
    pub settings: &'a PlanSettings,
}

impl<'a> Context<'a> {
    /// Judges that snapshot, so that decisions can be made on it.
    pub fn of(
        policy: &'a Policy,
        snapshot: &'a Snapshot,
        records: &'a [WorkloadRecord],
        now: Timestamp,
        settings: &'a PlanSettings,
    ) -> Self {
        let look = Assessment::of(policy, snapshot, &settings.assess).with(records, &settings.assess);
        Self::on(Arc::new(look), records, now, settings)
    }

    /// With a look that was judged before.
    pub fn on(
        look: Arc<Assessment<'a>>,
        records: &'a [WorkloadRecord],
        now: Timestamp,
        settings: &'a PlanSettings,
    ) -> Self {
        let (policy, snapshot) = (look.policy, look.snapshot);
        Self { look, policy, snapshot, records, now, settings }
    }

    /// Time that passed since `then`; zero when `then` is in the future.
    pub fn since(&self, then: Timestamp) -> Duration {
        Duration::try_from(self.now.duration_since(then)).unwrap_or(Duration::ZERO)
    }

    /// The shard of that name, as it is now.
    fn shard(&self, id: &ShardId) -> Option<&Shard<'a>> {
        self.look.shards.iter().find(|shard| shard.id.is(id))
    }

    /// What is remembered under that name.
    fn record(&self, id: &ShardId) -> Option<&'a WorkloadRecord> {
        self.records.iter().find(|record| record.shard.is(id))
    }
}
