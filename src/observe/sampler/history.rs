//! A target's recent readings.

use std::{collections::VecDeque, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::last_day::LastDay;
use crate::domain::{
    peaks::Peaks,
    sample::{Pressure, Reading, Role, Sample},
};

/// Most readings of one target: 2048 cover eight hours at 15 s, in about 200 KiB.
pub(super) const MAX_READINGS: usize = 2048;

/// Recent readings, oldest first, bounded in time and number; and the most of the last day, however short they reach.
#[derive(Clone, Debug, Default)]
pub struct History {
    readings: VecDeque<Reading>,
    day: LastDay,
}

impl History {
    /// Notes a sample: what of it is kept as a reading, and what is the most of the day.
    pub fn note(&mut self, sample: &Sample, keep: Duration) {
        let reading = reading_of(sample);
        self.day.note(sample, &reading, self.readings.back());
        self.push(reading, keep);
    }

    /// The most of the last day.
    pub fn peaks(&self) -> Peaks {
        self.day.peaks()
    }

    #[cfg(test)]
    pub(super) fn parts(&self) -> usize {
        self.day.parts()
    }

    /// Adds a reading and drops those older than `keep`. When `keep` could hold more than [`MAX_READINGS`], readings
    /// that come closer than `keep` / [`MAX_READINGS`] are merged into one, so that the time is covered, not the
    /// number. A merged reading is quiet only if all of its parts were.
    fn push(&mut self, mut reading: Reading, keep: Duration) {
        let spacing = keep / u32::try_from(MAX_READINGS).unwrap_or(u32::MAX);
        let previous = self.readings.len().checked_sub(2).and_then(|i| self.readings.get(i)).map(|r| r.at);
        if let (Some(previous), Some(last)) = (previous, self.readings.back())
            && last.run_id == reading.run_id
            && age(previous, reading.at) <= spacing
        {
            reading.quiet &= last.quiet;
            reading.steady &= last.steady;
            self.readings.pop_back();
        }
        let now = reading.at;
        self.readings.push_back(reading);
        while self.readings.len() > MAX_READINGS || self.readings.front().is_some_and(|r| age(r.at, now) > keep) {
            self.readings.pop_front();
        }
    }

    /// The wall clock was set by so much: what was read before it is as old as it was.
    pub(super) fn shift(&mut self, by: SignedDuration) {
        for reading in &mut self.readings {
            reading.at = reading.at.saturating_add(by).unwrap_or(reading.at);
        }
        self.day.shift(by);
    }

    /// A copy for who judges.
    pub(super) fn to_vec(&self) -> Vec<Reading> {
        self.readings.iter().cloned().collect()
    }
}

/// What of a sample is kept.
pub fn reading_of(sample: &Sample) -> Reading {
    let Sample { memory, persistence, replication, .. } = sample;
    let syncing = match &replication.role {
        Role::Primary | Role::Unknown => false,
        Role::Replica(link) => link.sync_in_progress,
    };
    let feeding = replication.replicas.iter().any(|replica| !replica.online);
    // What was not measured judges nothing.
    let steady = memory.is_measured() && !(syncing || feeding || persistence.loading || memory.lazyfree_pending > 0);
    let quiet = steady && !persistence.child_running && !persistence.rewrite_scheduled;
    Reading {
        at: sample.at,
        run_id: sample.run_id.clone(),
        ratio: memory.ratio,
        used: memory.used,
        rss: memory.rss,
        uptime: sample.server.uptime,
        offset: replication.offset,
        quiet,
        steady,
        pressure: Pressure {
            maxmemory: memory.maxmemory,
            clients: memory.clients_normal,
            uncounted: memory.not_counted_for_evict,
            loading: persistence.loading,
            child: persistence.child_running,
        },
    }
}

/// Time from one to the other; zero when the clock went back.
pub(super) fn age(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{bytes::Bytes, ratio::Ratio};
    use proptest::prelude::*;

    fn reading(milliseconds: i64, run_id: &str, quiet: bool) -> Reading {
        Reading {
            at: Timestamp::from_millisecond(milliseconds).unwrap(),
            run_id: run_id.into(),
            ratio: Ratio(100),
            used: Bytes(1),
            rss: Bytes(1),
            uptime: Duration::ZERO,
            offset: 0,
            quiet,
            steady: quiet,
            pressure: Pressure::default(),
        }
    }

    fn times(history: &History) -> Vec<i64> {
        history.readings.iter().map(|r| r.at.as_millisecond()).collect()
    }

    #[test]
    fn what_was_not_measured_is_not_quiet() {
        let mut sample = crate::domain::fixtures::sample(Role::Primary);
        assert!(reading_of(&sample).quiet);
        sample.memory.rss = Bytes::ZERO;
        assert!(!reading_of(&sample).quiet, "no judgement may rest on it");
    }

    #[test]
    fn drops_what_is_too_old() {
        let mut history = History::default();
        for second in 0..10 {
            history.push(reading(second * 1000, "a", true), Duration::from_secs(3));
        }
        assert_eq!(times(&history), [6000, 7000, 8000, 9000]);
    }

    #[test]
    fn covers_the_time_when_readings_come_fast() {
        let keep = Duration::from_secs(2048 * 15);
        let mut history = History::default();
        for second in 0..2048 * 20 {
            history.push(reading(second * 1000, "a", true), keep);
        }
        let times = times(&history);
        assert!(times.len() <= MAX_READINGS);
        assert_eq!(times.last(), Some(&(2048 * 20 * 1000 - 1000)), "the newest is there");
        let covered = times[times.len() - 1] - times[0];
        assert!(covered > 2048 * 15 * 1000 * 95 / 100, "{covered} ms covered");
    }

    #[test]
    fn merging_forgets_neither_unrest_nor_a_restart() {
        let keep = Duration::from_secs(2048 * 15);
        let mut history = History::default();
        for (at, run_id, quiet) in [(0, "a", true), (1000, "a", false), (2000, "a", true), (3000, "b", true)] {
            history.push(reading(at, run_id, quiet), keep);
        }
        let kept: Vec<_> = history.to_vec().into_iter().map(|r| (r.at.as_millisecond(), r.quiet)).collect();
        assert_eq!(kept, [(0, true), (2000, false), (3000, true)]);
    }

    proptest! {
        #[test]
        fn is_always_bounded_and_ordered(
            steps in proptest::collection::vec(0_i64..100_000, 0..400),
            keep in 0_u64..1_000_000,
        ) {
            let keep = Duration::from_millis(keep);
            let mut history = History::default();
            let mut at = 0;
            for step in steps {
                at += step;
                history.push(reading(at, "a", true), keep);
                let times = times(&history);
                prop_assert!(times.len() <= MAX_READINGS);
                prop_assert!(times.is_sorted());
                prop_assert_eq!(times.last(), Some(&at));
                prop_assert!(u128::from((at - times[0]).unsigned_abs()) <= keep.as_millis());
            }
        }
    }
}
