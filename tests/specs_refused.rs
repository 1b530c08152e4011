//! Bad specs are refused: by the CRD's rules, evaluated here, and by `validate` with the same text. What a real API
//! server says is in `cluster_specs_refused.rs`, over the same table.
#![cfg(test)]

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use redis_memory_operator::{
    api::v1alpha1::{self, RedisMemoryPolicy, RedisMemoryPolicySpec},
    validate::validate,
};
use serde_json::{Value, json};

mod specs;
use specs::{Bad, By, full, good, table};

fn schema() -> Value {
    let crd = serde_json::to_value(v1alpha1::crd()).unwrap();
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap().clone()
}

fn compiled() -> CompiledSchema {
    compile_schema(&schema())
}

/// What the CEL rules of the schema say to this spec.
fn rules(schema: &CompiledSchema, spec: &Value) -> Vec<String> {
    match Validator::new().validate_compiled(schema, &json!({"metadata": {"name": "x"}, "spec": spec}), None) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.as_slice().iter().map(ToString::to_string).collect(),
    }
}

/// What `validate` says to this spec; the error of serde when the types cannot hold it.
fn validation(spec: &Value) -> Result<Vec<String>, serde_json::Error> {
    let spec: RedisMemoryPolicySpec = serde_json::from_value(spec.clone())?;
    let problems = validate(&RedisMemoryPolicy::new("x", spec)).err().unwrap_or_default();
    Ok(problems.iter().map(ToString::to_string).collect())
}

#[test]
fn good_specs_pass() {
    let schema = compiled();
    for spec in [good(), full()] {
        assert_eq!(rules(&schema, &spec), Vec::<String>::new());
        assert_eq!(validation(&spec).unwrap(), Vec::<String>::new());
    }
}

#[test]
fn the_table_is_large_enough_and_covers_every_rule() {
    let table = table();
    assert!(table.iter().filter(|bad| bad.by == By::Rule).count() >= 16);
    let compiled = compiled();
    assert!(!compiled.has_errors(), "{:?}", compiled.compilation_errors());
    let texts: String =
        table.iter().filter(|bad| bad.by == By::Rule).flat_map(|bad| rules(&compiled, &bad.spec())).collect();
    let mut missing = Vec::new();
    visit(&schema(), &mut |message| {
        if !texts.contains(message) {
            missing.push(message.to_owned());
        }
    });
    assert_eq!(missing, Vec::<String>::new(), "no bad spec is refused by these rules");
}

/// The messages of all rules below this place of the schema.
fn visit(place: &Value, found: &mut dyn FnMut(&str)) {
    for rule in place.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
        found(rule.get("message").and_then(Value::as_str).unwrap());
    }
    for child in place.get("properties").and_then(Value::as_object).into_iter().flatten() {
        visit(child.1, found);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = place.get(key) {
            visit(child, found);
        }
    }
}

#[test]
fn the_rules_refuse_with_field_and_text() {
    let schema = compiled();
    for bad in table().iter().filter(|bad| bad.by == By::Rule) {
        let found = rules(&schema, &bad.spec());
        let named = found.iter().any(|text| text.contains(bad.says) && text.starts_with(bad.field));
        assert!(named, "{} should be refused at {} with {:?}, got {found:#?}", bad.change, bad.field, bad.says);
    }
}

#[test]
fn validate_refuses_the_same_with_the_same_text() {
    let schema = compiled();
    for bad in table() {
        match (bad.by, validation(&bad.spec())) {
            (By::Type, result) => assert!(result.is_err(), "{}: the types hold it: {result:?}", bad.change),
            (By::Bound, result) => assert_one(&bad, &result.unwrap()),
            (By::Rule, result) => {
                let found = result.unwrap();
                assert_one(&bad, &found);
                let cel: Vec<String> = rules(&schema, &bad.spec()).iter().map(|t| t.replacen(": ", " ", 1)).collect();
                assert_eq!(found, cel, "{}: validate and the rules differ", bad.change);
            }
        }
    }
}

fn assert_one(bad: &Bad, found: &[String]) {
    let one = found.len() == 1 && found[0].starts_with(bad.field);
    assert!(one, "{} should be refused once, at {}, got {found:#?}", bad.change, bad.field);
}
