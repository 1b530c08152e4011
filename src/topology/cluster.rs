//! A shard of a Redis Cluster: its nodes decide who is primary, and redirect clients. Watched, not remediated yet.

use super::{Handover, Rogue, Rules, Shard};
use crate::domain::{
    blocked::{BlockReason, Blocked},
    journal::Journal,
};

pub(super) struct Cluster;

impl Rules for Cluster {
    fn refusal(&self, _: &Shard<'_>) -> Option<Blocked> {
        let text = "a member runs with cluster-enabled yes; Redis Cluster is watched but not restarted by this version";
        Some(Blocked::new(BlockReason::ClusterMode, text).ruling())
    }

    fn handover(&self, _: &Shard<'_>) -> Handover {
        Handover::Never
    }

    fn one_is_meant(&self, _: &Shard<'_>) -> bool {
        false
    }

    fn settles_itself(&self) -> bool {
        true
    }

    fn rogue<'a>(&self, _: &Shard<'a>, _: &Journal) -> Rogue<'a> {
        Rogue::Frozen("the roles are not this operator's to give".to_owned())
    }
}
