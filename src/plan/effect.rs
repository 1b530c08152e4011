//! One concrete change of the world, with everything that must still be true when it is made.

use std::{net::SocketAddr, time::Duration};

use crate::domain::{
    bytes::Bytes,
    names::{NodeAddress, PodName, PodUid, RunId},
    policy::RoleLabel,
    snapshot::Target,
};

/// One concrete change, resolved from a [`Step`](crate::domain::step::Step) or from upkeep against a live snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Evict a pod; preconditions: its UID, and that its Redis is still that process and still a replica.
    Evict {
        /// The Redis in the pod.
        peer: Peer,
    },
    /// Evict a primary that nothing takes over from; preconditions: its UID, and that its Redis is still that process,
    /// still primary, and writes its data out without failures.
    EvictPrimary {
        /// The Redis in the pod.
        peer: Peer,
    },
    /// Have a Redis write its data out in the background; precondition: the `run_id`.
    Persist {
        /// The Redis.
        peer: Peer,
        /// By an AOF rewrite; else by a save.
        rewrite: bool,
    },
    /// Set `repl-backlog-size`; precondition: the `run_id`.
    SetBacklog {
        /// The Redis.
        peer: Peer,
        /// The new size.
        size: Bytes,
        /// It is what it was before the remediation.
        back: bool,
    },
    /// Set a container's memory limit in place; preconditions: UID and resourceVersion.
    Resize {
        /// The pod.
        pod: PodName,
        /// The pod that is meant.
        uid: PodUid,
        /// The version that was judged.
        resource_version: String,
        /// The container.
        container: String,
        /// The new limit.
        limit: Bytes,
        /// The new request: only for Guaranteed pods, whose QoS class may not change.
        request: Option<Bytes>,
    },
    /// Set the role label; preconditions: UID and resourceVersion.
    Label {
        /// The pod.
        pod: PodName,
        /// The pod that is meant.
        uid: PodUid,
        /// The version that was judged.
        resource_version: String,
        /// Label key.
        key: String,
        /// Label value.
        value: String,
    },
    /// Apply run-time settings; precondition: the `run_id`.
    Restore {
        /// The Redis.
        peer: Peer,
        /// Name and value, as `CONFIG SET` takes them, in order.
        settings: Vec<(String, String)>,
    },
    /// Make a replica follow another primary; precondition: its `run_id`.
    Repoint {
        /// The replica.
        peer: Peer,
        /// The name to use if it resolves to `to`'s pod: the form that the replica used before.
        by_name: Option<NodeAddress>,
        /// The new primary.
        to: Peer,
    },
    /// Hand the primary role over, label moves included.
    Switchover(Box<SwitchoverOrder>),
}

/// A Redis process in a pod, as it was seen when the decision was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The pod.
    pub pod: PodName,
    /// Its UID.
    pub uid: PodUid,
    /// The process.
    pub run_id: RunId,
    /// Pod IP and port.
    pub address: SocketAddr,
}

impl Peer {
    /// A target as an effect addresses it; `None`: it has no address or gave no sample.
    pub fn of(target: &Target) -> Option<Self> {
        let ip = target.pod.ip.as_deref()?.parse().ok()?;
        let port = target.pod.container.as_ref().ok()?.port;
        Some(Self {
            pod: target.pod.name.clone(),
            uid: target.pod.uid.clone(),
            run_id: target.sample()?.run_id.clone(),
            address: SocketAddr::new(ip, port),
        })
    }
}

/// Everything that a switchover needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchoverOrder {
    /// The primary.
    pub from: Peer,
    /// The replica that becomes the primary.
    pub to: Peer,
    /// The address of `to` in the primary's `slaveN` line: the only form that `FAILOVER TO` takes. `None` when the
    /// roles have changed already and no FAILOVER will be sent.
    pub failover_address: Option<NodeAddress>,
    /// The role label that Services follow.
    pub role_label: RoleLabel,
    /// Services that select the primary's label value: both pods must be behind them before the switch.
    pub services: Vec<String>,
    /// FAILOVER's own bound on waiting for the replica.
    pub failover_timeout: Duration,
    /// `max_replication_lag` of the policy, in bytes.
    pub max_lag: Bytes,
}
