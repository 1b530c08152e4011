//! `plan`: what the operator would do about a snapshot, and what is in its way. Offline: no cluster, no Redis.

mod report;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use self::report::Report;
use super::{
    Format,
    check::COULD_NOT_LOOK,
    files::{self, FileError},
    judgement::{Due, Judgement},
    output,
    snapshot_file::{Judged, SnapshotFile, SnapshotFileError, WrittenPolicy},
    yaml,
};
use crate::{
    api::v1alpha1::{RedisMemoryPolicy, RedisMemoryPolicySpec},
    domain::duration,
    validate::validate,
};

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 nothing is due, 1 something is due and nothing is in its way, 2 something is due and \
                        something is in its way, 3 could not read."
)]
pub(super) struct Args {
    /// The snapshot: a file that `check --output yaml` wrote; `-` reads standard input.
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    /// Another policy than the one in the file: the manifest of a RedisMemoryPolicy. What would change if it held?
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// How it is shown.
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// Why nothing could be planned.
#[derive(Debug, thiserror::Error)]
enum PlanError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path}: {source}")]
    Snapshot { path: String, source: SnapshotFileError },
    #[error("{path}: {text}")]
    Policy { path: String, text: String },
    #[error("the plan cannot be written: {0}")]
    Write(String),
}

/// Plans, prints, and says by the exit code whether something is due.
pub(super) fn main(args: &Args) -> ExitCode {
    match plan(args) {
        Ok(Due::Nothing) => ExitCode::SUCCESS,
        Ok(Due::Free) => ExitCode::from(1),
        Ok(Due::Blocked) => ExitCode::from(2),
        Err(error) => output::failure(&format!("cannot plan: {error}"), COULD_NOT_LOOK),
    }
}

fn plan(args: &Args) -> Result<Due, PlanError> {
    let (path, text) = files::read(&args.file)?;
    let at_file = |source| PlanError::Snapshot { path: path.clone(), source };
    let mut file = SnapshotFile::read(&text).map_err(at_file)?;
    let mut notes = Vec::new();
    if let Some(path) = &args.policy {
        notes.extend(replace_policy(&mut file, path)?);
    }
    let policy = file.policy().map_err(at_file)?;
    if file.judged == Judged::AtOnce {
        let sustained = validate(&file.policy.resource()).map(|policy| policy.fragmentation.sustained);
        notes.push(format!(
            "the file holds one look, judged at once; the operator judges what stays so for {}",
            duration::format(sustained.unwrap_or_default())
        ));
    }
    let settings = file.settings();
    let judgement = Judgement::of(&policy, &file.snapshot, &file.workloads, file.journal.as_ref(), &settings);
    let report = Report::new(&policy, &file, &judgement, notes);
    let written = |error: &dyn std::fmt::Display| PlanError::Write(error.to_string());
    let text = match args.output {
        Format::Text => report.text(),
        Format::Json => serde_json::to_string_pretty(&report).map(|text| text + "\n").map_err(|e| written(&e))?,
        Format::Yaml => yaml::to_string(&report).map_err(|e| written(&e))?,
    };
    output::answer(&text).map_err(|e| written(&e))?;
    Ok(judgement.due())
}

/// Puts the policy of that manifest in the place of the snapshot's; what the reader must know then.
fn replace_policy(file: &mut SnapshotFile, path: &Path) -> Result<Vec<String>, PlanError> {
    let (path, text) = files::read(path)?;
    let refused = |text: String| PlanError::Policy { path: path.clone(), text };
    let resource: RedisMemoryPolicy = yaml::from_str(&text).map_err(|error| refused(error.to_string()))?;
    validate(&resource)
        .map_err(|problems| refused(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
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
