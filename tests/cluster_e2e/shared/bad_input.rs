//! Bad input becomes a finding with a clear text; other targets are unaffected and nothing is done.

use crate::{prelude::*, support::policy::Finding};

/// Pods that listen on Redis' port and are no Redis: name, and what answers a connection.
const STRANGERS: [(&str, &str); 4] = [
    ("http", "echo hello >/tmp/index.html; exec httpd -f -p 6379 -h /tmp"),
    ("garbage", "exec nc -ll -p 6379 -e dd if=/dev/urandom bs=4096 count=4"),
    ("silent", "exec nc -ll -p 6379 -e sleep 600"),
    ("flood", "exec nc -ll -p 6379 -e dd if=/dev/zero bs=1048576 count=10"),
];

/// The three good members of the set are sampled and carry no finding worse than what a healthy set has.
fn assert_others_unaffected(policy: &Policy<'_>, set: &Redis<'_>, targets: u64) {
    eventually("all targets counted, the good ones reached", 60, || {
        let summary = policy.status()["summary"].clone();
        let good = summary["targets"] == targets && summary["reachable"] == 3;
        require(good, || summary.to_string())
    });
    let on_good: Vec<Finding> =
        policy.findings().into_iter().filter(|finding| set.pods().contains(&finding.pod)).collect();
    assert!(on_good.is_empty(), "{on_good:?}");
}

#[test]
#[ignore = "needs a cluster: make test"]
fn pods_that_are_no_redis_are_said_to_be_none_and_harm_no_other_target() {
    let _operator = operator::usual();
    let space = Space::new("strangers");
    // As much requested as maxmemory, so that a healthy member has no finding at all.
    let set = Redis::deploy(&space, "redis", 3, &[("REQUEST", "512Mi")]);
    set.label_roles();
    for (name, command) in STRANGERS {
        space.apply(&space.render("stranger.yaml", &[("NAME", name), ("COMMAND", command)]));
    }
    space.must(&["wait", "--for=condition=Ready", "pod", "--selector", "app=stranger", "--timeout=60s"]);
    let uids = set.uids();
    let selector = "matchExpressions: [{key: app, operator: In, values: [redis, stranger]}]";
    let policy = Policy::apply(&space, "redis", &[("MODE", "Enforce"), ("SELECTOR", selector)]);
    for (name, _) in STRANGERS {
        let finding = policy.await_finding("Unreachable", name);
        println!("{name}: {}", finding.evidence);
        assert!(finding.evidence.len() > 10 && !finding.remedy.is_empty(), "{finding:?}");
        assert!(!finding.evidence.chars().any(char::is_control), "{finding:?}");
    }
    policy.await_condition("Ready", "True", "Evaluated", 30);
    assert_others_unaffected(&policy, &set, 7);
    assert_eq!(set.uids(), uids);
    let operator = operator::pod();
    assert_eq!(operator["status"]["containerStatuses"][0]["restartCount"], 0, "{operator}");
}

#[test]
#[ignore = "needs a cluster: make test"]
fn a_missing_secret_is_named() {
    let _operator = operator::usual();
    let space = Space::new("secret");
    let set = Redis::deploy(&space, "redis", 1, &[]);
    let secret = ", passwordSecret: {name: no-such-secret, key: password}";
    let policy = Policy::apply(&space, "redis", &[("MODE", "Enforce"), ("REDIS", secret)]);
    let finding = policy.await_finding("AuthenticationFailed", &set.pods()[0]);
    assert!(finding.evidence.contains("no-such-secret"), "{finding:?}");
    policy.await_condition("Ready", "True", "Evaluated", 30);
}

#[test]
#[ignore = "needs a cluster: make test"]
fn an_unknown_port_name_is_named_and_other_policies_go_on() {
    let _operator = operator::usual();
    let space = Space::new("port");
    let set = Redis::deploy(&space, "redis", 1, &[]);
    let unknown_port = ", port: no-such-port";
    let wrong = Policy::apply_named(&space, "wrong", "redis", &[("MODE", "Enforce"), ("REDIS", unknown_port)]);
    let finding = wrong.await_finding("ContainerUnknown", &set.pods()[0]);
    assert!(finding.evidence.contains("no-such-port"), "{finding:?}");
    let right = Policy::apply_named(&space, "right", "redis", &[("AUTHORITY", "Auto")]);
    eventually("the other policy reaches the pod", 60, || {
        let summary = right.status()["summary"].clone();
        require(summary["reachable"] == 1, || summary.to_string())
    });
}

#[test]
#[ignore = "needs a cluster: make test"]
fn a_selector_that_matches_nothing_is_said_and_ready() {
    let _operator = operator::usual();
    let space = Space::new("nothing");
    let policy = Policy::apply(&space, "nobody", &[]);
    policy.await_finding("NoTargets", "");
    policy.await_condition("Ready", "True", "Evaluated", 30);
}
