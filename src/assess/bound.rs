//! What `maxmemory` servers may get that have none: one judgement for the finding of a pod and for the command of its set.

use super::headroom::{self, Demand};
use crate::domain::{bytes::Bytes, snapshot::Target};

/// Where the limit is to be raised first, the new bound leaves the data this much, in percent of what is used.
const ROOM_TO_GROW_PERCENT: u32 = 125;

/// What the members of a set have together: what one of them holds another has to bear when it follows it, or leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The least of their limits.
    pub limit: Bytes,
    /// The most that one of them uses.
    pub used: Bytes,
}

/// What bounds all members of a set alike, by their headroom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// This `maxmemory`, for which the least limit is enough, and by which no key goes.
    Fits(Bytes),
    /// No `maxmemory` that fits leaves what is used: the limits are to be raised first.
    AfterARaise {
        /// The limit that each member needs.
        limit: Bytes,
        /// The `maxmemory` that it bears.
        maxmemory: Bytes,
    },
}

impl Room {
    /// Of these members. `None`: none of them has a limit, or none answers.
    pub fn of<'a>(members: impl IntoIterator<Item = &'a Target>) -> Option<Self> {
        let (mut limit, mut used): (Option<Bytes>, Option<Bytes>) = (None, None);
        for member in members {
            let its = member.pod.limit();
            limit = limit.into_iter().chain(its).min();
            used = used.into_iter().chain(member.sample().map(|sample| sample.memory.used)).max();
        }
        Some(Self { limit: limit?, used: used? })
    }

    /// The largest `maxmemory` for which the least limit is enough and by which no key goes; `None`: there is none.
    pub fn bears(self, demand: &Demand) -> Option<Bytes> {
        let bears = demand.bearable(self.limit);
        (bears > Bytes::ZERO && bears >= self.used.percent(headroom::ABOVE_USED_PERCENT)).then_some(bears)
    }

    /// What bounds them.
    pub fn bound(self, demand: &Demand) -> Bound {
        if let Some(fits) = self.bears(demand) {
            return Bound::Fits(fits);
        }
        // Of what is used as it is shown: what grows all the time does not change what is said all the time.
        let limit = demand.limit(self.used.quantised().percent(ROOM_TO_GROW_PERCENT));
        Bound::AfterARaise { limit, maxmemory: demand.bearable(limit) }
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{
        fixtures,
        snapshot::{Observation, Snapshot},
    };

    fn members(limits: [u64; 3], used: [u64; 3]) -> Snapshot {
        let mut snapshot = fixtures::three_pods();
        for (n, target) in snapshot.targets.iter_mut().enumerate() {
            let container = target.pod.container.as_mut().unwrap();
            (container.spec_limit, container.live_limit) = (Some(Bytes::mib(limits[n])), Some(Bytes::mib(limits[n])));
            target.sample_mut().unwrap().memory.used = Bytes::mib(used[n]);
        }
        snapshot
    }

    fn bound(limits: [u64; 3], used: [u64; 3]) -> Bound {
        let snapshot = members(limits, used);
        Room::of(&snapshot.targets).unwrap().bound(&Demand::assumed(&fixtures::policy().headroom))
    }

    #[test]
    fn the_least_limit_and_the_fullest_member_count() {
        assert_eq!(bound([1024, 768, 2048], [69, 69, 69]), Bound::Fits(Bytes::mib(512)));
        // 465 MiB and a tenth are no more than 512.
        assert_eq!(bound([1024, 768, 2048], [69, 69, 465]), Bound::Fits(Bytes::mib(512)));
        let raised = Bound::AfterARaise { limit: Bytes::mib(938), maxmemory: Bytes::mib(625) };
        assert_eq!(bound([1024, 768, 2048], [69, 69, 500]), raised);
    }

    // Found by seed 589: a status was written every three seconds.
    #[test]
    fn what_grows_all_the_time_does_not_change_what_is_said_all_the_time() {
        assert_eq!(bound([384; 3], [366; 3]), bound([384; 3], [374; 3]));
        assert_ne!(bound([384; 3], [366; 3]), bound([384; 3], [376; 3]));
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let mut snapshot = members([1024, 768, 2048], [69; 3]);
        snapshot.targets[1].redis = Observation::Pending;
        assert_eq!(Room::of(&snapshot.targets), Some(Room { limit: Bytes::mib(768), used: Bytes::mib(69) }));
        for target in &mut snapshot.targets {
            target.pod.container.as_mut().unwrap().live_limit = None;
            target.pod.container.as_mut().unwrap().spec_limit = None;
        }
        assert_eq!(Room::of(&snapshot.targets), None);
    }

    proptest! {
        #[test]
        fn by_no_bound_a_key_goes_and_its_limit_is_enough(limit in 1_u64..100_000, used in 0_u64..100_000) {
            let demand = Demand::assumed(&fixtures::policy().headroom);
            let room = Room { limit: Bytes::mib(limit), used: Bytes::mib(used) };
            let (limit, maxmemory) = match room.bound(&demand) {
                Bound::Fits(maxmemory) => (room.limit, maxmemory),
                Bound::AfterARaise { limit, maxmemory } => (limit, maxmemory),
            };
            prop_assert!(demand.exactly(maxmemory) <= limit);
            prop_assert!(maxmemory >= room.used);
        }
    }
}
