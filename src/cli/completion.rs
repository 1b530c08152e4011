//! `completion`: what a shell completes. kubectl completes its plugins by a program of its own name, which is this one too.

use std::{ffi::OsString, fmt::Write as _, process::ExitCode};

use clap_complete::{
    aot::{self, generate},
    engine,
};

use super::output;

/// The name by which kubectl asks for what completes `kubectl redis-memory …`.
pub(super) const FOR_KUBECTL: &str = "kubectl_complete-redis_memory";
/// Cobra's word for "and no names of files": kubectl reads it in the last line.
const NO_FILES: &str = ":4";

/// Arguments of `completion`.
#[derive(Debug, clap::Args)]
#[command(after_help = "bash:     source <(redis-memory-operator completion bash)
zsh:      redis-memory-operator completion zsh > \"${fpath[1]}/_redis-memory-operator\"
fish:     redis-memory-operator completion fish > ~/.config/fish/completions/redis-memory-operator.fish

kubectl:  kubectl completes `kubectl redis-memory …` itself, where it finds this program on the PATH under the name
          kubectl_complete-redis_memory too:
          ln -s \"$(command -v kubectl-redis_memory)\" /usr/local/bin/kubectl_complete-redis_memory")]
pub(super) struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Shells that are completed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Shell {
    /// GNU bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// Prints the script for the program of that name.
pub(super) fn main(args: &Args, mut command: clap::Command, called: &str) -> ExitCode {
    let shell = match args.shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut command, called, &mut script);
    output::answer(&String::from_utf8_lossy(&script)).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

/// Answers kubectl: one candidate a line, with a tab before what it means. The last word is the one that is being written.
pub(super) fn for_kubectl(mut command: clap::Command, arguments: Vec<OsString>) -> ExitCode {
    let last = arguments.len().saturating_sub(1);
    let found = engine::complete(&mut command, arguments, last, None);
    let mut text = String::new();
    for candidate in found.unwrap_or_default().into_iter().filter(|candidate| !candidate.is_hide_set()) {
        let meaning = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        let meaning = meaning.lines().next().map(|line| format!("\t{line}")).unwrap_or_default();
        let _writing_to_a_string_cannot_fail = writeln!(text, "{}{meaning}", candidate.get_value().to_string_lossy());
    }
    text.push_str(NO_FILES);
    text.push('\n');
    output::answer(&text).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
