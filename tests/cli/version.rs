//! `version` against a stand-in for the API server.

use redis_memory_operator::cli::crd;
use serde_json::{Value, json};

use super::{
    live::{ended, policy, run, serve},
    run as run_alone,
};

const DEFINITION: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/redismemorypolicies.redismemory.io";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/ops/deployments/rmo";

#[test]
fn the_client_alone_asks_nobody() {
    let ran = run_alone(&["version", "--client"], "");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(ran.out, concat!("client  ", env!("CARGO_PKG_VERSION"), "\n"));
    let ran = run_alone(&["version", "-o", "json"], "");
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("cannot say everything: cannot configure the Kubernetes client"), "{}", ran.err);
    let said: Value = serde_json::from_str(&ran.out).expect("what is known is said");
    assert_eq!(said, json!({"client": env!("CARGO_PKG_VERSION")}));
}

#[test]
fn client_server_definition_and_operator_are_said() {
    let mut evaluated = ended("Succeeded");
    evaluated["operator"] = json!("ops/rmo");
    let api = serve(&[policy("sessions", 1, evaluated)]);
    api.set(
        "/version",
        json!({"major": "1", "minor": "35", "gitVersion": "v1.35.0", "gitCommit": "", "gitTreeState": "",
        "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}),
    );
    let ran = run(&api, &["version"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("definition  not installed: redis-memory-operator crd"), "{}", ran.out);

    let definition: Value = serde_yaml::from_str(&crd::manifest(false).unwrap()).unwrap();
    api.set(DEFINITION, definition.clone());
    let labels = json!({"app.kubernetes.io/version": "0.1.0"});
    api.set(
        DEPLOYMENT,
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "rmo", "namespace": "ops", "labels": labels},
        "spec": {"replicas": 2, "selector": {}, "template": {}}, "status": {"readyReplicas": 1}}),
    );
    let ran = run(&api, &["version"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    insta::assert_snapshot!("version", ran.out);

    let mut other = definition;
    other["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = json!("of another release");
    api.set(DEFINITION, other);
    let ran = run(&api, &["version", "-o", "yaml"]);
    let said: Value = serde_yaml::from_str(&ran.out).expect("YAML");
    assert_eq!(said["definition"], json!({"served": ["v1alpha1"], "sameAsClient": false}));
    assert_eq!(said["operators"][0]["version"], "0.1.0");
}

#[test]
fn what_may_not_be_read_keeps_nothing_else_from_being_said() {
    let api = serve(&[]);
    let ran = run(&api, &["version"]);
    assert_eq!(ran.code, 3);
    assert!(ran.out.starts_with("client  "), "{}", ran.out);
    assert!(ran.err.contains("cannot ask the API server for its version"), "{}", ran.err);
}
