//! The readings that a judgement may rest on.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::AssessSettings;
use crate::domain::{
    names::RunId,
    sample::Reading,
    snapshot::{Observation, Target},
};

/// The stretch of readings breaks where more than this many sample intervals lie between two of them.
const GAP_INTERVALS: u32 = 3;

/// Readings that count, of one process, that cover the last `sustained` without a gap.
#[derive(Debug)]
pub(super) struct Sustained<'a> {
    /// Newest first, never empty.
    pub(super) readings: Vec<&'a Reading>,
    /// The newest of them.
    pub(super) newest: &'a Reading,
}

impl<'a> Sustained<'a> {
    /// Those that end at the newest quiet reading, or why there is none. The text holds no number that
    /// changes with time.
    pub(super) fn of(
        target: &'a Target,
        sustained: Duration,
        now: Timestamp,
        settings: &AssessSettings,
    ) -> Result<Self, String> {
        let run_id = running_process(target)?;
        let usable = target
            .history
            .iter()
            .rev()
            .take_while(|r| r.run_id == *run_id)
            .filter(|r| r.counts_for_band() && r.uptime >= settings.warm_up);
        let longest_gap = settings.sample_interval.saturating_mul(GAP_INTERVALS);
        let mut stretch: Vec<&Reading> = Vec::new();
        let mut later = now;
        for reading in usable {
            if since(reading.at, later) > longest_gap {
                break;
            }
            later = reading.at;
            stretch.push(reading);
        }
        let (Some(&newest), Some(oldest)) = (stretch.first(), stretch.last()) else {
            return Err(why_nothing_is_usable(target, run_id, settings));
        };
        if since(oldest.at, newest.at) < sustained {
            return Err(format!("the quiet readings without a gap do not cover {} yet", words(sustained)));
        }
        stretch.retain(|r| since(r.at, newest.at) <= sustained);
        Ok(Self { readings: stretch, newest })
    }

    /// The newest ratio is below 0.95 x the median of the window.
    pub(super) fn falling(&self) -> bool {
        let mut ratios: Vec<u32> = self.readings.iter().map(|r| r.ratio.0).collect();
        ratios.sort_unstable();
        // Twice the median: of an even number of readings it is the mean of the middle two.
        let middle = |n: usize| ratios.get(n).copied().map_or(0, u64::from);
        let half = ratios.len() / 2;
        let twice =
            if ratios.len() % 2 == 1 { 2 * middle(half) } else { middle(half) + middle(half.saturating_sub(1)) };
        u64::from(self.newest.ratio.0) * 200 < 95 * twice
    }
}

/// The process that answered last, when it did.
fn running_process(target: &Target) -> Result<&RunId, String> {
    match &target.redis {
        Observation::Seen(sample) if sample.persistence.loading => Err("the server loads its data".into()),
        Observation::Seen(sample) if sample.run_id.is_empty() => {
            Err("the server does not say which process it is (run_id)".into())
        }
        Observation::Seen(sample) => Ok(&sample.run_id),
        Observation::Failed(failure) => Err(format!("the last probe failed: {}", failure.reason())),
        Observation::Pending => Err("not probed yet".into()),
    }
}

fn why_nothing_is_usable(target: &Target, run_id: &RunId, settings: &AssessSettings) -> String {
    let warm = |r: &Reading| r.run_id == *run_id && r.uptime >= settings.warm_up;
    if target.history.iter().any(warm) {
        return "no fresh quiet reading: the server syncs, forks or frees memory, or was not sampled".into();
    }
    format!("the process has not run for {} yet", words(settings.warm_up))
}

/// Time from `earlier` to `later`; zero when the order is the other way round.
fn since(earlier: Timestamp, later: Timestamp) -> Duration {
    let span: SignedDuration = later.duration_since(earlier);
    span.try_into().unwrap_or(Duration::ZERO)
}

fn words(time: Duration) -> String {
    crate::domain::duration::format(time)
}
