//! How fast the data of one server grows, where it grows steadily.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{AssessSettings, readings::Sustained};
use crate::domain::{
    bytes::{Bytes, MIB},
    policy::Policy,
    sample::{Reading, Role},
    snapshot::Target,
};

/// The readings are told apart into this many parts of equal time: each must have grown over the one before.
const PARTS: usize = 4;
/// Less than this over all readings is noise: buffers of clients come and go.
const LEAST: Bytes = Bytes(MIB);
/// What grew for some time is predicted for at most this many times that.
const FORETOLD: u32 = 24;

/// Steady growth of `used_memory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Bytes an hour; never zero.
    an_hour: Bytes,
    /// For how long the readings show it.
    pub(super) shown_for: Duration,
}

impl Growth {
    /// When this much more is used, if it goes on like this; `None`: further away than the readings say anything about.
    pub(super) fn fills(self, room: Bytes) -> Option<Duration> {
        let seconds = u128::from(room.0) * 3600 / u128::from(self.an_hour.0.max(1));
        let time = Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX));
        (time <= self.shown_for.saturating_mul(FORETOLD)).then_some(time)
    }

    /// When that is, by the clock and in steps of ten minutes downwards: "2026-01-02T05:10Z".
    pub fn by(self, room: Bytes, now: Timestamp) -> Option<String> {
        let at = now.saturating_add(SignedDuration::try_from(self.fills(room)?).ok()?).ok()?;
        let step = at.as_second().rem_euclid(600);
        Some(Timestamp::from_second(at.as_second() - step).ok()?.strftime("%Y-%m-%dT%H:%MZ").to_string())
    }

    /// The same in words: "3 h".
    pub fn within(self, room: Bytes) -> Option<String> {
        self.fills(room).map(roughly)
    }

    /// The same as a length: "about 3 h".
    pub fn about(self, room: Bytes) -> Option<String> {
        let within = self.within(room)?;
        Some(if within == SOON { within } else { format!("about {within}") })
    }

    /// The same with how fast it grows: "about 3 h at 40 MiB/h".
    pub fn told(self, room: Bytes) -> Option<String> {
        Some(format!("{} at {}/h", self.about(room)?, self.an_hour.quantised()))
    }
}

/// What is full within this time is full soon.
const SOON: &str = "less than 10 min";

/// In steps that a steady growth crosses seldom: ten minutes below two hours, then hours.
fn roughly(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match minutes {
        0..10 => SOON.to_owned(),
        10..120 => format!("{} min", minutes / 10 * 10),
        _ => format!("{} h", minutes / 60),
    }
}

/// The growth over the last `sustained`, by the readings that count for a judgement of fragmentation. `None`: too few of
/// them, or `used_memory` did not grow in each part of the time, in none by less than half of what it grew on average: a
/// burst of writes is no growth.
pub(super) fn judge(policy: &Policy, target: &Target, now: Timestamp, settings: &AssessSettings) -> Option<Growth> {
    // Where nobody writes nothing is foretold.
    if target.sample()?.replication.role != Role::Primary {
        return None;
    }
    let sustained = Sustained::of(target, policy.fragmentation.sustained, now, settings).ok()?;
    of(&sustained.readings)
}

/// `readings`: newest first.
fn of(readings: &[&Reading]) -> Option<Growth> {
    let (newest, oldest) = (readings.first()?, readings.last()?);
    let span = Duration::try_from(newest.at.duration_since(oldest.at)).ok().filter(|span| !span.is_zero())?;
    let mut parts: [Vec<u64>; PARTS] = Default::default();
    for reading in readings {
        let age = Duration::try_from(newest.at.duration_since(reading.at)).ok()?;
        let part = age.as_millis() * u128::try_from(PARTS).ok()? / span.as_millis().max(1);
        // The oldest reading only bounds the last part.
        if let Some(part) = usize::try_from(part).ok().and_then(|part| parts.get_mut(part)) {
            part.push(reading.used.0);
        }
    }
    let mut medians = Vec::with_capacity(PARTS);
    for part in &mut parts {
        part.sort_unstable();
        medians.push(*part.get(part.len() / 2)?);
    }
    // From the newest part back.
    let steps: Vec<u64> =
        medians.iter().zip(medians.iter().skip(1)).map(|(new, old)| new.checked_sub(*old)).collect::<Option<_>>()?;
    let total: u64 = medians.first()?.checked_sub(*medians.last()?)?;
    let mean = total / u64::try_from(steps.len()).ok()?.max(1);
    if Bytes(total) < LEAST || steps.iter().any(|step| *step < mean / 2) {
        return None;
    }
    // The medians lie three quarters of the time apart.
    let apart = span.as_millis() * 3 / 4;
    let an_hour = u128::from(total) * 3_600_000 / apart.max(1);
    Some(Growth { an_hour: Bytes(u64::try_from(an_hour).unwrap_or(u64::MAX).max(1)), shown_for: span })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures;
    use pretty_assertions::assert_eq;
    use proptest::prelude::*;

    /// Readings every 15 s for ten minutes, oldest first, that used this many KiB.
    fn growth(used: impl Fn(u64) -> u64) -> Option<Growth> {
        let mut target = fixtures::target(0);
        for (n, reading) in (0..).zip(&mut target.history) {
            reading.used = Bytes(used(n) * 1024);
        }
        judge(&fixtures::policy(), &target, fixtures::NOW, &AssessSettings::default())
    }

    #[test]
    fn steady_growth_is_told_by_the_hour() {
        // 1 MiB a reading, 240 readings an hour.
        let growth = growth(|n| 70_000 + n * 1024).expect("it grows");
        assert!((Bytes::mib(230)..Bytes::mib(250)).contains(&growth.an_hour), "{growth:?}");
        assert_eq!(growth.shown_for, Duration::from_secs(600));
        let three_hours = growth.fills(Bytes(growth.an_hour.0 * 3)).expect("within four hours");
        assert_eq!(three_hours.as_secs() / 60, 180);
        assert_eq!(growth.fills(Bytes(growth.an_hour.0 * 5)), None, "ten minutes say nothing about five hours");
    }

    #[test]
    fn times_are_told_roughly() {
        let told = |minutes: u64| roughly(Duration::from_secs(minutes * 60 + 59));
        assert_eq!(
            [0, 9, 10, 59, 119, 120, 239].map(told).join(", "),
            "less than 10 min, less than 10 min, 10 min, 50 min, 110 min, 2 h, 3 h"
        );
    }

    #[test]
    fn what_is_nearly_full_is_told_in_plain_words() {
        let growth = growth(|n| 70_000 + n * 1024).expect("it grows");
        let told = |of: u64| growth.told(Bytes(growth.an_hour.0 / of)).expect("soon");
        assert!(told(60).starts_with("less than 10 min at "), "{}", told(60));
        assert!(told(2).starts_with("about 30 min at "), "{}", told(2));
    }

    #[test]
    fn what_is_not_steady_is_no_growth() {
        assert_eq!(growth(|_| 70_000), None, "it stays");
        assert_eq!(growth(|n| 700_000 - n * 1024), None, "it shrinks");
        assert_eq!(growth(|n| 70_000 + n * 10), None, "less than 1 MiB");
        assert_eq!(growth(|n| if n < 40 { 70_000 } else { 270_000 }), None, "a burst of writes");
        assert_eq!(growth(|n| 70_000 + n % 20 * 1024), None, "what comes goes again");
    }

    proptest! {
        #[test]
        fn any_readings_are_judged(used in prop::collection::vec(any::<u64>(), 1..80), room in any::<u64>()) {
            let mut target = fixtures::target(0);
            for (reading, used) in target.history.iter_mut().rev().zip(used) {
                reading.used = Bytes(used);
            }
            let growth = judge(&fixtures::policy(), &target, fixtures::NOW, &AssessSettings::default());
            if let Some(growth) = growth {
                prop_assert!(growth.an_hour > Bytes::ZERO);
                growth.fills(Bytes(room));
            }
        }
    }
}
