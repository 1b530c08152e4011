//! How soon a policy is looked at again when another writer came first: at once, but not for ever at once.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::plan::pace;

/// Conflicts in a row, by the policy's UID. One that was alone is forgotten by the next look without one.
#[derive(Debug, Default)]
pub struct Pace(Mutex<HashMap<String, u32>>);

impl Pace {
    /// Another writer came first once more: when to look again.
    pub fn after_conflict(&self, uid: &str) -> Duration {
        let mut conflicts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = conflicts.entry(uid.to_owned()).or_default();
        *count = count.saturating_add(1);
        pace::after_conflicts(*count)
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
    fn a_conflict_that_never_ends_is_looked_at_ten_times_in_its_first_minute() {
        let pace = Pace::default();
        let (mut at, mut looks) = (Duration::ZERO, 0);
        while at < Duration::from_secs(60) {
            looks += 1;
            at += pace.after_conflict("a");
        }
        assert!((5..=10).contains(&looks), "{looks}");
        assert_eq!(pace.after_conflict("b"), pace::after_conflicts(1), "each policy has its own");
        pace.through("a");
        assert_eq!(pace.after_conflict("a"), pace::after_conflicts(1), "a look that goes through ends it");
    }
}
