//! `--port-forward` through a stand-in for the API server, to a real redis-server: the verdict is the one that is given
//! where the pod itself is reached.
#![cfg(test)]
#![allow(dead_code, unreachable_pub, reason = "the helpers of a test are test code, and each file uses its own part")]

mod common;
#[path = "cli/fake_api.rs"]
mod fake_api;

use std::process::Command;

use common::{connect, eventually, look, server::RedisServer};
use fake_api::FakeApi;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

const NAMESPACE: &str = "/api/v1/namespaces/shop";

fn run(api: &FakeApi, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redis-memory-operator"));
    let output = command.env("KUBECONFIG", api.kubeconfig()).args(arguments).output().expect("the binary can be run");
    let text = |bytes| String::from_utf8(bytes).expect("what we print is UTF-8");
    (output.status.code().expect("it ends by itself"), text(output.stdout), text(output.stderr))
}

/// One pod of a StatefulSet at that address, whose port is that of the server.
fn shop(address: &str, server: &RedisServer) -> FakeApi {
    let api = FakeApi::start();
    let port = server.address().port();
    let policy = json!({
        "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
        "metadata": {"name": "sessions", "namespace": "shop", "uid": "u", "generation": 1, "resourceVersion": "1",
                     "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"selector": {"matchLabels": {"app": "redis"}}, "redis": {"port": port}},
    });
    let list = |kind: &str, items: Vec<Value>| {
        let group = if kind == "RedisMemoryPolicyList" { "redismemory.io/v1alpha1" } else { "v1" };
        json!({"apiVersion": group, "kind": kind, "metadata": {"resourceVersion": "10"}, "items": items})
    };
    api.set(
        "/apis/redismemory.io/v1alpha1/namespaces/shop/redismemorypolicies",
        list("RedisMemoryPolicyList", vec![policy]),
    );
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "redis-0", "namespace": "shop", "uid": "p0", "resourceVersion": "5", "labels": {"app": "redis"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "redis", "uid": "set", "controller": true}]},
        "spec": {"containers": [{"name": "redis", "image": "redis", "ports": [{"containerPort": port}],
            "resources": {"limits": {"memory": "128Mi"}}}]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "redis", "ready": true, "restartCount": 0, "image": "redis", "imageID": "",
                "resources": {"limits": {"memory": "128Mi"}}, "state": {"running": {"startedAt": "2026-01-02T03:05:05Z"}}}]},
    });
    api.set(&format!("{NAMESPACE}/pods/redis-0"), pod.clone());
    api.set(&format!("{NAMESPACE}/pods"), list("PodList", vec![pod]));
    api.set(&format!("{NAMESPACE}/services"), list("ServiceList", Vec::new()));
    api.set("/apis/apps/v1/namespaces/shop/statefulsets/redis", json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "redis", "namespace": "shop", "uid": "set", "generation": 1},
        "spec": {"replicas": 1, "serviceName": "redis", "selector": {"matchLabels": {"app": "redis"}}, "template": {}},
    }));
    api.forward("redis-0", server.address());
    api
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verdict_is_the_same_through_the_api_server() {
    let server = RedisServer::start(&["--maxmemory", "100mb"]);
    eventually("it has measured itself", async || look(&mut connect(&server).await).await.ok()).await;
    // The one address leads to it; the other is for documentation, and leads nowhere (RFC 5737).
    let (near, far) = (shop("127.0.0.1", &server), shop("192.0.2.1", &server));
    let plan = ["plan", "sessions", "-o", "json"];
    let (code, direct, err) = run(&near, &plan);
    assert_eq!(err, "", "{direct}");
    let forwarded = [plan.as_slice(), &["--port-forward"]].concat();
    let (forwarded_code, through, err) = run(&far, &forwarded);
    assert_eq!((forwarded_code, err.as_str()), (code, ""), "{through}");
    let told = |text: &str| {
        let mut told: Value = serde_json::from_str(text).expect("it is JSON");
        told["observedAt"].take();
        told
    };
    assert_eq!(told(&through), told(&direct));
    assert_eq!(told(&through)["answered"], 1);
    assert!(told(&through)["findings"].as_array().is_some_and(|found| !found.is_empty()), "{through}");

    let (code, out, err) = run(&far, &["top", "--live", "--port-forward", "-o", "json"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let top: Value = serde_json::from_str(&out).expect("it is JSON");
    assert!(top[0]["rssBytes"].as_u64().is_some_and(|bytes| bytes > 0), "{out}");

    let (code, out, err) = run(&far, &["report", "--port-forward", "-o", "json"]);
    assert_eq!(code, 0, "{err}");
    let report: Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!(report["totals"]["answered"], 1, "{out}");
    let (_, out, err) = run(&far, &["switchover", "redis", "--dry-run", "--port-forward"]);
    assert!(out.contains("1 of 1 answered"), "{out}{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_server_does_not_forward_is_said() {
    let server = RedisServer::start(&[]);
    let api = shop("192.0.2.1", &server);
    api.forward("another", server.address());
    let (code, out, err) = run(&api, &["top", "--live", "--port-forward", "-o", "wide"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("no port of pod redis-0 is forwarded"), "{out}");
}
