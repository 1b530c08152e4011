//! Planned switchovers on real servers of four versions, under a load that is heavy enough to lose writes: the
//! operator's methods lose none that was acknowledged, and the other ways are seen to lose some.
//!
//! `RMO_LONG=1` makes 200 of each method and version instead of 10. A failure names its seed;
//! `RMO_SWITCHOVER_SEED=N` makes that switchover alone.
#![cfg(test)]

mod common;

use std::{ops::RangeInclusive, path::Path, time::Duration};

use common::{
    long::is_long,
    rounds::{Arena, Tally, Way},
    versions,
};
use redis_memory_operator::domain::switchover::SwitchoverMethod;
use rstest::rstest;

use SwitchoverMethod::{Guarded, Native};

/// A careless way is tried so often until it is seen to lose something.
const CARELESS_ROUNDS: u64 = 40;
/// No switchover of ours may hold up writers longer: the pause, and what a busy machine adds.
const LONGEST_GAP: Duration = Duration::from_secs(5);
/// On a busy machine a candidate may not catch up within the pause. To give up then is right, not to get there is not.
const MOST_GIVEN_UP: u64 = 3;

#[allow(clippy::disallowed_methods, reason = "a test's own setting")]
fn seeds() -> RangeInclusive<u64> {
    if let Ok(seed) = std::env::var("RMO_SWITCHOVER_SEED") {
        let seed = seed.parse().expect("RMO_SWITCHOVER_SEED is a number");
        return seed..=seed;
    }
    1..=if is_long() { 200 } else { 10 }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost(
    #[values("redis-6.2", "system", "redis-8.2", "valkey-9.1")] version: &str,
    #[values(Guarded, Native)] method: SwitchoverMethod,
) {
    let Some((_, program)) = versions::servers().iter().find(|(name, _)| name == version) else {
        println!("{version} cannot be had here: left out");
        return;
    };
    let mut arena = Arena::start(program).await;
    let mut tally = Tally::default();
    let seeds = seeds();
    for seed in seeds.clone() {
        let replay = format!("again: RMO_SWITCHOVER_SEED={seed} cargo test --test redis_switchovers no_acknowledged");
        loop {
            let round = arena.round(Way::Ours(method), seed).await;
            let round = round.unwrap_or_else(|error| panic!("{version}, {method:?}, seed {seed}: {error}; {replay}"));
            assert_eq!(round.lost, 0, "{version}, {method:?}, seed {seed}: {round:?}; {replay}");
            assert!(round.gap < LONGEST_GAP, "{version}, {method:?}, seed {seed}: {round:?}; {replay}");
            tally.add(round);
            if !round.given_up {
                break;
            }
            println!("{version}, {method:?}, seed {seed}: given up, {round:?}");
            assert!(tally.given_up <= MOST_GIVEN_UP, "given up too often: {tally:?}");
        }
    }
    assert_eq!(tally.runs() as u64, seeds.end() - seeds.start() + 1, "of each seed a switchover");
    println!("| {version} | {} | {} | given up: {} |", method.as_str(), tally.cells(), tally.given_up);
}

/// The same servers, the same load and the same checker as above. Without this, "0 lost" would say nothing.
#[rstest]
#[case::sentinel(Way::Sentinel)]
#[case::promote_first(Way::PromoteFirst)]
#[case::killed(Way::Killed)]
#[tokio::test(flavor = "multi_thread")]
async fn the_checker_sees_what_careless_ways_lose(#[case] way: Way) {
    let mut arena = Arena::start(Path::new("redis-server")).await;
    let mut tally = Tally::default();
    for seed in 1..=CARELESS_ROUNDS {
        tally.add(arena.round(way, seed).await.expect("it is carried out"));
        if tally.lost > 0 {
            println!("| system | {} | {} |", way.text(), tally.cells());
            return;
        }
    }
    panic!("{way:?} lost nothing in {CARELESS_ROUNDS} rounds: the load is too light for the checker to say anything");
}
