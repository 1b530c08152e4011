//! A Redis that nothing can take over from: left alone without consent, and with consent restarted with all of its data.
//!
//! Its PersistentVolume is a directory of this machine, so this needs the test cluster, whose one node it is.

use serde_json::json;

use crate::{prelude::*, support::disk::Disk};

#[test]
#[ignore = "needs a cluster: make test"]
fn a_standalone_redis_with_an_aof_is_restarted_with_consent_and_keeps_every_key() {
    let _operator = operator::usual();
    let space = Space::new("standalone");
    let disk = Disk::new(&space, "redis");
    space.apply(&space.render("standalone.yaml", &[("NAME", "redis"), ("DIRECTORY", &disk.path())]));
    space.must(&["rollout", "status", "statefulset/redis", "--timeout=180s"]);
    let set = Redis { space: &space, name: "redis".to_owned(), replicas: 1 };
    set.fragment(SMALL_KEYS);
    set.cli("redis-0", &["SET", "marker", "before"]).unwrap();
    let (uids, keys) = (set.uids(), set.cli("redis-0", &["DBSIZE"]).unwrap());

    let words = [("MODE", "Enforce"), ("AUTHORITY", "Auto"), ("WASTE", SMALL_WASTE)];
    let policy = Policy::apply(&space, "redis", &words);
    println!("without consent: {}", policy.await_blocked("DowntimeNotAllowed"));
    throughout(8, || assert_eq!(set.uids(), uids, "it is left alone"));

    policy.patch_spec(&json!({"restart": {"allowDowntime": true}}));
    let steps = policy.await_journal();
    let kinds: Vec<&str> = steps.iter().map(|step| step.kind.as_str()).collect();
    assert_eq!(kinds, ["Persist", "Evict", "AwaitPrimary", "RestoreSettings", "Prove"]);
    assert!(steps[1].reason.contains("WRITES STOP"), "the plan says so: {}", steps[1].reason);
    policy.await_success(300);

    assert_ne!(set.uids(), uids, "the pod was replaced");
    assert_eq!(set.container_restarts(), 0);
    assert_eq!(set.cli("redis-0", &["DBSIZE"]).unwrap(), keys);
    assert_eq!(set.cli("redis-0", &["GET", "marker"]).unwrap(), "before");
    let info = set.info("redis-0");
    assert!(info.ratio() < 2.5, "the rewritten AOF is loaded clean: {}", info.ratio());
    set.assert_writable();
}
