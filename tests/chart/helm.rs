//! Helm, run on the chart without any cluster.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde::Deserialize;
use serde_json::Value;

use crate::{chart_values::option, tool::program};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where `make generate` wants what is generated; `None`: it is compared with what is there.
#[allow(clippy::disallowed_methods, reason = "a test's own setting")]
pub(crate) fn generate_into() -> Option<PathBuf> {
    std::env::var("RMO_GENERATE_INTO").map(PathBuf::from).ok()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs helm on the chart as release `r` in namespace `ops`, without any cluster. Settings are `path=value`, or
/// `json:path=value` for lists and maps.
pub(crate) fn helm(verb: &[&str], settings: &[&str]) -> Output {
    by("helm", verb, settings)
}

fn by(name: &str, verb: &[&str], settings: &[&str]) -> Output {
    let mut command = Command::new(program(name));
    command.env("KUBECONFIG", "/dev/null").args(verb).arg("r").arg(root().join("charts/redis-memory-operator"));
    command.args(["--namespace", "ops"]);
    command.args(settings.iter().flat_map(|setting| option(setting)));
    command.output().unwrap()
}

pub(crate) fn render(settings: &[&str]) -> Vec<Value> {
    rendered_by("helm", settings)
}

/// What a program of that name renders: `helm`, or `helm3`, the one before it.
pub(crate) fn rendered_by(name: &str, settings: &[&str]) -> Vec<Value> {
    let output = by(name, &["template", "--kube-version", "1.35.0"], settings);
    assert!(output.status.success(), "{name} template {settings:?}: {}", text(&output.stderr));
    documents(&text(&output.stdout))
}

/// The objects of a YAML stream.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    let all = serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap());
    all.filter(|object| !object.is_null()).collect()
}

pub(crate) fn refusal(settings: &[&str]) -> String {
    let output = helm(&["template"], settings);
    assert!(!output.status.success(), "helm accepted {settings:?}");
    text(&output.stderr)
}

pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

pub(crate) fn strings(list: &Value) -> Vec<String> {
    list.as_array().map_or_else(Vec::new, |items| items.iter().map(|item| item.as_str().unwrap().to_owned()).collect())
}
