//! A Redis that the kernel kills while it loads gets a higher limit until it has loaded: within three kills it heals. What
//! happened stays until a person has taken note.

use crate::prelude::*;

/// About 88 MB of data (measured: 177 MB a million), which take some more resident memory.
const KEYS: &str = "500000";
/// 64 MiB, and that by 1.25 once, twice and three times.
const LIMITS: [&str; 3] = ["80Mi", "100Mi", "125Mi"];

#[test]
#[ignore = "needs a cluster: make test"]
fn a_server_that_is_killed_while_it_loads_gets_a_higher_limit_until_it_has_loaded() {
    let _operator = operator::usual();
    let space = Space::new("loop");
    space.apply(&space.render("load-loop.yaml", &[("NAME", "redis"), ("KEYS", KEYS), ("LIMIT", "64Mi")]));
    let set = Redis { space: &space, name: "redis".to_owned(), replicas: 1 };
    let policy = Policy::apply(&space, "redis", &[("MODE", "Enforce")]);
    let kills = || policy.status()["oomKills"][0].clone();
    eventually("the kill in the status", 120, || {
        let kills = kills();
        require(kills["cause"] == "Loading", || kills.to_string())
    });
    space.must(&["wait", "--for=condition=Ready", "pod/redis-0", "--timeout=300s"]);

    assert_eq!(set.cli("redis-0", &["DBSIZE"]).unwrap(), KEYS, "every key");
    let pod = space.get(&["pod", "redis-0"]);
    let limit = pod["spec"]["containers"][0]["resources"]["limits"]["memory"].as_str().unwrap();
    let restarts = set.container_restarts();
    println!("{limit} after {restarts} kills; {}", kills());
    assert!(LIMITS.contains(&limit), "{limit}");
    assert!((1..=3).contains(&restarts), "{restarts}");
    // The last one may have come right before it was Ready.
    let kills = eventually("each kill in the status", 60, || {
        let kills = kills();
        require(kills["times"] == restarts, || kills.to_string()).map(|()| kills)
    });
    assert_eq!(kills["times"], kills["whileLoading"], "{kills}");

    let code = if kills["times"] == 1 { "OomKilled" } else { "OomKillLoop" };
    let finding = policy.await_finding(code, "redis-0");
    println!("{} {}", finding.evidence, finding.remedy);
    let note = format!("redismemory.io/acknowledged={}", kills["lastAt"].as_str().unwrap());
    space.must(&["annotate", "redismemorypolicy", "redis", &note]);
    eventually("nothing of it in the status", 60, || {
        let status = policy.status();
        let found = status["findings"].to_string();
        require(status["oomKills"].is_null() && !found.contains("OomKill"), || {
            format!("{} {found}", status["oomKills"])
        })
    });
    assert_eq!(set.container_restarts(), restarts, "it is killed no more");
}
