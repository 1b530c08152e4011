//! Kills of a Redis by the kernel for want of memory, as they are remembered.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    bytes::Bytes,
    names::{PodName, PodUid},
};

/// On a policy: kills up to this time (RFC 3339) have been taken note of, and leave the status.
pub const ACKNOWLEDGED_ANNOTATION: &str = "redismemory.io/acknowledged";

/// The last end of a container, which was a kill for want of memory (`reason: OOMKilled`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kill {
    /// When the container that was killed had started; absent: not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it was killed.
    pub at: Timestamp,
}

impl Kill {
    /// How long it had run, whatever the clock of its node says; `None`: its start is not said.
    pub fn ran(self) -> Option<SignedDuration> {
        self.started_at.map(|start| self.at.duration_since(start))
    }
}

/// The kills of one pod that nobody has taken note of yet. Stored in the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodKills {
    /// The pod.
    #[schemars(with = "String", length(max = 253))]
    pub pod: PodName,
    /// Its UID: what follows from earlier kills does not hold for the pod that takes its place.
    #[schemars(with = "String", length(max = 64))]
    pub pod_uid: PodUid,
    /// When the first of them was.
    #[schemars(with = "String", length(max = 40))]
    pub first_at: Timestamp,
    /// When the last of them was.
    #[schemars(with = "String", length(max = 40))]
    pub last_at: Timestamp,
    /// How many were seen.
    #[schemars(range(min = 1, max = 1000), extend("format" = "int32"))]
    pub times: u32,
    /// How many of them, one after the other up to the last, came while the server loaded its data.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000), extend("format" = "int32"))]
    pub while_loading: u32,
    /// Why the last of them came.
    pub cause: Cause,
    /// The numbers that show it.
    #[schemars(length(max = 256))]
    pub evidence: String,
    /// The memory limit that held at the first of those that came while it loaded, in bytes; absent: none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub loading_limit_bytes: Option<i64>,
}

impl PodKills {
    /// Most kills that are counted of one pod.
    pub const MOST: u32 = 1000;

    /// The limit that held at the first of the kills that came while it loaded.
    pub fn loading_limit(&self) -> Option<Bytes> {
        self.loading_limit_bytes.and_then(|bytes| u64::try_from(bytes).ok()).map(Bytes)
    }
}

/// Why the kernel killed a Redis, by the last reading before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Cause {
    /// It loaded its data, which does not fit below the limit. While it loads `maxmemory` is not enforced (measured).
    Loading,
    /// `maxmemory` is 0: nothing bounds the data.
    NoMaxmemory,
    /// A child saved or rewrote: pages that were written meanwhile were there twice.
    Fork,
    /// Buffers of ordinary clients took half of what the limit leaves above `maxmemory`, or more.
    ClientBuffers,
    /// Buffers for replicas and for the append-only file did.
    ReplicaBuffers,
    /// The data alone are as large as the limit.
    LimitBelowData,
    /// What the limit leaves above `maxmemory` is too little for all the rest.
    Headroom,
    /// No reading from before is at hand.
    Unknown,
}

impl Cause {
    /// What it is, for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Loading => "while it loaded its data, which does not fit below the limit",
            Self::NoMaxmemory => "maxmemory is 0, so that nothing bounds the data",
            Self::Fork => "while a child saved or rewrote: what is written meanwhile is in memory twice",
            Self::ClientBuffers => "buffers of clients",
            Self::ReplicaBuffers => "buffers for replicas or the append-only file",
            Self::LimitBelowData => "the data alone are as large as the limit",
            Self::Headroom => "the limit leaves too little above maxmemory",
            Self::Unknown => "cause not known",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
