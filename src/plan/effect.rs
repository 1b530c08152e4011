//! One concrete change of the world, with everything that must still be true when it is made.

mod words;

pub use words::Words;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use crate::domain::{
    addresses::PodAddresses,
    bytes::Bytes,
    journal::MemberIdentity,
    names::{NodeAddress, PodName, PodUid, RunId},
    policy::RoleLabel,
    snapshot::Target,
    switchover::SwitchoverMethod,
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
    /// Give the candidate of a switchover what clients rely on at the primary, or take it back; precondition: the `run_id`.
    Carry {
        /// The candidate.
        peer: Peer,
        /// Name and value, as `CONFIG SET` takes them.
        settings: Vec<(String, String)>,
        /// They are what they were before.
        back: bool,
    },
    /// Make a replica follow another primary; precondition: its `run_id`.
    Repoint {
        /// The replica.
        peer: Peer,
        /// The name to use if it resolves to `to`'s pod: the form that the replica used before.
        by_name: Option<MemberName>,
        /// The new primary.
        to: Peer,
    },
    /// Make an old primary that came back as a primary a replica of the new one; preconditions, read right before:
    /// both `run_id`s, that both are primaries, and that the new one holds keys.
    Demote {
        /// The old primary's replacement.
        peer: Peer,
        /// The name to use if it resolves to `to`'s pod: the form that the other replicas use.
        by_name: Option<MemberName>,
        /// The new primary.
        to: Peer,
    },
    /// Close ordinary connections that still stand on an old primary; preconditions: its `run_id`, and that it is no primary.
    CloseClients {
        /// The old primary.
        peer: Peer,
        /// Who is primary now.
        primary: PodName,
        /// For how long the Services have led to that one alone.
        standing: Duration,
    },
    /// Hand the primary role over, label moves included.
    Switchover(Box<SwitchoverOrder>),
}

impl Effect {
    /// Give a pod that value of the role label.
    pub fn label(target: &Target, label: &RoleLabel, value: String) -> Self {
        Self::Label {
            pod: target.pod.name.clone(),
            uid: target.pod.uid.clone(),
            resource_version: target.pod.resource_version.clone(),
            key: label.key.clone(),
            value,
        }
    }
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
    /// Pod IP and port: where it is asked.
    pub address: SocketAddr,
    /// Every address of the pod.
    pub addresses: PodAddresses,
    /// The port at which others replicate from it.
    pub replication_port: u16,
}

impl Peer {
    /// A target as an effect addresses it; `None`: it has no address or gave no sample.
    pub fn of(target: &Target) -> Option<Self> {
        let (pod, uid) = (target.pod.name.clone(), target.pod.uid.clone());
        Self::at(&MemberIdentity { pod, uid, run_id: target.sample()?.run_id.clone() }, target)
    }

    /// That process, at the address that its pod has.
    pub fn at(identity: &MemberIdentity, target: &Target) -> Option<Self> {
        let port = target.pod.container.as_ref().ok()?.port;
        Some(Self {
            address: SocketAddr::new(target.pod.addresses.first()?, port),
            addresses: target.pod.addresses.clone(),
            replication_port: target.replication_port()?,
            ..Self::gone(identity)
        })
    }

    /// That process, whose pod is gone: it has no address, and is never dialled.
    pub fn gone(identity: &MemberIdentity) -> Self {
        Self {
            pod: identity.pod.clone(),
            uid: identity.uid.clone(),
            run_id: identity.run_id.clone(),
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            addresses: PodAddresses::default(),
            replication_port: 0,
        }
    }

    /// The address by which others follow it where no name will do.
    pub fn node(&self) -> NodeAddress {
        NodeAddress { host: self.address.ip().to_string(), port: self.replication_port }
    }
}

/// A member's DNS name, as replicas follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberName {
    /// What a replica is told: the form in which it had its primary's name.
    pub sent: NodeAddress,
    /// What is looked up: the pod's full name. A short form is read in the namespace of whoever reads it, and this operator's
    /// is another.
    pub full: String,
}

/// Everything that a switchover needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchoverOrder {
    /// How the role is handed over.
    pub method: SwitchoverMethod,
    /// The primary, as it was when the switchover was begun.
    pub from: Peer,
    /// The replica that becomes the primary, as it was then.
    pub to: Peer,
    /// The candidate's pod of that UID no longer exists, by a list that was just read.
    pub to_gone: bool,
    /// The candidate's pod is being deleted, by the same list.
    pub to_going: bool,
    /// It was begun before: another process may have done any part of it.
    pub resumed: bool,
    /// An exchange may be begun, if the roles are found as they were. Else what was begun is ended, one way or the other,
    /// and nothing more.
    pub begins: bool,
    /// `master_replid` of both when it was begun.
    pub replid: String,
    /// The addresses, `host:port`, by which `from` may have been told to follow `to` when it was begun.
    pub to_addresses: Vec<String>,
    /// The address of `to` in the primary's `slaveN` line: the only form that `FAILOVER TO` takes. `None` when the
    /// roles have changed already and no FAILOVER will be sent.
    pub failover_address: Option<NodeAddress>,
    /// The name by which the old primary is to follow `to`, in the form that replicas use here; `None`: by address.
    pub by_name: Option<MemberName>,
    /// The other replicas, and the name by which each is to follow `to`.
    pub others: Vec<(Peer, Option<MemberName>)>,
    /// We keep the role label. Else another controller does.
    pub keeps_labels: bool,
    /// The role label that Services follow.
    pub role_label: RoleLabel,
    /// Services that select the primary's label value: both pods must be behind them before the switch.
    pub services: Vec<String>,
    /// Writes are held back for at most this long.
    pub pause: Duration,
    /// `max_replication_lag` of the policy, in bytes.
    pub max_lag: Bytes,
}
