//! `completion`, and what kubectl is told when it completes `kubectl redis-memory …`.

use rstest::rstest;

use super::{Ran, binary, command, finish, run};

#[rstest]
#[case::bash("bash", "complete -F")]
#[case::zsh("zsh", "#compdef redis-memory-operator")]
#[case::fish("fish", "complete -c redis-memory-operator")]
fn each_shell_gets_its_script(#[case] shell: &str, #[case] says: &str) {
    let ran = run(&["completion", shell], "");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for part in [says, "switchover", "no-headers"] {
        assert!(ran.out.contains(part), "{part}");
    }
    // The shell itself finds no mistake in it, where there is one.
    if shell == "bash" {
        let mut bash = command("bash".as_ref());
        bash.args(["-n", "/dev/stdin"]);
        let read = finish(bash, &ran.out);
        assert_eq!((read.code, read.err.as_str()), (0, ""));
    }
}

#[test]
fn another_shell_is_refused_with_those_that_are_known() {
    let ran = run(&["completion", "tcsh"], "");
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("[possible values: bash, zsh, fish]"), "{}", ran.err);
}

fn kubectl_asks(words: &[&str]) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("kubectl_complete-redis_memory");
    std::os::unix::fs::symlink(binary(), &link).unwrap();
    let mut command = command(&link);
    command.args(words);
    finish(command, "")
}

#[rstest]
#[case::verbs(&["sw"], &["switchover"])]
#[case::flags(&["status", "--no-h"], &["--no-headers"])]
#[case::values(&["status", "--output", ""], &["text", "wide", "name", "json", "yaml"])]
#[case::nothing(&["switchover", "--zz"], &[])]
fn kubectl_is_told_what_fits(#[case] words: &[&str], #[case] expected: &[&str]) {
    let ran = kubectl_asks(words);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let mut lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.pop(), Some(":4"), "no names of files: {}", ran.out);
    let found: Vec<&str> = lines.iter().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(found, expected, "{}", ran.out);
}

#[test]
fn kubectl_is_told_what_verbs_mean() {
    let out = kubectl_asks(&["res"]).out;
    assert!(out.contains("restart\tAsk the operator to restart a pod"), "{out}");
    assert!(!kubectl_asks(&["r"]).out.contains("run\t"), "the operator itself is not for a terminal");
}
