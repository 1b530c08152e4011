//! Running the scripts and clients of the repository.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

/// What a program said.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) success: bool,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Its output; panics when it failed.
    pub(crate) fn or_panic(self, what: &str) -> String {
        assert!(self.success, "{what} failed ({:?})\n{}\n{}", self.code, self.stdout, self.stderr);
        self.stdout
    }

    /// Its output, or what it complained about.
    pub(crate) fn into_result(self) -> Result<String, String> {
        if self.success { Ok(self.stdout) } else { Err(format!("{}{}", self.stdout, self.stderr)) }
    }
}

/// A file of the repository.
pub(crate) fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// A script of the repository.
pub(crate) fn script(relative: &str) -> Command {
    Command::new(path(relative))
}

/// Runs a program to its end, with this as its input.
pub(crate) fn run_with(mut command: Command, input: &str) -> Said {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    // Our inputs are far smaller than what a pipe holds back a reader for; a program that reads nothing is fine.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    Said {
        success: output.status.success(),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a program to its end.
pub(crate) fn run(command: Command) -> Said {
    run_with(command, "")
}

/// `kubectl` as the cluster's administrator.
pub(crate) fn kubectl(arguments: &[&str]) -> Said {
    kubectl_with(arguments, "")
}

/// The same with this as its input.
pub(crate) fn kubectl_with(arguments: &[&str], input: &str) -> Said {
    let mut command = script("tests/cluster/kubectl");
    command.args(arguments);
    run_with(command, input)
}

/// `kubectl … --output json`; panics when it fails.
pub(crate) fn get_json(arguments: &[&str]) -> Value {
    let text = kubectl(&[arguments, &["--output", "json"]].concat()).or_panic(&format!("kubectl {arguments:?}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("kubectl {arguments:?} is not JSON: {error}"))
}

/// The settings of `tests/cluster/env.sh`, which the environment may have changed.
pub(crate) fn setting(name: &str) -> String {
    static SETTINGS: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    let settings = SETTINGS.get_or_init(|| {
        let mut shell = Command::new("bash");
        shell.args(["-c", ". \"$0\" && env -0"]).arg(path("tests/cluster/env.sh"));
        let text = run(shell).or_panic("reading tests/cluster/env.sh");
        text.split('\0').filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    });
    settings.get(name).cloned().unwrap_or_default()
}
