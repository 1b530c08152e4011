//! `approve`: the word that a plan waits for whose policy asks for one. What is approved is the plan that a person has read:
//! its hash is given, and a plan of another hash is another plan.

use std::process::ExitCode;

use kube::ResourceExt as _;

use super::{
    change::{self, Asked, ChangeArgs, Decided},
    layout::line,
    steps,
};
use crate::{
    api::v1alpha1::{Approval, Mode, PlanStatus, RedisMemoryPolicy, RedisMemoryPolicyStatus},
    domain::blocked::BlockReason,
    kube_io::ask::Change,
    plan::gates::APPROVE_ANNOTATION,
};

/// Arguments of `approve`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It sets the annotation redismemory.io/approve of the policy. An approval ends with its plan: the next one, \
                  also if it has the same steps, must be approved again.

Exit code: 0 approved, 1 without HASH: the plan is shown and nothing is approved, 3 could not approve."
)]
pub(super) struct Args {
    #[command(flatten)]
    how: ChangeArgs,
    /// The plan that is approved: its hash, as this verb and `status` show it. Without it the plan is shown.
    hash: Option<String>,
}

/// Approves, or shows what there is to approve.
pub(super) fn main(args: &Args) -> ExitCode {
    change::run(&args.how, "approve", |asked| decide(asked, args.hash.as_deref()))
}

fn decide(asked: Asked<'_>, hash: Option<&str>) -> Result<Decided, String> {
    let policy = asked.policy;
    let (name, namespace) = (policy.name_any(), policy.namespace().unwrap_or_default());
    if policy.spec.restart.approval == Approval::Automatic {
        return Err(format!(
            "spec.restart.approval of policy {name} is Automatic: no plan of it waits for an approval (Supervised: before \
             the primary is touched; Manual: before the first step)"
        ));
    }
    let none = RedisMemoryPolicyStatus::default();
    let status = policy.status.as_ref().unwrap_or(&none);
    if status.observed_generation != policy.metadata.generation {
        return Err(format!(
            "the operator has not evaluated this generation of policy {name} yet, and its status shows an older plan: try \
             again when it has (kubectl redis-memory status {name} -n {namespace})"
        ));
    }
    let Some(plan) = &status.plan else {
        return Err(format!("policy {name} has no plan: no restart is due, and nothing waits for an approval"));
    };
    let under_way = status.journal.as_ref().map(|journal| journal.plan_hash.as_str());
    let Some(hash) = hash else {
        let mut said = shown(plan);
        line(&mut said, "");
        line(&mut said, "nothing is approved yet; to approve this plan:");
        line(&mut said, &format!("  kubectl redis-memory approve {name} {} -n {namespace}", plan.hash));
        return Ok(Decided { change: Change::default(), said, code: 1 });
    };
    if hash != plan.hash && Some(hash) != under_way {
        return Err(format!(
            "the plan of policy {name} is now {}, not {hash}: read it (kubectl redis-memory approve {name} -n {namespace}), \
             and approve that one",
            plan.hash
        ));
    }
    let given = policy.annotations().get(APPROVE_ANNOTATION).is_some_and(|given| given == hash);
    let mut said = String::new();
    line(
        &mut said,
        &format!("plan {hash} of policy {namespace}/{name} is approved{}", if given { " already" } else { "" }),
    );
    line(&mut said, &then(policy, status));
    let change = if given { Change::default() } else { Change::annotation(APPROVE_ANNOTATION, hash.to_owned()) };
    Ok(Decided { change, said, code: 0 })
}

/// The plan, for people.
fn shown(plan: &PlanStatus) -> String {
    let mut out = String::new();
    line(&mut out, &format!("PLAN {} for {}", plan.hash, plan.workload));
    steps::list(&mut out, plan.steps.iter().map(|planned| (' ', planned)));
    if let Some(gap) = &plan.write_gap {
        steps::gap(&mut out, gap);
    }
    out
}

/// What happens now that it is approved.
fn then(policy: &RedisMemoryPolicy, status: &RedisMemoryPolicyStatus) -> String {
    if policy.spec.mode == Mode::Observe {
        return "spec.mode is Observe: nothing is done before it is Enforce".to_owned();
    }
    let asks = BlockReason::ApprovalNeeded.as_str();
    let others: Vec<&str> =
        status.refusals.iter().map(|refusal| refusal.reason.as_str()).filter(|reason| *reason != asks).collect();
    match others.first() {
        None => "nothing else is in its way: the operator goes on within seconds".to_owned(),
        Some(first) => format!("still in its way: {} (kubectl redis-memory explain {first})", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn policy(changes: &[(&str, Value)]) -> RedisMemoryPolicy {
        let mut policy = json!({
            "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
            "metadata": {"name": "sessions", "namespace": "shop", "generation": 2},
            "spec": {"selector": {"matchLabels": {"app": "redis"}}, "mode": "Enforce", "restart": {"approval": "Manual"}},
            "status": {"observedGeneration": 2, "plan": {"workload": "redis", "hash": "abc", "steps": [
                {"kind": "Evict", "pod": "redis-1", "reason": "fragmentation 2.91 is at or above 2.50"}],
                "writeGap": {"estimatedMilliseconds": 300, "from": "measured in tests"}}},
        });
        for (at, value) in changes {
            *policy.pointer_mut(at).expect("a place in it") = value.clone();
        }
        serde_json::from_value(policy).unwrap()
    }

    fn decided(policy: &RedisMemoryPolicy, hash: Option<&str>) -> Result<Decided, String> {
        decide(Asked { policy, by: "alice", now: "2026-01-02T03:00:00Z".parse().unwrap() }, hash)
    }

    #[test]
    fn the_plan_that_was_read_is_approved() {
        let found = decided(&policy(&[]), Some("abc")).unwrap();
        assert_eq!(found.change, Change::annotation(APPROVE_ANNOTATION, "abc".into()));
        assert!(
            found.said.contains("plan abc of policy shop/sessions is approved\nnothing else is in its way"),
            "{}",
            found.said
        );
    }

    #[test]
    fn without_a_hash_the_plan_is_shown_and_nothing_is_approved() {
        let found = decided(&policy(&[]), None).unwrap();
        assert_eq!((found.change, found.code), (Change::default(), 1));
        for part in [
            "PLAN abc for redis",
            "   1  Evict redis-1: fragmentation",
            "writes stop for about",
            "approve sessions abc -n shop",
        ] {
            assert!(found.said.contains(part), "{part}: {}", found.said);
        }
    }

    #[rstest]
    #[case::another_plan(&[], "abd", "is now abc, not abd")]
    #[case::nobody_is_asked(&[("/spec/restart/approval", json!("Automatic"))], "abc", "is Automatic")]
    #[case::no_plan(&[("/status/plan", Value::Null)], "abc", "has no plan")]
    #[case::an_old_status(&[("/metadata/generation", json!(3))], "abc", "has not evaluated this generation")]
    fn what_is_not_the_plan_is_not_approved(#[case] changes: &[(&str, Value)], #[case] hash: &str, #[case] says: &str) {
        let why = decided(&policy(changes), Some(hash)).unwrap_err();
        assert!(why.contains(says), "{why}");
    }

    #[test]
    fn what_else_is_in_the_way_is_said() {
        let mut waiting = policy(&[]);
        waiting.metadata.annotations = Some([(APPROVE_ANNOTATION.to_owned(), "abc".to_owned())].into());
        let refusal =
            |reason: &str| json!({"reason": reason, "since": "2026-01-02T03:00:00Z", "text": "t", "liftedBy": "l"});
        waiting.status.as_mut().unwrap().refusals =
            serde_json::from_value(json!([refusal("ApprovalNeeded"), refusal("WindowClosed")])).unwrap();
        let found = decided(&waiting, Some("abc")).unwrap();
        assert!(found.change.is_empty() && found.said.contains("is approved already"), "{}", found.said);
        assert!(found.said.contains("still in its way: WindowClosed (kubectl"), "{}", found.said);
        waiting.spec.mode = Mode::Observe;
        assert!(decided(&waiting, Some("abc")).unwrap().said.contains("spec.mode is Observe"));
    }
}
