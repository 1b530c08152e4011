//! A Redis process as an effect addresses it, and the name by which replicas follow one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::domain::{
    addresses::PodAddresses,
    journal::MemberIdentity,
    names::{NodeAddress, PodName, PodUid, RunId},
    sentinel::Sentinel,
    snapshot::Target,
};

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

/// A Sentinel, as an effect addresses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentinelPeer {
    /// The pod that it runs in.
    pub pod: PodName,
    /// Its UID.
    pub uid: PodUid,
    /// Pod IP and port.
    pub address: SocketAddr,
}

impl SentinelPeer {
    /// A Sentinel as an effect addresses it; `None`: its pod has no address.
    pub fn of(sentinel: &Sentinel) -> Option<Self> {
        let address = SocketAddr::new(sentinel.addresses.first()?, sentinel.port);
        Some(Self { pod: sentinel.pod.clone(), uid: sentinel.pod_uid.clone(), address })
    }
}

/// A member's DNS name, as replicas follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberName {
    /// What a replica is told: the form in which it had its primary's name.
    pub sent: NodeAddress,
    /// What is looked up: the pod's full name. A short form is read in the namespace of its reader, and this operator's
    /// is another.
    pub full: String,
}
