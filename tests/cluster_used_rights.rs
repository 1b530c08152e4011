//! Each right that the chart gives was used by the operator in the cluster tests before this one, and none was missing:
//! by the API server's own record of its requests. Its file comes after theirs by its name.
#![cfg(test)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use redis_memory_operator::kube_io::rights::{RIGHTS, Role};
use serde_json::Value;

const USER: &str = "system:serviceaccount:redis-memory-operator:redis-memory-operator";

/// The directory of the embedded cluster; `None`: the tests run on an existing one, which keeps its record to itself.
fn cluster() -> Option<PathBuf> {
    let script = ". \"$0\" && [[ $USE_EXISTING_CLUSTER != 1 ]] && printf %s \"$RMO_CLUSTER_DIR\"";
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/env.sh");
    let output = Command::new("bash").args(["-c", script]).arg(settings).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().into())
}

/// What the operator asked: `GROUP/RESOURCE VERB`, with the codes of the answers.
fn asked(cluster: &Path) -> BTreeSet<(String, u64)> {
    let mut seen = BTreeSet::new();
    // The record is cut by size, and what is older has another name beside it.
    let files = fs::read_dir(cluster).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("audit")) {
        for line in fs::read_to_string(&file).unwrap().lines().filter(|line| line.contains(USER)) {
            let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
            if entry["user"]["username"] != USER || entry["objectRef"].is_null() {
                continue;
            }
            let word = |field: &str| entry["objectRef"][field].as_str().unwrap_or_default().to_owned();
            let sub = Some(word("subresource")).filter(|sub| !sub.is_empty()).map(|sub| format!("/{sub}"));
            let right = format!("{}/{}{}", word("apiGroup"), word("resource"), sub.unwrap_or_default());
            let code = entry["responseStatus"]["code"].as_u64().unwrap_or_default();
            seen.insert((format!("{right} {}", entry["verb"].as_str().unwrap()), code));
        }
    }
    seen
}

#[test]
#[ignore = "needs the test cluster, after the other tests on it (make test-cluster)"]
fn every_right_was_used_and_none_was_missing() {
    let Some(cluster) = cluster() else {
        println!("skipped: an existing cluster keeps its audit log to itself");
        return;
    };
    let seen = asked(&cluster);
    // Scrapers of this cluster's install send no token: tests/api_kube asks by these rights.
    let granted: BTreeSet<String> = RIGHTS
        .iter()
        .filter(|right| right.role != Role::Metrics)
        .flat_map(|right| right.verbs.iter().map(|verb| format!("{}/{} {verb}", right.group, right.resource)))
        .collect();
    let used: BTreeSet<String> = seen.iter().map(|(right, _)| right.clone()).collect();
    let unused: Vec<_> = granted.difference(&used).collect();
    assert!(unused.is_empty(), "rights that no test on this cluster used: {unused:?}; used were {used:?}");
    // What was allowed at other times is refused where it should be: a Secret that a test does not let it read, an event in
    // a namespace that is going, the Lease of an install whose roles Helm has just taken away.
    let allowed: BTreeSet<&String> = seen.iter().filter(|(_, code)| *code < 400).map(|(right, _)| right).collect();
    let refused: Vec<_> = seen.iter().filter(|(right, code)| *code == 403 && !allowed.contains(right)).collect();
    assert!(refused.is_empty(), "the operator asked for what it may not: {refused:?}");
}
