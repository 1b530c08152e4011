//! `status`: what the operator says of policies, once or as it changes.

mod changes;
mod view;

use std::{collections::BTreeMap, io, process::ExitCode};

use futures::{StreamExt as _, future::BoxFuture};
use kube::ResourceExt as _;
use tokio::signal::unix::{SignalKind, signal};

use self::changes::{Ending, Facts};
use super::{
    Format,
    check::COULD_NOT_LOOK,
    cluster::{Cluster, ClusterArgs},
    output, yaml,
};
use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    clock::Clock,
    kube_io::{
        error::KubeError,
        policies::{Change, Unreadable},
    },
};

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 shown, 3 could not look. With --until-done: 0 the remediation succeeded or none is due, \
                        1 it did not succeed or something is in its way."
)]
pub(super) struct Args {
    /// The policy, in full. Default: one line for each.
    name: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Every namespace.
    #[arg(long, short = 'A', conflicts_with_all = ["namespace", "name"])]
    all_namespaces: bool,
    /// Go on: one line for each change, until Ctrl-C.
    #[arg(long, short)]
    watch: bool,
    /// Watch the policy NAME and end when no remediation is under way or about to begin.
    #[arg(long, requires = "name", conflicts_with = "output")]
    until_done: bool,
    /// How it is shown.
    #[arg(long, short, value_enum, default_value_t = Format::Text, conflicts_with = "watch")]
    output: Format,
}

/// Why nothing could be shown.
#[derive(Debug, thiserror::Error)]
enum StatusError {
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Kubernetes(#[from] KubeError),
    #[error(
        "there is no RedisMemoryPolicy {name} in namespace {namespace}; there {}",
        if others.is_empty() { "is none at all (another namespace: -n, all of them: -A)".to_owned() }
        else { format!("are: {}", others.join(", ")) }
    )]
    NoSuchPolicy { name: String, namespace: String, others: Vec<String> },
    #[error("RedisMemoryPolicy {} is stored and cannot be read by this version: {}", .0.name, .0.text)]
    Unreadable(Unreadable),
    #[error("RedisMemoryPolicy {0} was deleted")]
    Deleted(String),
    #[error("cannot write: {0}")]
    Write(String),
}

/// Shows, and goes on showing.
pub(super) fn main(args: &Args) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::failure(&StatusError::Runtime(error).to_string(), COULD_NOT_LOOK),
    };
    match runtime.block_on(status(args)) {
        Ok(code) => code,
        Err(error) => output::failure(&format!("cannot show the status: {error}"), COULD_NOT_LOOK),
    }
}

async fn status(args: &Args) -> Result<ExitCode, StatusError> {
    let cluster = args.cluster.connect().await?;
    if args.watch || args.until_done {
        return watch(args, &cluster).await;
    }
    let (policies, unreadable) = cluster.policies(args.all_namespaces).list().await?;
    let text = match &args.name {
        Some(name) => one(args, &cluster, name, &policies, &unreadable)?,
        None => all(args, &policies, &unreadable)?,
    };
    output::answer(&text).map_err(|error| StatusError::Write(error.to_string()))?;
    Ok(ExitCode::SUCCESS)
}

fn one(
    args: &Args,
    cluster: &Cluster,
    name: &str,
    policies: &[RedisMemoryPolicy],
    unreadable: &[Unreadable],
) -> Result<String, StatusError> {
    let namespace = cluster.namespace.clone();
    if let Some(other) = unreadable.iter().find(|other| other.name == format!("{namespace}/{name}")) {
        return Err(StatusError::Unreadable(other.clone()));
    }
    let Some(policy) = policies.iter().find(|policy| policy.name_any() == name) else {
        let others = policies.iter().map(kube::ResourceExt::name_any).collect();
        return Err(StatusError::NoSuchPolicy { name: name.to_owned(), namespace, others });
    };
    match args.output {
        Format::Text => Ok(view::full(policy)),
        Format::Json => to_json(&view::machine(policy)),
        Format::Yaml => to_yaml(&view::machine(policy)),
    }
}

fn all(args: &Args, policies: &[RedisMemoryPolicy], unreadable: &[Unreadable]) -> Result<String, StatusError> {
    for Unreadable { name, text } in unreadable {
        output::complain(&format!("RedisMemoryPolicy {name} is stored and cannot be read by this version: {text}"));
    }
    let machine = || policies.iter().map(view::machine).collect::<Vec<_>>();
    match args.output {
        Format::Text => Ok(view::list(policies)),
        Format::Json => to_json(&machine()),
        Format::Yaml => to_yaml(&machine()),
    }
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String, StatusError> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|error| StatusError::Write(error.to_string()))
}

fn to_yaml<T: serde::Serialize>(value: &T) -> Result<String, StatusError> {
    yaml::to_string(value).map_err(|error| StatusError::Write(error.to_string()))
}

/// One line for each change, until a signal, or until nothing is left to wait for.
async fn watch(args: &Args, cluster: &Cluster) -> Result<ExitCode, StatusError> {
    let clock = Clock::start();
    // Before the first request: a mistake in the name would otherwise be waited for.
    let (policies, unreadable) = cluster.policies(args.all_namespaces).list().await?;
    if let Some(name) = &args.name {
        one(args, cluster, name, &policies, &unreadable)?;
    }
    let mut stopped = stopped()?;
    let mut told: BTreeMap<(String, String), Facts> = BTreeMap::new();
    let mut ending = Ending::default();
    let mut failing = false;
    let mut stream = Box::pin(cluster.policies(args.all_namespaces).watch(args.name.as_deref()));
    loop {
        let change = tokio::select! {
            change = stream.next() => change,
            () = &mut stopped => return Ok(ExitCode::SUCCESS),
        };
        let now = clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        match change {
            Some(Change::Is(policy)) => {
                failing = false;
                let key = (policy.namespace().unwrap_or_default(), policy.name_any());
                let facts = Facts::of(&policy);
                let name = format!("{}/{}", key.0, key.1);
                say(&facts.news(told.get(&key)).iter().map(|news| format!("{now} {name} {news}")).collect::<Vec<_>>())?;
                told.insert(key, facts);
                if args.until_done
                    && let Some((well, why)) = ending.look(&policy)
                {
                    say(&[format!("{now} {name} {why}")])?;
                    return Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(1) });
                }
            }
            Some(Change::Gone(namespace, name)) => {
                say(&[format!("{now} {namespace}/{name} deleted")])?;
                if args.until_done {
                    return Err(StatusError::Deleted(format!("{namespace}/{name}")));
                }
                told.remove(&(namespace, name));
            }
            Some(Change::Unreadable(Unreadable { name, text })) => {
                say(&[format!("{now} {name} cannot be read: {text}")])?;
            }
            Some(Change::Failing(why)) => {
                if !failing {
                    output::complain(&format!("{now} the watch fails and is tried again: {why}"));
                }
                failing = true;
            }
            Some(Change::Complete) => failing = false,
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn say(lines: &[String]) -> Result<(), StatusError> {
    let mut text = String::new();
    for line in lines {
        super::layout::line(&mut text, line);
    }
    output::answer(&text).map_err(|error| StatusError::Write(error.to_string()))
}

/// Completes when the process is asked to stop.
fn stopped() -> Result<BoxFuture<'static, ()>, StatusError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StatusError::Runtime)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(StatusError::Runtime)?;
    Ok(Box::pin(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }))
}
