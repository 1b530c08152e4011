//! The one clock of the process. Wall time is read once; from then on time moves with the monotonic clock, so a
//! clock step on the node neither ages nor rejuvenates a sample. Only edges hold a clock; decisions get `now`.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// The one clock of the process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    start: Instant,
}

impl Clock {
    /// Reads the wall clock once.
    #[allow(clippy::disallowed_methods, reason = "the one place that may")]
    pub fn start() -> Self {
        Self { wall: Timestamp::now(), start: Instant::now() }
    }

    /// Now: the wall time of the start plus the monotonic time since.
    pub fn now(&self) -> Timestamp {
        self.wall.saturating_add(self.uptime()).unwrap_or(self.wall)
    }

    /// Monotonic time since the start.
    #[allow(clippy::disallowed_methods, reason = "the one place that may")]
    pub fn uptime(&self) -> Duration {
        Instant::now().saturating_duration_since(self.start)
    }
}
