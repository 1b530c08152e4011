//! Ratios as whole percent: 250 is 2.5. No floats are kept, so equal numbers compare equal.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::bytes::Bytes;

/// A ratio in whole percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ratio(pub u32);

impl Ratio {
    /// `part` / `whole`, rounded down to a percent; `None` when `whole` is zero.
    pub fn of(part: Bytes, whole: Bytes) -> Option<Self> {
        if whole == Bytes::ZERO {
            return None;
        }
        let percent = u128::from(part.0) * 100 / u128::from(whole.0);
        Some(Self(u32::try_from(percent).unwrap_or(u32::MAX)))
    }

    /// Rounded to a tenth (2.53 becomes 2.5): what a status shows.
    #[must_use]
    pub const fn quantised(self) -> Self {
        Self(self.0.saturating_add(5) / 10 * 10)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_of_nothing_is_no_ratio() {
        assert_eq!(Ratio::of(Bytes(1), Bytes(0)), None);
        assert_eq!(Ratio::of(Bytes(250), Bytes(100)), Some(Ratio(250)));
    }

    #[test]
    fn reads_as_a_decimal() {
        assert_eq!(Ratio(250).to_string(), "2.50");
        assert_eq!(Ratio(253).quantised().to_string(), "2.50");
    }
}
