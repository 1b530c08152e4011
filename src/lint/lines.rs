//! The lines at which the parts of a YAML document begin: the library that reads values does not keep them.
//!
//! A scanner of positions alone: indented mappings and sequences, flow collections (so JSON too), scalars in quotes and
//! blocks. It need not understand everything: what it does not find has the line of what is around it.

/// A step from a value to a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// The field of that name.
    Field(&'a str),
    /// The item at that place.
    Item(usize),
}

/// Where a value begins, and its parts.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: usize,
    fields: Vec<(String, Self)>,
    items: Vec<Self>,
}

/// Deeper than Kubernetes objects are; below it nothing is looked for.
const MOST_DEPTH: usize = 128;

impl Lines {
    /// Of one document, whose first line is line 0.
    pub(super) fn of(text: &str) -> Self {
        let mut scanner = Scanner { lines: text.lines().collect(), at: 0, column: 0, depth: 0 };
        if !scanner.skip_blank() {
            return Self::default();
        }
        scanner.node(None)
    }

    /// The line of what these steps lead to; where they lead nowhere, of the last that is there.
    pub(super) fn line(&self, path: &[Step<'_>]) -> usize {
        let mut node = self;
        for step in path {
            let next = match step {
                Step::Field(name) => node.fields.iter().find(|(field, _)| field == name).map(|(_, node)| node),
                Step::Item(at) => node.items.get(*at),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.line
    }
}

/// A cursor over lines.
struct Scanner<'a> {
    lines: Vec<&'a str>,
    /// The line, and the byte in it.
    at: usize,
    column: usize,
    depth: usize,
}

impl<'a> Scanner<'a> {
    /// What is left of the line.
    fn rest(&self) -> &'a str {
        self.lines.get(self.at).and_then(|line| line.get(self.column..)).unwrap_or_default()
    }

    fn over(&self) -> bool {
        self.at >= self.lines.len()
    }

    fn next_line(&mut self) {
        self.at += 1;
        self.column = 0;
    }

    /// Goes on to the next text that is no blank and no comment. False: there is none.
    fn skip_blank(&mut self) -> bool {
        while !self.over() {
            let rest = self.rest();
            let text = rest.trim_start();
            if text.is_empty() || text.starts_with('#') {
                self.next_line();
            } else {
                self.column += rest.len() - text.len();
                return true;
            }
        }
        false
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.column += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    /// The value that begins here. `parent`: the column of what it is a part of.
    fn node(&mut self, parent: Option<usize>) -> Lines {
        self.skip_properties();
        let mut node = Lines { line: self.at, ..Lines::default() };
        if self.depth >= MOST_DEPTH {
            self.next_line();
            return node;
        }
        self.depth += 1;
        let rest = self.rest();
        if is_item(rest) {
            self.sequence(&mut node);
        } else if rest.starts_with(['{', '[']) {
            node = self.flow();
        } else if rest.starts_with(['|', '>']) {
            self.skip_deeper(parent);
        } else if key(rest).is_some() {
            self.mapping(&mut node);
        } else {
            self.scalar(parent);
        }
        self.depth -= 1;
        node
    }

    /// Anchors and tags in front of a value, and what goes on in the next line after them.
    fn skip_properties(&mut self) {
        loop {
            self.skip_spaces();
            let rest = self.rest();
            if !rest.starts_with(['&', '!']) {
                return;
            }
            self.column += rest.find(char::is_whitespace).unwrap_or(rest.len());
            if self.rest().trim().is_empty() && !self.skip_blank() {
                return;
            }
        }
    }

    fn sequence(&mut self, node: &mut Lines) {
        let column = self.column;
        while !self.over() && self.column == column && is_item(self.rest()) {
            let line = self.at;
            self.column += 1;
            let mut item = if self.value_follows(column, false) { self.node(Some(column)) } else { Lines::default() };
            item.line = line;
            node.items.push(item);
            if !self.skip_blank() {
                return;
            }
        }
    }

    fn mapping(&mut self, node: &mut Lines) {
        let column = self.column;
        while !self.over() && self.column == column {
            let Some((name, length)) = key(self.rest()) else { return };
            let line = self.at;
            self.column += length;
            let mut value = if self.value_follows(column, true) { self.node(Some(column)) } else { Lines::default() };
            value.line = line;
            node.fields.push((name, value));
            if !self.skip_blank() {
                return;
            }
        }
    }

    /// Goes to the value after a dash or a colon: on this line, or deeper on a later one. `level`: a sequence may stand
    /// at the column of its key. False: there is none.
    fn value_follows(&mut self, column: usize, level: bool) -> bool {
        self.skip_spaces();
        let rest = self.rest();
        if !rest.is_empty() && !rest.starts_with('#') {
            return true;
        }
        self.next_line();
        self.skip_blank() && (self.column > column || (level && self.column == column && is_item(self.rest())))
    }

    /// Lines that are blank or deeper than `parent`: the text of a block, or the rest of a plain scalar.
    fn skip_deeper(&mut self, parent: Option<usize>) {
        self.next_line();
        while let Some(line) = self.lines.get(self.at) {
            let indent = line.len() - line.trim_start_matches(' ').len();
            if !line.trim().is_empty() && parent.is_none_or(|parent| indent <= parent) {
                return;
            }
            self.next_line();
        }
    }

    fn scalar(&mut self, parent: Option<usize>) {
        match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => {
                self.column += 1;
                self.quoted(quote);
                self.next_line();
            }
            _ => self.skip_deeper(parent),
        }
    }

    /// Behind the end of a text in quotes, which may go on over lines.
    fn quoted(&mut self, quote: char) {
        while !self.over() {
            let rest = self.rest();
            let mut escaped = false;
            let end = rest.char_indices().find(|(_, c)| {
                let ends = *c == quote && !escaped;
                escaped = quote == '"' && *c == '\\' && !escaped;
                ends
            });
            if let Some((end, _)) = end {
                self.column += end + 1;
                return;
            }
            self.next_line();
        }
    }

    /// A collection in brackets; ends behind them.
    fn flow(&mut self) -> Lines {
        let mut node = Lines { line: self.at, ..Lines::default() };
        let mapping = self.rest().starts_with('{');
        self.column += 1;
        self.depth += 1;
        // The name of the field under way.
        let mut name: Option<String> = None;
        let mut line = self.at;
        while self.skip_blank() && self.depth < MOST_DEPTH {
            let rest = self.rest();
            match rest.chars().next() {
                Some('}' | ']') => {
                    self.column += 1;
                    break;
                }
                Some(',') => {
                    name = None;
                    self.column += 1;
                }
                Some(':') => self.column += 1,
                Some('{' | '[') => {
                    let part = self.flow();
                    add(&mut node, mapping, name.as_deref(), line, part);
                }
                Some('&' | '!') => self.column += rest.find(char::is_whitespace).unwrap_or(rest.len()),
                Some(_) => {
                    let begun = self.at;
                    let text = self.flow_scalar();
                    if mapping && name.is_none() {
                        (name, line) = (Some(text), begun);
                        // Its value may be a collection, which then takes this place.
                        add(&mut node, true, name.as_deref(), line, Lines::default());
                    } else if !mapping {
                        add(&mut node, false, None, begun, Lines { line: begun, ..Lines::default() });
                    }
                }
                None => {}
            }
        }
        self.depth -= 1;
        node
    }

    /// A scalar in a flow collection, without its quotes.
    fn flow_scalar(&mut self) -> String {
        let rest = self.rest();
        if let Some(quote @ ('"' | '\'')) = rest.chars().next() {
            let begun = self.at;
            self.column += 1;
            let start = self.column;
            self.quoted(quote);
            let same_line = self.at == begun;
            let text = self.lines.get(begun).and_then(|line| line.get(start..self.column.saturating_sub(1)));
            return text.filter(|_| same_line).unwrap_or_default().to_owned();
        }
        let ends = |(at, c): &(usize, char)| {
            matches!(c, ',' | '}' | ']' | '{' | '[')
                || (*c == ':'
                    && rest.get(at + 1..).is_none_or(|after| after.is_empty() || after.starts_with([' ', ','])))
                || (*c == '#' && rest.get(..*at).is_some_and(|before| before.ends_with(' ')))
        };
        let end = rest.char_indices().find(ends).map_or(rest.len(), |(at, _)| at);
        self.column += end.max(1);
        rest.get(..end).unwrap_or_default().trim_end().to_owned()
    }
}

/// Puts a part where it belongs; a field that is there already gets its value.
fn add(node: &mut Lines, mapping: bool, name: Option<&str>, line: usize, part: Lines) {
    if !mapping {
        node.items.push(part);
        return;
    }
    let Some(name) = name else { return };
    let part = Lines { line, ..part };
    match node.fields.last_mut().filter(|(field, _)| field == name) {
        Some((_, value)) => *value = part,
        None => node.fields.push((name.to_owned(), part)),
    }
}

/// `- item`, or a dash alone.
fn is_item(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}

/// The key that the text begins with, and how many bytes it has with its colon.
fn key(text: &str) -> Option<(String, usize)> {
    let ends = |rest: &str| rest.is_empty() || rest.starts_with([' ', '\t']);
    if let Some(quote @ ('"' | '\'')) = text.chars().next() {
        let inner = text.get(1..)?;
        let end = inner.find(quote)?;
        let after = inner.get(end + 1..)?;
        let colon = after.trim_start();
        let rest = colon.strip_prefix(':').filter(|rest| ends(rest))?;
        return Some((inner.get(..end)?.to_owned(), text.len() - rest.len()));
    }
    if text.starts_with(['{', '[', '#', '|', '>', '@', '`', '%', ',', ']', '}']) {
        return None;
    }
    let colon = text.char_indices().find(|(at, c)| *c == ':' && text.get(at + 1..).is_some_and(ends))?.0;
    let name = text.get(..colon)?;
    (!name.contains(" #")).then(|| (name.trim_end().to_owned(), colon + 1))
}

#[cfg(test)]
mod tests;
