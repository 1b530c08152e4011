//! What the pages tell people to type: each block says whether a test runs it, and everything of our own in it exists.
//!
//! The first line of a shell block says one of
//! - `run`: this file runs it, by our own program, without a cluster;
//! - `run-by=FILE` or `run-by=FILE::NAME`, or several of these with commas: the tests of that file run each command, with other
//!   names of things: the same verb, flags and values of the chart, and of our own program no other flags;
//! - `not-run`: no test runs it.
//!
//! A block of text says `from=FILE` where it is what a test, or a run, has recorded: its lines stand there in this order,
//! and a line with `…` alone leaves some out.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use rstest::rstest;

use crate::{
    all_blocks,
    fences::{Block, blocks},
    read, root,
    typed::Source,
};

/// The two names of our program, and how it is called.
const OURS: [&str; 2] = ["kubectl redis-memory", "redis-memory-operator"];
/// Words that begin a command without being its verb.
const BEFORE: [&str; 4] = ["sudo", "time", "exec", "command"];

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_redis-memory-operator")).args(arguments).output().unwrap()
}

/// What a command of ours is called with: `None` where the command is another's.
fn of_ours(command: &str) -> Option<Vec<&str>> {
    // Variables stand before a program's name.
    let mut bare = command;
    while let Some((first, rest)) = bare.split_once(' ')
        && (BEFORE.contains(&first) || (first.contains('=') && !first.starts_with('-')))
    {
        bare = rest.trim_start();
    }
    let called = OURS.iter().find_map(|name| bare.strip_prefix(name))?;
    // `kubectl redis-memoryx` is another program, and `redis-memory-operator-…` an object's name.
    called.starts_with(' ').then(|| called.split_whitespace().collect())
}

/// The commands of ours in a line with pipes.
fn calls(line: &str) -> Vec<Vec<&str>> {
    line.split(['|', ';']).flat_map(|part| part.split("&&")).filter_map(|part| of_ours(part.trim())).collect()
}

/// What is wrong with how a shell block is marked, and with what it names.
fn wrong_mark(block: &Block) -> Option<String> {
    let marks = block
        .words
        .iter()
        .skip(1)
        .filter(|word| ["run", "not-run"].contains(&word.as_str()) || word.starts_with("run-by="));
    if marks.count() != 1 {
        return Some("say one of run, run-by=FILE::NAME, not-run after `sh`".into());
    }
    let by = block.value("run-by")?;
    let mut sources = Vec::new();
    for one in by.split(',') {
        let (file, name) = one.split_once("::").unwrap_or((one, ""));
        if !file.starts_with("tests/") || Path::new(file).extension().is_none_or(|it| it != "rs") {
            return Some(format!("{file} is no file of tests"));
        }
        let Ok(text) = fs::read_to_string(root().join(file)) else { return Some(format!("{file} is not there")) };
        if !name.is_empty() && !text.contains(&format!("fn {name}(")) {
            return Some(format!("{file} has no {name}"));
        }
        sources.push(Source::read(&text));
    }
    let lacking = block.commands().into_iter().find(|command| !sources.iter().any(|source| runs(source, command)));
    lacking.map(|command| format!("{by} does not run `{command}`"))
}

/// Whether these tests run that command.
fn runs(source: &Source, command: &str) -> bool {
    if let Some(words) = of_ours(command) {
        return words.first().is_some_and(|verb| source.types(&OURS, verb, command, true));
    }
    let mut words = command.split_whitespace();
    match (words.next(), words.next()) {
        // What a target is for is a script, and a test runs that.
        (Some("make"), Some(target)) => {
            recipe(target).split([' ', ';']).any(|word| word.contains('/') && source.names(word))
        }
        (Some(program), Some(verb)) => source.types(&[program], verb, command, false),
        _ => false,
    }
}

/// What the Makefile does for a target.
fn recipe(target: &str) -> String {
    let makefile = read("Makefile");
    let lines = makefile.lines().skip_while(|line| !line.starts_with(&format!("{target}:"))).skip(1);
    lines.map_while(|line| line.strip_prefix('\t')).collect::<Vec<_>>().join(" ").replace('@', "")
}

#[test]
fn every_command_says_whether_a_test_runs_it() {
    let shell: Vec<Block> = all_blocks().into_iter().filter(Block::is_shell).collect();
    assert!(shell.len() > 30, "the blocks were not found");
    let wrong: Vec<String> =
        shell.iter().filter_map(|it| Some(format!("{}: {}", it.place(), wrong_mark(it)?))).collect();
    assert_eq!(wrong, Vec::<String>::new());
}

#[rstest]
#[case::nothing_said("sh", "ls")]
#[case::twice("sh run not-run", "ls")]
#[case::no_such_file("sh run-by=tests/nowhere.rs", "helm upgrade x")]
#[case::no_such_test("sh run-by=tests/cluster_upgrade.rs::nowhere", "helm upgrade x")]
#[case::another_verb("sh run-by=tests/cluster_upgrade.rs", "helm history x")]
#[case::a_word_of_a_reason("sh run-by=tests/cluster_upgrade.rs", "helm test x")]
#[case::another_value("sh run-by=tests/cluster_upgrade.rs", "helm upgrade x --set 'secretAccess[0].namespace=shop'")]
#[case::another_output("sh run-by=tests/api_cli.rs", "kubectl redis-memory plan sessions")]
#[case::a_target_of_make("sh run-by=tests/cluster_e2e/shared/demo.rs", "make image")]
#[case::no_test("sh run-by=scripts/bench", "cargo bench --bench looks")]
fn a_wrong_mark_is_seen(#[case] info: &str, #[case] command: &str) {
    let found = blocks("x.md".as_ref(), &format!("```{info}\n{command}\n```\n"));
    assert!(wrong_mark(&found[0]).is_some());
}

#[test]
fn a_right_mark_is_none() {
    let page =
        "```sh run-by=tests/cluster_upgrade.rs::from_the_first_version_to_this_one_and_away\nhelm upgrade x\n```\n";
    assert_eq!(wrong_mark(&blocks("x.md".as_ref(), page)[0]), None);
}

/// Flags and verbs of ours that the program does not have.
fn unknown_words(line: &str, helps: &mut BTreeMap<String, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for call in calls(line) {
        let Some((verb, rest)) = call.split_first() else { continue };
        if verb.starts_with('-') {
            continue;
        }
        let help = helps.entry((*verb).to_owned()).or_insert_with(|| {
            let output = program(&[verb, "--help"]);
            if output.status.success() { String::from_utf8_lossy(&output.stdout).into_owned() } else { String::new() }
        });
        if help.is_empty() {
            wrong.push(format!("`{verb}` is no verb"));
            continue;
        }
        let has = |flag: &str| help.split(|c: char| c.is_whitespace() || ",[]=<>".contains(c)).any(|word| word == flag);
        let flags = rest.iter().filter(|word| word.starts_with('-') && **word != "-");
        let flags = flags.map(|word| word.split('=').next().unwrap_or(word));
        wrong.extend(flags.filter(|flag| !has(flag)).map(|flag| format!("`{verb}` has no {flag}")));
    }
    wrong
}

#[test]
fn verbs_and_flags_of_ours_exist() {
    let mut helps = BTreeMap::new();
    let mut wrong = Vec::new();
    for block in all_blocks().iter().filter(|block| block.is_shell()) {
        for command in block.commands() {
            wrong.extend(unknown_words(&command, &mut helps).into_iter().map(|it| format!("{}: {it}", block.place())));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(helps.len() > 8, "the commands were not found: {:?}", helps.keys());
}

#[rstest]
#[case("kubectl redis-memory doctr -n shop", 1)]
#[case("helm template x | redis-memory-operator lint - --porpuse cache", 1)]
#[case("RMO_REDIS_PASSWORD=x redis-memory-operator check localhost:6379 --limit 2Gi", 0)]
#[case("kubectl get lease redis-memory-operator --nonsense", 0)]
fn a_word_that_the_program_does_not_have_is_seen(#[case] line: &str, #[case] wrong: usize) {
    assert_eq!(unknown_words(line, &mut BTreeMap::new()).len(), wrong);
}

/// Verbs that look at nothing but their arguments and files: 0, 1 or 2 says what was found, 3 that nothing was.
#[test]
fn what_is_marked_run_runs() {
    let mut ran = 0;
    for block in all_blocks().iter().filter(|block| block.is_shell() && block.words.contains(&"run".to_owned())) {
        for command in block.commands() {
            let place = block.place();
            let call = of_ours(&command).unwrap_or_else(|| panic!("{place}: only our own program is run: {command}"));
            let output =
                Command::new(env!("CARGO_BIN_EXE_redis-memory-operator")).args(&call).current_dir(root()).output();
            let output = output.unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code().is_some_and(|code| code < 3), "{place}: `{command}`: {said}");
            assert!(!output.stdout.is_empty(), "{place}: `{command}` says nothing");
            ran += 1;
        }
    }
    assert!(ran > 3, "{ran}");
}

#[test]
fn targets_of_make_exist() {
    let makefile = read("Makefile");
    for block in all_blocks().iter().filter(|block| block.is_shell()) {
        for command in block.commands() {
            let Some(target) = command.strip_prefix("make ") else { continue };
            let target = target.split_whitespace().next().unwrap_or_default();
            assert!(
                makefile.lines().any(|line| line.starts_with(&format!("{target}:"))),
                "{}: {command}",
                block.place()
            );
        }
    }
}

/// The first line that the record does not have where it should be.
fn not_recorded<'a>(shown: &'a str, record: &str) -> Option<&'a str> {
    let mut rest = record.lines();
    let mut skip = true;
    for line in shown.lines() {
        if line.trim() == "…" {
            skip = true;
        } else if skip {
            if !rest.any(|other| other == line) {
                return Some(line);
            }
            skip = false;
        } else if rest.next() != Some(line) {
            return Some(line);
        }
    }
    None
}

#[test]
fn what_is_shown_was_recorded_by_a_test() {
    let mut seen = 0;
    for block in all_blocks() {
        let Some(file) = block.value("from") else {
            let claims = block.language() == "text";
            assert!(!claims, "{}: say from=FILE, where a test has recorded that", block.place());
            continue;
        };
        assert_eq!(
            not_recorded(&block.text, &read(file)),
            None,
            "{}: {file} does not have this line there",
            block.place()
        );
        seen += 1;
    }
    assert!(seen > 3, "{seen}");
}

#[rstest]
#[case("b\n…\nd\n", None)]
#[case("b\nd\n", Some("d"))]
#[case("…\nx\n", Some("x"))]
fn invented_lines_are_seen(#[case] shown: &str, #[case] wrong: Option<&str>) {
    assert_eq!(not_recorded(shown, "a\nb\nc\nd\n"), wrong);
}
