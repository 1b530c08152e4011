//! The programs that tests/cluster/tools builds: each by its own name, in the version that is pinned there.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The one that `$NAME` leads to (`$HELM` for helm), else the one that the test cluster's tool set builds.
#[allow(clippy::disallowed_methods, reason = "a test's own setting")]
pub(crate) fn program(name: &str) -> PathBuf {
    let variable = name.to_uppercase();
    if let Ok(path) = std::env::var(&variable) {
        return path.into();
    }
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/tools");
    let built = Command::new(&tools).arg(name).output().unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "set {variable}; tests/cluster/tools {name}: {said}");
    String::from_utf8(built.stdout).unwrap().split_whitespace().last().unwrap().into()
}
