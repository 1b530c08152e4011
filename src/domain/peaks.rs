//! The most that a target's memory took within the last day: what method Measured sizes a limit by.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{bytes::Bytes, ratio::Ratio, written};

/// Below this much used memory (100 MB) the base of the process weighs too much in every ratio, and a fork's share says nothing.
pub const TELLING_FROM: Bytes = Bytes(100_000_000);

/// The most that was seen of one pod within the last day (24 to 32 hours), across its processes. The default is a pod of
/// which nothing was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Peaks {
    /// For how long of that time it was sampled.
    #[serde(with = "written::duration")]
    pub covered: Duration,
    /// The 95th percentile of `mem_fragmentation_ratio`, in steps of 0.05 from 1.15 on, rounded up; of readings with at
    /// least [`TELLING_FROM`] of used memory, while it neither loaded nor synced. `None`: there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Ratio>,
    /// `mem_not_counted_for_evict`.
    pub uncounted: Bytes,
    /// `mem_clients_normal`.
    pub clients: Bytes,
    /// What it held back, as a replica, of the stream of writes during a full sync.
    pub sync_buffer: Bytes,
    /// Pages that a fork copied, in percent of what was used then, of forks that were seen at work with at least 100 MB of
    /// used memory. `None`: none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copied: Option<Ratio>,
    /// Bytes of writes a second over a minute or more, as the replication stream or the append-only file grew.
    pub writes: Bytes,
    /// The same of the minutes in which a fork was at work.
    pub writes_copied: Bytes,
}

impl Peaks {
    /// Whether anything was seen.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
