//! Upgrade from the first version, without a cluster: what it stored is accepted, read and kept by this one. The
//! frozen chart, with its definition, and the stored objects are in `tests/upgrade/first/`. `cluster_upgrade.rs` does
//! the same with Helm and a real API server.
#![cfg(test)]
#![allow(clippy::or_fun_call, unreachable_pub, reason = "the helpers of a test are test code")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use kube::core::cel::{Validator, compile_schema};
use pretty_assertions::assert_eq;
use redis_memory_operator::{
    api::v1alpha1::{self, RedisMemoryPolicy},
    domain::fixtures,
    plan::{Context, PlanSettings, advance, next::Next},
    validate::validate,
};
use rstest::rstest;
use serde_json::{Value, json};

fn first() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upgrade/first")
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn schema_of(crd: &Value) -> Value {
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema").expect("a schema").clone()
}

fn new_schema() -> Value {
    schema_of(&serde_json::to_value(v1alpha1::crd()).unwrap())
}

/// The first version's definition: its chart's template without what Helm would have evaluated.
fn first_schema() -> Value {
    let template = fs::read_to_string(first().join("chart/templates/crd.yaml")).unwrap();
    let lines = template.lines().filter(|line| !line.trim_start().starts_with("{{-"));
    let lines = lines.filter(|line| !["  annotations:", "    helm.sh/resource-policy: keep"].contains(line));
    let plain = lines.collect::<Vec<_>>().join("\n").replace("{{ \"{{\" }}", "{{");
    schema_of(&serde_yaml::from_str(&plain).expect("the definition"))
}

/// The objects as the first version stored them.
fn stored() -> Vec<(String, Value)> {
    let files = fs::read_dir(first().join("objects")).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> =
        files.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), read(&path))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(all.len() >= 7, "the stored objects were not found");
    all
}

/// Where a value is not what a structural schema says, by path. A field that the schema does not know is such a
/// place: the API server would drop it.
fn misfits(path: &str, schema: &Value, value: &Value, found: &mut Vec<String>) {
    let mut say = |text: &str| found.push(format!("{path}: {text}: {value}"));
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        say("not among the values");
    }
    if let Some(number) = value.as_f64() {
        if schema["minimum"].as_f64().is_some_and(|least| number < least) {
            say("too small");
        }
        if schema["maximum"].as_f64().is_some_and(|most| number > most) {
            say("too large");
        }
    }
    if let Some(text) = value.as_str() {
        let length = u64::try_from(text.chars().count()).unwrap();
        if schema["maxLength"].as_u64().is_some_and(|most| length > most)
            || schema["minLength"].as_u64().is_some_and(|least| length < least)
        {
            say("length");
        }
    }
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        _ => schema["x-kubernetes-int-or-string"] == true && (value.is_string() || value.is_i64()),
    };
    if !fits {
        say("another type");
    }
    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
        misfits(&format!("{path}[{n}]"), &schema["items"], item, found);
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.is_object() && value.get(name).is_none() {
            found.push(format!("{path}.{name}: missing"));
        }
    }
    for (name, child) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match schema["properties"].get(name).or_else(|| schema.get("additionalProperties")) {
            Some(schema) => misfits(&path, schema, child, found),
            None => found.push(format!("{path}: would be dropped")),
        }
    }
}

fn misfits_of(schema: &Value, object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for part in ["spec", "status"] {
        if let Some(value) = object.get(part).filter(|value| !value.is_null()) {
            misfits(part, &schema["properties"][part], value, &mut found);
        }
    }
    found
}

#[test]
fn what_the_first_version_stored_fits_its_own_schema_and_ours() {
    let (first, new) = (first_schema(), new_schema());
    for (name, object) in stored() {
        assert_eq!(misfits_of(&first, &object), Vec::<String>::new(), "{name}: the corpus itself");
        assert_eq!(misfits_of(&new, &object), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn our_rules_accept_what_the_first_version_stored() {
    let compiled = compile_schema(&new_schema());
    for (name, object) in stored() {
        if let Err(errors) = Validator::new().validate_compiled(&compiled, &object, None) {
            panic!("{name}: {:?}", errors.as_slice().iter().map(ToString::to_string).collect::<Vec<_>>());
        }
    }
}

/// The checker itself.
#[rstest]
#[case(json!({"spec": {"selector": {}, "mode": "Dream"}}), "spec.mode: not among the values")]
#[case(json!({"spec": {"selector": {}, "headroom": {"percent": 9}}}), "spec.headroom.percent: too small")]
#[case(json!({"spec": {"selector": {}, "suspend": "yes"}}), "spec.suspend: another type")]
#[case(json!({"spec": {"mode": "Observe"}}), "spec.selector: missing")]
#[case(json!({"spec": {"selector": {}}, "status": {"gone": 1}}), "status.gone: would be dropped")]
#[case(json!({"spec": {"selector": {}, "restart": {"cooldown": "1".repeat(25)}}}), "spec.restart.cooldown: length")]
fn a_misfit_is_seen(#[case] object: Value, #[case] said: &str) {
    let found = misfits_of(&new_schema(), &object);
    assert!(found.iter().any(|misfit| misfit.starts_with(said)), "{found:?}");
}

/// Every field that was given is still there after our types have read and written it.
fn lost(path: &str, before: &Value, after: Option<&Value>) -> Vec<String> {
    match (before, after) {
        (Value::Object(fields), Some(after)) => {
            fields.iter().flat_map(|(name, value)| lost(&format!("{path}.{name}"), value, after.get(name))).collect()
        }
        (Value::Array(items), Some(after)) => {
            items.iter().enumerate().flat_map(|(n, item)| lost(&format!("{path}[{n}]"), item, after.get(n))).collect()
        }
        (before, Some(after)) if before == after => Vec::new(),
        (Value::Null, None) => Vec::new(),
        (before, after) => vec![format!("{path}: {before} became {after:?}")],
    }
}

#[test]
fn our_types_read_it_and_lose_nothing() {
    for (name, object) in stored() {
        let resource: RedisMemoryPolicy =
            serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let again = serde_json::to_value(&resource).unwrap();
        assert_eq!(lost("", &object, Some(&again)), Vec::<String>::new(), "{name}");
        assert!(validate(&resource).is_ok(), "{name}: {:?}", validate(&resource));
    }
}

/// A later version may store the word for people of the step that is stored as `Prove`: after a rollback to this one it is
/// accepted and read. What is written is still the first version's word, which an operator of that version reads.
#[test]
fn a_step_is_read_in_either_word_and_written_in_the_first_versions() {
    const STORED: &str = r#""kind":"Prove""#;
    let proving: Vec<_> = stored().into_iter().filter(|(_, object)| object.to_string().contains(STORED)).collect();
    assert!(!proving.is_empty(), "nothing that is stored has such a step");
    for (name, object) in proving {
        let later: Value = serde_json::from_str(&object.to_string().replace(STORED, r#""kind":"Verify""#)).unwrap();
        assert_eq!(misfits_of(&new_schema(), &later), Vec::<String>::new(), "{name}");
        let resource: RedisMemoryPolicy = serde_json::from_value(later).unwrap();
        let written = serde_json::to_value(&resource).unwrap();
        assert_eq!(lost("", &object, Some(&written)), Vec::<String>::new(), "{name}");
    }
}

/// What the new definition no longer accepts of what the old one did, by path. A bound may widen, never narrow; what
/// was optional stays so.
fn narrowed(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let mut say = |text: String| found.push(format!("{path}: {text}"));
    if old["type"] != new["type"] {
        say(format!("type {} became {}", old["type"], new["type"]));
    }
    let values = |schema: &Value| -> BTreeSet<String> {
        schema["enum"].as_array().into_iter().flatten().map(Value::to_string).collect()
    };
    for value in values(old).difference(&values(new)).filter(|_| new.get("enum").is_some()) {
        say(format!("{value} is refused"));
    }
    // A list of values bounds the length as well.
    let longest = old["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::len).max();
    for bound in ["maximum", "maxLength", "maxItems", "maxProperties"] {
        let listed = longest.filter(|_| bound == "maxLength").map(|most| f64::from(u32::try_from(most).unwrap()));
        let (before, now) = (old[bound].as_f64().or(listed), new[bound].as_f64());
        if now.is_some_and(|now| before.is_none_or(|before| now < before)) {
            say(format!("{bound} {before:?} became {now:?}"));
        }
    }
    for bound in ["minimum", "minLength", "minItems"] {
        let (before, now) = (old[bound].as_f64(), new[bound].as_f64());
        if now.is_some_and(|now| before.is_none_or(|before| now > before)) {
            say(format!("{bound} {before:?} became {now:?}"));
        }
    }
    if new.get("pattern").is_some() && old["pattern"] != new["pattern"] {
        say("another pattern".to_owned());
    }
    if old.get("default").is_some() && old["default"] != new["default"] && !old["default"].is_object() {
        say(format!("default {} became {}", old["default"], new["default"]));
    }
    let required = |schema: &Value| -> BTreeSet<String> {
        schema["required"].as_array().into_iter().flatten().map(Value::to_string).collect()
    };
    for name in required(new).difference(&required(old)) {
        say(format!("{name} is required now"));
    }
    for (name, old) in old["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match new["properties"].get(name) {
            Some(new) => narrowed(&path, old, new, found),
            None => found.push(format!("{path}: gone")),
        }
    }
    for key in ["items", "additionalProperties"] {
        if let (Some(old), Some(new)) = (old.get(key), new.get(key)) {
            narrowed(&format!("{path}[]"), old, new, found);
        }
    }
}

#[test]
fn the_definition_only_widens() {
    let mut found = Vec::new();
    narrowed("", &first_schema(), &new_schema(), &mut found);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_narrower_definition_is_seen() {
    let mut new = new_schema();
    let spec = &mut new["properties"]["spec"];
    spec["properties"]["headroom"]["properties"]["percent"]["maximum"] = json!(300);
    spec["properties"]["mode"]["enum"] = json!(["Observe"]);
    spec["properties"].as_object_mut().unwrap().remove("eviction");
    spec["required"] = json!(["selector", "mode"]);
    let mut found = Vec::new();
    narrowed("", &first_schema(), &new, &mut found);
    for said in ["percent: maximum", "mode: \"Enforce\" is refused", "eviction: gone", "\"mode\" is required now"] {
        assert!(found.iter().any(|text| text.contains(said)), "{said}: {found:?}");
    }
}

/// A journal of the first version is taken over: its members are where it says, so the step under way goes on.
#[rstest]
#[case("remediation-under-way")]
#[case("switchover-under-way")]
fn a_remediation_of_the_first_version_goes_on(#[case] name: &str) {
    let object = read(&first().join(format!("objects/{name}.yaml")));
    let resource: RedisMemoryPolicy = serde_json::from_value(object).unwrap();
    let policy = validate(&resource).unwrap();
    let status = resource.status.unwrap();
    let (_, snapshot) = fixtures::enforced();
    let settings = PlanSettings::default();
    let records = &status.workloads;
    let ctx = Context::of(&policy, &snapshot, records, snapshot.at, &settings);
    let next = advance::next(&ctx, status.journal.as_ref().unwrap(), false);
    assert!(!matches!(next, Next::End(_)), "{next:?}");
}
