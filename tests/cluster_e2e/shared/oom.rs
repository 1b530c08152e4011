//! A Redis without `maxmemory` that is filled until the kernel kills it gets what its limit bears when it comes back, and is
//! killed no more.

use serde_json::json;

use crate::prelude::*;

/// A limit that bears [`BEARS`]: at least 64 MiB are above it.
const LIMIT: &str = "128Mi";
const BEARS: u64 = 64 * MIB;
/// For so long it must stay up, in seconds; filled as fast as it is, it would be killed in 30.
const STAYS_UP: u64 = 35;

#[test]
#[ignore = "needs a cluster: make test"]
fn a_server_without_maxmemory_that_the_kernel_kills_gets_one_when_it_comes_back_and_is_killed_no_more() {
    let _operator = operator::usual();
    let space = Space::new("oom");
    let set = Redis::deploy(&space, "redis", 1, &[("MAXMEMORY", "0"), ("LIMIT", LIMIT)]);
    set.label_roles();
    let writer = set.writer(200);
    set.fill(75 * MIB);
    let killed = set.run_ids();

    // What the limit bears would evict keys, for which nobody has given consent.
    let policy = Policy::apply(&space, "redis", &[("MODE", "Enforce"), ("REMEDIES", "SetMaxmemory")]);
    policy.patch_spec(&json!({"purpose": "Cache"}));
    policy.await_remedy("MaxmemoryUnset", "redis-0", "does not set maxmemory to 64 MiB");
    assert_eq!(set.run_ids(), killed, "nothing has happened yet");

    space.apply(&space.render("filler.yaml", &[("NAME", "redis")]));
    let kills = || policy.status()["oomKills"][0].clone();
    eventually("the kill in the status", 120, || {
        let kills = kills();
        require(kills["cause"] == "NoMaxmemory", || kills.to_string())
    });
    eventually("maxmemory of the process that came back", 60, || {
        let info = set.try_info("redis-0")?;
        let (run_id, maxmemory) = (info.field("run_id"), info.number("maxmemory"));
        require(run_id != killed["redis-0"] && maxmemory == BEARS, || format!("{maxmemory} on {run_id}"))
    });
    eventually("it is full, and evicts", 60, || {
        let info = set.try_info("redis-0")?;
        require(info.number("evicted_keys") > 0, || format!("{} are used", info.number("used_memory")))
    });

    let (restarts, run_ids) = (set.container_restarts(), set.run_ids());
    writer.mark();
    let errors = writer.status()["errors"].clone();
    throughout(STAYS_UP, || assert_eq!(set.container_restarts(), restarts, "it was killed once more: {}", kills()));
    assert_eq!(set.run_ids(), run_ids);
    let seen = writer.status();
    println!("{restarts} kills: {}; then {}", kills(), seen["window"]);
    assert!((1..=3).contains(&restarts), "{restarts}");
    assert_eq!(kills()["times"], restarts, "{}", kills());
    assert_eq!(kills()["cause"], "NoMaxmemory", "{}", kills());
    assert_eq!(seen["errors"], errors, "no write was refused");
    assert!(seen["window"]["acknowledged"].as_u64() > Some(STAYS_UP * 50), "{seen}");

    let info = set.info("redis-0");
    assert!(info.number("used_memory") < BEARS + 4 * MIB && info.number("evicted_keys") > 0, "{info:?}");
    let code = if restarts < 3 { "OomKilled" } else { "OomKillLoop" };
    let finding = policy.await_remedy(code, "redis-0", "maxmemory is 64 MiB now");
    println!("{} {}", finding.evidence, finding.remedy);
    assert!(finding.evidence.contains("maxmemory is 0, so that nothing bounds the data"), "{finding:?}");
}
