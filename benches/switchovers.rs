//! What a switchover costs those who write, and what it loses: the operator's two methods beside the ways that people
//! take without it, under the same load, in the same run.
//!
//! Three real redis-server processes on loopback. The load is several connections that send pipelined writes of keys
//! that were never written before; each acknowledged write is looked for on the new primary. Load, direction and phase
//! of every switchover follow from its number, so each way meets the same ones. They take turns, so that what else the
//! machine does meets all of them.
//!
//! `cargo bench --bench switchovers [-- RUNS [SERVER...]]` prints a Markdown table for each server (default: 50 runs of
//! each way on the system's `redis-server`; others by their names in tests/cluster/redis-versions, or `all`).
#![allow(clippy::print_stdout, clippy::expect_used, clippy::panic, reason = "a measuring program, not the product")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::Path;

use common::{
    connect,
    rounds::{Arena, Tally, Way},
    server::RedisServer,
    versions,
};

const RUNS: u64 = 50;
/// So many runs of one way, then of the next.
const TURN: u64 = 10;
/// Attempts that the operator may give up on a busy machine; they are in no row but for what they wrote and lost.
const MOST_GIVEN_UP: u64 = 5;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let runs = arguments.next().map_or(RUNS, |runs| runs.parse().expect("a number of runs"));
    let wanted: Vec<String> = arguments.collect();
    let known = versions::servers();
    for name in wanted.iter().filter(|name| *name != "all") {
        assert!(known.iter().any(|(known, _)| known == name), "no such server here: {name}");
    }
    for (name, program) in known {
        let named = wanted.iter().any(|wanted| wanted == "all" || wanted == name);
        if named || (wanted.is_empty() && name == "system") {
            measure(name, program, runs).await;
        }
    }
}

/// All ways on one server: prints its table.
async fn measure(name: &str, program: &Path, runs: u64) {
    let version = connect(&RedisServer::start_program(program, &[])).await.version();
    let mut tallies: Vec<Tally> = Way::ALL.iter().map(|_| Tally::default()).collect();
    for begin in (0..runs).step_by(usize::try_from(TURN).expect("small")) {
        for (way, tally) in Way::ALL.iter().zip(&mut tallies) {
            let mut arena = Arena::start(program).await;
            for seed in begin..runs.min(begin + TURN) {
                let round = arena.round(*way, seed).await;
                tally.add(round.unwrap_or_else(|error| panic!("{}, run {seed}: {error}", way.text())));
                assert!(tally.given_up <= MOST_GIVEN_UP, "{}: given up too often", way.text());
            }
        }
    }
    println!("\n{name}, {version}\n");
    println!("| method | runs | acknowledged | lost | gap p50 | gap p99 | gap max |");
    println!("|---|---|---|---|---|---|---|");
    for (way, tally) in Way::ALL.iter().zip(&tallies) {
        println!("| {} | {} |", way.text(), tally.cells());
    }
}
