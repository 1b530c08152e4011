//! How long writes stop at the hand-over of a plan: estimated before it begins, and what it became.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long writes stop when the primary's role is handed over, or when it is restarted in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WriteGap {
    /// Estimated before the plan began, in milliseconds.
    #[schemars(range(min = 0))]
    pub estimated_milliseconds: i64,
    /// Where the estimate is from.
    #[schemars(length(max = 256))]
    pub from: String,
    /// What it became, as the operator saw it, in milliseconds; absent: not known yet. How soon every client notices is not
    /// seen from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub measured_milliseconds: Option<i64>,
    /// When the eviction of the primary that is restarted in place was first asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 40))]
    pub since: Option<Timestamp>,
}

impl WriteGap {
    /// An estimate, and where it is from.
    pub fn estimated(time: Duration, from: impl Into<String>) -> Self {
        Self { estimated_milliseconds: stored(time), from: from.into(), measured_milliseconds: None, since: None }
    }

    /// The estimate.
    pub fn estimate(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.estimated_milliseconds).unwrap_or(0))
    }

    /// What it became.
    pub fn measured(&self) -> Option<Duration> {
        self.measured_milliseconds.and_then(|time| u64::try_from(time).ok()).map(Duration::from_millis)
    }

    /// Writes stopped for that time, besides what is measured already.
    pub fn add(&mut self, time: Duration) {
        self.measured_milliseconds = Some(self.measured_milliseconds.unwrap_or(0).saturating_add(stored(time)));
    }
}

fn stored(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
