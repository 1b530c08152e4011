//! Texts → the objects in them, each with its lines. What is no YAML is a problem with its file and line.

use std::{cell::OnceCell, rc::Rc};

use serde::Deserialize as _;
use serde_json::Value;

use super::{
    Input, Place, Problem, Report, STDIN,
    lines::{Lines, Step},
    value,
};

/// An object of the input: a Kubernetes object, or a document without a kind.
#[derive(Debug)]
pub(super) struct Object<'a> {
    /// What it says.
    pub(super) value: Value,
    /// Its document.
    document: Rc<Document<'a>>,
    /// Which item of the document's list it is.
    item: Option<usize>,
}

/// One document of a text.
#[derive(Debug)]
struct Document<'a> {
    input: &'a Input,
    /// The line of the file on which it begins, from 1.
    first: usize,
    text: &'a str,
    /// The template that Helm made it from.
    source: Option<&'a str>,
    /// Looked for once something is said of it.
    lines: OnceCell<Lines>,
}

impl Object<'_> {
    pub(super) fn kind(&self) -> &str {
        value::text(&self.value, "kind").unwrap_or_default()
    }

    /// The API group; empty for the core.
    pub(super) fn group(&self) -> &str {
        value::text(&self.value, "apiVersion").and_then(|it| it.split_once('/')).map_or("", |(group, _)| group)
    }

    pub(super) fn name(&self) -> &str {
        value::text(&self.value, "metadata.name")
            .or_else(|| value::text(&self.value, "metadata.generateName"))
            .unwrap_or("?")
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        value::text(&self.value, "metadata.namespace")
    }

    /// `StatefulSet shop/redis`.
    pub(super) fn title(&self) -> String {
        match self.namespace() {
            Some(namespace) => format!("{} {namespace}/{}", self.kind(), self.name()),
            None => format!("{} {}", self.kind(), self.name()),
        }
    }

    pub(super) fn named(&self) -> bool {
        self.document.input.named
    }

    pub(super) fn file(&self) -> &str {
        &self.document.input.name
    }

    pub(super) fn source(&self) -> Option<String> {
        self.document.source.map(str::to_owned)
    }

    /// Where that part of it stands.
    pub(super) fn place(&self, path: &[Step<'_>]) -> Place {
        let item = self.item.map(|at| [Step::Field("items"), Step::Item(at)]);
        let path: Vec<Step<'_>> = item.into_iter().flatten().chain(path.iter().copied()).collect();
        let lines = self.document.lines.get_or_init(|| Lines::of(self.document.text));
        Place { file: self.file().to_owned(), line: self.document.first + lines.line(&path) }
    }

    pub(super) fn problem(&self, path: &[Step<'_>], text: String) -> Problem {
        Problem { place: self.place(path), text, template: false }
    }
}

/// The objects of all inputs; a list's items are objects.
pub(super) fn objects<'a>(inputs: &'a [Input], report: &mut Report) -> Vec<Object<'a>> {
    let mut objects = Vec::new();
    for input in inputs {
        let before = (objects.len(), report.problems.len());
        // Of one file, one template is enough to say.
        let mut template = false;
        for document in documents(input) {
            match read(document.text) {
                Ok(value) => unpack(document, value, &mut objects),
                Err(_) if document.text.contains("{{") => {
                    if !template {
                        report.problems.push(unrendered(&document));
                    }
                    template = true;
                }
                Err((line, error)) => report.problems.push(Problem {
                    place: Place { file: input.name.clone(), line: document.first + line },
                    text: format!("no YAML: {error}"),
                    template: false,
                }),
            }
        }
        if input.named && before == (objects.len(), report.problems.len()) {
            let text = "there is nothing in it: give it manifests, for example the output of helm template".to_owned();
            report.problems.push(Problem { place: Place { file: input.name.clone(), line: 1 }, text, template: false });
        }
    }
    objects
}

/// A template that nobody has rendered.
fn unrendered(document: &Document<'_>) -> Problem {
    let line = document.text.lines().position(|line| line.contains("{{")).unwrap_or(0);
    Problem {
        place: Place { file: document.input.name.clone(), line: document.first + line },
        text: TEMPLATE.to_owned(),
        template: true,
    }
}

/// What to do about a template.
pub(super) const TEMPLATE: &str =
    "a template that is not rendered ({{ … }}): helm template RELEASE CHART | redis-memory-operator lint -";

/// The documents of a text: between lines that begin with `---`.
fn documents(input: &Input) -> Vec<Document<'_>> {
    let mut found = Vec::new();
    let (mut start, mut first) = (0, 1);
    let mut push = |start: usize, end: usize, first: usize| {
        let text = input.text.get(start..end).unwrap_or_default();
        let is_text = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
        if text.lines().any(is_text) {
            let source = text.lines().find_map(|line| line.strip_prefix("# Source: "));
            found.push(Document { input, first, text, source: source.map(str::trim), lines: OnceCell::new() });
        }
    };
    let mut at = 0;
    for (number, line) in input.text.split_inclusive('\n').enumerate() {
        let marks = line.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if let Some(rest) = marks {
            push(start, at, first);
            // What stands behind the mark is of the document, but for a comment.
            let inline = !rest.trim().is_empty() && !rest.trim_start().starts_with('#');
            (start, first) = if inline { (at + 3, number + 1) } else { (at + line.len(), number + 2) };
        }
        at += line.len();
    }
    push(start, at, first);
    found
}

/// The document's value; the error with its line in the document, from 0.
fn read(text: &str) -> Result<Value, (usize, String)> {
    let error = |error: serde_yaml::Error| {
        let line = error.location().map_or(0, |at| at.line().saturating_sub(1));
        // The library says the line of the document, which is not the file's.
        let text = error.to_string();
        let text = text.split(" at line ").next().unwrap_or_default().to_owned();
        (line, text)
    };
    let value = serde_yaml::Value::deserialize(serde_yaml::Deserializer::from_str(text)).map_err(error)?;
    let mut value = untagged(value);
    value.apply_merge().map_err(error)?;
    serde_json::to_value(value).map_err(|error| (0, error.to_string()))
}

/// Tags say a type of somebody's own; the value is what is looked at.
fn untagged(value: serde_yaml::Value) -> serde_yaml::Value {
    use serde_yaml::Value as Yaml;
    match value {
        Yaml::Tagged(tagged) => untagged(tagged.value),
        Yaml::Sequence(items) => Yaml::Sequence(items.into_iter().map(untagged).collect()),
        Yaml::Mapping(fields) => {
            Yaml::Mapping(fields.into_iter().map(|(name, value)| (name, untagged(value))).collect())
        }
        other => other,
    }
}

fn unpack<'a>(document: Document<'a>, mut value: Value, out: &mut Vec<Object<'a>>) {
    let document = Rc::new(document);
    let is_list = value::text(&value, "kind").is_some_and(|kind| kind.ends_with("List"));
    let items = value.get_mut("items").filter(|_| is_list).map(Value::take);
    match items {
        Some(Value::Array(items)) => {
            let all = items.into_iter().enumerate();
            out.extend(all.map(|(at, value)| Object { value, document: Rc::clone(&document), item: Some(at) }));
        }
        _ if value.is_null() => {}
        _ => out.push(Object { value, document, item: None }),
    }
}

/// A name for a message about a whole text.
pub(super) fn is_stdin(name: &str) -> bool {
    name == STDIN
}
