//! The YAML of the pages: every policy in it is one that the API server takes and the operator understands.

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use redis_memory_operator::{
    api::v1alpha1::{self, RedisMemoryPolicy, RedisMemoryPolicySpec},
    validate::validate,
};
use rstest::rstest;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{all_blocks, fences::Block};

fn rules() -> CompiledSchema {
    let crd = serde_json::to_value(v1alpha1::crd()).unwrap();
    compile_schema(crd.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap())
}

fn documents(block: &Block) -> Vec<Value> {
    let all = serde_yaml::Deserializer::from_str(&block.text).map(Value::deserialize);
    all.map(|document| document.unwrap_or_else(|error| panic!("{}: no YAML: {error}", block.place()))).collect()
}

/// The spec of a policy, or of a part of one: `spec` alone, of which the rest stands elsewhere on the page.
fn spec_of(document: &Value) -> Option<Value> {
    match document["kind"].as_str() {
        Some("RedisMemoryPolicy") => Some(document["spec"].clone()),
        None if document.as_object()?.keys().eq(["spec"]) => {
            let mut spec = document["spec"].clone();
            if spec["selector"].is_null() {
                spec["selector"] = json!({"matchLabels": {"app": "redis"}});
            }
            Some(spec)
        }
        Some(_) | None => None,
    }
}

/// What the API server's rules, the types and the operator's own validation say against it.
fn problems(rules: &CompiledSchema, spec: &Value) -> Vec<String> {
    let typed: RedisMemoryPolicySpec = match serde_json::from_value(spec.clone()) {
        Ok(typed) => typed,
        Err(error) => return vec![error.to_string()],
    };
    let ours = validate(&RedisMemoryPolicy::new("x", typed)).err().unwrap_or_default();
    let object = json!({"metadata": {"name": "x"}, "spec": spec});
    let theirs = Validator::new().validate_compiled(rules, &object, None).err();
    let theirs = theirs.iter().flat_map(|errors| errors.as_slice().iter().map(ToString::to_string));
    ours.iter().map(ToString::to_string).chain(theirs).collect()
}

#[test]
fn every_policy_of_the_pages_is_valid() {
    let rules = rules();
    let mut seen = 0;
    for block in all_blocks().iter().filter(|block| block.language() == "yaml") {
        for spec in documents(block).iter().filter_map(spec_of) {
            assert_eq!(problems(&rules, &spec), Vec::<String>::new(), "{}", block.place());
            seen += 1;
        }
    }
    assert!(seen > 8, "{seen}");
}

#[rstest]
#[case::a_field_that_is_not_there("kind: RedisMemoryPolicy\nspec: {selector: {matchLabels: {a: b}}, size: 1}")]
#[case::no_selector("kind: RedisMemoryPolicy\nspec: {mode: Observe}")]
#[case::bounds("spec: {headroom: {percent: 5}}")]
#[case::order("spec: {fragmentation: {restartPercent: 110}}")]
fn a_bad_policy_is_seen(#[case] text: &str) {
    let document: Value = serde_yaml::from_str(text).unwrap();
    assert!(!problems(&rules(), &spec_of(&document).unwrap()).is_empty());
}

#[rstest]
#[case("kind: Service\nspec: {selector: {app: redis}}")]
#[case("resources: [a]")]
fn what_is_no_policy_is_left_alone(#[case] text: &str) {
    assert_eq!(spec_of(&serde_yaml::from_str(text).unwrap()), None);
}
