//! `report`: one document about a namespace or the whole cluster, for people who have no access to it: what each set has,
//! wastes and lacks, what a cure would give back, what happened lately. Nothing is changed.

mod escape;
mod html;
mod lately;
mod made;
mod markdown;
mod page;
mod right_size;
mod value;
mod words;

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use kube::ResourceExt;

use self::{made::Looked, value::Report};
use super::{
    check::COULD_NOT_LOOK,
    cluster::{self, CannotAsk, Cluster, ClusterArgs},
    files::{self, FileError},
    live::{self, ReachArgs},
    output,
};
use crate::{api::v1alpha1::RedisMemoryPolicy, clock::Clock, kube_io::policies::Unreadable};

/// Policies that are looked at at the same time: each asks the API server for a handful of things.
const AT_ONCE: usize = 4;

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 written, 3 could not look or write. What could not be looked at stands in the report."
)]
pub(super) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    reach: ReachArgs,
    /// Every namespace.
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Ask no Redis and look at no pod: only what the operator wrote into its policies.
    #[arg(long)]
    status_only: bool,
    /// Without a cluster, from this snapshot, as `check --output yaml` or `plan NAME --output snapshot` writes one; may be
    /// given several times; `-` reads standard input.
    #[arg(long, short, value_name = "FILE",
          conflicts_with_all = ["namespace", "context", "all_namespaces", "status_only", "port_forward"])]
    file: Vec<PathBuf>,
    /// What is written. Default: by the ending of --output-file (.html, .md, .json), else html.
    #[arg(long, short, value_enum)]
    output: Option<Form>,
    /// Where it is written to. Default: standard output.
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// One file for a browser or paper: no script, nothing from elsewhere.
    Html,
    /// For programs.
    Json,
    /// For an issue, a wiki or a mail.
    Markdown,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
enum ReportError {
    #[error(transparent)]
    Cluster(#[from] CannotAsk),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot write the report: {0}")]
    Write(String),
    #[error("--output-file: cannot write {path}: {source}")]
    WriteFile { path: String, source: io::Error },
}

/// Looks, makes the report and writes it.
pub(super) fn main(args: &Args) -> ExitCode {
    match made(args).and_then(|report| write(args, &report)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::failure(&format!("no report: {error}"), COULD_NOT_LOOK),
    }
}

fn made(args: &Args) -> Result<Report, ReportError> {
    if !args.file.is_empty() {
        return of_files(&args.file);
    }
    cluster::ask(of_cluster(args))
}

fn of_files(paths: &[PathBuf]) -> Result<Report, ReportError> {
    let mut looked = Vec::new();
    let mut made_at = Timestamp::UNIX_EPOCH;
    for path in paths {
        let (path, file) = files::snapshot(path)?;
        made_at = made_at.max(file.snapshot.at);
        looked.push(Looked::of_file(file).map_err(|source| FileError::Snapshot { path, source })?);
    }
    let scope = if paths.len() == 1 { "a snapshot".to_owned() } else { format!("{} snapshots", paths.len()) };
    let note = "from snapshots: what the operator would say of them, had it seen nothing before".to_owned();
    Ok(Report::of(scope, made_at, vec![note], &looked))
}

async fn of_cluster(args: &Args) -> Result<Report, ReportError> {
    let clock = Clock::start();
    let cluster = args.cluster.connect().await?;
    let (policies, unreadable) = cluster.listed(args.all_namespaces).await?;
    let mut notes: Vec<String> = unreadable.iter().map(of_unreadable).collect();
    for note in &notes {
        output::complain(note);
    }
    let looked = if args.status_only {
        notes.push("only what the operator wrote: no pod was looked at, and no Redis was asked".to_owned());
        let why = "its pods were not looked at (--status-only)";
        let unseen = |resource| Looked { resource, seen: Err(why.to_owned()), notes: Vec::new() };
        policies.into_iter().map(unseen).collect()
    } else {
        notes.push(
            "each Redis was asked once, from where this was made, and what it said is judged at once; the operator's own \
             words are those of its last look. The one may be newer than the other"
                .to_owned(),
        );
        let namespaces: BTreeSet<String> = policies.iter().filter_map(ResourceExt::namespace).collect();
        args.reach.prepare(&cluster, &namespaces.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        output::progress(&format!("looking at the pods of {} policies …", policies.len()));
        look(&cluster, clock, policies).await
    };
    let scope =
        if args.all_namespaces { "all namespaces".to_owned() } else { format!("namespace {}", cluster.namespace) };
    let report = Report::of(scope, clock.now(), notes, &looked);
    Ok(report)
}

fn of_unreadable(Unreadable { name, text }: &Unreadable) -> String {
    format!("RedisMemoryPolicy {name} is stored and cannot be read by this version: {text}")
}

/// Looks at the pods of each policy. What cannot be looked at stops nothing.
async fn look(cluster: &Cluster, clock: Clock, policies: Vec<RedisMemoryPolicy>) -> Vec<Looked> {
    let all = &policies;
    let looks = stream::iter(all).map(|resource| async move {
        let seen = live::look(&cluster.client, clock, resource, all).await;
        Looked {
            resource: resource.clone(),
            seen: seen.map_err(|error| format!("its pods could not be looked at: {error}")),
            notes: Vec::new(),
        }
    });
    looks.buffered(AT_ONCE).collect().await
}

fn write(args: &Args, report: &Report) -> Result<(), ReportError> {
    let text = match form(args) {
        Form::Html => html::render(report),
        Form::Markdown => markdown::render(report),
        Form::Json => {
            serde_json::to_string_pretty(report).map_err(|error| ReportError::Write(error.to_string()))? + "\n"
        }
    };
    match &args.output_file {
        Some(path) => {
            fs::write(path, text).map_err(|source| ReportError::WriteFile { path: path.display().to_string(), source })
        }
        None => output::answer(&text).map_err(|error| ReportError::Write(error.to_string())),
    }
}

fn form(args: &Args) -> Form {
    let ending = args.output_file.as_deref().and_then(Path::extension).map(OsStr::to_ascii_lowercase);
    args.output.unwrap_or_else(|| match ending.as_deref().and_then(|ending| ending.to_str()) {
        Some("md" | "markdown") => Form::Markdown,
        Some("json") => Form::Json,
        _ => Form::Html,
    })
}

#[cfg(test)]
mod tests;
