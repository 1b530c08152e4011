//! What GitOps tools make of a policy's status: Argo CD by the chart's health.lua, and Flux, `helm --wait` and others by the
//! rules of kstatus. The statuses are the operator's own, of scenarios; `INSTA_UPDATE=always` writes them as the testdata.
//!
//! The Lua is run by Debian's lua5.1 (or `LUA`), the language that Argo CD embeds by a library of its own; Argo CD itself is
//! not run.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::or_fun_call,
    unreachable_pub,
    dead_code,
    reason = "the helpers of a test are test code"
)]

mod scenario;
#[path = "scenario/status.rs"]
mod status;

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use pretty_assertions::assert_eq;
use redis_memory_operator::{
    api::v1alpha1::RedisMemoryPolicyStatus,
    cli::snapshot_file::{Judged, SnapshotFile, WrittenPolicy},
    plan::{Context, decide, promise},
    report,
    validate::validate,
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
    let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let now = redis_memory_operator::domain::fixtures::NOW;
    let status = report::stalled("InvalidSpec", &text, 1, &RedisMemoryPolicyStatus::default(), now);
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

/// A value as Lua writes it.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => "nil".into(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")),
        Value::Array(items) => format!("{{{}}}", items.iter().map(lua).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("[{}]={}", lua(&json!(name)), lua(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
    }
}

/// Status and message that this check gives of an object.
fn health(check: &str, object: &Value) -> (String, String) {
    let program = env::var("LUA").unwrap_or_else(|_| "lua5.1".into());
    let mut child = Command::new(&program)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}: install lua5.1, or set LUA"));
    let script = format!(
        "obj = {}\nlocal function check()\n{check}\nend\nlocal hs = check()\nio.write(hs.status, \"\\n\", hs.message)\n",
        lua(object)
    );
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let (status, message) = said.split_once('\n').unwrap();
    (status.to_owned(), message.to_owned())
}

fn script() -> String {
    fs::read_to_string(folder().join("health.lua")).unwrap()
}

#[test]
#[ignore = "needs lua5.1 (make test-chart installs it, or set LUA)"]
fn argo_cd_is_told_what_the_operator_says() {
    let table: Value = serde_yaml::from_str(&fs::read_to_string(folder().join("health_test.yaml")).unwrap()).unwrap();
    let check = script();
    let mut seen = BTreeSet::new();
    for test in table["tests"].as_array().unwrap() {
        let path = test["inputPath"].as_str().unwrap();
        let object: Value = serde_yaml::from_str(&fs::read_to_string(folder().join(path)).unwrap()).unwrap();
        let expected = &test["healthStatus"];
        let (status, message) = health(&check, &object);
        assert_eq!(
            (json!(status), json!(message)),
            (expected["status"].clone(), expected["message"].clone()),
            "{path}"
        );
        seen.insert(path.trim_start_matches("testdata/").to_owned());
    }
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
#[ignore = "needs lua5.1 (make test-chart installs it, or set LUA)"]
fn argo_cd_is_told_nothing_better_than_is_known(#[case] status: Value, #[case] expected: &str) {
    let object = json!({"metadata": {"generation": 1}, "spec": {}, "status": status});
    assert_eq!(health(&script(), &object).0, expected);
}
