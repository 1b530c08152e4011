//! How soon to look again after a look that failed.

use std::time::Duration;

/// After the first failure: mostly another writer came first, and what is true now is looked at at once.
const FIRST: Duration = Duration::from_millis(200);
/// After many: with [`FACTOR`] at most eight looks in the first minute, and five in each that follows (another writer in
/// a loop, a watch that stands still, an API server that refuses).
const LAST: Duration = Duration::from_secs(12);
/// Each failure in a row makes the pause so many times longer.
const FACTOR: u32 = 4;

/// The pause after so many failures in a row: 200 ms, four times as long after each further one, at most 12 s.
pub fn after_failures(in_a_row: u32) -> Duration {
    FIRST.saturating_mul(FACTOR.saturating_pow(in_a_row.saturating_sub(1))).min(LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_costs_nothing_and_an_endless_one_little() {
        let pauses: Vec<u128> = (0..6).map(|n| after_failures(n).as_millis()).collect();
        assert_eq!(pauses, [200, 200, 800, 3200, 12_000, 12_000]);
        assert_eq!(after_failures(u32::MAX), LAST);
    }
}
