//! How soon a policy is looked at again after a look that failed: soon at first, and less and less often while looks go
//! on failing, whatever wakes us. So no fault makes a hot loop.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// After the first failure: mostly another writer came first, and what is true now is looked at at once.
const FIRST: Duration = Duration::from_millis(200);
/// After many: with [`FACTOR`] at most eight looks in the first minute, and five in each that follows (another writer in
/// a loop, a watch that stands still, an API server that refuses).
const LAST: Duration = Duration::from_secs(12);
/// Each failure in a row makes the pause longer by this factor.
const FACTOR: u32 = 4;
/// Failures that are this old count no more.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Failures in a row, by the policy's UID. A look that did something forgets them. One that only waits does not, or an
/// API server that refuses every third request would have us look twice as often as one that refuses none.
#[derive(Debug, Default)]
pub struct Backoff(Mutex<HashMap<String, Streak>>);

#[derive(Clone, Copy, Debug, Default)]
struct Streak {
    failures: u32,
    /// Uptime before which nothing is looked at.
    until: Duration,
}

impl Backoff {
    /// A look has failed once more: when to look again.
    pub fn failed(&self, uid: &str, now: Duration) -> Duration {
        let mut streaks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let streak = streaks.entry(uid.to_owned()).or_default();
        streak.failures = streak.failures.saturating_add(1);
        let pause = after_failures(streak.failures);
        streak.until = now.saturating_add(pause);
        pause
    }

    /// What is left of the pause, if one is on.
    pub fn left(&self, uid: &str, now: Duration) -> Option<Duration> {
        let streaks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = streaks.get(uid)?.until.saturating_sub(now);
        Some(left).filter(|left| !left.is_zero())
    }

    /// A look went through; the next one is wanted after this time. What wants it within a second did something.
    pub fn through(&self, uid: &str, again: Duration, now: Duration) {
        let mut streaks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = |streak: &Streak| now >= streak.until.saturating_add(FORGOTTEN);
        if again < Duration::from_secs(1) || streaks.get(uid).is_some_and(old) {
            streaks.remove(uid);
        }
    }

    /// Forgets the policies that do not exist any more.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| exists(uid));
    }
}

/// The pause after that number of failures in a row: 200 ms, four times as long after each further one, at most 12 s.
fn after_failures(in_a_row: u32) -> Duration {
    FIRST.saturating_mul(FACTOR.saturating_pow(in_a_row.saturating_sub(1))).min(LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_between_looks_that_only_wait_add_up() {
        let (backoff, wait) = (Backoff::default(), Duration::from_secs(10));
        let (mut now, mut looks) = (Duration::ZERO, 0);
        while now < Duration::from_secs(600) {
            now = now.saturating_add(backoff.failed("a", now));
            backoff.through("a", wait, now);
            now = now.saturating_add(wait);
            looks += 2;
        }
        assert!(looks <= 60, "{looks} looks in ten minutes, every other of which failed");
    }

    #[test]
    fn a_look_that_did_something_and_a_minute_without_failure_forget_them() {
        let backoff = Backoff::default();
        let (first, second) = (backoff.failed("a", Duration::ZERO), backoff.failed("a", Duration::ZERO));
        assert!(second > first);
        backoff.through("a", Duration::from_millis(50), Duration::ZERO);
        assert_eq!(backoff.failed("a", Duration::ZERO), first);
        backoff.through("a", Duration::from_secs(10), Duration::from_secs(61));
        assert_eq!(backoff.failed("a", Duration::from_secs(61)), first);
    }

    #[test]
    fn a_failure_that_never_ends_is_looked_at_eight_times_in_its_first_minute_however_often_we_are_woken() {
        let backoff = Backoff::default();
        let (mut looks, mut in_last_minute) = (0, 0);
        for woken in 0..1200 {
            let now = Duration::from_millis(100 * woken);
            if backoff.left("a", now).is_none() {
                backoff.failed("a", now);
                *(if woken < 600 { &mut looks } else { &mut in_last_minute }) += 1;
            }
        }
        assert!((5..=8).contains(&looks), "{looks}");
        assert_eq!(in_last_minute, 5);
    }

    #[test]
    fn a_look_that_did_something_ends_it_and_each_policy_has_its_own() {
        let (backoff, now) = (Backoff::default(), Duration::from_secs(100));
        assert_eq!(backoff.left("a", now), None);
        assert_eq!(backoff.failed("a", now), after_failures(1));
        assert!(backoff.failed("a", now) > after_failures(1));
        assert_eq!(backoff.left("b", now), None);
        assert_eq!(backoff.failed("b", now), after_failures(1));
        backoff.through("a", Duration::from_millis(50), now);
        assert_eq!(backoff.left("a", now), None);
        assert_eq!(backoff.failed("a", now), after_failures(1));
    }

    #[test]
    fn the_first_failure_costs_nothing_and_an_endless_one_little() {
        let pauses: Vec<u128> = (0..6).map(|n| after_failures(n).as_millis()).collect();
        assert_eq!(pauses, [200, 200, 800, 3200, 12_000, 12_000]);
        assert_eq!(after_failures(u32::MAX), LAST);
    }
}
