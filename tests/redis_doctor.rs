//! `doctor` of a set whose real Redis answers: what would be refused is said by the operator's own gates, and no Secret is
//! read unless that is asked for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::or_fun_call,
    dead_code,
    unreachable_pub,
    reason = "the helpers of a test are test code"
)]

mod common;
#[path = "cli/fake_api.rs"]
mod fake_api;

use std::process::Command;

use common::server::RedisServer;
use fake_api::FakeApi;
use serde_json::{Value, json};

const SECRET: &str = "s3cr3t-of-the-test";
const SHOP: &str = "/api/v1/namespaces/shop";

/// One pod of StatefulSet `sessions`, whose server is that one.
fn shop(server: &RedisServer) -> FakeApi {
    let port = server.address().port();
    let password =
        json!({"name": "REDIS_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "auth", "key": "password"}}});
    let container = json!({"name": "redis", "image": "redis:7", "ports": [{"name": "redis", "containerPort": port}],
                           "env": [password], "resources": {"limits": {"memory": "120Mi"}}});
    let spec = json!({"containers": [container]});
    let owner =
        json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "sessions", "uid": "set", "controller": true}]);
    let pod = json!({"metadata": {"name": "sessions-0", "namespace": "shop", "uid": "pod", "labels": {"app": "sessions"},
                                  "ownerReferences": owner},
                     "spec": spec, "status": {"phase": "Running", "podIP": "127.0.0.1",
                                              "conditions": [{"type": "Ready", "status": "True"}]}});
    let labels = json!({"app": "sessions"});
    let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
                     "metadata": {"name": "sessions", "namespace": "shop", "uid": "set", "generation": 1},
                     "spec": {"replicas": 1, "selector": {"matchLabels": labels},
                              "template": {"metadata": {"labels": labels}, "spec": spec}},
                     "status": {"replicas": 1, "observedGeneration": 1}});
    let list = |kind: &str, items: Value| json!({"apiVersion": "v1", "kind": kind, "metadata": {}, "items": items});
    let api = FakeApi::start();
    api.set(&format!("{SHOP}/pods"), list("PodList", json!([pod])));
    api.set(&format!("{SHOP}/services"), list("ServiceList", json!([])));
    api.set("/apis/apps/v1/namespaces/shop/statefulsets/sessions", set);
    api
}

fn doctor(api: &FakeApi, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redis-memory-operator"));
    let ran = command.env("KUBECONFIG", api.kubeconfig()).arg("doctor").args(arguments).output().expect("it runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("what we print is UTF-8")
}

/// The text without where its lines break.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn what_would_be_refused_is_said_by_the_gates() {
    let server = RedisServer::start(&["--requirepass", SECRET, "--maxmemory", "100mb", "--save", ""]);
    let api = shop(&server);
    // The Secret is not there yet: who reads it without being asked would fail on it.
    let told = flat(&doctor(&api, &[]));
    assert!(told.contains("did not answer from here") && told.contains("--read-secrets reads them"), "{told}");
    assert!(told.contains("the rest is said only by the servers"), "{told}");

    let data = json!({"password": "czNjcjN0LW9mLXRoZS10ZXN0"});
    api.set(
        &format!("{SHOP}/secrets/auth"),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "auth"}, "data": data}),
    );
    let told = doctor(&api, &["--read-secrets"]);
    assert!(!told.contains(SECRET), "{told}");
    let told = flat(&told);
    for part in [
        "1 of 1 answered: Redis",
        "primary sessions-0",
        "HeadroomInsufficient of sessions-0: limit 120 MiB, needed 164 MiB",
        "refused PersistenceNotProven: ",
        "passwordSecret: key: password name: auth",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(!told.contains("the rest is said only by the servers"), "{told}");
}
