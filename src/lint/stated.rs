//! Resources of operators, and values of charts → the Redis servers that are made of them, by the recognition table.

use serde_json::Value;

use super::{
    Report,
    documents::Object,
    lines::Step,
    server::{Amounts, Server},
    value,
    workloads::Parts,
};
use crate::domain::{
    bytes::Bytes,
    quantity,
    recognition::{
        self, Deployment,
        stated::{From, ServerAt, Stated, preset_limit},
    },
    start::{self, CommandLine, Settings},
};

/// Deeper than an umbrella chart of an umbrella chart no values are looked for.
const MOST_DEPTH: usize = 3;

/// What describes servers: a whole object, or a part of one.
struct Description<'a> {
    object: &'a Object<'a>,
    /// The part, and the fields that lead to it.
    part: &'a Value,
    path: Vec<Step<'a>>,
    product: &'static Deployment,
}

/// The servers that an operator makes of that resource; `None`: it is no operator's that is known.
pub(super) fn resource(object: &Object<'_>, parts: &Parts<'_>, report: &mut Report) -> Option<Vec<Server>> {
    let (product, stated) = recognition::of_resource(object.kind(), object.group())?;
    let description = Description { object, part: &object.value, path: Vec::new(), product };
    Some(description.servers(stated, parts, report))
}

/// The servers that charts make of these values, as they are or as part of another chart's.
pub(super) fn values(object: &Object<'_>, parts: &Parts<'_>, report: &mut Report) -> Vec<Server> {
    let mut found = Vec::new();
    search(object, &object.value, &mut Vec::new(), parts, &mut found, report);
    found
}

fn search<'a>(
    object: &'a Object<'a>,
    part: &'a Value,
    path: &mut Vec<Step<'a>>,
    parts: &Parts<'_>,
    found: &mut Vec<Server>,
    report: &mut Report,
) {
    let Some(fields) = part.as_object() else { return };
    if let Some((product, stated)) = recognition::of_values(&|at| value::at(part, at).is_some()) {
        let description = Description { object, part, path: path.clone(), product };
        found.extend(description.servers(stated, parts, report));
        return;
    }
    if path.len() >= MOST_DEPTH {
        return;
    }
    for (name, inner) in fields {
        path.push(Step::Field(name));
        search(object, inner, path, parts, found, report);
        path.pop();
    }
}

impl Description<'_> {
    fn servers(&self, stated: &'static Stated, parts: &Parts<'_>, report: &mut Report) -> Vec<Server> {
        let mut found = Vec::new();
        for at in stated.servers {
            if at.each.is_empty() {
                found.extend(self.server(at, self.part, &self.path, parts, report));
                continue;
            }
            for (number, item) in value::list(self.part, at.each).iter().enumerate() {
                let each = value::steps(at.each).chain([Step::Item(number)]);
                let path: Vec<Step<'_>> = self.path.iter().copied().chain(each).collect();
                found.extend(self.server(at, item, &path, parts, report));
            }
        }
        found
    }

    fn server(
        &self,
        at: &'static ServerAt,
        part: &Value,
        path: &[Step<'_>],
        parts: &Parts<'_>,
        report: &mut Report,
    ) -> Option<Server> {
        let begins = |(field, word): &(&str, &str)| {
            value::at(part, field).and_then(value::plain).is_some_and(|text| text.starts_with(word))
        };
        if !at.only.iter().all(begins) || at.never.iter().any(begins) {
            return None;
        }
        let resources = at.resources.iter().find_map(|resources| Some((*resources, value::at(part, resources)?)));
        let (resources_at, none) =
            (resources.map_or_else(|| at.resources.first().copied(), |(at, _)| Some(at)), Value::Null);
        let of_resources: Vec<Step<'_>> =
            path.iter().copied().chain(value::steps(resources_at.unwrap_or_default())).collect();
        let written = resources.map_or(&none, |(_, resources)| resources);
        let mut amounts = Amounts::of(written, self.object, &of_resources, report).ok()?;
        if amounts.limit.is_none() && written.as_object().is_none_or(serde_json::Map::is_empty) {
            let preset = at.preset.map(|(field, default)| value::text(part, field).unwrap_or(default));
            let limit = preset.and_then(preset_limit).or(at.default_limit);
            amounts.limit = limit.and_then(|limit| quantity::parse(limit).ok());
            amounts.request = amounts.request.or(amounts.limit);
        }
        let mut start = Start { settings: Settings::default(), open_because: String::new(), read: Vec::new() };
        for from in at.settings {
            start.take(from, part, amounts.limit, self.object, parts);
        }
        let labels =
            at.labels.iter().map(|(key, label)| ((*key).to_owned(), label.replace("NAME", self.object.name())));
        // What people wrote of it: nothing, where only another part of the same values is.
        let place = if resources.is_some() { &of_resources[..] } else { path };
        let container = value::text(part, "name").filter(|_| !at.each.is_empty());
        let container = container.unwrap_or(if at.name.is_empty() { "server" } else { at.name }).to_owned();
        Some(Server {
            place: self.object.place(place),
            source: self.object.source(),
            object: self.title(),
            container,
            product: Some(self.product),
            namespace: self.object.namespace().map(str::to_owned),
            labels: (!at.labels.is_empty()).then(|| labels.collect()),
            limit: amounts.limit,
            request: amounts.request,
            settings: start.settings,
            open_because: start.open_because,
            read: start.read,
            alone_on: None,
            dir: None,
        })
    }

    /// What it is called.
    fn title(&self) -> String {
        if !self.object.kind().is_empty() {
            return self.object.title();
        }
        let fields = self.path.iter().filter_map(|step| match step {
            Step::Field(name) => Some(*name),
            Step::Item(_) => None,
        });
        let path = fields.collect::<Vec<_>>().join(".");
        format!("values {path}").trim_end().to_owned()
    }
}

/// What a server starts with.
struct Start {
    settings: Settings,
    open_because: String,
    read: Vec<String>,
}

impl Start {
    fn take(&mut self, from: &From, part: &Value, limit: Option<Bytes>, object: &Object<'_>, parts: &Parts<'_>) {
        let text = |at: &str| value::text(part, at);
        match from {
            From::Always(lines) => self.settings.read(lines),
            From::Text(at) => self.text(at, text(at)),
            From::TextOr(at, default) => match text(at) {
                Some(text) => self.text(at, Some(text)),
                None => self.settings.read(default),
            },
            From::Instead(at) => {
                if let Some(text) = text(at) {
                    self.settings = Settings::default();
                    self.text(at, Some(text));
                }
            }
            From::Lines(at) => {
                for line in value::texts(part, at) {
                    let (name, value) =
                        line.trim().split_once(char::is_whitespace).unwrap_or_else(|| (line.trim(), ""));
                    self.settings.set(name, value.trim().trim_matches('"'));
                    self.note(at);
                }
            }
            From::Map(at) => {
                for (name, value) in value::at(part, at).and_then(Value::as_object).into_iter().flatten() {
                    self.settings.set(name, value::plain(value).unwrap_or_default().trim());
                    self.note(at);
                }
            }
            From::Options(at) => {
                let args = value::texts(part, at);
                if let Some(options) = start::of(&CommandLine { args, ..CommandLine::default() }) {
                    self.settings = options.over(std::mem::take(&mut self.settings));
                    self.note(at);
                }
            }
            From::PercentOfLimit(at) => {
                if let Some(percent) = value::at(part, at).and_then(Value::as_u64) {
                    self.of_limit(u32::try_from(percent).unwrap_or(u32::MAX), limit);
                    self.note(at);
                }
            }
            From::OfLimit(percent) => self.of_limit(*percent, limit),
            From::ConfigMap(at) => self.config_map(text(at), object, parts),
            From::Where(at, there, else_) => {
                self.settings.read(if value::at(part, at).is_some() { there } else { else_ });
            }
        }
    }

    fn note(&mut self, at: &str) {
        if self.read.last().is_none_or(|last| last != at) {
            self.read.push(at.to_owned());
        }
    }

    fn text(&mut self, at: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.settings.read(text);
            self.note(at);
        }
    }

    /// Without a limit the product sets none.
    fn of_limit(&mut self, percent: u32, limit: Option<Bytes>) {
        if let Some(limit) = limit {
            let share = u128::from(limit.0) * u128::from(percent) / 100;
            self.settings.set("maxmemory", &share.to_string());
        }
    }

    fn config_map(&mut self, name: Option<&str>, object: &Object<'_>, parts: &Parts<'_>) {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return };
        let Some(map) = parts.map(object.namespace(), name) else {
            self.settings.open_up();
            self.open_because = format!("ConfigMap {name} is not in the input");
            return;
        };
        for (key, text) in value::at(map, "data").and_then(Value::as_object).into_iter().flatten() {
            if let Some(text) = text.as_str() {
                self.settings.read(text);
                self.read.push(format!("ConfigMap {name} ({key})"));
            }
        }
    }
}
