//! The proof after a cure: did the restart give back what it was expected to?

use std::time::Duration;

use super::Context;
use crate::{
    assess::fragmentation,
    domain::{bytes::Bytes, journal::MemberRecord, ratio::Ratio, sample::Reading, snapshot::Target},
};

/// A proof is the median of this many readings.
const READINGS: usize = 4;

/// What the proof says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Not enough quiet readings yet.
    Waiting(String),
    /// It holds.
    Holds {
        /// Median `used_memory_rss`.
        rss: Bytes,
        /// Median `used_memory`.
        used: Bytes,
        /// Median ratio.
        ratio: Ratio,
    },
    /// It was measured, it does not hold, and the time for it is over.
    Failed(String),
}

/// Judges a restarted member: it holds when the process is as clean as a restart makes it, or when half of what was
/// expected came back and the ratio is below the threshold of a restart. The warm-up does not apply; loading, syncs and child processes do.
pub fn judge(ctx: &Context<'_>, record: &MemberRecord, target: &Target) -> Proof {
    let Some(caught_up) = record.caught_up_at else {
        return Proof::Waiting("it has not caught up yet".to_owned());
    };
    let Some(sample) = target.sample() else {
        return Proof::Waiting("its Redis gives no sample".to_owned());
    };
    let settled = caught_up.saturating_add(ctx.settings.proof_settle).unwrap_or(caught_up);
    let fit = |reading: &&Reading| reading.quiet && reading.run_id == sample.run_id && reading.at >= settled;
    let readings: Vec<&Reading> = target.history.iter().rev().filter(fit).take(READINGS).collect();
    if readings.len() < READINGS {
        // What was not measured says nothing of the restart: a full sync is followed by a rewrite that may take long.
        return Proof::Waiting(format!("{} of {READINGS} quiet readings", readings.len()));
    }
    let (rss, used) = (median(&readings, |r| r.rss), median(&readings, |r| r.used));
    let ratio = median(&readings, |reading| reading.ratio);
    let before = Bytes(u64::try_from(record.rss_bytes).unwrap_or(0));
    let expected = Bytes(u64::try_from(record.expected_gain_bytes).unwrap_or(0));
    let reclaimed = before.saturating_sub(rss);
    // Data that grew or shrank meanwhile moves what comes back, and not whether the process is clean.
    let gained = reclaimed >= Bytes(expected.0 / 2) && ratio < ctx.policy.fragmentation.restart;
    if fragmentation::is_clean(rss, used) || gained {
        return Proof::Holds { rss, used, ratio };
    }
    let text = format!(
        "{} came back of the {} expected; fragmentation is {ratio}",
        reclaimed.quantised(),
        expected.quantised()
    );
    if ctx.since(caught_up) > ctx.settings.proof_timeout { Proof::Failed(text) } else { Proof::Waiting(text) }
}

/// How soon to look again: when it has settled, and from then on less and less often.
pub fn pause(ctx: &Context<'_>, record: &MemberRecord) -> Duration {
    let waited = ctx.since(record.caught_up_at.unwrap_or(ctx.now));
    let settle = ctx.settings.proof_settle;
    if waited < settle { settle.saturating_sub(waited) } else { waited.saturating_sub(settle) / 10 }
}

/// The lower median: with an even number of readings the smaller of the middle two.
fn median<T: Ord + Copy + Default>(readings: &[&Reading], of: impl Fn(&Reading) -> T) -> T {
    let mut values: Vec<T> = readings.iter().map(|reading| of(reading)).collect();
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}
