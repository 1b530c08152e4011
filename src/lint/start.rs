//! What the server of a container starts with: its command line, the configuration file that it names, the scripts that
//! start it, and the ConfigMaps behind all of them.

use serde_json::Value;

use super::{
    script, value,
    workloads::{Container, Parts, Template},
};
use crate::domain::{
    recognition,
    start::{self, CommandLine, File, Setting, Settings},
};

/// What a server starts with, as far as the input shows it.
pub(super) struct Start {
    pub(super) settings: Settings,
    /// Why something may be set that is not seen.
    pub(super) open_because: String,
    /// What was read.
    pub(super) read: Vec<String>,
    /// Where it writes, if nothing sets another `dir`.
    pub(super) dir: Option<&'static str>,
}

/// Variables from which images take options of the server (the entry points of redis-stack, Bitnami and Valkey).
const OPTION_VARIABLES: &[&str] = &["REDIS_ARGS", "VALKEY_ARGS", "REDIS_EXTRA_FLAGS", "VALKEY_EXTRA_FLAGS"];
/// Variables that are a setting, by the images' own entry points.
const SETTING_VARIABLES: &[(&str, &str)] = &[
    ("REDIS_MAXMEMORY", "maxmemory"),
    ("REDIS_MAX_MEMORY", "maxmemory"),
    ("VALKEY_MAXMEMORY", "maxmemory"),
    ("MAXMEMORY", "maxmemory"),
    ("REDIS_MAXMEMORY_POLICY", "maxmemory-policy"),
    ("VALKEY_MAXMEMORY_POLICY", "maxmemory-policy"),
    ("MAXMEMORY_POLICY", "maxmemory-policy"),
    ("REDIS_AOF_ENABLED", "appendonly"),
    ("VALKEY_AOF_ENABLED", "appendonly"),
];
/// The working directory of the official images.
const OFFICIAL_DIR: &str = "/data";
/// The options of Dragonfly are others, and it bounds its memory by itself.
const DRAGONFLY: &str = "dragonfly";

/// A file of a ConfigMap.
struct Text<'a> {
    map: &'a str,
    key: &'a str,
    content: &'a str,
}

impl Text<'_> {
    fn title(&self) -> String {
        format!("ConfigMap {} ({})", self.map, self.key)
    }
}

/// What that container starts its server with.
pub(super) fn of(template: &Template<'_>, container: &Container<'_>, parts: &Parts<'_>) -> Start {
    let env = variables(template, container, parts);
    let line = CommandLine {
        command: value::texts(container.value, "command"),
        args: value::texts(container.value, "args"),
        env: env.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect(),
    };
    let files = Files { template, container, parts };
    let mut start = if recognition::image_name(container.image()) == DRAGONFLY {
        unseen("Dragonfly bounds its memory by itself, by options of its own")
    } else {
        by_command(&files, &line)
    };
    by_variables(&env, &mut start);
    start
}

fn unseen(why: &str) -> Start {
    Start { settings: Settings::open(), open_because: why.to_owned(), read: Vec::new(), dir: None }
}

fn by_command(files: &Files<'_, '_>, line: &CommandLine<'_>) -> Start {
    let nothing = line.command.is_empty() && line.args.is_empty();
    match start::of(line) {
        Some(start) => {
            let (file, why, mut read) = match &start.file {
                File::None => (Settings::default(), String::new(), Vec::new()),
                File::Named(path) => files.configuration(path),
                File::Unknown => {
                    (Settings::open(), "the name of its configuration file is not in the input".to_owned(), Vec::new())
                }
            };
            let settings = start.over(file);
            read.push("its command line".to_owned());
            let why =
                if why.is_empty() { "its command line has words that are not in the input".to_owned() } else { why };
            Start { settings, open_because: why, read, dir: Some(OFFICIAL_DIR) }
        }
        None if nothing && recognition::is_server_image(files.container.image()) => files.by_image(),
        None if nothing => unseen("its image has an entry point of its own"),
        None => files.by_script(line),
    }
}

/// What images read from variables holds over the rest.
fn by_variables(env: &[(String, Option<String>)], start: &mut Start) {
    for (name, value) in env {
        let value = value.as_deref();
        if OPTION_VARIABLES.contains(&name.as_str()) {
            if let Some(options) = value.and_then(start::options) {
                start.settings = options.over(std::mem::take(&mut start.settings));
            } else {
                start.settings.open_up();
                start.open_because = format!("variable {name} has options that are not in the input");
            }
            start.read.push(format!("variable {name}"));
        } else if let Some((_, setting)) = SETTING_VARIABLES.iter().find(|(variable, _)| variable == name) {
            // What the command line says is what the server gets.
            if matches!(start.settings.get(setting), Setting::Is(_)) {
                continue;
            }
            match value {
                Some(value) => start.settings.set(setting, value),
                None => start.settings.unread(setting),
            }
            start.read.push(format!("variable {name}"));
        }
    }
}

/// The variables of a container in the order in which they count, as far as the input shows their values.
fn variables(template: &Template<'_>, container: &Container<'_>, parts: &Parts<'_>) -> Vec<(String, Option<String>)> {
    let namespace = template.object.namespace();
    let mut found = Vec::new();
    for from in value::list(container.value, "envFrom") {
        let map = value::text(from, "configMapRef.name").and_then(|name| parts.map(namespace, name));
        let prefix = value::text(from, "prefix").unwrap_or_default();
        let data = map.and_then(|map| value::at(map, "data")).and_then(Value::as_object);
        found.extend(data.into_iter().flatten().map(|(name, value)| (format!("{prefix}{name}"), value::plain(value))));
    }
    for variable in value::list(container.value, "env") {
        let Some(name) = value::text(variable, "name") else { continue };
        let reference = value::at(variable, "valueFrom");
        let value = match reference {
            None => Some(value::at(variable, "value").and_then(value::plain).unwrap_or_default()),
            Some(reference) => value::text(reference, "configMapKeyRef.name")
                .and_then(|map| parts.map(namespace, map))
                .zip(value::text(reference, "configMapKeyRef.key"))
                .and_then(|(map, key)| value::at(map, "data")?.get(key).and_then(value::plain)),
        };
        found.push((name.to_owned(), value));
    }
    found
}

/// The files that a container sees.
struct Files<'a, 'b> {
    template: &'b Template<'a>,
    container: &'b Container<'a>,
    parts: &'b Parts<'a>,
}

impl<'a> Files<'a, '_> {
    /// The settings of the configuration file at that path; else why they are not known; and what was read.
    fn configuration(&self, path: &str) -> (Settings, String, Vec<String>) {
        match self.at(path) {
            Found::Text(text) => (start::of_file(text.content), String::new(), vec![text.title()]),
            Found::Missing(why) => (Settings::open(), why, Vec::new()),
            // Something puts it there before the server starts: from the files that are mounted, as charts do it.
            Found::NotMounted => {
                let (settings, mut read) = self.all_configurations();
                let scripts = self.scripts(None);
                let why = format!("{path} is made before the server starts, and what is in it is not all in the input");
                let settings = if read.is_empty() { Settings::open() } else { settings };
                let named = script::apply(settings.clone(), &scripts);
                if named != settings {
                    read.push("the script that makes its configuration".to_owned());
                }
                (named, why, read)
            }
        }
    }

    /// An image that is started as it is, or by its own script.
    fn by_image(&self) -> Start {
        let (settings, read) = self.all_configurations();
        let official = ["redis", "valkey"].contains(&recognition::image_name(self.container.image()))
            && !self.container.image().contains("bitnami");
        Start {
            settings: if official { Settings::default() } else { settings },
            open_because: String::new(),
            read: if official { vec!["its defaults".to_owned()] } else { read },
            dir: official.then_some(OFFICIAL_DIR),
        }
    }

    /// A server that a script starts: with the configurations that are mounted, and with what the script says.
    fn by_script(&self, line: &CommandLine<'_>) -> Start {
        let (settings, mut read) = self.all_configurations();
        let scripts = self.scripts(Some(line));
        if scripts.unseen {
            let settings = if read.is_empty() { Settings::open() } else { settings };
            let settings = script::apply(settings, &scripts);
            let why = "a script that is not in the input starts it".to_owned();
            return Start { settings, open_because: why, read, dir: None };
        }
        let settings = script::apply(settings, &scripts);
        read.push("the script that starts it".to_owned());
        Start { settings, open_because: "the script that starts it decides".to_owned(), read, dir: None }
    }

    /// The settings of all configuration files that are mounted in the pod, for this server.
    fn all_configurations(&self) -> (Settings, Vec<String>) {
        let is_configuration = |text: &&Text<'_>| {
            let name = text.key.to_ascii_lowercase();
            name.strip_suffix(".conf").is_some()
                && !["sentinel", "haproxy", "nginx", "acl"].iter().any(|word| name.contains(word))
        };
        let texts: Vec<Text<'_>> = self.mounted();
        // A chart that has a file for each role mounts all of them.
        let role = ["app.kubernetes.io/component", "role"].iter().find_map(|key| self.template.labels.get(*key));
        let replica = role.is_some_and(|role| ["replica", "slave", "follower"].contains(&role.as_str()));
        let of_other_role = |text: &&Text<'_>| {
            let name = text.key.to_ascii_lowercase();
            let of_replica = name.starts_with("replica") || name.starts_with("slave");
            let of_primary = name.starts_with("master") || name.starts_with("primary");
            if replica { of_primary } else { of_replica }
        };
        let mut settings = Settings::default();
        let mut read = Vec::new();
        let mut wanted: Vec<&Text<'_>> =
            texts.iter().filter(is_configuration).filter(|text| !of_other_role(text)).collect();
        // What is of every role comes first.
        wanted.sort_by_key(|text| {
            (
                text.key.starts_with("master") || text.key.starts_with("primary") || text.key.starts_with("replica"),
                text.key,
            )
        });
        for text in wanted {
            settings.read(text.content);
            read.push(text.title());
        }
        (settings, read)
    }

    /// The scripts of the pod. `line`: of the command line too.
    fn scripts(&self, line: Option<&CommandLine<'_>>) -> script::Scripts {
        let mut texts: Vec<String> = Vec::new();
        let mut unseen = false;
        if let Some(line) = line {
            let words: Vec<&str> = line.command.iter().chain(&line.args).copied().collect();
            let is_text = words.iter().any(|word| word.contains(char::is_whitespace));
            texts.push(words.join("\n"));
            // A file that is run, or is run by a shell.
            let file = words
                .iter()
                .flat_map(|word| word.split_whitespace())
                .find(|word| word.starts_with('/') && !["/bin/", "/usr/bin/"].iter().any(|bin| word.starts_with(bin)));
            if let Some(file) = file {
                unseen = !matches!(self.at(file), Found::Text(_)) && !is_text;
            }
        }
        for container in value::list(self.template.spec, "initContainers") {
            texts
                .extend(["command", "args"].iter().flat_map(|field| value::texts(container, field)).map(str::to_owned));
        }
        let is_script =
            |text: &Text<'_>| text.key.to_ascii_lowercase().ends_with(".sh") || text.content.starts_with("#!");
        texts.extend(self.mounted().into_iter().filter(is_script).map(|text| text.content.to_owned()));
        script::Scripts { texts, unseen }
    }

    /// Every text of every ConfigMap in a volume of the pod that is in the input.
    fn mounted(&self) -> Vec<Text<'a>> {
        let volumes = value::list(self.template.spec, "volumes");
        let maps = volumes.iter().flat_map(maps_of);
        let mut found: Vec<Text<'a>> = Vec::new();
        for (name, _) in maps {
            let Some(map) = self.parts.map(self.template.object.namespace(), name) else { continue };
            let data = value::at(map, "data").and_then(Value::as_object);
            let texts = data.into_iter().flatten();
            found.extend(texts.filter_map(|(key, text)| Some(Text { map: name, key, content: text.as_str()? })));
        }
        found
    }

    /// What is at that path in the container.
    fn at(&self, path: &str) -> Found<'a> {
        let inside = |mount: &&Value| {
            let mounted = value::text(mount, "mountPath").unwrap_or_default().trim_end_matches('/');
            path.strip_prefix(mounted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mounts = value::list(self.container.value, "volumeMounts").iter().filter(inside);
        let Some(mount) = mounts.max_by_key(|mount| value::text(mount, "mountPath").map_or(0, str::len)) else {
            return Found::NotMounted;
        };
        let mounted = value::text(mount, "mountPath").unwrap_or_default().trim_end_matches('/');
        let rest = path.strip_prefix(mounted).unwrap_or_default().trim_start_matches('/');
        let file = [value::text(mount, "subPath").unwrap_or_default(), rest]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("/");
        let named = value::text(mount, "name");
        let volumes = value::list(self.template.spec, "volumes");
        let Some(volume) = volumes.iter().find(|volume| value::text(volume, "name") == named) else {
            return Found::NotMounted;
        };
        if value::at(volume, "secret").is_some() {
            return Found::Missing(format!("{path} is in a Secret"));
        }
        for (map, items) in maps_of(volume) {
            let renamed = items.iter().find(|item| value::text(item, "path") == Some(file.as_str()));
            let key = renamed.and_then(|item| value::text(item, "key")).unwrap_or(file.as_str());
            let Some(value) = self.parts.map(self.template.object.namespace(), map) else {
                return Found::Missing(format!("ConfigMap {map} with {path} is not in the input"));
            };
            let data = value::at(value, "data").and_then(Value::as_object);
            if let Some((key, text)) = data.and_then(|data| data.get_key_value(key)) {
                return Found::Text(Text { map, key, content: text.as_str().unwrap_or_default() });
            }
        }
        if maps_of(volume).is_empty() {
            Found::NotMounted
        } else {
            Found::Missing(format!("its ConfigMap has no {path}"))
        }
    }
}

/// What is at a path.
enum Found<'a> {
    Text(Text<'a>),
    /// It is somewhere that is not seen.
    Missing(String),
    /// No ConfigMap is mounted there.
    NotMounted,
}

/// The ConfigMaps of a volume, each with its items.
fn maps_of(volume: &Value) -> Vec<(&str, &[Value])> {
    let one = value::at(volume, "configMap").into_iter();
    let projected = value::list(volume, "projected.sources").iter().filter_map(|source| value::at(source, "configMap"));
    one.chain(projected).filter_map(|map| Some((value::text(map, "name")?, value::list(map, "items")))).collect()
}
