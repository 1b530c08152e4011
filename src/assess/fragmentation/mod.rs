//! Fragmentation: how bad, what causes it, and what a restart would give back.

mod finding;

use jiff::Timestamp;

pub(super) use self::finding::findings;
pub use self::finding::{WILL_RESTART, WOULD_RESTART};
use super::{
    AssessSettings,
    headroom::{CLEAN_HEAP_PERCENT, PROCESS_BASE, metadata},
    readings::Sustained,
};
use crate::domain::{
    bytes::Bytes,
    policy::{FragmentationRule, Policy},
    ratio::Ratio,
    sample::{Memory, Reading},
    snapshot::Target,
};

/// How bad the fragmentation is. `Unknown` is neither good nor bad: nothing follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Band {
    /// Not enough fresh readings to say.
    Unknown,
    /// Below `moderatePercent`, or less waste than `minimumWaste`.
    Healthy,
    /// From `moderatePercent`.
    Moderate,
    /// From `seriousPercent`.
    Serious,
    /// From `criticalPercent`.
    Critical,
    /// From `restartPercent`.
    Restart,
}

/// What holds most of the waste.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Pages that the allocator can give back without a restart.
    Purgeable,
    /// Half-empty slabs: only moving the data (active defragmentation, a restart) helps.
    Fragmented,
    /// Memory outside the allocator (modules, Lua, huge pages): a restart need not help.
    Other,
    /// Not a jemalloc build: only the total is known.
    TotalOnly,
}

/// Why a restart is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DueReason {
    /// The ratio stays at or above `restartPercent`.
    Ratio,
    /// Less than half of the resident memory is data, a restart would mend that, and the band is at least critical.
    Efficiency,
    /// The resident memory stays above 80 % of the container's limit, the band is at least serious, and a restart takes it
    /// below 70 %.
    NearLimit,
}

/// The judgement of one target's fragmentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The highest band that every sustained reading meets.
    pub band: Band,
    /// The newest quiet `mem_fragmentation_ratio`.
    pub ratio: Ratio,
    /// The newest quiet rss - used.
    pub waste: Bytes,
    /// What holds most of the waste.
    pub cause: Cause,
    /// `allocator_rss_bytes` less allocator metadata (3.5 % of active).
    pub purgeable: Bytes,
    /// `allocator_frag_bytes`.
    pub fragmented: Bytes,
    /// `rss_overhead_bytes`.
    pub other: Bytes,
    /// What a restart should give back.
    pub expected_gain: Bytes,
    /// The newest ratio is below 0.95 x the median of the sustained readings: it mends itself.
    pub falling: bool,
    /// Share of the resident memory that is data; `None`: not judged (small, or the server could not say).
    pub efficiency: Option<Ratio>,
    /// The efficiency was below one half in every sustained reading.
    pub efficiency_low: bool,
    /// Why a restart is due, if one is.
    pub restart_due: Option<DueReason>,
    /// The resident memory is near the container's limit, the band is at least serious, and a restart would not lead away from
    /// it: none is due for that.
    pub stays_near_limit: bool,
    /// A restart would be due, but for what the operator itself let the server evict: none is.
    pub left_by_eviction: bool,
    /// Why the band is `Unknown`.
    pub unknown_because: Option<String>,
}

/// Below this much data (100 MB) the efficiency is not judged: the base of the process would weigh too much.
pub const EFFICIENCY_FROM: Bytes = Bytes(100_000_000);
/// Below one half the efficiency is low.
pub const EFFICIENCY_LOW: Ratio = Ratio(50);

/// A resident memory above this share of the limit is near it: the next fork or full sync may reach it (RssNearLimit).
const NEAR_LIMIT: Ratio = Ratio(80);
/// At most this share of the limit is what a restart must leave, so that it is not near it again soon.
const CLEAR_OF_LIMIT: Ratio = Ratio(70);

impl Cause {
    /// What people are to do where a restart is not the cure; `None`: it is.
    pub const fn instead_of_a_restart(self) -> Option<&'static str> {
        match self {
            Self::Fragmented | Self::TotalOnly => None,
            Self::Purgeable => {
                Some("MEMORY PURGE gives such pages back without a restart (it blocks Redis for about 80 ms per GB)")
            }
            Self::Other => Some("look at modules, Lua scripts and transparent huge pages: a restart need not help"),
        }
    }

    fn of(memory: &Memory, parts: Parts) -> Self {
        if !memory.allocator_is_jemalloc() {
            return Self::TotalOnly;
        }
        // On a tie the cause for which less would be done wins.
        if parts.other >= parts.purgeable && parts.other >= parts.fragmented {
            Self::Other
        } else if parts.purgeable >= parts.fragmented {
            Self::Purgeable
        } else {
            Self::Fragmented
        }
    }
}

/// The waste by cause. It need not add up: the server samples its numbers at different moments.
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    purgeable: Bytes,
    fragmented: Bytes,
    other: Bytes,
}

impl Parts {
    fn of(memory: &Memory) -> Self {
        if !memory.allocator_is_jemalloc() {
            return Self::default();
        }
        Self {
            purgeable: memory.allocator_rss.saturating_sub(metadata(memory.allocator_active)),
            fragmented: memory.allocator_frag,
            other: memory.rss_overhead,
        }
    }
}

impl Verdict {
    fn of(memory: &Memory) -> Self {
        let parts = Parts::of(memory);
        Self {
            band: Band::Unknown,
            ratio: memory.ratio,
            waste: memory.waste(),
            cause: Cause::of(memory, parts),
            purgeable: parts.purgeable,
            fragmented: parts.fragmented,
            other: parts.other,
            expected_gain: expected_gain(memory),
            falling: false,
            efficiency: efficiency(memory),
            efficiency_low: false,
            restart_due: None,
            stays_near_limit: false,
            left_by_eviction: false,
            unknown_because: None,
        }
    }

    /// Nothing is judged; the numbers are those of the last answer, if there was one.
    fn unknown(memory: Option<&Memory>, reason: String) -> Self {
        let nothing = Self {
            band: Band::Unknown,
            ratio: Ratio::default(),
            waste: Bytes::ZERO,
            cause: Cause::TotalOnly,
            purgeable: Bytes::ZERO,
            fragmented: Bytes::ZERO,
            other: Bytes::ZERO,
            expected_gain: Bytes::ZERO,
            falling: false,
            efficiency: None,
            efficiency_low: false,
            restart_due: None,
            stays_near_limit: false,
            left_by_eviction: false,
            unknown_because: None,
        };
        Self { unknown_because: Some(reason), ..memory.map_or(nothing, Self::of) }
    }
}

impl Verdict {
    /// Takes back that a restart is due: what it would give back is what our own eviction left.
    pub(super) const fn withdraw_for_eviction(&mut self) {
        (self.restart_due, self.stays_near_limit, self.left_by_eviction) = (None, false, true);
    }
}

/// What a restart should give back: `rss - (1.10 x used + 12 MiB)`, or zero.
pub fn expected_gain(memory: &Memory) -> Bytes {
    gain(memory.rss, memory.used)
}

/// A process that has just loaded its data holds at most this share of it beside its base, in percent. Measured after a
/// restart: 1.31 from a dump or a rewritten AOF, 1.18 to 1.23 from a full sync (7.0.15, 8.2.3, Valkey 9.1.2).
const CLEAN_AT_MOST_PERCENT: u32 = 131;

/// Whether a process of that size is as clean as a restart makes it: `rss <= 1.31 x used + 12 MiB`.
pub fn is_clean(rss: Bytes, used: Bytes) -> bool {
    rss <= used.percent(CLEAN_AT_MOST_PERCENT) + PROCESS_BASE
}

fn gain(rss: Bytes, used: Bytes) -> Bytes {
    rss.saturating_sub(used.percent(CLEAN_HEAP_PERCENT) + PROCESS_BASE)
}

/// Judges the fragmentation of one target.
///
/// A band above healthy needs the ratio and `minimumWaste` in every quiet reading of the last `sustained`, all of
/// one process past its warm-up and without a gap of more than three sample intervals. Readings taken while the
/// server loads, syncs or frees are left out; a longer spell of them is a gap.
pub fn judge(policy: &Policy, target: &Target, now: Timestamp, settings: &AssessSettings) -> Verdict {
    let rule = &policy.fragmentation;
    let memory = target.sample().map(|s| &s.memory);
    let sustained = match Sustained::of(target, rule.sustained, now, settings) {
        Ok(sustained) => sustained,
        Err(reason) => return Verdict::unknown(memory, reason),
    };
    let Some(memory) = memory else { return Verdict::unknown(None, "not probed yet".into()) };
    let newest = sustained.newest;
    let mut verdict = Verdict {
        band: sustained.readings.iter().map(|r| band(rule, r)).min().unwrap_or(Band::Unknown),
        ratio: newest.ratio,
        waste: waste(newest),
        expected_gain: gain(newest.rss, newest.used),
        falling: sustained.falling(),
        ..Verdict::of(memory)
    };
    verdict.efficiency_low = verdict.efficiency.is_some_and(|now| now < EFFICIENCY_LOW)
        && sustained.readings.iter().all(|r| efficiency_of(memory, r.used, r.rss).is_some_and(|e| e < EFFICIENCY_LOW));
    let limit = target.pod.limit();
    let near = limit.is_some_and(|limit| sustained.readings.iter().all(|r| near(r.rss, limit, NEAR_LIMIT)));
    let near_limit = limit.filter(|_| near && verdict.band >= Band::Serious && worth_it(rule, &verdict));
    let clean = newest.rss.saturating_sub(verdict.expected_gain);
    let leads_away = near_limit.is_some_and(|limit| !self::near(clean, limit, CLEAR_OF_LIMIT));
    let by_the_limit = leads_away.then_some(DueReason::NearLimit);
    verdict.restart_due = restart_due(rule, memory, &verdict).or(by_the_limit);
    verdict.stays_near_limit = near_limit.is_some() && verdict.restart_due.is_none();
    verdict
}

/// How that target would be judged had the operator let it evict nothing since it used that much, with that much resident.
pub(super) fn judge_as_before_eviction(
    policy: &Policy,
    target: &Target,
    (used, resident): (Bytes, Bytes),
    now: Timestamp,
    settings: &AssessSettings,
) -> Verdict {
    let ratio = |rss: Bytes, used: Bytes| Ratio::of(rss, used).unwrap_or_default();
    let mut before = target.clone();
    for reading in before.history.iter_mut().filter(|reading| reading.used < used) {
        let rss = reading.rss.max(resident);
        (reading.used, reading.rss, reading.ratio) = (used, rss, ratio(rss, used));
    }
    if let Some(memory) = before.sample_mut().map(|sample| &mut sample.memory).filter(|memory| memory.used < used) {
        memory.dataset = memory.dataset + used.saturating_sub(memory.used);
        let rss = memory.rss.max(resident);
        (memory.used, memory.rss, memory.ratio) = (used, rss, ratio(rss, used));
    }
    judge(policy, &before, now, settings)
}

/// Whether that is more than this share of the limit.
fn near(rss: Bytes, limit: Bytes, share: Ratio) -> bool {
    u128::from(rss.0) * 100 > u128::from(limit.0) * u128::from(share.0)
}

fn band(rule: &FragmentationRule, reading: &Reading) -> Band {
    if waste(reading) < rule.minimum_waste {
        return Band::Healthy;
    }
    match reading.ratio {
        ratio if ratio >= rule.restart => Band::Restart,
        ratio if ratio >= rule.critical => Band::Critical,
        ratio if ratio >= rule.serious => Band::Serious,
        ratio if ratio >= rule.moderate => Band::Moderate,
        _ => Band::Healthy,
    }
}

fn waste(reading: &Reading) -> Bytes {
    reading.rss.saturating_sub(reading.used)
}

/// It does not mend itself, and enough would come back.
fn worth_it(rule: &FragmentationRule, verdict: &Verdict) -> bool {
    !verdict.falling && verdict.expected_gain >= rule.minimum_waste
}

/// By the memory alone.
fn restart_due(rule: &FragmentationRule, memory: &Memory, verdict: &Verdict) -> Option<DueReason> {
    if !worth_it(rule, verdict) {
        return None;
    }
    if verdict.band == Band::Restart {
        return Some(DueReason::Ratio);
    }
    let rss_after = memory.rss.saturating_sub(verdict.expected_gain);
    let lifted = Ratio::of(memory.dataset, rss_after).is_some_and(|after| after > EFFICIENCY_LOW);
    // Many small keys alone hold the efficiency near one half: without a band of its own a person's thresholds would
    // mean nothing, and such a server would be restarted every night for a tenth of its memory.
    let fragmented = verdict.band >= Band::Critical;
    (fragmented && verdict.efficiency_low && lifted).then_some(DueReason::Efficiency)
}

/// `used_memory_dataset` / `used_memory_rss`, from [`EFFICIENCY_FROM`] on. A dataset of zero beside so much used
/// memory is the server's underflow, not a number.
fn efficiency(memory: &Memory) -> Option<Ratio> {
    if memory.used < EFFICIENCY_FROM || memory.dataset == Bytes::ZERO {
        return None;
    }
    Ratio::of(memory.dataset, memory.rss)
}

/// The efficiency at an earlier reading, for which the dataset was not kept: the overhead is taken as it is now
/// (it moves with clients and tables, slowly against `sustained`).
fn efficiency_of(now: &Memory, used: Bytes, rss: Bytes) -> Option<Ratio> {
    let overhead = now.used.saturating_sub(now.dataset);
    Ratio::of(used.saturating_sub(overhead), rss)
}

#[cfg(test)]
mod tests;
