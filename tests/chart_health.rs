//! What GitOps tools make of a policy's status: Argo CD by the chart's health.lua, and Flux, `helm --wait` and others by the
//! rules of kstatus. The statuses are the operator's own, of scenarios; `INSTA_UPDATE=always` writes them as the testdata.
//!
//! The Lua is run by the library that Argo CD embeds, with what a check from argocd-cm is given there: by
//! tests/cluster/tools.d/argohealth, which `make test` builds (or `ARGOHEALTH`). Argo CD itself is not run.
#![cfg(test)]
#![allow(
    clippy::disallowed_methods,
    clippy::or_fun_call,
    unreachable_pub,
    dead_code,
    reason = "the helpers of a test are test code"
)]

mod scenario;
#[path = "scenario/status.rs"]
mod status;
#[path = "common/tool.rs"]
mod tool;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use pretty_assertions::assert_eq;
use redis_memory_operator::{
    api::v1alpha1::RedisMemoryPolicyStatus,
    cli::snapshot_file::{Judged, SnapshotFile, WrittenPolicy},
    plan::{Context, decide, promise},
    report,
    validate::{self, validate},
};
use rstest::rstest;
use scenario::Scenario;
use serde_json::{Value, json};
use status::status;

fn folder() -> PathBuf {
    root().join("charts/redis-memory-operator/argocd/redismemory.io/RedisMemoryPolicy")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A policy with that spec at that generation, and what the operator wrote of generation 1.
fn object(spec: &Value, status: Option<&RedisMemoryPolicyStatus>, generation: i64) -> Value {
    let mut object = json!({
        "apiVersion": "redismemory.io/v1alpha1",
        "kind": "RedisMemoryPolicy",
        "metadata": {"name": "sessions", "namespace": "shop", "generation": generation},
        "spec": spec,
    });
    if let Some(status) = status {
        object["status"] = serde_json::to_value(status).unwrap();
    }
    object
}

/// The spec of a scenario, and what the operator says of it.
fn evaluated(name: &str) -> (Value, RedisMemoryPolicyStatus) {
    let scenario = Scenario::read(&root().join("tests").join(name));
    let file = SnapshotFile::new(WrittenPolicy::from(&scenario.resource()), scenario.snapshot(), Judged::OverTime);
    let (policy, settings) = (file.policy().unwrap(), file.settings());
    let ctx = Context::of(&policy, &file.snapshot, &file.workloads, file.snapshot.at, &settings);
    let decision = decide::decide(&ctx, None, false, true);
    let findings = promise::findings(&ctx, None, &decision);
    let status = status(&ctx, &decision, &findings, &RedisMemoryPolicyStatus::default());
    (serde_json::to_value(scenario.resource().spec).unwrap(), status)
}

/// A spec that the API server's rules take and the operator does not: a day that never comes.
fn invalid() -> Value {
    let mut resource = Scenario::read(&root().join("tests/scenarios/healthy.yaml")).resource();
    let window = json!([{"schedule": "0 3 30 2 *", "duration": "1h", "timeZone": "UTC"}]);
    resource.spec.restart.windows = serde_json::from_value(window).unwrap();
    let problems = validate(&resource).unwrap_err();
    let now = redis_memory_operator::domain::fixtures::NOW;
    let status =
        report::stalled("InvalidSpec", &validate::in_words(&problems), 1, &RedisMemoryPolicyStatus::default(), now);
    object(&serde_json::to_value(resource.spec).unwrap(), Some(&status), 1)
}

/// Each file of the testdata, and what stands in it.
fn cases() -> Vec<(&'static str, Value)> {
    let (spec, healthy) = evaluated("scenarios/healthy.yaml");
    let of = |name: &str| {
        let (spec, status) = evaluated(name);
        object(&spec, Some(&status), 1)
    };
    vec![
        ("healthy.yaml", object(&spec, Some(&healthy), 1)),
        ("healthy_sick_redis.yaml", of("verdicts/02-two-primaries.yaml")),
        ("healthy_suspended.yaml", of("scenarios/fragmented-suspended.yaml")),
        ("progressing_no_status.yaml", object(&spec, None, 1)),
        ("progressing_new_generation.yaml", object(&spec, Some(&healthy), 2)),
        ("degraded_invalid_spec.yaml", invalid()),
    ]
}

#[test]
fn the_testdata_is_what_the_operator_writes() {
    let update = env::var("INSTA_UPDATE").is_ok_and(|update| update == "always");
    for (name, object) in cases() {
        let path = folder().join("testdata").join(name);
        let text = serde_yaml::to_string(&object).unwrap();
        if update {
            fs::write(&path, &text).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "{name} is not what the operator writes: run with INSTA_UPDATE=always, and read it");
    }
}

/// What kstatus says of an object of a kind that it does not know (cli-utils, pkg/kstatus/status), as far as it is about
/// fields that a policy has.
fn kstatus(object: &Value) -> &'static str {
    let observed = &object["status"]["observedGeneration"];
    if !observed.is_null() && *observed != object["metadata"]["generation"] {
        return "InProgress";
    }
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    for condition in conditions.clone().filter(|condition| condition["status"] == "True") {
        match condition["type"].as_str().unwrap() {
            "Reconciling" => return "InProgress",
            "Stalled" => return "Failed",
            _ => {}
        }
    }
    let mut ready = conditions.filter(|condition| condition["type"] == "Ready");
    if ready.any(|ready| ready["status"] != "True") { "InProgress" } else { "Current" }
}

#[test]
fn kstatus_waits_for_an_evaluation_and_for_nothing_else() {
    let said: Vec<_> = cases().iter().map(|(name, object)| (*name, kstatus(object))).collect();
    let expected = [
        ("healthy.yaml", "Current"),
        ("healthy_sick_redis.yaml", "Current"),
        ("healthy_suspended.yaml", "Current"),
        // What no controller has looked at is taken for done: docs/gitops.md says how Flux is told better.
        ("progressing_no_status.yaml", "Current"),
        ("progressing_new_generation.yaml", "InProgress"),
        ("degraded_invalid_spec.yaml", "Failed"),
    ];
    assert_eq!(said, expected);
}

/// What Argo CD would say of each of these objects by the check in that file: status and message, or why it cannot tell.
fn health(check: &Path, objects: &[Value]) -> Vec<Result<(String, String), String>> {
    let mut child = Command::new(tool::program("argohealth"))
        .arg(check)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), objects).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Vec<BTreeMap<String, String>> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said.len(), objects.len());
    let of = |answer: &BTreeMap<String, String>, name| answer.get(name).cloned().unwrap_or_default();
    said.iter()
        .map(|answer| match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok((of(answer, "status"), of(answer, "message"))),
        })
        .collect()
}

fn check() -> PathBuf {
    folder().join("health.lua")
}

#[test]
#[ignore = "needs the tool argohealth (tests/cluster/tools builds it, or set ARGOHEALTH)"]
fn argo_cd_is_told_what_the_operator_says() {
    let table: Value = serde_yaml::from_str(&fs::read_to_string(folder().join("health_test.yaml")).unwrap()).unwrap();
    let tests = table["tests"].as_array().unwrap();
    let paths: Vec<&str> = tests.iter().map(|test| test["inputPath"].as_str().unwrap()).collect();
    let read = |path: &&str| serde_yaml::from_str(&fs::read_to_string(folder().join(path)).unwrap()).unwrap();
    let objects: Vec<Value> = paths.iter().map(read).collect();
    for ((test, path), said) in tests.iter().zip(&paths).zip(health(&check(), &objects)) {
        let expected = &test["healthStatus"];
        let (status, message) = said.unwrap();
        assert_eq!(
            (json!(status), json!(message)),
            (expected["status"].clone(), expected["message"].clone()),
            "{path}"
        );
    }
    let seen: BTreeSet<String> = paths.iter().map(|path| path.trim_start_matches("testdata/").to_owned()).collect();
    assert_eq!(seen, cases().iter().map(|(name, _)| (*name).to_owned()).collect::<BTreeSet<String>>());
}

/// What no scenario has: conditions that are missing or say otherwise must not be taken for health.
#[rstest]
#[case::no_conditions(json!({"observedGeneration": 1}), "Progressing")]
#[case::no_ready(json!({"observedGeneration": 1, "conditions": []}), "Progressing")]
#[case::not_ready(json!({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "Unknown"}]}), "Progressing")]
#[case::reconciling(
    json!({"observedGeneration": 1, "conditions": [
        {"type": "Ready", "status": "True"}, {"type": "Reconciling", "status": "True", "message": "\"why\"\n"},
    ]}),
    "Progressing"
)]
#[case::no_verdict(json!({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}), "Healthy")]
#[ignore = "needs the tool argohealth (tests/cluster/tools builds it, or set ARGOHEALTH)"]
fn argo_cd_is_told_nothing_better_than_is_known(#[case] status: Value, #[case] expected: &str) {
    let object = json!({"metadata": {"generation": 1}, "spec": {}, "status": status});
    let said = health(&check(), &[object]).remove(0);
    assert_eq!(said.unwrap().0, expected);
}

/// The runner is as strict as Argo CD: a check that reaches for more than it is given there fails here too.
#[rstest]
#[case::no_string_library(
    r#"return {status = string.lower("HEALTHY")}"#,
    Err("attempt to index a non-table object(nil)")
)]
#[case::no_methods_of_texts(
    r#"return {status = ("HEALTHY"):lower()}"#,
    Err("attempt to index a non-table object(string)")
)]
#[case::no_files(r#"return {status = "Healthy", message = tostring(io)}"#, Ok("nil"))]
#[case::no_os_unasked(r#"return {status = "Healthy", message = tostring(os)}"#, Ok("nil"))]
#[case::little_of_os(
    r#"local os = require("os") return {status = "Healthy", message = type(os.time()) .. tostring(os.execute)}"#,
    Ok("numbernil")
)]
#[case::no_other_status(r#"return {status = "Fine"}"#, Err("Fine is no status of Argo CD"))]
#[case::nothing_returned("local hs = {}", Err("expected a table from the script"))]
#[case::no_end("while true do end", Err("deadline exceeded"))]
#[ignore = "needs the tool argohealth (tests/cluster/tools builds it, or set ARGOHEALTH)"]
fn a_check_that_argo_cd_would_not_run_is_not_run(#[case] check: &str, #[case] expected: Result<&str, &str>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("health.lua");
    fs::write(&file, check).unwrap();
    match (health(&file, &[json!({})]).remove(0), expected) {
        (Ok((_, message)), Ok(expected)) => assert_eq!(message, expected),
        (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
        (said, _) => panic!("{said:?}"),
    }
}
