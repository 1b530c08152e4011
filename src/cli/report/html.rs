//! A report as one HTML file: no script, nothing from elsewhere, for screen readers, the dark and paper. Well-formed as XML
//! too, so that a strict parser can be asked whether it is whole. Pure.

mod chart;
pub(super) mod style;

use std::fmt::Write as _;

use self::chart::Ids;
use super::{
    escape::html,
    page::{self, Block, Cell, Column, Kind, Table},
    value::Report,
};
use crate::cli::parts;

/// Even if something got through that is no text, nothing of it would be loaded or run.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The whole report.
pub(super) fn render(report: &Report) -> String {
    let mut out = String::with_capacity(64 << 10);
    let title = html(&format!("Redis memory: {}", report.scope));
    put(&mut out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n");
    put(&mut out, &format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{}\"/>\n", html(POLICY)));
    put(&mut out, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n");
    put(
        &mut out,
        "<meta name=\"color-scheme\" content=\"light dark\"/>\n<meta name=\"robots\" content=\"noindex\"/>\n",
    );
    put(&mut out, &format!("<title>{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n", style::css()));
    put(&mut out, "<a class=\"skip\" href=\"#report\">To the report</a>\n");
    put(&mut out, chart::PATTERNS);
    put(&mut out, "<main id=\"report\">\n");
    let mut ids = Ids::default();
    for block in page::of(report) {
        render_block(&mut out, &mut ids, &block);
    }
    put(&mut out, "</main>\n</body>\n</html>\n");
    out
}

fn put(out: &mut String, text: &str) {
    out.push_str(text);
}

fn element(out: &mut String, name: &str, class: &str, text: &str) {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    let _writing_to_a_string_cannot_fail = writeln!(out, "<{name}{class}>{}</{name}>", html(text));
}

fn render_block(out: &mut String, ids: &mut Ids, block: &Block<'_>) {
    match block {
        Block::Title(text) => element(out, "h1", "", text),
        Block::Heading { level, text, id } => {
            let _writing_to_a_string_cannot_fail =
                writeln!(out, "<h{level} id=\"{}\">{}</h{level}>", html(id), html(text));
        }
        Block::Text(text) => element(out, "p", "", text),
        Block::Note(text) => element(out, "p", "note", &format!("Note: {text}")),
        Block::Verdict { level, sentence } => {
            let (what, parts) = parts::of(sentence);
            put(out, &format!("<p class=\"verdict\">{} {}</p>\n", badge(level), html(what)));
            render_facts(out, " class=\"parts\"", &parts, |text| {
                parts::steps(text).into_iter().map(html).collect::<Vec<_>>().join("<br/>")
            });
        }
        Block::Facts(facts) => {
            let facts: Vec<(&str, &str)> = facts.iter().map(|(name, value)| (*name, value.as_str())).collect();
            render_facts(out, "", &facts, html);
        }
        Block::Table(table) => render_table(out, ids, table),
        Block::History(pod) => put(out, &chart::history(pod, ids)),
        Block::TimeLine { about, events } => put(out, &chart::time_line(about, events, ids)),
    }
}

/// Names and values; nothing where there are none, for a list has entries.
fn render_facts(out: &mut String, class: &str, facts: &[(&str, &str)], value_as: impl Fn(&str) -> String) {
    if facts.is_empty() {
        return;
    }
    put(out, &format!("<dl{class}>\n"));
    for (name, value) in facts {
        put(out, &format!("<div><dt>{}</dt><dd>{}</dd></div>\n", html(name), value_as(value)));
    }
    put(out, "</dl>\n");
}

/// A table in a region of its own: one that is too wide for the screen can be moved by the keyboard.
fn render_table(out: &mut String, ids: &mut Ids, table: &Table<'_>) {
    let id = ids.next("table");
    put(out, &format!("<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-labelledby=\"{id}\">\n<table>\n"));
    // In the caption, so that a person who prints one table has what its colours mean.
    let legend = if table.head.iter().any(|column| column.1 == Kind::Picture) { chart::LEGEND } else { "" };
    put(out, &format!("<caption id=\"{id}\">{}{legend}</caption>\n<thead>\n<tr>", html(&table.caption)));
    for Column(name, kind) in table.head {
        put(out, &format!("<th scope=\"col\"{}>{}</th>", class_of(*kind), html(name)));
    }
    put(out, "</tr>\n</thead>\n<tbody>\n");
    for row in &table.rows {
        put(out, "<tr>");
        for (n, (cell, column)) in row.iter().zip(table.head).enumerate() {
            let (name, scope) = if n == 0 { ("th", " scope=\"row\"") } else { ("td", "") };
            put(out, &format!("<{name}{scope}{}>{}</{name}>", class_of(column.1), content(cell, column.1, ids)));
        }
        put(out, "</tr>\n");
    }
    put(out, "</tbody>\n</table>\n</div>\n");
}

const fn class_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "",
        Kind::Number => " class=\"number\"",
        Kind::When => " class=\"when\"",
        Kind::Picture => " class=\"picture\"",
    }
}

fn content(cell: &Cell<'_>, kind: Kind, ids: &mut Ids) -> String {
    match cell {
        // Of how many a sum is stands below it: numbers are not broken, and a table of them is to fit a screen.
        Cell::Text(text) => match text.split_once(" (").filter(|_| kind == Kind::Number) {
            Some((number, rest)) => format!("{}<br/>({}", html(number), html(rest)),
            None => html(text),
        },
        Cell::Link { text, to } => format!("<a href=\"#{}\">{}</a>", html(to), html(text)),
        Cell::Level(text) => badge(text),
        Cell::Bar { pod, scale } => chart::bar(pod, *scale, ids),
    }
}

/// A word that is coloured, and says the same without its colour.
fn badge(text: &str) -> String {
    let class = match text {
        "ActNow" | "Critical" => "bad",
        "Plan" | "Warning" => "warn",
        "Fine" => "fine",
        "Info" => "info",
        _ => "open",
    };
    format!("<span class=\"badge {class}\">{}</span>", html(text))
}

#[cfg(test)]
mod tests;
