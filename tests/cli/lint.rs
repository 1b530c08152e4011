//! `lint` through the binary: what a person and a pipeline get. What is found in which manifests: `src/lint/tests.rs`.

use std::{fmt::Write as _, fs, path::Path};

use pretty_assertions::assert_eq;
use rstest::rstest;
use serde_json::Value;

use super::{Ran, run};

const BAD: &str = "kind: Deployment\nmetadata: {name: a}\nspec:\n  template:\n    spec:\n      containers:\n      - {name: redis, image: redis}\n";
const GOOD: &str = "kind: Deployment\nmetadata: {name: a}\nspec: {replicas: 2, template: {spec: {containers: [{name: redis, \
                    image: redis, args: [--maxmemory, 1gb], resources: {limits: {memory: 1536Mi}}}]}}}\n";

fn lint(arguments: &[&str], input: &str) -> Ran {
    let all: Vec<&str> = ["lint"].into_iter().chain(arguments.iter().copied()).collect();
    run(&all, input)
}

#[rstest]
#[case::nothing(GOOD, &[], 0)]
#[case::a_warning(GOOD, &["--purpose", "cache"], 2)]
#[case::critical(BAD, &[], 2)]
#[case::no_yaml("a: [", &[], 3)]
#[case::no_redis("kind: Service\n", &[], 0)]
#[case::empty("", &[], 3)]
#[case::more_headroom(GOOD, &["--percent", "60"], 2)]
#[case::more_by_its_bounds(GOOD, &["--method", "measured"], 2)]
#[case::a_flag_of_its_own(GOOD, &["--percent", "5"], 3)]
#[case::no_purpose(GOOD, &["--purpose", "fun"], 3)]
#[case::no_amount(GOOD, &["--minimum", "2GB"], 3)]
fn the_exit_code_says_how_bad_it_is(#[case] text: &str, #[case] more: &[&str], #[case] code: i32) {
    let arguments: Vec<&str> = ["-"].into_iter().chain(more.iter().copied()).collect();
    let ran = lint(&arguments, text);
    assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
}

#[test]
fn by_method_measured_it_says_that_nothing_is_measured() {
    let ran = lint(&["-", "--method", "measured"], GOOD);
    assert!(ran.out.contains("limit 1.50 GiB, needed 1888 MiB for maxmemory 1 GiB"), "{}", ran.out);
    assert!(ran.out.replace('\n', " ").contains("nothing is measured)"), "{}", ran.out);
    let json: Value = serde_json::from_str(&lint(&["-", "--method", "measured", "-o", "json"], GOOD).out).unwrap();
    let server = &json["servers"][0];
    assert_eq!((server["headroomMethod"].as_str(), server["headroomPercent"].as_u64()), (Some("Measured"), None));
    let json: Value = serde_json::from_str(&lint(&["-", "-o", "json"], GOOD).out).unwrap();
    let server = &json["servers"][0];
    assert_eq!((server["headroomMethod"].as_str(), server["headroomPercent"].as_u64()), (None, Some(50)));
}

#[test]
fn a_warning_alone_is_one() {
    let ran = lint(&["-"], &GOOD.replace("resources: {limits: {memory: 1536Mi}}", "ports: []"));
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("LimitMissing") && ran.out.contains("1536Mi"), "{}", ran.out);
}

#[test]
fn files_and_folders_are_looked_at_together_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    write("deep/er/bad.yml", BAD);
    write("package.json", "{\"name\": \"not ours\"}");
    write(".git/x.yaml", "a: [");
    write("notes.txt", "kind: [");
    let broken = write("broken.yaml", "kind: Pod\nmetadata: {\n");
    let all = folder.path().display().to_string();
    let ran = lint(&[&all], "");
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("deep/er/bad.yml:7\n"), "{}", ran.out);
    assert!(ran.err.starts_with(&format!("{broken}:")), "{}", ran.err);
    fs::remove_file(&broken).unwrap();
    assert_eq!(lint(&[&all], "").code, 2);
    let missing = lint(&["/nonexistent.yaml"], "");
    assert!(missing.code == 3 && missing.err.contains("/nonexistent.yaml"), "{}", missing.err);
}

/// The templates of a chart are said once, with what to do.
#[test]
fn a_chart_that_is_not_rendered_is_one_problem() {
    let folder = tempfile::tempdir().unwrap();
    let templates = folder.path().join("chart/templates");
    fs::create_dir_all(&templates).unwrap();
    for name in ["a.yaml", "b.yaml", "c.yaml"] {
        fs::write(templates.join(name), "kind: Pod\n{{- if .Values.x }}\nspec: {}\n{{- end }}\n").unwrap();
    }
    let ran = lint(&[&folder.path().display().to_string()], "");
    assert_eq!((ran.code, ran.err.lines().count()), (3, 1), "{}", ran.err);
    assert!(ran.err.contains("templates/a.yaml:2: ") && ran.err.contains("2 more beside it"), "{}", ran.err);
    assert!(ran.err.contains("helm template RELEASE CHART | redis-memory-operator lint -"), "{}", ran.err);
}

#[test]
fn programs_get_json() {
    let ran = lint(&["-", "-o", "json"], &format!("{BAD}---\n{GOOD}---\na: [\n"));
    let report: Value = serde_json::from_str(&ran.out).expect("it is JSON");
    let servers = report["servers"].as_array().unwrap();
    assert_eq!((servers.len(), ran.code), (2, 3));
    assert_eq!(servers[0]["findings"][0]["code"], "MaxmemoryUnset");
    assert_eq!((servers[0]["line"].as_u64(), servers[1]["limitBytes"].as_u64()), (Some(7), Some(1536 << 20)));
    assert_eq!(report["problems"][0]["file"], "standard input");
}

/// What code scanning asks of a log: https://docs.oasis-open.org/sarif/sarif/v2.1.0, sections 3.13 to 3.54.
#[test]
fn code_scanning_gets_sarif() {
    let ran = lint(&["-", "-o", "sarif"], &format!("{BAD}---\n{GOOD}---\na: [\n"));
    let log: Value = serde_json::from_str(&ran.out).expect("it is JSON");
    let run = &log["runs"][0];
    assert_eq!(
        (log["version"].as_str(), run["tool"]["driver"]["name"].as_str()),
        (Some("2.1.0"), Some("redis-memory-operator"))
    );
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert!(results.len() >= 2, "{log}");
    for result in results {
        let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()), "{result}");
        let place = &result["locations"][0]["physicalLocation"];
        assert!(place["region"]["startLine"].as_u64().unwrap() >= 1 && place["artifactLocation"]["uri"].is_string());
        assert_eq!(result["partialFingerprints"]["server/v1"].as_str().map(str::len), Some(32));
    }
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    assert_eq!(run["invocations"][0]["toolExecutionNotifications"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_workflow_gets_annotations() {
    let ran = lint(&["-", "-o", "github"], &format!("{BAD}---\na: [\n"));
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(
        lines[0].starts_with("::error file=standard input,line=7,title=MaxmemoryUnset::Deployment a, redis: "),
        "{}",
        ran.out
    );
    assert!(
        lines.iter().any(|line| line.starts_with("::warning ") && line.contains("title=LimitMissing")),
        "{}",
        ran.out
    );
    assert!(lines.iter().any(|line| line.starts_with("::error ") && line.contains("title=not judged")), "{}", ran.out);
}

/// As many as a large repository has. How long it takes: docs/lint.md.
#[test]
fn a_thousand_manifests() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..1000 {
        let map =
            format!("---\nkind: ConfigMap\nmetadata: {{name: c{n}}}\ndata: {{redis.conf: \"maxmemory {n}mb\"}}\n");
        let text = fs::read_to_string(root().join("tests/lint/03-configmap.yaml")).unwrap();
        fs::write(folder.path().join(format!("{n}.yaml")), text.replace("queue", &format!("queue-{n}")) + &map)
            .unwrap();
    }
    let ran = lint(&[&folder.path().display().to_string(), "-o", "json"], "");
    let report: Value = serde_json::from_str(&ran.out).expect("it is JSON");
    let servers = report["servers"].as_array().unwrap();
    assert_eq!((servers.len(), report["objects"].as_u64()), (1000, Some(3000)));
    assert!(
        servers.iter().all(|server| server["maxmemoryBytes"].as_u64() == Some(2 << 30)),
        "each has its own ConfigMap"
    );
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The part of docs/lint.md that shows `lint` on the manifests of tests/lint, after the mark. With RMO_GENERATE_INTO
/// (`make generate`) it is written there instead of compared.
#[test]
#[allow(clippy::disallowed_methods, reason = "a test's own setting")]
fn the_page_shows_what_lint_says() {
    const MARK: &str = "<!-- Below: written by `make generate` from tests/lint. Do not edit. -->\n";
    let page = fs::read_to_string(root().join("docs/lint.md")).unwrap();
    let (written, _) = page.split_once(MARK).expect("the page has its mark");
    let mut expected = format!("{written}{MARK}");
    let mut files: Vec<_> =
        fs::read_dir(root().join("tests/lint")).unwrap().map(|it| it.unwrap().file_name()).collect();
    files.sort();
    assert!(files.len() >= 15, "{files:?}");
    for file in files {
        let name = file.to_str().unwrap();
        let text = fs::read_to_string(root().join("tests/lint").join(name)).unwrap();
        let head: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("# ")).collect();
        let mut command = super::command(super::binary());
        command.current_dir(root()).args(["lint", &format!("tests/lint/{name}")]);
        let ran = super::finish(command, "");
        assert_eq!(ran.err, "", "{name}");
        let _ = write!(expected, "\n### {name}\n\n{}\n\n```\n{}```\n", head.join(" "), ran.out);
    }
    match std::env::var("RMO_GENERATE_INTO") {
        Ok(into) => fs::write(Path::new(&into).join("docs/lint.md"), expected).unwrap(),
        Err(_) => assert_eq!(page, expected, "run `make generate` and commit the result"),
    }
}
