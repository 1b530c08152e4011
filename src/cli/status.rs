//! `status`: what the operator says of policies, once or as it changes.

mod changes;
mod progress;
mod view;

use std::{collections::BTreeMap, process::ExitCode};

use futures::{StreamExt as _, future::BoxFuture};
use kube::ResourceExt as _;
use tokio::signal::unix::{SignalKind, signal};

use self::changes::{Ending, Facts};
use super::{
    check::COULD_NOT_LOOK,
    cluster::{self, CannotAsk, Cluster, ClusterArgs},
    list::{self, ListArgs, Shown},
    output,
};
use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    clock::Clock,
    kube_io::policies::{Change, Unreadable},
};

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 shown, 3 could not look. With --until-done: 0 the remediation succeeded or none is due, \
                        1 it did not succeed or something is in its way."
)]
pub(super) struct Args {
    /// The policy, in full. Default: one line for each.
    #[arg(conflicts_with = "all_namespaces")]
    name: Option<String>,
    #[command(flatten)]
    list: ListArgs,
    /// Go on: one line for each change, until Ctrl-C.
    #[arg(long, short, conflicts_with = "output")]
    watch: bool,
    /// Watch the policy NAME and end when no remediation is under way or about to begin.
    #[arg(long, requires = "name", conflicts_with = "output")]
    until_done: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Why nothing could be shown.
#[derive(Debug, thiserror::Error)]
enum StatusError {
    #[error(transparent)]
    Cluster(#[from] CannotAsk),
    #[error("RedisMemoryPolicy {} is stored and cannot be read by this version: {}", .0.name, .0.text)]
    Unreadable(Unreadable),
    #[error("RedisMemoryPolicy {0} was deleted")]
    Deleted(String),
    #[error("cannot write: {0}")]
    Write(String),
}

/// Shows, and goes on showing.
pub(super) fn main(args: &Args) -> ExitCode {
    match cluster::ask(status(args)) {
        Ok(code) => code,
        Err(error) => output::failure(&format!("cannot show the status: {error}"), COULD_NOT_LOOK),
    }
}

async fn status(args: &Args) -> Result<ExitCode, StatusError> {
    let cluster = args.cluster.connect().await?;
    if args.watch || args.until_done {
        return watch(args, &cluster).await;
    }
    let (policies, unreadable) = cluster.listed(args.list.all_namespaces).await?;
    let text = match &args.name {
        Some(name) => one(args, &cluster, name, &policies, &unreadable)?,
        None => all(args, &policies, &unreadable)?,
    };
    args.list.output.print(&text).map_err(|error| StatusError::Write(error.to_string()))?;
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
    let policy = cluster.named(policies, name)?;
    if args.list.output == Shown::Text {
        return Ok(view::full(policy, Clock::start().now()));
    }
    let names = [list::policy(policy)].into_iter();
    let row = |_| view::wide(std::slice::from_ref(policy));
    args.list.shown(&view::machine(policy), names, row).map_err(StatusError::Write)
}

fn all(args: &Args, policies: &[RedisMemoryPolicy], unreadable: &[Unreadable]) -> Result<String, StatusError> {
    for Unreadable { name, text } in unreadable {
        output::complain(&format!("RedisMemoryPolicy {name} is stored and cannot be read by this version: {text}"));
    }
    if policies.is_empty() && args.list.output.is_for_people() {
        return Ok(list::NONE.to_owned());
    }
    let machine: Vec<_> = policies.iter().map(view::machine).collect();
    let rows = |wide| if wide { view::wide(policies) } else { view::list(policies) };
    args.list.shown(&machine, policies.iter().map(list::policy), rows).map_err(StatusError::Write)
}

/// One line for each change, until a signal, or until nothing is left to wait for.
async fn watch(args: &Args, cluster: &Cluster) -> Result<ExitCode, StatusError> {
    let clock = Clock::start();
    // Before the first request: a mistake in the name would otherwise be waited for.
    let (policies, unreadable) = cluster.listed(args.list.all_namespaces).await?;
    if let Some(name) = &args.name {
        one(args, cluster, name, &policies, &unreadable)?;
    }
    let mut stopped = stopped()?;
    let mut told: BTreeMap<(String, String), Facts> = BTreeMap::new();
    let mut ending = Ending::default();
    let mut failing = false;
    let mut stream = Box::pin(cluster.policies(args.list.all_namespaces).watch(args.name.as_deref()));
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
                let facts = Facts::of(&policy, clock.now());
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
    output::tell(&text).map_err(|error| StatusError::Write(error.to_string()))
}

/// Completes when the process is asked to stop.
fn stopped() -> Result<BoxFuture<'static, ()>, CannotAsk> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CannotAsk::Start)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(CannotAsk::Start)?;
    Ok(Box::pin(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }))
}
