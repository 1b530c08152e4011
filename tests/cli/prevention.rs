//! `recommend` and `admission` through the binary. That what is recommended passes `lint` is a property of
//! `src/lint/recommend/tests.rs`; what the API server makes of the policy is in `cluster_admission/headroom.rs`.

use pretty_assertions::assert_eq;
use rstest::rstest;
use serde::Deserialize as _;
use serde_json::Value;

use super::run;

const WISH: [&str; 9] =
    ["recommend", "--memory", "8Gi", "--replicas", "2", "--persistence", "aof", "--purpose", "cache"];

#[test]
fn a_recommendation_for_people() {
    let ran = run(&WISH, "");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    insta::assert_snapshot!("recommend_8Gi", ran.out);
    assert!(ran.out.lines().all(|line| line.chars().count() <= 100), "{}", ran.out);
}

#[test]
fn programs_read_the_same_as_json_and_yaml() {
    let of = |format: &str| run(&[&WISH[..], &["-o", format]].concat(), "");
    let (json, yaml) = (of("json"), of("yaml"));
    let json: Value = serde_json::from_str(&json.out).expect("it is JSON");
    let yaml: Value = serde_yaml::from_str(&yaml.out).expect("it is YAML");
    assert_eq!(json, yaml);
    assert_eq!(json["maxmemoryBytes"].as_u64(), Some(5461 << 20));
    assert_eq!(json["resources"]["limits"]["memory"], "8Gi");
    assert!(json["redisConf"].as_str().unwrap().starts_with("maxmemory 5461mb\nmaxmemory-policy allkeys-lru\n"));
    assert_eq!(json["node"]["sysctls"]["vm.overcommit_memory"], "1");
}

#[rstest]
#[case(&["recommend", "--memory", "64Mi", "--purpose", "cache"], "at least 65 MiB")]
#[case(&["recommend", "--purpose", "cache"], "--memory")]
#[case(&["recommend", "--memory", "8Gi"], "--purpose")]
#[case(&["recommend", "--memory", "8Gi", "--node", "16Gi", "--purpose", "cache"], "cannot be used with")]
#[case(&["recommend", "--memory", "8GB", "--purpose", "cache"], "for example 64Mi")]
#[case(&["admission", "--name", "A_b"], "write for example")]
#[case(&["admission", "--percent", "5"], "10..=400")]
fn what_makes_no_sense_is_said(#[case] arguments: &[&str], #[case] said: &str) {
    let ran = run(arguments, "");
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    assert!(ran.err.contains(said), "{}", ran.err);
}

#[test]
fn a_policy_and_its_binding_by_the_flags() {
    let ran = run(&["admission", "--percent", "75", "--minimum", "128Mi", "--action", "warn", "--name", "x"], "");
    let all: Vec<Value> =
        serde_yaml::Deserializer::from_str(&ran.out).map(|document| Value::deserialize(document).unwrap()).collect();
    let [policy, binding] = all.as_slice() else { panic!("{}", ran.out) };
    assert_eq!(
        (policy["metadata"]["name"].as_str(), policy["spec"]["failurePolicy"].as_str()),
        (Some("x"), Some("Ignore"))
    );
    assert_eq!(binding["spec"], serde_json::json!({"policyName": "x", "validationActions": ["Warn", "Audit"]}));
    let resources = policy["spec"]["matchConstraints"]["resourceRules"].to_string();
    for never in ["pods", "replicasets", "\"jobs\""] {
        assert!(!resources.contains(never), "{never}: {resources}");
    }
    assert!(
        ran.out.contains("100.0 + 75.0") && ran.out.contains("quantity(\"128Mi\")") && !ran.out.contains('@'),
        "{}",
        ran.out
    );
}
