//! The command line: one file a verb.

mod ack;
mod acl;
mod admission;
mod approve;
mod ask;
mod change;
mod check;
mod cluster;
mod colour;
mod completion;
pub mod crd;
mod doctor;
mod explain;
mod files;
mod found;
mod history;
mod judgement;
mod layout;
mod leading;
mod lint;
mod list;
mod live;
mod output;
mod parts;
mod plan;
mod recommend;
mod report;
mod run;
pub mod snapshot_file;
mod status;
mod steps;
mod suspend;
mod top;
mod version;
mod yaml;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

/// Keeps the memory of Redis pods on Kubernetes healthy.
#[derive(Debug, Parser)]
#[command(
    name = "redis-memory-operator",
    version,
    about,
    after_help = "Flags may stand before or after the verb. `VERB --help` has all flags of a verb, and its exit codes."
)]
struct Cli {
    /// Colour the words that say how bad something is, in answers for people. auto: on a terminal, unless NO_COLOR is set
    /// or TERM is dumb.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = colour::When::Auto, global = true)]
    color: colour::When,
    // For the help: `leading` puts them behind the verb, and each verb that asks a cluster takes them there.
    #[allow(dead_code, reason = "the verb has them")]
    #[command(flatten)]
    cluster: cluster::ClusterArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the operator in a cluster.
    Run(run::Args),
    /// Print the CustomResourceDefinition as YAML.
    Crd(crd::Args),
    /// Look once at a Redis, without a cluster: numbers, findings, exit code.
    Check(check::Args),
    /// Which Redis sets a namespace has, how each works, and the policy that fits: where to begin.
    Doctor(doctor::Args),
    /// What would be done and what is in the way: offline from a snapshot, or of the cluster as it is now.
    Plan(plan::Args),
    /// What the operator says of its policies, once or as it changes.
    Status(status::Args),
    /// How the last remediations of each set ended.
    History(history::Args),
    /// Where memory is wasted, the most first: by policy, or with --live each pod, asked now.
    Top(top::Args),
    /// Every number of one pod, and why something or nothing is done about it.
    Explain(explain::Args),
    /// One document about a namespace or the whole cluster: HTML, Markdown or JSON.
    Report(report::Args),
    /// Ask the operator to restart a pod, or all pods of a set, by its usual gates, order and proof.
    Restart(ask::RestartArgs),
    /// Ask the operator to make another replica the primary, by its usual gates and exchange.
    Switchover(ask::SwitchoverArgs),
    /// Approve the plan of a policy that asks for it, by its hash; without one, show what there is to approve.
    Approve(approve::Args),
    /// Begin nothing new that disturbs for a policy (spec.suspend); what is under way ends at its next safe point.
    Suspend(suspend::SuspendArgs),
    /// Stop the remediation under way at its next safe point and begin nothing new, without a change of the spec.
    Stop(suspend::StopArgs),
    /// Take back what `suspend` or `stop` has set: what is due is begun again.
    Resume(suspend::ResumeArgs),
    /// Take note of kills by the kernel: they leave the status.
    Ack(ack::Args),
    /// Judge manifests, rendered charts and values before they are deployed, without a cluster.
    Lint(lint::Args),
    /// What to write down for a Redis of that memory: redis.conf, resources, the node, and the arithmetic.
    Recommend(recommend::Args),
    /// Print a ValidatingAdmissionPolicy that refuses Redis workloads whose limit is too small for their maxmemory.
    Admission(admission::Args),
    /// Print what completes the command line in a shell.
    Completion(completion::Args),
    /// Which version this program, the API server, the definition and the operator have.
    Version(version::Args),
    /// Print the lines that give a Redis user exactly the rights that are used.
    Acl(acl::Args),
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

/// The name by which kubectl finds the program: `kubectl redis-memory`.
const PLUGIN: &str = "kubectl-redis_memory";

/// The command line, under the name that the program was called by.
fn command(called: &Path) -> clap::Command {
    let command = Cli::command();
    if called.file_stem().is_none_or(|name| name != PLUGIN) {
        return command;
    }
    // What is of no use to a person at a terminal is not in the way there.
    let name = "kubectl redis-memory";
    let hidden = |verb: clap::Command| verb.hide(true);
    command.name(name).bin_name(name).mut_subcommand("run", hidden).mut_subcommand("crd", hidden)
}

/// Parses the command line and runs the verb.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let called = arguments.first().map(PathBuf::from).unwrap_or_default();
    let name = called.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name == completion::FOR_KUBECTL {
        return completion::for_kubectl(command(Path::new(PLUGIN)), arguments);
    }
    let program = command(&called);
    let arguments = leading::behind_the_verb(&program, arguments);
    let parsed = program.clone().try_get_matches_from(arguments).and_then(|found| Cli::from_arg_matches(&found));
    let cli = match parsed {
        Ok(cli) => cli,
        // Not clap's own exit code: 2 is what `check` says of a Critical finding.
        Err(error) if error.use_stderr() => {
            return output::failure(error.render().to_string().trim_end(), check::COULD_NOT_LOOK);
        }
        Err(help) => {
            return output::answer(&help.render().to_string()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
    };
    output::colour(cli.color);
    layout::fit();
    match cli.verb {
        Verb::Run(args) => run::main(&args),
        Verb::Crd(args) => crd::main(&args),
        Verb::Check(args) => check::main(&args),
        Verb::Doctor(args) => doctor::main(&args),
        Verb::Plan(args) => plan::main(&args),
        Verb::Status(args) => status::main(&args),
        Verb::History(args) => history::main(&args),
        Verb::Top(args) => top::main(&args),
        Verb::Explain(args) => explain::main(&args),
        Verb::Report(args) => report::main(&args),
        Verb::Restart(args) => ask::restart(&args),
        Verb::Switchover(args) => ask::switchover(&args),
        Verb::Approve(args) => approve::main(&args),
        Verb::Suspend(args) => suspend::suspend(&args),
        Verb::Stop(args) => suspend::stop(&args),
        Verb::Resume(args) => suspend::resume(&args),
        Verb::Ack(args) => ack::main(&args),
        Verb::Lint(args) => lint::main(&args),
        Verb::Recommend(args) => recommend::main(&args),
        Verb::Admission(args) => admission::main(&args),
        Verb::Completion(args) => completion::main(&args, program, &name),
        Verb::Version(args) => version::main(&args),
        Verb::Acl(args) => acl::main(&args),
    }
}
