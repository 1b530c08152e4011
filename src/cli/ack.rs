//! `ack`: take note of kills by the kernel, so that they leave the status.

use std::{fmt::Write as _, io, process::ExitCode};

use super::{
    check::COULD_NOT_LOOK,
    cluster::{self, ClusterArgs, NoSuchPolicy},
    output,
};
use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    domain::oom::{ACKNOWLEDGED_ANNOTATION, PodKills},
    kube_io::{ask, error::KubeError},
};

/// Arguments of `ack`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 taken note of, or there was nothing; 3 could not be done.")]
pub(super) struct Args {
    /// The policy whose status has the kills.
    policy: String,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Why nothing was taken note of.
#[derive(Debug, thiserror::Error)]
enum AckError {
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Kubernetes(#[from] KubeError),
    #[error(transparent)]
    NoSuchPolicy(#[from] NoSuchPolicy),
    #[error("the answer cannot be written: {0}")]
    Write(#[source] io::Error),
}

/// Takes note.
pub(super) fn main(args: &Args) -> ExitCode {
    let runtime = cluster::runtime();
    let done = runtime.map_err(AckError::Runtime).and_then(|runtime| runtime.block_on(acknowledge(args)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::failure(&format!("cannot take note: {error}"), COULD_NOT_LOOK),
    }
}

async fn acknowledge(args: &Args) -> Result<(), AckError> {
    let cluster = args.cluster.connect().await?;
    let (policies, _) = cluster.policies(false).list().await?;
    let policy = cluster.named(&policies, &args.policy)?;
    let kills = kills(policy);
    // Up to the last that was shown: what comes while a person reads stays.
    let Some(last) = kills.iter().map(|kills| kills.last_at).max() else {
        let text = format!("policy {} has no kill that is not taken note of\n", args.policy);
        return output::answer(&text).map_err(AckError::Write);
    };
    ask::annotate(&cluster.client, policy, ACKNOWLEDGED_ANNOTATION, &last.to_string()).await?;
    let mut text = format!("taken note of, up to {last}:\n");
    for kills in kills {
        let _ = writeln!(
            text,
            "  {}: {} until {}, the last one {}",
            kills.pod,
            times(kills.times),
            kills.last_at,
            kills.cause
        );
    }
    output::answer(&text).map_err(AckError::Write)
}

fn kills(policy: &RedisMemoryPolicy) -> &[PodKills] {
    policy.status.as_ref().map(|status| status.oom_kills.as_slice()).unwrap_or_default()
}

fn times(count: u32) -> String {
    if count == 1 { "killed once".to_owned() } else { format!("killed {count} times") }
}
