//! docs/getting-started.md has the commands that tests/cluster_getting_started.rs runs, and shows what they have printed.

use std::path::Path;

use pretty_assertions::assert_eq;

#[allow(dead_code, reason = "the test on the cluster uses the rest")]
#[path = "../getting_started/record.rs"]
mod record;
#[allow(dead_code, reason = "the test on the cluster uses the rest")]
#[path = "../getting_started/steps.rs"]
mod steps;

use crate::{
    fences::{Block, blocks},
    read,
};

const PAGE: &str = "docs/getting-started.md";
const STEPS: &str = "tests/getting_started/steps.rs";
const RECORD: &str = "tests/getting_started/recorded.txt";

fn of_the_page() -> Vec<Block> {
    blocks(Path::new(PAGE), &read(PAGE))
}

fn of_the_test() -> Vec<&'static str> {
    steps::STEPS.iter().map(|step| step.command).collect()
}

#[test]
fn the_commands_of_the_page_are_those_of_the_test() {
    let ours = of_the_page().into_iter().filter(|block| block.value("run-by") == Some(STEPS));
    let typed: Vec<String> = ours.flat_map(|block| block.commands()).map(|it| steps::in_one_line(&it)).collect();
    assert_eq!(typed, of_the_test());
}

#[test]
fn the_transcript_is_what_the_test_has_recorded() {
    let recorded = read(RECORD);
    let typed: Vec<&str> = recorded.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert_eq!(typed, of_the_test(), "run the test on the cluster again, then scripts/getting-started");
    let page = of_the_page();
    let shown = page.iter().filter(|block| block.value("from") == Some(RECORD)).map(|block| block.text.as_str());
    assert!(shown.into_iter().any(|text| text == recorded), "run scripts/getting-started");
}
