//! A small reader of Rust source: enough to know which paths a file names. It skips comments and literals, opens
//! `use` groups, and resolves `crate`, `self` and `super`.

/// A word or a sign of the source, with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub text: String,
    pub line: usize,
}

/// A path as it is named in a file, resolved: `crate::plan::Plan` is `["crate", "plan", "Plan"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathUse {
    pub segments: Vec<String>,
    pub line: usize,
}

impl PathUse {
    pub(crate) fn text(&self) -> String {
        self.segments.join("::")
    }

    /// True when `pattern`'s segments stand side by side in this path.
    pub(crate) fn contains(&self, pattern: &str) -> bool {
        let wanted: Vec<&str> = pattern.split("::").collect();
        self.segments.windows(wanted.len()).any(|window| window == wanted)
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Splits source into words and signs; `::` is one sign, comments and literals are left out.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let (mut at, mut line, mut out) = (0, 1, Vec::new());
    while at < chars.len() {
        let start = at;
        at = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => skip_until(&chars, at, '\n'),
            '/' if chars.get(at + 1) == Some(&'*') => skip_block_comment(&chars, at),
            '"' => skip_string(&chars, at + 1),
            '\'' => skip_quote(&chars, at),
            c if is_word(c) => {
                let end = (at..chars.len()).find(|&i| !is_word(chars[i])).unwrap_or(chars.len());
                let word: String = chars[at..end].iter().collect();
                literal_after(&chars, end, &word).unwrap_or_else(|| {
                    out.push(Token { text: word, line });
                    end
                })
            }
            ':' if chars.get(at + 1) == Some(&':') => {
                out.push(Token { text: "::".into(), line });
                at + 2
            }
            c => {
                if !c.is_whitespace() {
                    out.push(Token { text: c.into(), line });
                }
                at + 1
            }
        };
        line += chars[start..at].iter().filter(|&&c| c == '\n').count();
    }
    out
}

/// The end of a literal with a prefix: `r"…"`, `br#"…"#`, `b"…"`, `b'…'`; `r#name` is a word and gives nothing.
fn literal_after(chars: &[char], end: usize, word: &str) -> Option<usize> {
    if !["r", "b", "br", "c", "cr"].contains(&word) {
        return None;
    }
    if word.ends_with('r') {
        let hashes = chars[end..].iter().take_while(|&&c| c == '#').count();
        if chars.get(end + hashes) != Some(&'"') {
            return None;
        }
        let closing: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
        let from = end + hashes + 1;
        let close = (from..chars.len()).find(|&i| chars[i..].starts_with(&closing)).unwrap_or(chars.len());
        return Some((close + closing.len()).min(chars.len()));
    }
    match chars.get(end)? {
        '"' => Some(skip_string(chars, end + 1)),
        '\'' if word == "b" => Some(skip_quote(chars, end)),
        _ => None,
    }
}

fn skip_until(chars: &[char], from: usize, stop: char) -> usize {
    (from..chars.len()).find(|&i| chars[i] == stop).unwrap_or(chars.len())
}

fn skip_block_comment(chars: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0usize);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (at, depth) = (at + 2, depth + 1),
            ('*', Some('/')) => {
                (at, depth) = (at + 2, depth - 1);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn skip_string(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// A character literal, or a lifetime (of which only the quote is skipped).
fn skip_quote(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => (skip_until(chars, at + 3, '\'') + 1).min(chars.len()),
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}

/// Every path that the tokens name. `module` is the file's own module path, without `crate`.
pub(crate) fn paths(tokens: &[Token], module: &[String]) -> Vec<PathUse> {
    let mut walker = Walker { tokens, at: 0, module: module.to_vec(), open: Vec::new(), found: Vec::new() };
    walker.walk();
    walker.found
}

struct Walker<'a> {
    tokens: &'a [Token],
    at: usize,
    module: Vec<String>,
    /// One entry for each open brace: whether it is a module's.
    open: Vec<bool>,
    found: Vec<PathUse>,
}

impl Walker<'_> {
    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    fn walk(&mut self) {
        while self.at < self.tokens.len() {
            let before = if self.at == 0 { "" } else { self.text(self.at - 1) };
            match self.text(self.at) {
                "mod" if self.text(self.at + 2) == "{" => {
                    self.module.push(self.text(self.at + 1).to_owned());
                    self.open.push(true);
                    self.at += 3;
                }
                "{" => {
                    self.open.push(false);
                    self.at += 1;
                }
                "}" => {
                    if self.open.pop() == Some(true) {
                        self.module.pop();
                    }
                    self.at += 1;
                }
                word if before != "." && word.starts_with(is_word) => self.path(&mut Vec::new()),
                _ => self.at += 1,
            }
        }
    }

    /// Reads a path, or the tree of a `use`, from where we are; `prefix` is what its group hangs on.
    fn path(&mut self, prefix: &mut Vec<String>) {
        let (depth, line) = (prefix.len(), self.tokens[self.at].line);
        if depth > 0 && self.text(self.at) == "self" {
            self.at += 1;
            let segments = self.resolve(prefix);
            self.found.push(PathUse { segments, line });
            return;
        }
        loop {
            prefix.push(self.text(self.at).trim_start_matches("r#").to_owned());
            self.at += 1;
            if self.text(self.at) != "::" {
                break;
            }
            match self.text(self.at + 1) {
                "{" => {
                    self.at += 2;
                    self.group(prefix);
                    prefix.truncate(depth);
                    return;
                }
                next if next.starts_with(is_word) || next == "*" => self.at += 1,
                _ => {
                    // `::<` ends the path; its arguments are paths of their own.
                    self.at += 1;
                    break;
                }
            }
        }
        let segments = self.resolve(prefix);
        self.found.push(PathUse { segments, line });
        prefix.truncate(depth);
    }

    fn group(&mut self, prefix: &mut Vec<String>) {
        while self.at < self.tokens.len() {
            match self.text(self.at) {
                "}" => {
                    self.at += 1;
                    return;
                }
                "as" => self.at += 2,
                word if word.starts_with(is_word) || word == "*" => self.path(prefix),
                _ => self.at += 1,
            }
        }
    }

    fn resolve(&self, path: &[String]) -> Vec<String> {
        let supers = path.iter().skip(usize::from(path[0] == "self")).take_while(|it| *it == "super").count();
        let from_self = usize::from(path[0] == "self");
        if supers == 0 && from_self == 0 {
            return path.to_vec();
        }
        let kept = self.module.len().saturating_sub(supers);
        let own = self.module[..kept].iter().cloned();
        std::iter::once("crate".to_owned()).chain(own).chain(path[from_self + supers..].iter().cloned()).collect()
    }
}
