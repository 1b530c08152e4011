//! Windows: the times at which people allow restarts. Pure: windows and an instant → open or closed, and until when.
//!
//! A window opens when its schedule says so by the local clock of its zone, and stays open for `duration` of elapsed
//! time, whatever the clocks are set to meanwhile. Where the local clock is not simple:
//!
//! - A time in an hour that is skipped (spring) opens the window when that time would have been by the clock before the
//!   change: 02:30 in Europe/Berlin opens at 03:30 summer time. No window is lost.
//! - A time in an hour that comes twice (autumn) opens the window once, the first time.

use std::{fmt, time::Duration};

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, date},
    tz::TimeZone,
};

use super::cron::Cron;

/// The longest that a window is open.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Dates that are searched for the next opening: February 29 comes within eight years (2096 to 2104).
const SEARCHED_DAYS: usize = 9 * 366;
/// A clock change moves a local time by at most a day (Samoa skipped one), so an instant's opening is on a date that is
/// at most so far from the instant's own, beside the window's length.
const SHIFT_DAYS: usize = 2;

/// One window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// When it opens, by the zone's clock.
    pub schedule: Cron,
    /// For how long, at most [`LONGEST`].
    pub duration: Duration,
    /// The zone.
    pub zone: TimeZone,
}

/// Whether restarts are allowed at some instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There are no windows, or they follow each other for the next day: any time.
    Always,
    /// Open, windows that touch or overlap taken together.
    Open {
        /// When the last of them closes.
        closes: Timestamp,
    },
    /// Closed.
    Closed,
}

/// Whether one of the windows is open at that instant.
pub fn state(windows: &[Window], at: Timestamp) -> State {
    if windows.is_empty() {
        return State::Always;
    }
    let (from, to) = (add(at, -signed(LONGEST)), add(at, signed(LONGEST)));
    let spans = windows.iter().flat_map(|window| {
        window.openings(from, to).into_iter().map(|opens| (opens, add(opens, signed(window.duration))))
    });
    let mut spans: Vec<(Timestamp, Timestamp)> = spans.collect();
    spans.sort_unstable();
    let mut closes: Option<Timestamp> = None;
    for (opens, ends) in spans {
        let now = opens <= at && at < ends;
        let goes_on = closes.is_some_and(|closes| opens <= closes);
        if now || goes_on {
            closes = closes.max(Some(ends));
        }
    }
    match closes {
        None => State::Closed,
        Some(closes) if closes > to => State::Always,
        Some(closes) => State::Open { closes },
    }
}

/// When a window opens next after that instant; `None`: never again.
pub fn next_opening(windows: &[Window], after: Timestamp) -> Option<Timestamp> {
    windows.iter().filter_map(|window| window.next(after)).min()
}

/// An instant by the clock of the first window's zone, with its offset from UTC: "2026-01-04T03:00+01:00".
pub fn local(windows: &[Window], at: Timestamp) -> String {
    let zone = windows.first().map_or(TimeZone::UTC, |window| window.zone.clone());
    at.to_zoned(zone).strftime("%Y-%m-%dT%H:%M%:z").to_string()
}

impl Window {
    /// The instants in `from..=to` at which it opens; in the order of local time, which a clock change may swap.
    fn openings(&self, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
        let (first, last) = (self.day(from), self.day(to));
        let margin = i64::try_from(SHIFT_DAYS).unwrap_or(0);
        let mut day = first.saturating_sub(SignedDuration::from_hours(24 * margin));
        let last = last.saturating_add(SignedDuration::from_hours(24 * margin));
        let mut found = Vec::new();
        while day <= last {
            found.extend(self.on(day).filter(|at| (from..=to).contains(at)));
            let Ok(next) = day.tomorrow() else { break };
            day = next;
        }
        found
    }

    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let start = self.day(after).yesterday().ok()?;
        let mut dates = std::iter::successors(Some(start), |day| day.tomorrow().ok()).take(SEARCHED_DAYS);
        let found = dates.find_map(|day| self.on(day).filter(|at| *at > after).min().map(|at| (day, at)));
        let (day, at) = found?;
        // A skipped hour before midnight may push an opening behind the first of the next day.
        let tomorrow = day.tomorrow().ok().and_then(|day| self.on(day).filter(|at| *at > after).min());
        Some(tomorrow.map_or(at, |other| other.min(at)))
    }

    /// The instants at which it opens by the schedule's times of that local date.
    fn on(&self, day: Date) -> impl Iterator<Item = Timestamp> + '_ {
        let times = self.schedule.on(day).then(|| self.schedule.times()).into_iter().flatten();
        times.filter_map(move |(hour, minute)| {
            let clock = day.at(hour, minute, 0, 0);
            self.zone.to_ambiguous_timestamp(clock).compatible().ok()
        })
    }

    fn day(&self, at: Timestamp) -> Date {
        let clock = self.zone.to_datetime(at);
        // Beyond these years `jiff` has no dates to search.
        clock.date().clamp(date(-9000, 1, 1), date(9000, 1, 1))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = self.zone.iana_name().unwrap_or("UTC");
        write!(f, "{} for {} min in {zone}", self.schedule, self.duration.as_secs() / 60)
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn add(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(at)
}

#[cfg(test)]
mod tests;
