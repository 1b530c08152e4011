//! The loss checker is shown to fail: a primary that is killed without a switchover loses acknowledged writes, and the
//! writer says so. Without this, "0 lost" elsewhere would prove nothing.

use crate::prelude::*;

#[test]
#[ignore = "needs a cluster: make test"]
fn a_primary_that_is_killed_without_a_switchover_loses_writes_and_the_checker_finds_them() {
    // It needs no operator, but the cluster: no test may take that away meanwhile.
    let _operator = operator::usual();
    let space = Space::new("loss");
    let set = Redis::deploy(&space, "redis", 2, &[]);
    set.label_roles();
    let writer = set.writer(800);

    // The replica lags for good: it follows an address where nobody is (TEST-NET-1, RFC 5737).
    set.cli("redis-1", &["REPLICAOF", "192.0.2.1", "6379"]).unwrap();
    let before = writer.status()["acknowledged"].as_u64().unwrap();
    eventually("writes that the replica does not have", 30, || {
        let now = writer.status()["acknowledged"].as_u64().unwrap();
        require(now > before + 500, || now.to_string())
    });
    space.must(&["delete", "pod", "redis-0", "--force", "--grace-period=0"]);
    set.cli("redis-1", &["REPLICAOF", "NO", "ONE"]).unwrap();
    space.must(&["label", "pod", "redis-1", "redismemory.io/role=primary", "--overwrite"]);
    let at_promotion = writer.status()["acknowledged"].as_u64().unwrap();
    eventually("writes to the promoted replica", 60, || {
        let now = writer.status()["acknowledged"].as_u64().unwrap();
        require(now > at_promotion + 100, || now.to_string())
    });

    let (code, verdict) = writer.ask("stop").unwrap();
    assert_eq!(code, 2, "{verdict}");
    let lost = verdict["lost"].as_u64().unwrap();
    assert!(lost >= 500 && lost < verdict["acknowledged"].as_u64().unwrap(), "{verdict}");
    assert!(verdict["first_lost"].as_u64() >= Some(1), "{verdict}");
}
