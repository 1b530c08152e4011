//! Amounts of memory.

use std::{fmt, iter::Sum, ops};

/// An amount of memory in bytes. Arithmetic saturates: a report never wraps around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// One mebibyte, 2^20 bytes.
pub const MIB: u64 = 1 << 20;
/// One gibibyte, 2^30 bytes.
pub const GIB: u64 = 1 << 30;

impl Bytes {
    /// No memory.
    pub const ZERO: Self = Self(0);

    /// That number of mebibytes.
    pub const fn mib(n: u64) -> Self {
        Self(n.saturating_mul(MIB))
    }

    /// The amount times `percent` / 100, rounded up.
    #[must_use]
    pub fn percent(self, percent: u32) -> Self {
        let wide = u128::from(self.0) * u128::from(percent);
        Self(u64::try_from(wide.div_ceil(100)).unwrap_or(u64::MAX))
    }

    /// This amount less `other`, or zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Rounded up to a whole mebibyte, so that a limit that we write reads well.
    #[must_use]
    pub const fn round_up_mib(self) -> Self {
        Self(self.0.div_ceil(MIB).saturating_mul(MIB))
    }

    /// Rounded down to a whole mebibyte.
    #[must_use]
    pub const fn round_down_mib(self) -> Self {
        Self(self.0 / MIB * MIB)
    }

    /// Rounded to two significant decimal digits of its unit: what a status shows, so that noise writes nothing.
    #[must_use]
    pub fn quantised(self) -> Self {
        let unit = self.unit_of_two_digits();
        if unit > 1 && self.0 < unit.saturating_mul(10) {
            // A tenth of a unit is no whole number of bytes: count tenths, and leave the fraction to the end.
            let tenths = (u128::from(self.0) * 10 + u128::from(unit) / 2) / u128::from(unit);
            let bytes = (tenths * u128::from(unit)).div_ceil(10);
            return Self(u64::try_from(bytes).unwrap_or(u64::MAX));
        }
        let step = if self.0 >= unit.saturating_mul(100) { unit.saturating_mul(10) } else { unit };
        Self((self.0.saturating_add(step / 2) / step).saturating_mul(step))
    }

    /// The step of [`Self::quantised`] at this size, in bytes, rounded down.
    #[must_use]
    pub fn quantum(self) -> u64 {
        let unit = self.unit_of_two_digits();
        match self.0 / unit {
            0..10 => (unit / 10).max(1),
            10..100 => unit,
            _ => unit.saturating_mul(10),
        }
    }

    /// In words, of a `maxmemory`: zero is no bound, and not a bound of nothing.
    pub fn or_none(self) -> String {
        if self == Self::ZERO { "none".to_owned() } else { self.to_string() }
    }

    /// Two digits of 1020 MiB are 1 GiB: what would be rounded to a thousand of a unit is told in the next one.
    const fn unit_of_two_digits(self) -> u64 {
        let unit = self.unit().0;
        if unit <= GIB && self.0 >= unit.saturating_mul(995) { unit << 10 } else { unit }
    }

    /// Whole mebibytes that three digits of gibibytes would round: they read as a command writes them, 1200 MiB for `1200Mi`.
    fn reads_in_mib(self) -> bool {
        (GIB..10 * GIB).contains(&self.0) && self.0.is_multiple_of(MIB) && !(self.0 * 100).is_multiple_of(GIB)
    }

    const fn unit(self) -> (u64, &'static str) {
        match self.0 {
            n if n >= GIB << 10 => (GIB << 10, "TiB"),
            n if n >= GIB => (GIB, "GiB"),
            n if n >= MIB => (MIB, "MiB"),
            n if n >= 1024 => (1024, "KiB"),
            _ => (1, "B"),
        }
    }
}

impl fmt::Display for Bytes {
    /// Three significant digits in binary units: `1.50 GiB`, `69.4 MiB`, `512 MiB`; and `1200 MiB`, which they would round.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = self.unit();
        if unit == 1 {
            return write!(f, "{} B", self.0);
        }
        if self.reads_in_mib() {
            return write!(f, "{} MiB", self.0 / MIB);
        }
        // Rounded to the nearest; the border between the forms is tested after rounding, so that 9.999 is 10.
        let rounded = |parts: u128| (u128::from(self.0) * parts + u128::from(unit) / 2) / u128::from(unit);
        let (hundredths, tenths) = (rounded(100), rounded(10));
        match hundredths {
            n if n % 100 == 0 => write!(f, "{} {name}", n / 100),
            0..1000 => write!(f, "{}.{:02} {name}", hundredths / 100, hundredths % 100),
            _ if tenths % 10 == 0 => write!(f, "{} {name}", tenths / 10),
            1000..10_000 => write!(f, "{}.{} {name}", tenths / 10, tenths % 10),
            _ => write!(f, "{} {name}", rounded(1)),
        }
    }
}

impl ops::Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, ops::Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, "0 B")]
    #[case(1023, "1023 B")]
    #[case(1024, "1 KiB")]
    #[case(MIB * 512, "512 MiB")]
    #[case(GIB + GIB / 2, "1.50 GiB")]
    #[case(MIB * 1200, "1200 MiB")]
    #[case(MIB * 1020, "1020 MiB")]
    #[case(GIB * 11 + MIB, "11 GiB")]
    #[case(72_771_174, "69.4 MiB")]
    #[case(GIB * 10 - 1, "10 GiB")]
    #[case(MIB * 3 / 2 + 1, "1.50 MiB")]
    #[case(MIB * 999 / 10, "99.9 MiB")]
    #[case(MIB * 1004 / 10, "100 MiB")]
    #[case(u64::MAX, "16777216 TiB")]
    fn shows_three_digits(#[case] bytes: u64, #[case] text: &str) {
        assert_eq!(Bytes(bytes).to_string(), text);
    }

    #[rstest]
    #[case(GIB * 163 / 100, "1.60 GiB")]
    #[case(MIB * 57 / 10, "5.70 MiB")]
    #[case(MIB * 994, "990 MiB")]
    #[case(MIB * 995, "1 GiB")]
    #[case(MIB * 1020, "1 GiB")]
    #[case(MIB * 1026, "1 GiB")]
    #[case(1010, "1 KiB")]
    fn what_is_quantised_reads_as_two_digits(#[case] bytes: u64, #[case] text: &str) {
        assert_eq!(Bytes(bytes).quantised().to_string(), text);
        assert_eq!(Bytes(bytes).quantised().quantised(), Bytes(bytes).quantised());
    }

    #[test]
    fn percent_rounds_up_and_never_wraps() {
        assert_eq!(Bytes(3).percent(150), Bytes(5));
        assert_eq!(Bytes(u64::MAX).percent(200), Bytes(u64::MAX));
    }

    #[rstest]
    #[case(Bytes(MIB * 694 / 10), Bytes::mib(69))]
    #[case(Bytes::mib(694), Bytes::mib(690))]
    #[case(Bytes::ZERO, Bytes::ZERO)]
    #[case(Bytes(7), Bytes(7))]
    #[case(Bytes(MIB * 599 / 100), Bytes::mib(6))]
    #[case(Bytes(GIB * 163 / 100), Bytes(1_717_986_919))]
    fn quantises_to_two_digits(#[case] exact: Bytes, #[case] shown: Bytes) {
        assert_eq!(exact.quantised(), shown);
    }
}
