//! Members of one workload that are not alike: roles swap, so what one of them is the others should be.

use super::{
    headroom::{self, HeadroomVerdict},
    topology::{self, Workload},
};
use crate::domain::{
    finding::{Finding, FindingCode},
    pod::Container,
    policy::{AuthorityRule, Policy},
    sample::{Config, Sample},
    snapshot::{Snapshot, Target},
};

/// The first fact of the list that differs is said; the others come when it is mended.
pub(super) fn findings(policy: &Policy, snapshot: &Snapshot) -> Vec<Finding> {
    topology::workloads(snapshot).iter().filter_map(|workload| finding(policy, workload)).collect()
}

fn finding(policy: &Policy, workload: &Workload<'_>) -> Option<Finding> {
    // What stands beside others and replicates with none of them is a set of its own.
    if workload.replicates_nothing() {
        return None;
    }
    let evidence = of_samples(workload, "the server version", |sample| sample.server.version.to_string())
        .or_else(|| of_config(workload, "maxmemory", |config| config.maxmemory.to_string()))
        .or_else(|| of_config(workload, "maxmemory-policy", |config| config.maxmemory_policy.clone()))
        .or_else(|| of_config(workload, "appendonly", |config| yes_no(config.appendonly)))
        .or_else(|| of_config(workload, "save", |config| quoted(&config.save)))
        .or_else(|| credentials(workload).filter(|_| roles_move(policy)))
        .or_else(|| limits(policy, workload))?;
    Some(Finding::new(
        FindingCode::MembersDiffer,
        None,
        format!("{}: {evidence}", workload.name),
        "make the members equal: after a change of roles what holds is what the new primary has",
    ))
}

fn of_samples(workload: &Workload<'_>, what: &str, fact: impl Fn(&Sample) -> String) -> Option<String> {
    different(workload, what, |target| target.sample().map(&fact))
}

fn of_config(workload: &Workload<'_>, what: &str, fact: impl Fn(&Config) -> String) -> Option<String> {
    different(workload, what, |target| target.sample()?.config.as_ref().ok().map(&fact))
}

/// Compares one fact over all members of whom it is known; names the first two that differ.
fn different(workload: &Workload<'_>, what: &str, fact: impl Fn(&Target) -> Option<String>) -> Option<String> {
    let mut facts = workload.members.iter().filter_map(|target| Some((&target.pod.name, fact(target)?)));
    let (first_pod, first) = facts.next()?;
    let (other_pod, other) = facts.find(|(_, value)| *value != first)?;
    Some(format!("{what} is {first} on {first_pod} and {other} on {other_pod}"))
}

/// Limits that are all enough. One that is not has its own finding, and its cure makes it another for a while.
fn limits(policy: &Policy, workload: &Workload<'_>) -> Option<String> {
    let enough = |target: &&Target| !matches!(headroom::judge(policy, target), HeadroomVerdict::Insufficient { .. });
    if !workload.members.iter().copied().all(|target| enough(&target)) {
        return None;
    }
    different(workload, "the container limit", |target| {
        target.pod.container.as_ref().ok().and_then(Container::limit).map(|limit| limit.to_string())
    })
}

/// By what two members authenticate differently as replicas, and which ones; never the credentials themselves.
pub fn credentials(workload: &Workload<'_>) -> Option<String> {
    let mut all =
        workload.members.iter().filter_map(|target| Some((&target.pod.name, target.sample()?.config.as_ref().ok()?)));
    let (first_pod, first) = all.next()?;
    all.find_map(|(pod, other)| first.authenticates_unlike(other, (first_pod.as_str(), pod.as_str())))
}

/// Somebody may give the primary's role to another member: where nobody is named who does, it stays where it is.
fn roles_move(policy: &Policy) -> bool {
    policy.redis.authority != AuthorityRule::Auto
}

fn yes_no(on: bool) -> String {
    if on { "yes" } else { "no" }.to_owned()
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}
