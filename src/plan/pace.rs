//! How soon to look again after somebody else wrote first.

use std::time::Duration;

/// After the first conflict: what is true now is looked at as good as at once.
const FIRST: Duration = Duration::from_millis(200);
/// However many there were: at most so long, so that no more than six looks a minute are spent on a conflict that
/// never ends (another writer in a loop, a watch that stands still).
const LAST: Duration = Duration::from_secs(10);

/// The pause after so many conflicts in a row: 200 ms, doubled each time, at most 10 s.
pub fn after_conflicts(in_a_row: u32) -> Duration {
    FIRST.saturating_mul(1_u32.checked_shl(in_a_row.saturating_sub(1)).unwrap_or(u32::MAX)).min(LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_conflict_costs_nothing_and_an_endless_one_little() {
        let pauses: Vec<u128> = (0..9).map(|n| after_conflicts(n).as_millis()).collect();
        assert_eq!(pauses, [200, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(after_conflicts(u32::MAX), LAST);
    }
}
