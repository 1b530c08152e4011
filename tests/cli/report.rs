//! `report`: one document from snapshots, or from a stand-in for the API server whose pods cannot be reached.

use std::fs;

use rstest::rstest;
use serde_json::{Value, json};

use super::{
    fake_api::FakeApi,
    live::{self, ended, list, policy, serve, shop, under_way},
    offline::snapshot,
    run,
};

/// The scenarios as snapshot files, and their paths.
fn files(names: &[&str]) -> (tempfile::TempDir, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &&str| {
        let path = directory.path().join(format!("{name}.yaml"));
        fs::write(&path, snapshot(name)).unwrap();
        path.display().to_string()
    };
    let paths = names.iter().map(path).collect();
    (directory, paths)
}

fn report(names: &[&str], form: &str) -> String {
    let (_kept, paths) = files(names);
    let files: Vec<&str> = paths.iter().flat_map(|path| ["-f", path]).collect();
    let ran = run(&[&["report", "-o", form], files.as_slice()].concat(), "");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    ran.out
}

#[test]
fn markdown_has_everything_that_a_reader_without_access_asks_for() {
    let names = ["fragmented", "limit-on-some", "unreachable-primary", "oom-killed", "no-targets"];
    insta::assert_snapshot!("report_markdown", report(&names, "markdown"));
}

#[test]
fn json_has_the_same_for_programs() {
    let mut value: Value = serde_json::from_str(&report(&["fragmented"], "json")).unwrap();
    for pod in value.pointer_mut("/policies/0/sets/0/pods").unwrap().as_array_mut().unwrap() {
        // One reading shows the form of all.
        let history = pod["history"].as_array_mut().unwrap();
        assert!(history.len() > 10, "{history:?}");
        history.truncate(1);
    }
    insta::assert_snapshot!("report_json", serde_json::to_string_pretty(&value).unwrap());
}

#[test]
fn html_names_every_pod_and_every_finding() {
    let page = report(&["fragmented", "unreachable-primary"], "html");
    assert!(page.starts_with("<!DOCTYPE html>"), "{page}");
    for said in ["redis-0", "redis-1", "redis-2", "FragmentationRestartDue", "Unreachable", "113 MiB", "not known yet"]
    {
        assert!(page.contains(said), "{said}");
    }
}

/// Without the lines that tell the time of the test.
fn timeless(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("Made ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn pods_that_cannot_be_reached_are_unknown_and_the_operator_is_still_heard() {
    let api = shop();
    let mut sessions = policy("sessions", 1, under_way(1));
    sessions["spec"]["redis"]["port"] = json!(1);
    for path in [live::POLICIES, live::ALL] {
        api.set(path, list(&[sessions.clone()]));
    }
    let ran = live::run(&api, &["report", "-o", "markdown"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    insta::assert_snapshot!("report_unreachable", timeless(&ran.out));
    assert_eq!(
        timeless(&live::run(&api, &["report", "-A", "-o", "markdown"]).out).replace("all namespaces", "namespace shop"),
        timeless(&ran.out)
    );
}

#[test]
fn the_status_alone_is_asked_for_by_a_flag() {
    let api = serve(&[policy("sessions", 1, ended("Succeeded"))]);
    let ran = live::run(&api, &["report", "--status-only", "-o", "json"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let value: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(value["policies"][0]["summary"]["waste"], "20 MiB");
    assert_eq!(value["totals"]["used"], json!({"bytes": null, "known": 0, "of": 0}));
    assert!(value["notes"][0].as_str().unwrap().contains("no Redis was asked"), "{value}");
}

#[test]
fn what_cannot_be_read_is_in_the_report_and_stops_nothing() {
    let broken = json!({"apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
        "metadata": {"name": "newer", "namespace": "shop"}, "spec": {"selector": {}, "mode": "Dream"}});
    let api = serve(&[policy("sessions", 1, ended("Succeeded")), broken]);
    let ran = live::run(&api, &["report", "-o", "markdown"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    // The stand-in knows no pods: that is no reason to say nothing of the policy.
    for said in ["shop/newer", "its pods could not be looked at", "20 MiB", "3 pods restarted, 370 MiB back"] {
        assert!(ran.out.contains(said), "{said:?} is not in\n{}", ran.out);
    }
    assert!(ran.err.contains("shop/newer"), "{}", ran.err);
}

#[test]
fn a_file_is_written_in_the_form_of_its_ending() {
    let (kept, paths) = files(&["healthy"]);
    for (name, begins) in
        [("a.html", "<!DOCTYPE html>"), ("a.md", "# Redis memory"), ("a.json", "{"), ("a", "<!DOCTYPE html>")]
    {
        let path = kept.path().join(name);
        let ran = run(&["report", "-f", &paths[0], "--output-file", path.to_str().unwrap()], "");
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
        assert!(fs::read_to_string(&path).unwrap().starts_with(begins), "{name}");
    }
}

#[test]
fn nothing_to_report_is_a_report() {
    let api = serve(&[]);
    for form in ["html", "markdown", "json"] {
        let ran = live::run(&api, &["report", "-o", form]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        assert!(form == "json" || ran.out.contains("There is no RedisMemoryPolicy here"), "{}", ran.out);
    }
}

#[rstest]
#[case(&["report"], "cannot configure the Kubernetes client")]
#[case(&["report", "-f", "/nonexistent/snapshot"], "/nonexistent/snapshot")]
#[case(&["report", "-f", "x", "-A"], "cannot be used with")]
#[case(&["report", "-A", "-n", "shop"], "cannot be used with")]
#[case(&["report", "-f", "-", "-o", "pdf"], "html, json, markdown")]
#[case(&["report", "-f", "-", "--output-file", "/nonexistent/r.html"], "--output-file: cannot write /nonexistent/r.html")]
fn mistakes_are_answered_by_what_to_do(#[case] arguments: &[&str], #[case] said: &str) {
    let ran = run(arguments, &snapshot("healthy"));
    assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{}", ran.err);
    assert!(ran.err.contains(said), "{}", ran.err);
}

#[test]
fn a_namespace_that_cannot_be_asked_is_no_report() {
    let api = FakeApi::start();
    let ran = live::run(&api, &["report"]);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    assert!(ran.err.contains("no report: "), "{}", ran.err);
    api.set(live::POLICIES, list(&[]));
    assert_eq!(live::run(&api, &["report"]).code, 0);
}
