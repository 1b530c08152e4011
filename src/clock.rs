//! The one clock of the process. Time moves with the monotonic clock, so that a clock step on the node neither ages nor
//! rejuvenates a sample; the wall clock is read anew all the time, so that one that is corrected is known at once. Only
//! edges hold a clock; decisions get `now`.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use futures::future::{Either, select};
use jiff::{SignedDuration, Timestamp};

/// The port of time: what acts reads its clocks and waits through it alone, so that a simulation can be its world.
pub trait Time: Send + Sync {
    /// The wall clock, as [`Clock::now`] has it.
    fn now(&self) -> Timestamp;
    /// Monotonic time since the process began.
    fn uptime(&self) -> Duration;
    /// How often the wall clock has been set, having read it anew.
    fn steps(&self) -> u64;
    /// Completes after that time.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

/// What holds the clock of the process tells its time.
pub trait Clocked: Send + Sync {
    /// That clock.
    fn clock(&self) -> &Clock;
}

impl<T: Clocked> Time for T {
    fn now(&self) -> Timestamp {
        self.clock().now()
    }

    fn uptime(&self) -> Duration {
        self.clock().uptime()
    }

    fn steps(&self) -> u64 {
        Time::steps(self.clock())
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        self.clock().sleep(time)
    }
}

/// What `work` comes to, or `None` when it takes longer than `limit`: then it is dropped where it stands.
pub async fn within<T: Time, W: Future + Send>(time: &T, limit: Duration, work: W) -> Option<W::Output> {
    match select(pin!(work), pin!(time.sleep(limit))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(((), _)) => None,
    }
}

/// A wall clock that moved by more against the monotonic clock was set, by a person or after a resume; what moves by
/// less is disciplined. Microseconds.
const STEP: i64 = 2_000_000;

/// The one clock of the process. Copies are the same clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Monotonic time of the system when the process began.
    start: Duration,
    wall: &'static Wall,
}

/// What is known of the wall clock. One for the whole life of the process.
#[derive(Debug, Default)]
struct Wall {
    /// Wall time at the start, in microseconds since 1970, as far as it is known by now.
    anchor: AtomicI64,
    /// How often it was set.
    steps: AtomicU64,
    /// By how much in sum, in microseconds.
    moved: AtomicI64,
}

impl Clock {
    /// Reads both clocks.
    pub fn start() -> Self {
        let wall: &'static Wall = Box::leak(Box::default());
        wall.anchor.store(wall_time().as_microsecond(), Ordering::Relaxed);
        Self { start: monotonic(), wall }
    }

    /// Now: the wall time of the start, as it was last read, plus the monotonic time since.
    pub fn now(&self) -> Timestamp {
        let since = i64::try_from(self.uptime().as_micros()).unwrap_or(i64::MAX);
        let now = self.wall.anchor.load(Ordering::Relaxed).saturating_add(since);
        Timestamp::from_microsecond(now).unwrap_or(Timestamp::MAX)
    }

    /// Monotonic time since the start. It goes on while the machine sleeps, for a lease runs out meanwhile, too.
    pub fn uptime(&self) -> Duration {
        monotonic().saturating_sub(self.start)
    }

    /// Reads the wall clock anew. By how much it was set, if by more than two seconds: who acts holds for one look.
    pub fn reanchor(&self) -> Option<SignedDuration> {
        self.reanchor_at(wall_time())
    }

    fn reanchor_at(&self, real: Timestamp) -> Option<SignedDuration> {
        let since = i64::try_from(self.uptime().as_micros()).unwrap_or(i64::MAX);
        let anchor = self.wall.anchor.load(Ordering::Relaxed);
        let anew = real.as_microsecond().saturating_sub(since);
        // The second caller has nothing to say: the other read the same clock.
        self.wall.anchor.compare_exchange(anchor, anew, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        let moved = anew.saturating_sub(anchor);
        if moved.abs() <= STEP {
            return None;
        }
        self.wall.moved.fetch_add(moved, Ordering::Relaxed);
        self.wall.steps.fetch_add(1, Ordering::Relaxed);
        Some(SignedDuration::from_micros(moved))
    }

    /// How often the wall clock was set since the start.
    pub fn steps(&self) -> u64 {
        self.wall.steps.load(Ordering::Relaxed)
    }

    /// By how much the wall clock was set since the start, in sum: times that were taken before are moved by it.
    pub fn moved(&self) -> SignedDuration {
        SignedDuration::from_micros(self.wall.moved.load(Ordering::Relaxed))
    }
}

impl Time for Clock {
    fn now(&self) -> Timestamp {
        Self::now(self)
    }

    fn uptime(&self) -> Duration {
        Self::uptime(self)
    }

    fn steps(&self) -> u64 {
        if let Some(by) = self.reanchor() {
            tracing::warn!(seconds = by.as_secs_f64(), "the wall clock was set: each policy waits for one look");
        }
        Self::steps(self)
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(time)
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that may")]
fn wall_time() -> Timestamp {
    Timestamp::now()
}

/// CLOCK_BOOTTIME: CLOCK_MONOTONIC stands still while a virtual machine is suspended, and a lease would seem to hold.
#[cfg(target_os = "linux")]
fn monotonic() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

/// Elsewhere people run commands, and nothing leads.
#[cfg(not(target_os = "linux"))]
#[allow(clippy::disallowed_methods, reason = "the one place that may")]
fn monotonic() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn seconds(number: i64) -> SignedDuration {
        SignedDuration::from_secs(number)
    }

    // A node whose clock is corrected after the process began: windows must open by the time that it is now.
    #[rstest]
    #[case::ahead(3600)]
    #[case::back(-3600)]
    fn a_wall_clock_that_is_set_is_followed_and_said(#[case] by: i64) {
        let clock = Clock::start();
        let before = clock.now();
        let moved = clock.reanchor_at(before.saturating_add(seconds(by)).unwrap()).expect("a step");
        assert!((moved - seconds(by)).abs() < seconds(1), "{moved:?}");
        assert!((clock.now().duration_since(before) - seconds(by)).abs() < seconds(1));
        assert_eq!(clock.steps(), 1);
        assert!((clock.moved() - seconds(by)).abs() < seconds(1));
    }

    #[test]
    fn a_clock_that_is_disciplined_is_followed_in_silence() {
        let clock = Clock::start();
        let before = clock.now();
        assert_eq!(clock.reanchor_at(before.saturating_add(seconds(1)).unwrap()), None);
        let moved = clock.now().duration_since(before);
        assert!(moved >= SignedDuration::from_millis(900), "{moved:?}");
        assert_eq!(clock.steps(), 0);
        assert_eq!(clock.reanchor(), None, "and back to what it is");
    }

    #[test]
    fn a_step_of_the_wall_clock_does_not_move_the_time_that_is_waited_for() {
        let clock = Clock::start();
        let before = clock.uptime();
        let _moved = clock.reanchor_at(clock.now().saturating_add(seconds(86_400)).unwrap());
        assert!(clock.uptime().saturating_sub(before) < Duration::from_secs(5));
    }
}
