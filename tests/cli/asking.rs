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

/// What was changed, without what it was read as.
fn changed(api: &FakeApi) -> Value {
    let mut patches = api.patches();
    assert_eq!(patches.len(), 1, "{patches:?}");
    let mut patch = patches.remove(0);
    let version = patch["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    assert_eq!(version, Some(json!("1")), "only if the policy is still as it was read");
    patch
}

fn with_plan(approval: &str) -> FakeApi {
    let api = one();
    let mut status = super::live::under_way(1);
    status["journal"].take();
    let mut sessions = policy("sessions", 1, status);
    sessions["spec"]["restart"] = json!({ "approval": approval });
    api.set(POLICIES, list(&[sessions]));
    api
}

#[test]
fn a_plan_is_approved_by_its_hash() {
    let api = with_plan("Manual");
    let ran = run(&api, &["approve", "sessions"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    insta::assert_snapshot!("approve_shows", ran.out);
    let ran = run(&api, &["approve", "sessions", "0000"]);
    assert_eq!(ran.code, 3);
    assert!(
        ran.err.starts_with("cannot approve: the plan of policy sessions is now 0123456789abcdef, not 0000"),
        "{}",
        ran.err
    );
    let ran = run(&api, &["approve", "sessions", "0123456789abcdef", "--dry-run"]);
    assert_eq!(ran.code, 0);
    let by_hand = "  kubectl annotate --overwrite rmp sessions -n shop redismemory.io/approve=0123456789abcdef\n";
    assert!(ran.out.ends_with(by_hand), "{}", ran.out);
    assert_eq!(api.patches(), Vec::<Value>::new(), "nothing is approved so far");

    assert_eq!(run(&api, &["approve", "sessions", "0123456789abcdef"]).code, 0);
    assert_eq!(changed(&api), json!({"metadata": {"annotations": {"redismemory.io/approve": "0123456789abcdef"}}}));
}

#[test]
fn where_nobody_is_asked_nothing_is_approved() {
    let api = with_plan("Automatic");
    let ran = run(&api, &["approve", "sessions", "0123456789abcdef"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("spec.restart.approval of policy sessions is Automatic"), "{}", ran.err);
    assert_eq!(api.patches(), Vec::<Value>::new());
}

#[test]
fn a_policy_is_suspended_by_its_spec() {
    let api = one();
    let ran = run(&api, &["suspend", "sessions"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.starts_with("policy shop/sessions is suspended: nothing that disturbs is begun"), "{}", ran.out);
    assert_eq!(changed(&api), json!({"metadata": {}, "spec": {"suspend": true}}));
    let ran = run(&api, &["suspend", "sessions", "--dry-run"]);
    let by_hand = "  kubectl patch rmp sessions -n shop --type merge -p '{\"spec\":{\"suspend\":true}}'\n";
    assert!(ran.out.ends_with(by_hand), "{}", ran.out);
    assert_eq!(api.patches().len(), 1);
}

#[test]
fn what_is_under_way_is_stopped_and_resumed() {
    let api = one();
    api.set(POLICIES, list(&[policy("sessions", 1, super::live::under_way(1))]));
    let ran = run(&api, &["stop", "sessions", "--reason", "pager"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(
        ran.out.contains("step 2 of 3 (AwaitReplica redis-1) and what belongs to it are finished first"),
        "{}",
        ran.out
    );
    let patch = changed(&api);
    let value = patch["metadata"]["annotations"]["redismemory.io/hold"].as_str().expect("the annotation").to_owned();
    assert!(value.starts_with("stopped by alice@example.org at 2") && value.ends_with("Z: pager"), "{value}");
    assert_eq!(patch["spec"], Value::Null, "the spec stays");

    let api = one();
    let mut stopped = policy("sessions", 1, Value::Null);
    stopped["metadata"]["annotations"] = json!({ "redismemory.io/hold": value });
    api.set(POLICIES, list(&[stopped]));
    let ran = run(&api, &["resume", "sessions"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(changed(&api), json!({"metadata": {"annotations": {"redismemory.io/hold": null}}}));
}

#[test]
fn a_reason_of_several_lines_is_refused_by_its_flag() {
    let ran = run(&one(), &["stop", "sessions", "--reason", "a\nb"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("--reason <TEXT>") && ran.err.contains("on one line"), "{}", ran.err);
}

#[test]
fn a_dry_run_with_a_reason_says_how_to_ask_by_hand() {
    let api = shop();
    let mut sessions = policy("sessions", 1, Value::Null);
    sessions["spec"]["redis"]["port"] = json!(1);
    api.set(POLICIES, list(&[sessions]));
    let ran = run(&api, &["restart", "redis-1", "--dry-run", "--reason", "kernel update"]);
    let last = ran.out.lines().last().unwrap_or_default();
    let head =
        r#"  kubectl annotate --overwrite rmp sessions -n shop redismemory.io/request='{"restart":"redis-1","by":"#;
    assert!(last.starts_with(head), "{}", ran.out);
    assert_eq!(api.patches(), Vec::<Value>::new());
}
