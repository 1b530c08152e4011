//! `spec.restart.windows`: schedules that come, zones that exist.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::Problems;
use crate::{
    api::v1alpha1::{self as api, rules},
    domain::{
        cron::{Cron, CronError},
        window::{LONGEST, Window},
    },
};

/// As many as the CRD lets through.
const MAX_WINDOWS: usize = 8;
const SHORTEST: Duration = Duration::from_secs(60);

pub(super) fn windows(spec: &[api::Window], problems: &mut Problems) -> Vec<Window> {
    const FIELD: &str = "spec.restart.windows";
    problems.set(spec, FIELD);
    if spec.len() > MAX_WINDOWS {
        problems.say(FIELD, format!("has {} entries; write at most {MAX_WINDOWS}", spec.len()));
    }
    let read = |(n, window)| self::window(window, &format!("{FIELD}[{n}]"), problems);
    spec.iter().enumerate().filter_map(read).collect()
}

fn window(spec: &api::Window, field: &str, problems: &mut Problems) -> Option<Window> {
    let duration =
        problems.duration(&spec.duration, SHORTEST, LONGEST, &format!("{field}.duration"), rules::WINDOW_DURATION);
    let schedule = Cron::parse(&spec.schedule);
    if let Err(error) = &schedule {
        let message = if *error == CronError::Never || has_the_form(&spec.schedule) {
            error.to_string()
        } else {
            rules::SCHEDULE.message.to_owned()
        };
        problems.say(&format!("{field}.schedule"), message);
    }
    let zone = zone(&spec.time_zone);
    problems.unless(zone.is_some(), &format!("{field}.timeZone"), rules::TIME_ZONE);
    Some(Window { schedule: schedule.ok()?, duration, zone: zone? })
}

/// What the CEL rule looks at: five words of the letters that schedules are made of.
fn has_the_form(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b" -*/,?".contains(&b);
    text.bytes().all(letter) && text.split_whitespace().count() == 5
}

/// From the compiled-in database. `Etc/Unknown` is jiff's name for a zone that nobody named.
fn zone(name: &str) -> Option<TimeZone> {
    let known = name.len() <= 64 && !name.eq_ignore_ascii_case("Etc/Unknown");
    if known { TimeZone::get(name).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use rstest::rstest;

    use super::*;

    fn said(schedule: &str, duration: &str, zone: &str) -> Vec<String> {
        let spec = api::Window { schedule: schedule.into(), duration: duration.into(), time_zone: zone.into() };
        let mut problems = Problems(Vec::new());
        let read = windows(&[spec], &mut problems);
        assert_eq!(read.len(), usize::from(problems.0.iter().all(|problem| problem.field.ends_with("duration"))));
        problems.0.iter().map(ToString::to_string).collect()
    }

    #[rstest]
    #[case("0 3 * * SUN", "2h", "Europe/Berlin")]
    #[case("@daily", "24h", "UTC")]
    #[case("*/10 * * * *", "1m", "Australia/Lord_Howe")]
    fn good(#[case] schedule: &str, #[case] duration: &str, #[case] zone: &str) {
        assert_eq!(said(schedule, duration, zone), Vec::<String>::new());
    }

    #[rstest]
    #[case("0 3 * *", "2h", "UTC", "spec.restart.windows[0].schedule is not a cron schedule")]
    #[case("0 25 * * *", "2h", "UTC", "spec.restart.windows[0].schedule has \"25\" for the hour")]
    #[case("0 3 30 2 *", "2h", "UTC", "spec.restart.windows[0].schedule names a day that never comes")]
    #[case("0 3 * * é", "2h", "UTC", "spec.restart.windows[0].schedule is not a cron schedule")]
    #[case("0 3 * * *", "0s", "UTC", "spec.restart.windows[0].duration is not a duration from 1m to 24h")]
    #[case("0 3 * * *", "25h", "UTC", "spec.restart.windows[0].duration is not a duration from 1m to 24h")]
    #[case("0 3 * * *", "2h", "Europe/Atlantis", "spec.restart.windows[0].timeZone is not the name of a time zone")]
    #[case("0 3 * * *", "2h", "Etc/Unknown", "spec.restart.windows[0].timeZone is not the name of a time zone")]
    #[case("0 3 * * *", "2h", "Local", "spec.restart.windows[0].timeZone is not the name of a time zone")]
    #[case("0 3 * * *", "2h", "", "spec.restart.windows[0].timeZone is not the name of a time zone")]
    fn bad(#[case] schedule: &str, #[case] duration: &str, #[case] zone: &str, #[case] want: &str) {
        let said = said(schedule, duration, zone);
        assert!(said.len() == 1 && said[0].starts_with(want), "{said:?}");
    }
}
