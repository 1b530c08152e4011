//! The operator in a simulated world: pods, roles, offsets, clients and a clock, with crashes, two leaders, stale views,
//! moving roles, slow, hung and lying servers. The code is the real one, from a policy's turn to the last command; only
//! what it asks of the world ([`ports`], [`sight`]) is answered by a model. One observer checks the invariants.
//!
//! A schedule follows from its seed, and so does everything in it: `docs/testing.md` says how to replay one.
#![cfg(test)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "small numbers: milliseconds of minutes, pods of one set"
)]
#![allow(clippy::or_fun_call, clippy::single_match_else, reason = "texts of a trace; a match says both cases")]
#![allow(clippy::missing_docs_in_private_items, missing_docs, unreachable_pub, reason = "nothing is exported")]

mod acked;
mod bent;
mod bounds;
mod clients;
mod connection;
mod ending;
mod failover;
mod faults;
mod fit;
mod headroom;
mod killed;
mod kubelet;
mod kubernetes;
mod leaderless;
mod load_loop;
mod memory;
mod observer;
mod operator;
mod orders;
mod pace;
mod people;
mod planted;
mod ports;
mod redis;
mod replay;
mod replication;
mod rng;
mod run;
mod sabotage;
mod schedule;
mod sentinels;
mod shape;
mod sick;
mod sight;
mod strikes;
mod view;
mod world;

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use faults::{Fault, Trigger};
use planted::Bug;
use redis_memory_operator::{
    domain::{bytes::Bytes, switchover::SwitchoverMethod},
    plan::switchover::Failure,
};
use run::Outcome;
use schedule::Schedule;

/// Schedules of an ordinary run.
const SCHEDULES: u64 = 5_000;

/// A planted bug must be found within so many.
const BUDGET: u64 = 1_000;

/// Failed schedules, by seed.
type Failures = Vec<(Schedule, Outcome)>;

/// Runs the schedules of these seeds on all cores. `all`: goes on after a failure, and keeps each.
fn search(first: u64, count: u64, bug: Option<Bug>, all: bool) -> (Failures, Totals) {
    let only_watched = bug.is_none() && replay::only_watched();
    let only_full = bug.is_none() && replay::only_full();
    let only_killed = bug.is_none() && replay::only_killed();
    let (next, stop) = (AtomicU64::new(first), AtomicU64::new(first + count));
    let worker = || {
        let (mut failed, mut totals) = (Vec::new(), Totals::default());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= stop.load(Ordering::Relaxed) {
                return (failed, totals);
            }
            let mut schedule = Schedule::of(seed);
            let left_out = [
                only_watched && !schedule.is_watched(),
                only_full && !schedule.is_full(),
                only_killed && !schedule.is_killed(),
            ];
            if left_out.contains(&true) {
                continue;
            }
            if let Some(bug) = bug.filter(|bug| !bug.near().is_empty()) {
                schedule = schedule.near(bug);
            }
            if let Some(bug) = bug {
                bug.prepare(&mut schedule);
            }
            let outcome = run::run(&schedule, bug, false);
            totals.add(&outcome);
            if !outcome.violations.is_empty() {
                if !all {
                    stop.fetch_min(seed, Ordering::Relaxed);
                }
                failed.push((schedule, outcome));
            }
        }
    };
    let cores = thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let results: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|it| it.join().expect("no panic in a schedule")).collect()
    });
    let mut totals = Totals::default();
    let mut failures = Vec::new();
    for (failed, part) in results {
        totals.merge(&part);
        failures.extend(failed);
    }
    failures.sort_by_key(|(schedule, _)| schedule.seed);
    (failures, totals)
}

/// What happened in many schedules.
#[derive(Debug, Default)]
struct Totals {
    schedules: u64,
    evictions: u64,
    switchovers: u64,
    in_place: u64,
    backlogs: u64,
    looks: u64,
    cured: u64,
    keys_evicted: u64,
    steps: u64,
    raised: u64,
    left: u64,
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        self.schedules += 1;
        self.evictions += u64::from(outcome.evictions);
        self.switchovers += u64::from(outcome.switchovers);
        self.in_place += u64::from(outcome.in_place);
        self.backlogs += u64::from(outcome.backlogs);
        self.looks += u64::from(outcome.looks);
        self.cured += u64::from(outcome.cured);
        self.keys_evicted += outcome.keys_evicted;
        self.steps += u64::from(outcome.steps);
        self.raised += u64::from(outcome.raised);
        self.left += u64::from(outcome.left);
    }

    fn merge(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.evictions += other.evictions;
        self.switchovers += other.switchovers;
        self.in_place += other.in_place;
        self.backlogs += other.backlogs;
        self.looks += other.looks;
        self.cured += other.cured;
        self.keys_evicted += other.keys_evicted;
        self.steps += other.steps;
        self.raised += other.raised;
        self.left += other.left;
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "how fast the simulator itself is")]
fn every_invariant_holds_in_every_schedule() {
    let wanted = replay::wanted();
    let begun = Instant::now();
    let (failures, totals) = search(wanted.first, wanted.count, None, true);
    let seconds = begun.elapsed().as_secs_f64();
    println!("{totals:?}");
    println!("{:.1} schedules a second, in {seconds:.1} s", totals.schedules as f64 / seconds);
    if let Some((schedule, outcome)) = failures.first() {
        panic!("{}\n{}", replay::report(schedule, outcome, None), replay::list(&failures));
    }
    let all = !replay::only_watched() && !replay::only_full() && !replay::only_killed();
    if wanted.count >= SCHEDULES && all {
        // A simulation in which nothing happens proves nothing.
        assert!(totals.cured * 2 > totals.schedules, "{totals:?}");
        assert!(totals.switchovers * 2 > totals.schedules, "{totals:?}");
        assert!(totals.in_place > 0 && totals.backlogs > 0, "{totals:?}");
        assert!(totals.steps > 0 && totals.raised > 0 && totals.left > 0, "{totals:?}");
    }
}

#[test]
fn without_faults_everything_is_cured_in_the_planned_order() {
    for seed in 0..40 {
        let schedule = Schedule::calm(seed);
        let outcome = run::run(&schedule, None, false);
        assert!(outcome.violations.is_empty(), "{}", replay::report(&schedule, &outcome, None));
        assert!(outcome.cured, "{}", replay::report(&schedule, &outcome, None));
    }
}

// The role goes back: known from the set's own return, by a plan of its own; the next time as part of the plan.
#[test]
fn a_set_whose_pod_0_starts_as_primary_is_left_with_it_as_primary() {
    let mut cured = 0;
    for seed in 0..40 {
        let mut schedule = Schedule::calm(seed);
        schedule.sets[0].start = shape::Start::ByOrdinal;
        let outcome = run::run(&schedule, None, false);
        assert!(outcome.violations.is_empty(), "{}", replay::report(&schedule, &outcome, None));
        cured += u32::from(outcome.cured && outcome.switchovers > 1);
    }
    assert!(cured > 20, "{cured}: a simulation in which nothing is handed back proves nothing");
}

// Found by seed 21342: of three replicas that read what the primary sends every 700 ms, in turns, no two were close at once.
#[test]
fn replicas_that_read_in_turns_do_not_keep_a_role_from_being_moved() {
    let mut cured = 0;
    for seed in 0..20 {
        let mut schedule = Schedule::calm(seed);
        let set = &mut schedule.sets[0];
        (set.members, set.lag, set.watch) = (4, 700, Some(shape::Watch::usual()));
        let outcome = run::run(&schedule, None, false);
        assert!(outcome.violations.is_empty(), "{}", replay::report(&schedule, &outcome, None));
        cured += u32::from(outcome.cured && outcome.switchovers > 0);
    }
    assert_eq!(cured, 20, "a simulation in which no role moves proves nothing");
}

// Found by seed 17698: two of three were left, of which a failover would have taken all.
#[test]
fn no_sentinel_is_told_while_fewer_answer_than_a_failover_takes() {
    let mut failed = 0;
    for seed in 0..20 {
        let mut schedule = Schedule::calm(seed);
        let watch = shape::Watch { within: false, quorum: 3, ..shape::Watch::usual() };
        schedule.sets[0].watch = Some(watch);
        let what = faults::Trouble::Ends { lasts: 20_000 };
        let ends = Fault::Sentinels { set: 0, of: (1, 1), what };
        schedule.faults = vec![(Trigger::On("switchover:refuses-writes", 1), ends)];
        let outcome = run::run(&schedule, None, false);
        assert!(outcome.violations.is_empty(), "{}", replay::report(&schedule, &outcome, None));
        failed += u32::from(outcome.ended.contains("journal None"));
    }
    assert_eq!(failed, 20, "each ends");
}

// Found by seeds 4001069 and 4007251: a Sentinel was told to give the role to another.
#[test]
fn no_sentinel_is_told_while_the_server_hands_its_role_over_as_people_asked() {
    for seed in 0..20 {
        let mut schedule = Schedule::calm(seed);
        schedule.sets[0].watch = Some(shape::Watch::usual());
        let point = ["switchover:before-effect", "switchover:before-intent"][seed as usize % 2];
        schedule.faults = vec![(Trigger::On(point, 1), Fault::MoveRole { to: 1 + seed as usize % 3 % 2 })];
        let outcome = run::run(&schedule, None, false);
        assert!(outcome.violations.is_empty(), "{}", replay::report(&schedule, &outcome, None));
    }
}

// Found by seeds 58333 and 59220: the primary went, or the candidate restarted, while the operator was stopped between its
// look and its command.
#[test]
fn an_operator_that_was_stopped_after_its_look_looks_again() {
    let after = |point, n: u32, fault, lasts| {
        let stop = Fault::Stop { operator: faults::Whose::Acting, lasts };
        let mut schedule = Schedule::calm(n.into());
        schedule.faults = vec![(Trigger::On(point, n), fault), (Trigger::On(point, n), stop)];
        schedule.sets[0].connecting = shape::Connecting::Keeping;
        schedule
    };
    let demotions = (1..9).flat_map(|n| [1, 2].map(|pod| (n, pod))).map(|(n, pod)| {
        let mut schedule = after("role:read", n, Fault::Kill { pod, hard: false }, 1_500);
        schedule.sets[0].start = shape::Start::ByOrdinal;
        schedule
    });
    let candidates = [1, 2].map(|pod| {
        let mut schedule = after("switchover:after-overlap", 1, Fault::Restart { pod }, 8_000);
        schedule.method = SwitchoverMethod::Native;
        schedule.sets[0].storage = shape::Storage::Aof;
        schedule
    });
    for schedule in demotions.chain(candidates) {
        let outcome = run::run(&schedule, None, false);
        assert!(outcome.violations.is_empty(), "{}", replay::report(&schedule, &outcome, None));
    }
}

// Found by seed 10000896: from the last look of the gates to the exchange it takes seconds, until Services lead to both.
#[test]
fn nobody_takes_over_whom_a_person_has_just_given_less_than_it_holds() {
    let mut refused = [0, 0, 0];
    for (seed, n) in (0..30).zip([0, 1, 2].into_iter().cycle()) {
        let mut schedule = Schedule::calm(seed);
        schedule.method = [SwitchoverMethod::Guarded, SwitchoverMethod::Native, SwitchoverMethod::Sentinel][n];
        let set = &mut schedule.sets[0];
        set.cache = Some(headroom::Cache::plain(80));
        set.watch = (n == 2).then(shape::Watch::usual);
        let point = ["switchover:after-overlap", "switchover:after-overlap", "switchover:before-effect"][n];
        schedule.faults = [1, 2].map(|pod| (Trigger::On(point, 1), Fault::Bounds { pod, kib: 300_001 })).to_vec();
        let outcome = run::run(&schedule, None, true);
        assert!(outcome.violations.is_empty(), "{}", replay::report(&schedule, &outcome, None));
        refused[n] += u32::from(outcome.trace.contains(Failure::Full.text()));
    }
    assert!(
        refused.iter().all(|times| *times > 5),
        "{refused:?} of 10 of each method: a simulation in which nothing is refused proves nothing"
    );
}

// Found by seed 20195509: the new primary restarted empty while the operator was stopped right before the old one was demoted.
#[test]
fn an_old_primary_does_not_follow_who_has_restarted_since_the_look() {
    for seed in 0..20 {
        let mut schedule = Schedule::calm(seed);
        schedule.sets[0].watch = Some(shape::Watch::usual());
        let stop = Fault::Stop { operator: faults::Whose::Acting, lasts: 4_000 };
        let faults = [Fault::Restart { pod: 1 }, Fault::Restart { pod: 2 }, stop];
        schedule.faults = faults.map(|fault| (Trigger::On("switchover:named", 1), fault)).to_vec();
        schedule.faults.remove(usize::from(seed % 2 == 0));
        let outcome = run::run(&schedule, None, false);
        assert!(outcome.violations.is_empty(), "{}", replay::report(&schedule, &outcome, None));
    }
}

/// A calm world of one full set that nothing restarts, under that policy.
fn full(seed: u64, filled: u64, policy: headroom::Headroom) -> Schedule {
    let mut schedule = Schedule::calm(seed);
    schedule.policies[0].headroom = policy;
    let set = &mut schedule.sets[0];
    set.odd = (0..set.members).map(|n| (n, shape::Oddity::Clean)).collect();
    set.cache = Some(headroom::Cache::plain(filled));
    schedule
}

// The limit of 700 MiB bears 466.
#[test]
fn a_full_cache_comes_down_step_by_step_where_people_consent_and_stays_where_they_do_not() {
    for seed in 0..10 {
        for consents in [true, false] {
            let policy = headroom::Headroom { evicts: consents, ..headroom::Headroom::consents() };
            let schedule = full(seed, 99, policy);
            let outcome = run::run(&schedule, None, false);
            assert!(outcome.violations.is_empty(), "{}", replay::report(&schedule, &outcome, None));
            let end = if consents { 466 } else { headroom::MAXMEMORY_MIB };
            assert_eq!(outcome.bounds, vec![Bytes::mib(end); 3], "{}", replay::report(&schedule, &outcome, None));
            assert_eq!(outcome.steps > 1 && outcome.keys_evicted > 0, consents);
        }
    }
}

// Found by seed 1847: each step was tried again every 12 s, and each time the clients waited.
#[test]
fn a_cache_that_answers_late_while_it_evicts_is_left_for_a_while() {
    for seed in 0..10 {
        let mut schedule = full(seed, 99, headroom::Headroom::consents());
        let set = &mut schedule.sets[0];
        set.cache = set.cache.map(|cache| headroom::Cache { late: 200, batch: 5, ..cache });
        let outcome = run::run(&schedule, None, false);
        assert!(outcome.violations.is_empty(), "{}", replay::report(&schedule, &outcome, None));
        let had = Bytes::mib(headroom::MAXMEMORY_MIB);
        assert_eq!(outcome.bounds, vec![had; 3], "{}", replay::report(&schedule, &outcome, None));
        assert_eq!(outcome.steps, 1, "{}", replay::report(&schedule, &outcome, None));
    }
}

// Before anybody has seen that it was set.
#[test]
fn who_sets_a_step_back_at_once_has_the_last_word() {
    for (seed, kib) in (0..10).zip([0, 600_001].into_iter().cycle()) {
        let mut schedule = full(seed, 99, headroom::Headroom::consents());
        let back = Fault::Bounds { pod: 0, kib };
        schedule.faults = vec![(Trigger::On("upkeep-maxmemory:after-effect", 1), back)];
        let outcome = run::run(&schedule, None, false);
        assert!(outcome.violations.is_empty(), "{}", replay::report(&schedule, &outcome, None));
        assert_eq!(outcome.steps, 1, "{}", replay::report(&schedule, &outcome, None));
    }
}

// Redis-1 or redis-2 has more room, or nobody has; or who has was killed itself.
#[test]
fn the_role_leaves_a_killed_primary_for_whoever_has_room_and_for_nobody_else() {
    for seed in 0..10 {
        for (roomy, struck) in [(Some(1), false), (Some(2), false), (Some(2), true), (None, false)] {
            let mut schedule = killed::calm(seed, roomy);
            if struck {
                schedule.faults.push((Trigger::At(10_000), Fault::OutOfMemory { pod: 2 }));
            }
            let outcome = run::run(&schedule, None, false);
            assert!(outcome.violations.is_empty(), "{}", replay::report(&schedule, &outcome, None));
            let left = u32::from(roomy.is_some() && !struck);
            assert_eq!((outcome.left, outcome.evictions), (left, 0), "{}", replay::report(&schedule, &outcome, None));
        }
    }
}

// At rest, and amid a remediation of its set, with and without one raise that is enough.
#[test]
fn a_replica_that_is_killed_while_it_loads_has_its_limit_raised_within_few_kills() {
    for (seed, at) in (0..24).zip([8_000, 26_000, 30_000, 45_000].into_iter().cycle()) {
        for percent in [115, 145, 180] {
            let mut schedule = Schedule::calm(seed);
            schedule.faults = vec![(Trigger::At(at), Fault::Outgrows { pod: 1, percent })];
            let outcome = run::run(&schedule, None, false);
            assert!(outcome.violations.is_empty(), "{}", replay::report(&schedule, &outcome, None));
            let overlooked = run::run(&schedule, Some(Bug::OverlookKills), false);
            let found = overlooked.violations.iter().any(|violation| violation.invariant == "L11");
            assert!(found, "{}", replay::report(&schedule, &overlooked, Some(Bug::OverlookKills)));
        }
    }
}

// Carried out once and answered once, wherever the operator dies.
#[test]
fn what_a_person_asks_for_is_done_once_and_answered_once() {
    let mut moved = 0;
    for (seed, point) in (0..).zip(faults::POINTS) {
        let mut schedule = Schedule::calm(seed);
        let asks = Fault::Asks { policy: 0, set: 0 };
        let crash = Fault::Crash { operator: faults::Whose::Acting, back_after: 2_000 };
        schedule.faults = vec![(Trigger::At(8_000), asks), (Trigger::On(point, 1), crash)];
        let outcome = run::run(&schedule, None, false);
        assert!(outcome.violations.is_empty(), "{point}: {}", replay::report(&schedule, &outcome, None));
        assert_eq!(outcome.answers, 1, "{point}: {}", replay::report(&schedule, &outcome, None));
        assert!(outcome.by_hand <= 1, "{point}: {}", replay::report(&schedule, &outcome, None));
        moved += outcome.by_hand;
    }
    assert!(moved * 2 > faults::POINTS.len(), "{moved}: a simulation in which nothing is done by hand proves nothing");
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    for seed in 100..110 {
        let schedule = Schedule::of(seed);
        let (a, b) = (run::run(&schedule, None, true), run::run(&schedule, None, true));
        assert_eq!(a.trace, b.trace, "seed {seed}");
    }
}

#[test]
fn every_planted_bug_is_found() {
    let mut missed = String::new();
    for (bug, invariants) in Bug::ALL.iter().filter(|(bug, _)| replay::wants(*bug)) {
        let (failures, totals) = search(0, BUDGET, Some(*bug), false);
        let Some((schedule, outcome)) = failures.first() else {
            let _ = writeln!(missed, "{bug:?} was not found in {totals:?}");
            continue;
        };
        let found = &outcome.violations[0];
        println!("{bug:?}: seed {}, {}: {}", schedule.seed, found.invariant, found.text);
        if !invariants.contains(&found.invariant) {
            let _ = writeln!(missed, "{bug:?} broke {}, not {invariants:?}", found.invariant);
            let _ = writeln!(missed, "{}", replay::report(schedule, outcome, Some(*bug)));
        }
    }
    assert!(missed.is_empty(), "{missed}");
}
