//! The admission policy of the chart on a real API server: with the right to patch pods, the operator's
//! ServiceAccount may change the role label and nothing else.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test are test code")]

use std::{
    io::Write as _,
    path::Path,
    process::{self, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// A release of the chart's rights alone, under a name of its own; all of it goes when the test ends.
struct Rights {
    name: String,
}

fn script(name: &str, arguments: &[&str], input: &str) -> Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster").join(name);
    let mut command = Command::new(&path);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The command's output; panics when it fails.
fn must(name: &str, arguments: &[&str], input: &str) -> String {
    let output = script(name, arguments, input);
    assert!(output.status.success(), "{name} {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

impl Rights {
    /// With the acting right and its narrowing, and a pod that never runs.
    fn new() -> Self {
        let rights = Self { name: format!("rmo-admission-{}", process::id()) };
        must("kubectl", &["create", "namespace", &rights.name], "");
        must("kubectl", &["apply", "--filename", "-"], &rights.manifests());
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "redis-0", "labels": {"app": "redis"}, "annotations": {"note": "kept"}},
            "spec": {
                "nodeName": "no-such-node",
                "containers": [{"name": "redis", "image": "none", "imagePullPolicy": "Never"}],
            },
        });
        let created =
            || script("kubectl", &["--namespace", &rights.name, "create", "--filename", "-"], &pod.to_string());
        // The ServiceAccount `default`, which every pod needs, follows the namespace a moment later.
        eventually("the pod", || created().status.success());
        rights
    }

    fn manifests(&self) -> String {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/redis-memory-operator");
        let settings = format!("fullnameOverride={},acting.roleLabel=true,crds.install=false", self.name);
        let mut arguments =
            vec!["template", "r", chart.to_str().unwrap(), "--namespace", &self.name, "--set", &settings];
        for part in [
            "templates/serviceaccount.yaml",
            "templates/rbac-base.yaml",
            "templates/rbac-acting.yaml",
            "templates/admission.yaml",
        ] {
            arguments.extend(["--show-only", part]);
        }
        must("helm", &arguments, "")
    }

    /// A patch by the operator's ServiceAccount, of the kind `merge` or `strategic`.
    fn patch(&self, kind: &str, patch: &Value) -> Result<(), String> {
        let user = format!("--as=system:serviceaccount:{0}:{0}", self.name);
        let patch = patch.to_string();
        let output = script(
            "kubectl",
            &["--namespace", &self.name, &user, "patch", "pod", "redis-0", "--type", kind, "--patch", &patch],
            "",
        );
        if output.status.success() { Ok(()) } else { Err(text(&output.stderr)) }
    }

    fn labels(&self) -> Value {
        let pod = must("kubectl", &["--namespace", &self.name, "get", "pod", "redis-0", "--output", "json"], "");
        let pod: Value = serde_json::from_str(&pod).unwrap();
        pod.pointer("/metadata/labels").cloned().unwrap()
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        let name = self.name.as_str();
        for (kind, suffix) in [
            ("validatingadmissionpolicybinding", "-role-label"),
            ("validatingadmissionpolicy", "-role-label"),
            ("clusterrolebinding", "-role-label"),
            ("clusterrolebinding", ""),
            ("clusterrole", "-role-label"),
            ("clusterrole", ""),
        ] {
            script("kubectl", &["delete", kind, &format!("{name}{suffix}"), "--ignore-not-found"], "");
        }
        // No kubelet will ever say that the pod has ended.
        script("kubectl", &["--namespace", name, "delete", "pod", "redis-0", "--force", "--grace-period=0"], "");
        script("kubectl", &["delete", "namespace", name, "--ignore-not-found", "--wait=false"], "");
    }
}

#[allow(clippy::disallowed_methods, reason = "tests wait in real time")]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "gave up on: {what}");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
#[ignore = "needs the test cluster (make test-cluster)"]
fn the_right_to_patch_pods_is_narrowed_to_the_role_label() {
    let rights = Rights::new();
    let role = |value: Value| json!({"metadata": {"labels": {"redismemory.io/role": value}}});

    // The API server takes a moment to act on a new policy; the first refusal shows that it has.
    eventually("the first refusal", || {
        rights.patch("merge", &json!({"metadata": {"labels": {"probe": "x"}}})).is_err() || {
            let _ = script("kubectl", &["--namespace", &rights.name, "label", "pod", "redis-0", "probe-"], "");
            false
        }
    });

    for value in [json!("primary"), json!("replica"), Value::Null] {
        rights.patch("merge", &role(value.clone())).unwrap_or_else(|error| panic!("role {value}: {error}"));
    }
    let refused = [
        ("merge", json!({"metadata": {"labels": {"app": "other"}}}), "another label"),
        ("merge", json!({"metadata": {"labels": {"app": null}}}), "another label"),
        ("merge", json!({"metadata": {"labels": {"more": "x"}}}), "another label"),
        ("merge", json!({"metadata": {"labels": null}}), "another label"),
        ("merge", json!({"metadata": {"annotations": {"more": "x"}}}), "annotations"),
        ("merge", json!({"metadata": {"annotations": null}}), "annotations"),
        ("merge", json!({"metadata": {"finalizers": ["example.com/stay"]}}), "other metadata"),
        ("strategic", json!({"spec": {"containers": [{"name": "redis", "image": "other"}]}}), "the spec"),
        ("merge", json!({"spec": {"activeDeadlineSeconds": 1}}), "the spec"),
        (
            "merge",
            json!({"metadata": {"labels": {"redismemory.io/role": "primary"}}, "spec": {"activeDeadlineSeconds": 1}}),
            "the spec",
        ),
    ];
    for (kind, patch, part) in refused {
        let error = rights.patch(kind, &patch).expect_err(&format!("{patch} was let through"));
        assert!(error.contains("may change only these labels of a pod: redismemory.io/role"), "{patch}: {error}");
        assert!(error.contains(part), "{patch}: {error}");
    }
    assert_eq!(rights.labels(), json!({"app": "redis"}));

    // Somebody else's changes are none of its business.
    must("kubectl", &["--namespace", &rights.name, "label", "pod", "redis-0", "more=x"], "");
}
