//! A quota that has no room for a higher limit is named with its numbers; once it is raised by as much as was said, the limit
//! follows.

use serde_json::json;

use crate::prelude::*;

/// What is there, and what maxmemory 256 MiB needs with 50 %.
const LIMIT: &str = "282Mi";
const NEEDED: u64 = 384 * MIB;

#[test]
#[ignore = "needs a cluster: make test"]
fn a_quota_that_refuses_a_higher_limit_is_named_with_its_numbers_and_the_limit_follows_when_it_is_raised() {
    let _operator = operator::usual();
    let space = Space::new("quota");
    let set = Redis::deploy(&space, "redis", 1, &[("MAXMEMORY", "256mb"), ("LIMIT", LIMIT), ("REQUEST", "64Mi")]);
    set.label_roles();
    // Its pod has a limit of 64 MiB, which counts too.
    let writer = set.writer(200);
    let run_ids = set.run_ids();
    let quota = json!({
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "team"},
        "spec": {"hard": {"limits.memory": "400Mi"}},
    });
    space.apply(&quota.to_string());
    eventually("what is used of the quota", 60, || {
        let used = space.get(&["resourcequota", "team"])["status"]["used"]["limits.memory"].clone();
        require(used == "346Mi", || used.to_string())
    });

    let policy = Policy::apply(&space, "redis", &[("MODE", "Enforce")]);
    let numbers = "quota team allows 400 MiB of limits.memory, 346 MiB of it are used, and 102 MiB more are needed";
    let finding = policy.await_remedy("HeadroomInsufficient", "redis-0", numbers);
    println!("{} {}", finding.evidence, finding.remedy);
    assert!(finding.remedy.contains("raise quota team to 448 MiB"), "{finding:?}");
    throughout(8, || {
        assert_eq!(set.spec_limit("redis-0"), LIMIT);
        assert_eq!(set.info("redis-0").number("maxmemory"), 256 * MIB);
    });
    assert_eq!(set.run_ids(), run_ids);

    let raised = json!({"spec": {"hard": {"limits.memory": "448Mi"}}}).to_string();
    space.must(&["patch", "resourcequota", "team", "--type=merge", "--patch", &raised]);
    eventually("the limit that the kernel enforces", 60, || {
        let limit = set.cgroup_limit("redis-0");
        require(limit == NEEDED, || format!("{} MiB", limit / MIB))
    });
    policy.await_condition("HeadroomSufficient", "True", "Sufficient", 60);
    assert_eq!(set.run_ids(), run_ids, "the same process");
    assert_eq!(set.container_restarts(), 0);
    println!("{}", writer.assert_undisturbed());
}
