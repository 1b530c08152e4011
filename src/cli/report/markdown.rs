//! A report as Markdown: for an issue, a wiki, a mail. Pure.

use std::fmt::Write as _;

use super::{
    escape::markdown,
    page::{self, Block, Cell, Column, Kind, Table},
    value::Report,
};
use crate::cli::parts;

/// The whole report.
pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    for block in page::of(report) {
        if !out.is_empty() && !matches!(block, Block::History(_) | Block::TimeLine { .. }) {
            out.push('\n');
        }
        render_block(&mut out, &block);
    }
    out
}

fn line(out: &mut String, text: &str) {
    let _writing_to_a_string_cannot_fail = writeln!(out, "{text}");
}

fn render_block(out: &mut String, block: &Block<'_>) {
    match block {
        Block::Title(text) => line(out, &format!("# {}", markdown(text))),
        Block::Heading { level, text, .. } => {
            line(out, &format!("{} {}", "#".repeat(usize::from(*level)), markdown(text)));
        }
        Block::Text(text) => line(out, &markdown(text)),
        Block::Note(text) => line(out, &format!("> Note: {}", markdown(text))),
        Block::Verdict { level, sentence } => {
            let (what, parts) = parts::of(sentence);
            line(out, &format!("**{}** {}", markdown(level), markdown(what)));
            if !parts.is_empty() {
                out.push('\n');
            }
            for (name, text) in parts {
                for (n, step) in parts::steps(text).into_iter().enumerate() {
                    let first = if n == 0 { format!("- {}: ", markdown(name)) } else { "  - ".to_owned() };
                    line(out, &format!("{first}{}", markdown(step.trim_end())));
                }
            }
        }
        Block::Facts(facts) => {
            for (name, value) in facts {
                line(out, &format!("- {}: {}", markdown(name), markdown(value)));
            }
        }
        Block::Table(table) => render_table(out, table),
        // What they show stands in the tables.
        Block::History(_) | Block::TimeLine { .. } => {}
    }
}

fn render_table(out: &mut String, table: &Table<'_>) {
    let shown: Vec<(usize, &Column)> = table.head.iter().enumerate().filter(|(_, it)| it.1 != Kind::Picture).collect();
    let row = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    line(out, &row(shown.iter().map(|(_, column)| markdown(column.0)).collect()));
    line(out, &row(shown.iter().map(|(_, column)| rule(column.1).to_owned()).collect()));
    for cells in &table.rows {
        line(out, &row(shown.iter().map(|(n, _)| cells.get(*n).map_or_else(String::new, cell)).collect()));
    }
}

const fn rule(kind: Kind) -> &'static str {
    match kind {
        Kind::Number => "---:",
        Kind::Text | Kind::When | Kind::Picture => "---",
    }
}

fn cell(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Text(text) | Cell::Link { text, .. } => markdown(text),
        Cell::Level(text) => format!("**{}**", markdown(text)),
        Cell::Bar { .. } => String::new(),
    }
}
