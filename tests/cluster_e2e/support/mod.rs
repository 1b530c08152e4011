//! What the tests share: the clients, a namespace, a Redis, a policy, the operator, and waiting.

pub(crate) mod alerts;
#[allow(dead_code, reason = "the tests of the chart use the rest")]
#[path = "../../common/boards.rs"]
pub(crate) mod boards;
pub(crate) mod client;
pub(crate) mod disk;
pub(crate) mod operator;
pub(crate) mod outside;
pub(crate) mod panels;
pub(crate) mod policy;
#[path = "../../common/prometheus.rs"]
pub(crate) mod prometheus;
pub(crate) mod redis;
pub(crate) mod space;
pub(crate) mod watch;
pub(crate) mod writer;

use std::{
    thread,
    time::{Duration, Instant},
};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Looks again and again until there is an answer; panics with the last obstacle after so many seconds.
#[allow(clippy::disallowed_methods, reason = "tests wait in real time")]
pub(crate) fn eventually<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match look() {
            Ok(seen) => return seen,
            Err(obstacle) if started.elapsed() > Duration::from_secs(seconds) => {
                panic!("gave up after {seconds} s on: {what}\n  last seen: {obstacle}")
            }
            Err(_) => thread::sleep(LOOK_EVERY),
        }
    }
}

/// Looks again and again that something stays as it is, for so many seconds.
pub(crate) fn throughout(seconds: u64, look: impl FnMut()) {
    throughout_every(seconds, LOOK_EVERY, look);
}

/// The same with a pause of that length after each look, for looks that are work.
#[allow(clippy::disallowed_methods, reason = "tests wait in real time")]
pub(crate) fn throughout_every(seconds: u64, pause: Duration, mut look: impl FnMut()) {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(seconds) {
        look();
        thread::sleep(pause);
    }
}

/// An obstacle unless the condition holds.
pub(crate) fn require(holds: bool, obstacle: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(obstacle()) }
}
