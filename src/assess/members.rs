//! Members of one workload that are not alike: roles swap, so what one of them is the others should be.

use super::{Assessment, Member, headroom::HeadroomVerdict};
use crate::{
    domain::{
        finding::{Finding, FindingCode},
        policy::HeadroomMethod,
        sample::{Config, Sample},
        snapshot::Target,
    },
    topology::{Follow, Shard},
};

/// The first fact of the list that differs is said; the others come when it is mended.
pub(super) fn finding(look: &Assessment<'_>, shard: &Shard<'_>) -> Option<Finding> {
    // What stands beside others and replicates with none of them is a set of its own.
    if shard.replicates_nothing() {
        return None;
    }
    let evidence = of_samples(shard, "the server version", |sample| sample.server.version.to_string())
        .or_else(|| of_config(shard, "maxmemory", |config| config.maxmemory.or_none()))
        .or_else(|| of_config(shard, "maxmemory-policy", |config| config.maxmemory_policy.clone()))
        .or_else(|| of_config(shard, "appendonly", |config| yes_no(config.appendonly)))
        .or_else(|| of_config(shard, "save", |config| quoted(&config.save)))
        .or_else(|| credentials(shard).filter(|_| Follow::by_policy(look.policy).is_by_label()))
        .or_else(|| limits(look, shard))?;
    Some(Finding::new(
        FindingCode::MembersDiffer,
        None,
        format!("{}: {evidence}", shard.name),
        "make the members equal: after a change of roles what holds is what the new primary has",
    ))
}

fn of_samples(shard: &Shard<'_>, what: &str, fact: impl Fn(&Sample) -> String) -> Option<String> {
    different(shard, what, |target| target.sample().map(&fact))
}

fn of_config(shard: &Shard<'_>, what: &str, fact: impl Fn(&Config) -> String) -> Option<String> {
    different(shard, what, |target| target.sample()?.config.as_ref().ok().map(&fact))
}

/// Compares one fact over all members of whom it is known; names the first two that differ.
fn different(shard: &Shard<'_>, what: &str, fact: impl Fn(&Target) -> Option<String>) -> Option<String> {
    let mut facts = shard.members.iter().filter_map(|target| Some((&target.pod.name, fact(target)?)));
    let (first_pod, first) = facts.next()?;
    let (other_pod, other) = facts.find(|(_, value)| *value != first)?;
    Some(format!("{what} is {first} on {first_pod} and {other} on {other_pod}"))
}

/// Limits that are all enough. One that is not has its own finding, and its cure makes it another for a while. What is measured
/// wavers, and a limit is never lowered: so by method Measured, where each is enough for what any member needs, they may differ.
fn limits(look: &Assessment<'_>, shard: &Shard<'_>) -> Option<String> {
    let insufficient = |member: &Member<'_>| matches!(member.headroom, HeadroomVerdict::Insufficient { .. });
    let enough = |target: &&Target| !look.member(target).is_some_and(insufficient);
    let measured = look.policy.headroom.method == HeadroomMethod::Measured;
    if measured || !shard.members.iter().copied().all(|target| enough(&target)) {
        return None;
    }
    different(shard, "the container limit", |target| target.pod.limit().map(|limit| limit.to_string()))
}

/// By what two members authenticate differently as replicas, and which ones; never the credentials themselves.
pub fn credentials(shard: &Shard<'_>) -> Option<String> {
    let mut all =
        shard.members.iter().filter_map(|target| Some((&target.pod.name, target.sample()?.config.as_ref().ok()?)));
    let (first_pod, first) = all.next()?;
    all.find_map(|(pod, other)| first.authenticates_unlike(other, (first_pod.as_str(), pod.as_str())))
}

fn yes_no(on: bool) -> String {
    if on { "yes" } else { "no" }.to_owned()
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}
