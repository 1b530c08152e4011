//! Upgrade, rollback and uninstall on a real cluster: with Helm the frozen chart of the first version is installed and objects
//! of that version are stored, then the chart is upgraded to this one, rolled back and forward again, then uninstalled; and what
//! is left is listed. The same overlays without Helm: [`kustomize`].
//!
//! The definition is one for the whole cluster, so an operator that is installed is removed first. No image of the
//! first version exists: its chart is installed without a pod, and what it stored is written as it was.
#![cfg(test)]
#![allow(clippy::or_fun_call, reason = "the helpers of a test are test code")]

#[path = "cluster_upgrade/kustomize.rs"]
mod kustomize;
#[path = "cluster_upgrade/place.rs"]
mod place;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use place::{
    DEFINITION, Helm, OTHER, Place, RELEASE, Version, eventually, everything, is_long, json_of, left, root, setting,
    try_kubectl,
};
use redis_memory_operator::api::v1alpha1;
use serde_json::{Map, Value, json};

fn first() -> PathBuf {
    root().join("tests/upgrade/first")
}

/// The `--set` options by which the images of the tests are used.
fn image() -> String {
    let (repository, version) = place::image();
    let version = match version {
        Version::Tag(tag) => format!("image.tag={tag}"),
        Version::Digest(digest) => format!("image.digest={digest}"),
    };
    format!("image.repository={repository},{version},image.pullPolicy={}", setting("RMO_IMAGE_PULL_POLICY"))
}

/// Stores an object as the first version left it, in the test's namespace; its spec.
fn store(place: &Place, path: &Path) -> (String, Value) {
    let stored: Value = serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let name = stored["metadata"]["name"].as_str().unwrap().to_owned();
    let object = json!({
        "apiVersion": stored["apiVersion"], "kind": stored["kind"], "spec": stored["spec"],
        "metadata": {"name": name, "namespace": place.namespace, "finalizers": stored["metadata"]["finalizers"]},
    });
    try_kubectl(&["create", "--filename", "-"], &object.to_string()).unwrap_or_else(|error| panic!("{error}"));
    // By the field managers that wrote it: what belongs to others is never overwritten.
    let of_journal = |field: &str| ["journal", "workloads"].contains(&field);
    for (manager, journal) in [("redis-memory-operator", false), ("redis-memory-operator-journal", true)] {
        let fields = stored["status"].as_object().into_iter().flatten();
        let part: Map<String, Value> =
            fields.filter(|(field, _)| of_journal(field) == journal).map(|(k, v)| (k.clone(), v.clone())).collect();
        if part.is_empty() {
            continue;
        }
        let object = json!({
            "apiVersion": stored["apiVersion"], "kind": stored["kind"],
            "metadata": {"name": name, "namespace": place.namespace}, "status": part,
        });
        let manager = format!("--field-manager={manager}");
        let arguments = ["apply", "--server-side", "--subresource=status", &manager, "--filename", "-"];
        try_kubectl(&arguments, &object.to_string()).unwrap_or_else(|error| panic!("{error}"));
    }
    (name, stored["spec"].clone())
}

/// The paths of all fields of a schema.
fn fields(path: &str, schema: &Value, into: &mut BTreeSet<String>) {
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        fields(&path, child, into);
        into.insert(path);
    }
    if schema["items"].is_object() {
        fields(&format!("{path}[]"), &schema["items"], into);
    }
}

fn fields_of(definition: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    fields("", definition.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap(), &mut found);
    found
}

/// Ready for its present generation, with nothing of an old remediation left.
fn settled(policy: &Value) -> Result<(), String> {
    let conditions = policy["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    let holds = ready.is_some_and(|ready| {
        ready["status"] == "True" && ready["observedGeneration"] == policy["metadata"]["generation"]
    });
    let idle = policy["status"]["journal"].is_null() && policy["metadata"]["finalizers"].is_null();
    if holds && idle { Ok(()) } else { Err(format!("{}: {}", policy["metadata"]["name"], policy["status"])) }
}

/// The specs of all policies, by their names.
fn specs(place: &Place) -> Vec<(String, Value)> {
    let name = |policy: &Value| policy["metadata"]["name"].as_str().unwrap().to_owned();
    place.policies().iter().map(|policy| (name(policy), policy["spec"].clone())).collect()
}

/// Defaults of new fields appear when the object is written; what was written stays.
fn assert_kept(before: &[(String, Value)], now: &[(String, Value)]) {
    assert_eq!(before.len(), now.len());
    for ((name, old), (_, new)) in before.iter().zip(now) {
        for (field, value) in old.as_object().unwrap() {
            for (inner, value) in value.as_object().into_iter().flatten() {
                assert_eq!(new[field][inner], *value, "{name}: spec.{field}.{inner}");
            }
        }
    }
}

/// As a person asks for a new judgement: by another spec. What holds already would be read as an old answer.
fn judged_again(place: &Place, suspend: bool) {
    for (name, _) in specs(place) {
        let patch = json!({"spec": {"suspend": suspend}}).to_string();
        place.kubectl(&["patch", DEFINITION, &name, "--type=merge", "--patch", &patch]).unwrap();
    }
    eventually("every policy is judged by its new spec", || place.policies().iter().try_for_each(settled));
}

/// Back to the first version, and forward again: no policy is lost on the way, nor what was written of it, and the operator
/// goes on.
fn there_and_back(helm: Helm, place: &Place) {
    let before = specs(place);
    let told = |policy: &Value| (policy["metadata"]["uid"].clone(), policy["status"]["observedGeneration"].clone());
    let told_before: Vec<_> = place.policies().iter().map(told).collect();
    let roll = |revision: &str| {
        helm.run(&["rollback", RELEASE, revision, "--wait", "--timeout", "120s", "--namespace", &place.namespace]);
        fields_of(&json_of(&["get", "crd", DEFINITION]))
    };
    let frozen = fs::read_to_string(first().join("chart/templates/crd.yaml")).unwrap();
    let frozen = frozen.lines().filter(|line| !line.contains("{{")).collect::<Vec<_>>().join("\n");
    assert_eq!(roll("1"), fields_of(&serde_yaml::from_str(&frozen).unwrap()), "the first definition");
    assert_kept(&specs(place), &before);
    assert_eq!(place.policies().iter().map(told).collect::<Vec<_>>(), told_before);
    assert_eq!(roll("2"), fields_of(&serde_json::to_value(v1alpha1::crd()).unwrap()), "the new definition");
    assert_eq!(specs(place), before, "what the first version does not know is there again");
    assert_eq!(place.policies().iter().map(told).collect::<Vec<_>>(), told_before);
    judged_again(place, true);
    judged_again(place, false);
}

#[test]
#[ignore = "needs the test cluster (make test-cluster)"]
fn from_the_first_version_to_this_one_and_away() {
    upgraded_and_removed(Helm::Four);
}

#[test]
#[ignore = "needs the test cluster (make test-cluster); only with RMO_LONG=1"]
fn by_the_helm_before_too() {
    if is_long() {
        upgraded_and_removed(Helm::Three);
    } else {
        eprintln!("skipped: only with RMO_LONG=1");
    }
}

fn upgraded_and_removed(helm: Helm) {
    let place = Place::new(helm, &[]);
    let before = everything();
    let (old, new) = (first().join("chart"), root().join("charts/redis-memory-operator"));
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    let run = |arguments: &[&str]| helm.run(&[arguments, &["--namespace", place.namespace.as_str()]].concat());
    let wait = ["--wait", "--timeout", "120s"];
    let acting = "acting.resize=true,acting.restart=true,acting.roleLabel=true";

    run(&["install", RELEASE, old, "--set", &format!("{acting},replicas=0"), "--wait"]);
    let mut files: Vec<_> = fs::read_dir(first().join("objects")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let stored: Vec<(String, Value)> = files.iter().map(|path| store(&place, path)).collect();
    let specs_before = specs(&place);
    assert_eq!(specs_before.len(), stored.len());

    // What a person types, with the values of before and the new chart's own for what is new.
    let with_image = format!("replicas=1,{}", image());
    run(&[&["upgrade", RELEASE, new, "--reset-then-reuse-values", "--set", &with_image], &wait[..]].concat());
    let definition = json_of(&["get", "crd", DEFINITION]);
    assert_eq!(
        fields_of(&definition),
        fields_of(&serde_json::to_value(v1alpha1::crd()).unwrap()),
        "the new definition"
    );
    eventually("every policy is evaluated, and nothing old is under way", || {
        place.policies().iter().try_for_each(settled)
    });
    assert_kept(&specs_before, &specs(&place));
    there_and_back(helm, &place);

    let kept = [format!("CustomResourceDefinition <none> {DEFINITION}")].into_iter();
    let kept = kept.chain(stored.iter().map(|(name, _)| format!("RedisMemoryPolicy {} {name}", place.namespace)));
    let kept: BTreeSet<String> = kept.collect();
    run(&["uninstall", RELEASE, "--wait"]);
    left(&before, &kept);

    // Under another name: the definition that was kept is no obstacle, is said to be another's, and stays.
    let values = format!("{acting},{}", image());
    let said = run(&[&["install", OTHER, new, "--set", &values], &wait[..]].concat());
    assert!(said.contains("is not of this release"), "{said}");
    judged_again(&place, true);
    run(&[&["upgrade", OTHER, new, "--reuse-values"], &wait[..]].concat());
    run(&["uninstall", OTHER, "--wait"]);
    left(&before, &kept);

    // The definition that was kept is taken over again; and without crds.keep it goes, with every policy.
    let values = format!("{acting},crds.keep=false,{}", image());
    run(&[&["install", RELEASE, new, "--set", &values], &wait[..]].concat());
    judged_again(&place, false);
    run(&["uninstall", RELEASE, "--wait"]);
    left(&before, &BTreeSet::new());
}
