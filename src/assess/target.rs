//! Findings about one target.

use jiff::Timestamp;

use super::AssessSettings;
use crate::domain::{finding::Finding, policy::Policy, snapshot::Target};

/// Findings about one target, looked at by itself.
pub fn assess_target(_policy: &Policy, _target: &Target, _now: Timestamp, _settings: &AssessSettings) -> Vec<Finding> {
    Vec::new()
}
