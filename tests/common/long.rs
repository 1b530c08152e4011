//! Whether a run is the long one, and what an everyday run takes of what is too long to be run whole.

#![allow(unreachable_pub, dead_code, reason = "each test file uses its own part, some through `common`")]

use std::process::Command;

/// `RMO_LONG=1`: what is too long for every day is wanted, too.
#[allow(clippy::disallowed_methods, reason = "a test's own setting")]
pub fn is_long() -> bool {
    std::env::var("RMO_LONG").is_ok_and(|value| value == "1")
}

/// The commit that is tested, in short; empty outside of a checkout.
#[allow(clippy::disallowed_methods, reason = "a test asks git")]
pub fn commit() -> String {
    let asked =
        Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short=12", "HEAD"]).output();
    asked.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default()
}

/// Those that an everyday run of that commit takes: `take` names that follow each other, from a place that its hash gives, so that
/// every commit takes others.
pub fn by_commit<'a>(commit: &str, names: &[&'a str], take: usize) -> Vec<&'a str> {
    let hash = u64::from_str_radix(commit, 16).unwrap_or(0);
    let count = u64::try_from(names.len()).unwrap_or(u64::MAX).max(1);
    let first = usize::try_from(hash % count).unwrap_or(0);
    names.iter().cycle().skip(first).take(take.min(names.len())).copied().collect()
}
