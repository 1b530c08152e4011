//! Which Services lead clients to a set's primary, and which hold clients to some of its pods. A Service belongs to a set
//! by its whole selector: what leads to other sets is nobody's business here.

use std::collections::BTreeMap;

use crate::{
    domain::{
        finding::{Finding, FindingCode},
        names::PodName,
        pod::{LABELS_OF_ONE_POD, Service},
        policy::{Policy, RoleLabel},
        snapshot::Target,
    },
    topology::{Lead, Shard},
};

/// Members from which on a Service for each of them alone is one of each pod. Of two, the two Services may as well be one
/// for the primary and one for the replica, by a label that somebody has fixed.
const ENOUGH_TO_TELL: usize = 3;
/// Sets that are named in a text.
const NAMED: usize = 4;

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

/// Services by which clients are to find one primary, and that take members of several data sets: a connection meets the
/// primary of either, and what one has written the next one does not find.
pub(super) fn findings(policy: &Policy, shards: &[Shard<'_>]) -> Vec<Finding> {
    let label = &policy.redis.role_label;
    let leads_to_one = |shard: &&Shard<'_>| shard.follow.is_by_label() && shard.lead != Lead::Nobody;
    let mut taken: BTreeMap<&str, (&Service, Vec<&str>)> = BTreeMap::new();
    for shard in shards.iter().filter(leads_to_one) {
        let leads = |service: &&&Service| service.role.as_ref() == Some(&label.primary);
        for service in shard.services.iter().filter(leads) {
            taken.entry(&service.name).or_insert((service, Vec::new())).1.push(&shard.name);
        }
    }
    let shared = taken.into_values().filter(|(_, sets)| sets.len() > 1);
    let finding = |(service, sets): (&Service, Vec<&str>)| {
        Finding::new(
            FindingCode::ServiceTakesSeveralSets,
            None,
            format!(
                "Service {} selects {} and so the pods of {} data sets ({}): its clients meet the primary of each",
                service.name,
                selector(service),
                sets.len(),
                sets.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ")
            ),
            "give each set a Service whose selector has a label that only the pods of that set carry",
        )
    };
    shared.map(finding).collect()
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
