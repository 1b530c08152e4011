//! `suspend`, `stop` and `resume`: nothing that disturbs is begun any more, and it is again. What is under way ends at its
//! next safe point.
//!
//! `suspend` sets `spec.suspend`. `stop` sets the annotation that holds, on the policy: the spec stays as it is, so that no
//! refusal "until the spec changes" is lifted by it and no GitOps tool takes it back, and it says who stopped it and why.

use std::process::ExitCode;

use kube::ResourceExt as _;

use super::{
    change::{self, Asked, By, ChangeArgs, Decided},
    layout::line,
};
use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    domain::{journal::Journal, pod::HOLD_ANNOTATION},
    kube_io::ask::Change,
};

/// What a hold that `stop` has written begins with: `resume` takes away no other.
const STOPPED: &str = "stopped by ";
/// The longest reason, in bytes: refusals and events repeat it.
const MAX_REASON: usize = 200;

/// Arguments of `suspend`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It sets spec.suspend to true. Role labels are kept and limits are still raised. Where a GitOps tool writes \
                  the policy, change it there: the tool takes this back. `resume` ends it.

Exit code: 0 suspended, 3 could not be done."
)]
pub(super) struct SuspendArgs {
    #[command(flatten)]
    how: ChangeArgs,
}

/// Arguments of `stop`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A step that leaves something half done is finished first: an evicted pod comes back with its settings, a \
                  switchover ends. It sets the annotation redismemory.io/hold of the policy, with who stopped it, when and \
                  why; the spec stays as it is. Role labels are kept and limits are still raised. `resume` ends it. To stop \
                  the operator for all policies: docs/peoples-time.md.

Exit code: 0 stopped, 3 could not be done."
)]
pub(super) struct StopArgs {
    #[command(flatten)]
    how: ChangeArgs,
    /// Why: one line, which status and events repeat.
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
}

/// Arguments of `resume`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It takes back what `suspend` and `stop` have set. What people hold by other words (annotation \
                  redismemory.io/hold) stays held, and is said.

Exit code: 0 resumed, 3 could not be done."
)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    how: ChangeArgs,
}

/// Suspends.
pub(super) fn suspend(args: &SuspendArgs) -> ExitCode {
    change::run(&args.how, "suspend", |asked| Ok(suspended(asked)))
}

/// Stops.
pub(super) fn stop(args: &StopArgs) -> ExitCode {
    change::run(&args.how, "stop", |asked| Ok(stopped(asked, args.reason.as_deref())))
}

/// Resumes.
pub(super) fn resume(args: &ResumeArgs) -> ExitCode {
    change::run(&args.how, "resume", |asked| Ok(resumed(asked)))
}

/// One line of text.
fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_REASON || text.chars().any(char::is_control) {
        return Err(format!("write a text of 1 to {MAX_REASON} bytes on one line"));
    }
    Ok(text.to_owned())
}

fn suspended(asked: Asked<'_>) -> Decided {
    let policy = asked.policy;
    let already = policy.spec.suspend;
    let head = format!("policy {} is suspended{}", full_name(policy), if already { " already" } else { "" });
    let change = if already { Change::default() } else { Change::suspend(true) };
    Decided { change, said: said(policy, &head, By::Suspend), code: 0 }
}

fn stopped(asked: Asked<'_>, reason: Option<&str>) -> Decided {
    let policy = asked.policy;
    let name = full_name(policy);
    if let Some(value) = policy.annotations().get(HOLD_ANNOTATION) {
        let head = format!("policy {name} is held already, by its annotation {HOLD_ANNOTATION}: {value:?}");
        return Decided { change: Change::default(), said: said(policy, &head, By::Hold), code: 0 };
    }
    let why = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    let value = format!("{STOPPED}{} at {}{why}", asked.by, asked.now.strftime("%Y-%m-%dT%H:%M:%SZ"));
    let said = said(policy, &format!("policy {name} is stopped"), By::Hold);
    Decided { change: Change::annotation(HOLD_ANNOTATION, value), said, code: 0 }
}

fn resumed(asked: Asked<'_>) -> Decided {
    let policy = asked.policy;
    let name = full_name(policy);
    let hold = policy.annotations().get(HOLD_ANNOTATION);
    let ours = hold.filter(|value| value.starts_with(STOPPED));
    let change = Change {
        annotations: ours.map(|_| (HOLD_ANNOTATION, None)).into_iter().collect(),
        suspend: policy.spec.suspend.then_some(false),
    };
    let mut said = String::new();
    if change.is_empty() {
        line(&mut said, &format!("policy {name} is neither suspended nor stopped"));
    } else {
        line(&mut said, &format!("policy {name} is resumed: what is due is begun again, by its usual gates"));
    }
    if journal(policy).is_some() && change.suspend.is_some() {
        line(&mut said, "the remediation under way had not stopped yet: it ends, and what is left is planned anew");
    }
    if let Some(value) = hold.filter(|_| ours.is_none()) {
        line(&mut said, &format!("it is still held, by its annotation {HOLD_ANNOTATION}: {value:?}; to end that too:"));
        let (name, namespace) = (policy.name_any(), policy.namespace().unwrap_or_default());
        line(&mut said, &format!("  kubectl annotate rmp {name} -n {namespace} {HOLD_ANNOTATION}-"));
    }
    Decided { change, said, code: 0 }
}

/// What a person is told of a policy for which nothing is begun any more.
fn said(policy: &RedisMemoryPolicy, head: &str, by: By) -> String {
    let (name, namespace) = (policy.name_any(), policy.namespace().unwrap_or_default());
    let mut out = String::new();
    line(&mut out, &format!("{head}: nothing that disturbs is begun; role labels are kept, limits still raised"));
    line(
        &mut out,
        &change::stopping(journal(policy), by).unwrap_or_else(|| "no remediation of it is under way".to_owned()),
    );
    line(&mut out, &format!("to go on: kubectl redis-memory resume {name} -n {namespace}"));
    out
}

fn journal(policy: &RedisMemoryPolicy) -> Option<&Journal> {
    policy.status.as_ref()?.journal.as_ref()
}

fn full_name(policy: &RedisMemoryPolicy) -> String {
    format!("{}/{}", policy.namespace().unwrap_or_default(), policy.name_any())
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::{Value, json};

    use super::*;

    #[allow(clippy::needless_pass_by_value, reason = "a literal at every call")]
    fn policy(suspend: bool, hold: Option<&str>, status: Value) -> RedisMemoryPolicy {
        let annotations = hold.map_or_else(|| json!({}), |hold| json!({ HOLD_ANNOTATION: hold }));
        serde_json::from_value(json!({
            "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
            "metadata": {"name": "sessions", "namespace": "shop", "annotations": annotations},
            "spec": {"selector": {"matchLabels": {"app": "redis"}}, "mode": "Enforce", "suspend": suspend},
            "status": status,
        }))
        .unwrap()
    }

    fn asked(policy: &RedisMemoryPolicy) -> Asked<'_> {
        Asked { policy, by: "alice", now: "2026-01-02T03:00:00Z".parse().unwrap() }
    }

    fn under_way() -> Value {
        json!({"journal": {"id": "r1", "planHash": "h", "generation": 2, "workload": "u", "workloadName": "redis",
            "startedAt": "2026-01-02T02:59:00Z", "steps": [{"kind": "AwaitReplica", "pod": "redis-1", "reason": "r"}],
            "cursor": 0, "current": {"begunAt": "2026-01-02T02:59:30Z"},
            "primary": {"pod": "redis-0", "uid": "u0", "runId": "r0"}, "members": []}})
    }

    #[test]
    fn suspending_is_said_with_what_is_under_way() {
        let running = policy(false, None, under_way());
        let found = suspended(asked(&running));
        assert_eq!(found.change, Change::suspend(true));
        for part in [
            "shop/sessions is suspended: nothing that disturbs",
            "step 1 of 1 (AwaitReplica redis-1)",
            "resume sessions -n shop",
        ] {
            assert!(found.said.contains(part), "{part}: {}", found.said);
        }
        let again = suspended(asked(&policy(true, None, Value::Null)));
        assert!(again.change.is_empty() && again.said.contains("is suspended already"), "{}", again.said);
        assert!(again.said.contains("no remediation of it is under way"), "{}", again.said);
    }

    #[test]
    fn a_stop_says_who_when_and_why() {
        let found = stopped(asked(&policy(false, None, under_way())), Some("pager"));
        let value = "stopped by alice at 2026-01-02T03:00:00Z: pager".to_owned();
        assert_eq!(found.change, Change::annotation(HOLD_ANNOTATION, value));
        let held = policy(false, Some("forensics"), Value::Null);
        let found = stopped(asked(&held), None);
        assert!(
            found.change.is_empty() && found.said.contains("held already"),
            "another's hold is kept: {}",
            found.said
        );
    }

    #[test]
    fn what_was_stopped_or_suspended_is_resumed_and_nothing_else() {
        let found = resumed(asked(&policy(true, Some("stopped by alice at 2026-01-02T03:00:00Z"), Value::Null)));
        assert_eq!(found.change, Change { annotations: vec![(HOLD_ANNOTATION, None)], suspend: Some(false) });
        let found = resumed(asked(&policy(false, Some("forensics"), Value::Null)));
        assert!(found.change.is_empty(), "{found:?}");
        assert!(found.said.contains("neither suspended nor stopped"), "{}", found.said);
        assert!(found.said.contains("still held") && found.said.contains("redismemory.io/hold-"), "{}", found.said);
        let found = resumed(asked(&policy(true, None, under_way())));
        assert!(found.said.contains("had not stopped yet"), "{}", found.said);
    }

    #[test]
    fn a_reason_is_one_line() {
        assert_eq!(reason(" pager "), Ok("pager".to_owned()));
        for bad in ["", " ", "a\nb", &"x".repeat(201)] {
            assert!(reason(bad).unwrap_err().contains("one line"), "{bad:?}");
        }
    }
}
