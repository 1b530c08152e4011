//! Durations as people write them: `1h30m`, `10m`, `90s`, `250ms`.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing was written.
    #[error("is empty; write for example 10m, 1h30m or 90s")]
    Empty,
    /// Something other than whole numbers, each followed by a unit, larger units first.
    #[error("is not a duration; write whole numbers with the units h, m, s, ms, for example 10m, 1h30m or 90s")]
    Malformed,
}

/// The units, larger first: name, milliseconds, most digits. The digits keep the same text from overflowing the
/// nanoseconds in which Go and CEL count.
const UNITS: [(&str, u64, usize); 4] = [("h", 3_600_000, 6), ("m", 60_000, 7), ("s", 1000, 9), ("ms", 1, 9)];

/// Reads `1h30m`, `10m`, `90s`, `250ms`, `0s`: one or more whole numbers, each with one of the units h, m, s and ms,
/// the larger unit first, no unit twice, no sign and no space.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut millis: u64 = 0;
    while !rest.is_empty() {
        let (digits, tail) = split(rest, u8::is_ascii_digit).ok_or(DurationError::Malformed)?;
        let (name, tail) = split(tail, u8::is_ascii_alphabetic).ok_or(DurationError::Malformed)?;
        // The iterator goes on where it stopped: a unit that comes twice or too late is not found.
        let (_, unit, most) = units.find(|(unit, ..)| *unit == name).ok_or(DurationError::Malformed)?;
        if digits.len() > *most {
            return Err(DurationError::Malformed);
        }
        let number: u64 = digits.parse().map_err(|_| DurationError::Malformed)?;
        millis = millis.saturating_add(number.saturating_mul(*unit));
        rest = tail;
    }
    Ok(Duration::from_millis(millis))
}

/// What fits at the start of the text, and the rest.
fn split(text: &str, fits: fn(&u8) -> bool) -> Option<(&str, &str)> {
    text.split_at_checked(text.bytes().take_while(fits).count())
}

/// Writes a duration in the form that [`parse`] reads, as short as it goes: `1h30m`, `10m`, `0s`. What is below a
/// millisecond is left out.
pub fn format(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), u64::from(duration.subsec_millis()));
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s"), (millis, "ms")];
    let shown: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if shown.is_empty() { "0s".into() } else { shown.concat() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0s", 0)]
    #[case("10m", 600_000)]
    #[case("1h30m", 5_400_000)]
    #[case("24h", 86_400_000)]
    #[case("90s", 90_000)]
    #[case("250ms", 250)]
    #[case("1m250ms", 60_250)]
    #[case("8760h", 31_536_000_000)]
    #[case("1h2m3s4ms", 3_723_004)]
    fn reads(#[case] text: &str, #[case] millis: u64) {
        assert_eq!(parse(text), Ok(Duration::from_millis(millis)));
    }

    #[rstest]
    #[case("")]
    #[case("10")]
    #[case("m")]
    #[case("-10m")]
    #[case("+10m")]
    #[case("1.5h")]
    #[case("10 m")]
    #[case("10m ")]
    #[case("30m1h")]
    #[case("1h1h")]
    #[case("1d")]
    #[case("1H")]
    #[case("1us")]
    #[case("P1D")]
    #[case("9999999h")]
    #[case("1٣s")]
    fn refuses(#[case] text: &str) {
        let error = parse(text).unwrap_err();
        assert!(error.to_string().contains("1h30m"), "the message shows a good example");
    }

    #[rstest]
    #[case(0, "0s")]
    #[case(5_400_000, "1h30m")]
    #[case(86_400_000, "24h")]
    #[case(90_000, "1m30s")]
    #[case(250, "250ms")]
    fn writes(#[case] millis: u64, #[case] text: &str) {
        assert_eq!(format(Duration::from_millis(millis)), text);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 0_u64..1_000_000 * 3_600_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,30}") {
            let _ = parse(&text);
        }

        #[test]
        fn adds_its_parts(h in 0_u64..999_999, m in 0_u64..9_999_999, s in 0_u64..999_999_999, ms in 0_u64..999_999_999) {
            let text = format!("{h}h{m}m{s}s{ms}ms");
            let sum = ((h * 60 + m) * 60 + s) * 1000 + ms;
            prop_assert_eq!(parse(&text), Ok(Duration::from_millis(sum)));
        }
    }
}
