//! `top` and `history` against a stand-in for the API server.

use serde_json::{Value, json};

use super::{
    fake_api::FakeApi,
    live::{POLICIES, ended, list, policy, run, serve, shop},
};

fn wasting(name: &str, waste: &str, worst: &str) -> Value {
    let summary = json!({"targets": 3, "reachable": 3, "compliant": 2, "worstFragmentation": worst, "waste": waste});
    policy(name, 1, json!({"observedGeneration": 3, "summary": summary}))
}

#[test]
fn policies_come_by_their_waste() {
    let policies =
        [wasting("small", "900 MiB", "1.2"), wasting("large", "1.5 GiB", "1.9"), policy("new", 1, Value::Null)];
    let api = serve(&policies);
    let ran = run(&api, &["top"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    insta::assert_snapshot!("top", ran.out);
    let json: Value = serde_json::from_str(&run(&api, &["top", "-o", "json"]).out).unwrap();
    assert_eq!(json[0]["policy"], "large");
    assert_eq!(run(&api, &["top", "-A", "-o", "name"]).out.lines().count(), 3);
    let ran = run(&api, &["top", "large"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("--live"), "{}", ran.err);
}

#[test]
fn pods_that_do_not_answer_come_with_the_reason() {
    let api = shop();
    let ran = run(&api, &["top", "sessions", "--live"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    insta::assert_snapshot!("top_live", ran.out);
    let ran = run(&api, &["top", "nobody", "--live"]);
    assert_eq!(ran.code, 3);
    assert!(
        ran.err.contains("no RedisMemoryPolicy nobody in namespace shop; there are: other, sessions"),
        "{}",
        ran.err
    );
}

/// A set that was remediated three times, and one once.
fn remediated() -> FakeApi {
    let past = |id: &str, outcome: &str, ended: &str| json!({"remediation": id, "outcome": outcome, "startedAt": "2026-01-01T03:00:00Z", "endedAt": ended, "message": "m"});
    let mut first = ended("Succeeded");
    first["workloads"][0]["startedAt"] = json!("2026-01-02T03:04:05Z");
    first["workloads"][0]["earlier"] =
        json!([past("r2", "GaveUp", "2026-01-01T03:30:00Z"), past("r1", "Paused", "2025-12-31T03:05:30Z")]);
    let mut second = ended("TimedOut");
    second["workloads"][0]["name"] = json!("carts");
    serve(&[policy("sessions", 1, first), policy("carts", 1, second), policy("new", 1, Value::Null)])
}

#[test]
fn remediations_are_listed_the_newest_first() {
    let api = remediated();
    let ran = run(&api, &["history"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    insta::assert_snapshot!("history", ran.out);
    insta::assert_snapshot!("history_wide", run(&api, &["history", "redis", "-o", "wide"]).out);
    assert_eq!(run(&api, &["history", "redis", "-o", "name"]).out, "0123456789abcdef-1\nr2\nr1\n");
    let yaml: Value = serde_yaml::from_str(&run(&api, &["history", "-o", "yaml"]).out).unwrap();
    assert_eq!((&yaml[0]["outcome"], yaml.as_array().map(Vec::len)), (&json!("TimedOut"), Some(4)));
    // A message may have a line that is one word: what programs read is not coloured.
    let mut of_lines = ended("Succeeded");
    of_lines["workloads"][0]["message"] = json!("it says\nWarning");
    let lines = serve(&[policy("sessions", 1, of_lines)]);
    let yaml = run(&lines, &["history", "-o", "yaml", "--color", "always"]).out;
    assert!(yaml.contains("Warning") && !yaml.contains('\u{1b}'), "{yaml}");
    let ran = run(&api, &["history", "redi"]);
    assert_eq!(ran.code, 3);
    assert!(
        ran.err.contains("no remediation of a set redi has ended; there are those of: carts, redis"),
        "{}",
        ran.err
    );
    api.set(POLICIES, list(&[policy("new", 1, Value::Null)]));
    assert!(run(&api, &["history"]).out.starts_with("no remediation has ended here yet"));
}
