//! `plan`: what the operator would do, and what is in its way; from a snapshot file, or of the cluster as it is now.
//! Nothing is changed.

mod report;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use self::report::Report;
use super::{
    check::COULD_NOT_LOOK,
    cluster::{self, CannotAsk, Cluster, ClusterArgs},
    files::{self, FileError},
    judgement::{Due, Judgement},
    live::{self, ReachArgs},
    output,
    snapshot_file::{Judged, SnapshotFile, WrittenPolicy},
    yaml,
};
use crate::{
    api::v1alpha1::{RedisMemoryPolicy, RedisMemoryPolicySpec},
    clock::Clock,
    domain::{duration, request::Request},
    validate::{self, validate},
};

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true).args(["name", "file"]),
    after_help = "Exit code: 0 nothing is due, 1 something is due and nothing is in its way, 2 something is due and \
                        something is in its way, 3 could not look."
)]
pub(super) struct Args {
    /// The policy, of which the cluster is looked at now.
    name: Option<String>,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Without a cluster, from this snapshot, as `check --output yaml` or `plan NAME --output snapshot` writes one; `-`
    /// reads standard input.
    #[arg(long, short, value_name = "FILE", conflicts_with_all = cluster::FLAGS, conflicts_with = "port_forward")]
    file: Option<PathBuf>,
    /// Another policy than the snapshot's: the manifest of a RedisMemoryPolicy. What would follow if it held?
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// How it is shown.
    #[arg(long, short, value_enum, default_value_t = Shown::Text)]
    output: Shown,
}

/// How the plan is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Shown {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
    /// Not the plan but the snapshot that it is made from, for --file.
    Snapshot,
}

/// Why nothing could be planned.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Cluster(#[from] CannotAsk),
    #[error("{path}: {text}")]
    Policy { path: String, text: String },
    #[error("the plan cannot be written: {0}")]
    Write(String),
}

/// Plans, prints, and says by the exit code whether something is due.
pub(super) fn main(args: &Args) -> ExitCode {
    match plan(args) {
        Ok(due) => code(due),
        Err(error) => output::failure(&format!("cannot plan: {error}"), COULD_NOT_LOOK),
    }
}

fn code(due: Due) -> ExitCode {
    match due {
        Due::Nothing => ExitCode::SUCCESS,
        Due::Free => ExitCode::from(1),
        Due::Blocked => ExitCode::from(2),
    }
}

/// Prints the plan that the request would make now.
pub(super) async fn of_request(
    cluster: &Cluster,
    clock: Clock,
    policy: &RedisMemoryPolicy,
    policies: &[RedisMemoryPolicy],
    request: Request,
) -> Result<ExitCode, PlanError> {
    let mut file = live::look(&cluster.client, clock, policy, policies).await?;
    file.snapshot.surroundings.request = Some(request);
    shown("the cluster", &file, Vec::new(), Shown::Text).map(code)
}

fn plan(args: &Args) -> Result<Due, PlanError> {
    let (path, mut file) = match (&args.file, &args.name) {
        (Some(path), _) => files::snapshot(path)?,
        (None, name) => ("the cluster".to_owned(), look(args, name.as_deref().unwrap_or_default())?),
    };
    let mut notes = Vec::new();
    if let Some(path) = &args.policy {
        notes.extend(replace_policy(&mut file, path)?);
    }
    shown(&path, &file, notes, args.output)
}

fn shown(path: &str, file: &SnapshotFile, mut notes: Vec<String>, output: Shown) -> Result<Due, PlanError> {
    let policy = file.policy().map_err(|source| FileError::Snapshot { path: path.to_owned(), source })?;
    notes.extend(caveats(file));
    let settings = file.settings();
    let judgement = Judgement::of(&policy, &file.snapshot, &file.workloads, file.journal.as_ref(), &settings);
    let report = Report::new(&policy, file, &judgement, notes);
    let text = match output {
        Shown::Text => Ok(report.text()),
        Shown::Json => serde_json::to_string_pretty(&report).map(|text| text + "\n").map_err(|e| e.to_string()),
        Shown::Yaml => yaml::to_string(&report).map_err(|e| e.to_string()),
        Shown::Snapshot => file.write().map_err(|e| e.to_string()),
    };
    let for_people = output == Shown::Text;
    text.and_then(|text| output::print(for_people, &text).map_err(|e| e.to_string())).map_err(PlanError::Write)?;
    Ok(judgement.due())
}

/// The cluster as it is now.
fn look(args: &Args, name: &str) -> Result<SnapshotFile, CannotAsk> {
    cluster::ask(async {
        let cluster = args.cluster.connect().await?;
        let (policies, _) = cluster.listed(false).await?;
        let policy = cluster.named(&policies, name)?;
        args.reach.prepare(&cluster, &[cluster.namespace.as_str()]).await?;
        output::progress(&format!("looking at the pods of policy {}/{name} …", cluster.namespace));
        live::look(&cluster.client, Clock::start(), policy, &policies).await
    })
}

/// What the reader must know to weigh the answer.
fn caveats(file: &SnapshotFile) -> Vec<String> {
    let mut notes = Vec::new();
    if file.judged == Judged::AtOnce {
        let sustained = validate(&file.policy.resource()).map(|policy| policy.fragmentation.sustained);
        let sustained = duration::format(sustained.unwrap_or_default());
        notes.push(format!("one look, judged at once; the operator judges what stays so for {sustained}"));
    }
    let targets = &file.snapshot.targets;
    if !targets.is_empty() && targets.iter().all(|target| target.pod.owner.is_none()) {
        notes.push(
            "no pod's controller is known (`check` asks only Redis): what is in the way because of StatefulSets, \
             labels or Services may say no more than that"
                .to_owned(),
        );
    }
    let silent: Vec<&str> =
        targets.iter().filter(|target| target.sample().is_none()).map(|target| target.pod.name.as_str()).collect();
    if !silent.is_empty() {
        notes.push(format!(
            "{} did not answer from here, so what is due may be more: the operator asks from inside the cluster, see \
             `status`",
            silent.join(", ")
        ));
    }
    notes
}

/// Puts the policy of that manifest in the place of the snapshot's; what the reader must know then.
fn replace_policy(file: &mut SnapshotFile, path: &Path) -> Result<Vec<String>, PlanError> {
    let (path, text) = files::read(path)?;
    let refused = |text: String| PlanError::Policy { path: path.clone(), text };
    let resource: RedisMemoryPolicy = yaml::from_str(&text).map_err(|error| refused(error.to_string()))?;
    validate(&resource).map_err(|problems| refused(validate::in_words(&problems)))?;
    let other = WrittenPolicy::from(&resource);
    let found_with = |spec: &RedisMemoryPolicySpec| (spec.selector.clone(), spec.redis.clone());
    let mut notes = Vec::new();
    if found_with(&other.spec) != found_with(&file.policy.spec) {
        notes.push(
            "spec.selector or spec.redis differ from the snapshot's policy: the pods, their containers and labels \
             are still those that the snapshot's policy found"
                .to_owned(),
        );
    }
    // Of the same resource, with a changed spec: what is remembered of the workloads still counts.
    file.policy.spec = other.spec;
    file.policy.generation += 1;
    Ok(notes)
}
