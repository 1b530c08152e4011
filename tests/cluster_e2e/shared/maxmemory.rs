//! `maxmemory` where the limit is not raised: it is set to what the limit bears, while clients write, and where keys or writes
//! would go by that it is left.

use serde_json::Value;

use crate::prelude::*;

/// A limit that bears [`BEARS`]: half as much is above it, and 64 MiB.
const LIMIT: &str = "192Mi";
const BEARS: u64 = 128 * MIB;
/// No limit is raised; a set that is full refuses writes.
const ONLY_MAXMEMORY: [(&str, &str); 2] = [("MODE", "Enforce"), ("REMEDIES", "SetMaxmemory")];

/// What a container of that pod is started with after `--maxmemory`.
fn started_with(pod: &Value) -> String {
    let words = pod["spec"]["containers"][0]["args"].as_array().expect("arguments");
    let at = words.iter().position(|word| word == "--maxmemory").expect("--maxmemory");
    words[at + 1].as_str().expect("a word").to_owned()
}

/// Waits until every member has what the limit bears.
fn await_value(set: &Redis<'_>) {
    for pod in set.pods() {
        eventually(&format!("maxmemory of {pod}"), 60, || {
            let maxmemory = set.try_info(&pod)?.number("maxmemory");
            require(maxmemory == BEARS, || maxmemory.to_string())
        });
    }
}

/// No key went for want of room.
fn assert_nothing_evicted(set: &Redis<'_>) {
    for pod in set.pods() {
        assert_eq!(set.info(&pod).number("evicted_keys"), 0, "{pod}");
    }
}

#[test]
#[ignore = "needs a cluster: make test"]
fn no_bound_beside_a_limit_becomes_right_without_a_restart_and_again_in_a_pod_that_starts_without_it() {
    let _operator = operator::usual();
    let space = Space::new("unbounded");
    let set = Redis::deploy(&space, "redis", 3, &[("MAXMEMORY", "0"), ("EVICTION", "noeviction"), ("LIMIT", LIMIT)]);
    set.label_roles();
    let writer = set.writer(400);
    // At most three quarters of what the limit bears, so that it may be set.
    let keys = set.fill(80 * MIB);
    let run_ids = set.run_ids();
    assert!(set.pods().iter().all(|pod| set.info(pod).number("maxmemory") == 0));

    let policy = Policy::apply(&space, "redis", &ONLY_MAXMEMORY);
    await_value(&set);
    assert_eq!(set.run_ids(), run_ids, "the same processes");
    let finding = policy.await_finding("ConfigDrift", "");
    println!("{} {}", finding.evidence, finding.remedy);
    for said in ["the operator set maxmemory to 128 MiB", "(it was 0)", "redis-0", "redis-1", "redis-2"] {
        assert!(finding.evidence.contains(said), "{said}: {finding:?}");
    }
    eventually("an event for each pod, with both values", 30, || {
        let notes = policy.event_notes();
        let told =
            |pod: &String| notes.iter().any(|note| note.starts_with(&format!("{pod}: maxmemory is 128 MiB, was none")));
        require(set.pods().iter().all(told), || format!("{notes:#?}"))
    });

    set.replace("redis-2");
    await_value(&set);
    assert_eq!(started_with(&space.get(&["pod", "redis-2"])), "0", "its template says what it said");
    let now = set.run_ids();
    assert!(now["redis-0"] == run_ids["redis-0"] && now["redis-1"] == run_ids["redis-1"], "{now:?}, were {run_ids:?}");
    assert_eq!(set.container_restarts(), 0);
    assert_nothing_evicted(&set);

    let verdict = writer.assert_undisturbed();
    println!("{keys} keys beside {verdict}");
    let all = keys + verdict["acknowledged"].as_u64().unwrap();
    for pod in set.pods() {
        eventually(&format!("every key on {pod}"), 30, || {
            let held = set.cli(&pod, &["DBSIZE"])?;
            require(held == all.to_string(), || format!("{held} of {all}"))
        });
    }
}

#[test]
#[ignore = "needs a cluster: make test"]
fn a_set_that_refuses_writes_when_full_and_is_too_full_is_reported_with_its_numbers_and_left() {
    let _operator = operator::usual();
    let space = Space::new("too-full");
    // 180 MiB, where the limit bears 128: of these at most 96 may be used for it to be set.
    let words = [("MAXMEMORY", "180mb"), ("EVICTION", "noeviction"), ("LIMIT", LIMIT)];
    let set = Redis::deploy(&space, "redis", 1, &words);
    set.label_roles();
    let writer = set.writer(200);
    set.fill(110 * MIB);
    let run_ids = set.run_ids();

    let policy = Policy::apply(&space, "redis", &ONLY_MAXMEMORY);
    let refused = "the operator does not set maxmemory to 128 MiB, which the limit of 192 MiB bears: about 110 MiB are used, and \
                   it is set where at most 96 MiB are, so that no key goes and no write is refused";
    let finding = policy.await_remedy("HeadroomInsufficient", "redis-0", refused);
    println!("{} {}", finding.evidence, finding.remedy);
    throughout(8, || {
        assert_eq!(set.info("redis-0").number("maxmemory"), 180 * MIB);
        assert_eq!(set.spec_limit("redis-0"), LIMIT);
    });
    assert_eq!(set.run_ids(), run_ids, "the same process");
    assert_eq!(set.container_restarts(), 0);
    assert_nothing_evicted(&set);
    println!("{}", writer.assert_undisturbed());
}
