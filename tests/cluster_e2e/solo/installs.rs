//! Two installs of the operator in one cluster: one acts, the other stands back, and goes on when the first is gone.

use std::time::Instant;

use super::turns;
use crate::prelude::*;

/// The other install: another name in another namespace, as a second team would have it.
const OTHER: &str = "rmo-other";

/// The other install, while this lives.
struct Other;

impl Other {
    fn install() -> Self {
        let other = Self;
        let mut command = client::script("tests/demo/install");
        command.env("RMO_OPERATOR_NAMESPACE", OTHER).args(["--set", &format!("fullnameOverride={OTHER}")]);
        client::run(command).or_panic("installing the other operator");
        other
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let mut command = client::script("tests/cluster/helm");
        command.args(["uninstall", operator::NAME, "--namespace", OTHER, "--wait", "--timeout=60s"]);
        let _said = client::run(command);
        let _said = client::kubectl(&["delete", "namespace", OTHER, "--wait=false"]);
    }
}

/// The install that the journal names: namespace and name of its Lease.
fn owner(policy: &Policy<'_>) -> Option<String> {
    policy.status()["journal"]["owner"]["install"].as_str().map(str::to_owned)
}

#[test]
#[ignore = "needs a cluster: make test"]
#[allow(clippy::disallowed_methods, reason = "tests wait in real time")]
fn of_two_installs_one_acts_and_the_other_goes_on_when_it_is_gone() {
    if !turns::takes("installs") {
        return;
    }
    let _operator = operator::special(&Options::default());
    let _other = Other::install();
    let space = Space::new("installs");
    let set = Redis::deploy(&space, "redis", 3, &[]);
    set.label_roles();
    let writer = set.writer(200);
    set.fragment(SMALL_KEYS);
    let watch = PodWatch::of(&set);
    let policy = Policy::apply(&space, "redis", &[("MODE", "Enforce"), ("WASTE", SMALL_WASTE)]);
    let first = eventually("one of them begins", 120, || owner(&policy).ok_or_else(|| policy.status().to_string()));
    let (namespace, deployment) =
        if first.starts_with(&format!("{OTHER}/")) { (OTHER, OTHER) } else { (operator::NAMESPACE, operator::NAME) };
    eventually("the other says that it stands back, and for whom", 30, || {
        let notes = policy.event_notes();
        let says = notes.iter().any(|note| note.contains(&format!("the install {first} ")));
        require(says, || format!("{notes:?}"))
    });
    assert_eq!(owner(&policy).as_deref(), Some(first.as_str()), "nobody has taken it over");

    // As when a node is lost: it does not come back.
    let stopped = Instant::now();
    client::kubectl(&["--namespace", namespace, "scale", &format!("deployment/{deployment}"), "--replicas=0"])
        .or_panic("stopping the one that acts");
    let second = eventually("the other goes on", 120, || match owner(&policy) {
        Some(now) if now != first => Ok(now),
        now => Err(format!("{now:?}")),
    });
    let waited = stopped.elapsed();
    println!("{first} acted, {second} went on {} s after it was stopped", waited.as_secs());
    // The heartbeat is at most ten seconds old when it stops, and stands still for a minute then.
    assert!(waited.as_secs() >= 45, "it did not stand back: {waited:?}");
    policy.await_cured("redis", 300);
    watch.assert_main_job("redis-0", &["redis-1".to_owned(), "redis-2".to_owned()]);
    set.assert_cured();
    println!("{}", writer.assert_nothing_lost());

    // Both again, with nothing to do: they do not undo each other's status for ever.
    client::kubectl(&["--namespace", namespace, "scale", &format!("deployment/{deployment}"), "--replicas=1"])
        .or_panic("starting it again");
    client::kubectl(&["--namespace", namespace, "rollout", "status", &format!("deployment/{deployment}")])
        .or_panic("its rollout");
    let version = || policy.object()["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let (mut last, mut changes) = (version(), 0);
    throughout(30, || {
        let now = version();
        changes += u32::from(now != last);
        last = now;
    });
    println!("{changes} versions of the policy were seen in 30 s with both at work");
    assert!(changes <= 12, "they undo each other's status: {changes} versions in 30 s");
}
