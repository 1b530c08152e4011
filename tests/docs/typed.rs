//! What the source of a test types: its texts and the functions that it calls, statement by statement; and whether a
//! command of a page is among that.

use std::collections::BTreeSet;

/// A statement, a part of one between braces, or an attribute.
#[derive(Debug, Default)]
struct Statement {
    texts: Vec<String>,
    /// Names of the functions that it calls.
    calls: Vec<String>,
}

/// A file of tests.
#[derive(Debug)]
pub(crate) struct Source(Vec<Statement>);

impl Source {
    /// Comments are left out: what they say of a command runs nothing.
    pub(crate) fn read(source: &str) -> Self {
        let (mut at, mut done, mut now) = (0, Vec::new(), Statement::default());
        while let Some(c) = source[at..].chars().next() {
            let rest = &source[at..];
            if rest.starts_with("//") {
                at += rest.find('\n').unwrap_or(rest.len());
            } else if let Some((text, length)) = text_at(rest) {
                now.texts.push(text.replace("\\\n", " "));
                at += length;
            } else if rest.starts_with("'\"'") || rest.starts_with("'\\") {
                at += 3;
            } else {
                if c == '(' {
                    let before = source[..at].rsplit(|c: char| !c.is_alphanumeric() && c != '_').next();
                    now.calls.extend(before.map(str::to_owned));
                } else if ";{}#".contains(c) {
                    done.push(std::mem::take(&mut now));
                }
                at += c.len_utf8();
            }
        }
        done.push(now);
        Self(done)
    }

    /// Whether a call of it is that command, but for the names of things: `programs` is what the command begins with, `verb`
    /// its first argument. The call has its flags, and values that it sets of a chart are there. `exactly`: it has no others,
    /// and what it lacks is given to it from one other place (`check(flags)`).
    pub(crate) fn types(&self, programs: &[&str], verb: &str, command: &str, exactly: bool) -> bool {
        let wanted = flags(command.split_whitespace());
        let fits = |call: &Statement| {
            let has = flags(call.words());
            let lacks = &wanted - &has;
            let given = || exactly && self.0.iter().any(|it| flags(it.words()) == lacks);
            (!exactly || has.is_subset(&wanted)) && (lacks.is_empty() || given())
        };
        let is_value = |key: &str| self.0.iter().flat_map(|it| &it.texts).any(|text| text.contains(&format!("{key}=")));
        let mut calls = self.0.iter().filter(|it| it.calls(programs, verb));
        calls.any(fits) && values(command).into_iter().all(is_value)
    }

    /// Whether one of its texts is that.
    pub(crate) fn names(&self, text: &str) -> bool {
        self.0.iter().any(|it| it.texts.iter().any(|one| one == text))
    }
}

impl Statement {
    /// `"doctor"` alone, a helper of that name, or `"kubectl redis-memory doctor -n shop"`.
    fn calls(&self, programs: &[&str], verb: &str) -> bool {
        let whole = |text: &String| {
            let begins = |program: &&str| {
                text.strip_prefix(*program).is_some_and(|it| it.split_whitespace().next() == Some(verb))
            };
            text == verb || programs.iter().any(begins)
        };
        self.texts.iter().any(whole) || self.calls.iter().any(|name| name == verb)
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().flat_map(|text| text.split_whitespace())
    }
}

/// The text at the start of this source, and how long it is there.
fn text_at(rest: &str) -> Option<(&str, usize)> {
    if let Some(inside) = rest.strip_prefix('"') {
        let mut escaped = false;
        let end = inside.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })?;
        return Some((&inside[..end], end + 2));
    }
    let hashes = rest.strip_prefix('r')?.chars().take_while(|c| *c == '#').count();
    let inside = rest[1 + hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = inside.find(&close)?;
    Some((&inside[..end], 2 + hashes + end + close.len()))
}

/// The flags among these words, and with `-o` what is asked for. In which namespace is a name of a thing.
fn flags<'a>(words: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let (mut words, mut found) = (words, BTreeSet::new());
    while let Some(word) = words.next() {
        let (flag, value) = word.split_once('=').unwrap_or((word, ""));
        match flag {
            "-n" | "--namespace" => {}
            "-o" | "--output" => {
                let form = if value.is_empty() { words.next().unwrap_or_default() } else { value };
                found.insert(format!("--output={form}"));
            }
            "-w" => _ = found.insert("--watch".to_owned()),
            _ if flag.trim_start_matches('-').starts_with(char::is_alphabetic) && flag.starts_with('-') => {
                found.insert(flag.to_owned());
            }
            _ => {}
        }
    }
    found
}

/// The values of a chart that a command sets: `image.tag` of `--set image.tag=1`.
fn values(command: &str) -> Vec<&str> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let set = words.windows(2).filter(|pair| pair[0] == "--set").flat_map(|pair| pair[1].split(','));
    set.filter_map(|one| Some(one.trim_start_matches('\'').split_once('=')?.0)).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::Source;

    const TEST: &str = r##"
        // run(&["explain"]);
        fn there() {
            let quote = '"';
            run(&["plan", "sessions", "-n", &namespace, "--output", "snapshot"]);
            run(&["status", "-w"]);
            doctor(&api, &["-o=yaml"]);
            let mutual = ["--cacert", ca, "--cert", cert];
            command.args(["check", &address]).args(flags);
            helm(&["upgrade", RELEASE, "--set", &format!("image.tag={tag}"), "--wait"]);
            shell(r#"kubectl redis-memory top --live "x" y"#);
        }"##;

    #[rstest]
    #[case("status -n shop --watch", true)]
    #[case("status", false)]
    #[case("plan sessions", false)]
    #[case("plan sessions -o snapshot", true)]
    #[case("plan sessions -o json", false)]
    #[case("doctor -o yaml", true)]
    #[case("explain redis-0", false)]
    #[case("check redis-0", true)]
    #[case("check redis-0 --cacert ca --cert c", true)]
    #[case("check redis-0 --cert c", false)]
    #[case("top --live", true)]
    #[case("redis-memory", false)]
    fn a_call_of_ours_has_these_flags_and_no_others(#[case] command: &str, #[case] is: bool) {
        let verb = command.split(' ').next().unwrap();
        assert_eq!(Source::read(TEST).types(&["kubectl redis-memory"], verb, command, true), is);
    }

    #[rstest]
    #[case("helm upgrade x --set image.tag=1", true)]
    #[case("helm upgrade x --set 'image.tag=1,image.registry=y'", false)]
    #[case("helm upgrade x --atomic", false)]
    #[case("helm test x", false)]
    fn a_call_of_others_has_these_flags_and_values(#[case] command: &str, #[case] is: bool) {
        let verb = command.split(' ').nth(1).unwrap();
        assert_eq!(Source::read(TEST).types(&["helm"], verb, command, false), is);
    }
}
