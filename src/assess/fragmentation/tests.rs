//! Bands, windows, causes and what makes a restart due.

use jiff::SignedDuration;
use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;
use crate::domain::{
    bytes::MIB,
    fixtures::{self, INTERVAL, NOW, RSS, USED, policy},
    sample::Sample,
    snapshot::{Observation, ProbeFailure},
};

fn target() -> Target {
    fixtures::target(1)
}

fn sample(target: &mut Target) -> &mut Sample {
    match &mut target.redis {
        Observation::Seen(sample) => sample,
        other => panic!("no sample: {other:?}"),
    }
}

fn verdict(target: &Target) -> Verdict {
    judge(&policy(), target, NOW, &AssessSettings::default())
}

fn with_ratio(percent: u32) -> Target {
    let mut target = target();
    for reading in &mut target.history {
        reading.ratio = Ratio(percent);
    }
    target
}

fn unknown(target: &Target) -> String {
    let verdict = verdict(target);
    assert_eq!((verdict.band, verdict.restart_due), (Band::Unknown, None));
    verdict.unknown_because.expect("an unknown verdict says why")
}

#[test]
fn the_fixture_is_due() {
    let verdict = verdict(&target());
    assert_eq!(verdict.band, Band::Restart);
    assert_eq!(verdict.restart_due, Some(DueReason::Ratio));
    assert_eq!(verdict.cause, Cause::Fragmented);
    assert_eq!((verdict.ratio, verdict.waste), (Ratio(291), Bytes::mib(132)));
    assert_eq!((verdict.falling, verdict.unknown_because), (false, None));
    assert_eq!(verdict.efficiency, None, "too small to be judged");
}

#[rstest]
#[case(129, Band::Healthy)]
#[case(130, Band::Moderate)]
#[case(149, Band::Moderate)]
#[case(150, Band::Serious)]
#[case(199, Band::Serious)]
#[case(200, Band::Critical)]
#[case(249, Band::Critical)]
#[case(250, Band::Restart)]
#[case(95, Band::Healthy)]
fn bands_begin_at_their_thresholds(#[case] percent: u32, #[case] band: Band) {
    assert_eq!(verdict(&with_ratio(percent)).band, band);
}

#[test]
fn the_band_is_what_every_reading_meets() {
    let mut target = with_ratio(291);
    let last = target.history.len() - 1;
    target.history[last - 40].ratio = Ratio(160);
    assert_eq!(verdict(&target).band, Band::Serious, "the 40th reading before the last lies in the 10 minutes");
    let mut earlier = with_ratio(291);
    earlier.history[last - 41].ratio = Ratio(160);
    assert_eq!(verdict(&earlier).band, Band::Restart, "the 41st does not");
}

#[test]
fn a_ratio_without_bytes_is_healthy() {
    let mut target = target();
    for reading in &mut target.history {
        reading.rss = reading.used + Bytes(100 * MIB - 1);
    }
    assert_eq!(verdict(&target).band, Band::Healthy);
    for reading in &mut target.history {
        reading.rss = reading.used + Bytes::mib(100);
    }
    assert_eq!(verdict(&target).band, Band::Restart);
}

#[test]
fn a_swapped_process_is_never_due() {
    let mut target = with_ratio(60);
    for reading in &mut target.history {
        reading.rss = Bytes::mib(41);
    }
    sample(&mut target).memory.rss = Bytes::mib(41);
    let verdict = verdict(&target);
    assert_eq!((verdict.band, verdict.waste, verdict.restart_due), (Band::Healthy, Bytes::ZERO, None));
}

#[test]
fn a_band_needs_the_whole_time() {
    let mut target = target();
    let newest = target.history.len() - 1;
    target.history.drain(..newest - 40);
    assert_eq!(verdict(&target).band, Band::Restart, "41 readings cover 10 minutes");
    target.history.remove(0);
    assert_eq!(unknown(&target), "the quiet readings without a gap do not cover 10m yet");
}

#[test]
fn three_missing_intervals_are_no_gap_and_more_is_one() {
    let mut target = target();
    let n = target.history.len();
    target.history.drain(n - 20..n - 18);
    assert_eq!(verdict(&target).band, Band::Restart, "45 s between two readings");
    target.history.remove(n - 21);
    assert!(unknown(&target).contains("do not cover"), "60 s between two readings");
}

#[test]
fn old_readings_are_no_judgement() {
    let mut stale = target();
    let shift = |reading: &mut Reading, secs| reading.at -= SignedDuration::from_secs(secs);
    stale.history.iter_mut().for_each(|r| shift(r, 43));
    assert_eq!(verdict(&stale).band, Band::Restart, "the newest is 45 s old");
    stale.history.iter_mut().for_each(|r| shift(r, 1));
    assert!(unknown(&stale).contains("was not sampled"));
}

#[test]
fn readings_of_another_process_do_not_count() {
    let mut target = target();
    let n = target.history.len();
    for reading in &mut target.history[..n - 10] {
        reading.run_id = fixtures::run_id(9);
    }
    assert!(unknown(&target).contains("do not cover"));
    sample(&mut target).run_id = fixtures::run_id(8);
    assert!(unknown(&target).contains("has not run for 5m"), "nothing is known of the process that answers now");
}

#[test]
fn a_short_sync_does_not_break_the_stretch_and_a_long_one_does() {
    let mut target = target();
    let n = target.history.len();
    for reading in &mut target.history[n - 20..n - 18] {
        (reading.quiet, reading.steady) = (false, false);
        reading.ratio = Ratio(110);
    }
    assert_eq!(verdict(&target).band, Band::Restart);
    (target.history[n - 21].quiet, target.history[n - 21].steady) = (false, false);
    assert!(unknown(&target).contains("do not cover"));
}

/// `save 60 10000` on a large busy server: a minute of saving after each minute without.
#[test]
fn a_server_that_saves_often_is_judged() {
    let mut target = target();
    for (n, reading) in target.history.iter_mut().enumerate() {
        reading.quiet = n / 4 % 2 == 0;
    }
    assert_eq!(verdict(&target).band, Band::Restart);
}

#[test]
fn nothing_is_judged_when_nothing_was_quiet() {
    let mut target = target();
    target.history.iter_mut().for_each(|r| (r.quiet, r.steady) = (false, false));
    assert!(unknown(&target).contains("no fresh quiet reading"));
}

#[test]
fn the_warm_up_is_left_out() {
    let mut target = target();
    let n = u32::try_from(target.history.len()).unwrap();
    let age = |n: u32| INTERVAL.saturating_mul(n);
    // The process is 14 minutes old: its readings from the age of 5 minutes on cover 9 minutes.
    for (i, reading) in (0..n).zip(&mut target.history) {
        reading.uptime = std::time::Duration::from_secs(14 * 60).saturating_sub(age(n - 1 - i));
    }
    assert!(unknown(&target).contains("do not cover"));
    for (i, reading) in (0..n).zip(&mut target.history) {
        reading.uptime = std::time::Duration::from_secs(15 * 60).saturating_sub(age(n - 1 - i));
    }
    assert_eq!(verdict(&target).band, Band::Restart);
}

#[test]
fn a_server_that_loads_or_does_not_answer_is_unknown() {
    let mut loading = target();
    sample(&mut loading).persistence.loading = true;
    assert_eq!(unknown(&loading), "the server loads its data");
    let mut failed = target();
    failed.redis = Observation::Failed(ProbeFailure::Unreachable("connection refused".into()));
    assert_eq!(unknown(&failed), "the last probe failed: Unreachable");
    failed.redis = Observation::Pending;
    assert_eq!(unknown(&failed), "not probed yet");
}

#[test]
fn one_look_is_enough_when_no_time_is_asked_for() {
    let mut target = target();
    let newest = target.history.len() - 1;
    target.history.drain(..newest);
    let mut policy = policy();
    policy.fragmentation.sustained = std::time::Duration::ZERO;
    let settings = AssessSettings { warm_up: std::time::Duration::ZERO, ..AssessSettings::default() };
    assert_eq!(judge(&policy, &target, NOW, &settings).band, Band::Restart);
}

#[rstest]
#[case(300, 285, false)]
#[case(300, 284, true)]
fn falling_is_below_95_percent_of_the_median(#[case] before: u32, #[case] newest: u32, #[case] falling: bool) {
    let mut target = with_ratio(before);
    target.history.last_mut().unwrap().ratio = Ratio(newest);
    let verdict = verdict(&target);
    assert_eq!(verdict.band, Band::Restart);
    assert_eq!(verdict.falling, falling);
    assert_eq!(verdict.restart_due.is_some(), !falling);
}

#[test]
fn the_median_of_an_even_number_is_between_the_middle_two() {
    let mut target = target();
    let mut policy = policy();
    policy.fragmentation.sustained = std::time::Duration::from_secs(15);
    let newest = target.history.len() - 1;
    target.history[newest - 1].ratio = Ratio(310);
    target.history[newest].ratio = Ratio(280);
    let judged = |target: &Target| judge(&policy, target, NOW, &AssessSettings::default()).falling;
    assert!(judged(&target), "280 is below 0.95 x 295");
    target.history[newest].ratio = Ratio(281);
    assert!(!judged(&target), "281 is not below 0.95 x 295.5");
}

#[test]
fn a_restart_must_gain_the_minimum_waste() {
    // gain = rss - (1.10 x used + 12 MiB) = rss - 87.9 MiB
    let enough = Bytes(RSS.0 - expected_gain(sample(&mut target()).memory_mut()).0 + Bytes::mib(100).0);
    for (rss, due) in [(enough, true), (Bytes(enough.0 - 1), false)] {
        let mut target = target();
        target.history.iter_mut().for_each(|r| r.rss = rss);
        let verdict = verdict(&target);
        assert_eq!(verdict.band, Band::Restart);
        assert_eq!(verdict.restart_due.is_some(), due, "rss {rss:?}");
    }
}

impl Sample {
    fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }
}

#[test]
fn the_expected_gain_is_what_a_clean_process_would_not_hold() {
    let mut memory = fixtures::memory();
    memory.used = Bytes::mib(100);
    memory.rss = Bytes::mib(322);
    assert_eq!(expected_gain(&memory), Bytes::mib(200));
    memory.rss = Bytes::mib(100);
    assert_eq!(expected_gain(&memory), Bytes::ZERO);
}

#[rstest]
#[case(119, 9, 4, Cause::Fragmented)]
#[case(10, 120, 4, Cause::Purgeable)]
#[case(10, 9, 110, Cause::Other)]
#[case(50, 9, 50, Cause::Other)]
#[case(50, 56, 4, Cause::Fragmented)]
#[case(50, 57, 4, Cause::Purgeable)]
#[case(0, 0, 0, Cause::Other)]
fn the_largest_part_is_the_cause(#[case] frag: u64, #[case] rss: u64, #[case] overhead: u64, #[case] cause: Cause) {
    let mut target = target();
    let memory = &mut sample(&mut target).memory;
    memory.allocator_frag = Bytes::mib(frag);
    memory.allocator_rss = Bytes::mib(rss);
    memory.rss_overhead = Bytes::mib(overhead);
    assert_eq!(verdict(&target).cause, cause);
}

#[test]
fn allocator_metadata_is_not_purgeable() {
    let mut target = target();
    let memory = &mut sample(&mut target).memory;
    memory.allocator_active = Bytes(1000);
    memory.allocator_rss = Bytes(36);
    assert_eq!(verdict(&target).purgeable, Bytes(1));
}

#[test]
fn of_a_libc_build_only_the_total_is_known() {
    let mut target = target();
    sample(&mut target).memory.allocator = "libc".into();
    let verdict = verdict(&target);
    assert_eq!((verdict.cause, verdict.fragmented), (Cause::TotalOnly, Bytes::ZERO));
    assert_eq!(verdict.restart_due, Some(DueReason::Ratio));
}

/// 150 MB used of which 60 MB are data, in 305 MB: half-empty in every reading, at a ratio of 2.03.
fn inefficient() -> Target {
    let mut target = with_ratio(203);
    for reading in &mut target.history {
        (reading.used, reading.rss) = (Bytes(150_000_000), Bytes(305_000_000));
    }
    let memory = &mut sample(&mut target).memory;
    (memory.used, memory.rss, memory.dataset) = (Bytes(150_000_000), Bytes(305_000_000), Bytes(140_000_000));
    memory.ratio = Ratio(203);
    target
}

#[test]
fn low_efficiency_makes_a_restart_due_when_the_gain_would_mend_it() {
    let verdict = verdict(&inefficient());
    assert_eq!(verdict.band, Band::Critical);
    assert_eq!((verdict.efficiency, verdict.efficiency_low), (Some(Ratio(45)), true));
    assert_eq!(verdict.restart_due, Some(DueReason::Efficiency));
}

#[test]
fn low_efficiency_that_a_restart_would_not_mend_is_only_told() {
    let mut target = inefficient();
    // 80 MB of data in what a restart would leave, 177 MB, is 45 %.
    sample(&mut target).memory.dataset = Bytes(80_000_000);
    let verdict = verdict(&target);
    assert_eq!((verdict.efficiency_low, verdict.restart_due), (true, None));
}

#[test]
fn low_efficiency_of_many_small_keys_is_no_reason_to_restart() {
    let mut target = inefficient();
    target.history.iter_mut().for_each(|r| r.ratio = Ratio(199));
    let verdict = verdict(&target);
    assert_eq!((verdict.band, verdict.efficiency_low, verdict.restart_due), (Band::Serious, true, None));
}

#[test]
fn half_is_not_low() {
    let mut target = inefficient();
    sample(&mut target).memory.dataset = Bytes(152_500_000);
    sample(&mut target).memory.used = Bytes(160_000_000);
    let verdict = verdict(&target);
    assert_eq!((verdict.efficiency, verdict.efficiency_low), (Some(Ratio(50)), false));
}

#[test]
fn efficiency_must_be_low_in_the_whole_window() {
    let mut target = inefficient();
    let n = target.history.len();
    target.history[n - 20].rss = Bytes(200_000_000);
    assert!(!verdict(&target).efficiency_low);
}

#[rstest]
#[case(Bytes(99_999_999), Bytes(10_000_000), None)]
#[case(Bytes(100_000_000), Bytes(10_000_000), Some(Ratio(4)))]
#[case(Bytes(150_000_000), Bytes::ZERO, None)]
fn efficiency_is_judged_from_100_mb_and_not_from_an_underflow(
    #[case] used: Bytes,
    #[case] dataset: Bytes,
    #[case] efficiency: Option<Ratio>,
) {
    let mut target = target();
    let memory = &mut sample(&mut target).memory;
    (memory.used, memory.dataset, memory.rss) = (used, dataset, Bytes(250_000_000));
    assert_eq!(verdict(&target).efficiency, efficiency);
}

#[test]
fn the_fixture_numbers_are_those_of_the_demo() {
    assert_eq!(Ratio::of(RSS, USED), Some(Ratio(291)));
}

/// 201 MiB resident under that limit, at ratio 1.6: a restart leaves 88 MiB.
#[rstest]
#[case::above_80_percent(251, 160, Some(DueReason::NearLimit))]
#[case::not_near(252, 160, None)]
#[case::not_serious(240, 149, None)]
#[case::clear_afterwards(126, 160, Some(DueReason::NearLimit))]
#[case::still_near_afterwards(125, 160, None)]
#[case::the_ratio_alone(240, 250, Some(DueReason::Ratio))]
fn near_the_limit_a_restart_is_due_that_leads_away_from_it(
    #[case] limit: u64,
    #[case] percent: u32,
    #[case] due: Option<DueReason>,
) {
    let mut target = with_ratio(percent);
    target.pod.container.as_mut().unwrap().live_limit = Some(Bytes::mib(limit));
    assert_eq!(verdict(&target).restart_due, due);
    assert_eq!(verdict(&target).stays_near_limit, limit == 125, "no restart leads away from it");
}

#[test]
fn near_the_limit_counts_only_in_every_reading_and_for_enough() {
    let mut target = with_ratio(160);
    target.pod.container.as_mut().unwrap().live_limit = Some(Bytes::mib(240));
    let mut once_below = target.clone();
    let n = once_below.history.len();
    once_below.history[n - 5].rss = Bytes::mib(190);
    assert_eq!(verdict(&once_below).restart_due, None);
    let mut falling = target.clone();
    falling.history[n - 1].ratio = Ratio(151);
    assert_eq!((verdict(&falling).falling, verdict(&falling).restart_due), (true, None));
    for reading in &mut target.history {
        reading.used = Bytes::mib(82);
    }
    assert_eq!(verdict(&target).restart_due, None, "it would give back less than minimumWaste");
}
