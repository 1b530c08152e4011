//! Kubernetes quantities. A stand-in until the exact parser is merged: whole numbers, `Ki`, `Mi` and `Gi` only.

use super::bytes::Bytes;

/// The text is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a quantity")]
pub struct QuantityError(String);

/// Reads a quantity.
pub fn parse(text: &str) -> Result<Bytes, QuantityError> {
    let (digits, factor) = [("Ki", 1_u64 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30)]
        .iter()
        .find_map(|(suffix, factor)| text.strip_suffix(suffix).map(|digits| (digits, *factor)))
        .unwrap_or((text, 1));
    let number: u64 = digits.parse().map_err(|_| QuantityError(text.to_owned()))?;
    number.checked_mul(factor).map(Bytes).ok_or_else(|| QuantityError(text.to_owned()))
}
