//! What a `maxmemory` demands of the container's limit, by either method, and what a limit bears: the inverse. Everything
//! that asks how large a limit must be asks here ([ADR 0023](../../../docs/adr/0023-measured-headroom.md)).

use super::{METADATA_PER_MILLE, PROCESS_BASE};
use crate::domain::{
    bytes::{Bytes, MIB},
    policy::{HeadroomMethod, HeadroomRule},
    ratio::Ratio,
};

/// Of a limit so much is for data, in percent: the rest is for dirty pages of files, the kernel's own and errors of
/// measurement.
const FOR_DATA_PERCENT: u128 = 95;
/// The least allowance for fragmentation, and what is taken where it was not measured: 1.15 (a process that has just loaded
/// its data has 1.10 to 1.31, its base included).
pub(super) const LEAST_RATIO: Ratio = Ratio(115);
/// Pages that a fork copies of the data at least, in percent.
pub(super) const LEAST_COPIED: Ratio = Ratio(10);
/// What is taken where no fork was measured, in percent.
pub(super) const UNKNOWN_COPIED: Ratio = Ratio(25);
/// What clients take at least: a few hundred connections with their query buffers.
pub(super) const LEAST_CLIENTS: Bytes = Bytes::mib(16);
/// The hard limit of a replica's output buffer where nothing else is known: Redis' default.
pub(super) const REPLICA_BUFFER: Bytes = Bytes::mib(256);
/// Replicas are never cut off for what they leave unsent.
pub(super) const UNLIMITED: Bytes = Bytes(u64::MAX);
/// Lua's machines where they are not told: idle ones take 33 to 92 KiB (INFO of five versions).
pub(super) const UNKNOWN_SCRIPTS: Bytes = Bytes::mib(1);

/// What a set's servers demand of their limits, as a function of `maxmemory`. It never falls as `maxmemory` grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Demand {
    /// `max(maxmemory × (100 + percent) / 100, maxmemory + minimum)`.
    Fixed {
        /// Headroom in percent.
        percent: u32,
        /// Headroom at least.
        minimum: Bytes,
    },
    /// `max((M·φ + B + C + L + max(K, S) + P) / 0.95, M + minimum)`.
    Measured(Terms),
}

/// What method Measured knows of a set: the largest of its members, because roles swap. Amounts are rounded up, so that a
/// number that wavers does not move the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// Headroom at least, whatever was measured.
    pub minimum: Bytes,
    /// φ: resident for used memory.
    pub ratio: Ratio,
    /// B: buffers that eviction does not count, as seen.
    pub uncounted: Bytes,
    /// B: what such a buffer may hold before a replica is cut off; zero without replicas. At most a quarter of `maxmemory`
    /// is counted, or [`Self::unsent`] where that is more.
    pub buffer_limit: Bytes,
    /// B: what is written for replicas until one that does not answer is cut off; zero: no writes were measured.
    pub unsent: Bytes,
    /// C: buffers of clients.
    pub clients: Bytes,
    /// L: Lua's machines, where they are not in the used memory.
    pub scripts: Bytes,
    /// κ: pages that a fork copies, in percent of the data; zero: no fork is possible.
    pub copied: Ratio,
    /// Where κ is from.
    pub copied_by: Copied,
    /// S: a full sync loads the new data beside the old (`repl-diskless-load swapdb`).
    pub twice: bool,
    /// S: what a replica holds back of the stream during a full sync.
    pub sync_buffer: Bytes,
    /// What the rest is from.
    pub evidence: Evidence,
}

/// Where κ is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Copied {
    /// 1.5 times what a fork was seen to copy.
    Seen,
    /// Nothing was seen: a bound.
    Unknown,
    /// What a fork copies under the writes that were seen; none was measured under as many.
    ByWrites,
    /// So many writes that a fork copies everything, and none was measured under as many.
    WriteHeavy,
    /// No fork is possible.
    Never,
}

/// What terms rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// Every member answers and was sampled for long enough.
    Measured,
    /// Some members were: what the others show is counted too, but it may be more.
    InPart,
    /// None was sampled for long enough: the terms are bounds, and may turn out to be more or less.
    NotYet,
    /// Nothing runs that could be measured: the terms are bounds.
    Assumed,
}

/// One term of the sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// What it is for.
    pub name: &'static str,
    /// How much.
    pub amount: Bytes,
    /// What it is made of, in a few words for a finding; may be empty.
    pub short: String,
    /// What it is made of.
    pub why: String,
}

/// The terms for one `maxmemory`, in bytes.
struct Sum {
    data: u128,
    buffers: u128,
    copied: u128,
    synced: u128,
    process: u128,
}

impl Demand {
    /// Where nothing was measured, as of manifests: Measured is then its bounds for servers with replicas that fork.
    pub const fn assumed(rule: &HeadroomRule) -> Self {
        let HeadroomRule { percent, minimum, .. } = *rule;
        match rule.method {
            HeadroomMethod::Fixed => Self::Fixed { percent, minimum },
            HeadroomMethod::Measured => Self::Measured(Terms {
                minimum,
                ratio: LEAST_RATIO,
                uncounted: Bytes::ZERO,
                buffer_limit: REPLICA_BUFFER,
                unsent: Bytes::ZERO,
                clients: LEAST_CLIENTS,
                scripts: UNKNOWN_SCRIPTS,
                copied: UNKNOWN_COPIED,
                copied_by: Copied::Unknown,
                twice: false,
                sync_buffer: Bytes::ZERO,
                evidence: Evidence::Assumed,
            }),
        }
    }

    /// The limit that this `maxmemory` needs, to the byte.
    pub fn exactly(&self, maxmemory: Bytes) -> Bytes {
        narrow(self.wide(maxmemory))
    }

    /// The limit that the operator would set: [`Self::exactly`], rounded up to a mebibyte.
    pub fn limit(&self, maxmemory: Bytes) -> Bytes {
        self.exactly(maxmemory).round_up_mib()
    }

    /// The limit that this `maxmemory` needs whatever is still going to be measured, to the byte. It is less than
    /// [`Self::exactly`] only as long as nothing was measured.
    pub fn surely(&self, maxmemory: Bytes) -> Bytes {
        match self {
            Self::Measured(terms) if terms.evidence == Evidence::NotYet => {
                let least = Terms { copied: terms.copied.min(LEAST_COPIED), ..*terms };
                Self::Measured(least).exactly(maxmemory)
            }
            _ => self.exactly(maxmemory),
        }
    }

    /// The largest `maxmemory`, in whole mebibytes, for which this limit is enough: the inverse of [`Self::exactly`]. Zero:
    /// it bears none.
    pub fn bearable(&self, limit: Bytes) -> Bytes {
        let fits = |mebibytes: u64| self.wide(Bytes(mebibytes.saturating_mul(MIB))) <= u128::from(limit.0);
        // What fits is below `high`: the demand for a maxmemory is never less than the maxmemory.
        let (mut low, mut high) = (0, (limit.0 / MIB).saturating_add(1));
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if fits(middle) { low = middle } else { high = middle }
        }
        Bytes(low.saturating_mul(MIB))
    }

    /// Whether more evidence may change it.
    pub const fn is_settled(&self) -> bool {
        match self {
            Self::Fixed { .. } => true,
            Self::Measured(terms) => matches!(terms.evidence, Evidence::Measured | Evidence::Assumed),
        }
    }

    /// Whether it rests on measurements that are long enough, where its method needs any.
    pub const fn is_measured(&self) -> bool {
        match self {
            Self::Fixed { .. } => true,
            Self::Measured(terms) => matches!(terms.evidence, Evidence::Measured | Evidence::InPart),
        }
    }

    /// Whether what is measured may move it: what wavers is followed slowly.
    pub const fn wavers(&self) -> bool {
        matches!(self, Self::Measured(_))
    }

    /// Without the bound of 64 bits.
    fn wide(&self, maxmemory: Bytes) -> u128 {
        let bytes = u128::from(maxmemory.0);
        match self {
            Self::Fixed { percent, minimum } => {
                let by_percent = (bytes * (100 + u128::from(*percent))).div_ceil(100);
                by_percent.max(bytes + u128::from(minimum.0))
            }
            Self::Measured(terms) => {
                let sum = terms.sum(maxmemory);
                let held = sum.data
                    + sum.buffers
                    + u128::from(terms.clients.0)
                    + u128::from(terms.scripts.0)
                    + sum.copied.max(sum.synced)
                    + sum.process;
                (held * 100).div_ceil(FOR_DATA_PERCENT).max(bytes + u128::from(terms.minimum.0))
            }
        }
    }

    /// Why this `maxmemory` needs what it needs, in a few words: "50 % above it", or every term.
    pub fn short(&self, maxmemory: Bytes) -> String {
        let minimum =
            |minimum: Bytes| (self.limit(maxmemory) == (maxmemory + minimum).round_up_mib()).then_some(minimum);
        match self {
            Self::Fixed { percent, minimum: least } => minimum(*least)
                .map_or_else(|| format!("{percent} % above it"), |minimum| format!("at least {minimum} above it")),
            Self::Measured(terms) => {
                let parts = self.terms(maxmemory).into_iter().map(|term| {
                    let short = if term.short.is_empty() { String::new() } else { format!(" ({})", term.short) };
                    format!("{} {}{short}", term.name, term.amount)
                });
                let parts: Vec<String> = parts.collect();
                let least =
                    minimum(terms.minimum).map_or_else(String::new, |it| format!(", and at least {it} above it"));
                format!("{}{least}{}", parts.join(", "), terms.evidence.remark())
            }
        }
    }

    /// Every term of what this `maxmemory` needs; none by method Fixed.
    pub fn terms(&self, maxmemory: Bytes) -> Vec<Term> {
        let Self::Measured(terms) = self else { return Vec::new() };
        let Sum { data, buffers, copied, synced, process } = terms.sum(maxmemory);
        let term = |name, amount: u128, short: &str, why: String| Term {
            name,
            amount: narrow(amount),
            short: short.to_owned(),
            why,
        };
        let ratio = terms.ratio;
        let mut all = vec![
            term("data", data, &format!("ratio {ratio}"), format!("maxmemory × {ratio}{}", terms.of_ratio())),
            term("buffers", buffers, "", terms.of_buffers()),
            term(
                "clients",
                terms.clients.0.into(),
                "",
                "the most that ordinary clients took, at least 16 MiB".to_owned(),
            ),
        ];
        if terms.scripts > Bytes::ZERO {
            let why = "Lua's machines, which this version does not count as used".to_owned();
            all.push(term("scripts", terms.scripts.0.into(), "", why));
        }
        all.push(if synced > copied {
            let why = if terms.twice {
                "repl-diskless-load swapdb: the new data is loaded beside the old; more than a fork copies"
            } else {
                "what a replica was seen to hold back of the stream; more than a fork copies"
            };
            term("full sync", synced, if terms.twice { "swapdb" } else { "" }, why.to_owned())
        } else {
            term("copy-on-write", copied, &terms.short_of_copied(), terms.of_copied())
        });
        all.push(term("process", process, "", "12 MiB, and 3.5 % of maxmemory for the allocator".to_owned()));
        let held: u128 = all.iter().map(|term| u128::from(term.amount.0)).sum();
        let spare = (held * 100).div_ceil(FOR_DATA_PERCENT) - held;
        all.push(term(
            "spare",
            spare,
            "5 %",
            "dirty pages of files, the kernel's own, errors of measurement".to_owned(),
        ));
        all
    }
}

impl Terms {
    fn sum(&self, maxmemory: Bytes) -> Sum {
        let bytes = u128::from(maxmemory.0);
        let data = (bytes * u128::from(self.ratio.0)).div_ceil(100);
        let may_hold = self.buffer_limit.min(Bytes(maxmemory.0 / 4).max(self.unsent));
        Sum {
            data,
            buffers: u128::from(self.uncounted.max(may_hold).0),
            copied: (data * u128::from(self.copied.0)).div_ceil(100),
            synced: if self.twice { data } else { u128::from(self.sync_buffer.0) },
            process: u128::from(PROCESS_BASE.0) + (bytes * u128::from(METADATA_PER_MILLE)).div_ceil(1000),
        }
    }

    const fn of_ratio(&self) -> &'static str {
        match self.evidence {
            Evidence::NotYet | Evidence::Assumed => " (a bound: not measured)",
            _ if self.ratio.0 <= LEAST_RATIO.0 => " (the least that is taken)",
            _ => " (no more was resident for used memory in 95 % of the last day)",
        }
    }

    fn of_buffers(&self) -> String {
        let limit = match self.buffer_limit {
            Bytes::ZERO => return "the most that was seen; there is no replica".to_owned(),
            UNLIMITED => "no limit is set".to_owned(),
            limit => limit.to_string(),
        };
        let written = match self.unsent {
            Bytes::ZERO => String::new(),
            unsent => format!(", or {unsent} that are written until one that does not answer is cut off"),
        };
        format!(
            "what replicas may leave unsent ({limit}; at most a quarter of maxmemory{written}), or more that was seen"
        )
    }

    fn short_of_copied(&self) -> String {
        match self.copied_by {
            Copied::Never => "no fork".to_owned(),
            Copied::WriteHeavy => "all of it: write-heavy".to_owned(),
            Copied::Seen | Copied::ByWrites | Copied::Unknown => format!("{} %", self.copied.0),
        }
    }

    fn of_copied(&self) -> String {
        match self.copied_by {
            Copied::Never => "nothing is saved, nothing replicates, and no fork was seen".to_owned(),
            Copied::WriteHeavy => {
                "more than 1 MiB of writes a second, and no fork was measured under as many".to_owned()
            }
            Copied::ByWrites => {
                format!("{} % of the data by its writes: no fork was measured under as many", self.copied.0)
            }
            Copied::Seen => format!("{} % of the data: 1.5 × the most that a fork was seen to copy", self.copied.0),
            Copied::Unknown => format!("{} % of the data (a bound: no fork was measured)", self.copied.0),
        }
    }
}

impl Evidence {
    /// What a reader of the numbers must know of them.
    pub const fn remark(self) -> &'static str {
        match self {
            Self::Measured => "",
            Self::InPart => " (not every member is measured yet)",
            Self::NotYet => " (not measured yet: bounds)",
            Self::Assumed => " (bounds: nothing is measured)",
        }
    }
}

fn narrow(bytes: u128) -> Bytes {
    Bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
