//! One slot in the whole cluster, and a set whose disruption budget never allows anything.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::PathBuf,
};

use serde_json::{Value, json};

use super::turns;
use crate::prelude::*;

/// Evictions that the operator asked for in a namespace, by the API server's own record.
fn evictions(space: &Space) -> usize {
    let log = PathBuf::from(client::setting("RMO_CLUSTER_DIR")).join("audit.log");
    let Ok(file) = File::open(log) else { return 0 };
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    let ours = |write: &Value| {
        let about = &write["objectRef"];
        write["user"]["username"] == operator::USER
            && about["subresource"] == "eviction"
            && about["namespace"] == space.name.as_str()
    };
    lines.filter_map(|line| serde_json::from_str(&line).ok()).filter(ours).count()
}

fn allow(space: &Space) {
    let patch = r#"{"spec":{"minAvailable":null,"maxUnavailable":1}}"#;
    space.must(&["patch", "poddisruptionbudget", "redis", "--type=merge", "--patch", patch]);
}

#[test]
#[ignore = "needs a cluster: make test"]
fn a_budget_that_never_allows_leaves_the_one_slot_to_the_next_set() {
    if !turns::takes("free-slot") {
        return;
    }
    let one = Options { set: vec!["budget.maximumRemediations=1".to_owned()], crash_image: false };
    let _operator = operator::special(&one);
    let (held, free) = (Space::new("held"), Space::new("free"));
    let first = Redis::deploy(&held, "redis", 3, &[("MAX_UNAVAILABLE", "0")]);
    let second = Redis::deploy(&free, "redis", 3, &[]);
    for set in [&first, &second] {
        set.label_roles();
        set.fragment(SMALL_KEYS);
    }
    let uids = first.uids();
    let words = [("MODE", "Enforce"), ("WASTE", SMALL_WASTE)];
    let refused = Policy::apply(&held, "redis", &words);
    println!("while it stands: {}", refused.await_blocked("DisruptionBudget"));
    let writer = second.writer(200);
    let cured = Policy::apply(&free, "redis", &words);
    cured.await_cured("redis", 300);
    second.assert_cured();
    writer.assert_nothing_lost();

    assert_eq!(first.uids(), uids, "nothing is evicted while the budget stands");
    if client::setting("USE_EXISTING_CLUSTER") != "1" {
        let asked = evictions(&held);
        assert!(asked <= 1, "{asked} evictions were asked for in vain");
    }
    let (status, reason, _) = refused.condition("RemediationBlocked").unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("True", "DisruptionBudget"), "it is said all the time");
    allow(&held);
    refused.await_cured("redis", 300);
    first.assert_cured();
}

#[test]
#[ignore = "needs a cluster: make test"]
fn a_budget_that_never_allows_has_no_data_written_out_for_nothing() {
    if !turns::takes("nothing-written") {
        return;
    }
    let usual = Options { set: vec!["budget.maximumRemediations=2".to_owned()], crash_image: false };
    let _operator = operator::special(&usual);
    let space = Space::new("unwritten");
    let disk = crate::support::disk::Disk::new(&space, "redis");
    space.apply(&space.render("standalone.yaml", &[("NAME", "redis"), ("DIRECTORY", &disk.path())]));
    // As people protect a single Redis: its one pod must be there.
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "redis"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "redis"}}},
    });
    space.apply(&budget.to_string());
    space.must(&["rollout", "status", "statefulset/redis", "--timeout=180s"]);
    let set = Redis { space: &space, name: "redis".to_owned(), replicas: 1 };
    set.fragment(SMALL_KEYS);
    let (uids, rewrites) = (set.uids(), set.info("redis-0").field("aof_rewrites").to_owned());
    let words = [("MODE", "Enforce"), ("AUTHORITY", "Auto"), ("WASTE", SMALL_WASTE)];
    let policy = Policy::apply(&space, "redis", &words);
    policy.patch_spec(&json!({"restart": {"allowDowntime": true}}));
    println!("while it stands: {}", policy.await_blocked("DisruptionBudget"));
    throughout(60, || {
        let now = set.info("redis-0");
        assert_eq!(now.field("aof_rewrites"), rewrites, "its data was written out although the budget forbids all");
    });
    assert_eq!(set.uids(), uids);
    allow(&space);
    policy.await_success(300);
    eventually("one rewrite before its one restart", 10, || {
        let rewrites = set.info("redis-0").field("aof_rewrites").to_owned();
        require(set.uids() != uids, || format!("not restarted, {rewrites} rewrites"))
    });
}
