//! What is not safe yet is refused: nothing is evicted, and the reason is in RemediationBlocked.

use crate::prelude::*;

/// Asserts that a restart is due and refused for this reason, and that no pod is touched for a while.
fn assert_refused(space: &Space, set: &Redis<'_>, authority: &str, reason: &str) {
    set.fragment(SMALL_KEYS);
    let (uids, primary) = (set.uids(), set.primary());
    let words = [("MODE", "Enforce"), ("AUTHORITY", authority), ("WASTE", SMALL_WASTE)];
    let policy = Policy::apply(space, &set.name, &words);
    let text = policy.await_blocked(reason);
    println!("{reason}: {text}");
    assert!(text.len() > 20, "the text explains: {text:?}");
    policy.await_finding("FragmentationRestartDue", &primary);
    throughout(8, || {
        let (status, now, _) = policy.condition("RemediationBlocked").unwrap();
        assert_eq!((status.as_str(), now.as_str()), ("True", reason));
    });
    assert_eq!(set.uids(), uids, "no pod was replaced");
    assert_eq!(set.primary(), primary, "the role stayed");
    assert!(policy.status()["journal"].is_null(), "nothing was begun");
    policy.await_condition("Ready", "True", "Evaluated", 10);
}

#[test]
#[ignore = "needs a cluster: make test"]
fn the_primary_of_a_static_set_is_left_alone() {
    let _operator = operator::usual();
    let space = Space::new("static");
    let set = Redis::deploy(&space, "redis", 3, &[]);
    set.fragment(SMALL_KEYS);
    let (before, primary) = (set.uids(), set.primary());
    let words = [("MODE", "Enforce"), ("AUTHORITY", "Auto"), ("WASTE", SMALL_WASTE)];
    let policy = Policy::apply(&space, &set.name, &words);
    policy.await_success(300);
    let text = policy.await_blocked("DowntimeNotAllowed");
    assert!(text.contains("allowDowntime"), "{text}");
    let after = set.uids();
    for pod in set.pods() {
        assert_eq!(after[&pod] == before[&pod], pod == primary, "{pod}: only replicas are replaced");
    }
    assert_eq!(set.primary(), primary, "the role stayed");
}

#[test]
#[ignore = "needs a cluster: make test"]
fn a_standalone_redis_is_refused() {
    let _operator = operator::usual();
    let space = Space::new("alone");
    let set = Redis::deploy(&space, "redis", 1, &[]);
    set.label_roles();
    assert_refused(&space, &set, "Operator", "DowntimeNotAllowed");
}

#[test]
#[ignore = "needs a cluster: make test"]
fn a_set_that_a_sentinel_watches_is_refused() {
    let _operator = operator::usual();
    let space = Space::new("sentinel");
    let set = Redis::deploy(&space, "redis", 3, &[]);
    set.label_roles();
    space.apply(&space.render("sentinel.yaml", &[("NAME", "redis")]));
    space.must(&["wait", "--for=condition=Ready", "pod/redis-sentinel", "--timeout=60s"]);
    assert_refused(&space, &set, "Operator", "SentinelSeen");
}
