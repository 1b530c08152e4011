//! A namespace in which the operator is installed and removed, and what is left in the cluster then. The definition is one for
//! the whole cluster, so of these there is one at a time.

#[path = "../common/long.rs"]
mod long;

use std::{
    collections::BTreeSet,
    io::Write as _,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

pub(crate) use long::is_long;
use serde_json::Value;

pub(crate) const RELEASE: &str = "rmo-upgrade";
/// Another name, under which somebody installs it again.
pub(crate) const OTHER: &str = "rmo-other";
/// Release and namespace as the pages name them.
pub(crate) const USUAL: &str = "redis-memory-operator";
pub(crate) const DEFINITION: &str = "redismemorypolicies.redismemory.io";
/// Kinds that come and go without us, or that are only views of others.
const NOISE: [&str; 5] =
    ["events", "events.events.k8s.io", "componentstatuses", "endpoints", "apiservices.apiregistration.k8s.io"];
/// How long the cluster may take for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// Held by the test that installs and removes.
static ALONE: Mutex<()> = Mutex::new(());

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A setting of `tests/cluster/env.sh`, which the environment may have changed.
pub(crate) fn setting(name: &str) -> String {
    let script = format!(". \"$0\" && printf %s \"${{{name}:-}}\"");
    let output = Command::new("bash").args(["-c", &script]).arg(root().join("tests/cluster/env.sh")).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Which Helm installs: the one of every day, or the one before it.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "one of the tests knows one Helm")]
pub(crate) enum Helm {
    Four,
    Three,
}

impl Helm {
    fn command(self) -> Command {
        let scripts = root().join("tests/cluster");
        if matches!(self, Self::Four) {
            return Command::new(scripts.join("helm"));
        }
        let built = Command::new(scripts.join("tools")).arg("helm3").output().unwrap();
        assert!(built.status.success(), "tests/cluster/tools helm3: {}", String::from_utf8_lossy(&built.stderr));
        let built = String::from_utf8(built.stdout).unwrap();
        let path = PathBuf::from(built.split_whitespace().last().unwrap());
        if setting("USE_EXISTING_CLUSTER") == "1" {
            return Command::new(path);
        }
        let mut command = Command::new(scripts.join("in-netns"));
        command.arg(path);
        command
    }

    /// Runs it: what it said, or what it complained about.
    pub(crate) fn try_run(self, arguments: &[&str]) -> Result<String, String> {
        let mut command = self.command();
        command.args(arguments);
        run(command, "")
    }

    /// Runs it; panics when it fails.
    pub(crate) fn run(self, arguments: &[&str]) -> String {
        self.try_run(arguments).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Runs a program with this on its standard input: what it said, or what it complained about.
pub(crate) fn run(mut command: Command, input: &str) -> Result<String, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // Our inputs are small; a program that reads nothing is fine.
    let _read = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{command:?}: {}{}", text(&output.stdout), text(&output.stderr)))
    }
}

/// `kubectl` with this on its standard input.
pub(crate) fn try_kubectl(arguments: &[&str], input: &str) -> Result<String, String> {
    let mut command = Command::new(root().join("tests/cluster/kubectl"));
    command.args(arguments);
    run(command, input)
}

pub(crate) fn kubectl(arguments: &[&str]) -> String {
    try_kubectl(arguments, "").unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn json_of(arguments: &[&str]) -> Value {
    let text = kubectl(&[arguments, &["--output", "json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
}

pub(crate) fn eventually<T>(what: &str, look: impl FnMut() -> Result<T, String>) -> T {
    within(PATIENCE, what, look)
}

#[allow(clippy::disallowed_methods, reason = "tests wait in real time")]
pub(crate) fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match look() {
            Ok(seen) => return seen,
            Err(obstacle) if begun.elapsed() > patience => panic!("gave up on: {what}\n  last seen: {obstacle}"),
            Err(_) => thread::sleep(Duration::from_millis(300)),
        }
    }
}

/// A namespace for the release; it and all that an install could have left go when the test ends.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    /// More namespaces that the test makes.
    more: &'static [&'static str],
    helm: Helm,
    _alone: MutexGuard<'static, ()>,
}

impl Place {
    /// A new one, in a cluster without any install. `more`: namespaces that the test makes besides.
    pub(crate) fn new(helm: Helm, more: &'static [&'static str]) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let place = Self { namespace: format!("rmo-upgrade-{}", process::id()), more, helm, _alone: alone };
        // Other releases own the definition, and Helm shares none.
        place.clear();
        kubectl(&["create", "namespace", &place.namespace]);
        eventually("what every namespace gets", || {
            let found = place.kubectl(&["get", "configmap/kube-root-ca.crt", "serviceaccount/default"]);
            found.map(drop)
        });
        place
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        try_kubectl(&[&["--namespace", self.namespace.as_str()], arguments].concat(), "")
    }

    pub(crate) fn policies(&self) -> Vec<Value> {
        let all = json_of(&["--namespace", &self.namespace, "get", DEFINITION]);
        all["items"].as_array().cloned().unwrap_or_default()
    }

    fn clear(&self) {
        let gone = |arguments: &[&str]| drop(try_kubectl(arguments, ""));
        for (release, namespace) in [(RELEASE, self.namespace.as_str()), (OTHER, &self.namespace), (USUAL, USUAL)] {
            drop(self.helm.try_run(&["uninstall", release, "--namespace", namespace, "--wait"]));
        }
        // A finalizer without an operator would keep a policy, and with it the definition, for ever.
        for policy in try_kubectl(&["get", DEFINITION, "--all-namespaces", "--output", "json"], "")
            .ok()
            .and_then(|text| serde_json::from_str::<Value>(&text).ok())
            .and_then(|all| all["items"].as_array().cloned())
            .into_iter()
            .flatten()
        {
            let word = |field: &str| policy["metadata"][field].as_str().unwrap().to_owned();
            let (namespace, name) = (word("namespace"), word("name"));
            let none = r#"{"metadata":{"finalizers":null}}"#;
            gone(&["--namespace", &namespace, "patch", DEFINITION, &name, "--type=merge", "--patch", none]);
        }
        gone(&["delete", "crd", DEFINITION, "--ignore-not-found", "--timeout=60s"]);
        let ours = format!("app.kubernetes.io/instance in ({RELEASE},{OTHER},{USUAL})");
        for kind in
            ["validatingadmissionpolicybinding", "validatingadmissionpolicy", "clusterrolebinding", "clusterrole"]
        {
            gone(&["delete", kind, "--selector", &ours, "--ignore-not-found"]);
        }
        for namespace in [self.namespace.as_str(), USUAL].iter().chain(self.more) {
            gone(&["delete", "namespace", namespace, "--ignore-not-found", "--timeout=60s"]);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Every object of the cluster: kind, namespace, name.
pub(crate) fn everything() -> BTreeSet<String> {
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
pub(crate) fn left(before: &BTreeSet<String>, expected: &BTreeSet<String>) {
    eventually("nothing else is left", || {
        let left: BTreeSet<String> = everything().difference(before).cloned().collect();
        if left == *expected { Ok(()) } else { Err(format!("left {left:#?}, expected {expected:#?}")) }
    });
}

/// Repository of the tests' image of the operator, and its tag or digest.
pub(crate) fn image() -> (String, Version) {
    let image = setting("RMO_IMAGE_OPERATOR");
    if let Some((repository, digest)) = image.split_once('@') {
        return (repository.to_owned(), Version::Digest(digest.to_owned()));
    }
    let tagged = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
    let (repository, tag) = tagged.unwrap_or((&image, "latest"));
    (repository.to_owned(), Version::Tag(tag.to_owned()))
}

/// Which image of a repository.
#[derive(Clone, Debug)]
pub(crate) enum Version {
    Tag(String),
    Digest(String),
}
