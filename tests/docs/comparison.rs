//! docs/comparison.md: what is said of our chart and command line names the test that shows it.

use std::collections::BTreeSet;

use rstest::rstest;

use crate::{read, root};

const PAGE: &str = "docs/comparison.md";
/// The heading above the table.
const SECTION: &str = "Chart and command line against five operators";
/// A feature, five projects, ours, the tests.
const COLUMNS: usize = 8;

/// The rows of the table below that heading, each as its cells.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let section = page.split("\n## ").find(|part| part.starts_with(SECTION)).unwrap_or_default();
    let lines = section.lines().filter(|line| line.starts_with("| "));
    let cells = lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    // The first one names the columns.
    cells.filter(|cells| cells.len() == COLUMNS).skip(1).collect()
}

/// What is wrong with a row.
fn problem(cells: &[&str]) -> Option<String> {
    let [feature, .., ours, tests] = cells else { return Some("it has no cells".into()) };
    if let Some(mark) = cells[1..COLUMNS - 1].iter().find(|mark| !["yes", "no", "partly", "?"].contains(mark)) {
        return Some(format!("{feature}: `{mark}` is none of yes, no, partly, ?"));
    }
    let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
    if named.is_empty() != (*ours == "no") {
        return Some(format!("{feature}: ours is `{ours}`, and the tests are `{tests}`"));
    }
    named.into_iter().find_map(|test| missing(test).map(|why| format!("{feature}: {why}")))
}

/// Why `FILE::TEST`, below tests, or a script is not there.
fn missing(test: &str) -> Option<String> {
    if test.starts_with("scripts/") {
        return (!root().join(test).is_file()).then(|| format!("{test} is not there"));
    }
    let Some((file, name)) = test.split_once("::") else { return Some(format!("{test} is no FILE::TEST")) };
    let path = format!("tests/{file}");
    if !root().join(&path).is_file() {
        return Some(format!("{path} is not there"));
    }
    let source = read(&path);
    let Some((before, _)) = source.split_once(&format!("fn {name}(")) else {
        return Some(format!("{path} has no {name}"));
    };
    // Its attributes are the lines above it.
    let above = before.rsplit("\n\n").next().unwrap_or_default();
    let is_test = ["#[test]", "#[rstest]", "#[tokio::test"].iter().any(|attribute| above.contains(attribute));
    (!is_test).then(|| format!("{name} of {path} is no test"))
}

#[test]
fn what_is_said_of_ours_names_the_test_that_shows_it() {
    let page = read(PAGE);
    let rows = rows(&page);
    assert!(rows.len() >= 25, "the table was not found: {}", rows.len());
    let features: BTreeSet<&str> = rows.iter().map(|cells| cells[0]).collect();
    assert_eq!(features.len(), rows.len(), "a feature has two rows");
    let wrong: Vec<String> = rows.iter().filter_map(|cells| problem(cells)).collect();
    assert_eq!(wrong, Vec::<String>::new());
}

#[rstest]
#[case::no_mark(["x", "yes", "maybe", "?", "no", "no", "yes", "`crd.rs::every_field_says_what_it_is`"])]
#[case::no_test(["x", "yes", "yes", "?", "no", "no", "yes", "–"])]
#[case::no_such_test(["x", "yes", "yes", "?", "no", "no", "yes", "`crd.rs::nowhere`"])]
#[case::no_such_file(["x", "yes", "yes", "?", "no", "no", "yes", "`nowhere.rs::every_field_says_what_it_is`"])]
#[case::a_helper(["x", "yes", "yes", "?", "no", "no", "yes", "`crd.rs::assert_generated`"])]
#[case::no_such_script(["x", "yes", "yes", "?", "no", "no", "yes", "`scripts/nowhere`"])]
fn a_wrong_row_is_seen(#[case] cells: [&str; COLUMNS]) {
    assert!(problem(&cells).is_some());
}

#[test]
fn a_right_row_is_none() {
    let cells =
        ["x", "yes", "partly", "?", "no", "no", "partly", "`crd.rs::every_field_says_what_it_is`, `scripts/sbom`"];
    assert_eq!(problem(&cells), None);
}
