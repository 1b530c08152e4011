//! Whatever is used, set, allowed and remembered, no key goes.

use proptest::prelude::*;

use super::*;
use crate::domain::{policy::HeadroomMethod, shard::ShardId};

/// Any amount; mostly one that meets the others.
fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0_u64..1 << 42, 1 => any::<u64>()]
}

/// A world in which that is used, set (or nothing is) and allowed of each member, by either method.
fn any_world(
    members: [(u64, u64, u64, bool); 3],
    policy: &str,
    (resize, maximum): (bool, Option<u64>),
    (measured, percent, copied): (bool, u32, u32),
) -> World {
    let mut world = World::new(Bytes::ZERO);
    (world.policy.headroom.resize_pod, world.policy.headroom.percent) = (resize, percent);
    world.policy.headroom.maximum_limit = maximum.map(Bytes);
    if measured {
        world.policy.headroom.method = HeadroomMethod::Measured;
        world.measured(copied);
    }
    for (n, (used, maxmemory, limit, bounded)) in members.into_iter().enumerate() {
        world.limit(n, Bytes(limit));
        let memory = &mut world.sample(n).memory;
        (memory.used, memory.maxmemory_policy) = (Bytes(used), policy.into());
        world.maxmemory(n, Bytes(if bounded { maxmemory } else { 0 }));
    }
    world
}

proptest! {
    /// Whatever is used, has been set and is allowed, by either method: no key goes, nothing fits worse than before, and it
    /// comes to rest.
    #[test]
    fn no_value_is_set_that_what_is_used_does_not_bear(
        members in prop::array::uniform3((amount(), amount(), amount(), any::<bool>())),
        policy in prop::sample::select(vec!["noeviction", "volatile-ttl", "allkeys-lru", ""]),
        allowed in (any::<bool>(), prop::option::of(amount())),
        method in (any::<bool>(), 10_u32..=400, 0_u32..=200),
    ) {
        let mut world = any_world(members, policy, allowed, method);
        let before = world.have();
        world.settle();
        let most_used = world.snapshot.targets.iter().map(|it| it.sample().unwrap().memory.used).max().unwrap();
        for (now, before) in world.have().into_iter().zip(before) {
            if now != before {
                let (now, used) = (u128::from(now.0), u128::from(most_used.0));
                let room = if policy == "allkeys-lru" { now * 100 >= used * 110 } else { now * 75 >= used * 100 };
                prop_assert!(room, "{now} for {used}");
                prop_assert!(before == Bytes::ZERO || now < u128::from(before.0), "what people set is never raised");
            }
        }
    }

    /// What is remembered stands in a status that anybody may edit. Where a value of ours comes back less than it is used.
    #[test]
    fn whatever_is_remembered_no_key_goes(
        members in prop::array::uniform3((amount(), amount(), amount(), any::<bool>())),
        allowed in (any::<bool>(), prop::option::of(amount())),
        method in (any::<bool>(), 10_u32..=400, 0_u32..=200),
        values in prop::collection::vec(any::<i64>(), 0..9),
        (end, held, before, hours) in (any::<i64>(), any::<i64>(), any::<i64>(), 0_i64..48),
    ) {
        let mut world = any_world(members, "allkeys-lru", allowed, method);
        let members = world.snapshot.targets.iter().filter_map(identity).collect();
        let at = NOW - SignedDuration::from_hours(hours);
        let shard = ShardId::whole(fixtures::set_uid());
        let mut record = WorkloadRecord::new(shard, "redis".into(), NOW);
        let own: OwnMaxmemory = serde_json::from_value(serde_json::json!({
            "values": values, "end": end, "held": held, "before": before, "at": at, "members": [],
        }))
        .unwrap();
        record.maxmemory = Some(Box::new(OwnMaxmemory { members, ..own }));
        world.records = vec![record];
        // Each value that is set is checked.
        world.settle();
    }
}
