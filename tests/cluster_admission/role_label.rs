//! The admission policy of the chart on a real API server: with the right to patch pods, the operator's
//! ServiceAccount may change the role label and nothing else.

use serde_json::{Value, json};

use crate::support::{client, eventually, require, space::Space};

/// A release of the chart's rights alone, named as its namespace; all of it goes when the test ends.
struct Rights {
    space: Space,
}

impl Rights {
    /// With the acting right and its narrowing, and a pod that never runs.
    fn new() -> Self {
        let rights = Self { space: Space::new("admission") };
        rights.space.apply(&rights.manifests());
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "redis-0", "labels": {"app": "redis"}, "annotations": {"note": "kept"}},
            "spec": {
                "nodeName": "no-such-node",
                "containers": [{"name": "redis", "image": "none", "imagePullPolicy": "Never"}],
            },
        });
        // The ServiceAccount `default`, which every pod needs, follows the namespace a moment later.
        eventually("the pod", 30, || rights.space.try_apply(&pod.to_string()).into_result());
        rights
    }

    fn manifests(&self) -> String {
        let chart = client::path("charts/redis-memory-operator");
        let name = self.space.name.as_str();
        let settings = format!("fullnameOverride={name},acting.roleLabel=true,crds.install=false");
        let mut helm = client::script("tests/cluster/helm");
        helm.args(["template", "r", chart.to_str().unwrap(), "--namespace", name, "--set", &settings]);
        for part in [
            "templates/serviceaccount.yaml",
            "templates/rbac-base.yaml",
            "templates/rbac-acting.yaml",
            "templates/admission.yaml",
        ] {
            helm.args(["--show-only", part]);
        }
        client::run(helm).or_panic("helm template")
    }

    /// A patch by the operator's ServiceAccount, of the kind `merge` or `strategic`.
    fn patch(&self, kind: &str, patch: &Value) -> Result<(), String> {
        let user = format!("--as=system:serviceaccount:{0}:{0}", self.space.name);
        let patch = patch.to_string();
        let said = self.space.kubectl(&[&user, "patch", "pod", "redis-0", "--type", kind, "--patch", &patch]);
        said.into_result().map(|_| ())
    }

    fn labels(&self) -> Value {
        self.space.get(&["pod", "redis-0"])["metadata"]["labels"].clone()
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        let name = self.space.name.as_str();
        for (kind, suffix) in [
            ("validatingadmissionpolicybinding", "-role-label"),
            ("validatingadmissionpolicy", "-role-label"),
            ("clusterrolebinding", "-role-label"),
            ("clusterrolebinding", ""),
            ("clusterrole", "-role-label"),
            ("clusterrole", ""),
        ] {
            client::kubectl(&["delete", kind, &format!("{name}{suffix}"), "--ignore-not-found"]);
        }
        // No kubelet will ever say that the pod has ended.
        self.space.kubectl(&["delete", "pod", "redis-0", "--force", "--grace-period=0"]);
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
            rights.space.kubectl(&["label", "pod", "redis-0", "probe-"]);
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
    rights.space.must(&["label", "pod", "redis-0", "more=x"]);
}
