//! A set is scaled down and up again in the middle of its remediation.

use crate::prelude::*;

#[test]
#[ignore = "needs a cluster: make test"]
fn a_set_that_is_scaled_down_and_up_in_the_middle_is_cured_and_loses_nothing() {
    let _operator = operator::usual();
    let space = Space::new("scaling");
    let set = Redis::deploy(&space, "redis", 3, &[]);
    set.label_roles();
    let writer = set.writer(400);
    set.fragment(SMALL_KEYS);
    let uids = set.uids();
    let policy = Policy::apply(&space, "redis", &[("MODE", "Enforce"), ("WASTE", SMALL_WASTE)]);
    eventually("the first replica is restarted", 120, || {
        let now = set.uids();
        let gone = |pod: &str| now.get(pod) != uids.get(pod);
        require(gone("redis-1") || gone("redis-2"), || format!("{now:?}"))
    });
    let scale = |replicas: u32| {
        let replicas = format!("--replicas={replicas}");
        space.must(&["scale", "statefulset/redis", &replicas]);
    };
    scale(2);
    eventually("redis-2 is gone", 90, || {
        let now = set.uids();
        require(!now.contains_key("redis-2"), || format!("{now:?}"))
    });
    // The plan that knew it does not hold the set up: it ends, and what is left is cured.
    eventually("no remediation waits for the one that is gone", 120, || {
        let status = policy.status();
        let members = status["journal"]["members"].as_array().cloned().unwrap_or_default();
        let knows = members.iter().any(|member| member["pod"] == "redis-2");
        require(!knows, || status["journal"].to_string())
    });
    scale(3);
    space.must(&["rollout", "status", "statefulset/redis", "--timeout=120s"]);
    eventually("the set is cured", 400, || {
        let record = policy.record("redis");
        let clean = set.pods().iter().all(|pod| set.try_info(pod).is_ok_and(|info| info.ratio() < 2.5));
        let idle = policy.status()["journal"].is_null();
        require(idle && clean && record.as_ref().is_some_and(|(outcome, _)| outcome == "Succeeded"), || {
            format!("{record:?}, idle: {idle}, clean: {clean}")
        })
    });
    set.assert_cured();
    println!("{}", writer.assert_nothing_lost());
}
