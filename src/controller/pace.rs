//! How soon a policy is looked at again after a look that failed: soon at first, and less and less often while looks go
//! on failing, whatever wakes us. So no fault makes a hot loop.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::plan::pace;

/// Failures in a row, by the policy's UID. They are forgotten by the next look that goes through.
#[derive(Debug, Default)]
pub struct Pace(Mutex<HashMap<String, Streak>>);

#[derive(Clone, Copy, Debug, Default)]
struct Streak {
    failures: u32,
    /// Uptime before which nothing is looked at.
    until: Duration,
}

impl Pace {
    /// A look has failed once more: when to look again.
    pub fn failed(&self, uid: &str, now: Duration) -> Duration {
        let mut streaks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let streak = streaks.entry(uid.to_owned()).or_default();
        streak.failures = streak.failures.saturating_add(1);
        let pause = pace::after_failures(streak.failures);
        streak.until = now.saturating_add(pause);
        pause
    }

    /// What is left of the pause, if one is on.
    pub fn left(&self, uid: &str, now: Duration) -> Option<Duration> {
        let streaks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = streaks.get(uid)?.until.saturating_sub(now);
        Some(left).filter(|left| !left.is_zero())
    }

    /// A look went through, or the policy is gone.
    pub fn through(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_never_ends_is_looked_at_eight_times_in_its_first_minute_however_often_we_are_woken() {
        let pace = Pace::default();
        let (mut looks, mut in_last_minute) = (0, 0);
        for woken in 0..1200 {
            let now = Duration::from_millis(100 * woken);
            if pace.left("a", now).is_none() {
                pace.failed("a", now);
                *(if woken < 600 { &mut looks } else { &mut in_last_minute }) += 1;
            }
        }
        assert!((5..=8).contains(&looks), "{looks}");
        assert_eq!(in_last_minute, 5);
    }

    #[test]
    fn a_look_that_goes_through_ends_it_and_each_policy_has_its_own() {
        let (pace, now) = (Pace::default(), Duration::from_secs(100));
        assert_eq!(pace.left("a", now), None);
        assert_eq!(pace.failed("a", now), pace::after_failures(1));
        assert!(pace.failed("a", now) > pace::after_failures(1));
        assert_eq!(pace.left("b", now), None);
        assert_eq!(pace.failed("b", now), pace::after_failures(1));
        pace.through("a");
        assert_eq!(pace.left("a", now), None);
        assert_eq!(pace.failed("a", now), pace::after_failures(1));
    }
}
