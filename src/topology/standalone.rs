//! One member: nothing can take over from it, so it is restarted as the primary that it is.

use super::{Handover, Rogue, Rules, Shard, sentinel};
use crate::domain::{blocked::Blocked, journal::Journal};

pub(super) struct Standalone;

impl Rules for Standalone {
    fn refusal(&self, shard: &Shard<'_>) -> Option<Blocked> {
        sentinel::untold(shard)
    }

    fn handover(&self, _: &Shard<'_>) -> Handover {
        Handover::InPlace
    }

    fn one_is_meant(&self, _: &Shard<'_>) -> bool {
        true
    }

    fn settles_itself(&self) -> bool {
        false
    }

    fn rogue<'a>(&self, _: &Shard<'a>, _: &Journal) -> Rogue<'a> {
        Rogue::Clear
    }
}
