//! How soon to look again after somebody else wrote first.

use std::time::Duration;

/// After the first conflict: what is true now is looked at as good as at once.
const FIRST: Duration = Duration::from_millis(200);
/// However many there were: at most so long, so that no more than six looks a minute are spent on a conflict that
/// never ends (another writer in a loop, a watch that stands still).
const LAST: Duration = Duration::from_secs(10);

/// Each conflict in a row makes the pause so many times longer: with [`LAST`] at most ten looks in the first minute.
const FACTOR: u32 = 3;

/// The pause after so many conflicts in a row: 200 ms, three times as long after each further one, at most 10 s.
pub fn after_conflicts(in_a_row: u32) -> Duration {
    FIRST.saturating_mul(FACTOR.saturating_pow(in_a_row.saturating_sub(1))).min(LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_conflict_costs_nothing_and_an_endless_one_little() {
        let pauses: Vec<u128> = (0..6).map(|n| after_conflicts(n).as_millis()).collect();
        assert_eq!(pauses, [200, 200, 600, 1800, 5400, 10_000]);
        assert_eq!(after_conflicts(u32::MAX), LAST);
    }
}
