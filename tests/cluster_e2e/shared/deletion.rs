//! A policy can be deleted or suspended at any time; what is under way stops at the next safe boundary.

use serde_json::json;

use crate::prelude::*;

/// A remediation that is under way and waits for a budget, which somebody tightened after it had begun: one that never
/// allowed anything would not let it begin.
fn waiting(space: &Space) -> (Redis<'_>, Policy<'_>) {
    let set = Redis::deploy(space, "redis", 3, &[]);
    set.label_roles();
    set.fragment(SMALL_KEYS);
    let policy = Policy::apply(space, "redis", &[("MODE", "Enforce"), ("WASTE", SMALL_WASTE)]);
    policy.await_journal();
    budget(space, 0);
    policy.await_blocked("DisruptionBudget");
    let finalizers = policy.object()["metadata"]["finalizers"].clone();
    assert_eq!(finalizers, json!(["redismemory.io/remediation"]), "while a remediation is under way");
    (set, policy)
}

fn budget(space: &Space, max_unavailable: u32) {
    let patch = json!({"spec": {"maxUnavailable": max_unavailable}}).to_string();
    space.must(&["patch", "poddisruptionbudget", "redis", "--type=merge", "--patch", &patch]);
}

#[test]
#[ignore = "needs a cluster: make test"]
fn a_deleted_policy_is_gone_within_thirty_seconds_and_nothing_more_is_evicted() {
    let _operator = operator::usual();
    let space = Space::new("deletion");
    let (set, _policy) = waiting(&space);
    let uids = set.uids();
    space.must(&["delete", "redismemorypolicy", "redis", "--timeout=30s"]);
    budget(&space, 1);
    throughout(8, || assert_eq!(set.uids(), uids));
    set.assert_writable();
}

#[test]
#[ignore = "needs a cluster: make test"]
fn a_suspended_policy_ends_its_remediation_and_begins_none() {
    let _operator = operator::usual();
    let space = Space::new("suspend");
    let (set, policy) = waiting(&space);
    let uids = set.uids();
    policy.patch_spec(&json!({"suspend": true}));
    eventually("no remediation under way, no finalizer", 60, || {
        let object = policy.object();
        let idle = object["status"]["journal"].is_null() && object["metadata"]["finalizers"].is_null();
        require(idle, || object.to_string())
    });
    budget(&space, 1);
    policy.await_blocked("Suspended");
    throughout(8, || assert_eq!(set.uids(), uids));
    // Labels are still kept.
    space.must(&["label", "pod", "redis-1", "redismemory.io/role-"]);
    set.assert_labels_follow_roles();
}
