//! The command line: one file a verb.

mod check;
pub mod crd;
mod run;
mod yaml;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Keeps the memory of Redis pods on Kubernetes healthy.
#[derive(Debug, Parser)]
#[command(name = "redis-memory-operator", version, about)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the operator in a cluster.
    Run(run::Args),
    /// Print the CustomResourceDefinition as YAML.
    Crd(crd::Args),
    /// Look once at one Redis, without a cluster: numbers, findings, exit code.
    Check(check::Args),
}

/// Parses the command line and runs the verb.
pub fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Run(args) => run::main(&args),
        Verb::Crd(args) => crd::main(&args),
        Verb::Check(args) => check::main(&args),
    }
}
