//! `restart` and `switchover` against a stand-in for the API server: what is written, and what is not.

use serde_json::{Value, json};

use super::live::{POLICIES, ended, list, policy, run, serve, shop};
use crate::fake_api::FakeApi;

/// One policy that can be patched, and an API server that knows who asks.
fn one() -> FakeApi {
    let sessions = policy("sessions", 1, ended("Succeeded"));
    let api = serve(std::slice::from_ref(&sessions));
    api.set(&format!("{POLICIES}/sessions"), sessions);
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {},
                        "status": {"userInfo": {"username": "alice@example.org"}}});
    api.set("/apis/authentication.k8s.io/v1/selfsubjectreviews", review);
    api
}

/// The request that was written, without its time.
fn written(api: &FakeApi) -> Value {
    let patches = api.patches();
    assert_eq!(patches.len(), 1, "{patches:?}");
    assert_eq!(patches[0]["metadata"]["resourceVersion"], "1", "only if the policy is still as it was read");
    let value = patches[0]["metadata"]["annotations"]["redismemory.io/request"].as_str().expect("the annotation");
    let mut request: Value = serde_json::from_str(value).expect("JSON");
    assert!(request["at"].take().as_str().expect("a time").ends_with('Z'));
    request
}

#[test]
fn a_restart_says_what_who_and_why() {
    let api = one();
    let ran = run(&api, &["restart", "redis-1", "--reason", "kernel update"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.starts_with("asked of policy shop/sessions;"), "{}", ran.out);
    let expected = json!({"restart": "redis-1", "by": "alice@example.org", "at": null, "reason": "kernel update"});
    assert_eq!(written(&api), expected);
}

#[test]
fn a_switchover_names_the_successor() {
    let api = one();
    let ran = run(&api, &["switchover", "redis", "--to", "redis-2", "--reason", "node drain"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let request = written(&api);
    assert_eq!((&request["switchover"], &request["to"]), (&json!("redis"), &json!("redis-2")));
}

#[test]
fn what_is_not_clear_is_not_asked() {
    let api = one();
    let refused = |arguments: &[&str], says: &str| {
        let ran = run(&api, arguments);
        assert_eq!(ran.code, 3, "{}", ran.err);
        assert!(ran.err.contains(says), "{}", ran.err);
        assert_eq!(api.patches(), Vec::<Value>::new());
    };
    refused(&["restart", "redis-1"], "--reason");
    refused(&["restart", "redis 1", "--reason", "x"], "is no name");
    refused(&["restart", "redis-1", "--reason", " "], "`reason` must be a text");
    refused(&["restart", "redis-1", "--reason", "x", "--policy", "other"], "no RedisMemoryPolicy other");
    let mut asked = policy("sessions", 1, ended("Succeeded"));
    asked["metadata"]["annotations"] = json!({"redismemory.io/request": json!({"restart": "redis", "by": "bob",
        "at": "2026-01-02T03:00:00Z", "reason": "first"}).to_string()});
    api.set(POLICIES, list(&[asked]));
    refused(&["restart", "redis-1", "--reason", "x"], "asked for by bob at 2026-01-02T03:00:00Z: first");
    api.set(POLICIES, list(&[policy("sessions", 1, Value::Null), policy("users", 1, Value::Null)]));
    refused(&["restart", "redis-1", "--reason", "x"], "which policy selects redis-1?");
}

#[test]
fn of_several_policies_the_one_that_knows_the_set_is_asked() {
    let api = one();
    api.set(POLICIES, list(&[policy("sessions", 1, ended("Succeeded")), policy("users", 1, Value::Null)]));
    assert_eq!(run(&api, &["restart", "redis", "--reason", "x"]).code, 0);
    assert_eq!(written(&api)["restart"], "redis");
}

#[test]
fn a_dry_run_asks_for_nothing_and_shows_the_plan() {
    let api = shop();
    let mut sessions = policy("sessions", 1, Value::Null);
    sessions["spec"]["redis"]["port"] = json!(1);
    api.set(POLICIES, list(&[sessions]));
    let ran = run(&api, &["restart", "redis-1", "--dry-run"]);
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("MemberUnknown"), "{}", ran.out);
    assert!(ran.out.contains("what was asked for would be refused: MemberUnknown"), "{}", ran.out);
    assert_eq!(api.patches(), Vec::<Value>::new());
}

#[test]
fn what_is_taken_note_of_is_what_the_status_shows() {
    let api = one();
    let kills = json!([{"pod": "redis-1", "podUid": "u1", "firstAt": "2026-01-02T03:00:00Z", "lastAt": "2026-01-02T03:04:00Z",
        "times": 3, "whileLoading": 2, "cause": "Loading", "evidence": "limit 64 MiB", "loadingLimitBytes": 67_108_864}]);
    api.set(POLICIES, list(&[policy("sessions", 1, json!({"oomKills": kills}))]));
    let ran = run(&api, &["ack", "sessions"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("redis-1: killed 3 times until 2026-01-02T03:04:00Z"), "{}", ran.out);
    let patches = api.patches();
    assert_eq!(patches[0]["metadata"]["annotations"], json!({"redismemory.io/acknowledged": "2026-01-02T03:04:00Z"}));
}

#[test]
fn nothing_is_written_where_there_is_nothing_to_take_note_of() {
    let api = one();
    let ran = run(&api, &["ack", "sessions"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "policy sessions has no kill that is not taken note of\n"));
    let ran = run(&api, &["ack", "other"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("no RedisMemoryPolicy other in namespace shop"), "{}", ran.err);
    assert_eq!(api.patches(), Vec::<Value>::new());
}
