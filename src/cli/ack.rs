//! `ack`: take note of kills by the kernel, so that they leave the status.

use std::process::ExitCode;

use kube::ResourceExt as _;

use super::{
    change::{self, Asked, ChangeArgs, Decided},
    layout::line,
};
use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    domain::oom::{ACKNOWLEDGED_ANNOTATION, PodKills},
    kube_io::ask::Change,
};

/// Arguments of `ack`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It sets the annotation redismemory.io/acknowledged of the policy to the time of the last kill that its status \
                  shows: what comes after that stays.

Exit code: 0 taken note of, or there was nothing; 3 could not be done."
)]
pub(super) struct Args {
    #[command(flatten)]
    how: ChangeArgs,
}

/// Takes note.
pub(super) fn main(args: &Args) -> ExitCode {
    change::run(&args.how, "take note", |asked| Ok(decide(asked)))
}

fn decide(asked: Asked<'_>) -> Decided {
    let policy = asked.policy;
    let kills = kills(policy);
    let mut said = String::new();
    // Up to the last that was shown: what comes while a person reads stays.
    let Some(last) = kills.iter().map(|kills| kills.last_at).max() else {
        line(&mut said, &format!("policy {} has no kill that is not taken note of", policy.name_any()));
        return Decided { change: Change::default(), said, code: 0 };
    };
    line(&mut said, &format!("taken note of, up to {last}:"));
    for PodKills { pod, times, last_at, cause, .. } in kills {
        line(&mut said, &format!("  {pod}: {} until {last_at}, the last one {cause}", counted(*times)));
    }
    Decided { change: Change::annotation(ACKNOWLEDGED_ANNOTATION, last.to_string()), said, code: 0 }
}

fn kills(policy: &RedisMemoryPolicy) -> &[PodKills] {
    policy.status.as_ref().map(|status| status.oom_kills.as_slice()).unwrap_or_default()
}

fn counted(times: u32) -> String {
    if times == 1 { "killed once".to_owned() } else { format!("killed {times} times") }
}
