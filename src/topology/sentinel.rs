//! A set under Sentinel: its Sentinels decide who is primary, and tell clients. Watched, not remediated yet.

use super::{Handover, Rogue, Rules, Shard};
use crate::domain::{
    blocked::{BlockReason, Blocked},
    journal::{Journal, WorkloadRecord},
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
        Some(Blocked::new(BlockReason::SentinelSeen, why(shard)).ruling())
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

    fn rogue<'a>(&self, _: &Shard<'a>, _: &Journal, _: Option<&WorkloadRecord>) -> Rogue<'a> {
        Rogue::Frozen("the roles are not this operator's to give".to_owned())
    }
}

/// Faults that are shown in a refusal before the rest is only counted.
const SHOWN: usize = 3;

/// What is known of the Sentinels, and what they would have to agree on before anything is restarted.
fn why(shard: &Shard<'_>) -> String {
    let not_yet = "this version does not ask Sentinels for a failover, and a switchover behind their back would be undone: the set is \
                   watched and not restarted";
    let Some(shown) = shard.watch.shown() else {
        return format!(
            "a Sentinel is connected to a member; {not_yet}. No Sentinel has told what it watches: none of the selected pods \
             declares its port; set spec.redis.sentinel.selector to the pods that it runs in"
        );
    };
    let alone = shard.members.iter().filter(|member| shard.watch.is_in(&member.pod.name));
    let without = alone.filter_map(|member| shard.watch.votes(Some(&member.pod.name)));
    let mut all = shard.watch.faults(shard);
    all.extend(shard.watch.unrest());
    if all.is_empty() {
        all.extend(without.take(1));
    }
    let more = all.len().saturating_sub(SHOWN);
    all.truncate(SHOWN);
    let besides = match (all.is_empty(), more) {
        (true, _) => "They agree, and any one pod may be away".to_owned(),
        (false, 0) => format!("Besides: {}", all.join("; ")),
        (false, more) => format!("Besides: {}; and {more} more", all.join("; ")),
    };
    format!("under Sentinel ({shown}); {not_yet}. {besides}")
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
