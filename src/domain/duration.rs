//! Durations as people write them: `1h30m`, `10m`, `90s`, `250ms`.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing was written.
    #[error("is empty; write for example 10m, 1h30m or 90s")]
    Empty,
    /// Something other than whole numbers, each followed by a unit.
    #[error("is not a duration; write whole numbers with the units h, m, s, ms, for example 10m, 1h30m or 90s")]
    Malformed,
    /// More milliseconds than fit.
    #[error("is too long; write for example 24h")]
    TooLong,
}

/// Reads `1h30m`, `10m`, `90s`, `250ms`, `0s`: one or more whole numbers, each with one of the units h, m, s and ms,
/// the larger unit first, no unit twice, no sign and no space.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut rest = text;
    let mut millis: u64 = 0;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at_checked(digits).ok_or(DurationError::Malformed)?;
        if number.is_empty() {
            return Err(DurationError::Malformed);
        }
        let (unit, tail) = unit(tail).ok_or(DurationError::Malformed)?;
        if unit >= last_unit {
            return Err(DurationError::Malformed);
        }
        last_unit = unit;
        // Only digits are left, so the one possible error is the overflow.
        let number: u64 = number.parse().map_err(|_| DurationError::TooLong)?;
        let part = number.checked_mul(unit).ok_or(DurationError::TooLong)?;
        millis = millis.checked_add(part).ok_or(DurationError::TooLong)?;
        rest = tail;
    }
    Ok(Duration::from_millis(millis))
}

/// The unit at the start of the text in milliseconds, and what follows it.
fn unit(text: &str) -> Option<(u64, &str)> {
    // `ms` before `m`: the longer one would never be seen.
    [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1000)]
        .into_iter()
        .find_map(|(name, millis)| Some((millis, text.strip_prefix(name)?)))
}

/// Writes a duration in the form that [`parse`] reads, as short as it goes: `1h30m`, `10m`, `0s`. What is below a
/// millisecond is left out.
pub fn format(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s"), (u64::from(millis), "ms")];
    let text: String = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".into() } else { text }
}
