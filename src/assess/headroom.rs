//! Headroom: how far the container memory limit must exceed `maxmemory`.

pub mod demand;
pub mod measured;

pub use self::demand::Demand;
use crate::domain::{
    bytes::Bytes,
    pod::{Container, Pod},
    policy::HeadroomRule,
    quantity,
    sample::{Memory, Sample},
    snapshot::Target,
};

/// What a Redis process holds beside its data: 12 MiB (measured on empty servers of five versions).
pub const PROCESS_BASE: Bytes = Bytes::mib(12);
/// Allocator metadata, in percent of the heap times ten: 3.5 % (measured: 90 MB at 2.6 GB).
const METADATA_PER_MILLE: u64 = 35;
/// A freshly loaded heap is this much larger than its data, in percent (measured: 1.10 to 1.31 with the base).
pub const CLEAN_HEAP_PERCENT: u32 = 110;
/// A `maxmemory` that is set to what a limit bears is at least this much of what is used, in percent: no key goes by it.
pub const ABOVE_USED_PERCENT: u32 = 110;

/// The container limit judged against `maxmemory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadroomVerdict {
    /// The limit is enough.
    Sufficient {
        /// The limit that holds.
        have: Bytes,
        /// The limit that the policy needs, rounded up to a mebibyte.
        need: Bytes,
    },
    /// The limit is too small.
    Insufficient {
        /// The limit that holds.
        have: Bytes,
        /// The limit that the policy needs, rounded up to a mebibyte.
        need: Bytes,
    },
    /// The limit is enough for what is sure, and may be too small by what is not measured yet (method Measured).
    NotMeasured {
        /// The limit that holds.
        have: Bytes,
        /// The limit that is needed by the bounds of what is not measured, rounded up to a mebibyte.
        need: Bytes,
    },
    /// The container has no memory limit.
    NoLimit,
    /// `maxmemory` is 0: no limit is enough.
    Unbounded,
    /// Not known: no sample, or the container was not found.
    Unknown,
}

/// The request that goes with a limit that is raised; `None`: it stays. Of a Guaranteed pod both are the same; else, where
/// the policy wants it, it is raised by as much as the limit, so that the pod keeps its quality of service, which the API
/// server lets no resize change.
pub fn request_with(rule: &HeadroomRule, pod: &Pod, container: &Container, limit: Bytes) -> Option<Bytes> {
    if pod.guaranteed {
        return Some(limit);
    }
    let (request, before) = (container.spec_request?, container.spec_limit?);
    (rule.requests && limit > before).then(|| request + limit.saturating_sub(before))
}

/// Judges the limit that holds now against the live `maxmemory`.
pub fn judge(demand: &Demand, target: &Target) -> HeadroomVerdict {
    let (Some(sample), Ok(container)) = (target.sample(), &target.pod.container) else {
        return HeadroomVerdict::Unknown;
    };
    if sample.is_unread("maxmemory") {
        return HeadroomVerdict::Unknown;
    }
    judge_amounts(demand, sample.memory.maxmemory, container.limit())
}

/// Judges a limit against a `maxmemory`, wherever both are from.
pub fn judge_amounts(demand: &Demand, maxmemory: Bytes, limit: Option<Bytes>) -> HeadroomVerdict {
    if maxmemory == Bytes::ZERO {
        return HeadroomVerdict::Unbounded;
    }
    let Some(have) = limit else { return HeadroomVerdict::NoLimit };
    let need = demand.limit(maxmemory);
    if have < demand.surely(maxmemory) {
        HeadroomVerdict::Insufficient { have, need }
    } else if have < demand.exactly(maxmemory) {
        HeadroomVerdict::NotMeasured { have, need }
    } else {
        HeadroomVerdict::Sufficient { have, need }
    }
}

/// Why a limit is not enough, with the numbers. `who` says so.
pub fn shortfall(who: &str, demand: &Demand, maxmemory: Bytes, have: Bytes, need: Bytes) -> String {
    let (limit, needed) = told_apart(have, need);
    let why = demand.short(maxmemory);
    match demand {
        Demand::Fixed { .. } => {
            format!("limit {limit}, needed {needed}: maxmemory is {maxmemory} and {who} wants {why}")
        }
        Demand::Measured(_) => format!("limit {limit}, needed {needed} for maxmemory {maxmemory}: {why}"),
    }
}

/// Two different amounts never read the same: where three digits do not tell them apart, or tell them in two units, all are shown.
pub fn told_apart(have: Bytes, need: Bytes) -> (String, String) {
    let (short, other) = (have.to_string(), need.to_string());
    let near = have.0.abs_diff(need.0) < need.0.div_ceil(100);
    let unit = |text: &str| text.rsplit(' ').next().map(str::to_owned);
    if short == other || (near && unit(&short) != unit(&other)) {
        (quantity::format(have), quantity::format(need))
    } else {
        (short, other)
    }
}

/// The least limit with which a replacement can load the data at all: `1.10 x used + buffers + P`, with
/// P = 12 MiB + 3.5 % of `maxmemory` (of `used` where there is no bound). Below it no pod is evicted.
pub fn template_floor(memory: &Memory) -> Bytes {
    let heap = if memory.maxmemory == Bytes::ZERO { memory.used } else { memory.maxmemory };
    memory.used.percent(CLEAN_HEAP_PERCENT)
        + memory.not_counted_for_evict
        + memory.clients_normal
        + PROCESS_BASE
        + metadata(heap)
}

/// Room that a server needs beside its resident memory while it serves a full sync, saves or rewrites: the fork's copied
/// pages, 1.5 x the largest seen, at least a quarter of the data.
pub fn fork_need(sample: &Sample) -> Bytes {
    sample.persistence.copy_on_write.percent(150).max(sample.memory.used.percent(25))
}

/// Allocator metadata of a heap of this size: 3.5 %, rounded up.
pub fn metadata(heap: Bytes) -> Bytes {
    let exact = (u128::from(heap.0) * u128::from(METADATA_PER_MILLE)).div_ceil(1000);
    Bytes(u64::try_from(exact).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
