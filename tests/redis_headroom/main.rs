//! The limits that methods Fixed and Measured predict, against real servers that are put under load in a cgroup with just
//! that limit: how often the kernel kills, and how much of the limit was needed.
//!
//! `RMO_LONG=1`: a hundred runs, on five versions; else one on the system's server, of which only its survival is asked. `RMO_HEADROOM_SEEDS="3 7"`:
//! those alone; `RMO_SERVERS` chooses servers.
#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;
mod group;
mod loads;
mod plan;
mod scene;
mod tally;
mod traffic;

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use common::{long::is_long, versions};
use redis_memory_operator::domain::{bytes::Bytes, policy::HeadroomMethod};

use self::{
    group::Group,
    plan::{Load, Plan, Writes},
    scene::Scene,
    tally::{Row, Tally},
};

/// Runs at a time: the long list takes ten minutes by it, and no more than 2 GB.
const LANES: usize = 2;
/// Of a hundred runs so many may see a kill.
const KILLS_PERCENT: usize = 5;
/// Shares of fewer runs say nothing.
const TELLING_RUNS: usize = 20;
/// What is predicted may be so much more than what is needed that the median peak is this share of it, in percent.
const NEEDED_PERCENT: u64 = 70;

/// Runs of each server: those numbers.
#[allow(clippy::disallowed_methods, reason = "a test's own setting")]
fn seeds(name: &str) -> Vec<u64> {
    if let Ok(asked) = std::env::var("RMO_HEADROOM_SEEDS") {
        return asked.split_whitespace().map(|seed| seed.parse().expect("RMO_HEADROOM_SEEDS are numbers")).collect();
    }
    match (is_long(), name) {
        (true, _) => (0..20).collect(),
        (false, "system") => vec![0],
        (false, _) => Vec::new(),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn what_is_predicted_is_enough_and_not_much_more() {
    if let Err(why) = Group::make() {
        println!("NOT RUN: {why}");
        return;
    }
    let runs: Vec<(&str, &Path, u64)> = versions::servers()
        .iter()
        .flat_map(|(name, program)| seeds(name).into_iter().map(move |seed| (name.as_str(), program.as_path(), seed)))
        .collect();
    let (waiting, tally) = (Mutex::new(runs.iter().rev().copied().collect::<Vec<_>>()), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES)
            .map(|_| {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    runtime.expect("a runtime").block_on(async {
                        loop {
                            let Some((name, program, seed)) = locked(&waiting).pop() else { return };
                            let rows = run(name, program, Plan::of(seed)).await;
                            locked(&tally).add(rows);
                        }
                    });
                })
            })
            .collect();
        for lane in lanes {
            lane.join().expect("a run was no run");
        }
    });
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{}", tally.tables());
    let measured = |row: &Row| row.method == HeadroomMethod::Measured;
    let (kills, all) = (tally.kills(measured), tally.count(measured));
    assert_eq!(all, runs.len());
    assert!(kills * 100 <= KILLS_PERCENT * all, "{kills} kills of {all} by Measured");
    if all < TELLING_RUNS {
        return;
    }
    let share = tally.median(measured);
    assert!(share >= NEEDED_PERCENT, "the median peak is {share} % of what Measured predicts");
    // A percentage knows nothing of writes: it holds where there are few, and nothing else takes memory.
    let fixed =
        |row: &Row| (row.method, row.plan.load, row.plan.writes) == (HeadroomMethod::Fixed, Load::Save, Writes::Few);
    assert_eq!(tally.kills(fixed), 0, "of {} by Fixed, where little is written", tally.count(fixed));
}

/// Both methods after one day: Fixed last, because its limit is the smaller one.
async fn run(name: &str, program: &Path, plan: Plan) -> Vec<Row> {
    let mut scene = Scene::start(program, plan).await.expect("the first cgroup could be made");
    scene.day_before().await;
    let mut rows = Vec::new();
    for method in [HeadroomMethod::Measured, HeadroomMethod::Fixed] {
        let demand = scene.demand(method);
        let outcome = scene.under(demand.limit(plan.maxmemory)).await;
        println!(
            "{name} {method:?} {}: {outcome:?}, {} % of {}; {plan:?}",
            plan.load.text(),
            outcome.share(),
            demand.short(plan.maxmemory)
        );
        rows.push(Row { server: name.to_owned(), method, plan, outcome });
        if outcome.killed {
            break;
        }
    }
    rows
}

/// That a kill is seen: a limit with no room for what a fork copies.
#[test]
fn a_limit_that_is_too_small_is_seen() {
    if let Err(why) = Group::make() {
        println!("NOT RUN: {why}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut plan = Plan::of(0);
        (plan.load, plan.writes, plan.maxmemory) = (Load::Save, Writes::Many, Bytes::mib(128));
        let mut scene = Scene::start(Path::new("redis-server"), plan).await.expect("the first cgroup could be made");
        let outcome = scene.under(Bytes::mib(160)).await;
        assert!(outcome.killed, "{outcome:?}");
    });
}
