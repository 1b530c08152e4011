//! Somebody drains the candidate's node in the middle of a switchover, and its pod takes its time to go.

use crate::prelude::*;

/// The pod that carries the primary's label and is not the primary of the beginning.
fn labelled_candidate(set: &Redis<'_>, primary: &str) -> Option<String> {
    let labelled = set.pod_objects().into_iter().find(|pod| {
        pod["metadata"]["labels"]["redismemory.io/role"] == "primary" && pod["metadata"]["name"] != primary
    })?;
    labelled["metadata"]["name"].as_str().map(str::to_owned)
}

#[test]
#[ignore = "needs a cluster: make test"]
fn a_candidate_that_is_drained_with_a_long_pre_stop_is_not_promoted_on_its_way_out() {
    let _operator = operator::usual();
    let space = Space::new("drain");
    let slow = r#"preStop: {exec: {command: [sleep, "12"]}}"#;
    let set = Redis::deploy(&space, "redis", 3, &[("LIFECYCLE", slow)]);
    set.label_roles();
    let writer = set.writer(400);
    set.fragment(SMALL_KEYS);
    let primary = set.primary();
    let policy = Policy::apply(&space, "redis", &[("MODE", "Enforce"), ("WASTE", SMALL_WASTE)]);
    let candidate = eventually("the candidate carries the label", 240, || {
        labelled_candidate(&set, &primary).ok_or_else(|| "not yet".to_owned())
    });
    space.evict(&candidate);
    assert!(!set.info(&candidate).is_primary(), "the drain came after the exchange: nothing is shown by it");
    let uid = set.uids().remove(&candidate);
    throughout(10, || {
        // Its successor may be anything.
        let role = set.try_info(&candidate).map(|info| info.is_primary());
        let same = set.uids().remove(&candidate) == uid;
        assert!(!(same && role == Ok(true)), "{candidate} was promoted while its pod was being deleted");
    });
    eventually("the set is cured all the same", 400, || {
        let record = policy.record("redis");
        let idle = policy.status()["journal"].is_null();
        require(idle && record.as_ref().is_some_and(|(outcome, _)| outcome == "Succeeded"), || format!("{record:?}"))
    });
    set.assert_cured();
    println!("{}", writer.assert_nothing_lost());
}
