//! What the verbs that change a policy share: the policy is read, one thing of it is decided and changed, if it is still as
//! it was read. With --dry-run nothing is, and the kubectl commands are printed that do the same.

use std::{fmt::Write as _, io, process::ExitCode};

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    check::COULD_NOT_LOOK,
    cluster::{self, CannotAsk, ClusterArgs},
    output,
};
use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    clock::Clock,
    domain::{journal::Journal, step::Ends},
    kube_io::ask::{self, Change},
};

/// What each of them takes.
#[derive(Debug, clap::Args)]
pub(super) struct ChangeArgs {
    /// The policy.
    policy: String,
    /// Change nothing: print what would be said, and the kubectl commands that do the same.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What is decided of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decided {
    /// What is changed; empty: it is so already.
    pub(super) change: Change,
    /// What the person is told of it.
    pub(super) said: String,
    /// The exit code.
    pub(super) code: u8,
}

/// What a decision rests on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) policy: &'a RedisMemoryPolicy,
    /// Who asks, as the API server knows them.
    pub(super) by: &'a str,
    pub(super) now: Timestamp,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
enum ChangeError {
    #[error(transparent)]
    Cluster(#[from] CannotAsk),
    #[error("{0}")]
    Refused(String),
    #[error("the answer cannot be written: {0}")]
    Write(#[source] io::Error),
}

/// Decides and changes. `verb`: what could not be done, for the message.
pub(super) fn run(args: &ChangeArgs, verb: &str, decide: impl Fn(Asked<'_>) -> Result<Decided, String>) -> ExitCode {
    match cluster::ask(changed(args, decide)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => output::failure(&format!("cannot {verb}: {error}"), COULD_NOT_LOOK),
    }
}

async fn changed(args: &ChangeArgs, decide: impl Fn(Asked<'_>) -> Result<Decided, String>) -> Result<u8, ChangeError> {
    let cluster = args.cluster.connect().await?;
    let (policies, _) = cluster.listed(false).await?;
    let policy = cluster.named(&policies, &args.policy)?;
    let by = ask::asker(&cluster.client).await;
    let asked = Asked { policy, by: &by, now: Clock::start().now() };
    let Decided { change, said, code } = decide(asked).map_err(ChangeError::Refused)?;
    if !args.dry_run && !change.is_empty() {
        ask::change(&cluster.client, policy, &change).await.map_err(CannotAsk::from)?;
    }
    let commands = if args.dry_run { dry(policy, &change) } else { String::new() };
    output::answer(&(said + &commands)).map_err(ChangeError::Write)?;
    Ok(code)
}

/// What follows a dry run.
pub(super) fn dry(policy: &RedisMemoryPolicy, change: &Change) -> String {
    let mut text = "nothing was changed (--dry-run)".to_owned();
    text.push_str(if change.is_empty() { ", and nothing would be\n" } else { "; the same by hand:\n" });
    for command in commands(policy, change) {
        let _writing_to_a_string_cannot_fail = writeln!(text, "  {command}");
    }
    text
}

/// The kubectl commands that make that change.
fn commands(policy: &RedisMemoryPolicy, change: &Change) -> Vec<String> {
    let (name, namespace) = (policy.name_any(), policy.namespace().unwrap_or_default());
    let annotated = change.annotations.iter().map(|(annotation, value)| match value {
        Some(value) => {
            format!("kubectl annotate --overwrite rmp {name} -n {namespace} {annotation}={}", quoted(value))
        }
        None => format!("kubectl annotate rmp {name} -n {namespace} {annotation}-"),
    });
    let suspended = change.suspend.map(|suspend| {
        format!(r#"kubectl patch rmp {name} -n {namespace} --type merge -p '{{"spec":{{"suspend":{suspend}}}}}'"#)
    });
    annotated.chain(suspended).collect()
}

/// The text as one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// How a remediation is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// By `spec.suspend`: at the next safe point.
    Suspend,
    /// By a hold: the same, and what disturbs nobody is finished.
    Hold,
}

/// What happens to the remediation under way when it is to stop, and when; `None`: none is under way.
pub(super) fn stopping(journal: Option<&Journal>, by: By) -> Option<String> {
    let journal = journal?;
    let head = format!("remediation {} of {} is under way", journal.id, journal.workload_name);
    let Some(planned) = journal.planned() else {
        return Some(format!("{head} and has no step left: it ends by itself"));
    };
    let (kind, pod) = (planned.step.kind(), planned.step.pod());
    let step = format!("step {} of {} ({kind} {pod})", journal.cursor + 1, journal.steps.len());
    if by == By::Hold && !journal.left().iter().any(|planned| planned.step.kind().disturbs()) {
        return Some(format!("{head}: what is left of it, from {step} on, disturbs nobody and is finished"));
    }
    Some(match kind.ends() {
        Ends::Always => format!("{head}: it stops in {step}, which leaves nothing half done"),
        Ends::BeforeEffect if journal.current.begun_at.is_none() => {
            format!("{head}: it stops before {step}, which has not begun")
        }
        Ends::BeforeEffect | Ends::OnDeletion | Ends::Never => {
            format!("{head}: {step} and what belongs to it are finished first; it stops at the next safe point")
        }
    })
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_commands_do_the_same() {
        let policy: RedisMemoryPolicy = serde_json::from_value(json!({
            "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
            "metadata": {"name": "sessions", "namespace": "shop"}, "spec": {"selector": {"matchLabels": {"app": "redis"}}},
        }))
        .unwrap();
        let change = Change {
            annotations: vec![
                ("a/plain", Some("0123abcd".into())),
                ("a/text", Some("it's so".into())),
                ("a/none", None),
            ],
            suspend: Some(false),
        };
        assert_eq!(
            commands(&policy, &change),
            [
                "kubectl annotate --overwrite rmp sessions -n shop a/plain=0123abcd",
                r"kubectl annotate --overwrite rmp sessions -n shop a/text='it'\''s so'",
                "kubectl annotate rmp sessions -n shop a/none-",
                r#"kubectl patch rmp sessions -n shop --type merge -p '{"spec":{"suspend":false}}'"#,
            ]
        );
        assert!(dry(&policy, &Change::default()).ends_with("and nothing would be\n"));
    }

    #[rstest]
    #[case::nothing_half_done(
        "Prove",
        false,
        "it stops in step 1 of 1 (Verify redis-1), which leaves nothing half done"
    )]
    #[case::not_begun("Evict", false, "it stops before step 1 of 1 (Evict redis-1), which has not begun")]
    #[case::begun("Evict", true, "are finished first; it stops at the next safe point")]
    #[case::a_pod_is_away("AwaitReplica", true, "are finished first; it stops at the next safe point")]
    fn it_is_said_when_it_stops(#[case] kind: &str, #[case] begun: bool, #[case] says: &str) {
        let current = if begun { json!({"begunAt": "2026-01-02T03:05:05Z"}) } else { json!({}) };
        let journal: Journal = serde_json::from_value(json!({
            "id": "r1", "planHash": "h", "generation": 2, "workload": "u", "workloadName": "redis",
            "startedAt": "2026-01-02T03:04:05Z", "steps": [{"kind": kind, "pod": "redis-1", "reason": "r"}],
            "cursor": 0, "current": current, "primary": {"pod": "redis-0", "uid": "u0", "runId": "r0"}, "members": [],
        }))
        .unwrap();
        let said = stopping(Some(&journal), By::Suspend).unwrap();
        assert!(said.starts_with("remediation r1 of redis is under way: ") && said.ends_with(says), "{said}");
        assert_eq!(stopping(None, By::Suspend), None);
        // A hold is about what would be disturbed.
        let disturbs = kind == "Evict";
        let held = stopping(Some(&journal), By::Hold).unwrap();
        assert_eq!(held == said, disturbs, "{held}");
        assert!(disturbs || held.ends_with("disturbs nobody and is finished"), "{held}");
    }
}
