//! Text for people: of a bounded width, and nothing in it that a terminal would obey.

use std::{
    fmt::Write as _,
    io::stdout,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Columns of a line: longer ones are hard to read.
const WIDTH: usize = 100;
/// Narrower than this a text in columns is no text any more, and the terminal may break its lines.
const LEAST: usize = 40;

/// Columns that a line has here: one fact of the process, as its standard output is.
static COLUMNS: AtomicUsize = AtomicUsize::new(WIDTH);

/// Decides once, before anything is printed, how wide answers for people are: no wider than the terminal that shows them.
pub(super) fn fit() {
    COLUMNS.store(width(rustix::termios::tcgetwinsize(stdout()).ok().map(|size| size.ws_col)), Ordering::Relaxed);
}

/// Of a terminal with that many columns; 0, which some say, and `None` are no terminal that tells it.
fn width(terminal: Option<u16>) -> usize {
    terminal.filter(|columns| *columns > 0).map_or(WIDTH, |columns| usize::from(columns).clamp(LEAST, WIDTH))
}

fn columns_here() -> usize {
    COLUMNS.load(Ordering::Relaxed)
}

/// One line. Control characters become spaces: texts may come from a server that we do not trust.
pub(super) fn line(out: &mut String, text: &str) {
    let _writing_to_a_string_cannot_fail = writeln!(out, "{}", clean(text).trim_end());
}

/// A text in lines of as many columns as there are here: the first begins with `first`, the others with `rest`.
pub(super) fn paragraph(out: &mut String, first: &str, rest: &str, text: &str) {
    wrapped(out, first, rest, text, columns_here());
}

fn wrapped(out: &mut String, first: &str, rest: &str, text: &str, most: usize) {
    let mut current = first.to_owned();
    let mut begun = false;
    for word in clean(text).split_whitespace() {
        let width = current.chars().count() + word.chars().count() + 1;
        if begun && width > most {
            line(out, &current);
            rest.clone_into(&mut current);
            begun = false;
        }
        if begun {
            current.push(' ');
        }
        current.push_str(word);
        begun = true;
    }
    line(out, &current);
}

/// Rows in columns that are as wide as they need be, the last one wrapped.
pub(super) fn table(out: &mut String, rows: &[Vec<String>]) {
    columns(out, rows, columns_here());
}

/// The same, each row in one line, however long.
pub(super) fn wide_table(out: &mut String, rows: &[Vec<String>]) {
    columns(out, rows, usize::MAX);
}

fn columns(out: &mut String, rows: &[Vec<String>], most: usize) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |n: usize| rows.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns.saturating_sub(1)).filter_map(width).collect();
    let indent = " ".repeat(widths.iter().map(|width| width + 2).sum());
    for row in rows {
        let mut head = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _writing_to_a_string_cannot_fail = write!(head, "{cell:<width$}  ");
        }
        let last = if row.len() == columns { row.last().map_or("", String::as_str) } else { "" };
        wrapped(out, &head, &indent, last, most);
    }
}

/// The text with a space for each character that a reader does not see and a program may obey: control characters, those
/// that turn the direction of what follows ("Trojan Source", CVE-2021-42574), and what is no character at all.
pub(super) fn clean(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let no_character = |c: char| matches!(u32::from(c) & 0xffff, 0xfffe..=0xffff) || c == '\u{feff}';
    text.chars().map(|c| if c.is_control() || turns(c) || no_character(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_words_and_indents() {
        let mut out = String::new();
        paragraph(&mut out, "a: ", "   ", &"word ".repeat(40));
        assert_eq!(out.lines().count(), 3, "{out}");
        assert!(out.lines().all(|line| line.len() <= WIDTH), "{out}");
        assert!(out.lines().skip(1).all(|line| line.starts_with("   word")), "{out}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        assert_eq!([None, Some(0)].map(width), [WIDTH; 2], "nobody says how wide it is");
        assert_eq!([Some(300), Some(80), Some(7)].map(width), [WIDTH, 80, LEAST]);
    }

    #[test]
    fn a_word_that_is_too_long_stands_alone() {
        let mut out = String::new();
        paragraph(&mut out, "", "", &format!("a {} b", "x".repeat(200)));
        assert_eq!(out.lines().count(), 3, "{out}");
    }

    #[test]
    fn a_terminal_is_told_nothing() {
        let mut out = String::new();
        paragraph(&mut out, "", "", "red \u{1b}[31m and a bell\u{7}");
        table(&mut out, &[vec!["a\u{9b}".into(), "b\r".into()]]);
        assert!(!out.chars().any(|c| c.is_control() && c != '\n'), "{out:?}");
        assert_eq!(clean("a\u{202e}b\u{2028}c\u{ffff}d\u{1fffe}é"), "a b c d é");
    }

    #[test]
    fn columns_stand_under_each_other() {
        let mut out = String::new();
        table(&mut out, &[vec!["a".into(), "b".into()], vec!["long".into(), "c".into()], vec!["alone".into()]]);
        assert_eq!(out, "a      b\nlong   c\nalone\n");
    }
}
