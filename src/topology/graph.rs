//! Which targets replicate one data set: the edges of the live replication graph, and the controllers of the pods.
//!
//! Look-ups go through an index, so that the time to group the targets of a policy grows with their number and not with
//! its square.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
};

use crate::domain::{
    names::{ControllerUid, NodeAddress, PodName, PodUid},
    pod::Service,
    sample::{ReplicaLink, Role},
    snapshot::{Snapshot, Target},
};

/// Of these targets the one that listens at that address: the one that is asked at this port, else one that has this
/// port besides.
pub(super) fn at<'a>(address: &NodeAddress, targets: impl Iterator<Item = &'a Target>) -> Option<&'a Target> {
    targets.filter(|target| target.listens_at(address)).min_by_key(|target| !is_asked_at(target, address))
}

fn is_asked_at(target: &Target, address: &NodeAddress) -> bool {
    target.pod.container.as_ref().is_ok_and(|container| container.port == address.port)
}

/// Addresses of the replicas that it lists.
pub(super) fn lines(target: &Target) -> impl Iterator<Item = &NodeAddress> {
    target.sample().into_iter().flat_map(|sample| sample.replication.replicas.iter().map(|line| &line.address))
}

/// Its link to its primary; `None`: it is no replica, or does not say.
pub(super) fn link(target: &Target) -> Option<&ReplicaLink> {
    match &target.sample()?.replication.role {
        Role::Replica(link) => Some(link),
        Role::Primary | Role::Unknown => None,
    }
}

/// The replication graph of one snapshot. A target is named by its position there.
pub(super) struct Graph<'a> {
    snapshot: &'a Snapshot,
    /// By an address that a target names, the targets that listen there, in order: each address is read once.
    listening: HashMap<&'a NodeAddress, Vec<usize>>,
    /// By replica, the first server that lists it.
    listed_by: HashMap<usize, usize>,
    positions: HashMap<&'a PodUid, usize>,
    namespace: Option<&'a str>,
}

impl<'a> Graph<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let targets = &snapshot.targets;
        let index = Index::of(targets);
        let mut graph = Self {
            snapshot,
            listening: HashMap::new(),
            listed_by: HashMap::new(),
            positions: targets.iter().enumerate().map(|(n, target)| (&target.pod.uid, n)).collect(),
            namespace: targets.iter().find_map(|target| target.pod.dns_name.as_deref()?.split('.').nth(2)),
        };
        for (n, target) in targets.iter().enumerate() {
            for address in lines(target) {
                for replica in graph.listening.entry(address).or_insert_with(|| index.listening(address)) {
                    graph.listed_by.entry(*replica).or_insert(n);
                }
            }
            if let Some(link) = link(target) {
                graph.listening.entry(&link.primary).or_insert_with(|| index.listening(&link.primary));
            }
        }
        graph
    }

    /// Groups of targets, by the first of each.
    pub(super) fn groups(&self) -> Vec<Vec<&'a Target>> {
        let targets = &self.snapshot.targets;
        let mut groups = Groups((0..targets.len()).collect());
        self.join_by_replication(&mut groups);
        self.join_by_controller(&mut groups);
        let mut members: BTreeMap<usize, Vec<&Target>> = BTreeMap::new();
        for (n, target) in targets.iter().enumerate() {
            members.entry(groups.root(n)).or_default().push(target);
        }
        members.into_values().collect()
    }

    /// The target at that address, which one of the targets names.
    fn at(&self, address: &NodeAddress) -> Option<usize> {
        let listening = self.listening.get(address)?.iter().copied();
        listening.min_by_key(|n| !self.snapshot.targets.get(*n).is_some_and(|target| is_asked_at(target, address)))
    }

    /// The selected server that lists this replica, when the replica's link is up. A replica that follows a Service names
    /// no pod, yet the primary behind the Service names the replica.
    fn listed_by(&self, n: usize, link: &ReplicaLink) -> Option<usize> {
        self.listed_by.get(&n).copied().filter(|_| link.link_up)
    }

    fn join_by_replication(&self, groups: &mut Groups) {
        for (n, target) in self.snapshot.targets.iter().enumerate() {
            for other in lines(target).filter_map(|address| self.at(address)) {
                groups.join(n, other);
            }
            let Some(link) = link(target) else { continue };
            if let Some(primary) = self.at(&link.primary).or_else(|| self.listed_by(n, link)) {
                groups.join(n, primary);
            }
        }
    }

    /// Members of one controller are joined, but for the shards of a cluster: those may share a StatefulSet. A member
    /// without a sample is counted to the others of its controller; to a shard only if there is nothing else. So are
    /// controllers that were one shard when something was stored of it, unless they are seen to be apart.
    fn join_by_controller(&self, groups: &mut Groups) {
        let mut by_name: Vec<(usize, &Target)> = self.snapshot.targets.iter().enumerate().collect();
        by_name.sort_by(|(_, a), (_, b)| a.pod.name.cmp(&b.pod.name));
        let owned = |wanted: fn(&Target) -> bool| {
            let some = by_name.iter().filter(move |(_, target)| wanted(target));
            some.filter_map(|(n, target)| Some((&target.pod.owner.as_ref()?.uid, *n)))
        };
        let mut first: BTreeMap<&ControllerUid, usize> = BTreeMap::new();
        for (uid, n) in owned(|t| t.sample().is_some_and(|s| !s.server.cluster_enabled)) {
            groups.join(n, *first.entry(uid).or_insert(n));
        }
        for (uid, n) in owned(|t| t.sample().is_some_and(|s| s.server.cluster_enabled)) {
            first.entry(uid).or_insert(n);
        }
        for (uid, n) in owned(|t| t.sample().is_none()) {
            groups.join(n, *first.entry(uid).or_insert(n));
        }
        let in_cluster = |n: usize| {
            let sample = self.snapshot.targets.get(n).and_then(|target| target.sample());
            sample.is_some_and(|sample| sample.server.cluster_enabled)
        };
        let stored = self.snapshot.surroundings.stored.iter().filter(|id| id.shard.is_none() && id.sets.len() > 1);
        let mut seen = None;
        for id in stored {
            if seen.get_or_insert_with(|| Controllers::of(self.snapshot)).are_apart(&id.sets) {
                continue;
            }
            let mut of_id = id.sets.iter().filter_map(|set| first.get(set).copied()).filter(|n| !in_cluster(*n));
            let Some(one) = of_id.next() else { continue };
            of_id.for_each(|other| groups.join(one, other));
        }
    }

    /// Addresses that these members name and that are no selected pod, sorted. `announced`: the address of a Service that
    /// takes one pod alone is that pod, as where Sentinels are told such addresses.
    pub(super) fn outside(&self, members: &[&Target], announced: bool) -> Vec<NodeAddress> {
        let mut found: Vec<NodeAddress> = Vec::new();
        for &member in members {
            found.extend(lines(member).filter(|address| self.at(address).is_none()).cloned());
            let Some(link) = link(member) else { continue };
            let listed = || self.listed_by(*self.positions.get(&member.pod.uid)?, link);
            let inside = self.at(&link.primary).is_some()
                || self.is_own_service(&link.primary.host, member)
                || listed().is_some();
            if !inside {
                found.push(link.primary.clone());
            }
        }
        found.retain(|address| !announced || self.snapshot.announced(address).is_none());
        found.sort();
        found.dedup();
        found
    }

    /// The replica's primary is a selected pod, and follows another one itself.
    pub(super) fn follows_a_replica(&self, target: &Target) -> bool {
        let primary = link(target).and_then(|link| self.snapshot.targets.get(self.at(&link.primary)?));
        primary.is_some_and(|primary| link(primary).is_some())
    }

    /// A Service that takes this member, follows a label and has only selected pods behind it, by its short or long name.
    fn is_own_service(&self, host: &str, member: &Target) -> bool {
        let mut labels = host.trim_end_matches('.').split('.');
        let (name, given) = (labels.next(), labels.next());
        let here = given.is_none() || given == self.namespace;
        let own = |service: &&Service| service.role.is_some() && service.takes.contains(&member.pod.name);
        let named = self.snapshot.services.iter().filter(own).find(|service| Some(service.name.as_str()) == name);
        here && named.is_some_and(|service| service.ready_pods.iter().all(|uid| self.positions.contains_key(uid)))
    }
}

/// What is seen of the controllers of the pods.
struct Controllers<'a> {
    /// Whether every one of its pods answers.
    answers: HashMap<&'a ControllerUid, bool>,
    /// Positions of the Services that take pods of it.
    services: HashMap<&'a ControllerUid, HashSet<usize>>,
}

impl<'a> Controllers<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let owned = |target: &'a Target| Some((&target.pod.name, &target.pod.owner.as_ref()?.uid));
        let of_pod: HashMap<&PodName, &ControllerUid> = snapshot.targets.iter().filter_map(owned).collect();
        let mut seen = Self { answers: HashMap::new(), services: HashMap::new() };
        for target in &snapshot.targets {
            if let Some((_, uid)) = owned(target) {
                *seen.answers.entry(uid).or_insert(true) &= target.sample().is_some();
            }
        }
        for (n, service) in snapshot.services.iter().enumerate() {
            for uid in service.takes.iter().filter_map(|pod| of_pod.get(pod)) {
                seen.services.entry(uid).or_default().insert(n);
            }
        }
        seen
    }

    /// Those were one shard and are so no more: people made them replicate each other for a while, or a server lied. Every
    /// member of every one answers, so that what joins them would be seen, and no Service takes pods of two of them: a second
    /// primary of one set is not taken for a set of its own.
    fn are_apart(&self, sets: &[ControllerUid]) -> bool {
        let mut taking = HashSet::new();
        sets.iter().all(|set| self.answers.get(set) == Some(&true))
            && sets.iter().filter_map(|set| self.services.get(set)).flatten().all(|service| taking.insert(*service))
    }
}

/// The targets by the hosts that they may be named by.
struct Index<'a> {
    targets: &'a [Target],
    by_ip: HashMap<IpAddr, Vec<usize>>,
    /// By the first label of the pod's DNS name.
    by_label: HashMap<String, Vec<usize>>,
}

impl<'a> Index<'a> {
    fn of(targets: &'a [Target]) -> Self {
        let mut index = Self { targets, by_ip: HashMap::new(), by_label: HashMap::new() };
        for (n, target) in targets.iter().enumerate() {
            for ip in target.pod.addresses.iter() {
                index.by_ip.entry(ip).or_default().push(n);
            }
            if let Some(name) = &target.pod.dns_name {
                index.by_label.entry(first_label(name)).or_default().push(n);
            }
        }
        index
    }

    /// Who listens at that address, in order.
    fn listening(&self, address: &NodeAddress) -> Vec<usize> {
        let near = match address.host.parse::<IpAddr>() {
            Ok(ip) => self.by_ip.get(&ip.to_canonical()),
            Err(_) => self.by_label.get(&first_label(&address.host)),
        };
        let near = near.map(Vec::as_slice).unwrap_or_default().iter().copied();
        near.filter(|n| self.targets.get(*n).is_some_and(|target| target.listens_at(address))).collect()
    }
}

fn first_label(host: &str) -> String {
    host.split('.').next().unwrap_or_default().to_ascii_lowercase()
}

/// Disjoint sets over positions.
struct Groups(Vec<usize>);

impl Groups {
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
