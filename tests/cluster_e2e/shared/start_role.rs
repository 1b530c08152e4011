//! A set in which pod 0 alone starts as the primary, as the plainest charts have it: it ends as its template starts it.

use crate::{prelude::*, support::watch::Event};

#[test]
#[ignore = "needs a cluster: make test"]
fn a_set_whose_pod_0_starts_as_the_primary_is_left_with_it_as_the_primary() {
    let _operator = operator::usual();
    let space = Space::new("start-role");
    let set = Redis::deploy(&space, "redis", 3, &[("START", "pod-0")]);
    set.label_roles();
    let writer = set.writer(400);
    set.fragment(SMALL_KEYS);
    let (uids, watch) = (set.uids(), PodWatch::of(&set));
    let policy = Policy::apply(&space, "redis", &[("MODE", "Enforce"), ("WASTE", SMALL_WASTE)]);
    eventually("the role is back with redis-0, which was restarted", 400, || {
        let status = policy.status();
        let record = policy.record("redis");
        let restarted = set.uids().get("redis-0") != uids.get("redis-0");
        let idle = status["journal"].is_null();
        let back = set.try_info("redis-0")?.is_primary();
        require(restarted && idle && back && record.as_ref().is_some_and(|(outcome, _)| outcome == "Succeeded"), || {
            format!("{record:?}, restarted: {restarted}, idle: {idle}, redis-0 is primary: {back}")
        })
    });
    set.assert_cured();
    let events = watch.events();
    let restarts = |pod: &str| events.iter().filter(|event| **event == Event::Restart(pod.to_owned())).count();
    assert_eq!(set.pods().iter().map(|pod| restarts(pod)).collect::<Vec<_>>(), [1, 1, 1], "{events:?}");
    println!("{}", writer.assert_nothing_lost());

    // The next restart by anybody finds a set that comes back by itself.
    space.evict("redis-1");
    eventually("redis-1 follows redis-0 again", 60, || {
        let info = set.try_info("redis-1")?;
        let follows = set.uids().get("redis-1") != uids.get("redis-1") && !info.is_primary();
        require(follows && info.field("master_link_status") == "up", || format!("{follows}"))
    });
    assert_eq!(set.primary(), "redis-0");
}
