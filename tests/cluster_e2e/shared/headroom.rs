//! Headroom is enforced in place, by live values, and not where it must not be.

use crate::prelude::*;

/// maxmemory 256 MiB with 50 %.
const NEEDED: u64 = 384 * MIB;
/// 1.1 x maxmemory.
const TOO_SMALL: [(&str, &str); 3] = [("MAXMEMORY", "256mb"), ("LIMIT", "282Mi"), ("REQUEST", "64Mi")];

/// Waits until the kernel enforces the needed limit in every pod.
fn await_limits(set: &Redis<'_>) {
    for pod in set.pods() {
        eventually(&format!("the cgroup limit of {pod}"), 60, || {
            let limit = set.cgroup_limit(&pod);
            require(limit == NEEDED, || format!("{} MiB", limit / MIB))
        });
    }
}

/// The finding is there and the limit stays what it was.
fn assert_not_resized(set: &Redis<'_>) {
    let pod = set.pods().remove(0);
    throughout(6, || assert_eq!(set.spec_limit(&pod), "282Mi"));
    assert_eq!(set.cgroup_limit(&pod), 282 * MIB);
    assert_eq!(set.container_restarts(), 0);
}

#[test]
#[ignore = "needs a cluster: make test"]
fn a_limit_too_close_to_maxmemory_is_raised_in_place_and_again_after_an_eviction() {
    let _operator = operator::usual();
    let space = Space::new("headroom");
    let set = Redis::deploy(&space, "redis", 3, &TOO_SMALL);
    set.label_roles();
    let (uids, run_id) = (set.uids(), set.info("redis-0").field("run_id").to_owned());
    assert_eq!(set.cgroup_limit("redis-0"), 282 * MIB);
    let policy = Policy::apply(&space, "redis", &[("MODE", "Enforce")]);
    await_limits(&set);
    assert_eq!(set.uids(), uids, "no pod was replaced");
    assert_eq!(set.container_restarts(), 0, "no container was started again");
    assert_eq!(set.info("redis-0").field("run_id"), run_id, "the same Redis process");
    policy.await_condition("HeadroomSufficient", "True", "Sufficient", 60);
    // The template is as small as before, and that is said.
    policy.await_finding("TemplateTooSmall", "redis-0");

    set.replace("redis-2");
    await_limits(&set);
    assert_eq!(set.container_restarts(), 0);
}

#[test]
#[ignore = "needs a cluster: make test"]
fn a_limit_is_not_raised_above_the_maximum_and_it_is_said_why() {
    let _operator = operator::usual();
    let space = Space::new("maximum");
    let set = Redis::deploy(&space, "redis", 1, &TOO_SMALL);
    let policy = Policy::apply(&space, "redis", &[("MODE", "Enforce"), ("HEADROOM", ", maximumLimit: 300Mi")]);
    let finding = policy.await_finding("HeadroomInsufficient", "redis-0");
    println!("{} {}", finding.evidence, finding.remedy);
    assert!(finding.remedy.contains("maximumLimit"), "{finding:?}");
    assert_not_resized(&set);
}

#[test]
#[ignore = "needs a cluster: make test"]
fn a_container_that_a_resize_would_restart_is_not_resized_and_it_is_said() {
    let _operator = operator::usual();
    let space = Space::new("restarting");
    let set = Redis::deploy(&space, "redis", 1, &[&TOO_SMALL[..], &[("RESIZE_POLICY", "RestartContainer")]].concat());
    let policy = Policy::apply(&space, "redis", &[("MODE", "Enforce")]);
    policy.await_finding("HeadroomInsufficient", "redis-0");
    policy.await_finding("ResizeWouldRestart", "redis-0");
    assert_not_resized(&set);
}
