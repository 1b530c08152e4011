//! The order of a switchover: what its driver needs to know, from the record of how it was begun and from what is seen.

use super::{super::Advance, Direction};
use crate::{
    assess::services,
    domain::{
        journal::{MemberIdentity, SwitchoverRecord},
        names::NodeAddress,
        sample::Role,
        snapshot::Target,
    },
    plan::{
        effect::{MemberName, Peer, SwitchoverOrder},
        replica,
        switchover::PAUSE,
    },
    topology::Shard,
};

impl Advance<'_> {
    pub(super) fn order(
        &self,
        way: &Direction<'_>,
        record: &SwitchoverRecord,
        resumed: bool,
    ) -> Option<SwitchoverOrder> {
        let label = &self.ctx.policy.redis.role_label;
        let services = services::to_primary(self.shard, label);
        let chosen = record.candidate.as_ref()?;
        let candidate = way.to.filter(|new| new.pod.uid == chosen.uid);
        let form = |replica: &Target| name_of(way, replica, candidate?);
        let uninvolved = |target: &&&Target| {
            target.pod.uid != record.primary.uid && target.pod.uid != chosen.uid && !target.pod.terminating
        };
        // Whoever is told to follow throws its own data away.
        let others = self.shard.replicas.iter().filter(uninvolved).filter(|target| self.is_of_the_set(target));
        Some(SwitchoverOrder {
            method: record.method,
            from: recorded_peer(&record.primary, Some(way.from))?,
            to: recorded_peer(chosen, candidate)?,
            to_gone: candidate.is_none(),
            to_going: candidate.is_some_and(|new| new.pod.terminating),
            resumed,
            begins: false,
            replid: record.replid.clone(),
            to_addresses: record.candidate_addresses.clone(),
            failover_address: candidate.and_then(|new| line_of(self.shard, way, new)),
            by_name: candidate.and_then(form),
            others: others.filter_map(|other| Some((Peer::of(other)?, form(other)))).collect(),
            keeps_labels: self.shard.follow.is_ours(),
            role_label: label.clone(),
            services: services.map(|service| service.name.clone()).collect(),
            pause: PAUSE,
            max_lag: self.ctx.policy.restart.max_replication_lag,
        })
    }
}

/// Whatever the old primary may be told to follow the candidate by: its address, its name, and what the server
/// itself knows it by.
pub(super) fn addresses(shard: &Shard<'_>, way: &Direction<'_>, new: &Target) -> Vec<String> {
    let address = Peer::of(new).map(|peer| peer.node());
    let known = [address, name_of(way, new, new).map(|name| name.sent), line_of(shard, way, new)];
    let mut texts: Vec<String> = known.into_iter().flatten().map(|known| known.to_string()).collect();
    texts.dedup();
    texts
}

/// The name by which a replica that follows the old primary by name is to follow the candidate.
fn name_of(way: &Direction<'_>, replica: &Target, new: &Target) -> Option<MemberName> {
    let Role::Replica(link) = &replica.sample()?.replication.role else { return None };
    replica::stable_name(&link.primary, &way.from.pod, &new.pod)
}

/// The candidate's address in the old primary's list of replicas.
fn line_of(shard: &Shard<'_>, way: &Direction<'_>, new: &Target) -> Option<NodeAddress> {
    replica::line_of(shard, way.from.sample()?, new).map(|line| line.address.clone())
}

/// The process that was recorded, at the address that its pod has. One whose pod is gone is never dialled.
fn recorded_peer(identity: &MemberIdentity, at: Option<&Target>) -> Option<Peer> {
    at.map_or_else(|| Some(Peer::gone(identity)), |target| Peer::at(identity, target))
}
