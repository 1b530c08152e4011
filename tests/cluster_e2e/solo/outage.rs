//! The API server is away, or the operator was: nobody is blinded by it, and nothing turns good by it.

use std::{collections::BTreeMap, fs};

use super::turns;
use crate::prelude::*;

/// How long the API server stands still.
const OUTAGE: u64 = 120;

/// The API server's process, stopped while this lives.
struct Stopped(String);

impl Stopped {
    fn now() -> Self {
        let pids = client::setting("RMO_CLUSTER_DIR") + "/pids/kube-apiserver";
        let pid = fs::read_to_string(&pids).unwrap().split(' ').next().unwrap().to_owned();
        let stopped = Self(pid);
        stopped.signal("STOP");
        stopped
    }

    fn signal(&self, name: &str) {
        let mut kill = std::process::Command::new("kill");
        kill.args([format!("-{name}"), self.0.clone()]);
        client::run(kill).or_panic("a signal to the API server");
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.signal("CONT");
    }
}

/// The series of a name that are of that namespace, by their labels.
fn series(text: &str, name: &str, namespace: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
    let parsed = lines.filter_map(|line| {
        let (labels, value) = line.rsplit_once("} ")?;
        labels.contains(&format!("namespace=\"{namespace}\"")).then_some(())?;
        Some((labels.to_owned(), value.split(' ').next()?.parse().ok()?))
    });
    parsed.collect()
}

/// A fragmented set, watched by a policy that only observes, with its findings in the status.
fn found(space: &Space) -> (Redis<'_>, Policy<'_>) {
    let set = Redis::deploy(space, "redis", 3, &[]);
    set.label_roles();
    set.fragment(SMALL_KEYS);
    let policy = Policy::apply(space, "redis", &[("MODE", "Observe"), ("WASTE", SMALL_WASTE)]);
    for pod in set.pods() {
        policy.await_finding("FragmentationRestartDue", &pod);
    }
    (set, policy)
}

/// The bad condition stands, and nothing was said to have got well.
fn assert_still_bad(policy: &Policy<'_>) {
    let condition = policy.condition("FragmentationWithinBounds");
    assert!(condition.as_ref().is_some_and(|(status, ..)| status == "False"), "{condition:?}");
    let resolved: Vec<_> = policy.event_reasons().into_iter().filter(|one| one.ends_with("Resolved")).collect();
    let fragmentation: Vec<_> = resolved.iter().filter(|one| one.starts_with("Fragmentation")).collect();
    assert!(fragmentation.is_empty(), "{resolved:?}");
}

#[test]
#[ignore = "needs a cluster: make test"]
fn an_operator_that_is_started_again_calls_nothing_resolved_that_still_stands() {
    if !turns::takes("restarted") {
        return;
    }
    // Of a time until something may be judged that the test can watch.
    let slow = Options { set: vec![r#"timing.warmUp="20s""#.to_owned()], crash_image: false };
    let _operator = operator::special(&slow);
    let space = Space::new("restarted");
    let (_set, policy) = found(&space);
    let before = operator::pod()["metadata"]["name"].clone();
    let deployment = format!("deployment/{}", operator::NAME);
    client::kubectl(&["--namespace", operator::NAMESPACE, "rollout", "restart", &deployment]).or_panic("a restart");
    client::kubectl(&["--namespace", operator::NAMESPACE, "rollout", "status", &deployment, "--timeout=120s"])
        .or_panic("the rollout");
    throughout(40, || assert_still_bad(&policy));
    assert_ne!(operator::pod()["metadata"]["name"], before, "another operator by now");
    let address = operator::pod()["status"]["podIP"].as_str().unwrap().to_owned();
    let leads = operator::metrics(&address).unwrap();
    assert!(leads.contains("redis_memory_policy_fragmentation_ratio{"), "it leads and samples:\n{leads}");
}

#[test]
#[ignore = "needs a cluster: make test"]
fn while_the_api_server_is_away_probing_and_series_go_on() {
    if !turns::takes("outage") {
        return;
    }
    if client::setting("USE_EXISTING_CLUSTER") == "1" {
        println!("skipped: the API server of an existing cluster is not ours to stop");
        return;
    }
    let _operator = operator::special(&Options { set: vec!["stop=false".to_owned()], crash_image: false });
    let space = Space::new("outage");
    let (_set, policy) = found(&space);
    let pod = operator::pod();
    let address = pod["status"]["podIP"].as_str().unwrap().to_owned();
    let ratios = |text: &str| series(text, "redis_memory_policy_fragmentation_ratio", &space.name);
    let before = operator::metrics(&address).unwrap();
    assert_eq!(ratios(&before).len(), 3, "{before}");

    let stopped = Stopped::now();
    let mut looks = 0_u32;
    throughout(OUTAGE, || {
        let text =
            operator::metrics(&address).unwrap_or_else(|error| panic!("no metrics after {looks} looks: {error}"));
        assert_eq!(ratios(&text).len(), 3, "after {looks} looks:\n{text}");
        let ages = series(&text, "redis_memory_policy_sample_age_seconds", &space.name);
        assert!(ages.len() == 3 && ages.values().all(|age| *age < 5.0), "after {looks} looks: {ages:?}");
        looks += 1;
    });
    drop(stopped);

    println!("{looks} scrapes, all of them whole");
    eventually("the API server answers again", 60, || client::kubectl(&["get", "--raw", "/readyz"]).into_result());
    throughout(30, || assert_still_bad(&policy));
    let after = operator::pod();
    assert_eq!(after["metadata"]["uid"], pod["metadata"]["uid"]);
    assert_eq!(after["status"]["containerStatuses"][0]["restartCount"], 0, "it was not started again");
    eventually("it evaluates again", 60, || {
        policy.patch_spec(&serde_json::json!({"fragmentation": {"minimumWaste": "25Mi"}}));
        require(policy.condition("Ready").is_some(), || "not this generation".to_owned())
    });
}
