//! Ordinary obstacles in the middle of a remediation: what is said of them, that the slot is given back, and that what is
//! left goes on when they have gone.

use super::*;
use redis_memory_operator::domain::{names::ControllerUid, snapshot::ProbeFailure};

/// Looks until the remediation ends; before each look `world` may change. Ten seconds pass while it waits.
pub(super) fn until_it_ends(
    world: &mut World,
    mut journal: Journal,
    mut change: impl FnMut(&mut World, &Journal),
) -> WorkloadRecord {
    for _ in 0..4000 {
        change(world, &journal);
        match world.look(&mut journal) {
            Next::End(record) => return *record,
            Next::Record(_) | Next::Act(..) => {}
            Next::Wait(..) | Next::Gate(..) => world.tick(10),
            other => panic!("no look at a remediation says {other:?}"),
        }
    }
    panic!("it did not end; at {:?}", journal.step());
}

fn is_at(journal: &Journal, kind: StepKind, pod: &str) -> bool {
    journal.step().is_some_and(|step| step.kind() == kind && step.pod().as_str() == pod)
}

fn reasons(world: &World) -> Vec<BlockReason> {
    begin::consider(&world.ctx()).blocked.iter().map(|blocked| blocked.reason).collect()
}

/// The next remediation does what is left, and succeeds.
fn goes_on(world: &mut World, record: WorkloadRecord, left: &[(&'static str, &str)]) {
    world.records = vec![record];
    world.done.clear();
    let journal = begin::consider(&world.ctx()).begin.unwrap_or_else(|| panic!("blocked: {:?}", reasons(world)));
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    let left: Vec<_> = left.iter().map(|(kind, pod)| (*kind, (*pod).to_owned())).collect();
    assert_eq!(world.done, left);
}

const LEFT_AFTER_REDIS_1: [(&str, &str); 4] =
    [("Evict", "redis-2"), ("Switchover", "redis-1"), ("Repoint", "redis-2"), ("Evict", "redis-0")];

#[test]
fn a_replacement_that_no_node_has_room_for_times_out_and_what_is_left_goes_on_when_it_is_there() {
    let mut world = World::new();
    let journal = world.reach(|step| step.kind() == StepKind::AwaitReplica);
    let there = world.snapshot.targets[1].redis.clone();
    let pod = &mut world.snapshot.targets[1].pod;
    (pod.ready, pod.running) = (false, false);
    pod.trouble = Some("no node takes it (0/3 nodes are available: 3 Insufficient memory)".into());
    world.snapshot.targets[1].redis = Observation::Pending;
    let record = until_it_ends(&mut world, journal, |_, _| ());
    assert_eq!(record.outcome, Some(Outcome::TimedOut));
    assert!(record.message.contains("redis-1") && record.message.contains("Insufficient memory"), "{}", record.message);
    world.records = vec![record.clone()];
    let considered = begin::consider(&world.ctx());
    assert_eq!(considered.begin, None);
    let text = &considered.blocked[0].text;
    assert!(text.contains("redis-1") && text.contains("Insufficient memory"), "{text}");

    let target = &mut world.snapshot.targets[1];
    (target.pod.ready, target.pod.running, target.pod.trouble) = (true, true, None);
    target.redis = there;
    world.tick(15);
    goes_on(&mut world, record, &LEFT_AFTER_REDIS_1);
}

#[test]
fn a_replacement_that_a_quota_keeps_from_being_created_times_out() {
    let mut world = World::new();
    let journal = world.reach(|step| step.kind() == StepKind::AwaitReplica);
    let away = world.snapshot.targets.remove(1);
    let record = until_it_ends(&mut world, journal, |_, _| ());
    assert_eq!(record.outcome, Some(Outcome::TimedOut));
    assert!(record.message.contains("the replacement of redis-1 does not exist yet"), "{}", record.message);
    world.records = vec![record.clone()];
    assert_eq!(begin::consider(&world.ctx()).begin, None);
    world.snapshot.targets.insert(1, away);
    world.tick(15);
    goes_on(&mut world, record, &LEFT_AFTER_REDIS_1);
}

#[test]
fn a_replacement_with_another_password_is_named_with_the_reason() {
    let mut world = World::new();
    let journal = world.reach(|step| step.kind() == StepKind::AwaitReplica);
    let failure = ProbeFailure::AuthenticationFailed("WRONGPASS".into());
    world.snapshot.targets[1].redis = Observation::Failed(failure);
    let record = until_it_ends(&mut world, journal, |_, _| ());
    assert_eq!(record.outcome, Some(Outcome::TimedOut));
    assert!(record.message.contains("redis-1") && record.message.contains("WRONGPASS"), "{}", record.message);
}

#[test]
fn a_set_that_is_scaled_up_gets_a_plan_with_the_new_member() {
    let mut world = World::new();
    let journal = world.reach(|step| matches!(step, Step::Evict { pod } if pod.as_str() == "redis-2"));
    let mut joined = fixtures::target(3);
    joined.pod.role_label = Some("replica".into());
    let Observation::Seen(sample) = &mut joined.redis else { panic!("a sample") };
    (sample.memory.rss, sample.memory.ratio) = (Bytes::mib(80), Ratio(115));
    joined.history.clear();
    let service = &mut world.snapshot.services[0];
    service.takes.push(joined.pod.name.clone());
    world.snapshot.targets.push(joined);
    world.snapshot.stateful_sets[0].replicas = 4;
    world.sample(0).replication.replicas.push(fixtures::replica_line(3));
    world.tick(15);
    let record = until_it_ends(&mut world, journal, |_, _| ());
    assert_eq!(record.outcome, Some(Outcome::Superseded));
    assert!(record.message.contains("redis-3 has joined the set"), "{}", record.message);
    world.records = vec![record];
    // The new one started a minute ago: that is no reason for it not to follow the new primary.
    let plan = begin::consider(&world.ctx()).plan.expect("what is left is due");
    let repoints = plan.steps.iter().filter(|planned| planned.step.kind() == StepKind::Repoint).count();
    let evicted: Vec<_> = redis_memory_operator::plan::order::restarted_pods(&plan.steps);
    assert_eq!((evicted.len(), repoints), (2, 2), "{:?}", plan.steps);
    assert!(begin::consider(&world.ctx()).begin.is_some(), "{:?}", reasons(&world));
}

/// The replicas are behind at every look, each time by another amount.
#[test]
fn replicas_that_are_always_a_little_behind_hold_nothing_up() {
    let mut world = World::new();
    let journal = world.begin();
    let mut looks = 0_u64;
    let record = until_it_ends(&mut world, journal, |world, _| {
        looks += 1;
        let primary = world.primary;
        let sample = world.sample(primary);
        sample.replication.offset += 250_000;
        let now = sample.replication.offset;
        for (n, line) in (1..).zip(&mut sample.replication.replicas) {
            line.offset = now - (looks * 37_000 * n) % 900_000 - 1;
        }
    });
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(world.done, full_order());
}

#[test]
fn a_replica_that_is_too_far_behind_now_and_then_is_only_waited_for() {
    let mut world = World::new();
    let journal = world.begin();
    let mut looks = 0;
    let record = until_it_ends(&mut world, journal, |world, _| {
        looks += 1;
        let primary = world.primary;
        let sample = world.sample(primary);
        sample.replication.offset = 100_000_000;
        let behind = if looks % 3 == 0 { 40_000_000 } else { 10 };
        sample.replication.replicas.iter_mut().for_each(|line| line.offset = 100_000_000 - behind);
    });
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(world.done, full_order());
}

#[test]
fn a_replica_that_never_catches_up_is_given_up_and_holds_no_slot() {
    let mut world = World::new();
    let journal = world.begin();
    let begun = world.now;
    let record = until_it_ends(&mut world, journal, |world, _| {
        world.sample(0).replication.replicas[1].offset = 0;
        world.sample(0).replication.offset = 100_000_000;
        world.sample(0).replication.replicas[0].offset = 100_000_000;
    });
    assert_eq!(record.outcome, Some(Outcome::GaveUp), "{}", record.message);
    assert!(record.message.contains("redis-2 is 95"), "{}", record.message);
    assert!(world.now.duration_since(begun).as_secs() < 1900);
    world.records = vec![record];
    assert_eq!(reasons(&world), [BlockReason::ReplicaNotSynced]);
}

#[test]
fn a_save_that_runs_for_hours_is_given_up_and_begun_anew_when_it_is_over() {
    let mut world = World::new();
    let journal = world.begin();
    let record = until_it_ends(&mut world, journal, |world, journal| {
        world.sample(0).persistence.child_running = is_at(journal, StepKind::Evict, "redis-2");
    });
    assert_eq!(record.outcome, Some(Outcome::GaveUp));
    assert!(record.message.contains("MemberBusy: redis-0 is saving"), "{}", record.message);
    assert!(record.message.contains("1 of 3 pods restarted, redis-2, redis-0 left"), "{}", record.message);
    world.records = vec![record.clone()];
    assert_eq!(reasons(&world), [BlockReason::MemberBusy]);
    world.sample(0).persistence.child_running = false;
    goes_on(&mut world, record, &LEFT_AFTER_REDIS_1);
}

#[test]
fn memory_that_grows_to_the_limit_in_the_middle_stops_further_evictions() {
    let mut world = World::new();
    let journal = world.begin();
    let record = until_it_ends(&mut world, journal, |world, journal| {
        if is_at(journal, StepKind::Evict, "redis-2") {
            world.sample(0).memory.rss = Bytes::mib(1020);
        }
    });
    assert_eq!(record.outcome, Some(Outcome::GaveUp));
    assert!(record.message.contains("FullSyncHeadroom: redis-0"), "{}", record.message);
    assert_eq!(world.done, full_order()[..1]);
}

#[test]
fn a_role_label_that_somebody_keeps_setting_back_is_given_up() {
    let mut world = World::new();
    let journal = world.begin();
    let record = until_it_ends(&mut world, journal, |world, journal| {
        if is_at(journal, StepKind::Evict, "redis-2") {
            world.snapshot.targets[1].pod.role_label = Some("cache".into());
        }
    });
    assert_eq!(record.outcome, Some(Outcome::GaveUp));
    assert!(record.message.contains("RoleLabelWrong: redis-1 must carry"), "{}", record.message);
    world.records = vec![record.clone()];
    assert_eq!(reasons(&world), [BlockReason::RoleLabelWrong]);
    world.snapshot.targets[1].pod.role_label = Some("replica".into());
    goes_on(&mut world, record, &LEFT_AFTER_REDIS_1);
}

/// A long preStop: the pod is going, and is still what it was.
#[test]
fn nothing_is_handed_over_from_or_to_a_pod_that_is_being_drained() {
    for (n, name) in [(0, "redis-0"), (1, "redis-1"), (2, "redis-2")] {
        let mut world = World::new();
        let journal = world.reach(|step| step.kind() == StepKind::Switchover);
        world.snapshot.targets[n].pod.terminating = true;
        let begun = world.now;
        let record = until_it_ends(&mut world, journal.clone(), |world, _| {
            // Its hook is over after ten minutes.
            if world.now.duration_since(begun).as_secs() > 600 {
                world.snapshot.targets.retain(|target| target.pod.name.as_str() != name);
            }
        });
        assert_eq!(record.outcome, Some(Outcome::Superseded), "{}", record.message);
        assert!(record.message.contains(name), "{}", record.message);
        assert_eq!(world.done, full_order()[..2], "{name}");

        // A finalizer keeps it for ever.
        let mut world = World::new();
        let journal = world.reach(|step| step.kind() == StepKind::Switchover);
        world.snapshot.targets[n].pod.terminating = true;
        let record = until_it_ends(&mut world, journal, |_, _| ());
        assert_eq!(record.outcome, Some(Outcome::GaveUp), "{}", record.message);
        assert!(record.message.contains(&format!("{name} is being deleted")), "{}", record.message);
        world.records = vec![record];
        assert_eq!(reasons(&world), [BlockReason::MemberNotReady]);
    }
}

/// A second set under the same policy: the same pods under other names and addresses.
fn another_set(world: &mut World, name: &str) {
    let uid = ControllerUid::new(format!("uid-of-{name}"));
    for n in 0..3_u8 {
        let mut target = fixtures::target(n);
        let to_other =
            |text: &str| text.replace("redis-", &format!("{name}-")).replace(".redis.", &format!(".{name}."));
        target.pod.name = PodName::new(to_other(target.pod.name.as_str()));
        target.pod.uid = PodUid::new(format!("{name}-{n}"));
        target.pod.dns_name = target.pod.dns_name.as_deref().map(to_other);
        target.pod.addresses =
            redis_memory_operator::domain::addresses::PodAddresses::of([format!("10.0.9.{n}").as_str()]);
        let owner = target.pod.owner.as_mut().expect("an owner");
        (owner.name, owner.uid) = (name.to_owned(), uid.clone());
        let Observation::Seen(sample) = &mut target.redis else { panic!("a sample") };
        sample.pod_uid = target.pod.uid.clone();
        if let Role::Replica(link) = &mut sample.replication.role {
            link.primary.host = to_other(&link.primary.host);
        }
        for (replica, line) in (1..).zip(&mut sample.replication.replicas) {
            line.address.host = format!("10.0.9.{replica}");
        }
        world.snapshot.targets.push(target);
    }
    let pods = (0..3).map(|n| PodName::new(format!("{name}-{n}"))).collect();
    let mut service = fixtures::primary_service(pods, vec![PodUid::new(format!("{name}-0"))]);
    service.name = format!("{name}-primary");
    world.snapshot.services.push(service);
    let set =
        redis_memory_operator::domain::pod::StatefulSet { uid, name: name.to_owned(), ..fixtures::stateful_set() };
    world.snapshot.stateful_sets.push(set);
}

fn begun(world: &World) -> Option<String> {
    begin::consider(&world.ctx()).begin.map(|journal| journal.workload_name)
}

#[test]
fn a_broken_set_does_not_hold_the_other_one_of_its_policy_back() {
    let mut world = World::new();
    another_set(&mut world, "cart");
    assert_eq!(begun(&world).as_deref(), Some("cart"), "the first by name");
    let failure = Observation::Failed(ProbeFailure::AuthenticationFailed("WRONGPASS".into()));
    let broken = world.snapshot.targets.iter().position(|target| target.pod.name.as_str() == "cart-2").unwrap();
    let well = std::mem::replace(&mut world.snapshot.targets[broken].redis, failure);
    world.snapshot.unasked = vec!["cart-2".into()];
    assert_eq!(begun(&world).as_deref(), Some("redis"));
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    // It answers again, but not yet what its user may do.
    world.records = vec![record];
    world.snapshot.targets[broken].redis = well;
    world.tick(15);
    assert_eq!((begun(&world), reasons(&world)), (None, vec![BlockReason::PermissionMissing]));
    world.snapshot.unasked.clear();
    assert_eq!(begun(&world).as_deref(), Some("cart"));
}

#[test]
fn a_set_whose_remediation_times_out_again_and_again_gives_the_other_its_turn() {
    let mut world = World::new();
    another_set(&mut world, "cart");
    let mut records: Vec<WorkloadRecord> = Vec::new();
    let mut order = Vec::new();
    for _ in 0..4 {
        let Some(journal) = begin::consider(&world.ctx()).begin else { break };
        order.push(journal.workload_name.clone());
        let cart = journal.workload_name == "cart";
        let record = until_it_ends(&mut world, journal, |world, journal| {
            let waits = cart && journal.step().is_some_and(|step| step.kind() == StepKind::Evict);
            let sick = world.snapshot.targets.iter_mut().find(|target| target.pod.name.as_str() == "cart-2").unwrap();
            sick.pod.ready = !waits;
        });
        let sick = world.snapshot.targets.iter_mut().find(|target| target.pod.name.as_str() == "cart-2").unwrap();
        sick.pod.ready = true;
        records.retain(|before| before.shard != record.shard);
        records.push(record);
        world.records = records.clone();
    }
    assert!(order.contains(&"redis".to_owned()), "{order:?}");
}

// It could be chosen all the same, whatever it lacks by then.
#[test]
fn no_second_attempt_is_made_without_a_member_that_has_fallen_silent() {
    let mut world = sentinels::watched();
    let mut journal = sentinels::begun(&mut world);
    journal.current.failures = 1;
    journal.current.switchover.as_mut().expect("it was begun").settled = true;
    world.snapshot.targets[2].redis = Observation::Failed(ProbeFailure::TimedOut("silent".into()));
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Superseded));
    assert!(record.message.contains("redis-2 does not answer, and redis-0 is still primary"), "{}", record.message);
}
