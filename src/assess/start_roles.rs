//! Which pod alone starts as a primary, and what a role that it does not have costs at the next restart.
//!
//! A role that a pod's start does not give it is undone by a restart, as a setting of `CONFIG SET` is. Only in plain
//! replication: a Sentinel or another operator gives the roles itself.

use super::empty;
use crate::{
    domain::{
        finding::{Finding, FindingCode},
        journal::WorkloadRecord,
        names::{NodeAddress, PodName},
        policy::Policy,
        sample::Role,
        snapshot::Target,
    },
    topology::Shard,
};

/// The arguments that make a server a replica: the new name and the old one.
const REPLICA_OF: [&str; 2] = ["replicaof", "slaveof"];

/// The pod that alone starts as a primary, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartsAlone<'a> {
    /// The pod.
    pub target: &'a Target,
    /// How it is known, for people.
    pub how: &'static str,
}

/// The member that alone starts as a primary, where that is known: from the arguments with which every other member
/// starts, or from what came back when this operator restarted the members. `proven`: the pods that came back as
/// primaries.
pub fn alone<'a>(shard: &Shard<'a>, proven: &[PodName]) -> Option<StartsAlone<'a>> {
    if !plain_replication(shard) {
        return None;
    }
    let by_arguments = named_by_arguments(shard);
    match (proven, by_arguments) {
        ([pod], named) if named.is_none_or(|named| named.pod.name == *pod) => {
            let target = shard.members.iter().copied().find(|member| member.pod.name == *pod)?;
            Some(StartsAlone { target, how: "it came back as a primary when it was restarted" })
        }
        ([], Some(target)) => {
            Some(StartsAlone { target, how: "the start arguments of the others make them its replicas" })
        }
        // Each starts as a primary, or what is written and what was seen contradict each other.
        _ => None,
    }
}

/// The same for the record of that workload.
pub fn alone_by_record<'a>(shard: &Shard<'a>, records: &[WorkloadRecord]) -> Option<StartsAlone<'a>> {
    let record = shard.record(records);
    alone(shard, record.map(|record| record.starts_as_primary.as_slice()).unwrap_or_default())
}

/// Whether the member that is primary now is the very process that our last switchover made one: then it is ours to hand
/// the role back. Where somebody else has moved it since, it is theirs.
pub fn owed(shard: &Shard<'_>, records: &[WorkloadRecord]) -> bool {
    let record = shard.record(records);
    let made = record.and_then(|record| record.primary.as_ref());
    let primary = shard.primary().and_then(Target::sample);
    made.zip(primary).is_some_and(|(made, now)| made.uid == now.pod_uid && made.run_id == now.run_id)
}

/// Neither Redis Cluster nor a Sentinel nor another operator decides who is primary.
fn plain_replication(shard: &Shard<'_>) -> bool {
    shard.is_plain() && shard.foreign_owner().is_none()
}

/// The one member that the arguments of all others name as their primary.
fn named_by_arguments<'a>(shard: &Shard<'a>) -> Option<&'a Target> {
    let follows = |member: &Target| -> Option<PodName> {
        let container = member.pod.container.as_ref().ok()?;
        let set = shard.set_of(member)?;
        let value = REPLICA_OF.iter().find_map(|name| set.start_value(&container.name, name))?;
        let (host, port) = value.split_once(' ')?;
        let address = NodeAddress { host: host.to_owned(), port: port.trim().parse().ok()? };
        shard.resolve(&address).map(|named| named.pod.name.clone())
    };
    let named: Vec<(&'a Target, Option<PodName>)> =
        shard.members.iter().map(|member| (*member, follows(member))).collect();
    let meant = named.iter().find_map(|(_, name)| name.clone())?;
    let (found, others): (Vec<_>, Vec<_>) = named.into_iter().partition(|(member, _)| member.pod.name == meant);
    let all = !others.is_empty() && others.iter().all(|(_, name)| name.as_ref() == Some(&meant));
    found.first().filter(|_| all).map(|(member, _)| *member)
}

/// Another member is primary than the one that alone starts as one.
pub(super) fn finding(policy: &Policy, shard: &Shard<'_>, records: &[WorkloadRecord]) -> Option<Finding> {
    let StartsAlone { target: start, how } = alone_by_record(shard, records)?;
    let primary = shard.primary()?;
    let is_replica = start.sample().is_some_and(|sample| matches!(sample.replication.role, Role::Replica(_)));
    if primary.pod.uid == start.pod.uid || !is_replica || empty::primary_empty(shard).is_some() {
        return None;
    }
    let (primary, start) = (&primary.pod.name, &start.pod.name);
    let who = if owed(shard, records) && policy.fragmentation.restart_allowed {
        "this operator moved the role and hands it back, see the plan and what is in its way"
    } else {
        "hand the role back when it suits (FAILOVER TO it)"
    };
    Some(Finding::new(
        FindingCode::RoleAgainstStart,
        None,
        format!(
            "{}: {primary} is primary, but {start} alone starts as one ({how}): a restart of {primary} leaves nobody \
             primary, as it and {start} then follow each other; a restart of {start} makes a second primary with the \
             data of that moment",
            shard.name
        ),
        format!(
            "restart neither {primary} nor {start} until the role is back: {who}, or let every pod's start find the live primary"
        ),
    ))
}

#[cfg(test)]
mod tests;
