//! Who replicates whom: selected pods grouped into workloads by the live replication graph.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use crate::domain::{
    names::{ControllerUid, NodeAddress, PodName, PodUid},
    pod::Service,
    sample::{ReplicaLink, Role, Sample},
    snapshot::{Snapshot, Target},
};

/// The members that replicate one data set, as far as they are selected.
///
/// Members are joined by the edges of the live replication graph, and, unless Redis Cluster is on, by their
/// controller: an old primary that came back as a second primary has no edge to the others, yet it belongs to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload<'a> {
    /// UID of the primary's controller, else of the first member that has one; empty: no member has one.
    pub uid: ControllerUid,
    /// Name of that controller, else of the first member.
    pub name: String,
    /// Every member, by pod name.
    pub members: Vec<&'a Target>,
    /// Members that say that they are primaries.
    pub primaries: Vec<&'a Target>,
    /// Members that say that they are replicas.
    pub replicas: Vec<&'a Target>,
    /// Addresses of the replication graph that are no selected pod, sorted.
    pub outside: Vec<NodeAddress>,
    /// Members without a sample, or that do not say it: their role is not known.
    pub unknown: Vec<&'a Target>,
    /// A replica has replicas of its own.
    pub chained: bool,
    /// When a Sentinel was last seen with a member, if that was within the last hour: it counts, also while it is away.
    pub sentinel_before: Option<Timestamp>,
}

impl<'a> Workload<'a> {
    /// The primary, when exactly one member says that it is one.
    pub fn primary(&self) -> Option<&'a Target> {
        match self.primaries.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Nothing replicates anything here: each primary stands alone.
    pub fn replicates_nothing(&self) -> bool {
        self.replicas.is_empty() && self.outside.is_empty() && self.primaries.iter().all(|t| lines(t).is_empty())
    }
}

/// The target that listens at this address: at one of the pod's addresses, or at its stable DNS name, on one of its
/// ports.
///
/// `None` for a Service name, an announced address that is no pod's, and a pod that is not selected.
pub fn resolve<'a>(address: &NodeAddress, snapshot: &'a Snapshot) -> Option<&'a Target> {
    position(address, &snapshot.targets).and_then(|n| snapshot.targets.get(n))
}

/// The workloads of the snapshot, by name. Sentinels are no members.
pub fn workloads(snapshot: &Snapshot) -> Vec<Workload<'_>> {
    let targets = snapshot.targets.as_slice();
    let mut groups = Groups::new(targets.len());
    join_by_replication(targets, &mut groups);
    join_by_controller(targets, &mut groups);
    let mut members: BTreeMap<usize, Vec<&Target>> = BTreeMap::new();
    for (n, target) in targets.iter().enumerate() {
        if !target.sample().is_some_and(|s| s.server.is_sentinel) {
            members.entry(groups.root(n)).or_default().push(target);
        }
    }
    let mut workloads: Vec<_> = members.into_values().map(|members| workload(members, snapshot)).collect();
    workloads.sort_by(|a, b| (&a.name, &a.uid, first_name(a)).cmp(&(&b.name, &b.uid, first_name(b))));
    workloads
}

fn first_name<'a>(workload: &Workload<'a>) -> Option<&'a PodName> {
    workload.members.first().map(|t| &t.pod.name)
}

fn workload<'a>(mut members: Vec<&'a Target>, snapshot: &Snapshot) -> Workload<'a> {
    let targets = snapshot.targets.as_slice();
    members.sort_by(|a, b| a.pod.name.cmp(&b.pod.name));
    let with = |wanted: fn(&Sample) -> bool| -> Vec<&'a Target> {
        members.iter().copied().filter(|t| t.sample().is_some_and(wanted)).collect()
    };
    let primaries = with(|s| matches!(s.replication.role, Role::Primary));
    let replicas = with(|s| matches!(s.replication.role, Role::Replica(_)));
    let owner = primaries.iter().chain(&members).find_map(|t| t.pod.owner.as_ref());
    let name = match (owner, members.first()) {
        (Some(owner), _) => owner.name.clone(),
        (None, Some(first)) => first.pod.name.to_string(),
        (None, None) => String::new(),
    };
    Workload {
        sentinel_before: owner.and_then(|owner| snapshot.seen_before(&owner.uid)?.sentinel_at),
        uid: owner.map(|o| o.uid.clone()).unwrap_or_default(),
        name,
        outside: outside(&members, snapshot),
        unknown: members
            .iter()
            .copied()
            .filter(|t| t.sample().is_none_or(|s| s.replication.role == Role::Unknown))
            .collect(),
        chained: replicas.iter().any(|t| !lines(t).is_empty() || follows_a_replica(t, targets)),
        members,
        primaries,
        replicas,
    }
}

fn follows_a_replica(target: &Target, targets: &[Target]) -> bool {
    link(target)
        .and_then(|link| position(&link.primary, targets))
        .and_then(|n| targets.get(n))
        .is_some_and(|primary| link(primary).is_some())
}

/// Addresses that members name and that are no selected pod.
fn outside(members: &[&Target], snapshot: &Snapshot) -> Vec<NodeAddress> {
    let targets = snapshot.targets.as_slice();
    let mut found: Vec<NodeAddress> = Vec::new();
    for &member in members {
        found.extend(lines(member).iter().filter(|a| position(a, targets).is_none()).map(|&a| a.clone()));
        let Some(link) = link(member) else { continue };
        let inside = position(&link.primary, targets).is_some()
            || listed_by(member, targets).is_some()
            || is_own_service(&link.primary.host, member, snapshot);
        if !inside {
            found.push(link.primary.clone());
        }
    }
    found.sort();
    found.dedup();
    found
}

/// A Service that takes this member, follows a label and has only selected pods behind it, by its short or long name.
fn is_own_service(host: &str, member: &Target, snapshot: &Snapshot) -> bool {
    let selected = |uid: &PodUid| snapshot.targets.iter().any(|t| t.pod.uid == *uid);
    let namespace = snapshot.targets.iter().find_map(|t| t.pod.dns_name.as_deref()?.split('.').nth(2));
    let mut labels = host.trim_end_matches('.').split('.');
    let (name, given) = (labels.next(), labels.next());
    let here = given.is_none() || given == namespace;
    let own = |service: &&Service| service.role.is_some() && service.takes.contains(&member.pod.name);
    let named = snapshot.services.iter().filter(own).find(|s| Some(s.name.as_str()) == name);
    here && named.is_some_and(|service| service.ready_pods.iter().all(selected))
}

/// A replica line whose last acknowledgement is older than this may be of a pod that is gone: the server drops it
/// after `repl-timeout`, 60 s by default. A live replica acknowledges every second.
const SILENT_REPLICA: Duration = Duration::from_secs(10);

/// Of [`Workload::outside`] the addresses that a member is connected with now. What is left out may be a pod that is
/// just being replaced.
pub fn live_outside(workload: &Workload<'_>) -> Vec<NodeAddress> {
    let mut live: Vec<NodeAddress> = Vec::new();
    for sample in workload.members.iter().filter_map(|t| t.sample()) {
        let replicas = sample.replication.replicas.iter().filter(|l| l.online && l.lag <= SILENT_REPLICA);
        let primary = match &sample.replication.role {
            Role::Replica(link) if link.link_up => Some(&link.primary),
            Role::Replica(_) | Role::Primary | Role::Unknown => None,
        };
        let named = replicas.map(|l| &l.address).chain(primary);
        live.extend(named.filter(|a| workload.outside.contains(a)).cloned());
    }
    live.sort();
    live.dedup();
    live
}

/// The selected server that lists this replica, when the replica's link is up. A replica that follows a Service
/// names no pod, yet the primary behind the Service names the replica.
fn listed_by(replica: &Target, targets: &[Target]) -> Option<usize> {
    if !link(replica).is_some_and(|link| link.link_up) {
        return None;
    }
    targets.iter().position(|t| lines(t).iter().any(|address| replica.listens_at(address)))
}

fn lines(target: &Target) -> Vec<&NodeAddress> {
    target.sample().map(|s| s.replication.replicas.iter().map(|l| &l.address).collect()).unwrap_or_default()
}

fn link(target: &Target) -> Option<&ReplicaLink> {
    match &target.sample()?.replication.role {
        Role::Replica(link) => Some(link),
        Role::Primary | Role::Unknown => None,
    }
}

fn join_by_replication(targets: &[Target], groups: &mut Groups) {
    for (n, target) in targets.iter().enumerate() {
        for address in lines(target) {
            if let Some(other) = position(address, targets) {
                groups.join(n, other);
            }
        }
        let followed = link(target).and_then(|link| position(&link.primary, targets));
        if let Some(primary) = followed.or_else(|| listed_by(target, targets)) {
            groups.join(n, primary);
        }
    }
}

/// Members of one controller are joined, but for the shards of a cluster: those may share a StatefulSet. A member
/// without a sample is counted to the others of its controller; to a shard only if there is nothing else.
fn join_by_controller(targets: &[Target], groups: &mut Groups) {
    let mut by_name: Vec<(usize, &Target)> = targets.iter().enumerate().collect();
    by_name.sort_by(|(_, a), (_, b)| a.pod.name.cmp(&b.pod.name));
    let owned = |wanted: fn(&Target) -> bool| {
        let some = by_name.iter().filter(move |(_, target)| wanted(target));
        some.filter_map(|(n, target)| Some((&target.pod.owner.as_ref()?.uid, *n)))
    };
    let mut first: BTreeMap<&ControllerUid, usize> = BTreeMap::new();
    for (uid, n) in owned(|t| t.sample().is_some_and(|s| !s.server.cluster_enabled && !s.server.is_sentinel)) {
        groups.join(n, *first.entry(uid).or_insert(n));
    }
    for (uid, n) in owned(|t| t.sample().is_some_and(|s| s.server.cluster_enabled && !s.server.is_sentinel)) {
        first.entry(uid).or_insert(n);
    }
    for (uid, n) in owned(|t| t.sample().is_none()) {
        groups.join(n, *first.entry(uid).or_insert(n));
    }
}

/// The target at that address: the one that is asked at this port, else one that has this port besides.
fn position(address: &NodeAddress, targets: &[Target]) -> Option<usize> {
    let asked_at = |target: &Target| target.pod.container.as_ref().is_ok_and(|c| c.port == address.port);
    let here = |target: &Target| target.listens_at(address);
    targets.iter().position(|target| asked_at(target) && here(target)).or_else(|| targets.iter().position(here))
}

/// Disjoint sets over positions.
struct Groups(Vec<usize>);

impl Groups {
    fn new(size: usize) -> Self {
        Self((0..size).collect())
    }

    fn root(&self, mut n: usize) -> usize {
        while let Some(&parent) = self.0.get(n) {
            if parent == n {
                break;
            }
            n = parent;
        }
        n
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        let (low, high) = (a.min(b), a.max(b));
        if let Some(slot) = self.0.get_mut(high) {
            *slot = low;
        }
    }
}

#[cfg(test)]
mod tests;
