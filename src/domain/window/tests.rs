//! Windows by the clocks of real zones: changes of an hour, of half an hour, and of a day.

use pretty_assertions::assert_eq;
use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn window(schedule: &str, minutes: u64, zone: &str) -> Window {
    Window {
        schedule: Cron::parse(schedule).unwrap(),
        duration: Duration::from_secs(minutes * 60),
        zone: TimeZone::get(zone).unwrap(),
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn open(windows: &[Window], instant: &str) -> bool {
    state(windows, at(instant)) != State::Closed
}

fn next(windows: &[Window], after: &str) -> Option<String> {
    next_opening(windows, at(after)).map(|found| found.to_string())
}

#[test]
fn without_windows_any_time_is_good() {
    assert_eq!(state(&[], at("2026-01-02T03:04:05Z")), State::Always);
    assert_eq!(next_opening(&[], at("2026-01-02T03:04:05Z")), None);
}

// Sunday 2026-01-04, 03:00 to 05:00 in Berlin is 02:00 to 04:00 UTC.
#[rstest]
#[case("2026-01-04T01:59:59Z", State::Closed)]
#[case("2026-01-04T02:00:00Z", State::Open { closes: at("2026-01-04T04:00:00Z") })]
#[case("2026-01-04T03:59:59Z", State::Open { closes: at("2026-01-04T04:00:00Z") })]
#[case("2026-01-04T04:00:00Z", State::Closed)]
#[case("2026-01-05T03:00:00Z", State::Closed)]
fn a_night_a_week(#[case] instant: &str, #[case] want: State) {
    assert_eq!(state(&[window("0 3 * * SUN", 120, "Europe/Berlin")], at(instant)), want);
}

/// Each zone's schedule of 02:30 (01:45 on Lord Howe) with the instants at which it opens around a change.
#[rstest]
// Berlin skips 02:00 to 03:00 on 2026-03-29: 02:30 opens at 03:30 CEST, as if the clock had not been changed.
#[case::berlin_skips("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"])]
// Berlin has 02:30 twice on 2026-10-25: the first is at 00:30 UTC.
#[case::berlin_repeats("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"])]
#[case::new_york_skips("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", &["2026-03-08T07:30:00Z", "2026-03-09T06:30:00Z"])]
#[case::new_york_repeats("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", &["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"])]
// Lord Howe changes by half an hour: 02:00 to 02:30 is skipped on 2026-10-04, 01:30 to 02:00 comes twice on 2026-04-05.
#[case::lord_howe_skips("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", &["2026-10-03T15:45:00Z", "2026-10-04T15:15:00Z"])]
#[case::lord_howe_repeats("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", &["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"])]
// Cairo changes at midnight: 00:30 of 2026-04-24 does not exist.
#[case::cairo_skips_midnight("30 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", &["2026-04-23T22:30:00Z", "2026-04-24T21:30:00Z"])]
fn across_a_change(#[case] schedule: &str, #[case] zone: &str, #[case] from: &str, #[case] want: &[&str]) {
    let windows = [window(schedule, 60, zone)];
    let mut after = from.to_owned();
    for opening in want {
        let found = next(&windows, &after);
        assert_eq!(found.as_deref(), Some(*opening));
        assert!(open(&windows, opening), "open at {opening}");
        after = (*opening).to_owned();
    }
}

#[test]
fn in_the_repeated_hour_it_opens_once_and_stays_open_for_its_duration() {
    // 02:30 CEST is 00:30 UTC; 02:30 CET, an hour later, does not open it again.
    let short = [window("30 2 * * *", 30, "Europe/Berlin")];
    assert!(open(&short, "2026-10-25T00:45:00Z"));
    assert!(!open(&short, "2026-10-25T01:45:00Z"), "02:45 for the second time");
    // Two hours are two hours: from 02:30 CEST to 03:30 CET.
    let long = [window("30 2 * * *", 120, "Europe/Berlin")];
    assert_eq!(state(&long, at("2026-10-25T01:45:00Z")), State::Open { closes: at("2026-10-25T02:30:00Z") });
    // And from 01:30 CET to 04:30 CEST, over the skipped hour.
    let spring = [window("30 1 * * *", 120, "Europe/Berlin")];
    assert_eq!(state(&spring, at("2026-03-29T01:15:00Z")), State::Open { closes: at("2026-03-29T02:30:00Z") });
}

#[test]
fn windows_that_touch_are_one() {
    let windows = [
        window("0 1 * * *", 60, "UTC"),
        window("0 2 * * *", 60, "Etc/UTC"),
        window("30 2 * * *", 60, "UTC"),
        window("0 5 * * *", 60, "UTC"),
    ];
    assert_eq!(state(&windows, at("2026-01-02T01:10:00Z")), State::Open { closes: at("2026-01-02T03:30:00Z") });
    assert_eq!(next(&windows, "2026-01-02T01:10:00Z").as_deref(), Some("2026-01-02T02:00:00Z"));
    assert_eq!(state(&[window("0 0 * * *", 1440, "UTC")], at("2026-01-02T01:10:00Z")), State::Always);
    assert_eq!(state(&[window("* * * * *", 1, "UTC")], at("2026-01-02T01:10:30Z")), State::Always);
}

#[test]
fn a_window_over_midnight_is_open_on_the_next_day() {
    let windows = [window("0 23 * * FRI", 180, "America/New_York")];
    // Friday 2026-01-02, 23:00 EST is Saturday 04:00 UTC.
    assert_eq!(state(&windows, at("2026-01-03T06:30:00Z")), State::Open { closes: at("2026-01-03T07:00:00Z") });
}

#[test]
fn rare_days_are_found() {
    assert_eq!(
        next(&[window("0 3 29 2 *", 60, "UTC")], "2096-03-01T00:00:00Z").as_deref(),
        Some("2104-02-29T03:00:00Z")
    );
    let soonest = [window("0 3 1 1 *", 60, "UTC"), window("0 3 * * SUN", 60, "UTC")];
    assert_eq!(next(&soonest, "2026-01-05T00:00:00Z").as_deref(), Some("2026-01-11T03:00:00Z"));
}

#[test]
fn instants_are_shown_by_the_first_zone() {
    let windows = [window("0 3 * * SUN", 60, "Europe/Berlin"), window("0 3 * * SUN", 60, "UTC")];
    assert_eq!(local(&windows, at("2026-07-05T01:00:00Z")), "2026-07-05T03:00+02:00");
    assert_eq!(local(&[], at("2026-07-05T01:00:00Z")), "2026-07-05T01:00+00:00");
    assert_eq!(windows[0].to_string(), "0 3 * * SUN for 60 min in Europe/Berlin");
}

const ZONES: [&str; 6] =
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Cairo"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Open exactly at the openings and for the duration after: the two functions agree, in every zone and year.
    #[test]
    fn open_means_that_it_has_opened(
        zone in 0..ZONES.len(),
        (hour, minute) in (0_u8..24, 0_u8..60),
        minutes in 1_u64..=1439,
        second in 1_300_000_000_i64..1_900_000_000,
    ) {
        let windows = [window(&format!("{minute} {hour} * * *"), minutes, ZONES[zone])];
        let instant = Timestamp::from_second(second).unwrap();
        let opens = next_opening(&windows, instant).unwrap();
        prop_assert!(opens > instant);
        prop_assert!(state(&windows, opens) != State::Closed);
        match state(&windows, instant) {
            State::Open { closes } => {
                prop_assert!(closes > instant);
                prop_assert!(closes.duration_since(instant) <= SignedDuration::from_hours(24));
                prop_assert!(state(&windows, closes) == State::Closed);
            }
            State::Closed => prop_assert!(
                state(&windows, opens - SignedDuration::from_secs(1)) == State::Closed,
                "it is closed until it opens next"
            ),
            State::Always => {}
        }
    }
}
