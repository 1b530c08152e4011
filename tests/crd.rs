//! The files that `make generate` writes say what the types say.
#![cfg(test)]

use std::{fs, path::Path};

use redis_memory_operator::{api::v1alpha1, cli::crd::manifest};

fn assert_generated(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == expected,
        "{path} differs from what the types generate: run `make generate` and commit the result"
    );
}

#[test]
fn the_plain_manifest_is_what_the_types_generate() {
    assert_generated("crds/redismemorypolicies.yaml", &manifest(false).unwrap());
}

#[test]
fn the_charts_manifest_is_what_the_types_generate() {
    assert_generated("charts/redis-memory-operator/templates/crd.yaml", &manifest(true).unwrap());
}

/// Every place of the schema, by path.
fn walk(
    path: &str,
    value: &serde_json::Value,
    visit: &mut dyn FnMut(&str, &serde_json::Map<String, serde_json::Value>),
) {
    let Some(object) = value.as_object() else { return };
    visit(path, object);
    for (name, child) in object.get("properties").and_then(|p| p.as_object()).into_iter().flatten() {
        walk(&format!("{path}.{name}"), child, visit);
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(child) = object.get(key) {
            walk(&format!("{path}{mark}"), child, visit);
        }
    }
}

fn schema() -> serde_json::Value {
    let crd = serde_json::to_value(v1alpha1::crd()).unwrap();
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap().clone()
}

fn complaints(check: impl Fn(&serde_json::Map<String, serde_json::Value>) -> bool) -> Vec<String> {
    let (mut found, mut seen) = (Vec::new(), 0);
    walk("", &schema(), &mut |path, place| {
        seen += 1;
        if check(place) {
            found.push(path.to_owned());
        }
    });
    assert!(seen > 100, "the walk saw only {seen} places");
    found
}

#[test]
fn every_text_and_list_has_a_limit() {
    let unlimited = complaints(|place| match place.get("type").and_then(|t| t.as_str()) {
        Some("string") => {
            !["maxLength", "enum"].iter().any(|k| place.contains_key(*k)) && place.get("format").is_none()
        }
        Some("array") => !place.contains_key("maxItems"),
        Some("object") => place.contains_key("additionalProperties") && !place.contains_key("maxProperties"),
        _ => false,
    });
    assert_eq!(unlimited, Vec::<String>::new());
}

#[test]
fn no_floats_no_unsigned_formats_and_nothing_nullable() {
    let odd = complaints(|place| {
        place.get("type").is_some_and(|t| t == "number")
            || place.get("format").and_then(|f| f.as_str()).is_some_and(|f| f.starts_with("uint") || f == "double")
            || place.contains_key("nullable")
    });
    assert_eq!(odd, Vec::<String>::new());
}

#[test]
fn every_field_says_what_it_is() {
    let crd = schema();
    let mut silent = Vec::new();
    walk("", &crd, &mut |path, place| {
        let named = !path.is_empty() && !path.ends_with(']') && !path.ends_with('}');
        if named && !place.contains_key("description") {
            silent.push(path.to_owned());
        }
    });
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn every_rule_has_a_message_that_says_what_to_do() {
    let crd = schema();
    let mut rules = 0;
    walk("", &crd, &mut |path, place| {
        for rule in place.get("x-kubernetes-validations").and_then(|r| r.as_array()).into_iter().flatten() {
            rules += 1;
            let message = rule.get("message").and_then(|m| m.as_str()).unwrap_or_default();
            assert!(message.len() > 30, "the rule at {path} has no useful message: {message:?}");
        }
    });
    assert!(rules >= 20, "only {rules} rules were found");
}

#[test]
fn braces_in_a_description_are_kept_from_the_template_engine() {
    let chart = manifest(true).unwrap();
    let switches = chart.matches("{{-").count();
    let escapes = chart.matches(r#"{{ "{{" }}"#).count();
    // Each escape holds two pairs of braces.
    assert_eq!(chart.matches("{{").count(), switches + 2 * escapes);
    let (head, definition) = chart.split_once("\nspec:\n").unwrap();
    assert!(head.contains(".Values.crds.install") && head.contains(".Values.crds.keep"));
    assert_eq!(definition.matches("{{-").count(), 1, "all switches stand in the metadata, but the end of the first");
    assert!(definition.ends_with("{{- end }}\n"));
}
