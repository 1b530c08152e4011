//! What is known of a server's start, and what of it must never be kept.

use super::*;
use pretty_assertions::assert_eq;
use proptest::prelude::*;
use rstest::rstest;

fn settings(command: &[&str], args: &[&str]) -> Vec<(String, String)> {
    let line = CommandLine { command: command.to_vec(), args: args.to_vec(), env: Vec::new() };
    of(&line).map(|start| start.settings().known()).unwrap_or_default()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn names_and_values_from_command_and_arguments() {
    assert_eq!(
        settings(
            &["redis-server", "/etc/redis.conf"],
            &["--maxmemory", "512mb", "--APPENDONLY", "yes", "--save", "", "--dir", "/data"],
        ),
        pairs(&[("maxmemory", "512mb"), ("appendonly", "yes"), ("save", ""), ("dir", "/data")])
    );
}

/// Each was given to redis-server 7.0.15, which starts with what stands here, or not at all (then: nothing).
#[rstest]
#[case::joined(&["--maxmemory 100mb"], &[("maxmemory", "100mb")])]
#[case::joined_and_quoted(&["--save \"900 1\"", "--dir '/data'"], &[("save", "900 1"), ("dir", "/data")])]
#[case::equals_is_no_syntax(&["--maxmemory=100mb", "--appendonly", "yes"], &[])]
#[case::quotes_in_a_word_are_its_own(&["--maxmemory", "\"100mb\""], &[])]
#[case::several_words(&["--save", "900", "1", "300", "10"], &[("save", "900 1 300 10")])]
#[case::points_in_one_word(&["--save", "900 1 300 10"], &[("save", "900 1 300 10")])]
#[case::points_add_up(&["--save", "900 1", "--save", "300", "10"], &[("save", "900 1 300 10")])]
#[case::an_empty_one_drops_them(&["--save", "900 1", "--save", ""], &[("save", "")])]
#[case::without_a_value_too(&["--save", "--appendonly", "yes"], &[("appendonly", "yes"), ("save", "")])]
#[case::at_the_end_too(&["--appendonly", "yes", "--save"], &[("appendonly", "yes"), ("save", "")])]
#[case::the_last_counts(&["--maxmemory", "1gb", "--maxmemory", "2gb"], &[("maxmemory", "2gb")])]
#[case::a_value_may_look_like_a_name(&["--requirepass", "--appendonly", "--dir", "/data"], &[("dir", "/data")])]
#[case::a_file_has_points_of_its_own(&["/redis.conf", "--save", "900 1", "--dir", "/d"], &[("dir", "/d")])]
#[case::but_they_can_be_dropped(&["/redis.conf", "--save", "", "--save", "60 1"], &[("save", "60 1")])]
#[case::an_included_file(&["--dir", "/d", "--include", "/x.conf", "--appendonly", "no"], &[("appendonly", "no")])]
fn arguments_are_read_as_the_server_reads_them(#[case] args: &[&str], #[case] known: &[(&str, &str)]) {
    assert_eq!(settings(&["redis-server"], args), pairs(known));
}

#[rstest]
#[case::of_the_image(&[], &["--appendonly", "yes"], true)]
#[case::named_for_the_image(&[], &["redis-server", "--appendonly", "yes"], true)]
#[case::by_path(&["/usr/local/bin/valkey-server"], &["--appendonly", "yes"], true)]
#[case::under_another_program(&["tini", "--", "gosu", "redis", "redis-server"], &["--appendonly", "yes"], true)]
#[case::the_entry_point(&["docker-entrypoint.sh"], &["--appendonly", "yes"], true)]
#[case::a_program_of_its_own(&["/start"], &["--appendonly", "yes"], false)]
#[case::a_shell(&["sh", "-c"], &["exec redis-server /redis.conf --appendonly 'yes'"], true)]
#[case::a_shell_with_flags(&["/bin/bash", "-ec", "redis-server \\\n  --appendonly \"yes\""], &[], true)]
#[case::a_password_of_a_variable(&["sh", "-c"], &["redis-server --requirepass $PASSWORD --appendonly yes"], true)]
#[case::a_variable(&["sh", "-c"], &["redis-server --appendonly \"$AOF\""], false)]
#[case::any_number_of_options(&["sh", "-c"], &["redis-server --appendonly yes $EXTRA"], false)]
#[case::those_after_them_count(&["sh", "-c"], &["redis-server --dir /x ${EXTRA} --appendonly yes"], true)]
#[case::two_commands(&["sh", "-c"], &["cp a b && redis-server --appendonly yes"], false)]
#[case::lines(&["sh", "-c"], &["if x; then\nredis-server --appendonly yes\nfi"], false)]
#[case::a_substitution(&["sh", "-c"], &["redis-server --requirepass \"$(cat /p)\" --appendonly yes"], false)]
#[case::a_script(&["sh", "/start.sh"], &["--appendonly", "yes"], false)]
fn where_the_server_is_started(#[case] command: &[&str], #[case] args: &[&str], #[case] known: bool) {
    let wanted: &[(&str, &str)] = if known { &[("appendonly", "yes")] } else { &[] };
    assert_eq!(settings(command, args), pairs(wanted));
}

#[rstest]
#[case("$(LIMIT)", Some("512mb"))]
#[case("$(AMOUNT)mb", Some("512mb"))]
#[case("$(ELSEWHERE)", None)]
#[case("$(SECRET)", None)]
#[case("$$(LIMIT)", None)]
#[case("$LIMIT", None)]
#[case("$(AGAIN)", Some("512mb"))]
#[case("$(GONE)", None)]
fn variables_that_the_container_defines_are_put_in(#[case] value: &str, #[case] known: Option<&str>) {
    let line = CommandLine {
        env: vec![
            ("AMOUNT", Some("512")),
            ("LIMIT", Some("$(AMOUNT)mb")),
            ("SECRET", None),
            ("AGAIN", Some("$(LIMIT)")),
            ("GONE", Some("512mb")),
            ("GONE", None),
        ],
        command: vec!["redis-server", "--maxmemory", "1gb", "--maxmemory", value, "--dir", "/data"],
        args: Vec::new(),
    };
    let mut wanted: Vec<_> = known.map(|value| ("maxmemory", value)).into_iter().collect();
    wanted.push(("dir", "/data"));
    assert_eq!(of(&line).unwrap().settings().known(), pairs(&wanted));
}

const PASSWORD: &str = "hunter2";

#[rstest]
#[case(&["--requirepass", PASSWORD, "--save", "1 1"])]
#[case(&["--user", "default on >hunter2 ~* +@all"])]
#[case(&["--requirepass hunter2", "--appendonly", "yes"])]
#[case(&["--appendonly", "yes", PASSWORD])]
#[case(&["--dir", "/data", PASSWORD])]
#[case(&["--save", "1 1", PASSWORD])]
#[case(&["--maxmemory-policy", PASSWORD])]
#[case(&["--maxmemory", PASSWORD])]
#[case(&["--dir", PASSWORD])]
fn no_password_is_kept(#[case] args: &[&str]) {
    let kept = format!("{:?}", settings(&["redis-server"], args));
    assert!(!kept.contains(PASSWORD), "{kept}");
}

proptest! {
    /// Whatever stands around it, and wherever it stands.
    #[test]
    fn no_word_is_kept_that_is_no_value_of_a_kept_setting(
        mut args in prop::collection::vec(
            prop::sample::select(vec!["--save", "--dir", "--appendonly", "--requirepass", "--maxmemory", "yes", "/d", "1"]),
            0..8,
        ),
        at in 0_usize..8,
        joined in any::<bool>(),
        shell in any::<bool>(),
    ) {
        let word = if joined { "--masterauth hunter2" } else { PASSWORD };
        args.insert(at.min(args.len()), word);
        let line = format!("redis-server {}", args.join(" "));
        let kept = if shell { settings(&["sh", "-c", &line], &[]) } else { settings(&["redis-server"], &args) };
        prop_assert!(!format!("{kept:?}").contains(PASSWORD), "{kept:?}");
    }
}

#[test]
fn options_hold_against_the_file_and_what_nothing_sets_is_the_default() {
    let file =
        of_file("# mine\nmaxmemory 1gb\nappendonly yes\n\nsave 900 1\nsave 300 10\nmaxmemory-policy ${POLICY}\n");
    let start = of(&CommandLine {
        args: vec!["/redis.conf", "--maxmemory", "2gb", "--save", "60", "1"],
        ..CommandLine::default()
    });
    let start = start.unwrap();
    assert_eq!(start.file, File::Named("/redis.conf".into()));
    let settings = start.over(file);
    let found = ["maxmemory", "appendonly", SAVE, "maxmemory-policy", "dir"].map(|name| settings.get(name));
    assert_eq!(
        found,
        [Setting::Is("2gb"), Setting::Is("yes"), Setting::Is("900 1 300 10 60 1"), Setting::Unread, Setting::Default]
    );
    assert_eq!(start.settings().get("dir"), Setting::Open, "the file may say it");
    let includes = of_file("maxmemory 1gb\ninclude /other.conf\nappendonly yes");
    assert_eq!((includes.get("maxmemory"), includes.get("appendonly")), (Setting::Open, Setting::Is("yes")));
}

#[rstest]
#[case("512mb", Some(512 << 20))]
#[case("1G", Some(1_000_000_000))]
#[case("100", Some(100))]
#[case("1kB", Some(1024))]
#[case("1.5gb", None)]
#[case("lots", None)]
#[case("99999999999999gb", None)]
fn bytes_as_redis_writes_them(#[case] text: &str, #[case] bytes: Option<u64>) {
    assert_eq!(redis_bytes(text), bytes.map(Bytes));
}
