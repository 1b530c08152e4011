//! Settings with which a server starts: those on its command line, and those of a configuration file. Pure.
//!
//! The words are read as the server reads them (src/server.c: main, of 7.0; seen on 7.0.15), after Kubernetes has put in
//! the variables that the container defines itself. Of a shell only a script is read that is one plain command.
//! Whatever else decides what the server starts with (a script, a Secret) is not seen: such a setting is not known, which
//! is neither good nor bad.

mod words;

use std::collections::{BTreeMap, BTreeSet};

use self::words::Word;
use super::bytes::{Bytes, MIB};

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
    (TLS_CA, is_path),
    (TLS_CERT, is_path),
    (TLS_KEY, is_path),
];
/// The file of the authorities whose certificates count.
pub const TLS_CA: &str = "tls-ca-cert-file";
/// The file of the server's own certificate.
pub const TLS_CERT: &str = "tls-cert-file";
/// The file of its key.
pub const TLS_KEY: &str = "tls-key-file";
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

/// A container's command line as its template writes it.
#[derive(Clone, Debug, Default)]
pub struct CommandLine<'a> {
    /// `command`: instead of the image's entry point.
    pub command: Vec<&'a str>,
    /// `args`.
    pub args: Vec<&'a str>,
    /// The variables in their order, with their values as far as they are written down.
    pub env: Vec<(&'a str, Option<&'a str>)>,
}

/// What a command line says of a server's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The configuration file that it reads first.
    pub file: File,
    /// The options, which hold against the file; read with [`Start::over`].
    options: Vec<Word>,
}

/// The configuration file of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum File {
    /// It reads none.
    None,
    /// This one.
    Named(String),
    /// Somebody puts in a word that is not seen here.
    Unknown,
}

/// What the command line says; `None`: it does not show what the server is started with.
pub fn of(line: &CommandLine<'_>) -> Option<Start> {
    let variables = words::literal_variables(&line.env);
    let all = line.command.iter().chain(&line.args);
    let words: Vec<Word> = all.map(|word| words::expand(word, &variables)).collect();
    let arguments = server_arguments(&words, !line.command.is_empty())?;
    let file = match arguments.first() {
        Some(Word::Known(first)) if first.starts_with("--") => File::None,
        Some(Word::Known(first)) => File::Named(first.clone()),
        Some(Word::Unknown) => File::Unknown,
        None => File::None,
    };
    let options = arguments.get(usize::from(file != File::None)..).unwrap_or_default().to_vec();
    Some(Start { file, options })
}

/// Options that a variable holds, split as a shell does; `None`: it is more than options.
pub fn options(text: &str) -> Option<Start> {
    Some(Start { file: File::None, options: words::simple_command(text)? })
}

impl Start {
    /// Its settings, by its options alone: what a file says is not seen.
    pub fn settings(&self) -> Settings {
        self.over(if self.file == File::None { Settings::default() } else { Settings::open() })
    }

    /// Its settings over those of the file.
    pub fn over(&self, mut settings: Settings) -> Settings {
        for line in lines(&self.options) {
            match line {
                Line::Setting(name, values) => settings.say(&name, &values),
                Line::Anything => settings.anything(),
            }
        }
        settings
    }
}

/// The settings of a configuration file.
pub fn of_file(text: &str) -> Settings {
    let mut settings = Settings::default();
    settings.read(text);
    settings
}

/// What is known of the settings that are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    known: BTreeMap<&'static str, String>,
    /// Those that are set to what is not seen, or to what is no such value.
    unread: BTreeSet<&'static str>,
    /// What is not named may be set all the same.
    open: bool,
}

/// What is known of one setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting<'a> {
    /// It is set to this.
    Is(&'a str),
    /// It is set, and the value is not known.
    Unread,
    /// Nothing sets it: the server's own default holds.
    Default,
    /// Something that is not seen here may set it.
    Open,
}

impl Settings {
    /// Nothing is known, and anything may be set.
    pub fn open() -> Self {
        Self { open: true, ..Self::default() }
    }

    /// What is known of that setting.
    pub fn get(&self, name: &str) -> Setting<'_> {
        match self.known.get(name) {
            Some(value) => Setting::Is(value),
            None if self.unread.contains(name) => Setting::Unread,
            None if self.open => Setting::Open,
            None => Setting::Default,
        }
    }

    /// Names and values of what is known, in the order of the table.
    pub fn known(&self) -> Vec<(String, String)> {
        let value = |name: &&str| Some(((*name).to_owned(), self.known.get(name)?.clone()));
        KEPT.iter().filter_map(|(name, _)| value(name)).collect()
    }

    /// Lines of configuration more, as a file has them.
    pub fn read(&mut self, text: &str) {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            match words::config_words(line).as_deref() {
                Some([name, values @ ..]) => {
                    let values: Vec<Word> = values.iter().cloned().map(Word::Known).collect();
                    self.say(&name.to_ascii_lowercase(), &values);
                }
                Some([]) => {}
                None => self.anything(),
            }
        }
    }

    /// One setting as CONFIG SET sets it: whatever was before.
    pub fn set(&mut self, name: &str, value: &str) {
        let name = name.to_ascii_lowercase();
        self.known.remove(name.as_str());
        let open = std::mem::take(&mut self.open);
        self.unread.remove(name.as_str());
        self.say(&name, &[Word::Known(value.to_owned())]);
        self.open |= open;
    }

    /// Says of a setting that something sets it to what is not seen.
    pub fn unread(&mut self, name: &str) {
        self.say(name, &[Word::Unknown]);
    }

    /// Says that something that is not seen may set what is not named.
    pub fn open_up(&mut self) {
        self.open = true;
    }

    /// One line of configuration more.
    fn say(&mut self, name: &str, values: &[Word]) {
        if name == INCLUDE {
            return self.anything();
        }
        let Some((name, fits)) = KEPT.iter().find(|(kept, _)| *kept == name) else { return };
        let said = values.iter().map(Word::known).collect::<Option<Vec<_>>>().map(|values| values.join(" "));
        let said = said.filter(|value| value.len() <= MAX_VALUE && fits(value));
        // Save points are added to those before them, those of the file too; an empty value drops them all.
        let uncertain = self.open || self.unread.contains(name);
        let value =
            if *name == SAVE { said.and_then(|points| add(self.known.get(name), uncertain, &points)) } else { said };
        if let Some(value) = value {
            self.unread.remove(name);
            self.known.insert(name, value);
        } else {
            self.known.remove(name);
            self.unread.insert(name);
        }
    }

    /// Something that is not seen here: it may be any number of settings.
    fn anything(&mut self) {
        *self = Self::open();
    }
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

/// Bytes as redis.conf writes them: `1k` is 1000, `1kb` 1024, and so on (`util.c:memtoull`).
pub fn redis_bytes(text: &str) -> Option<Bytes> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor).map(Bytes)
}

/// The same the other way round: `682mb`; what is no whole number of mebibytes in bytes.
pub fn redis_text(bytes: Bytes) -> String {
    if bytes.0.is_multiple_of(MIB) { format!("{}mb", bytes.0 / MIB) } else { bytes.0.to_string() }
}

#[cfg(test)]
mod tests;
