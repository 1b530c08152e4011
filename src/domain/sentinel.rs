//! What a Sentinel said when it was asked: which sets it watches, and what it knows of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    addresses::PodAddresses,
    names::{NodeAddress, PodName, PodUid},
    snapshot::ProbeFailure,
    written,
};

/// The port at which Sentinels listen unless they are told otherwise.
pub const SENTINEL_PORT: u16 = 26379;

/// A Sentinel in a pod, and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sentinel {
    /// The pod that it runs in: a member's own, or one that `spec.redis.sentinel.selector` selects.
    pub pod: PodName,
    /// Its UID.
    pub pod_uid: PodUid,
    /// Its addresses, by Kubernetes.
    pub addresses: PodAddresses,
    /// The port at which it is asked.
    #[serde(default = "usual_port")]
    pub port: u16,
    /// The container that declares that port, or the only one of the pod; `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// What it said, or why it said nothing.
    #[serde(with = "written::known")]
    pub said: Result<Said, ProbeFailure>,
}

const fn usual_port() -> u16 {
    SENTINEL_PORT
}

/// Whom a Sentinel names as primary of a set, asked while the role moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Where it says that the primary is.
    pub primary: NodeAddress,
    /// It carries a failover out.
    pub failing_over: bool,
}

/// The answer of a Sentinel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Said {
    /// Its id (`SENTINEL MYID`), by which others know it: it outlives the process where its configuration is kept.
    pub id: String,
    /// `sentinel_tilt`: its clock jumped, or it stood still. It acts on nothing for 30 s then.
    pub tilt: bool,
    /// The sets that it watches.
    pub sets: Vec<WatchedSet>,
}

/// A set as one Sentinel sees it (`SENTINEL MASTERS`, `REPLICAS`, `SENTINELS`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WatchedSet {
    /// The name under which clients ask for it.
    pub name: String,
    /// Where it says that the primary is.
    pub primary: NodeAddress,
    /// `s_down`, `o_down` or `disconnected` is among the primary's flags.
    pub primary_down: bool,
    /// `failover_in_progress` is among them.
    pub failing_over: bool,
    /// Sentinels that must take the primary for dead before one fails over.
    pub quorum: u32,
    /// `down-after-milliseconds`.
    #[serde(with = "written::duration")]
    pub down_after: Duration,
    /// `failover-timeout`.
    #[serde(with = "written::duration")]
    pub failover_timeout: Duration,
    /// `role-reported-time`: for how long this Sentinel has seen this primary as one. It begins anew with every failover,
    /// and when the Sentinel is started.
    #[serde(with = "written::duration")]
    pub settled_for: Duration,
    /// The replicas that it knows.
    pub replicas: Vec<Known>,
    /// The other Sentinels of this set that it knows, dead ones included: all of them count for a majority.
    pub others: Vec<Known>,
}

/// A replica or another Sentinel that a Sentinel knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Known {
    /// The `runid` that it is known by: of a Sentinel its id, of a replica that of its process.
    pub id: String,
    /// Where it is said to be. It is never dialled.
    pub address: NodeAddress,
    /// `s_down`, `o_down` or `disconnected` is among its flags.
    pub down: bool,
    /// Of a replica: what the Sentinel knows of it is younger than 10 s (`info-refresh`). Always true of another Sentinel.
    #[serde(default = "fresh", skip_serializing_if = "Clone::clone")]
    pub fresh: bool,
}

const fn fresh() -> bool {
    true
}
