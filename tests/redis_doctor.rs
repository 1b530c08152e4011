//! `doctor` of a set whose real Redis answers: what would be refused is said by the operator's own gates, and no Secret is
//! read unless that is asked for.
#![cfg(test)]
#![allow(clippy::or_fun_call, dead_code, unreachable_pub, reason = "the helpers of a test are test code")]

mod common;
#[path = "cli/fake_api.rs"]
mod fake_api;

use std::process::Command;

use common::server::RedisServer;
use fake_api::FakeApi;
use serde_json::{Value, json};

const SECRET: &str = "s3cr3t-of-the-test";
const SHOP: &str = "/api/v1/namespaces/shop";

/// StatefulSets of one pod each, with these names and servers.
fn shop(sets: &[(&str, &RedisServer)]) -> FakeApi {
    let list = |kind: &str, items: Value| json!({"apiVersion": "v1", "kind": kind, "metadata": {}, "items": items});
    let api = FakeApi::start();
    let mut pods = Vec::new();
    for (name, server) in sets {
        let key = json!({"secretKeyRef": {"name": "auth", "key": "password"}});
        let container = json!({"name": "redis", "image": "redis:7", "env": [{"name": "REDIS_PASSWORD", "valueFrom": key}],
                               "ports": [{"name": "redis", "containerPort": server.address().port()}],
                               "resources": {"limits": {"memory": "120Mi"}}});
        let spec = json!({"containers": [container]});
        let owner =
            json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name, "uid": name, "controller": true}]);
        let labels = json!({"app": name});
        let meta = json!({"name": format!("{name}-0"), "namespace": "shop", "uid": format!("pod-{name}"), "labels": labels,
                          "ownerReferences": owner});
        let status =
            json!({"phase": "Running", "podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]});
        pods.push(json!({"metadata": meta, "spec": spec, "status": status}));
        let template = json!({"metadata": {"labels": labels}, "spec": spec});
        let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
                         "metadata": {"name": name, "namespace": "shop", "uid": name, "generation": 1},
                         "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
                         "status": {"replicas": 1, "observedGeneration": 1}});
        api.set(&format!("/apis/apps/v1/namespaces/shop/statefulsets/{name}"), set);
    }
    api.set(&format!("{SHOP}/pods"), list("PodList", json!(pods)));
    api.set(&format!("{SHOP}/services"), list("ServiceList", json!([])));
    api
}

/// What the pods get their password from.
fn give_password(api: &FakeApi) {
    let data = json!({"password": "czNjcjN0LW9mLXRoZS10ZXN0"});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "auth"}, "data": data});
    api.set(&format!("{SHOP}/secrets/auth"), secret);
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
    let api = shop(&[("sessions", &server)]);
    // The Secret is not there yet: who reads it without being asked would fail on it.
    let told = flat(&doctor(&api, &[]));
    assert!(told.contains("did not answer from here") && told.contains("--read-secrets reads them"), "{told}");
    assert!(told.contains("the rest is said only by the servers"), "{told}");

    give_password(&api);
    let told = doctor(&api, &["--read-secrets"]);
    assert!(!told.contains(SECRET), "{told}");
    the_users_can_be_made(&server, &told);
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

/// The server takes every line as it is printed, and the user that acts may then do all that a restart in place sends.
fn the_users_can_be_made(server: &RedisServer, told: &str) {
    let lines: Vec<&str> = told.lines().map(str::trim).filter(|line| line.starts_with("ACL SETUSER ")).collect();
    assert_eq!(lines.len(), 2, "one to look and one to act: {told}");
    let as_default = |words: &[&str]| server.run(&[&["--no-auth-warning", "-a", SECRET], words].concat());
    for line in lines {
        let line = line.replace(">PASSWORD", ">its-own");
        assert_eq!(as_default(&line.split(' ').collect::<Vec<_>>()), "OK", "{line}");
    }
    for command in [["CONFIG", "SET", "maxmemory", "1"].as_slice(), &["BGSAVE"], &["ACL", "WHOAMI"], &["INFO"]] {
        assert_eq!(as_default(&[&["ACL", "DRYRUN", "memory-operator"], command].concat()), "OK", "{command:?}");
    }
    let refused = as_default(&["ACL", "DRYRUN", "memory-operator", "REPLICAOF", "NO", "ONE"]);
    assert!(refused.contains("no permissions"), "{refused}");
}

/// Nothing that Kubernetes shows says that these two are one set: a file of the replica does.
#[test]
fn what_the_servers_follow_puts_a_set_together() {
    let auth = ["--requirepass", SECRET, "--masterauth", SECRET];
    let primary = RedisServer::start(&auth);
    let port = primary.address().port().to_string();
    let replica = RedisServer::start(&[auth.as_slice(), &["--replicaof", "127.0.0.1", &port]].concat());
    let api = shop(&[("stock-writer", &primary), ("stock-reader", &replica)]);
    give_password(&api);
    let apart = doctor(&api, &["-o", "yaml"]);
    assert_eq!(apart.matches("kind: RedisMemoryPolicy").count(), 2, "{apart}");
    let told = flat(&doctor(&api, &["--read-secrets"]));
    for part in [
        "Redis sets: 1, pods: 2 SET stock: a fixed primary and replicas pods stock-reader-0, stock-writer-0",
        "2 of 2 answered: Redis",
        "primary stock-writer-0, 1 data set(s)",
        "key: app operator: In values: - stock-reader - stock-writer",
        "port: redis",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
}
