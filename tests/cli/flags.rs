//! The flags that every verb shares: which cluster, as whom, how a list is shown, and where they stand.

use std::fs;

use serde_json::Value;

use super::{
    fake_api::FakeApi,
    live::{POLICIES, ended, policy, run, serve},
    run as run_alone,
};

fn shop() -> FakeApi {
    serve(&[policy("sessions", 1, ended("Succeeded")), policy("users", 1, Value::Null)])
}

#[test]
fn flags_stand_before_or_after_the_verb() {
    let api = shop();
    let after = run(&api, &["status", "sessions", "-n", "shop", "-o", "name"]);
    assert_eq!((after.code, after.out.as_str()), (0, "redismemorypolicy.redismemory.io/sessions\n"), "{}", after.err);
    for before in [
        vec!["-n", "shop", "status", "sessions", "-o", "name"],
        vec!["--namespace=shop", "-o", "name", "status", "sessions"],
        vec!["-nshop", "status", "-o", "name", "sessions"],
    ] {
        assert_eq!(run(&api, &before).out, after.out, "{before:?}");
    }
    // What asks no cluster says that it does not take the flag.
    let ran = run(&api, &["-n", "shop", "recommend", "--memory", "1Gi"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("unexpected argument '-n'"), "{}", ran.err);
}

#[test]
fn the_kubeconfig_and_the_user_are_those_that_are_named() {
    let api = shop();
    let kubeconfig = api.kubeconfig();
    let kubeconfig = kubeconfig.to_str().unwrap();
    let ran = run_alone(&["--kubeconfig", kubeconfig, "status", "--context", "fake"], "");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(api.headers("impersonate-user"), Vec::<String>::new());
    let as_jane = ["status", "--as", "jane", "--as-group", "ops", "--as-group", "dev", "--kubeconfig", kubeconfig];
    assert_eq!(run_alone(&as_jane, "").code, 0);
    assert_eq!(api.headers("impersonate-user"), ["jane"]);
    assert_eq!(api.headers("impersonate-group"), ["ops", "dev"]);

    let refused = |arguments: &[&str], says: &str| {
        let ran = run_alone(arguments, "");
        assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{}", ran.err);
        assert!(ran.err.contains(says), "{}", ran.err);
    };
    refused(&["status", "--kubeconfig", "/nonexistent/other"], "/nonexistent/other");
    refused(&["status", "--kubeconfig", kubeconfig, "--context", "nowhere"], "nowhere");
    refused(&["status", "--kubeconfig", kubeconfig, "--as-group", "ops"], "--as <USER>");
    refused(&["status", "--kubeconfig", kubeconfig, "-n", "shop", "-A"], "cannot be used with");
    refused(&["plan", "-f", "-", "--kubeconfig", kubeconfig], "cannot be used with");
}

#[test]
fn a_list_is_shown_as_it_is_wished() {
    let api = shop();
    insta::assert_snapshot!("status_wide", run(&api, &["status", "-o", "wide"]).out);
    let names = "redismemorypolicy.redismemory.io/sessions\nredismemorypolicy.redismemory.io/users\n";
    assert_eq!(run(&api, &["status", "-A", "-o", "name"]).out, names);
    let with = run(&api, &["status"]).out;
    let without = run(&api, &["status", "--no-headers"]).out;
    assert_eq!(without.lines().count() + 1, with.lines().count(), "{without}");
    assert!(with.starts_with("NAMESPACE") && without.starts_with("shop"), "{without}");
    let ran = run(&api, &["status", "-o", "table"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("[possible values: text, wide, name, json, yaml]"), "{}", ran.err);
    api.set(POLICIES, super::live::list(&[]));
    assert_eq!(run(&api, &["status", "-o", "name"]).out, "");
    assert_eq!(run(&api, &["status", "-o", "json"]).out, "[]\n");
}

#[test]
fn colour_is_for_terminals_and_for_who_asks_for_it() {
    let api = serve(&[policy("sessions", 1, super::live::judged("ActNow"))]);
    let coloured = |arguments: &[&str]| {
        let ran = run(&api, arguments);
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.out.contains('\u{1b}')
    };
    assert!(!coloured(&["status"]), "standard output is no terminal here");
    assert!(coloured(&["status", "--color", "always"]));
    assert!(coloured(&["--color=always", "status", "sessions"]));
    assert!(!coloured(&["status", "--color", "never"]));
    assert!(!coloured(&["status", "--color", "always", "-o", "json"]), "a program reads it");
    assert!(run(&api, &["status", "--color", "always"]).out.contains("\u{1b}[31mActNow\u{1b}[0m   Enforce"));
}

/// A pipeline acts on them: each help text has them, and docs/cli.md names each verb.
#[test]
fn every_verb_says_its_exit_codes() {
    let all = run_alone(&["--help"], "").out;
    let verbs = all.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let verbs: Vec<&str> = verbs.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(verbs.len() > 12, "{all}");
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md")).unwrap();
    for verb in verbs.into_iter().filter(|verb| *verb != "help") {
        let help = run_alone(&[verb, "--help"], "").out;
        // Those print something that is made without looking at anything, or run for ever.
        let silent = ["run", "crd", "acl", "admission", "completion"].contains(&verb);
        assert_eq!(help.contains("Exit code: 0 "), !silent, "{verb}: {help}");
        assert!(
            silent || page.contains(&format!("`{verb}`")) || page.contains(&format!("`{verb} ")),
            "docs/cli.md: {verb}"
        );
    }
}
