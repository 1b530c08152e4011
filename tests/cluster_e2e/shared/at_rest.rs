//! At rest nothing is written. The first test of all by its name, because it takes longest and others run beside it.

use std::{
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::PathBuf,
};

use serde_json::Value;

use crate::{prelude::*, support::writer::Writer};

/// The API server's record of every write.
fn audit_log() -> PathBuf {
    PathBuf::from(client::setting("RMO_CLUSTER_DIR")).join("audit.log")
}

fn minutes() -> u64 {
    client::setting("RMO_QUIET_MINUTES").parse().unwrap_or(10)
}

/// The writes that were recorded from that position on; of the operator its reads are recorded too.
fn writes_since(position: u64) -> Vec<Value> {
    let mut file = File::open(audit_log()).unwrap();
    file.seek(SeekFrom::Start(position)).unwrap();
    // A line that is being written is no JSON yet; it belongs to the time after.
    let all = BufReader::new(file).lines().map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok());
    all.filter(|entry: &Value| !["get", "list", "watch"].iter().any(|read| entry["verb"] == *read)).collect()
}

#[test]
#[ignore = "needs a cluster: make test"]
fn ten_quiet_minutes_with_the_writer_on_write_no_status() {
    if client::setting("USE_EXISTING_CLUSTER") == "1" {
        println!("skipped: an existing cluster keeps its audit log to itself, and only that shows each write");
        return;
    }
    let _operator = operator::idle();
    let space = Space::new("at-rest");
    let set = Redis::deploy(&space, "redis", 3, &[("MAXMEMORY", "256mb"), ("LIMIT", "512Mi")]);
    set.label_roles();
    // Data, which also fills the backlog, and a writer that writes the same keys over and over: nothing grows. So much
    // waste that the numbers of the status are shown in steps of 10 MiB: less than that is noise.
    set.fragment(SMALL_KEYS);
    let writer = Writer::start(&space, "redis", 200, 2000);
    // What the allocator still gives back would be news later.
    throughout(30, || {});
    let policy = Policy::apply(&space, "redis", &[("MODE", "Enforce"), ("WASTE", "1Gi")]);
    policy.await_condition("Ready", "True", "Evaluated", 60);
    settle(&policy);

    let acknowledged = writer.status()["acknowledged"].as_u64();
    let position = std::fs::metadata(audit_log()).unwrap().len();
    let before = policy.object();
    let mut waits = 0_u64;
    throughout(minutes() * 60, || {
        waits += 1;
        if waits.is_multiple_of(120) {
            println!("at rest: still quiet, {} of {} minutes", waits / 120, minutes());
        }
    });

    let recorded = writes_since(position);
    let by_operator: Vec<&Value> =
        recorded.iter().filter(|write| write["user"]["username"] == operator::USER).collect();
    let ours: Vec<&&Value> =
        by_operator.iter().filter(|write| write["objectRef"]["namespace"] == space.name.as_str()).collect();
    assert!(
        by_operator.iter().any(|write| write["objectRef"]["resource"] == "leases"),
        "the audit log shows no lease renewal: it would not show a status write either"
    );
    assert!(ours.is_empty(), "at rest the operator wrote {} times, first: {}", ours.len(), ours[0]);
    let after = policy.object();
    assert_eq!(before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"], "{before}\n{after}");
    let verdict = writer.assert_nothing_lost();
    assert!(verdict["acknowledged"].as_u64() > acknowledged, "the writer stood still: {verdict}");
}

/// Waits until the policy has not changed for half a minute.
fn settle(policy: &Policy<'_>) {
    for _ in 0..10 {
        let before = policy.object()["metadata"]["resourceVersion"].clone();
        throughout(30, || {});
        if policy.object()["metadata"]["resourceVersion"] == before {
            return;
        }
    }
    panic!("the policy keeps changing: {}", policy.object());
}
