//! Sets under Sentinel: replicas are restarted while the Sentinels agree and can do without the pod; the primary's role is
//! theirs.

use pretty_assertions::assert_eq;
use rstest::rstest;

use redis_memory_operator::domain::{blocked::Blocked, sentinel::WatchedSet};

use super::*;

fn watched() -> World {
    let mut world = World::new();
    world.snapshot.sentinels = fixtures::sentinels(&world.snapshot);
    world
}

fn set(world: &mut World, n: usize) -> &mut WatchedSet {
    &mut world.snapshot.sentinels[n].said.as_mut().expect("it answers").sets[0]
}

fn evictions(world: &World) -> Vec<&str> {
    world.done.iter().filter(|(kind, _)| *kind == "Evict").map(|(_, pod)| pod.as_str()).collect()
}

/// The journal at the eviction of the second replica.
fn between(world: &mut World) -> Journal {
    let second = world.snapshot.targets[2].pod.name.clone();
    world.reach(|step| matches!(step, Step::Evict { pod } if *pod == second))
}

fn gate(next: Next) -> Vec<Blocked> {
    let Next::Gate(blocked, _) = next else { panic!("no gate: {next:?}") };
    blocked
}

#[test]
fn the_replicas_are_restarted_and_the_primary_is_refused_with_the_reason() {
    let mut world = watched();
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(evictions(&world), ["redis-1", "redis-2"]);
    assert!(
        !world.done.iter().any(|(kind, _)| ["Switchover", "Repoint", "SetBacklog"].contains(kind)),
        "{:?}",
        world.done
    );
    let considered = begin::consider(&world.ctx());
    let reasons: Vec<_> = considered.blocked.iter().map(|blocked| blocked.reason).collect();
    assert_eq!((considered.begin, reasons), (None, vec![BlockReason::SentinelSeen]));
    assert!(considered.blocked[0].text.starts_with("redis-0 is primary under Sentinel"), "{:?}", considered.blocked);
}

/// As redis-ha has it: a Service for each pod, whose ClusterIP servers and Sentinels name instead of the pod's address.
fn announce(world: &mut World) {
    let (ip, snapshot) = (|n: u8| format!("10.96.0.{n}"), &mut world.snapshot);
    for n in 0..3 {
        let pod = fixtures::pod_name(n);
        let selector = [("statefulset.kubernetes.io/pod-name", pod.as_str())];
        let mut service = fixtures::service(&format!("announce-{n}"), &selector, vec![pod.clone()]);
        service.addresses = ip(n).parse::<std::net::IpAddr>().expect("an address").into();
        snapshot.services.push(service);
    }
    for target in &mut snapshot.targets {
        let replication = &mut target.sample_mut().expect("a sample").replication;
        for (n, line) in (1_u8..).zip(&mut replication.replicas) {
            line.address.host = ip(n);
        }
        if let Role::Replica(link) = &mut replication.role {
            link.primary.host = ip(0);
        }
    }
}

#[test]
fn replicas_that_are_known_by_the_addresses_of_their_services_are_restarted() {
    let mut world = watched();
    announce(&mut world);
    let journal = world.begin();
    assert_eq!(world.walk(journal, None).outcome, Some(Outcome::Succeeded));
    // Without its Service the address is nobody's.
    let mut world = watched();
    announce(&mut world);
    world.snapshot.services.retain(|service| service.name != "announce-1");
    let considered = begin::consider(&world.ctx());
    let reasons: Vec<_> = considered.blocked.iter().map(|blocked| blocked.reason).collect();
    assert_eq!(reasons, [BlockReason::MemberOutsideSelector, BlockReason::ReplicaNotSynced]);
}

#[rstest]
#[case::a_replica_that_is_back_is_not_listed(|w: &mut World| drop(set(w, 0).replicas.remove(0)), "does not list the replica redis-1")]
#[case::a_failover(|w: &mut World| set(w, 1).failing_over = true, "a failover is in progress")]
#[case::one_is_silent(|w: &mut World| {
    let said = &mut w.snapshot.sentinels[1].said;
    *said = Err(redis_memory_operator::domain::snapshot::ProbeFailure::TimedOut("no answer".into()));
}, "the Sentinel in redis-1 gives no answer")]
#[case::a_vote_is_missing(|w: &mut World| (0..3).for_each(|n| set(w, n).quorum = 3), "while redis-2 is away, and 3 must")]
fn the_next_replica_waits_until_the_sentinels_can_do_without_it(#[case] change: fn(&mut World), #[case] text: &str) {
    let mut world = watched();
    let mut journal = between(&mut world);
    change(&mut world);
    // The first look writes down since when it waits.
    if let Next::Record(next) = advance::next(&world.ctx(), &journal, false) {
        journal = *next;
    }
    let blocked = gate(advance::next(&world.ctx(), &journal, false));
    assert_eq!(blocked[0].reason, BlockReason::SentinelsNotReady);
    assert!(blocked[0].text.contains(text), "{blocked:?}");
    world.snapshot.sentinels = fixtures::sentinels(&world.snapshot);
    let record = world.walk(journal, None);
    assert_eq!((record.outcome, evictions(&world)), (Some(Outcome::Succeeded), vec!["redis-1", "redis-2"]));
}

/// What never comes ends it within `stepTimeout`, and what is left is tried again.
#[test]
fn sentinels_that_never_agree_are_given_up() {
    let mut world = watched();
    let mut journal = between(&mut world);
    set(&mut world, 0).replicas.remove(0);
    for _ in 0..100 {
        match advance::next(&world.ctx(), &journal, false) {
            Next::Record(next) => journal = *next,
            Next::Gate(..) => world.tick(60),
            Next::End(record) => {
                assert_eq!(record.outcome, Some(Outcome::GaveUp));
                assert!(record.message.contains("SentinelsNotReady"), "{}", record.message);
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("it never ended");
}

/// Their own reconfiguration is under way: two who lead one replica would fight.
#[test]
fn a_replacement_that_follows_a_replica_is_left_to_the_sentinels() {
    let mut world = watched();
    let journal = world.reach(|step| step.kind() == StepKind::AwaitReplica);
    let Role::Replica(link) = &mut world.sample(1).replication.role else { panic!("a replica") };
    (link.primary, link.link_up) = (fixtures::stable_address(2), false);
    world.sample(1).replication.replid = "another".into();
    let next = advance::next(&world.ctx(), &journal, false);
    assert!(matches!(&next, Next::Wait(why, _) if why.contains("redis-1 follows redis-2")), "{next:?}");
}

/// A plan that was made for a set whose roles were ours does not outlive the first word of a Sentinel.
#[rstest]
#[case::before_a_restart(|step: &Step| matches!(step, Step::Evict { .. }))]
#[case::before_the_role_moves(|step: &Step| matches!(step, Step::Switchover { .. }))]
fn sentinels_that_appear_end_a_plan_that_moves_the_role(#[case] at: fn(&Step) -> bool) {
    let mut world = World::new();
    let journal = world.reach(at);
    world.snapshot.sentinels = fixtures::sentinels(&world.snapshot);
    let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("not ended") };
    assert_eq!(record.outcome, Some(Outcome::GaveUp));
    assert!(record.message.contains("SentinelSeen"), "{}", record.message);
}
