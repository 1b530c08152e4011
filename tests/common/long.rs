//! Whether a run is the long one.

#![allow(unreachable_pub, reason = "some programs share it through `common`, others take it alone")]

/// `RMO_LONG=1`: what is too long for every day is wanted, too.
#[allow(clippy::disallowed_methods, reason = "a test's own setting")]
pub fn is_long() -> bool {
    std::env::var("RMO_LONG").is_ok_and(|value| value == "1")
}
