//! `restart` and `switchover`: ask the operator for what no threshold makes due, through an annotation of the policy. All
//! that it does then is what it does by itself: the same gates, order and proof.

use std::{io, process::ExitCode};

use kube::ResourceExt as _;

use super::{
    change,
    check::COULD_NOT_LOOK,
    cluster::{self, CannotAsk, Cluster, ClusterArgs},
    live::ReachArgs,
    output,
    plan::{self, PlanError},
};
use crate::{
    api::v1alpha1::{RedisMemoryPolicy, RedisMemoryPolicyStatus},
    clock::Clock,
    domain::{
        names::PodName,
        request::{Ask, REQUEST_ANNOTATION, Wanted},
    },
    kube_io::ask::{self, Change},
    validate::request,
};

/// Arguments of `restart`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 asked, 3 could not ask. With --dry-run: as `plan`.")]
pub(super) struct RestartArgs {
    /// The pod, or a StatefulSet, all of whose data set's pods are restarted, the primary last.
    name: String,
    #[command(flatten)]
    how: How,
}

/// Arguments of `switchover`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 asked, 3 could not ask. With --dry-run: as `plan`.")]
pub(super) struct SwitchoverArgs {
    /// A StatefulSet of the data set.
    set: String,
    /// The replica that becomes primary. Default: the one that a remediation would take.
    #[arg(long, value_name = "POD")]
    to: Option<String>,
    #[command(flatten)]
    how: How,
}

/// What both take.
#[derive(Debug, clap::Args)]
struct How {
    /// Why: one line, which status, events and log repeat.
    #[arg(long, required_unless_present = "dry_run", value_name = "TEXT")]
    reason: Option<String>,
    /// The policy that selects the pods. Default: the only one of the namespace, or the only one whose status names them.
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Ask for nothing: print the plan that would be made, and what is in its way; with --reason also the kubectl command
    /// that asks for it.
    #[arg(long)]
    dry_run: bool,
    /// For --dry-run, which looks at the pods: nothing else does.
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Why nothing could be asked for.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Cluster(#[from] CannotAsk),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("there is no RedisMemoryPolicy {name} in namespace {namespace}; there are: {there}")]
    NoSuchPolicy { name: String, namespace: String, there: String },
    #[error("which policy selects {name}? Name one with --policy; in namespace {namespace} there are: {there}")]
    WhichPolicy { name: String, namespace: String, there: String },
    #[error("{0}")]
    Malformed(String),
    #[error(
        "the operator has not answered what was asked of policy {policy} before ({before}); to withdraw that: kubectl \
         annotate rmp {policy} {REQUEST_ANNOTATION}-"
    )]
    Unanswered { policy: String, before: String },
    #[error("the answer cannot be written: {0}")]
    Write(#[source] io::Error),
}

/// Asks for a restart.
pub(super) fn restart(args: &RestartArgs) -> ExitCode {
    run(&args.name, Wanted::Restart { name: args.name.clone() }, &args.how)
}

/// Asks for a switchover.
pub(super) fn switchover(args: &SwitchoverArgs) -> ExitCode {
    let to = args.to.as_deref().map(PodName::from);
    run(&args.set, Wanted::Switchover { set: args.set.clone(), to }, &args.how)
}

fn run(name: &str, wanted: Wanted, how: &How) -> ExitCode {
    match cluster::ask(asked(name, wanted, how)) {
        Ok(code) => code,
        Err(error) => output::failure(&format!("cannot ask for it: {error}"), COULD_NOT_LOOK),
    }
}

async fn asked(name: &str, wanted: Wanted, how: &How) -> Result<ExitCode, AskError> {
    let cluster = how.cluster.connect().await?;
    let (policies, _) = cluster.listed(false).await?;
    let policy = chosen(name, how, &cluster, &policies)?;
    let by = ask::asker(&cluster.client).await;
    let reason = how.reason.clone().unwrap_or_else(|| "a dry run".to_owned());
    let clock = Clock::start();
    let ask = Ask { wanted, by, at: clock.now(), reason };
    let value = request::written(&ask);
    let read = request::request(&value);
    if let Err(why) = &read.ask {
        return Err(AskError::Malformed(why.clone()));
    }
    let change = Change::annotation(REQUEST_ANNOTATION, value);
    if how.dry_run {
        how.reach.prepare(&cluster, &[cluster.namespace.as_str()]).await?;
        let code = plan::of_request(&cluster, clock, policy, &policies, read).await?;
        // Without a reason there is no request yet.
        if how.reason.is_some() {
            output::answer(&format!("\n{}", change::dry(policy, &change))).map_err(AskError::Write)?;
        }
        return Ok(code);
    }
    let (namespace, policy_name) = (&cluster.namespace, policy.name_any());
    if let Some(before) = request::pending(policy) {
        let before = before.ask.map_or_else(|why| why, |ask| ask.cause());
        return Err(AskError::Unanswered { policy: policy_name, before });
    }
    ask::change(&cluster.client, policy, &change).await.map_err(CannotAsk::from)?;
    let text = format!(
        "asked of policy {namespace}/{policy_name}; to see what comes of it: status {policy_name} -n {namespace} -w\n"
    );
    output::answer(&text).map_err(AskError::Write)?;
    Ok(ExitCode::SUCCESS)
}

/// The policy that is asked: by name, the only one, or the only one whose status names what is asked for.
fn chosen<'a>(
    name: &str,
    how: &How,
    cluster: &Cluster,
    policies: &'a [RedisMemoryPolicy],
) -> Result<&'a RedisMemoryPolicy, AskError> {
    let namespace = cluster.namespace.clone();
    let there = || policies.iter().map(kube::ResourceExt::name_any).collect::<Vec<_>>().join(", ");
    if let Some(wanted) = &how.policy {
        let found = policies.iter().find(|policy| policy.name_any() == *wanted);
        return found.ok_or_else(|| AskError::NoSuchPolicy { name: wanted.clone(), namespace, there: there() });
    }
    let naming = policies.iter().filter(|policy| policy.status.as_ref().is_some_and(|status| names(status, name)));
    match (policies, naming.collect::<Vec<_>>().as_slice()) {
        ([only], _) => Ok(only),
        (_, [only]) => Ok(*only),
        _ => Err(AskError::WhichPolicy { name: name.to_owned(), namespace, there: there() }),
    }
}

/// Whether the status is about a set or a pod of that name.
fn names(status: &RedisMemoryPolicyStatus, name: &str) -> bool {
    let remembered = status
        .workloads
        .iter()
        .any(|record| record.name == name || record.restarts.iter().any(|restart| restart.pod.as_str() == name));
    let found = status
        .findings
        .iter()
        .any(|finding| finding.pod.as_deref() == Some(name) || finding.pods.iter().any(|pod| pod == name));
    let planned = status.plan.as_ref().is_some_and(|plan| {
        plan.workload == name || plan.steps.iter().any(|planned| planned.step.pod().as_str() == name)
    });
    remembered || found || planned
}
