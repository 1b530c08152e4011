//! A failed schedule: made as small as it gets, told in readable lines, with the command that replays it.

use std::fmt::Write as _;

use redis_memory_operator::api::v1alpha1::RedisMemoryPolicyStatus;
use serde_json::Value;

use crate::{
    SCHEDULES,
    planted::Bug,
    run::{self, Outcome},
    schedule::Schedule,
};

/// Which schedules are to be run.
pub struct Wanted {
    pub first: u64,
    pub count: u64,
}

/// `RMO_SIM_SEED`: that one; `RMO_SIM_SCHEDULES`: so many, from that seed or from 0.
#[allow(clippy::disallowed_methods, reason = "a test target has no flags of its own")]
pub fn wanted() -> Wanted {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (seed, count) = (number("RMO_SIM_SEED"), number("RMO_SIM_SCHEDULES"));
    let alone = if seed.is_some() { 1 } else { SCHEDULES };
    Wanted { first: seed.unwrap_or(0), count: count.unwrap_or(alone) }
}

/// `RMO_SIM_SENTINEL=1`: of these only those that have sets under Sentinel.
#[allow(clippy::disallowed_methods, reason = "a test target has no flags of its own")]
pub fn only_watched() -> bool {
    std::env::var("RMO_SIM_SENTINEL").is_ok_and(|value| value == "1")
}

/// `RMO_SIM_FULL=1`: of these only those that have full sets.
#[allow(clippy::disallowed_methods, reason = "a test target has no flags of its own")]
pub fn only_full() -> bool {
    std::env::var("RMO_SIM_FULL").is_ok_and(|value| value == "1")
}

/// `RMO_SIM_KILLED=1`: of these only those in which the kernel kills the primary of a set for its limit.
#[allow(clippy::disallowed_methods, reason = "a test target has no flags of its own")]
pub fn only_killed() -> bool {
    std::env::var("RMO_SIM_KILLED").is_ok_and(|value| value == "1")
}

/// `RMO_SIM_BUG`: only the planted bug of that name.
#[allow(clippy::disallowed_methods, reason = "a test target has no flags of its own")]
pub fn wants(bug: Bug) -> bool {
    std::env::var("RMO_SIM_BUG").map_or(true, |name| name == format!("{bug:?}"))
}

/// What of a status changes, but for what is always written: in a few words.
pub fn changes(old: &RedisMemoryPolicyStatus, new: &RedisMemoryPolicyStatus) -> String {
    let (old, new) = (serde_json::to_value(old).expect("a status"), serde_json::to_value(new).expect("a status"));
    let mut text = Vec::new();
    differing("", &old, &new, &mut text);
    text.truncate(4);
    text.join(", ")
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(120).collect()
}

fn differing(path: &str, old: &Value, new: &Value, text: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in new {
                differing(&format!("{path}/{name}"), old.get(name).unwrap_or(&Value::Null), value, text);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (n, (old, new)) in old.iter().zip(new).enumerate() {
                differing(&format!("{path}/{n}"), old, new, text);
            }
        }
        _ if old != new => text.push(format!("{path}: {} to {}", short(old), short(new))),
        _ => {}
    }
}

/// The schedule with as few faults as break the same invariant.
fn shrink(schedule: &Schedule, invariant: &str, bug: Option<Bug>) -> Schedule {
    let mut least = schedule.clone();
    let mut n = 0;
    while n < least.faults.len() {
        let mut fewer = least.clone();
        fewer.faults.remove(n);
        let outcome = run::run(&fewer, bug, false);
        if outcome.violations.iter().any(|it| it.invariant == invariant) {
            least = fewer;
        } else {
            n += 1;
        }
    }
    least
}

/// The failed schedules, a line each.
pub fn list(failures: &[(Schedule, Outcome)]) -> String {
    let mut text = format!("{} schedules failed:\n", failures.len());
    for (schedule, outcome) in failures.iter().take(200) {
        let first = &outcome.violations[0];
        let _ = writeln!(text, "seed {}: {}: {}", schedule.seed, first.invariant, first.text);
    }
    text
}

/// What happened, for people.
pub fn report(schedule: &Schedule, outcome: &Outcome, bug: Option<Bug>) -> String {
    let mut text = String::new();
    let invariant = outcome.violations.first().map_or("none", |it| it.invariant);
    for violation in &outcome.violations {
        let at = violation.at as f64 / 1000.0;
        let _ = writeln!(text, "{} is broken at {at:.3} s: {}", violation.invariant, violation.text);
    }
    let _ = write!(text, "\n{schedule}");
    let least = shrink(schedule, invariant, bug);
    let _ = writeln!(text, "\nthe faults that are needed for it:");
    for (trigger, fault) in &least.faults {
        let _ = writeln!(text, "  {trigger}: {fault}");
    }
    let traced = run::run(&least, bug, true);
    let _ = writeln!(text, "\ntrace with these alone:\n{}", traced.trace);
    for violation in &traced.violations {
        let at = violation.at as f64 / 1000.0;
        let _ = writeln!(text, "{} is broken at {at:.3} s: {}", violation.invariant, violation.text);
    }
    let _ = writeln!(text, "in the end: {}", traced.ended);
    let seed = schedule.seed;
    let _ = writeln!(text, "\nreplay: RMO_SIM_SEED={seed} cargo test --test simulator every_invariant");
    text
}
