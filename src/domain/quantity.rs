//! Kubernetes quantities, exactly: integer arithmetic only. What is smaller than a byte is rounded up, as
//! Kubernetes does (`k8s.io/apimachinery/pkg/api/resource`: "no fraction below the scale is kept; it rounds up").

use super::bytes::Bytes;

/// Why a text is no amount of memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Nothing was written.
    #[error("is empty; write for example 64Mi or 1.5Gi")]
    Empty,
    /// Below zero.
    #[error("is negative; write for example 64Mi or 1.5Gi")]
    Negative,
    /// Not a number with a unit.
    #[error(
        "is not a quantity; write a number with one of the units Ki, Mi, Gi, Ti, k, M, G, T, for example 64Mi or 1.5Gi"
    )]
    Malformed,
    /// More than Kubernetes can count (2^63 - 1).
    #[error("is too large; write for example 64Mi or 1.5Gi")]
    TooLarge,
}

/// The largest quantity that Kubernetes keeps: 2^63 - 1.
pub const LARGEST: Bytes = Bytes(i64::MAX.unsigned_abs());

/// Digits that are read. More than any number needs; what is longer is refused, so that the work is bounded.
const MAX_DIGITS: usize = 64;

/// Reads a Kubernetes quantity: `1.5Gi` is 1610612736 bytes, exactly.
///
/// Units: none, `n u m k M G T P E`, `Ki Mi Gi Ti Pi Ei`, or a decimal exponent (`12e6`, `12E-1`).
pub fn parse(text: &str) -> Result<Bytes, QuantityError> {
    if text.is_empty() {
        return Err(QuantityError::Empty);
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if let Some(positive) = unsigned.strip_prefix('-') {
        return Err(if Number::read(positive).is_some() { QuantityError::Negative } else { QuantityError::Malformed });
    }
    Number::read(unsigned).ok_or(QuantityError::Malformed)?.to_bytes().ok_or(QuantityError::TooLarge)
}

/// `digits x 10^exponent x 2^shift`.
#[derive(Debug)]
struct Number<'a> {
    whole: &'a str,
    fraction: &'a str,
    exponent: i32,
    shift: u32,
}

impl<'a> Number<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (whole, rest) = split_digits(text)?;
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => split_digits(rest)?,
            None => ("", rest),
        };
        if whole.len() + fraction.len() == 0 || whole.len() + fraction.len() > MAX_DIGITS {
            return None;
        }
        let (exponent, shift) = scale(suffix)?;
        Some(Self { whole, fraction, exponent, shift })
    }

    /// Rounded up to a byte; `None` when it is more than [`LARGEST`].
    fn to_bytes(&self) -> Option<Bytes> {
        let digits = self.whole.bytes().chain(self.fraction.bytes()).map(|b| b - b'0');
        let mut number = Big::default();
        for digit in digits {
            number.times_and_add(10, u32::from(digit));
        }
        if number.is_zero() {
            return Some(Bytes::ZERO);
        }
        let places = self.exponent - i32::try_from(self.fraction.len()).unwrap_or(i32::MAX);
        number.shift_left(self.shift);
        if places >= 0 {
            for _ in 0..places {
                number.times_and_add(10, 0);
                // A number that is too large already only grows.
                number.fits()?;
            }
        } else {
            for _ in 0..places.unsigned_abs() {
                number.divide_by_ten();
            }
            number.round_up();
        }
        number.fits().map(Bytes)
    }
}

/// The digits at the start of the text (perhaps none), and what follows.
fn split_digits(text: &str) -> Option<(&str, &str)> {
    text.split_at_checked(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// Decimal exponent and binary shift of a suffix.
fn scale(suffix: &str) -> Option<(i32, u32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        other => {
            let digits = other.strip_prefix(['e', 'E'])?;
            let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
            if unsigned.is_empty() || unsigned.len() > 3 || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            (digits.parse().ok()?, 0)
        }
    })
}

/// A whole number of any length, least significant part first, and whether a fraction was cut off.
#[derive(Debug, Default)]
struct Big {
    parts: Vec<u32>,
    fraction_lost: bool,
}

impl Big {
    fn is_zero(&self) -> bool {
        self.parts.iter().all(|&p| p == 0)
    }

    fn times_and_add(&mut self, factor: u32, add: u32) {
        let mut carry = u64::from(add);
        for part in &mut self.parts {
            let wide = u64::from(*part) * u64::from(factor) + carry;
            *part = low(wide);
            carry = wide >> 32;
        }
        if carry > 0 {
            self.parts.push(low(carry));
        }
    }

    fn shift_left(&mut self, bits: u32) {
        for _ in 0..bits {
            self.times_and_add(2, 0);
        }
    }

    fn divide_by_ten(&mut self) {
        let mut rest = 0;
        for part in self.parts.iter_mut().rev() {
            let wide = (rest << 32) | u64::from(*part);
            *part = low(wide / 10);
            rest = wide % 10;
        }
        self.fraction_lost |= rest != 0;
    }

    fn round_up(&mut self) {
        if self.fraction_lost {
            self.times_and_add(1, 1);
        }
    }

    /// As bytes, when Kubernetes could keep it.
    fn fits(&self) -> Option<u64> {
        let mut value: u64 = 0;
        for (n, &part) in self.parts.iter().enumerate() {
            match n {
                0 => value = u64::from(part),
                1 => value |= u64::from(part) << 32,
                _ if part > 0 => return None,
                _ => {}
            }
        }
        (value <= LARGEST.0).then_some(value)
    }
}

/// The low half.
fn low(wide: u64) -> u32 {
    u32::try_from(wide & u64::from(u32::MAX)).unwrap_or_default()
}

/// The shortest exact form with a binary unit: `1536Mi`, `2Gi`, `1000` where no unit is exact.
pub fn format(bytes: Bytes) -> String {
    const UNITS: [(u32, &str); 6] = [(60, "Ei"), (50, "Pi"), (40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")];
    for (shift, unit) in UNITS {
        let size = 1_u64 << shift;
        if bytes.0 >= size && bytes.0.is_multiple_of(size) {
            return format!("{}{unit}", bytes.0 / size);
        }
    }
    bytes.0.to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::domain::bytes::{GIB, MIB};

    #[rstest]
    #[case("0", 0)]
    #[case("1", 1)]
    #[case("+5", 5)]
    #[case("1.5Gi", GIB + GIB / 2)]
    #[case("1.5", 2)]
    #[case(".5Gi", GIB / 2)]
    #[case("5.Gi", 5 * GIB)]
    #[case("64Mi", 64 * MIB)]
    #[case("0.1Gi", 107_374_183)]
    #[case("100m", 1)]
    #[case("0m", 0)]
    #[case("1000m", 1)]
    #[case("1001m", 2)]
    #[case("1n", 1)]
    #[case("3u", 1)]
    #[case("12e6", 12_000_000)]
    #[case("12E6", 12_000_000)]
    #[case("1e-1", 1)]
    #[case("15e-1", 2)]
    #[case("1.25e2", 125)]
    #[case("1e+3", 1000)]
    #[case("2E", 2_000_000_000_000_000_000)]
    #[case("7Ei", 7 << 60)]
    #[case("3k", 3000)]
    #[case("9223372036854775807", i64::MAX as u64)]
    #[case("000000000000000000000000000000001Ki", 1024)]
    #[case("0e999", 0)]
    fn reads_exactly(#[case] text: &str, #[case] bytes: u64) {
        assert_eq!(parse(text), Ok(Bytes(bytes)));
    }

    #[rstest]
    #[case("", QuantityError::Empty)]
    #[case("-1", QuantityError::Negative)]
    #[case("-1.5Gi", QuantityError::Negative)]
    #[case("-x", QuantityError::Malformed)]
    #[case("Gi", QuantityError::Malformed)]
    #[case(".", QuantityError::Malformed)]
    #[case("1.5.2", QuantityError::Malformed)]
    #[case("1 Gi", QuantityError::Malformed)]
    #[case("1gi", QuantityError::Malformed)]
    #[case("1GB", QuantityError::Malformed)]
    #[case("1K", QuantityError::Malformed)]
    #[case("1e", QuantityError::Malformed)]
    #[case("1e+", QuantityError::Malformed)]
    #[case("1e+-3", QuantityError::Malformed)]
    #[case("1e1.5", QuantityError::Malformed)]
    #[case("1e3Ki", QuantityError::Malformed)]
    #[case("0x10", QuantityError::Malformed)]
    #[case("NaN", QuantityError::Malformed)]
    #[case("1٣", QuantityError::Malformed)]
    #[case("++1", QuantityError::Malformed)]
    #[case("9223372036854775808", QuantityError::TooLarge)]
    #[case("8Ei", QuantityError::TooLarge)]
    #[case("10E", QuantityError::TooLarge)]
    #[case("1e999", QuantityError::TooLarge)]
    fn refuses(#[case] text: &str, #[case] error: QuantityError) {
        assert_eq!(parse(text), Err(error.clone()));
        assert!(error.to_string().contains("1.5Gi"), "the message shows a good example");
    }

    #[rstest]
    #[case(0, "0")]
    #[case(1000, "1000")]
    #[case(1024, "1Ki")]
    #[case(GIB + GIB / 2, "1536Mi")]
    #[case(2 * GIB, "2Gi")]
    #[case(u64::MAX, "18446744073709551615")]
    fn writes_the_shortest_exact_form(#[case] bytes: u64, #[case] text: &str) {
        assert_eq!(format(Bytes(bytes)), text);
    }

    /// The value as a fraction of two whole numbers, by another way than [`parse`] takes.
    fn reference(whole: u64, fraction: &str, unit: &str) -> Option<u64> {
        let (numerator, denominator): (u128, u128) = match unit {
            "" => (1, 1),
            "n" => (1, 1_000_000_000),
            "u" => (1, 1_000_000),
            "m" => (1, 1000),
            "k" => (1000, 1),
            "M" => (1_000_000, 1),
            "Ki" => (1 << 10, 1),
            "Mi" => (1 << 20, 1),
            "Gi" => (1 << 30, 1),
            _ => unreachable!(),
        };
        let ten = 10_u128.pow(u32::try_from(fraction.len()).unwrap());
        let digits = u128::from(whole) * ten + fraction.parse::<u128>().unwrap_or(0);
        let value = (digits * numerator).div_ceil(ten * denominator);
        u64::try_from(value).ok().filter(|v| i64::try_from(*v).is_ok())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(n in 0..=i64::MAX as u64) {
            prop_assert_eq!(parse(&format(Bytes(n))), Ok(Bytes(n)));
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn nothing_panics_on_what_looks_like_a_quantity(text in "[+-]?[0-9]{0,70}[.]?[0-9]{0,70}([numkMGTPE]i?|[eE][+-]?[0-9]{0,5})?") {
            let _ = parse(&text);
        }

        #[test]
        fn agrees_with_whole_number_fractions(
            whole in 0_u64..1 << 40,
            fraction in "[0-9]{0,9}",
            unit in prop::sample::select(vec!["", "n", "u", "m", "k", "M", "Ki", "Mi", "Gi"]),
        ) {
            let text = format!("{whole}.{fraction}{unit}");
            prop_assert_eq!(parse(&text).ok().map(|b| b.0), reference(whole, &fraction, unit), "{}", text);
        }

        #[test]
        fn order_of_amounts_is_kept(a in 0_u64..1 << 20, b in 0_u64..1 << 20) {
            let (x, y) = (parse(&format!("{a}.5Ki")).unwrap(), parse(&format!("{b}.5Ki")).unwrap());
            prop_assert_eq!(a.cmp(&b), x.cmp(&y));
        }
    }
}
