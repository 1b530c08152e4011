//! Our reading of schedules against that of another library, on what both mean the same by:
//! docs/adr/0016-a-cron-parser-of-our-own.md says where they differ, and why ours is used.
#![cfg(test)]

use croner::{
    Weekday,
    parser::{CronParser, Seconds, Year},
};
use jiff::civil::date;
use proptest::prelude::*;
use redis_memory_operator::domain::cron::Cron;

const WEEKDAYS: [Weekday; 7] = [
    Weekday::Sunday,
    Weekday::Monday,
    Weekday::Tuesday,
    Weekday::Wednesday,
    Weekday::Thursday,
    Weekday::Friday,
    Weekday::Saturday,
];

fn other(text: &str) -> Option<croner::Cron> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).sloppy_ranges(true).build();
    parser.parse(text).ok()
}

/// The times of that day of 2026 by the other library.
fn times(cron: &croner::Cron, month: i8, day: i8) -> Vec<(i8, i8)> {
    let weekday = usize::try_from(date(2026, month, day).weekday().to_sunday_zero_offset()).unwrap();
    let (m, d) = (u32::try_from(month).unwrap(), u32::try_from(day).unwrap());
    let pattern = &cron.pattern;
    if !(pattern.month_match(m).unwrap() && pattern.day_match(2026, m, d, *WEEKDAYS.get(weekday).unwrap()).unwrap()) {
        return Vec::new();
    }
    let all = (0_i8..24).flat_map(|hour| (0_i8..60).map(move |minute| (hour, minute)));
    all.filter(|(hour, minute)| {
        pattern.hour_match(hour.unsigned_abs().into()).unwrap()
            && pattern.minute_match(minute.unsigned_abs().into()).unwrap()
    })
    .collect()
}

fn number(least: u32, most: u32) -> impl Strategy<Value = String> {
    // Some are out of bounds: both must say so.
    (least.saturating_sub(1)..=most + 1).prop_map(|n| n.to_string())
}

fn part(least: u32, most: u32) -> impl Strategy<Value = String> {
    let number = move || number(least, most);
    prop_oneof![
        number(),
        (number(), number()).prop_map(|(from, to)| format!("{from}-{to}")),
        (number(), number(), 1_u32..9).prop_map(|(from, to, step)| format!("{from}-{to}/{step}")),
        (2_u32..9).prop_map(|step| format!("*/{step}")),
    ]
}

fn field(least: u32, most: u32) -> impl Strategy<Value = String> {
    prop_oneof![
        Just("*".to_owned()),
        proptest::collection::vec(part(least, most), 1..3).prop_map(|parts| parts.join(",")),
    ]
}

fn weekday() -> impl Strategy<Value = String> {
    let name =
        || proptest::sample::select(vec!["SUN", "mon", "Tue", "WED", "thu", "FRI", "SAT"]).prop_map(str::to_owned);
    prop_oneof![field(0, 7), name(), (name(), name()).prop_map(|(from, to)| format!("{from},{to}"))]
}

fn month() -> impl Strategy<Value = String> {
    prop_oneof![field(1, 12), proptest::sample::select(vec!["JAN", "jun", "Dec", "FEB-APR"]).prop_map(str::to_owned)]
}

proptest! {
    #[test]
    fn both_libraries_read_the_same(
        minute in field(0, 59), hour in field(0, 23), day in field(1, 31), month in month(), weekday in weekday(),
    ) {
        let text = format!("{minute} {hour} {day} {month} {weekday}");
        let (ours, theirs) = (Cron::parse(&text), other(&text));
        // What never comes is refused by us alone.
        prop_assume!(!matches!(ours, Err(redis_memory_operator::domain::cron::CronError::Never)));
        prop_assert_eq!(ours.is_ok(), theirs.is_some(), "{}: {:?}", &text, &ours);
        let (Ok(ours), Some(theirs)) = (ours, theirs) else { return Ok(()) };
        for month in 1_i8..=12 {
            for day in 1..=date(2026, month, 1).days_in_month() {
                let own = if ours.on(date(2026, month, day)) { ours.times().collect() } else { Vec::new() };
                prop_assert_eq!(own, times(&theirs, month, day), "{} on {}-{}", &text, month, day);
            }
        }
    }
}

/// What decides against it, as long as it is so: when one of these changes, look at the decision again.
#[test]
fn it_still_reads_otherwise_what_a_window_must_not_rest_on() {
    let days = |text: &str| {
        let cron = other(text).expect("it takes it");
        (1..=31).filter(|day| !times(&cron, 1, *day).is_empty()).collect::<Vec<i8>>()
    };
    assert_eq!(days("0 3 1MON * *"), [11], "1MON is the 11th of the month");
    assert_eq!(days("0 3 30 2 *"), [] as [i8; 0], "a day that never comes is taken");
    assert_eq!(days("0 3 */1 * SUN").len(), 31, "every day, where Kubernetes' CronJob says Sundays");
    assert!(other("0 JAN * * *").is_some(), "a month for an hour");
    assert!(other("@midnight").is_none(), "which Kubernetes' CronJob takes");
    for text in ["0 3 1MON * *", "0 3 30 2 *", "0 JAN * * *"] {
        assert!(Cron::parse(text).is_err(), "{text}");
    }
    assert!(!Cron::parse("0 3 */1 * SUN").unwrap().on(date(2026, 1, 5)));
    assert!(Cron::parse("@midnight").is_ok());
}
