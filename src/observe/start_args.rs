//! Settings that a container gives to redis-server on its command line. Pure.
//!
//! The words are read as the server reads them (src/server.c: main, of 7.0; seen on 7.0.15), after Kubernetes has put in
//! the variables that the container defines itself. Of a shell only a script is read that is one plain command.
//! Whatever else decides what the server starts with (a configuration file, a script, a Secret) is not seen: such a
//! setting is not known, which is neither good nor bad.

mod words;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Container;

use self::words::Word;
use crate::{domain::pod::StartSettings, kube_io::text::plain};

/// The settings that something here is decided by. No other is kept, and of these no value that is none of that
/// setting's: among the words may be a password, also by mistake.
const KEPT: &[(&str, Fits)] = &[
    ("maxmemory", is_memory),
    ("maxmemory-policy", is_policy),
    ("appendonly", is_switch),
    (SAVE, are_points),
    ("repl-backlog-size", is_memory),
    ("dir", is_path),
    ("replicaof", is_primary),
    ("slaveof", is_primary),
];
/// Whether a value is one of that setting.
type Fits = fn(&str) -> bool;
/// The setting whose lines add up.
const SAVE: &str = "save";
/// Reads another file where it stands.
const INCLUDE: &str = "include";
/// The longest value that is kept.
const MAX_VALUE: usize = 256;
/// The names of the server's program.
const SERVERS: [&str; 3] = ["redis-server", "valkey-server", "keydb-server"];
/// Programs that run a script given as `-c SCRIPT`.
const SHELLS: [&str; 5] = ["sh", "bash", "ash", "dash", "busybox"];
/// The entry point of the official images: it runs the server with options that it is given alone.
const ENTRY_POINT: &str = "docker-entrypoint.sh";

/// The settings of that container.
pub(super) fn of(container: &Container) -> StartSettings {
    let variables = words::literal_variables(container);
    let command = container.command.iter().flatten().chain(container.args.iter().flatten());
    let words: Vec<Word> = command.map(|word| words::expand(word, &variables)).collect();
    let commanded = container.command.as_ref().is_some_and(|command| !command.is_empty());
    let settings = server_arguments(&words, commanded).map(|words| read(&words)).unwrap_or_default();
    StartSettings { container: container.name.clone(), settings }
}

/// What the server is started with. `None`: not known.
fn server_arguments(words: &[Word], commanded: bool) -> Option<Vec<Word>> {
    let program = |word: &Word, names: &[&str]| {
        word.known().and_then(|text| text.rsplit('/').next()).is_some_and(|name| names.contains(&name))
    };
    if let Some(shell) = words.iter().position(|word| program(word, &SHELLS)) {
        let mut rest = words.iter().skip(shell + 1).skip_while(|word| word.known() == Some("sh"));
        let flags = rest.next()?.known()?;
        let runs = flags.starts_with('-') && !flags.starts_with("--") && flags.ends_with('c');
        let command = words::simple_command(rest.next()?.known()?).filter(|_| runs)?;
        let after = command.iter().position(|word| word.known() != Some("exec"))?;
        let is_server = command.get(after).is_some_and(|word| program(word, &SERVERS));
        return is_server.then(|| command.into_iter().skip(after + 1).collect());
    }
    if let Some(server) = words.iter().position(|word| program(word, &SERVERS)) {
        return words.get(server + 1..).map(<[Word]>::to_vec);
    }
    let after = words.iter().position(|word| program(word, &[ENTRY_POINT])).map_or(0, |at| at + 1);
    let given = words.get(after..)?;
    let alone =
        given.first()?.known().is_some_and(|first| first.starts_with('-') || first.strip_suffix(".conf").is_some());
    (alone && (after > 0 || !commanded)).then(|| given.to_vec())
}

/// One line of configuration.
enum Line {
    /// A setting and its values.
    Setting(String, Vec<Word>),
    /// A word that may stand for any number of settings.
    Anything,
}

/// The lines that the server makes of its arguments: a word that begins with `--` begins a line, unless the word before
/// it is a name still without a value.
fn lines(words: &[Word]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut expects_value = false;
    for (n, word) in words.iter().enumerate() {
        let begins = word.known().and_then(|text| text.strip_prefix("--")).filter(|_| !expects_value);
        if let Some(text) = begins {
            // Name and values in one word are a line as a file would have it.
            let (parts, whole) = words::config_words(text).map_or((Vec::new(), false), |parts| (parts, true));
            let mut parts = parts.into_iter();
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let values: Vec<Word> = parts.map(Word::Known).collect();
            let next_begins = words.get(n + 1).is_none_or(|next| next.known().is_some_and(|it| it.starts_with("--")));
            expects_value = whole && values.is_empty() && !(name == SAVE && next_begins);
            lines.push(Line::Setting(name, values));
            continue;
        }
        expects_value = false;
        match lines.last_mut() {
            Some(Line::Setting(name, values))
                if word.known().is_some() || values.is_empty() || [SAVE, "replicaof", "slaveof"].contains(&&**name) =>
            {
                values.push(word.clone());
            }
            Some(Line::Setting(..)) => lines.push(Line::Anything),
            Some(Line::Anything) | None => {}
        }
    }
    lines
}

/// What is known of the settings that are kept, as the last line of each says.
fn read(words: &[Word]) -> Vec<(String, String)> {
    // The configuration file comes first, then the options: what is not given as an option is as the file says.
    let mut from_file = words.first().is_some_and(|first| first.known().is_none_or(|text| !text.starts_with("--")));
    let mut known: BTreeMap<usize, String> = BTreeMap::new();
    for line in lines(words.get(usize::from(from_file)..).unwrap_or_default()) {
        let (name, values) = match line {
            Line::Setting(name, values) if name != INCLUDE => (name, values),
            Line::Setting(..) | Line::Anything => {
                known.clear();
                from_file = true;
                continue;
            }
        };
        let Some(at) = KEPT.iter().position(|(kept, _)| *kept == name) else { continue };
        let fits = KEPT.get(at).map(|(_, fits)| *fits);
        let said = values.iter().map(Word::known).collect::<Option<Vec<_>>>().map(|values| values.join(" "));
        let said = said.filter(|value| value.len() <= MAX_VALUE && fits.is_some_and(|fits| fits(value)));
        // Save points are added to those before them, those of the file too; an empty value drops them all.
        let value = if name == SAVE { said.and_then(|points| add(known.get(&at), from_file, &points)) } else { said };
        from_file |= name == SAVE && value.is_none();
        match value {
            Some(value) => known.insert(at, plain(&value, MAX_VALUE)),
            None => known.remove(&at),
        };
    }
    let name = |at: usize| KEPT.get(at).map(|(name, _)| (*name).to_owned());
    known.into_iter().filter_map(|(at, value)| Some((name(at)?, value))).collect()
}

/// The save points after one more line. `None`: those before it are not known.
fn add(before: Option<&String>, from_file: bool, points: &str) -> Option<String> {
    let points = points.split_whitespace().collect::<Vec<_>>().join(" ");
    match before {
        _ if points.is_empty() => Some(points),
        Some(before) => Some(format!("{before} {points}").trim().to_owned()),
        None => (!from_file).then_some(points),
    }
}

fn is_memory(value: &str) -> bool {
    let unit = value.trim_start_matches(|c: char| c.is_ascii_digit());
    let units = ["", "b", "k", "kb", "m", "mb", "g", "gb", "%"];
    unit.len() < value.len() && units.contains(&unit.to_ascii_lowercase().as_str())
}

fn is_policy(value: &str) -> bool {
    let known = ["noeviction", "allkeys-", "volatile-"];
    known.iter().any(|known| value.get(..known.len()).is_some_and(|start| start.eq_ignore_ascii_case(known)))
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_switch(value: &str) -> bool {
    ["yes", "no"].iter().any(|switch| switch.eq_ignore_ascii_case(value))
}

fn are_points(value: &str) -> bool {
    let mut numbers = value.split_whitespace();
    numbers.all(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        && value.split_whitespace().count().is_multiple_of(2)
}

/// `HOST PORT`, or `no one`.
fn is_primary(value: &str) -> bool {
    let is_host = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte));
    match value.split(' ').collect::<Vec<_>>().as_slice() {
        ["no", "one"] => true,
        [host, port] => !host.is_empty() && is_host(host) && port.parse::<u16>().is_ok(),
        _ => false,
    }
}

fn is_path(value: &str) -> bool {
    value.starts_with(['/', '.']) && !value.contains(|c: char| c.is_whitespace() || c.is_control() || c == '$')
}

#[cfg(test)]
mod tests;
