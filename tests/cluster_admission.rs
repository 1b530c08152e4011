//! The admission policy of the chart on a real API server: with the right to patch pods, the operator's
//! ServiceAccount may change the role label and nothing else.
#![cfg(test)]

#[allow(dead_code, reason = "the other tests on the cluster use the rest")]
#[path = "cluster_e2e/support/mod.rs"]
mod support;

use std::process;

use serde_json::{Value, json};
use support::{
    client::{self, Said},
    eventually, require,
};

/// A release of the chart's rights alone, under a name of its own; all of it goes when the test ends.
struct Rights {
    name: String,
}

fn script(name: &str, arguments: &[&str], input: &str) -> Said {
    let mut command = client::script(&format!("tests/cluster/{name}"));
    command.args(arguments);
    client::run_with(command, input)
}

/// The command's output; panics when it fails.
fn must(name: &str, arguments: &[&str], input: &str) -> String {
    script(name, arguments, input).or_panic(&format!("{name} {arguments:?}"))
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
        eventually("the pod", 30, || created().into_result());
        rights
    }

    fn manifests(&self) -> String {
        let chart = client::path("charts/redis-memory-operator");
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
        output.into_result().map(|_| ())
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

#[test]
#[ignore = "needs the test cluster (make test-cluster)"]
fn the_right_to_patch_pods_is_narrowed_to_the_role_label() {
    let rights = Rights::new();
    let role = |value: Value| json!({"metadata": {"labels": {"redismemory.io/role": value}}});

    // The API server takes a moment to act on a new policy; the first refusal shows that it has.
    eventually("the first refusal", 30, || {
        let refused = rights.patch("merge", &json!({"metadata": {"labels": {"probe": "x"}}})).is_err();
        require(refused, || {
            let _ = script("kubectl", &["--namespace", &rights.name, "label", "pod", "redis-0", "probe-"], "");
            "it was let in".to_owned()
        })
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
