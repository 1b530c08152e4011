//! The arguments of the operator: the binary knows them, and starts with those of every value.

use std::process::Command;

use pretty_assertions::assert_eq;
use serde_json::Value;

use crate::{
    helm::{of_kind, render, strings, text},
    values::{OTHER_VALUES, setting},
};

fn operator_arguments(objects: &[Value]) -> Vec<String> {
    strings(&of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["args"])
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn the_binary_knows_every_flag_and_variable_that_the_chart_sets() {
    let objects = render(&[]);
    let help = Command::new(env!("CARGO_BIN_EXE_redis-memory-operator")).args(["run", "--help"]).output().unwrap();
    let help = text(&help.stdout);
    let arguments = operator_arguments(&objects);
    assert_eq!(arguments[0], "run");
    for argument in &arguments[1..] {
        let flag = argument.split('=').next().unwrap();
        assert!(help.contains(&format!("{flag} ")), "no flag {flag} in:\n{help}");
    }
    let container = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0];
    for variable in container["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        assert!(help.contains(name), "no variable {name} in:\n{help}");
    }
}

/// Starts the operator with these arguments and no cluster to find: it gets as far as looking for one.
fn starts(arguments: &[String]) {
    let output = Command::new(env!("CARGO_BIN_EXE_redis-memory-operator"))
        .args(arguments)
        .env_clear()
        .envs([("RMO_IDENTITY", "pod"), ("RMO_LEASE_NAMESPACE", "ops"), ("KUBECONFIG", "/nonexistent")])
        .output()
        .unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    assert!(said.contains("cannot go on") && said.contains("kubeconfig"), "{arguments:?}: {said}");
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn the_operator_starts_with_the_arguments_of_every_value() {
    starts(&operator_arguments(&render(&[])));
    for (path, other, with) in OTHER_VALUES {
        let (before, changed) = setting(path, other, with);
        starts(&operator_arguments(&render(&[before.as_slice(), &[changed.as_str()]].concat())));
    }
    // A flag of the chart's own, given again.
    starts(&operator_arguments(&render(&[r#"json:extraArgs=["--listen=127.0.0.1:0","--log-level=warn"]"#])));
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn times_reach_the_operator_and_more_arguments_come_last() {
    let objects = render(&["timing.warmUp=3s,timing.endpointSync=1500ms", "extraArgs={--sample-interval=1s}"]);
    let arguments = operator_arguments(&objects);
    assert!(arguments.contains(&"--warm-up=3s".to_owned()), "{arguments:?}");
    assert!(arguments.contains(&"--endpoint-sync=1500ms".to_owned()), "{arguments:?}");
    assert_eq!(arguments.last().unwrap(), "--sample-interval=1s");
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn stop_and_budgets_reach_the_operator() {
    let of = |settings: &[&str]| -> Vec<String> {
        let arguments = operator_arguments(&render(settings)).into_iter();
        arguments.filter(|flag| flag.contains("maximum") || flag.contains("stop")).collect()
    };
    assert_eq!(of(&[]), ["--maximum-remediations=1"]);
    // Values of an older release, kept by --reuse-values.
    assert_eq!(of(&["budget=null", "stop=null"]), ["--maximum-remediations=1"]);
    let all = of(&["budget.maximumRemediations=0,budget.maximumRestartsPerHour=12,stop=true"]);
    assert_eq!(all, ["--maximum-remediations=0", "--maximum-restarts-per-hour=12", "--stop"]);
}
