//! The most that a target's memory took within the last day. A day of readings would take 600 KiB a target; this takes less
//! than 1 KiB: four parts of eight hours each, so that 24 to 32 hours are covered.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::history::age;
use crate::domain::{
    bytes::Bytes,
    peaks::{Peaks, TELLING_FROM},
    ratio::Ratio,
    sample::{Reading, Sample},
};

/// How long a part lasts.
const PART: Duration = Duration::from_secs(8 * 3600);
/// What began longer ago is forgotten: four parts.
const KEPT: Duration = PART.saturating_mul(4);
/// Between two samples that are further apart nothing is known.
const LONGEST_GAP: Duration = Duration::from_secs(300);
/// The rate of writes is taken over at least this.
const RATE_OVER: Duration = Duration::from_secs(60);
/// The lowest class of ratios: up to 1.15.
const LOWEST: u32 = 115;
/// From one class to the next: 0.05.
const STEP: u32 = 5;
/// Classes: the last one is 2.70. More than that is to be cured, not provided for.
const CLASSES: usize = 32;

/// What was seen of one target in the last 24 to 32 hours.
#[derive(Clone, Debug, Default)]
pub(super) struct LastDay {
    /// The oldest first.
    parts: VecDeque<Part>,
    /// `copy_on_write` of the last sample.
    copied: Option<Bytes>,
    /// Where the writes stood when their rate was last begun to be taken.
    writing: Option<Writing>,
}

/// The most of eight hours.
#[derive(Clone, Debug)]
struct Part {
    begin: Timestamp,
    covered: Duration,
    /// How many readings had a ratio of each class.
    ratios: [u16; CLASSES],
    most: Peaks,
}

/// Where a stream of writes stood.
#[derive(Clone, Copy, Debug)]
struct Writing {
    at: Timestamp,
    /// `master_repl_offset`; it stands still where there never was a replica.
    offset: u64,
    /// What the append-only file takes; a rewrite makes it smaller.
    appended: u64,
    /// Of which history the offset is.
    history: u64,
    /// A fork was at work since.
    forked: bool,
}

impl Writing {
    fn of(sample: &Sample) -> Self {
        let mut history = DefaultHasher::new();
        sample.replication.replid.hash(&mut history);
        Self {
            at: sample.at,
            offset: sample.replication.offset,
            appended: sample.persistence.aof_size.unwrap_or_default().0,
            history: history.finish(),
            forked: false,
        }
    }
}

impl LastDay {
    /// Notes a sample, of which `reading` is kept. `before`: the reading before it.
    pub(super) fn note(&mut self, sample: &Sample, reading: &Reading, before: Option<&Reading>) {
        let memory = &sample.memory;
        let unread = ["used_memory", "used_memory_rss"].iter().any(|field| sample.is_unread(field));
        if unread || !memory.is_measured() {
            return;
        }
        let same_process = before.is_some_and(|before| before.run_id == reading.run_id);
        let telling = memory.used >= TELLING_FROM;
        let gap = before.map(|before| age(before.at, reading.at)).filter(|gap| *gap <= LONGEST_GAP);
        let copied = self.copied(sample, same_process);
        let rate = self.rate(sample, same_process && reading.counts_for_band(), copied.is_some());
        let Some(part) = self.part(sample.at) else { return };
        part.covered = part.covered.saturating_add(gap.unwrap_or_default());
        if telling
            && reading.counts_for_band()
            && let Some(count) = part.ratios.get_mut(class(reading.ratio))
        {
            *count = count.saturating_add(1);
        }
        let most = &mut part.most;
        // All of these are in what is used: a server that says more is wrong.
        let at_most = |amount: Bytes| amount.min(memory.used);
        most.uncounted = most.uncounted.max(at_most(memory.not_counted_for_evict));
        most.clients = most.clients.max(at_most(memory.clients_normal));
        most.sync_buffer = most.sync_buffer.max(at_most(memory.sync_buffer.unwrap_or_default()));
        if telling {
            most.copied = most.copied.max(copied.and_then(|copied| Ratio::of(copied.min(memory.used), memory.used)));
        }
        if let Some((rate, forked)) = rate {
            most.writes = most.writes.max(rate);
            if forked {
                most.writes_copied = most.writes_copied.max(rate);
            }
        }
    }

    /// The most of all that is kept.
    pub(super) fn peaks(&self) -> Peaks {
        let mut all = Peaks { ratio: self.ratio(), ..Peaks::default() };
        for Part { covered, most, .. } in &self.parts {
            all.covered = all.covered.saturating_add(*covered);
            all.uncounted = all.uncounted.max(most.uncounted);
            all.clients = all.clients.max(most.clients);
            all.sync_buffer = all.sync_buffer.max(most.sync_buffer);
            all.copied = all.copied.max(most.copied);
            all.writes = all.writes.max(most.writes);
            all.writes_copied = all.writes_copied.max(most.writes_copied);
        }
        all
    }

    #[cfg(test)]
    pub(super) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The wall clock was set by so much.
    pub(super) fn shift(&mut self, by: SignedDuration) {
        let times =
            self.parts.iter_mut().map(|part| &mut part.begin).chain(self.writing.iter_mut().map(|it| &mut it.at));
        for at in times {
            *at = at.saturating_add(by).unwrap_or(*at);
        }
    }

    /// The part of that time; what is too old goes.
    fn part(&mut self, at: Timestamp) -> Option<&mut Part> {
        while self.parts.front().is_some_and(|part| age(part.begin, at) >= KEPT) {
            self.parts.pop_front();
        }
        if self.parts.back().is_none_or(|last| age(last.begin, at) >= PART) {
            let most = Peaks::default();
            self.parts.push_back(Part { begin: at, covered: Duration::ZERO, ratios: [0; CLASSES], most });
        }
        self.parts.back_mut()
    }

    /// What a fork has copied since the last sample of the same process, or so far.
    fn copied(&mut self, sample: &Sample, same_process: bool) -> Option<Bytes> {
        let now = sample.persistence.copy_on_write;
        let before = self.copied.replace(now);
        (same_process && now > Bytes::ZERO && before.is_some_and(|before| before != now)).then_some(now)
    }

    /// Bytes of writes a second, once enough time has passed, and whether a fork was at work.
    fn rate(&mut self, sample: &Sample, goes_on: bool, copied: bool) -> Option<(Bytes, bool)> {
        let now = Writing::of(sample);
        let Some(begun) = self.writing.as_mut().filter(|begun| goes_on && begun.history == now.history) else {
            self.writing = Some(now);
            return None;
        };
        begun.forked |= copied || sample.persistence.child_running;
        let time = age(begun.at, now.at);
        if time < RATE_OVER {
            return None;
        }
        let Writing { offset, appended, forked, .. } = *begun;
        let written = now.offset.saturating_sub(offset).max(now.appended.saturating_sub(appended));
        self.writing = Some(now);
        Some((Bytes(written / time.as_secs().max(1)), forked))
    }

    /// The 95th percentile of the ratios.
    fn ratio(&self) -> Option<Ratio> {
        let count = |class: usize| -> u64 {
            self.parts.iter().filter_map(|part| part.ratios.get(class)).map(|count| u64::from(*count)).sum()
        };
        let total: u64 = (0..CLASSES).map(count).sum();
        let rank = (total * 95).div_ceil(100);
        let mut seen = 0;
        let reached = (0..CLASSES).find(|class| {
            seen += count(*class);
            seen >= rank
        });
        let class = u32::try_from(reached.filter(|_| total > 0)?).ok()?;
        Some(Ratio(LOWEST + STEP * class))
    }
}

/// The class of a ratio: the first whose value is not below it.
fn class(ratio: Ratio) -> usize {
    let steps = ratio.0.saturating_sub(LOWEST).div_ceil(STEP);
    usize::try_from(steps).unwrap_or(usize::MAX).min(CLASSES - 1)
}

#[cfg(test)]
mod tests;
