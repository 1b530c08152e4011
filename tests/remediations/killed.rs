//! The kernel kills the primary for its limit: the role goes to the replica that has room, and stays there.

use redis_memory_operator::domain::oom::{Cause, PodKills};

use super::*;

/// The policy raises no limit; redis-2 has what 800 MiB need.
fn world() -> World {
    let mut world = World::new();
    world.policy.headroom.resize_pod = false;
    for n in 0..3 {
        world.without_waste(n);
        world.sample(n).memory.maxmemory = Bytes::mib(800);
        let limit = Some(Bytes::mib(if n == 2 { 1200 } else { 1024 }));
        let container = world.snapshot.targets[n].pod.container.as_mut().unwrap();
        (container.spec_limit, container.live_limit) = (limit, limit);
    }
    assert!(begin::consider(&world.ctx()).plan.is_none(), "nothing is due");
    let pod = &world.snapshot.targets[0].pod;
    world.snapshot.surroundings.kills = vec![PodKills {
        pod: pod.name.clone(),
        pod_uid: pod.uid.clone(),
        first_at: world.now,
        last_at: world.now,
        times: 1,
        while_loading: 0,
        cause: Cause::Fork,
        evidence: "last seen with used about 780 MiB".into(),
        loading_limit_bytes: None,
    }];
    world
}

#[test]
fn the_role_goes_to_the_roomier_replica_and_stays_there() {
    let mut world = world();
    let journal = world.begin();
    assert!(journal.leaves_sick);
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(record.message, "redis-2 has the primary role");
    assert_eq!(record.restarts, [], "nobody is restarted");
    assert_eq!(record.primary.as_ref().map(|primary| primary.pod.as_str()), Some("redis-2"));
    world.records = vec![record];
    assert!(begin::consider(&world.ctx()).plan.is_none(), "what is left of the kill moves nothing back");
}
