//! Values of the chart on the pages, in `--set` and in YAML, are values that the chart has.

use rstest::rstest;
use serde::Deserialize;
use serde_json::Value;

use crate::{all_blocks, fences::Block, read};

fn defaults() -> Value {
    serde_yaml::from_str(&read("charts/redis-memory-operator/values.yaml")).unwrap()
}

/// What of these values the chart does not have. A map that is empty by default takes any key.
fn unknown(defaults: &Value, given: &Value, path: &str) -> Vec<String> {
    let (Some(known), Some(given)) = (defaults.as_object().filter(|map| !map.is_empty()), given.as_object()) else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    for (name, value) in given {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match known.get(name) {
            Some(below) => wrong.extend(unknown(below, value, &path)),
            None => wrong.push(path),
        }
    }
    wrong
}

/// The paths of the `--set` options of a command: `a.b` of `a.b=c`, without commas of a list in braces.
fn set_paths(command: &str) -> Vec<String> {
    let mut words = command.split_whitespace();
    let mut paths = Vec::new();
    while let Some(word) = words.next() {
        if word != "--set" {
            continue;
        }
        let mut depth = 0;
        let settings = words.next().unwrap_or_default().trim_matches('\'');
        let parts = settings.split(|c: char| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            c == ',' && depth == 0
        });
        paths.extend(parts.filter_map(|part| Some(part.split_once('=')?.0.to_owned())));
    }
    paths
}

/// The same as nested maps, up to the first list.
fn nested(path: &str) -> Value {
    let head = path.split('[').next().unwrap_or_default();
    head.rsplit('.').fold(Value::Bool(true), |below, name| serde_json::json!({ name: below }))
}

/// Values in a YAML block: of an Argo CD Application, or alone.
fn values_in(block: &Block, defaults: &Value) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(&block.text).map(Value::deserialize);
    let of_ours = |document: Value| {
        if document["kind"] == "Application" {
            return Some(document["spec"]["source"]["helm"]["valuesObject"].clone());
        }
        let alone = document["kind"].is_null() && document.as_object()?.keys().any(|key| !defaults[key].is_null());
        alone.then_some(document)
    };
    documents.filter_map(|document| of_ours(document.unwrap())).collect()
}

#[test]
fn values_of_the_chart_exist() {
    let defaults = defaults();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for block in all_blocks() {
        let mut given = Vec::new();
        if block.language() == "yaml" {
            given = values_in(&block, &defaults);
        } else if block.is_shell() {
            let commands = block.commands();
            let ours = commands.iter().filter(|command| command.contains("charts/redis-memory-operator"));
            given.extend(ours.flat_map(|command| set_paths(command)).map(|path| nested(&path)));
        }
        seen += given.len();
        let unknown = given.iter().flat_map(|given| unknown(&defaults, given, ""));
        wrong.extend(unknown.map(|path| format!("{}: {path}", block.place())));
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(seen > 10, "{seen}");
}

#[rstest]
#[case("helm upgrade x charts/redis-memory-operator --set acting.resize=true,acting.resise=true", &["acting.resise"])]
#[case("helm upgrade x charts/redis-memory-operator --set 'watchNamespaces={a,b}' --set stops=true", &["stops"])]
#[case("helm upgrade x charts/redis-memory-operator --set 'secretAccess[0].names={a}'", &[])]
#[case("helm upgrade x charts/redis-memory-operator --set crds.annotations.a=b", &[])]
fn a_value_that_the_chart_does_not_have_is_seen(#[case] command: &str, #[case] wrong: &[&str]) {
    let given: Vec<Value> = set_paths(command).iter().map(|path| nested(path)).collect();
    let found: Vec<String> = given.iter().flat_map(|given| unknown(&defaults(), given, "")).collect();
    assert_eq!(found, wrong);
}
