//! What a run is like: everything in it follows from its number, so that a failure can be run again.

use std::time::Duration;

use redis_memory_operator::domain::bytes::{Bytes, MIB};

use crate::common::rng::Rng;

/// A primary cuts off a replica that has not answered for so long: the default of `repl-timeout`.
pub(crate) const REPLICA_TIMEOUT: Duration = Duration::from_secs(60);

/// What takes memory beside the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Load {
    /// One server alone saves while keys are overwritten.
    Save,
    /// A replica stands still until it would be cut off, and the primary saves while it is written to.
    StalledReplica,
    /// Clients ask for large replies and do not read them, while a replica syncs fully and keys are overwritten.
    StalledClients,
}

impl Load {
    pub(crate) const ALL: [Self; 3] = [Self::Save, Self::StalledReplica, Self::StalledClients];

    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Save => "save under writes",
            Self::StalledReplica => "stalled replica",
            Self::StalledClients => "stalled clients",
        }
    }
}

/// How much is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writes {
    /// 256 KiB a second: a fork copies a fifth of the pages.
    Few,
    /// 768 KiB a second: half.
    Some,
    /// 3 MiB a second of small values: nearly all, while a child writes the data at 50 MB a second (ADR 0023).
    Many,
}

impl Writes {
    pub(crate) const ALL: [Self; 3] = [Self::Few, Self::Some, Self::Many];

    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Few => "256 KiB/s",
            Self::Some => "768 KiB/s",
            Self::Many => "3 MiB/s",
        }
    }

    const fn a_second(self) -> u64 {
        match self {
            Self::Few => 256 * 1024,
            Self::Some => 768 * 1024,
            Self::Many => 3 * MIB,
        }
    }
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) load: Load,
    /// Writes in the load.
    pub(crate) writes: Writes,
    /// The same on the day before, in percent of it: the load may be half as much again.
    pub(crate) before_percent: u64,
    /// A fork was seen at work on the day before, under the writes of that day.
    pub(crate) fork_seen: bool,
    pub(crate) maxmemory: Bytes,
    pub(crate) eviction: &'static str,
    /// Hard limit of a replica's output buffer.
    pub(crate) replica_limit: Bytes,
    /// What the clients ask for and do not read.
    pub(crate) unread: Bytes,
}

impl Plan {
    /// Each load in turn; of four of each two write much.
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 3);
        Self {
            seed,
            load: Load::ALL[usize::try_from(seed % 3).expect("small")],
            writes: [Writes::Many, Writes::Many, Writes::Some, Writes::Few]
                [usize::try_from(seed / 3 % 4).expect("small")],
            before_percent: rng.pick(&[67, 80, 100]),
            fork_seen: rng.percent(67),
            maxmemory: Bytes::mib(rng.pick(&[128, 160, 192])),
            eviction: rng.pick(&["noeviction", "allkeys-lru"]),
            // The default, and what a small server is given by people who know.
            replica_limit: Bytes::mib(rng.pick(&[32, 64, 256])),
            unread: Bytes::mib(rng.pick(&[32, 40, 48])),
        }
    }

    /// Bytes of writes a second in the load.
    pub(crate) const fn rate(&self) -> u64 {
        self.writes.a_second()
    }

    /// The same on the day before.
    pub(crate) const fn rate_before(&self) -> u64 {
        self.rate() * self.before_percent / 100
    }

    pub(crate) const fn members(&self) -> usize {
        match self.load {
            Load::Save => 1,
            Load::StalledReplica | Load::StalledClients => 2,
        }
    }
}
