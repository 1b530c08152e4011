//! docs/getting-started.md has the commands that tests/cluster_getting_started.rs runs.

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
