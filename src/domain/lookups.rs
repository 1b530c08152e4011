//! What was looked up on a server, and how much of it was found.

use serde::{Deserialize, Serialize};

/// `INFO stats`: what was looked up and evicted since the process started, or since the last `CONFIG RESETSTAT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lookups {
    /// `keyspace_hits`: reads that found their key.
    pub hits: u64,
    /// `keyspace_misses`: reads that did not, also of keys that never were there.
    pub misses: u64,
    /// `evicted_keys`.
    pub evicted: u64,
}
