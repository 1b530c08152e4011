//! Without the acting roles of the chart the operator can only look, says so, and does not touch Redis either.

use crate::prelude::*;

/// Commands of Redis that change something beyond data.
const CHANGING: [&str; 8] =
    ["failover", "replicaof", "slaveof", "config|set", "client|pause", "client|kill", "bgsave", "shutdown"];

fn assert_forbidden(what: &str, said: &client::Said) {
    assert!(!said.success, "{what} was allowed");
    assert!(said.stderr.contains("Forbidden") || said.stderr.contains("forbidden"), "{what}: {}", said.stderr);
}

#[test]
#[ignore = "needs a cluster: make test"]
fn with_acting_roles_off_everything_that_changes_answers_403_and_is_reported() {
    let off = Options {
        set: vec![r#"acting={"resize":false,"restart":false,"roleLabel":false}"#.to_owned()],
        crash_image: false,
    };
    let _operator = operator::special(&off);
    let space = Space::new("rights");
    // A limit to raise, a label to set and a restart that is due: reasons enough to act.
    let set = Redis::deploy(&space, "redis", 3, &[("MAXMEMORY", "512mb"), ("LIMIT", "564Mi")]);
    set.label_roles();
    set.fragment(SMALL_KEYS);

    let user = ["--as", operator::USER];
    let path = format!("/api/v1/namespaces/{}/pods/redis-1/eviction", space.name);
    let eviction = format!(
        r#"{{"apiVersion":"policy/v1","kind":"Eviction","metadata":{{"name":"redis-1","namespace":"{}"}}}}"#,
        space.name
    );
    let evict = ["create", "--raw", &path, "--filename", "-"];
    assert_forbidden("an eviction", &client::kubectl_with(&[&user[..], &evict].concat(), &eviction));
    let resize = r#"{"spec":{"containers":[{"name":"redis","resources":{"limits":{"memory":"768Mi"}}}]}}"#;
    let raise = ["patch", "pod", "redis-1", "--subresource", "resize", "--patch", resize];
    assert_forbidden("a resize", &space.kubectl(&[&user[..], &raise].concat()));
    let label = ["label", "pod", "redis-1", "redismemory.io/role=primary", "--overwrite"];
    assert_forbidden("a label", &space.kubectl(&[&user[..], &label].concat()));

    let uids = set.uids();
    let policy = Policy::apply(&space, "redis", &[("MODE", "Enforce"), ("WASTE", SMALL_WASTE)]);
    let text = policy.await_blocked("PermissionMissing");
    println!("{text}");
    let missing = policy.findings().into_iter().filter(|finding| finding.code == "PermissionMissing");
    assert!(missing.count() > 0, "{:?}", policy.findings());
    throughout(10, || {});
    assert_eq!(set.uids(), uids);
    for pod in set.pods() {
        let stats = set.cli(&pod, &["INFO", "commandstats"]).unwrap();
        for command in CHANGING {
            assert!(!stats.contains(&format!("cmdstat_{command}:")), "{command} was sent to {pod}:\n{stats}");
        }
        assert!(stats.contains("cmdstat_info:"), "INFO shows commands at all");
    }
}
