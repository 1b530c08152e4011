//! A set under Sentinel: its Sentinels decide who is primary, and tell clients. Watched, not remediated yet.

use super::{Handover, Rogue, Rules, Shard};
use crate::domain::{
    blocked::{BlockReason, Blocked},
    journal::Journal,
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
        let text = "a Sentinel is connected to a member; a switchover behind its back would be undone by it, so sets \
                    under Sentinel are watched but not restarted by this version";
        Some(Blocked::new(BlockReason::SentinelSeen, text).ruling())
    }

    fn handover(&self, _: &Shard<'_>) -> Handover {
        Handover::Never
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
