//! Flags that stand before the verb: each is read as if it followed it, by the verb that takes it.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
};

use clap::{Arg, Command};

/// The arguments (the first is the program) with the flags before the verb put behind it. A flag that no verb has is left
/// where it is: the parser says what is wrong with it.
pub(super) fn behind_the_verb(command: &Command, arguments: Vec<OsString>) -> Vec<OsString> {
    let mut at = 1;
    while let Some(word) = arguments.get(at).filter(|word| is_flag(word)) {
        let Some(takes_next) = takes_next(command, word) else { return arguments };
        at += 1 + usize::from(takes_next);
    }
    let Some(verb) = arguments.get(at) else { return arguments };
    let (program, leading) = (arguments.iter().take(1), arguments.get(1..at).unwrap_or_default());
    let rest = arguments.get(at + 1..).unwrap_or_default();
    program.chain([verb]).chain(leading).chain(rest).cloned().collect()
}

fn is_flag(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-") && word.len() > 1
}

/// Whether the value of that flag is the next word; `None`: no verb has such a flag, or it takes a value in one and none in
/// another, so that it can only be read behind its verb.
fn takes_next(command: &Command, word: &OsStr) -> Option<bool> {
    let word = word.to_str()?;
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        let takes = agreed(flags(command).filter(|arg| arg.get_long() == Some(name)))?;
        return Some(takes && value.is_none());
    }
    let mut letters = word.chars().skip(1);
    let (first, more) = (letters.next()?, letters.next().is_some());
    let takes = agreed(flags(command).filter(|arg| arg.get_short() == Some(first)))?;
    // -nshop has its value; -wA is two flags without one.
    Some(takes && !more)
}

/// Whether all of these take a value, or none does.
fn agreed<'a>(flags: impl Iterator<Item = &'a Arg>) -> Option<bool> {
    let takes: BTreeSet<bool> = flags.map(|arg| arg.get_action().takes_values()).collect();
    takes.first().copied().filter(|_| takes.len() == 1)
}

/// The flags of the program and of every verb.
fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().chain(command.get_subcommands().flat_map(Command::get_arguments))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use rstest::rstest;

    use super::*;
    use crate::cli::Cli;

    #[rstest]
    #[case::verb_first("p status -n shop", "p status -n shop")]
    #[case::value("p -n shop status -w", "p status -n shop -w")]
    #[case::equals("p --context=a --as jane status", "p status --context=a --as jane")]
    #[case::joined("p -nshop -A status sessions", "p status -nshop -A sessions")]
    #[case::of_one_verb("p --dry-run --reason x restart redis", "p restart --dry-run --reason x redis")]
    #[case::help("p --help", "p --help")]
    #[case::help_after("p -n shop --help", "p -n shop --help")]
    #[case::unknown("p --wrong status", "p --wrong status")]
    #[case::of_two_meanings("p --file x plan", "p --file x plan")]
    #[case::short_and_clear("p -f x plan", "p plan -f x")]
    #[case::no_verb("p -n shop", "p -n shop")]
    #[case::no_value("p -n", "p -n")]
    #[case::nothing("p", "p")]
    #[case::a_dash_is_a_name("p - status", "p - status")]
    fn flags_move_behind_the_verb(#[case] given: &str, #[case] expected: &str) {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(behind_the_verb(&Cli::command(), words(given)), words(expected));
    }

    /// Before the verb is known, a flag must take a value in every verb that has it, or in none.
    #[test]
    fn a_flag_means_the_same_in_every_verb() {
        let command = Cli::command();
        let names: BTreeSet<&str> = flags(&command).filter_map(Arg::get_long).collect();
        let differing: Vec<&str> =
            names.iter().copied().filter(|name| takes_next(&command, format!("--{name}").as_ref()).is_none()).collect();
        // Of `acl` the form of a file, of `plan` and `explain` a file.
        assert_eq!(differing, ["file"]);
        assert!(names.len() > 40, "{names:?}");
        let short: BTreeSet<char> = flags(&command).filter_map(Arg::get_short).collect();
        assert!(short.iter().all(|name| takes_next(&command, format!("-{name}").as_ref()).is_some()), "{short:?}");
    }
}
