//! Colour for people at a terminal: of the words that say how bad something is, and of nothing else.

use std::{
    env,
    ffi::OsStr,
    io::{IsTerminal as _, stdout},
};

/// When words are coloured; `Auto`: on a terminal, unless NO_COLOR is set or TERM is dumb.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum When {
    Auto,
    Always,
    Never,
}

impl When {
    /// Whether what goes to standard output is coloured.
    pub(super) fn holds(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            // No settings of ours: every program that colours reads these two (no-color.org).
            Self::Auto => {
                wanted(stdout().is_terminal(), env::var_os("NO_COLOR").as_deref(), env::var_os("TERM").as_deref())
            }
        }
    }
}

fn wanted(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty) && term.is_none_or(|term| term != "dumb")
}

/// The colour of a word, as ECMA-48 numbers it.
fn of(word: &str) -> Option<&'static str> {
    match word {
        "ActNow" | "Critical" | "TimedOut" | "Ineffective" | "ConfigDrift" | "SwitchoverFailed"
        | "LabelDidNotFollow" | "PersistFailed" => Some("31"),
        "Plan" | "Warning" | "Suspended" => Some("33"),
        "Fine" | "Succeeded" => Some("32"),
        "Unknown" => Some("36"),
        _ => None,
    }
}

/// The text with those words coloured that stand in a column of their own: columns have two spaces between them, and
/// sentences have one.
pub(super) fn painted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while !rest.is_empty() {
            let column = rest.find("  ").map_or(rest.len(), |at| if at == 0 { gap(rest) } else { at });
            let (now, then) = rest.split_at(column);
            match of(now.trim_end()) {
                Some(colour) => {
                    let word = now.trim_end();
                    let end = now.get(word.len()..).unwrap_or_default();
                    out.extend(["\u{1b}[", colour, "m", word, "\u{1b}[0m", end]);
                }
                None => out.push_str(now),
            }
            rest = then;
        }
    }
    out
}

/// Bytes of the spaces that a text begins with.
fn gap(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::a_column("sessions  Plan  Enforce\n", "sessions  \u{1b}[33mPlan\u{1b}[0m  Enforce\n")]
    #[case::the_first("ActNow    OomKilled\n", "\u{1b}[31mActNow\u{1b}[0m    OomKilled\n")]
    #[case::the_last("a  Fine\nb  Unknown", "a  \u{1b}[32mFine\u{1b}[0m\nb  \u{1b}[36mUnknown\u{1b}[0m")]
    #[case::indented("  Warning  x\n", "  \u{1b}[33mWarning\u{1b}[0m  x\n")]
    #[case::a_sentence("Plan is due, Fine otherwise\n", "Plan is due, Fine otherwise\n")]
    #[case::spaces("   \n\n", "   \n\n")]
    fn words_in_their_own_column_are_coloured(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(painted(text), expected);
    }

    #[rstest]
    #[case::terminal(true, None, Some("xterm"), true)]
    #[case::empty_is_not_set(true, Some(""), None, true)]
    #[case::refused(true, Some("1"), Some("xterm"), false)]
    #[case::dumb(true, None, Some("dumb"), false)]
    #[case::a_file(false, None, Some("xterm"), false)]
    fn only_who_sees_it_gets_it(
        #[case] terminal: bool,
        #[case] no_color: Option<&str>,
        #[case] term: Option<&str>,
        #[case] expected: bool,
    ) {
        assert_eq!(wanted(terminal, no_color.map(OsStr::new), term.map(OsStr::new)), expected);
    }
}
