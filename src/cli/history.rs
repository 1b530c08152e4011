//! `history`: how the last remediations of each set ended.

use std::{cmp::Reverse, process::ExitCode, time::Duration};

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Serialize;

use super::{
    cluster::ClusterArgs,
    list::{CannotShow, ListArgs},
};
use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    domain::{
        duration,
        journal::{Outcome, PastRemediation, WorkloadRecord},
    },
};

/// Arguments of `history`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The status of a policy keeps the last ten of each set. What is under way is shown by `status`.

Exit code: 0 shown, 3 could not look.")]
pub(super) struct Args {
    /// Only of this set: the name of its StatefulSet.
    set: Option<String>,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// A remediation that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Past {
    namespace: String,
    policy: String,
    set: String,
    remediation: String,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    ended_at: Timestamp,
    message: String,
}

/// Shows.
pub(super) fn main(args: &Args) -> ExitCode {
    args.list.show("show the history", history(args))
}

async fn history(args: &Args) -> Result<String, CannotShow> {
    let cluster = args.cluster.connect().await?;
    let policies = args.list.policies(&cluster).await?;
    let mut found: Vec<Past> = policies.iter().flat_map(of_policy).collect();
    if let Some(set) = &args.set {
        let mut there: Vec<String> = found.iter().map(|ended| ended.set.clone()).collect();
        found.retain(|ended| ended.set == *set);
        if found.is_empty() {
            there.sort_unstable();
            there.dedup();
            return Err(CannotShow::NoSuchSet { set: set.clone(), there });
        }
    }
    found.sort_by_key(|ended| (Reverse(ended.ended_at), ended.namespace.clone(), ended.set.clone()));
    if found.is_empty() && args.list.output.is_for_people() {
        return Ok("no remediation has ended here yet (another namespace: -n, all of them: -A)\n".to_owned());
    }
    let names = found.iter().map(|ended| ended.remediation.clone());
    args.list.shown(&found, names, |wide| table(&found, wide)).map_err(CannotShow::Write)
}

fn of_policy(policy: &RedisMemoryPolicy) -> Vec<Past> {
    let (namespace, name) = (policy.namespace().unwrap_or_default(), policy.name_any());
    let records = policy.status.as_ref().map(|status| status.workloads.as_slice()).unwrap_or_default();
    let each = |record: &WorkloadRecord| {
        let set = record.name.clone();
        record.history().into_iter().map(move |past| (set.clone(), past)).collect::<Vec<_>>()
    };
    let ended = |(set, past): (String, PastRemediation)| Past {
        namespace: namespace.clone(),
        policy: name.clone(),
        set,
        remediation: past.remediation,
        outcome: past.outcome,
        started_at: past.started_at,
        ended_at: past.ended_at,
        message: past.message,
    };
    records.iter().flat_map(each).map(ended).collect()
}

fn table(found: &[Past], wide: bool) -> Vec<Vec<String>> {
    let row = |ended: &Past| {
        let took = ended.started_at.and_then(|started| Duration::try_from(ended.ended_at.duration_since(started)).ok());
        // Whole seconds: nobody reads more.
        let took = took.map(|took| duration::format(Duration::from_secs(took.as_secs())));
        let mut row = vec![ended.namespace.clone(), ended.set.clone()];
        if wide {
            row.extend([ended.policy.clone(), ended.remediation.clone()]);
        }
        row.extend([
            ended.ended_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            took.unwrap_or_else(|| "-".to_owned()),
            ended.outcome.as_str().to_owned(),
            ended.message.clone(),
        ]);
        row
    };
    let mut head = vec!["NAMESPACE", "SET"];
    if wide {
        head.extend(["POLICY", "REMEDIATION"]);
    }
    head.extend(["ENDED", "TOOK", "OUTCOME", "MESSAGE"]);
    std::iter::once(head.into_iter().map(str::to_owned).collect()).chain(found.iter().map(row)).collect()
}
