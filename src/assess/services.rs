//! Which Services lead clients to a set's primary, and which hold clients to some of its pods. A Service belongs to a set
//! by its whole selector: what leads to other sets is nobody's business here.

use crate::{
    domain::{names::PodName, pod::Service, policy::RoleLabel, snapshot::Target},
    topology::Shard,
};

/// Labels that Kubernetes itself gives to each pod of a StatefulSet, and to no two the same.
const LABELS_OF_ONE_POD: &[&str] = &["statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"];
/// Members from which on a Service for each of them alone is one of each pod. Of two, the two Services may as well be one
/// for the primary and one for the replica, by a label that somebody has fixed.
const ENOUGH_TO_TELL: usize = 3;

/// The Services by which clients follow the set's primary: they select the role label's primary value and take every member.
pub fn to_primary<'a>(shard: &'a Shard<'_>, label: &'a RoleLabel) -> impl Iterator<Item = &'a Service> {
    let leads = |service: &&Service| service.role.as_ref() == Some(&label.primary);
    shard
        .services
        .iter()
        .copied()
        .filter(leads)
        .filter(|service| shard.members.iter().all(|member| takes(service, member)))
}

/// A Service that selects the role label and would take some members of the set only: with the role its clients would lose
/// the primary.
pub fn partial<'a>(shard: &Shard<'a>) -> Option<&'a Service> {
    shard.services.iter().copied().find(|service| service.role.is_some() && divides(service, shard))
}

/// A Service that holds its clients to this member, whatever its role: it takes it and not every member, by labels that
/// do not follow the role, and the other members have no such Service of their own.
pub fn pinning<'a>(shard: &Shard<'a>, member: &Target) -> Option<&'a Service> {
    shard.services.iter().copied().find(|service| {
        service.role.is_none()
            && takes(service, member)
            && (divides(service, shard) || shard.members.len() == 1 && names_a_pod(service))
    })
}

/// The members that the Service takes, for a text.
pub fn taken(service: &Service, shard: &Shard<'_>) -> String {
    let taken = shard.members.iter().filter(|member| takes(service, member));
    taken.map(|member| member.pod.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The selector of the Service, for a text.
pub fn selector(service: &Service) -> String {
    service.selector.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn takes(service: &Service, member: &Target) -> bool {
    service.takes.contains(&member.pod.name)
}

fn names_a_pod(service: &Service) -> bool {
    LABELS_OF_ONE_POD.iter().any(|key| service.selector.contains_key(*key))
}

/// It takes some members and not all, and is not one of as many Services as there are members, each for one pod.
fn divides(service: &Service, shard: &Shard<'_>) -> bool {
    let taken = shard.members.iter().filter(|member| takes(service, member)).count();
    if taken == 0 || taken == shard.members.len() {
        return false;
    }
    let told = names_a_pod(service) || shard.members.len() >= ENOUGH_TO_TELL;
    let alike = |other: &&&Service| other.selector.keys().eq(service.selector.keys());
    let alone = |other: &Service, pod: &PodName| {
        shard.members.iter().all(|member| takes(other, member) == (member.pod.name == *pod))
    };
    let has_own = |member: &&Target| shard.services.iter().filter(alike).any(|other| alone(other, &member.pod.name));
    !(taken == 1 && told && shard.members.iter().all(has_own))
}

#[cfg(test)]
mod tests;
