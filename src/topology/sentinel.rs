//! A set under Sentinel: its Sentinels decide who is primary, and tell clients. Its role is given by them, when they are
//! told to ([docs/adr/0019](../../docs/adr/0019-the-exchange-under-sentinel.md)).

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use super::{Disturbance, Electors, Fault, Handover, Remains, Rogue, Rules, Shard};
use crate::domain::{
    blocked::{BlockReason, Blocked},
    journal::Journal,
    names::{PodName, RunId},
    sample::Sample,
    snapshot::Target,
};

pub(super) struct Sentinel;

impl Rules for Sentinel {
    fn refusal(&self, shard: &Shard<'_>) -> Option<Blocked> {
        if let (false, Some(at)) = (shard.has_sentinel(), shard.sentinel_before) {
            return Some(Blocked::new(
                BlockReason::SentinelSeen,
                format!(
                    "a Sentinel was connected to a member until {}; it counts for an hour, because one that is away for \
                     a moment would undo a switchover when it is back",
                    at.strftime("%Y-%m-%dT%H:%M:%SZ")
                ),
            ));
        }
        if shard.watch.is_told() {
            return None;
        }
        let faults = shard.watch.faults(shard);
        let which = if faults.is_empty() {
            format!(
                "which one{} is not known: set spec.redis.sentinel.selector to the pods of the Sentinels",
                from(shard)
            )
        } else {
            listed(faults.into_iter().map(|fault| fault.text).collect())
        };
        let text = format!(
            "a Sentinel watches a member, or may, and nothing is restarted that it could take for a failure; {which}"
        );
        Some(Blocked::new(BlockReason::SentinelSeen, text).ruling())
    }

    fn handover(&self, shard: &Shard<'_>) -> Handover {
        let patient = shard.watch.down_after().is_some_and(|after| after > LEAST_DOWN_AFTER);
        if patient && !shard.replicas.is_empty() { Handover::BySentinel } else { Handover::Never }
    }

    fn one_is_meant(&self, shard: &Shard<'_>) -> bool {
        super::replication::one_is_meant(shard)
    }

    fn settles_itself(&self) -> bool {
        true
    }

    fn rogue<'a>(&self, _: &Shard<'a>, _: &Journal) -> Rogue<'a> {
        Rogue::Frozen("the roles are not this operator's to give".to_owned())
    }
}

/// What its Sentinels say.
impl<'a> Shard<'a> {
    /// A Sentinel is connected to a member now, or says that it watches one.
    pub fn has_sentinel(&self) -> bool {
        self.watch.is_told() || self.samples().any(Sample::has_sentinel)
    }

    /// What keeps its Sentinels from failing over, or from agreeing.
    pub fn sentinel_faults(&self) -> Vec<Fault> {
        self.watch.faults(self)
    }

    /// Why its Sentinels do not let that be done now: they do not agree, a failover is in progress or was one lately,
    /// or none would be possible while it is away. `None`: they do, or there are none.
    pub fn sentinels_forbid(&self, what: &Disturbance<'_>) -> Option<Fault> {
        self.watch.forbids(self, what)
    }

    /// What its Sentinels still list of these processes, which we have ended. `calm`: as in [`Disturbance`].
    pub fn sentinels_remember(&self, ended: &[RunId], calm: bool) -> Remains<'_> {
        self.watch.remains(self, ended, calm)
    }

    /// Why a restart of that member would leave an entry in the lists of its Sentinels for ever; `None`: it would not.
    pub fn sentinels_would_remember(&self, pod: &PodName) -> Option<String> {
        self.watch.would_remain(pod)
    }

    /// How its Sentinels are told to give the role of that primary to another member; `None`: none says that it watches.
    pub fn electors(&self, primary: &PodName) -> Option<Electors<'a>> {
        self.watch.electors(primary)
    }

    /// Its Sentinels take a primary for dead so soon (`down-after-milliseconds`) that no role of it can be moved: that long.
    pub fn sentinels_are_hasty(&self) -> Option<Duration> {
        self.watch.down_after().filter(|after| *after <= LEAST_DOWN_AFTER)
    }
}

/// Sentinels that take a primary for dead sooner would begin a failover of their own while the role moves: a pause of 3.6 s
/// was enough where they were told 1.5 s, and all of them name the new primary after at most 2.4 s (measured:
/// docs/adr/0019).
const LEAST_DOWN_AFTER: Duration = Duration::from_secs(3);

/// Faults that are shown in a refusal before the rest is only counted.
const SHOWN: usize = 3;

/// Where Sentinels are connected from.
fn from(shard: &Shard<'_>) -> String {
    let hosts: BTreeSet<IpAddr> = shard.samples().flat_map(|sample| sample.sentinel_hosts.iter().copied()).collect();
    let shown: Vec<String> = hosts.iter().take(SHOWN).map(ToString::to_string).collect();
    if shown.is_empty() { String::new() } else { format!(" (connected from {})", shown.join(", ")) }
}

/// The first of them, and how many more there are.
pub(super) fn listed(mut faults: Vec<String>) -> String {
    let more = faults.len().saturating_sub(SHOWN);
    faults.truncate(SHOWN);
    let shown = faults.join("; ");
    if more > 0 { format!("{shown}; and {more} more") } else { shown }
}

/// Whether a Sentinel watches must be known before a set is taken for one without.
pub(super) fn untold(shard: &Shard<'_>) -> Option<Blocked> {
    let untold = |target: &&&Target| target.sample().is_some_and(|sample| sample.sentinel_seen.is_none());
    let untold: Vec<&str> = shard.members.iter().filter(untold).map(|target| target.pod.name.as_str()).collect();
    (!untold.is_empty()).then(|| {
        let text = format!(
            "whether a Sentinel watches {} could not be told; allow the user to run CLIENT LIST",
            untold.join(", ")
        );
        Blocked::new(BlockReason::SentinelUnknown, text)
    })
}
