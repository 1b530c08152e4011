//! Cron schedules as Kubernetes' CronJob takes them: five fields of the local clock of some time zone.
//!
//! The meaning is that of the CronJob controller (robfig/cron, standard parser), and Sunday may also be written 7. Why it is
//! a parser of our own: docs/adr/0016-a-cron-parser-of-our-own.md; tests/cron.rs compares it with another.

use std::fmt;

use jiff::civil::Date;

/// A schedule: the minutes at which something begins, by a local clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Day of month or day of week is `*`: then both must fit. With two restrictions one that fits is enough.
    both_days: bool,
}

/// Why a text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Not five fields.
    #[error("has {0} fields; write five: minute hour day-of-month month day-of-week, for example 0 3 * * SUN")]
    Fields(usize),
    /// One field cannot be read.
    #[error("has {text:?} for the {field}; write numbers from {least} to {most}, *, a-b, */n or a list of these")]
    Field {
        /// Which field.
        field: &'static str,
        /// What it says, at most 32 characters.
        text: String,
        /// The smallest number.
        least: u32,
        /// The largest number.
        most: u32,
    },
    /// A date that no calendar has.
    #[error("names a day that never comes, such as February 30; write a day that the month has")]
    Never,
}

/// One of the five fields.
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const MINUTE: Field = Field { name: "minute", least: 0, most: 59, names: &[] };
const HOUR: Field = Field { name: "hour", least: 0, most: 23, names: &[] };
const DAY: Field = Field { name: "day of month", least: 1, most: 31, names: &[] };
const MONTH: Field = Field {
    name: "month",
    least: 1,
    most: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
const WEEKDAY: Field =
    Field { name: "day of week", least: 0, most: 7, names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] };

/// The longest that each month ever is.
const MONTH_LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

impl Cron {
    /// Reads five fields, or one of `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly`, `@annually`.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let written = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let fields: Vec<&str> = written.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(CronError::Fields(fields.len()));
        };
        let (minutes, _) = MINUTE.read(minute)?;
        let (hours, _) = HOUR.read(hour)?;
        let (days, any_day) = DAY.read(day)?;
        let (months, _) = MONTH.read(month)?;
        let (mut weekdays, any_weekday) = WEEKDAY.read(weekday)?;
        weekdays = (weekdays & 0x7f) | (weekdays >> 7 & 1);
        let both_days = any_day || any_weekday;
        let exists = |month: u32, length: u32| has(months, month) && (1..=length).any(|day| has(days, day));
        let comes = (1_u32..).zip(MONTH_LENGTHS).any(|(month, length)| exists(month, length));
        if both_days && !comes {
            return Err(CronError::Never);
        }
        Ok(Self { text: text.trim().to_owned(), minutes, hours, days, months, weekdays, both_days })
    }

    /// Whether the schedule has a time on that date.
    pub fn on(&self, date: Date) -> bool {
        let number = |n: i8| u32::try_from(n).unwrap_or(0);
        let day = has(self.days, number(date.day()));
        let weekday = has(self.weekdays, number(date.weekday().to_sunday_zero_offset()));
        let fits = if self.both_days { day && weekday } else { day || weekday };
        fits && has(self.months, number(date.month()))
    }

    /// The times of such a date as hour and minute, in order.
    pub fn times(&self) -> impl Iterator<Item = (i8, i8)> + '_ {
        let hours = (0_i8..24).filter(|hour| has(self.hours, hour.unsigned_abs().into()));
        hours.flat_map(|hour| {
            (0_i8..60)
                .filter(|minute| has(self.minutes, minute.unsigned_abs().into()))
                .map(move |minute| (hour, minute))
        })
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

const fn has(set: u64, n: u32) -> bool {
    n < 64 && set >> n & 1 == 1
}

impl Field {
    /// The set of numbers, and whether the field is `*`: `*/2` restricts.
    fn read(&self, text: &str) -> Result<(u64, bool), CronError> {
        let mut set = 0;
        let mut any = false;
        for part in text.split(',') {
            let (numbers, star) = self.part(part).ok_or_else(|| CronError::Field {
                field: self.name,
                text: text.chars().take(32).collect(),
                least: self.least,
                most: self.most,
            })?;
            set |= numbers;
            any |= star;
        }
        Ok((set, any))
    }

    /// `*`, `?`, `n`, `a-b`, each with `/step`; `n/step` goes on to the end.
    fn part(&self, text: &str) -> Option<(u64, bool)> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(digits(step).filter(|step| *step > 0)?)),
            None => (text, None),
        };
        // 7 is the second Sunday: what says "all" ends on Saturday.
        let last = if self.most == 7 { 6 } else { self.most };
        let star = matches!(range, "*" | "?");
        let (from, to) = if star {
            (self.least, last)
        } else if let Some((from, to)) = range.split_once('-') {
            (self.number(from)?, self.number(to)?)
        } else {
            let from = self.number(range)?;
            (from, if step.is_some() { from.max(last) } else { from })
        };
        if from > to {
            return None;
        }
        let step = step.unwrap_or(1);
        let by = usize::try_from(step).ok()?;
        let set = (from..=to).step_by(by).fold(0, |set, n| set | 1_u64 << n);
        Some((set, star && step == 1))
    }

    fn number(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let number = match named {
            Some(position) => u32::try_from(position).ok()? + self.least,
            None => digits(text)?,
        };
        (self.least..=self.most).contains(&number).then_some(number)
    }
}

/// At most three digits and nothing else: `parse` alone would also take a sign.
fn digits(text: &str) -> Option<u32> {
    let fits = (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use pretty_assertions::assert_eq;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn times(text: &str) -> Vec<(i8, i8)> {
        Cron::parse(text).unwrap().times().collect()
    }

    #[rstest]
    #[case("0 3 * * *", &[(3, 0)])]
    #[case("5,35 1-2 * * *", &[(1, 5), (1, 35), (2, 5), (2, 35)])]
    #[case("*/30 22/1 * * *", &[(22, 0), (22, 30), (23, 0), (23, 30)])]
    #[case("@daily", &[(0, 0)])]
    #[case("  0   3 * *   *  ", &[(3, 0)])]
    fn times_of_a_day(#[case] text: &str, #[case] want: &[(i8, i8)]) {
        assert_eq!(times(text), want);
    }

    // 2026-01-04 is a Sunday.
    #[rstest]
    #[case("0 3 * * SUN", 4, true)]
    #[case("0 3 * * sun", 5, false)]
    #[case("0 3 * * 7", 4, true)]
    #[case("0 3 * * 0", 4, true)]
    #[case("0 3 * * 5-7", 4, true)]
    #[case("0 3 * * 5-7", 8, false)]
    #[case("0 3 * * MON-FRI", 5, true)]
    #[case("0 3 * * MON-FRI", 4, false)]
    #[case("0 3 1-7 * *", 4, true)]
    #[case("0 3 8 * *", 4, false)]
    #[case("0 3 8 * SUN", 4, true)]
    #[case("0 3 5 * SUN", 5, true)]
    #[case("0 3 5 * SUN", 6, false)]
    #[case("0 3 */2 * SUN", 5, true)]
    #[case("0 3 ? JAN ?", 5, true)]
    #[case("0 3 * FEB *", 5, false)]
    fn days(#[case] text: &str, #[case] day: i8, #[case] want: bool) {
        assert_eq!(Cron::parse(text).unwrap().on(date(2026, 1, day)), want, "{text} on January {day}");
    }

    #[rstest]
    #[case("")]
    #[case("0 3 * *")]
    #[case("0 0 3 * * *")]
    #[case("60 3 * * *")]
    #[case("0 24 * * *")]
    #[case("0 3 0 * *")]
    #[case("0 3 32 * *")]
    #[case("0 3 * 13 *")]
    #[case("0 3 * * 8")]
    #[case("0 3 * * SUNDAY")]
    #[case("0 5-3 * * *")]
    #[case("*/0 3 * * *")]
    #[case("+5 3 * * *")]
    #[case("1, 3 * * *")]
    #[case("1-2-3 3 * * *")]
    #[case("L 3 * * *")]
    #[case("@every 1h")]
    #[case("@reboot")]
    #[case("TZ=UTC 0 3 * * *")]
    #[case("0 3 30 2 *")]
    #[case("0 3 31 2,4,6,9,11 *")]
    fn no_schedule(#[case] text: &str) {
        assert!(Cron::parse(text).is_err(), "{text}");
    }

    #[test]
    fn the_error_names_the_field() {
        let error = Cron::parse("0 25 * * *").unwrap_err().to_string();
        assert!(error.contains("\"25\" for the hour") && error.contains("0 to 23"), "{error}");
        assert_eq!(Cron::parse("0 3 30 2 *"), Err(CronError::Never));
        assert!(Cron::parse("0 3 29 2 *").is_ok());
        assert!(Cron::parse("0 3 30 2 MON").is_ok(), "a Monday of February comes");
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[-*/,?0-9A-Z@ ]{0,40}") {
            let _ = Cron::parse(&text);
        }

        #[test]
        fn what_is_written_out_means_the_same(from in 0_u32..24, to in 0_u32..24, step in 1_u32..30) {
            prop_assume!(from <= to);
            let short = Cron::parse(&format!("0 {from}-{to}/{step} * * *")).unwrap();
            let list: Vec<String> =
                (from..=to).filter(|hour| (hour - from) % step == 0).map(|hour| hour.to_string()).collect();
            let long = Cron::parse(&format!("0 {} * * *", list.join(","))).unwrap();
            prop_assert_eq!(short.times().collect::<Vec<_>>(), long.times().collect::<Vec<_>>());
        }
    }
}
