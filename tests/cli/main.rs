//! The command line as a person or a pipeline uses it, through the binary: offline from snapshot files, and against a
//! stand-in for the API server. What a real one says is in `api_cli.rs`, real Redis servers are in `redis_cli.rs`.
#![cfg(test)]
#![allow(clippy::or_fun_call, unreachable_pub, reason = "the helpers of a test are test code")]

mod asking;
mod completion;
mod doctor;
mod fake_api;
mod flags;
mod lint;
mod lists;
mod live;
mod offline;
mod prevention;
mod report;
#[path = "../scenario/mod.rs"]
mod scenario;
mod version;

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

/// The exit code, standard output and standard error of one run.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_redis-memory-operator"))
}

/// A command that sees nothing of the machine's own Kubernetes configuration.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("KUBECONFIG", "/nonexistent/kubeconfig").env_remove("KUBERNETES_SERVICE_HOST");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn finish(mut command: Command, input: &str) -> Ran {
    let mut child = command.spawn().expect("the binary can be run");
    // A program that reads nothing closes its end.
    let _read = child.stdin.take().expect("it has an input").write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("what we print is UTF-8");
    Ran { code: status.code().expect("it ends by itself"), out: text(stdout), err: text(stderr) }
}

fn run(arguments: &[&str], input: &str) -> Ran {
    let mut command = command(binary());
    command.args(arguments);
    finish(command, input)
}
