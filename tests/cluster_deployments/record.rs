//! What a run has seen, for docs/deployments.md: one small file a deployment below `target/deployments`.

use std::{fs, path::Path};

use serde_json::Value;

use super::deployments::Deployment;

/// Writes the record of a run, and prints it.
pub(crate) fn write(of: &Deployment, record: &Value) {
    // Cargo's own directory for what tests write is below the target directory.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let directory = target.join("deployments");
    fs::create_dir_all(&directory).unwrap();
    let text = serde_json::to_string_pretty(record).unwrap();
    println!("{}: {text}", of.name);
    fs::write(directory.join(format!("{}.json", of.name)), text + "\n").unwrap();
}
