//! The command line: one file a verb.

mod check;
mod cluster;
pub mod crd;
mod judgement;
mod layout;
mod output;
mod plan;
mod run;
pub mod snapshot_file;
mod status;
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
    /// What would be done about a snapshot, and what is in the way. Offline.
    Plan(plan::Args),
    /// What the operator says of its policies, once or as it changes.
    Status(status::Args),
}

/// How an answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
}

/// Parses the command line and runs the verb.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Not clap's own exit code: 2 is what `check` says of a Critical finding.
        Err(error) if error.use_stderr() => {
            return output::failure(error.render().to_string().trim_end(), check::COULD_NOT_LOOK);
        }
        Err(help) => {
            return output::answer(&help.render().to_string()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
    };
    match cli.verb {
        Verb::Run(args) => run::main(&args),
        Verb::Crd(args) => crd::main(&args),
        Verb::Check(args) => check::main(&args),
        Verb::Plan(args) => plan::main(&args),
        Verb::Status(args) => status::main(&args),
    }
}
