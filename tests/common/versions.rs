//! The servers of other versions that this machine has or can fetch, and the system's own.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

/// Name and program of each; the system's `redis-server` is always among them, unless
/// others are asked for. One that cannot be had is left out: what
/// is left out is on standard error. `RMO_SERVERS="system redis-6.2"`: only those.
#[allow(clippy::disallowed_methods, reason = "a test's own setting")]
pub fn servers() -> &'static [(String, PathBuf)] {
    static SERVERS: LazyLock<Vec<(String, PathBuf)>> = LazyLock::new(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/redis-versions");
        let output = Command::new(script).stderr(Stdio::inherit()).output().expect("the script can be run");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let fetched = text.lines().filter_map(|line| line.split_once(' '));
        let fetched = fetched.map(|(name, path)| (name.to_owned(), PathBuf::from(path)));
        let only = std::env::var("RMO_SERVERS").ok();
        let is_wanted = |name: &str| only.as_ref().is_none_or(|only| only.split_whitespace().any(|one| one == name));
        let all = std::iter::once(("system".to_owned(), PathBuf::from("redis-server"))).chain(fetched);
        all.filter(|(name, _)| is_wanted(name)).collect()
    });
    &SERVERS
}
