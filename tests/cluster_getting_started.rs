//! docs/getting-started.md on a real cluster, by a new user: the commands of the page, one after the other, beside a Redis that
//! knows nothing of the operator. How long it takes is bounded, and what was printed is written to `target/getting-started`,
//! from which `scripts/getting-started` makes the page's transcript.
#![cfg(test)]
#![allow(clippy::or_fun_call, reason = "the helpers of a test are test code")]

#[allow(dead_code, reason = "the test of upgrades uses the rest")]
#[path = "cluster_upgrade/place.rs"]
mod place;
#[path = "getting_started/record.rs"]
mod record;
#[path = "getting_started/steps.rs"]
mod steps;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use place::{DEFINITION, Helm, Place, USUAL, everything, json_of, kubectl, left, root, run, setting};
use record::Record;
use steps::{FIRST_VERDICT, INSTALL, STEPS, Step};
use tempfile::TempDir;

/// From the first command of the install to the first verdict.
const VERDICT_WITHIN: Duration = Duration::from_secs(60);
/// From the first question to limits that are kept.
const POLICY_WITHIN: Duration = Duration::from_secs(300);
/// What the page calls the image. No registry is asked: the node has it by that name.
const IMAGE: &str = "registry.example/redis-memory-operator:0.1.0";

/// The image under the page's name, as if it had been pushed and pulled, while this lives.
struct Pushed;

impl Pushed {
    fn new() -> Self {
        Self::images(&format!("tag --force {} {IMAGE}", setting("RMO_IMAGE_OPERATOR"))).unwrap();
        Self
    }

    fn images(arguments: &str) -> Result<String, String> {
        let script = format!("cd \"$0\"; . env.sh; . lib/paths.sh; cri_images images {arguments}");
        let mut command = Command::new("bash");
        command.args(["-euc", &script]).arg(root().join("tests/cluster"));
        run(command, "")
    }
}

impl Drop for Pushed {
    fn drop(&mut self) {
        drop(Self::images(&format!("remove {IMAGE}")));
    }
}

/// A person's PATH: the clients of the test cluster, and the plugin where kubectl finds it.
fn path() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for client in ["kubectl", "helm"] {
        let script = format!("#!/bin/sh\nexec '{}' \"$@\"\n", root().join("tests/cluster").join(client).display());
        let file = folder.path().join(client);
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    symlink(env!("CARGO_BIN_EXE_redis-memory-operator"), folder.path().join("kubectl-redis_memory")).unwrap();
    folder
}

/// Types the command until its output is what the step waits for.
fn typed(step: &Step, path: &TempDir) -> String {
    place::within(POLICY_WITHIN, step.command, || {
        let mut shell = Command::new("bash");
        shell.args(["-c", r#"PATH=$0:$PATH; set -euo pipefail; eval "$1""#]).arg(path.path()).arg(step.command);
        shell.current_dir(root());
        let said = run(shell, "")?;
        let lacking: Vec<_> = step.has.iter().filter(|words| !said.contains(*words)).collect();
        let still: Vec<_> = step.lacks.iter().filter(|words| said.contains(*words)).collect();
        if lacking.is_empty() && still.is_empty() {
            Ok(said)
        } else {
            Err(format!("no {lacking:?}, still {still:?}:\n{said}"))
        }
    })
}

/// The memory limits that the kubelet has set, in the text of the API server.
fn limits() -> BTreeSet<String> {
    let pods = json_of(&["--namespace", "shop", "get", "pods", "--selector", "app=redis"]);
    let limit = |pod: &serde_json::Value| {
        pod["status"]["containerStatuses"][0]["resources"]["limits"]["memory"].as_str().unwrap().to_owned()
    };
    pods["items"].as_array().unwrap().iter().map(limit).collect()
}

#[test]
#[ignore = "needs the test cluster (make test-cluster); only with RMO_LONG=1"]
#[allow(clippy::disallowed_methods, reason = "it measures real time")]
fn a_new_user_follows_the_page() {
    if !place::is_long() {
        println!("skipped: only with RMO_LONG=1, for it waits until the operator has asked for its rights again");
        return;
    }
    if setting("USE_EXISTING_CLUSTER") == "1" {
        println!("skipped: an existing cluster pulls no image from registry.example");
        return;
    }
    let place = Place::new(Helm::Four, &["shop"]);
    let _pushed = Pushed::new();
    let path = path();
    let before = everything();
    let mut render = Command::new(root().join("tests/manifests/render"));
    render.arg("../getting_started/shop.yaml");
    let shop = run(render, "").unwrap();
    place::try_kubectl(&["apply", "--filename", "-"], &shop).unwrap();
    kubectl(&["--namespace", "shop", "rollout", "status", "statefulset/sessions", "--timeout=120s"]);
    assert_eq!(limits(), BTreeSet::from(["256Mi".to_owned()]));

    let mut record = Record::default();
    let mut times = Vec::new();
    let begun = Instant::now();
    for step in &STEPS {
        assert!(!step.printed || record.has_printed(step.command), "nothing before has printed `{}`", step.command);
        times.push(begun.elapsed());
        let said = typed(step, &path);
        println!("{:>5.1} s  {}", begun.elapsed().as_secs_f64(), step.command);
        record.add(step.command, &said);
    }
    times.push(begun.elapsed());
    let (verdict, policy) = (times[FIRST_VERDICT + 1].saturating_sub(times[INSTALL]), begun.elapsed());
    println!("helm install to the first verdict: {verdict:.1?}; doctor to limits that are kept: {policy:.1?}");
    assert!(verdict < VERDICT_WITHIN && policy < POLICY_WITHIN, "{verdict:?}, {policy:?}: {times:?}");
    let limits = limits();
    assert!(!limits.contains("256Mi"), "the limits were not raised: {limits:?}");

    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../getting-started");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("recorded.txt"), record.text()).unwrap();

    // What the page says of the end: the definition and the policies stay, and nothing else of the release.
    Helm::Four.run(&["uninstall", "redis-memory-operator", "-n", USUAL]);
    kubectl(&["delete", "namespace", USUAL, "--timeout=60s"]);
    kubectl(&["--namespace", "shop", "delete", "statefulset,service", "sessions"]);
    let kept = [format!("CustomResourceDefinition <none> {DEFINITION}"), "RedisMemoryPolicy shop sessions".to_owned()];
    let kept: BTreeSet<String> = kept.into_iter().chain(of_a_namespace("shop")).collect();
    left(&before, &kept);
    drop(place);
}

/// What every namespace has, and itself.
fn of_a_namespace(name: &str) -> [String; 3] {
    [
        format!("ConfigMap {name} kube-root-ca.crt"),
        format!("Namespace <none> {name}"),
        format!("ServiceAccount {name} default"),
    ]
}
