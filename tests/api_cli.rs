//! `status`, `plan` and `explain` on a real API server and a real Redis in a pod: what the stand-in of `tests/cli/` can
//! only pretend.
#![cfg(test)]
#![allow(dead_code, reason = "each file uses its own part")]

#[path = "api_kube/sandbox.rs"]
mod sandbox;

use std::process::Command;

use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use redis_memory_operator::{api::v1alpha1::RedisMemoryPolicy, cli::snapshot_file::SnapshotFile};
use serde_json::json;

use sandbox::{Definition, Sandbox, eventually, is_ready, live_limit};

async fn run(arguments: &[&str]) -> (i32, String, String) {
    let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
    let ran = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_redis-memory-operator")).args(arguments).output()
    });
    let output = ran.await.expect("it ran").expect("the binary can be run");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what we print is UTF-8");
    (output.status.code().expect("it ends by itself"), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server"]
async fn a_person_asks_a_real_cluster() {
    let _definition = Definition::ensure().await;
    let sandbox = Sandbox::new("cli").await;
    let namespace = sandbox.namespace.clone();
    let mut pod = sandbox::pod("redis-0", "64Mi");
    // Without a password it would answer nobody but itself.
    pod["spec"]["containers"][0]["command"] = json!(["redis-server", "--save", "", "--protected-mode", "no"]);
    let _: Pod = sandbox.create(pod).await;
    sandbox.pod_when("redis-0", |pod| is_ready(pod) && live_limit(pod).is_some()).await;
    let policy = json!({
        "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
        "metadata": {"name": "sessions"}, "spec": {"selector": {"matchLabels": {"app": "redis"}}},
    });
    let policies = sandbox.api::<RedisMemoryPolicy>();
    let policy: RedisMemoryPolicy = serde_json::from_value(policy).expect("a policy");
    policies.create(&PostParams::default(), &policy).await.expect("the policy is stored");

    let (code, out, err) = run(&["status", "-n", &namespace]).await;
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("sessions") && out.contains("Observe"), "{out}");
    let (_, out, _) = run(&["status", "sessions", "-n", &namespace]).await;
    assert!(out.contains("not evaluated yet"), "{out}");

    // A fresh server measures itself for a moment.
    let explained = eventually("Redis is asked", || async {
        let (code, out, err) = run(&["explain", "redis-0", "-n", &namespace]).await;
        assert_eq!(code, 0, "{err}");
        out.contains("\nMEMORY\n").then_some(out)
    })
    .await;
    for part in
        ["primary", "policy sessions, mode Observe", "64 MiB enforced", "0: nothing bounds the data", "MaxmemoryUnset"]
    {
        assert!(explained.contains(part), "{part} in {explained}");
    }

    let (code, text, err) = run(&["plan", "sessions", "-n", &namespace, "--output", "snapshot"]).await;
    let file = SnapshotFile::read(&text).unwrap_or_else(|error| panic!("{error}: {text} {err}"));
    assert_eq!((code, file.snapshot.targets.len()), (0, 1), "{text}");
    assert!(file.snapshot.resize_supported && file.snapshot.targets[0].sample().is_some(), "{text}");

    let (code, _, err) = run(&["explain", "redis-9", "-n", &namespace]).await;
    assert!(code == 3 && err.contains("no pod redis-9"), "{err}");
    let (code, _, err) = run(&["status", "-n", &namespace, "--context", "nowhere"]).await;
    assert!(code == 3 && err.contains("nowhere"), "{err}");
}
