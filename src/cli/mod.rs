//! The command line: one file a verb.

mod acl;
mod check;
pub mod crd;
mod output;
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
    /// Print the lines that give a Redis user exactly the rights that are used.
    Acl(acl::Args),
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
        Verb::Acl(args) => acl::main(&args),
    }
}
