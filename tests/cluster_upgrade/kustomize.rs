//! Without Helm: each overlay of `config` is applied by kubectl with an image of one's own, judges what it is about, and goes.

use std::{collections::BTreeSet, fs, path::Component};

use serde_json::json;
use tempfile::TempDir;

use super::{
    place::{Helm, Place, USUAL, Version, eventually, everything, image, json_of, kubectl, left, root, try_kubectl},
    settled,
};

/// The namespace that the overlay `namespaced` is about.
const SHOP: &str = "shop";
const ACCOUNT: &str = "--as=system:serviceaccount:redis-memory-operator:redis-memory-operator";

/// An overlay of a person's own, as config/README.md shows it.
fn own(overlay: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (name, version) = image();
    let version = match version {
        Version::Tag(tag) => json!({"name": "localhost/redis-memory-operator", "newName": name, "newTag": tag}),
        Version::Digest(digest) => {
            json!({"name": "localhost/redis-memory-operator", "newName": name, "digest": digest})
        }
    };
    // Kustomize takes no absolute path.
    let up = folder.path().canonicalize().unwrap();
    let up = up.components().filter(|part| matches!(part, Component::Normal(_))).map(|_| "../").collect::<String>();
    let root = root().canonicalize().unwrap();
    let resource = format!("{up}{}/config/overlays/{overlay}", root.to_str().unwrap().trim_start_matches('/'));
    let text = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": [resource], "images": [version],
    });
    fs::write(folder.path().join("kustomization.yaml"), text.to_string()).unwrap();
    folder
}

fn apply(folder: &TempDir) {
    let folder = folder.path().to_str().unwrap();
    // The definition has to be known before a client knows the kind; a namespace that was just made has its account in time.
    kubectl(&["apply", "--server-side", "--kustomize", folder]);
    kubectl(&["--namespace", USUAL, "rollout", "status", &format!("deployment/{USUAL}"), "--timeout=120s"]);
}

fn delete(folder: &str) {
    kubectl(&["delete", "--kustomize", folder, "--wait", "--timeout=120s"]);
}

/// A policy in that namespace, which is judged.
fn judged(namespace: &str) {
    let policy = json!({
        "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
        "metadata": {"name": "sessions", "namespace": namespace}, "spec": {"selector": {"matchLabels": {"app": "redis"}}},
    });
    try_kubectl(&["apply", "--filename", "-"], &policy.to_string()).unwrap_or_else(|error| panic!("{error}"));
    eventually("the policy is judged", || {
        settled(&json_of(&["--namespace", namespace, "get", "redismemorypolicies", "sessions"]))
    });
}

/// Whether the operator's account may do that in every namespace.
fn may(right: &[&str]) -> bool {
    let said = try_kubectl(&[&["auth", "can-i", ACCOUNT, "--all-namespaces"], right].concat(), "");
    said.is_ok_and(|said| said.trim() == "yes")
}

#[test]
#[ignore = "needs the test cluster (make test-cluster)"]
fn the_overlays_are_applied_by_kubectl() {
    let place = Place::new(Helm::Four, &[SHOP]);
    kubectl(&["create", "namespace", SHOP]);
    let before = everything_of_shop();
    let (read_only, acting, namespaced) = (own("read-only"), own("acting"), own("namespaced"));

    apply(&read_only);
    judged(&place.namespace);
    assert!(may(&["list", "pods"]) && !may(&["patch", "pods", "--subresource=resize"]));
    // More rights over it, as over an older version: the policy stays.
    apply(&acting);
    assert!(may(&["patch", "pods", "--subresource=resize"]) && may(&["create", "pods", "--subresource=eviction"]));
    let patch = r#"{"spec":{"suspend":true}}"#;
    place.kubectl(&["patch", "redismemorypolicies", "sessions", "--type=merge", "--patch", patch]).unwrap();
    judged(&place.namespace);
    // Of an overlay everything goes, the definition and the policies too.
    delete(acting.path().to_str().unwrap());
    left(&before, &BTreeSet::new());

    let definition = root().join("config/crd");
    let definition = definition.to_str().unwrap();
    kubectl(&["apply", "--server-side", "--kustomize", definition]);
    apply(&namespaced);
    judged(SHOP);
    assert!(!may(&["list", "pods"]), "it is about one namespace");
    delete(namespaced.path().to_str().unwrap());
    delete(definition);
    left(&before, &BTreeSet::new());
}

/// What is there, once the new namespace has what every namespace gets.
fn everything_of_shop() -> BTreeSet<String> {
    eventually("what every namespace gets", || {
        try_kubectl(&["--namespace", SHOP, "get", "configmap/kube-root-ca.crt", "serviceaccount/default"], "")
    });
    everything()
}
