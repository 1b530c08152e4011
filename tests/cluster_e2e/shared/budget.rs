//! A PodDisruptionBudget is obeyed.

use crate::prelude::*;

#[test]
#[ignore = "needs a cluster: make test"]
fn a_budget_that_forbids_eviction_is_waited_for_and_said_and_then_the_work_goes_on() {
    let _operator = operator::usual();
    let space = Space::new("budget");
    let set = Redis::deploy(&space, "redis", 3, &[("MAX_UNAVAILABLE", "0")]);
    set.label_roles();
    set.fragment(SMALL_KEYS);
    let uids = set.uids();
    let watch = PodWatch::of(&set);
    let policy = Policy::apply(&space, "redis", &[("MODE", "Enforce"), ("WASTE", SMALL_WASTE)]);

    let text = policy.await_blocked("DisruptionBudget");
    println!("while it stands: {text}");
    throughout(15, || {
        let (status, reason, _) = policy.condition("RemediationBlocked").unwrap();
        assert_eq!((status.as_str(), reason.as_str()), ("True", "DisruptionBudget"), "it is said all the time");
    });
    assert_eq!(set.uids(), uids, "nothing is evicted while the budget stands");

    space.must(&[
        "patch",
        "poddisruptionbudget",
        "redis",
        "--type=merge",
        "--patch",
        r#"{"spec":{"maxUnavailable":1}}"#,
    ]);
    policy.await_success(240);
    watch.assert_main_job("redis-0", &["redis-1".to_owned(), "redis-2".to_owned()]);
}
