//! When a target is probed next. Pure.

use std::time::Duration;

use crate::domain::names::PodUid;

/// The first wait after a failure; it doubles up to the interval.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Turns begin together at multiples of this, so that one wake-up serves several targets. A thousand targets at an interval
/// of 15 s are one or two each time.
const TICK: Duration = Duration::from_millis(20);

/// A number that spreads pods evenly: FNV-1a over the UID, so that a target keeps its phase over restarts.
pub(super) fn spread(pod: &PodUid) -> u64 {
    pod.as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// The wait until the target's next turn: turns are `interval` apart and begin at a phase of the target's own.
pub(super) fn until_turn(uptime: Duration, interval: Duration, spread: u64) -> Duration {
    let interval = nanoseconds(interval).max(1);
    let phase = spread % interval;
    let phase = phase - phase % nanoseconds(TICK);
    let position = nanoseconds(uptime) % interval;
    let wait = (phase + interval - position) % interval;
    // At its very turn the target has just been probed: wait for the next one.
    Duration::from_nanos(if wait == 0 { interval } else { wait })
}

/// The wait after a number of failures in a row: 1 s, 2 s, 4 s, … up to the interval, up to a quarter less by target.
pub(super) fn until_retry(failures: u32, interval: Duration, spread: u64) -> Duration {
    let wait = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(interval);
    // In 1024ths, so that nothing is a float: 0 to 255 of them are a quarter.
    let part = u32::try_from(spread % 256).unwrap_or(0);
    wait.saturating_sub(wait.saturating_mul(part) / 1024)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_secs(15);

    #[test]
    fn turns_of_a_thousand_pods_are_spread() {
        let mut seconds = [0; 15];
        for i in 0..1000 {
            let uid = PodUid::new(format!("3f2c9a60-0000-4000-8000-{i:012}"));
            seconds[usize::try_from(until_turn(Duration::ZERO, INTERVAL, spread(&uid)).as_secs()).unwrap().min(14)] +=
                1;
        }
        assert!(seconds.iter().all(|&count| (30..110).contains(&count)), "{seconds:?}");
    }

    #[test]
    fn retries_slow_down_to_the_interval() {
        let waits: Vec<u64> = (1..8).map(|n| until_retry(n, INTERVAL, 0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 15, 15, 15]);
        assert!(until_retry(5, INTERVAL, 255) >= INTERVAL.mul_f64(0.74));
        assert_eq!(until_retry(u32::MAX, Duration::from_millis(200), 0), Duration::from_millis(200));
    }

    proptest! {
        #[test]
        fn the_next_turn_is_at_most_an_interval_away(up in 0_u64..1_000_000_000_000, interval in 1_u64..100_000, spread: u64) {
            let interval = Duration::from_millis(interval);
            let wait = until_turn(Duration::from_nanos(up), interval, spread);
            prop_assert!(wait > Duration::ZERO && wait <= interval);
            let next = until_turn(Duration::from_nanos(up) + wait, interval, spread);
            prop_assert_eq!(next, interval);
        }
    }
}
