//! Words of a command line: what Kubernetes puts in, and the quoting of shells and of configuration lines. Pure.

use std::collections::BTreeMap;

/// One word of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// This text.
    Known(String),
    /// Somebody puts something in that is not seen here.
    Unknown,
}

impl Word {
    pub(super) fn known(&self) -> Option<&str> {
        match self {
            Self::Known(text) => Some(text),
            Self::Unknown => None,
        }
    }
}

/// The variables whose values the container itself writes down. One of a Secret, a ConfigMap, a field or an `envFrom` is
/// not known, and one that is defined again is what it is last.
pub(super) fn literal_variables<'a>(env: &[(&'a str, Option<&str>)]) -> BTreeMap<&'a str, String> {
    let mut variables = BTreeMap::new();
    for (name, value) in env {
        match value.map(|text| expand(text, &variables)) {
            Some(Word::Known(value)) => {
                variables.insert(*name, value);
            }
            Some(Word::Unknown) | None => {
                variables.remove(name);
            }
        }
    }
    variables
}

/// The word with `$(NAME)` put in as the kubelet does; `$$` stands for `$`. A name that the container does not define may
/// still be defined (`envFrom`, the variables of Services), so that it is not known.
pub(super) fn expand(word: &str, variables: &BTreeMap<&str, String>) -> Word {
    let mut text = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            text.push('$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('(').and_then(|after| after.split_once(')')) {
            match variables.get(name) {
                Some(value) => text.push_str(value),
                None => return Word::Unknown,
            }
            rest = after;
        } else {
            text.push('$');
            rest = after;
        }
    }
    text.push_str(rest);
    Word::Known(text)
}

/// What ends a plain command of a shell, or makes it another one.
const SHELL_SYNTAX: &[char] =
    &[';', '|', '&', '<', '>', '(', ')', '`', '*', '?', '[', ']', '{', '}', '~', '#', '!', '\n'];

/// The words of a script that is one plain command; a word with a variable in it is not known. `None`: it is more than
/// that.
pub(super) fn simple_command(script: &str) -> Option<Vec<Word>> {
    let script = script.trim();
    let mut words = Vec::new();
    let mut word: Option<(String, bool)> = None;
    let mut quote: Option<char> = None;
    let mut chars = script.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\\' && quote != Some('\'') {
            match chars.next()? {
                // A line that goes on.
                '\n' => {}
                next if quote.is_none() || matches!(next, '"' | '\\' | '$' | '`') => {
                    word.get_or_insert_default().0.push(next);
                }
                next => word.get_or_insert_default().0.extend(['\\', next]),
            }
            continue;
        }
        match quote {
            Some(open) if c == open => quote = None,
            Some('"') if c == '`' || (c == '$' && chars.peek() == Some(&'(')) => return None,
            Some('"') if c == '$' => word.get_or_insert_default().1 = true,
            None if c == '"' || c == '\'' => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            None if c == '$' && chars.peek().is_some_and(|next| next.is_ascii_alphanumeric() || *next == '_') => {
                word.get_or_insert_default().1 = true;
            }
            None if c == '$' && chars.peek() == Some(&'{') => {
                word.get_or_insert_default().1 = true;
                while chars.next()? != '}' {}
            }
            None if c == '$' || SHELL_SYNTAX.contains(&c) => return None,
            None if c.is_whitespace() => words.extend(word.take()),
            Some(_) | None => word.get_or_insert_default().0.push(c),
        }
    }
    words.extend(word);
    let read = |(text, variable)| if variable { Word::Unknown } else { Word::Known(text) };
    quote.is_none().then(|| words.into_iter().map(read).collect())
}

/// The words of a line of configuration, as the server splits it (src/sds.c: sdssplitargs). `None`: quotes that do not
/// match, and more than one line.
pub(super) fn config_words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut chars = line.trim().chars().peekable();
    if line.trim().contains('\n') {
        return None;
    }
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Some(words);
        }
        let mut word = String::new();
        while let Some(c) = chars.next_if(|c| !c.is_whitespace()) {
            if c != '"' && c != '\'' {
                word.push(c);
                continue;
            }
            loop {
                match chars.next()? {
                    end if end == c => break,
                    // No value that is kept has an escape in it: whatever it stands for, it is none of those.
                    '\\' => word.extend(['\\', chars.next()?]),
                    other => word.push(other),
                }
            }
            if chars.peek().is_some_and(|next| !next.is_whitespace()) {
                return None;
            }
        }
        words.push(word);
    }
}
