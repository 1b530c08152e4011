//! What is kept of a day, and that it is little.

use pretty_assertions::assert_eq;
use proptest::prelude::*;
use rstest::rstest;

use super::{super::history::History, *};
use crate::domain::{
    fixtures::{self, NOW},
    names::RunId,
    sample::Role,
};

const SECOND: u64 = 1;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const KEEP: Duration = Duration::from_secs(720);

/// A target that is sampled every 15 s.
struct Watched {
    history: History,
    sample: Sample,
}

impl Watched {
    fn new() -> Self {
        let mut sample = fixtures::sample(Role::Primary);
        (sample.memory.used, sample.memory.rss, sample.memory.ratio) = (Bytes(1 << 30), Bytes(5 << 28), Ratio(125));
        sample.at = NOW;
        sample.replication.offset = 0;
        sample.persistence.aof_size = None;
        Self { history: History::default(), sample }
    }

    fn look(&mut self, seconds: u64, change: impl FnOnce(&mut Sample)) {
        self.sample.at += SignedDuration::from_secs(i64::try_from(seconds).unwrap());
        change(&mut self.sample);
        self.history.note(&self.sample, KEEP);
    }

    /// Looks every 15 s for that number of seconds, with that change at each.
    fn watch(&mut self, seconds: u64, change: impl Fn(&mut Sample)) {
        (0..seconds / 15).for_each(|_| self.look(15, &change));
    }

    fn peaks(&self) -> Peaks {
        self.history.peaks()
    }
}

#[test]
fn nothing_seen_is_nothing_known() {
    assert!(History::default().peaks().is_empty());
}

#[test]
fn the_most_stays_for_a_day_whatever_comes_after_it() {
    let mut watched = Watched::new();
    watched.look(0, |sample| {
        sample.memory.clients_normal = Bytes(70 << 20);
        sample.memory.not_counted_for_evict = Bytes(60 << 20);
        sample.memory.sync_buffer = Some(Bytes(50 << 20));
    });
    watched.sample.memory.clients_normal = Bytes(1 << 20);
    watched.sample.memory.not_counted_for_evict = Bytes::ZERO;
    watched.sample.memory.sync_buffer = None;
    let most = |watched: &Watched| {
        let Peaks { clients, uncounted, sync_buffer, .. } = watched.peaks();
        (clients.0 >> 20, uncounted.0 >> 20, sync_buffer.0 >> 20)
    };
    watched.watch(24 * HOUR, |_| {});
    assert_eq!(most(&watched), (70, 60, 50), "a day later");
    assert_eq!(watched.history.to_vec().len(), 49, "of the readings twelve minutes are there");
    watched.watch(9 * HOUR, |_| {});
    assert_eq!(most(&watched), (1, 0, 0), "and then it is forgotten");
}

#[test]
fn time_is_covered_by_samples_that_follow_each_other() {
    let mut watched = Watched::new();
    watched.look(0, |_| {});
    watched.watch(HOUR, |_| {});
    assert_eq!(watched.peaks().covered, Duration::from_secs(HOUR));
    watched.look(HOUR, |_| {});
    assert_eq!(watched.peaks().covered, Duration::from_secs(HOUR), "an hour of silence is not covered");
    watched.watch(40 * HOUR, |_| {});
    let covered = watched.peaks().covered.as_secs();
    assert!((24 * HOUR..=32 * HOUR).contains(&covered), "{covered} s");
}

#[test]
fn of_ratios_the_95th_percentile_counts() {
    let mut watched = Watched::new();
    let ratio = |percent: u32| move |sample: &mut Sample| sample.memory.ratio = Ratio(percent);
    watched.watch(96 * MINUTE, ratio(121));
    assert_eq!(watched.peaks().ratio, Some(Ratio(125)), "rounded up to a step");
    watched.watch(5 * MINUTE, ratio(180));
    assert_eq!(watched.peaks().ratio, Some(Ratio(125)), "5 of 101 minutes are less than a twentieth");
    watched.watch(5 * MINUTE, ratio(180));
    assert_eq!(watched.peaks().ratio, Some(Ratio(180)), "10 of 106 are more");
    watched.watch(24 * HOUR, ratio(9999));
    assert_eq!(watched.peaks().ratio, Some(Ratio(270)), "more is not provided for");
}

#[rstest]
#[case::small(|sample: &mut Sample| sample.memory.used = Bytes(99_999_999))]
#[case::loading(|sample: &mut Sample| sample.persistence.loading = true)]
#[case::not_measured(|sample: &mut Sample| sample.memory.rss = Bytes::ZERO)]
#[case::absurd(|sample: &mut Sample| sample.unread = vec!["used_memory_rss".into()])]
fn a_ratio_that_says_nothing_is_not_kept(#[case] change: fn(&mut Sample)) {
    let mut watched = Watched::new();
    watched.watch(HOUR, change);
    assert_eq!(watched.peaks().ratio, None);
}

#[test]
fn a_server_cannot_say_that_buffers_take_more_than_it_uses() {
    let mut watched = Watched::new();
    watched.look(0, |sample| sample.memory.clients_normal = Bytes(u64::MAX));
    assert_eq!(watched.peaks().clients, watched.sample.memory.used);
}

#[test]
fn what_a_fork_copies_is_told_by_its_size_then() {
    let mut watched = Watched::new();
    watched.watch(MINUTE, |sample| sample.persistence.copy_on_write = Bytes(1 << 29));
    assert_eq!(watched.peaks().copied, None, "of a fork before the first sample the size of the data is not known");
    watched.look(15, |sample| sample.persistence.copy_on_write = Bytes(1 << 28));
    assert_eq!(watched.peaks().copied, Some(Ratio(25)));
    watched.look(15, |sample| sample.memory.used = Bytes(1 << 27));
    assert_eq!(watched.peaks().copied, Some(Ratio(25)), "less data later makes it no larger");
    watched.look(15, |sample| {
        sample.run_id = RunId::from("another");
        sample.persistence.copy_on_write = Bytes(1 << 27);
    });
    assert_eq!(watched.peaks().copied, Some(Ratio(25)), "another process' fork is of an unknown size");
    watched.look(15, |sample| sample.persistence.copy_on_write = Bytes(u64::MAX));
    assert_eq!(watched.peaks().copied, Some(Ratio(100)), "a fork copies no more than there is");
}

#[test]
fn a_fork_of_a_small_server_says_nothing() {
    let mut watched = Watched::new();
    watched.sample.memory.used = Bytes(50_000_000);
    watched.look(0, |_| {});
    watched.look(15, |sample| sample.persistence.copy_on_write = Bytes(20_000_000));
    assert_eq!(watched.peaks().copied, None);
}

#[test]
fn writes_are_counted_by_the_stream_or_by_the_file() {
    let rate = |each: fn(&mut Sample)| {
        let mut watched = Watched::new();
        watched.look(0, |_| {});
        watched.watch(2 * MINUTE, each);
        watched.peaks().writes.0
    };
    assert_eq!(rate(|_| {}), 0);
    assert_eq!(rate(|sample| sample.replication.offset += 15 << 20), 1 << 20);
    let append = |sample: &mut Sample| {
        let before = sample.persistence.aof_size.unwrap_or_default().0;
        sample.persistence.aof_size = Some(Bytes(before + (30 << 20)));
    };
    assert_eq!(rate(append), 2 << 20);
    assert_eq!(rate(|sample| sample.replication.offset = sample.replication.offset.saturating_sub(5)), 0);
}

#[test]
fn a_jump_that_no_writes_made_is_no_rate() {
    let jump = |with: fn(&mut Sample)| {
        let mut watched = Watched::new();
        watched.watch(2 * MINUTE, |_| {});
        watched.look(15, |sample| {
            sample.replication.offset += 100 << 30;
            with(sample);
        });
        watched.watch(2 * MINUTE, |_| {});
        watched.peaks().writes.0
    };
    assert_ne!(jump(|_| {}), 0);
    assert_eq!(jump(|sample| sample.replication.replid = "another history".into()), 0);
    assert_eq!(jump(|sample| sample.run_id = RunId::from("another")), 0);
    assert_eq!(jump(|sample| sample.persistence.loading = true), 0);
}

#[test]
fn the_writes_under_a_fork_are_told_apart() {
    let mut watched = Watched::new();
    watched.look(0, |_| {});
    let writes = |mebibytes: u64| move |sample: &mut Sample| sample.replication.offset += 15 * (mebibytes << 20);
    watched.watch(2 * MINUTE, writes(3));
    watched.sample.persistence.child_running = true;
    watched.watch(MINUTE, writes(1));
    watched.sample.persistence.child_running = false;
    watched.watch(2 * MINUTE, writes(2));
    let Peaks { writes, writes_copied, .. } = watched.peaks();
    assert_eq!((writes.0 >> 20, writes_copied.0 >> 20), (3, 1));
}

#[test]
fn a_clock_that_was_set_forgets_nothing() {
    let mut watched = Watched::new();
    watched.watch(HOUR, |_| {});
    let by = SignedDuration::from_hours(48);
    watched.history.shift(by);
    watched.sample.at += by;
    watched.watch(HOUR, |_| {});
    assert!(watched.peaks().covered >= Duration::from_secs(2 * HOUR - MINUTE), "{:?}", watched.peaks());
}

/// What docs/performance.md says that it takes.
#[test]
fn a_target_takes_less_than_a_kibibyte() {
    assert!(size_of::<Part>() * 4 + size_of::<LastDay>() <= 1024, "{} a part", size_of::<Part>());
}

proptest! {
    #[test]
    fn whatever_is_seen_four_parts_are_kept(
        gaps in prop::collection::vec(0_u64..1 << 20, 1..200), used: u64, clients: u64, cow: u64, offset: u64, ratio: u32,
    ) {
        let mut watched = Watched::new();
        for (gap, n) in gaps.into_iter().zip(0_u64..) {
            watched.look(gap, |sample| {
                (sample.memory.used, sample.memory.clients_normal) = (Bytes(used), Bytes(clients));
                sample.persistence.copy_on_write = Bytes(cow.wrapping_mul(n));
                sample.replication.offset = offset.wrapping_mul(n);
                sample.memory.ratio = Ratio(ratio);
            });
            let peaks = watched.peaks();
            prop_assert!(peaks.clients.0 <= used && peaks.copied.unwrap_or_default() <= Ratio(100));
            prop_assert!(peaks.ratio.is_none_or(|ratio| (LOWEST..=270).contains(&ratio.0)));
            prop_assert!(peaks.covered <= KEPT + LONGEST_GAP && watched.history.parts() <= 4);
        }
    }
}
