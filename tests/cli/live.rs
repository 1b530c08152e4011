//! `status` and `explain` against a stand-in for the API server: what is shown, what is watched, how it ends.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Ran, binary, command, fake_api::FakeApi, finish};

pub(crate) const POLICIES: &str = "/apis/redismemory.io/v1alpha1/namespaces/shop/redismemorypolicies";
pub(crate) const ALL: &str = "/apis/redismemory.io/v1alpha1/redismemorypolicies";
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

#[allow(clippy::needless_pass_by_value, reason = "a literal at every call")]
pub(crate) fn policy(name: &str, version: u32, status: Value) -> Value {
    json!({
        "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "generation": 3,
                     "resourceVersion": version.to_string(), "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"selector": {"matchLabels": {"app": name}}, "mode": "Enforce", "redis": {"roleAuthority": "Operator"}},
        "status": status,
    })
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message,
           "lastTransitionTime": "2026-01-02T03:04:05Z", "observedGeneration": 3})
}

fn steps() -> Value {
    json!([
        {"kind": "Evict", "pod": "redis-1", "reason": "fragmentation 2.91 is at or above 2.50"},
        {"kind": "AwaitReplica", "pod": "redis-1", "reason": "it must have caught up"},
        {"kind": "Switchover", "pod": "redis-0", "to": "redis-1", "reason": "it is primary and must be restarted too"},
    ])
}

pub(crate) fn under_way(cursor: u32) -> Value {
    json!({
        "observedGeneration": 3,
        "conditions": [condition("Ready", "True", "Evaluated", ""),
                       condition("Remediating", "True", "AwaitReplica", &format!("step {} of 3", cursor + 1))],
        "summary": {"targets": 3, "reachable": 2, "compliant": 1, "worstFragmentation": "2.9", "waste": "390 MiB"},
        "findings": [{"code": "FragmentationRestartDue", "severity": "Critical", "pod": "redis-0",
                      "evidence": "ratio 2.9, 2.50 or more for 10m", "remedy": "the operator restarts it"}],
        "plan": {"workload": "redis", "hash": "0123456789abcdef", "steps": steps()},
        "journal": {"id": "0123456789abcdef-1", "planHash": "0123456789abcdef", "generation": 3, "workload": "set",
                    "workloadName": "redis", "startedAt": "2026-01-02T03:04:05Z", "steps": steps(), "cursor": cursor,
                    "current": {}, "primary": {"pod": "redis-0", "uid": "u0", "runId": "r0"}, "members": []},
    })
}

pub(crate) fn ended(outcome: &str) -> Value {
    json!({
        "observedGeneration": 3,
        "conditions": [condition("Ready", "True", "Evaluated", ""), condition("Remediating", "False", "Idle", "")],
        "summary": {"targets": 3, "reachable": 3, "compliant": 3, "worstFragmentation": "1.1", "waste": "20 MiB"},
        "request": {"id": "0123", "outcome": "Refused", "message": "MemberBusy: redis-1 saves", "at": "2026-01-02T03:00:00Z"},
        "workloads": [{"uid": "set", "name": "redis", "outcome": outcome, "remediation": "0123456789abcdef-1",
                       "endedAt": "2026-01-02T03:14:05Z", "generation": 3, "message": "3 pods restarted, 370 MiB back",
                       "restarts": [{"pod": "redis-1", "at": "2026-01-02T03:05:05Z"}]}],
    })
}

/// A status that has a verdict.
pub(crate) fn judged(level: &str) -> Value {
    let mut status = ended("Succeeded");
    status["verdict"] = json!({"level": level, "reason": "OomKilled", "since": "2026-01-02T03:04:05Z",
        "brief": "OomKilled redis-0", "sentence": "OomKilled since 2026-01-02T03:04:05Z: redis-0", "free": "30 MiB"});
    status
}

pub(crate) fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicyList",
           "metadata": {"resourceVersion": "10"}, "items": items})
}

pub(crate) fn serve(items: &[Value]) -> FakeApi {
    let api = FakeApi::start();
    api.set(POLICIES, list(items));
    api.set(ALL, list(items));
    api
}

fn at(api: &FakeApi, arguments: &[&str]) -> Command {
    let mut command = command(binary());
    command.env("KUBECONFIG", api.kubeconfig()).args(arguments);
    command
}

pub(crate) fn run(api: &FakeApi, arguments: &[&str]) -> Ran {
    finish(at(api, arguments), "")
}

#[test]
fn lists_policies_and_shows_one_in_full() {
    let broken = json!({"apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
        "metadata": {"name": "newer", "namespace": "shop"}, "spec": {"selector": {}, "mode": "Dream"}});
    let quiet = policy("quiet", 1, ended("Succeeded"));
    let api = serve(&[policy("sessions", 1, under_way(1)), quiet, policy("new", 1, Value::Null), broken]);
    let ran = run(&api, &["status"]);
    insta::assert_snapshot!("status_list", ran.out);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("shop/newer") && ran.err.contains("Dream"), "{}", ran.err);
    assert_eq!(run(&api, &["status", "-A"]).out, ran.out);

    let ran = run(&api, &["status", "sessions", "-n", "shop"]);
    insta::assert_snapshot!("status_full", ran.out);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    insta::assert_snapshot!("status_full_ended", run(&api, &["status", "quiet"]).out);

    let json: Value = serde_json::from_str(&run(&api, &["status", "sessions", "-o", "json"]).out).unwrap();
    assert_eq!(json["status"]["journal"]["cursor"], 1);
    let yaml: Value = serde_yaml::from_str(&run(&api, &["status", "-o", "yaml"]).out).unwrap();
    assert_eq!(yaml.as_array().unwrap().len(), 3);

    let ran = run(&api, &["status", "session"]);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    assert!(ran.err.contains("no RedisMemoryPolicy session") && ran.err.contains("sessions"), "{}", ran.err);
}

/// A running `status --watch`, killed when the test ends.
struct Watching {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Watching {
    fn start(api: &FakeApi, arguments: &[&str]) -> Self {
        let before = api.watches();
        let mut child = at(api, arguments).spawn().unwrap();
        let (send, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || out.lines().map_while(Result::ok).all(|line| send.send(line).is_ok()));
        let watching = Self { child, lines };
        eventually("it watches", || api.watches() > before);
        watching
    }

    /// The next line that contains this.
    fn line(&self, part: &str) -> String {
        let begun = Clock::start();
        while begun.elapsed() < PATIENCE {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(part) => return line,
                Ok(_) => {}
                Err(error) => panic!("no line with {part:?}: {error}"),
            }
        }
        panic!("no line with {part:?}");
    }

    fn code(&mut self) -> i32 {
        let mut code = None;
        eventually("it ends", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        code.and_then(|code| code.code()).expect("it ends by itself")
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Real time: what is waited for is another process.
struct Clock(Instant);

impl Clock {
    #[allow(clippy::disallowed_methods, reason = "tests wait in real time")]
    fn start() -> Self {
        Self(Instant::now())
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Clock::start();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "gave up on: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_watch_says_each_change_in_a_line_and_ends_with_the_remediation() {
    let api = serve(&[policy("sessions", 1, under_way(0))]);
    let mut watching = Watching::start(&api, &["status", "sessions", "-w", "--until-done"]);
    watching.line("shop/sessions Remediating: True AwaitReplica: step 1 of 3");
    api.tell("MODIFIED", &policy("sessions", 11, under_way(1)));
    let line = watching.line("Remediating");
    assert!(line.ends_with("Z shop/sessions Remediating: True AwaitReplica: step 2 of 3"), "{line}");
    let line = watching.line("progress of redis");
    let progress = "step 2 of 3, AwaitReplica redis-1: it must have caught up (1 of 1 pods restarted); about 60 s left";
    assert!(line.ends_with(progress), "{line}");
    assert_eq!(watching.lines.try_recv(), Err(mpsc::TryRecvError::Empty), "only what changed is said");
    api.tell("MODIFIED", &policy("sessions", 12, ended("Succeeded")));
    watching.line("finding FragmentationRestartDue redis-0: does not hold any more");
    watching.line("done: Succeeded: 3 pods restarted, 370 MiB back");
    assert_eq!(watching.code(), 0);
}

#[test]
fn a_remediation_that_fails_is_1_and_a_deleted_policy_is_3() {
    let api = serve(&[policy("sessions", 1, under_way(0))]);
    let mut watching = Watching::start(&api, &["status", "sessions", "--until-done"]);
    api.tell("MODIFIED", &policy("sessions", 11, ended("TimedOut")));
    watching.line("done: TimedOut");
    assert_eq!(watching.code(), 1);

    let mut watching = Watching::start(&api, &["status", "sessions", "--until-done"]);
    api.tell("DELETED", &policy("sessions", 12, under_way(0)));
    watching.line("deleted");
    assert_eq!(watching.code(), 3);
}

#[test]
fn ctrl_c_ends_a_watch_cleanly() {
    let api = serve(&[policy("sessions", 1, ended("Succeeded"))]);
    let mut watching = Watching::start(&api, &["status", "-w"]);
    watching.line("mode: Enforce");
    let pid = watching.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(watching.code(), 0);
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "resourceVersion": "5",
            "labels": {"app": "sessions", "redismemory.io/role": "replica", "controller-revision-hash": "r1"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "redis", "uid": "set",
                                 "controller": true}]},
        "spec": {"terminationGracePeriodSeconds": 60, "containers": [{"name": "redis", "image": "redis",
            "ports": [{"containerPort": 1}], "resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "512Mi"}}}]},
        "status": {"phase": "Running", "podIP": "127.0.0.1", "qosClass": "Burstable",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "redis", "ready": true, "restartCount": 0, "image": "redis", "imageID": "",
                "resources": {"limits": {"memory": "1Gi"}},
                "state": {"running": {"startedAt": "2026-01-02T03:05:05Z"}}}]},
    })
}

/// The cluster of a policy whose pods answer nothing on port 1.
pub(crate) fn shop() -> FakeApi {
    let mut sessions = policy("sessions", 1, under_way(1));
    sessions["spec"]["redis"]["port"] = json!(1);
    let api = serve(&[sessions, policy("other", 1, Value::Null)]);
    let namespace = "/api/v1/namespaces/shop";
    api.set(&format!("{namespace}/pods/redis-1"), pod("redis-1"));
    let pods =
        json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [pod("redis-1"), pod("redis-2")]});
    api.set(&format!("{namespace}/pods"), pods);
    let empty = |kind: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {}, "items": []});
    api.set(&format!("{namespace}/services"), empty("ServiceList"));
    api.set(
        "/apis/apps/v1/namespaces/shop/statefulsets/redis",
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "redis", "namespace": "shop", "uid": "set", "generation": 1},
            "spec": {"replicas": 2, "serviceName": "redis", "selector": {"matchLabels": {"app": "sessions"}},
                "template": {"metadata": {"labels": {"app": "sessions"}}, "spec": {"containers": [
                    {"name": "redis", "image": "redis", "resources": {"limits": {"memory": "768Mi"}}}]}}},
            "status": {"replicas": 2, "observedGeneration": 1, "currentRevision": "r1", "updateRevision": "r1"},
        }),
    );
    api.set(
        "/api/v1",
        json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [
        {"name": "pods/resize", "singularName": "", "namespaced": true, "kind": "Pod", "verbs": ["patch"]}]}),
    );
    api
}

#[test]
fn a_pod_that_cannot_be_reached_is_explained_by_what_the_operator_says() {
    let api = shop();
    let ran = run(&api, &["explain", "redis-1", "-n", "shop"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let text = ran.out.lines().filter(|line| !line.starts_with("policy ")).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!("explain_unreachable", text);

    let ran = run(&api, &["explain", "redis-9"]);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    assert!(ran.err.contains("no pod redis-9 in namespace shop"), "{}", ran.err);
    let ran = run(&api, &["explain", "redis-1", "--policy", "other"]);
    assert!(ran.err.contains("no RedisMemoryPolicy other") && ran.err.contains("these do: sessions"), "{}", ran.err);
}

#[test]
fn a_pod_that_no_policy_selects_is_said_to_be_nobodys() {
    let api = shop();
    api.set(POLICIES, list(&[policy("other", 1, Value::Null)]));
    let ran = run(&api, &["explain", "redis-1"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("selects pod redis-1") && ran.err.contains("app=sessions"), "{}", ran.err);
}

#[test]
fn the_plan_of_the_cluster_can_be_kept_as_a_snapshot() {
    let api = shop();
    let ran = run(&api, &["plan", "sessions", "-o", "snapshot"]);
    assert!(
        ran.out.contains("kind: RedisMemorySnapshot") && ran.out.contains("unreachable:"),
        "{}{}",
        ran.out,
        ran.err
    );
    let again = super::run(&["plan", "-f", "-"], &ran.out);
    assert_eq!(again.code, ran.code, "{}", again.err);
    assert!(again.out.contains("redis-1, redis-2 did not answer from here"), "{}", again.out);
    let ran = run(&api, &["plan", "nobody"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("no RedisMemoryPolicy nobody in namespace shop"), "{}", ran.err);
}
