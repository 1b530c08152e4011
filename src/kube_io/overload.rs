//! The API server's request to come back later: `Retry-After` on 429 and 503.
//!
//! The lease is not held back by it: a leader that stops renewing is replaced, which costs the API server more.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

use crate::clock::Clock;

/// No server is believed to be away for longer than this.
const LONGEST: Duration = Duration::from_secs(60);

/// Until when the API server asked us to wait. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Overload {
    clock: Clock,
    /// Uptime of the process.
    until: Arc<Mutex<Duration>>,
}

impl Overload {
    /// Nobody has asked yet.
    pub fn new(clock: Clock) -> Self {
        Self { clock, until: Arc::default() }
    }

    /// Time that is left to wait, if any.
    pub fn left(&self) -> Option<Duration> {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        Some(until.saturating_sub(self.clock.uptime())).filter(|left| !left.is_zero())
    }

    /// An answer has come. Only whole seconds are understood; API servers send nothing else.
    pub(super) fn answered(&self, status: StatusCode, headers: &HeaderMap) {
        if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            return;
        }
        let text = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let Some(seconds) = text.and_then(|text| text.trim().parse().ok()) else { return };
        let until = self.clock.uptime().saturating_add(Duration::from_secs(seconds).min(LONGEST));
        let mut known = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *known = until.max(*known);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::overloaded(429, Some("7"), 7)]
    #[case::shutting_down(503, Some("5"), 5)]
    #[case::at_most_a_minute(429, Some("86400"), 60)]
    #[case::a_date_is_not_read(429, Some("Fri, 31 Dec 2027 23:59:59 GMT"), 0)]
    #[case::a_budget_that_says_no(429, None, 0)]
    #[case::another_status(200, Some("7"), 0)]
    fn what_is_waited_for(#[case] status: u16, #[case] header: Option<&'static str>, #[case] seconds: u64) {
        let overload = Overload::new(Clock::start());
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(header));
        }
        overload.answered(StatusCode::from_u16(status).expect("a status"), &headers);
        let left = overload.left().unwrap_or_default();
        assert!(left <= Duration::from_secs(seconds), "{left:?}");
        assert_eq!(left > Duration::from_secs(seconds.saturating_sub(1)), seconds > 0, "{left:?}");
    }
}
