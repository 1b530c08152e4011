//! What a real API server says to bad specs: it refuses them, and names the field and the rule.
//!
//! The definition is installed under a group of its own and removed again, so that neither an installed operator nor
//! its policies are touched.
#![cfg(test)]
#![allow(clippy::disallowed_methods, reason = "it waits in real time, and the environment says which kubectl")]

use std::{
    env,
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use redis_memory_operator::api::v1alpha1::{self, RedisMemoryPolicySpec};
use serde_json::{Value, json};

mod specs;
use specs::{full, good, table};

const GROUP: &str = "specs-refused.redismemory.io";

/// Runs kubectl with this on its standard input; its output, or what it complained about.
fn kubectl(args: &[&str], input: &str) -> Result<String, String> {
    let program = env::var("KUBECTL")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/kubectl").to_owned());
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The definition under [`GROUP`], removed when the test ends, however it ends. It is served a moment later.
struct Installed(String);

impl Installed {
    fn new() -> Self {
        let mut crd = serde_json::to_value(v1alpha1::crd()).unwrap();
        let name = format!("redismemorypolicies.{GROUP}");
        crd["metadata"]["name"] = json!(name);
        crd["spec"]["group"] = json!(GROUP);
        for shared in ["shortNames", "categories"] {
            crd["spec"]["names"].as_object_mut().unwrap().remove(shared);
        }
        let installed = Self(name);
        kubectl(&["apply", "--server-side", "-f", "-"], &crd.to_string()).expect("the API server takes the definition");
        installed
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if let Err(error) = kubectl(&["delete", "crd", &self.0, "--ignore-not-found", "--timeout=60s"], "") {
            eprintln!("{} is left behind: {error}", self.0);
        }
    }
}

/// A policy with this spec.
fn policy(spec: &Value) -> String {
    let policy = json!({
        "apiVersion": format!("{GROUP}/v1alpha1"),
        "kind": "RedisMemoryPolicy",
        "metadata": {"name": "x", "namespace": "default"},
        "spec": spec,
    });
    policy.to_string()
}

/// Sends a policy with this spec as a dry run.
fn send(spec: &Value) -> Result<Value, String> {
    let args = ["create", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-"];
    kubectl(&args, &policy(spec)).map(|text| serde_json::from_str(&text).unwrap())
}

/// Stores a policy with this spec as a GitOps controller does. It goes with its definition.
fn apply(spec: &Value) -> Result<Value, String> {
    let args = ["apply", "--server-side", "--field-manager=gitops", "-o", "json", "-f", "-"];
    kubectl(&args, &policy(spec)).map(|text| serde_json::from_str(&text).unwrap())
}

fn send_until_served(spec: &Value) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match send(spec) {
            Ok(policy) => return policy,
            Err(error) => assert!(Instant::now() < deadline, "a good spec is refused: {error}"),
        }
    }
}

#[test]
#[ignore = "needs the cluster: make test"]
fn a_real_api_server_refuses_what_the_table_says_and_fills_in_the_defaults() {
    let _installed = Installed::new();

    let stored = send_until_served(&good());
    let defaulted = stored.get("spec").unwrap();
    let by_serde: RedisMemoryPolicySpec = serde_json::from_value(good()).unwrap();
    assert_eq!(*defaulted, serde_json::to_value(&by_serde).unwrap(), "the server's defaults are those of the types");

    let partial = json!({"selector": good()["selector"], "redis": {"container": "redis", "username": null}});
    let stored = send(&partial).expect("null is the same as nothing");
    assert_eq!(stored.pointer("/spec/redis/roleLabel/key"), Some(&json!("redismemory.io/role")));
    assert_eq!(stored.pointer("/spec/redis/username"), None);
    send(&full()).expect("a spec that writes every field is good");

    // What the defaults put into a list is replaced, not merged, by what is applied later.
    apply(&good()).expect("a good spec is stored");
    let report = json!({"remedies": ["Report"]});
    let told = json!({"selector": good()["selector"], "fragmentation": report, "headroom": report});
    let stored = apply(&told).expect("remedies can be taken away by server-side apply");
    assert_eq!(stored.pointer("/spec/fragmentation/remedies"), Some(&json!(["Report"])));
    assert_eq!(stored.pointer("/spec/headroom/remedies"), Some(&json!(["Report"])));

    let mut wrong = Vec::new();
    for bad in table() {
        match send(&bad.spec()) {
            Ok(_) => wrong.push(format!("{} was accepted", bad.change)),
            Err(text) if text.contains(bad.field) && text.contains(bad.says) => {}
            Err(text) => wrong.push(format!("{}: no {:?} at {} in: {text}", bad.change, bad.says, bad.field)),
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), table().len(), wrong.join("\n"));
}
