//! `explain`: every number of one pod, what it is compared with, and why something or nothing is done about it; or what a
//! code means.

mod page;
mod report;

use std::{io, path::PathBuf, process::ExitCode};

use kube::{
    ResourceExt as _,
    core::{Selector, SelectorExt as _},
};

use self::report::{Explained, Source};
use super::{
    check::COULD_NOT_LOOK,
    cluster::{self, CannotAsk, Cluster, ClusterArgs},
    files::{self, FileError},
    live::{self, ReachArgs},
    output,
};
use crate::{
    api::v1alpha1::{Mode, RedisMemoryPolicy},
    cli::snapshot_file::SnapshotFile,
    clock::Clock,
    domain::names::PodName,
    kube_io::read::Reader,
};

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 explained, 3 could not look.")]
pub(super) struct Args {
    /// The pod; or the code of a finding, a refusal or a verdict: what it means, and what to do.
    #[arg(value_name = "POD|CODE")]
    pod: String,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Of several policies that select the pod, this one. Default: the one that acts.
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Explain from this snapshot (`check --output yaml`), without a cluster; `-` reads standard input.
    #[arg(long, short, value_name = "FILE", conflicts_with_all = cluster::FLAGS, conflicts_with_all = ["policy", "port_forward"])]
    file: Option<PathBuf>,
}

/// Why nothing could be explained.
#[derive(Debug, thiserror::Error)]
enum ExplainError {
    #[error(transparent)]
    Cluster(#[from] CannotAsk),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("there is no pod {pod} in namespace {namespace}")]
    NoSuchPod { pod: String, namespace: String },
    #[error("the snapshot has no pod {pod}; it has: {there}")]
    NotInSnapshot { pod: String, there: String },
    #[error(
        "no RedisMemoryPolicy of namespace {namespace} selects pod {pod}; its labels are: {labels}. Nothing is known \
         about it, and nothing is done"
    )]
    NotSelected { pod: String, namespace: String, labels: String },
    #[error("no RedisMemoryPolicy {policy} of namespace {namespace} selects pod {pod}; these do: {there}")]
    OtherPolicy { policy: String, pod: String, namespace: String, there: String },
    #[error("the answer cannot be written: {0}")]
    Write(#[source] io::Error),
}

/// Explains and prints.
pub(super) fn main(args: &Args) -> ExitCode {
    match explain(args).and_then(|text| output::tell(&text).map_err(ExplainError::Write)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::failure(&format!("cannot explain {}: {error}", args.pod), COULD_NOT_LOOK),
    }
}

fn explain(args: &Args) -> Result<String, ExplainError> {
    // No pod has such a name: theirs have no capital letters.
    if let Some(page) = page::of(&args.pod).filter(|_| args.pod.contains(|c: char| c.is_ascii_uppercase())) {
        return Ok(page);
    }
    if let Some(path) = &args.file {
        let (path, file) = files::snapshot(path)?;
        return told(args, &path, &file, Source::File);
    }
    cluster::ask(explain_live(args))
}

async fn explain_live(args: &Args) -> Result<String, ExplainError> {
    let clock = Clock::start();
    let cluster = args.cluster.connect().await?;
    let (policies, _) = cluster.listed(false).await?;
    let Chosen { acting, others, beside } = choose(args, &cluster, clock, policies).await?;
    let (namespace, policy) = (&cluster.namespace, acting.name_any());
    args.reach.prepare(&cluster, &[namespace.as_str()]).await?;
    output::progress(&format!("looking at the pods of policy {namespace}/{policy} …"));
    let file = live::look(&cluster.client, clock, &acting, &others).await?;
    let status = acting.status.unwrap_or_default();
    told(args, "the cluster", &file, Source::Cluster { status: &status, beside: &beside })
}

/// The policy that a pod is explained by.
struct Chosen {
    /// The one that acts for it (the oldest that enforces, else the oldest), or the one that was asked for.
    acting: RedisMemoryPolicy,
    /// The others of the namespace.
    others: Vec<RedisMemoryPolicy>,
    /// Those of them that select the pod too.
    beside: Vec<String>,
}

async fn choose(
    args: &Args,
    cluster: &Cluster,
    clock: Clock,
    policies: Vec<RedisMemoryPolicy>,
) -> Result<Chosen, ExplainError> {
    let (pod, namespace) = (args.pod.clone(), cluster.namespace.clone());
    let reader = Reader::new(cluster.client.clone(), clock);
    let found = reader.pod(&namespace, &PodName::new(&pod)).await.map_err(CannotAsk::from)?;
    let Some(found) = found else { return Err(ExplainError::NoSuchPod { pod, namespace }) };
    let selects = |policy: &RedisMemoryPolicy| {
        Selector::try_from(policy.spec.selector.clone()).is_ok_and(|selector| selector.matches(found.labels()))
    };
    let (mut selecting, mut others): (Vec<_>, Vec<_>) = policies.into_iter().partition(selects);
    selecting.sort_by_key(|policy| {
        (policy.spec.mode != Mode::Enforce, policy.creation_timestamp().map(|time| time.0), policy.name_any())
    });
    let at = match &args.policy {
        None => 0,
        Some(wanted) => match selecting.iter().position(|policy| policy.name_any() == *wanted) {
            Some(at) => at,
            None if selecting.is_empty() => 0,
            None => {
                let there = selecting.iter().map(kube::ResourceExt::name_any).collect::<Vec<_>>().join(", ");
                return Err(ExplainError::OtherPolicy { policy: wanted.clone(), pod, namespace, there });
            }
        },
    };
    if selecting.is_empty() {
        let labels = found.labels().iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ");
        return Err(ExplainError::NotSelected { pod, namespace, labels });
    }
    let acting = selecting.swap_remove(at);
    let beside = selecting.iter().map(kube::ResourceExt::name_any).collect();
    others.extend(selecting);
    Ok(Chosen { acting, others, beside })
}

fn told(args: &Args, path: &str, file: &SnapshotFile, source: Source<'_>) -> Result<String, ExplainError> {
    let pod = PodName::new(&args.pod);
    let policy = file.policy().map_err(|source| FileError::Snapshot { path: path.to_owned(), source })?;
    let Some(target) = file.snapshot.target(&pod) else {
        let there = file.snapshot.targets.iter().map(|target| target.pod.name.to_string()).collect::<Vec<_>>();
        return Err(ExplainError::NotInSnapshot { pod: args.pod.clone(), there: there.join(", ") });
    };
    Ok(Explained::new(&policy, file, target, source).text())
}
