//! A chart's static primary, in a StatefulSet of its own: the replicas are cured one by one, and with consent the primary in
//! place, last. No role moves, and the set survives any restart as it did before.
//!
//! The primary's PersistentVolume is a directory of this machine, so this needs the test cluster, whose one node it is.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{prelude::*, support::disk::Disk};

const PODS: [&str; 3] = ["redis-master-0", "redis-replicas-0", "redis-replicas-1"];

fn replaced(before: &BTreeMap<String, String>, set: &Redis<'_>) -> Vec<String> {
    let now = set.uids();
    PODS.iter().filter(|pod| now.get(**pod) != before.get(**pod)).map(|pod| (*pod).to_owned()).collect()
}

#[test]
#[ignore = "needs a cluster: make test"]
fn a_primary_in_a_stateful_set_of_its_own_is_restarted_last_and_keeps_its_role() {
    let _operator = operator::usual();
    let space = Space::new("primary-apart");
    let disk = Disk::new(&space, "redis");
    space.apply(&space.render("primary-apart.yaml", &[("NAME", "redis"), ("DIRECTORY", &disk.path())]));
    for part in ["master", "replicas"] {
        space.must(&["rollout", "status", &format!("statefulset/redis-{part}"), "--timeout=180s"]);
    }
    let set = Redis { space: &space, name: "redis".to_owned(), replicas: 3 };
    set.fragment(SMALL_KEYS);
    let writer = set.writer(200);
    let before = set.uids();

    let words = [("MODE", "Enforce"), ("AUTHORITY", "Auto"), ("WASTE", SMALL_WASTE)];
    let policy = Policy::apply(&space, "redis", &words);
    let ended = |pods: &[&str]| {
        let (replaced, record) = (replaced(&before, &set), policy.record("redis-master"));
        let succeeded = record.as_ref().is_some_and(|(outcome, _)| outcome == "Succeeded");
        let idle = policy.status()["journal"].is_null();
        require(replaced == pods && idle && succeeded, || format!("replaced: {replaced:?}; {record:?}"))
    };
    eventually("the replicas are restarted, and the primary is not", 300, || ended(&PODS[1..]));
    println!("without consent: {}", policy.await_blocked("DowntimeNotAllowed"));

    policy.patch_spec(&json!({"restart": {"allowDowntime": true}}));
    eventually("the primary is restarted in place", 300, || ended(&PODS));
    for pod in PODS {
        let info = set.info(pod);
        assert!(info.ratio() < 2.5, "{pod}: {}", info.ratio());
        assert_eq!(info.is_primary(), pod == PODS[0], "{pod}");
    }
    assert_eq!(set.container_restarts(), 0);

    // Deleted by somebody, it comes back as it did before.
    for pod in PODS {
        let uids = set.uids();
        space.must(&["delete", "pod", pod]);
        eventually("the set is whole again", 60, || {
            require(set.uids().get(pod) != uids.get(pod), || format!("{pod} is not there yet"))?;
            PODS[1..].iter().try_for_each(|replica| {
                let link = set.try_info(replica)?.field("master_link_status").to_owned();
                require(link == "up", || format!("{replica}: link {link}"))
            })
        });
    }
    println!("{}", writer.assert_nothing_lost());
}
