//! Upgrade and uninstall with Helm on a real cluster: the frozen chart of the first version is installed and objects
//! of that version are stored, then the chart is upgraded to this one, then uninstalled; and what is left is listed.
//!
//! The definition is one for the whole cluster, so an operator that is installed is removed first. No image of the
//! first version exists: its chart is installed without a pod, and what it stored is written as it was.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::or_fun_call,
    reason = "the helpers of a test are test code"
)]

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use redis_memory_operator::api::v1alpha1;
use serde_json::{Map, Value, json};

const RELEASE: &str = "rmo-upgrade";
/// Another name, under which somebody installs it again.
const OTHER: &str = "rmo-other";
const DEFINITION: &str = "redismemorypolicies.redismemory.io";
/// Kinds that come and go without us, or that are only views of others.
const NOISE: [&str; 5] =
    ["events", "events.events.k8s.io", "componentstatuses", "endpoints", "apiservices.apiregistration.k8s.io"];
/// How long the cluster may take for anything.
const PATIENCE: Duration = Duration::from_secs(120);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn first() -> PathBuf {
    root().join("tests/upgrade/first")
}

/// `kubectl` or `helm` with this on its standard input: what it said, or what it complained about.
fn client(name: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let path = root().join("tests/cluster").join(name);
    let mut command = Command::new(&path);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // Our inputs are small; a program that reads nothing is fine.
    let _read = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{name} {arguments:?}: {}{}", text(&output.stdout), text(&output.stderr)))
    }
}

fn kubectl(arguments: &[&str]) -> String {
    client("kubectl", arguments, "").unwrap_or_else(|error| panic!("{error}"))
}

fn helm(arguments: &[&str]) -> String {
    client("helm", arguments, "").unwrap_or_else(|error| panic!("{error}"))
}

fn json_of(arguments: &[&str]) -> Value {
    let text = kubectl(&[arguments, &["--output", "json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
}

#[allow(clippy::disallowed_methods, reason = "tests wait in real time")]
fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match look() {
            Ok(seen) => return seen,
            Err(obstacle) if begun.elapsed() > PATIENCE => panic!("gave up on: {what}\n  last seen: {obstacle}"),
            Err(_) => thread::sleep(Duration::from_millis(300)),
        }
    }
}

/// A namespace for the release; it and all that the release could have left go when the test ends.
struct Place {
    namespace: String,
}

impl Place {
    fn new() -> Self {
        // Other releases own the definition, and Helm shares none.
        let _absent = client(
            "helm",
            &["uninstall", "redis-memory-operator", "--namespace", "redis-memory-operator", "--wait"],
            "",
        );
        let place = Self { namespace: format!("rmo-upgrade-{}", process::id()) };
        place.clear();
        kubectl(&["create", "namespace", &place.namespace]);
        eventually("what every namespace gets", || {
            let found = place.kubectl(&["get", "configmap/kube-root-ca.crt", "serviceaccount/default"]);
            found.map(drop)
        });
        place
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        client("kubectl", &[&["--namespace", self.namespace.as_str()], arguments].concat(), "")
    }

    fn policies(&self) -> Vec<Value> {
        let all = json_of(&["--namespace", &self.namespace, "get", DEFINITION]);
        all["items"].as_array().cloned().unwrap_or_default()
    }

    fn clear(&self) {
        let gone = |arguments: &[&str]| drop(client("kubectl", arguments, ""));
        for release in [RELEASE, OTHER] {
            drop(client("helm", &["uninstall", release, "--namespace", &self.namespace, "--wait"], ""));
        }
        // A finalizer without an operator would keep a policy, and with it the definition, for ever.
        for policy in client("kubectl", &["get", DEFINITION, "--all-namespaces", "--output", "json"], "")
            .ok()
            .and_then(|text| serde_json::from_str::<Value>(&text).ok())
            .and_then(|all| all["items"].as_array().cloned())
            .into_iter()
            .flatten()
        {
            let (namespace, name) = (policy["metadata"]["namespace"].as_str(), policy["metadata"]["name"].as_str());
            let none = r#"{"metadata":{"finalizers":null}}"#;
            gone(&[
                "--namespace",
                namespace.unwrap(),
                "patch",
                DEFINITION,
                name.unwrap(),
                "--type=merge",
                "--patch",
                none,
            ]);
        }
        gone(&["delete", "crd", DEFINITION, "--ignore-not-found", "--timeout=60s"]);
        let ours = format!("app.kubernetes.io/instance in ({RELEASE},{OTHER})");
        for kind in
            ["validatingadmissionpolicybinding", "validatingadmissionpolicy", "clusterrolebinding", "clusterrole"]
        {
            gone(&["delete", kind, "--selector", &ours, "--ignore-not-found"]);
        }
        gone(&["delete", "namespace", &self.namespace, "--ignore-not-found", "--timeout=60s"]);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Every object of the cluster: kind, namespace, name.
fn everything() -> BTreeSet<String> {
    let kinds = kubectl(&["api-resources", "--verbs=list,get", "--output", "name"]);
    let kinds: Vec<&str> =
        kinds.lines().filter(|kind| !NOISE.contains(kind) && !kind.contains("metrics.k8s.io")).collect();
    let columns = "custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name";
    let all = kubectl(&[
        "get",
        &kinds.join(","),
        "--all-namespaces",
        "--ignore-not-found",
        "--no-headers",
        "--output",
        columns,
    ]);
    all.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// What is there now and was not before, once what Helm deleted in the background has gone.
fn left(before: &BTreeSet<String>, expected: &BTreeSet<String>) {
    eventually("nothing else is left", || {
        let left: BTreeSet<String> = everything().difference(before).cloned().collect();
        if left == *expected { Ok(()) } else { Err(format!("left {left:#?}, expected {expected:#?}")) }
    });
}

/// The `--set` options by which the images of the tests are used.
fn image() -> String {
    let script = ". \"$0\" && printf '%s\\n%s' \"$RMO_IMAGE_OPERATOR\" \"$RMO_IMAGE_PULL_POLICY\"";
    let output = Command::new("bash").args(["-c", script]).arg(root().join("tests/cluster/env.sh")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (image, policy) = text.split_once('\n').unwrap();
    let (repository, tag) = match image.split_once('@') {
        Some((repository, digest)) => (repository, format!("image.digest={digest}")),
        None => match image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            Some((repository, tag)) => (repository, format!("image.tag={tag}")),
            None => (image, "image.tag=latest".to_owned()),
        },
    };
    format!("image.repository={repository},{tag},image.pullPolicy={policy}")
}

/// Stores an object as the first version left it, in the test's namespace; its spec.
fn store(place: &Place, path: &Path) -> (String, Value) {
    let stored: Value = serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let name = stored["metadata"]["name"].as_str().unwrap().to_owned();
    let object = json!({
        "apiVersion": stored["apiVersion"], "kind": stored["kind"], "spec": stored["spec"],
        "metadata": {"name": name, "namespace": place.namespace, "finalizers": stored["metadata"]["finalizers"]},
    });
    client("kubectl", &["create", "--filename", "-"], &object.to_string()).unwrap_or_else(|error| panic!("{error}"));
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
        client("kubectl", &arguments, &object.to_string()).unwrap_or_else(|error| panic!("{error}"));
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

#[test]
#[ignore = "needs the test cluster (make test-cluster)"]
fn from_the_first_version_to_this_one_and_away() {
    let place = Place::new();
    let before = everything();
    let (old, new) = (first().join("chart"), root().join("charts/redis-memory-operator"));
    let at = ["--namespace", place.namespace.as_str()];
    let acting = "acting.resize=true,acting.restart=true,acting.roleLabel=true";

    let without_pods = format!("{acting},replicas=0");
    helm(&[&["install", RELEASE, old.to_str().unwrap(), "--set", &without_pods, "--wait"], &at[..]].concat());
    let mut files: Vec<_> = fs::read_dir(first().join("objects")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let stored: Vec<(String, Value)> = files.iter().map(|path| store(&place, path)).collect();
    let specs = || -> Vec<(String, Value)> {
        place
            .policies()
            .iter()
            .map(|p| (p["metadata"]["name"].as_str().unwrap().to_owned(), p["spec"].clone()))
            .collect()
    };
    let specs_before = specs();
    assert_eq!(specs_before.len(), stored.len());

    // What a person types, with the values of before and the new chart's own for what is new.
    let with_image = format!("replicas=1,{}", image());
    let upgrade = ["upgrade", RELEASE, new.to_str().unwrap(), "--reset-then-reuse-values", "--set", &with_image];
    helm(&[&upgrade[..], &["--wait", "--timeout", "120s"], &at[..]].concat());
    let definition = json_of(&["get", "crd", DEFINITION]);
    assert_eq!(
        fields_of(&definition),
        fields_of(&serde_json::to_value(v1alpha1::crd()).unwrap()),
        "the new definition"
    );
    eventually("every policy is evaluated, and nothing old is under way", || {
        place.policies().iter().try_for_each(settled)
    });
    for ((name, old), (_, new)) in specs_before.iter().zip(specs()) {
        // Defaults of new fields appear when the object is written; what was written stays.
        for (field, value) in old.as_object().unwrap() {
            for (inner, value) in value.as_object().into_iter().flatten() {
                assert_eq!(new[field][inner], *value, "{name}: spec.{field}.{inner}");
            }
        }
    }

    let kept = [format!("CustomResourceDefinition <none> {DEFINITION}")].into_iter();
    let kept = kept.chain(stored.iter().map(|(name, _)| format!("RedisMemoryPolicy {} {name}", place.namespace)));
    helm(&[&["uninstall", RELEASE, "--wait"], &at[..]].concat());
    let kept: BTreeSet<String> = kept.collect();
    left(&before, &kept);

    // Under another name: the definition that was kept is no obstacle, is said to be another's, and stays.
    let values = format!("{acting},{}", image());
    let chart = new.to_str().unwrap();
    let said = helm(&[&["install", OTHER, chart, "--set", &values, "--wait", "--timeout", "120s"], &at[..]].concat());
    assert!(said.contains("is not of this release"), "{said}");
    eventually("the policies that were kept are evaluated", || place.policies().iter().try_for_each(settled));
    helm(&[&["upgrade", OTHER, chart, "--reuse-values", "--wait", "--timeout", "120s"], &at[..]].concat());
    helm(&[&["uninstall", OTHER, "--wait"], &at[..]].concat());
    left(&before, &kept);

    // The definition that was kept is taken over again; and without crds.keep it goes, with every policy.
    let values = format!("{acting},crds.keep=false,{}", image());
    let install = ["install", RELEASE, new.to_str().unwrap(), "--set", &values, "--wait", "--timeout", "120s"];
    helm(&[&install[..], &at[..]].concat());
    eventually("the policies that were kept are evaluated", || place.policies().iter().try_for_each(settled));
    helm(&[&["uninstall", RELEASE, "--wait"], &at[..]].concat());
    left(&before, &BTreeSet::new());
}
