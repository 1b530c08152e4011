//! `plan` and `explain` from snapshot files, and the name `kubectl redis-memory`.

use std::{fs, path::Path};

use redis_memory_operator::cli::snapshot_file::{Judged, SnapshotFile, WrittenPolicy};
use rstest::rstest;
use serde_json::Value;

use super::{Ran, binary, command, finish, run, scenario::Scenario};

/// The snapshot file of a scenario.
pub(crate) fn snapshot(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/scenarios/{name}.yaml"));
    let scenario = Scenario::read(&path);
    let policy = WrittenPolicy::from(&scenario.resource());
    let mut file = SnapshotFile::new(policy, scenario.snapshot(), Judged::OverTime);
    file.shows = Some(scenario.shows.clone());
    file.write().unwrap()
}

fn plan(name: &str) -> Ran {
    run(&["plan", "-f", "-"], &snapshot(name))
}

#[rstest]
#[case("healthy", 0)]
#[case("fragmented", 1)]
#[case("fragmented-observe", 1)]
#[case("foreign-owner", 2)]
#[case("headroom-too-small", 1)]
#[case("unreachable-primary", 2)]
#[case("rights-missing", 2)]
fn plans_what_is_due_and_says_what_is_in_the_way(#[case] name: &str, #[case] code: i32) {
    let ran = plan(name);
    insta::assert_snapshot!(format!("plan_{name}"), ran.out);
    assert_eq!((ran.code, ran.err.as_str()), (code, ""), "{}", ran.out);
    assert!(ran.out.lines().all(|line| line.chars().count() <= 100), "{}", ran.out);
    assert!(!ran.out.contains('\u{1b}'), "no colours where nobody sees them");
}

#[rstest]
#[case("fragmented", "redis-0")]
#[case("headroom-too-small", "redis-1")]
#[case("restarted-lately", "redis-1")]
#[case("unreachable-primary", "redis-0")]
#[case("libc", "redis-1")]
#[case("measured-fixed-would-do", "redis-1")]
#[case("measured-not-yet", "redis-0")]
#[case("measured-enough", "redis-0")]
fn explains_every_number_of_a_pod(#[case] name: &str, #[case] pod: &str) {
    let ran = run(&["explain", pod, "-f", "-"], &snapshot(name));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    insta::assert_snapshot!(format!("explain_{name}_{pod}"), ran.out);
    assert!(ran.out.lines().all(|line| line.chars().count() <= 100), "{}", ran.out);
}

#[test]
fn programs_read_the_same_plan_as_json_and_yaml() {
    let text = snapshot("restarted-lately");
    let json = run(&["plan", "-f", "-", "-o", "json"], &text);
    let yaml = run(&["plan", "-f", "-", "-o", "yaml"], &text);
    assert_eq!((json.code, yaml.code), (2, 2));
    let json: Value = serde_json::from_str(&json.out).expect("it is JSON");
    let yaml: Value = serde_yaml::from_str(&yaml.out).expect("it is YAML");
    assert_eq!(json, yaml);
    assert_eq!(json["blocked"][0]["reason"], "Cooldown");
    assert_eq!(json["plan"]["steps"][0]["kind"], "Evict");
    assert_eq!(json["findings"][0]["code"], "FragmentationRestartDue");
    assert_eq!((json["pods"].as_u64(), json["answered"].as_u64()), (Some(3), Some(3)));
}

#[test]
fn a_snapshot_is_written_as_it_was_read() {
    let text = snapshot("fragmented");
    let ran = run(&["plan", "-f", "-", "-o", "snapshot"], &text);
    assert_eq!(SnapshotFile::read(&ran.out).unwrap(), SnapshotFile::read(&text).unwrap());
}

#[test]
fn another_policy_can_be_tried() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let snapshot = file("snapshot.yaml", &snapshot("fragmented"));
    let manifest = |fragmentation: &str| {
        format!(
            "apiVersion: redismemory.io/v1alpha1\nkind: RedisMemoryPolicy\nmetadata: {{name: sessions}}\nspec:\n  \
             selector: {{matchLabels: {{app: redis}}}}\n  mode: Enforce\n  redis: {{roleAuthority: Operator}}\n  \
             fragmentation: {{{fragmentation}}}\n"
        )
    };
    let lax = file("lax.yaml", &manifest("restartPercent: 400"));
    let ran = run(&["plan", "-f", &snapshot, "--policy", &lax], "");
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("none: no restart is due") && !ran.out.contains("note: spec.selector"), "{}", ran.out);
    let wrong = file("wrong.yaml", &manifest("restartPercent: 150"));
    let ran = run(&["plan", "-f", &snapshot, "--policy", &wrong], "");
    assert_eq!(ran.code, 3, "{}", ran.out);
    assert!(ran.err.contains("wrong.yaml: spec.fragmentation.restartPercent must be above"), "{}", ran.err);
}

#[rstest]
#[case::unknown_field("judged:", "judgd:", "unknown field `judgd`")]
#[case::deep("maxmemory:", "maxmemroy:", "maxmemroy")]
#[case::kind("kind: RedisMemorySnapshot", "kind: Pod", "this is kind Pod")]
#[case::rule("restartPercent: 250", "restartPercent: 140", "policy.spec.fragmentation.restartPercent")]
fn a_broken_snapshot_is_refused_by_its_field(#[case] good: &str, #[case] bad: &str, #[case] said: &str) {
    let text = snapshot("fragmented");
    assert!(text.contains(good), "{text}");
    for arguments in [&["plan", "-f", "-"][..], &["explain", "redis-0", "-f", "-"]] {
        let ran = run(arguments, &text.replacen(good, bad, 1));
        assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{arguments:?}");
        assert!(ran.err.contains(said) && ran.err.contains("standard input"), "{}", ran.err);
    }
}

#[rstest]
#[case(&["plan"], "<NAME|--file <FILE>>")]
#[case(&["plan", "x", "-f", "y"], "cannot be used with")]
#[case(&["plan", "-f", "/nonexistent/snapshot"], "/nonexistent/snapshot")]
#[case(&["plan", "-f", "-", "--outptu", "json"], "unexpected argument '--outptu'")]
#[case(&["explain", "redis-9", "-f", "-"], "it has: redis-0, redis-1, redis-2")]
#[case(&["explain"], "<POD|CODE>")]
#[case(&["status", "x", "-A"], "cannot be used with")]
#[case(&["status", "--until-done"], "<NAME>")]
#[case(&["status"], "cannot configure the Kubernetes client")]
#[case(&["check", "127.0.0.1:1", "-o", "yaml"], "--limit")]
fn mistakes_are_answered_by_what_to_do(#[case] arguments: &[&str], #[case] said: &str) {
    let ran = run(arguments, &snapshot("healthy"));
    assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{}", ran.err);
    assert!(ran.err.contains(said), "{}", ran.err);
}

#[test]
fn kubectl_finds_it_under_its_own_name() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("kubectl-redis_memory");
    std::os::unix::fs::symlink(binary(), &link).unwrap();
    let with = |arguments: &[&str]| {
        let mut command = command(&link);
        command.args(arguments);
        finish(command, &snapshot("healthy"))
    };
    let help = with(&["--help"]);
    assert!(help.out.contains("Usage: kubectl redis-memory [OPTIONS] <COMMAND>"), "{}", help.out);
    assert!(!help.out.contains("\n  run "), "the operator itself is not for a terminal: {}", help.out);
    assert!(with(&["plan", "--help"]).out.contains("Usage: kubectl redis-memory plan"));
    assert_eq!(with(&["plan", "-f", "-"]).code, 0);
    assert!(with(&["plan"]).err.contains("Usage: kubectl redis-memory plan"));
}

#[test]
fn what_a_server_says_does_not_reach_the_terminal() {
    let text = snapshot("unreachable-primary");
    let evil = text.replacen("failed:\n", "failed: #\n", 1);
    assert_ne!(evil, text, "{text}");
    let evil = SnapshotFile::read(&evil).unwrap();
    let mut value = serde_json::to_value(&evil).unwrap();
    let failure = value.pointer_mut("/snapshot/targets/0/redis/failed").unwrap().as_object_mut().unwrap();
    for text in failure.values_mut() {
        *text = "\u{1b}]0;owned\u{7}\u{1b}[2J".into();
    }
    for arguments in [&["plan", "-f", "-"][..], &["explain", "redis-0", "-f", "-"]] {
        let ran = run(arguments, &value.to_string());
        assert!(ran.out.contains("owned"), "{}", ran.out);
        assert!(!ran.out.contains(['\u{1b}', '\u{7}']), "{:?}", ran.out);
    }
}
