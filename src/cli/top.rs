//! `top`: where memory is wasted, the most first: of policies by what the operator says of them, or of each pod, asked now.

use std::{cmp::Reverse, process::ExitCode};

use kube::ResourceExt;
use serde::Serialize;

use super::{
    cluster::{CannotAsk, Cluster, ClusterArgs},
    list::{self, CannotShow, ListArgs},
    live::{self, ReachArgs},
    output,
};
use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    clock::Clock,
    domain::{bytes::Bytes, quantity, sample::Role, snapshot::Target},
};

/// Arguments of `top`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Waste is resident memory less used memory. Without --live the numbers are the rounded ones of the policies' \
                  status. A pod that does not answer from here comes last, with the reason \
                  (from outside of the cluster: --port-forward).

Exit code: 0 shown, 3 could not look."
)]
pub(super) struct Args {
    /// With --live: only the pods of this policy.
    #[arg(conflicts_with = "all_namespaces", requires = "live")]
    policy: Option<String>,
    /// Each pod, by asking its Redis now.
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// A policy, for programs: the status' own numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct OfPolicy {
    namespace: String,
    policy: String,
    /// Selected pods, and those whose Redis answers.
    pods: i32,
    answering: i32,
    waste: Option<String>,
    worst_ratio: Option<String>,
    verdict: Option<String>,
    #[serde(skip)]
    bytes: Option<Bytes>,
}

/// A pod, for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct OfPod {
    namespace: String,
    pod: String,
    policy: String,
    /// primary, replica or unknown.
    role: &'static str,
    used_bytes: Option<u64>,
    rss_bytes: Option<u64>,
    waste_bytes: Option<u64>,
    ratio: Option<String>,
    limit_bytes: Option<u64>,
    /// Why there are no numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    silent: Option<String>,
}

/// Shows.
pub(super) fn main(args: &Args) -> ExitCode {
    args.list.show("look", top(args))
}

async fn top(args: &Args) -> Result<String, CannotShow> {
    let cluster = args.cluster.connect().await?;
    let policies = args.list.policies(&cluster).await?;
    if let Some(name) = &args.policy {
        cluster.named(&policies, name)?;
    }
    if policies.is_empty() && args.list.output.is_for_people() {
        return Ok(list::NONE.to_owned());
    }
    if args.live { pods(args, &cluster, &policies).await } else { of_policies(args, &policies) }
}

fn of_policies(args: &Args, policies: &[RedisMemoryPolicy]) -> Result<String, CannotShow> {
    let mut found: Vec<OfPolicy> = policies.iter().map(of_policy).collect();
    found.sort_by_key(|one| (Reverse(one.bytes), one.namespace.clone(), one.policy.clone()));
    let names = found.iter().map(|one| list::policy_named(&one.policy));
    args.list.shown(&found, names, |_| table_of_policies(&found)).map_err(CannotShow::Write)
}

fn table_of_policies(found: &[OfPolicy]) -> Vec<Vec<String>> {
    let head = ["NAMESPACE", "POLICY", "PODS", "WASTE", "WORST", "VERDICT"].map(str::to_owned).to_vec();
    let rows = found.iter().map(|one| {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(none);
        vec![
            one.namespace.clone(),
            one.policy.clone(),
            format!("{}/{}", one.answering, one.pods),
            or_none(&one.waste),
            or_none(&one.worst_ratio),
            or_none(&one.verdict),
        ]
    });
    std::iter::once(head).chain(rows).collect()
}

fn of_policy(policy: &RedisMemoryPolicy) -> OfPolicy {
    let status = policy.status.as_ref();
    let summary = status.and_then(|status| status.summary.as_ref());
    let waste = summary.and_then(|summary| summary.waste.clone());
    OfPolicy {
        namespace: policy.namespace().unwrap_or_default(),
        policy: policy.name_any(),
        pods: summary.map_or(0, |summary| summary.targets),
        answering: summary.map_or(0, |summary| summary.reachable),
        bytes: waste.as_deref().and_then(read_back),
        waste,
        worst_ratio: summary.and_then(|summary| summary.worst_fragmentation.clone()),
        verdict: status.and_then(|status| status.verdict.as_ref()).map(|verdict| verdict.level.clone()),
    }
}

/// Bytes of an amount as the status shows it: "390 MiB" is the quantity 390Mi.
fn read_back(shown: &str) -> Option<Bytes> {
    let quantity = shown.replace(' ', "");
    quantity::parse(quantity.strip_suffix('B').unwrap_or(&quantity)).ok()
}

async fn pods(args: &Args, cluster: &Cluster, policies: &[RedisMemoryPolicy]) -> Result<String, CannotShow> {
    let mut found: Vec<OfPod> = Vec::new();
    let clock = Clock::start();
    let mut namespaces: Vec<String> = policies.iter().filter_map(ResourceExt::namespace).collect();
    namespaces.dedup();
    args.reach.prepare(cluster, &namespaces.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    for policy in policies.iter().filter(|policy| args.policy.as_ref().is_none_or(|name| policy.name_any() == *name)) {
        let (namespace, name) = (policy.namespace().unwrap_or_default(), policy.name_any());
        output::progress(&format!("asking the pods of policy {namespace}/{name} …"));
        match live::look(&cluster.client, clock, policy, policies).await {
            Ok(file) => found.extend(file.snapshot.targets.iter().map(|target| of_pod(&namespace, &name, target))),
            Err(error @ CannotAsk::NotValid { .. }) if args.policy.is_none() => output::complain(&error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    found.sort_by_key(|one| (Reverse(one.waste_bytes), one.namespace.clone(), one.pod.clone()));
    let names = found.iter().map(|one| format!("pod/{}", one.pod));
    args.list.shown(&found, names, |wide| table(&found, wide)).map_err(CannotShow::Write)
}

fn of_pod(namespace: &str, policy: &str, target: &Target) -> OfPod {
    let sample = target.sample();
    let memory = sample.map(|sample| &sample.memory);
    let limit = target.pod.limit();
    OfPod {
        namespace: namespace.to_owned(),
        pod: target.pod.name.to_string(),
        policy: policy.to_owned(),
        role: match sample.map(|sample| &sample.replication.role) {
            Some(Role::Primary) => "primary",
            Some(Role::Replica(_)) => "replica",
            Some(Role::Unknown) | None => "unknown",
        },
        used_bytes: memory.map(|memory| memory.used.0),
        rss_bytes: memory.map(|memory| memory.rss.0),
        waste_bytes: memory.map(|memory| memory.waste().0),
        ratio: memory.map(|memory| memory.ratio.to_string()),
        limit_bytes: limit.map(|limit| limit.0),
        silent: sample.is_none().then(|| target.why_silent()),
    }
}

/// A row for each pod. Why one has no numbers stands in a column of its own, where there is such a pod.
fn table(found: &[OfPod], wide: bool) -> Vec<Vec<String>> {
    let bytes = |bytes: Option<u64>| bytes.map_or_else(none, |bytes| Bytes(bytes).to_string());
    let any_silent = found.iter().any(|one| one.silent.is_some());
    let row = |one: &OfPod| {
        let mut row = vec![one.namespace.clone(), one.pod.clone(), one.role.to_owned()];
        row.extend([bytes(one.waste_bytes), one.ratio.clone().unwrap_or_else(none), bytes(one.used_bytes)]);
        if wide {
            row.push(bytes(one.rss_bytes));
        }
        row.push(bytes(one.limit_bytes));
        if wide {
            row.push(one.policy.clone());
        }
        row.extend(any_silent.then(|| one.silent.clone().unwrap_or_else(none)));
        row
    };
    let mut head = vec!["NAMESPACE", "POD", "ROLE", "WASTE", "RATIO", "USED"];
    head.extend(if wide { ["RSS", "LIMIT", "POLICY"].as_slice() } else { &["LIMIT"] });
    head.extend(any_silent.then_some("WHY NO NUMBERS"));
    std::iter::once(head.into_iter().map(str::to_owned).collect()).chain(found.iter().map(row)).collect()
}

fn none() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::domain::bytes::{GIB, MIB};

    #[rstest]
    #[case("390 MiB", Some(390 * MIB))]
    #[case("2 GiB", Some(2 * GIB))]
    #[case("0 B", Some(0))]
    #[case("much", None)]
    fn what_the_status_shows_is_an_amount(#[case] shown: &str, #[case] expected: Option<u64>) {
        assert_eq!(read_back(shown), expected.map(Bytes));
        // And it is what the status writes.
        assert!(expected.is_none_or(|bytes| Bytes(bytes).to_string() == shown), "{shown}");
    }
}
