//! How long writes stop: estimated before, refused where nobody consented, measured, and the next estimate.

use redis_memory_operator::domain::{policy::AuthorityRule, write_gap::WriteGap};

use super::*;

fn planned(world: &World) -> WriteGap {
    begin::consider(&world.ctx()).plan.expect("something is due").write_gap.expect("writes stop")
}

fn refused(world: &World) -> Option<String> {
    let blocked = begin::consider(&world.ctx()).blocked;
    blocked.into_iter().find(|one| one.reason == BlockReason::WriteGapTooLong).map(|one| one.text)
}

/// The role label is another controller's, and only the primary is due.
fn their_label() -> World {
    let mut world = World::new();
    world.policy.redis.authority = AuthorityRule::Label;
    for n in 1..3 {
        (world.sample(n).memory.rss, world.sample(n).memory.ratio) = (Bytes::mib(80), Ratio(115));
        let run_id = world.sample(n).run_id.clone();
        world.snapshot.targets[n].history = fixtures::history(&run_id, Ratio(115), fixtures::USED, Bytes::mib(80));
    }
    world
}

fn took(world: &mut World, time: Duration) {
    let mut gap = WriteGap::estimated(Duration::from_secs(5), "assumed");
    gap.add(time);
    let record = WorkloadRecord::new(fixtures::shard_id(), "redis".into(), world.now);
    world.records = vec![WorkloadRecord { write_gap: Some(gap), ..record }];
}

#[test]
fn our_own_label_moves_at_once() {
    let mut world = World::new();
    assert_eq!(planned(&world).estimate(), Duration::from_millis(300));
    assert_eq!(refused(&world), None);
    assert_eq!(world.begin().write_gap, Some(planned(&world)), "the journal has it");
    world.policy.restart.maximum_write_gap = Duration::from_millis(100);
    let steps = begin::consider(&world.ctx()).plan.unwrap().steps;
    assert!(!steps.iter().any(|planned| matches!(planned.step, Step::Switchover { .. })), "replicas only: {steps:?}");
}

#[test]
fn a_label_of_others_is_assumed_until_it_was_measured() {
    let mut world = their_label();
    assert_eq!(planned(&world).estimate(), Duration::from_secs(5));
    assert!(planned(&world).from.starts_with("assumed"), "{}", planned(&world).from);
    assert_eq!(refused(&world), None, "no longer than the default");
    took(&mut world, Duration::from_millis(12_345));
    let why = refused(&world).expect("it is longer");
    assert!(why.contains("for about 12s345ms") && why.contains("measured when the label"), "{why}");
    assert!(why.contains("spec.restart.maximumWriteGap is 5s"), "{why}");
    world.policy.restart.maximum_write_gap = Duration::from_secs(15);
    assert_eq!(refused(&world), None, "that is the consent");
    took(&mut world, Duration::from_secs(1));
    world.policy.restart.maximum_write_gap = Duration::from_secs(2);
    assert_eq!(refused(&world), None, "it follows sooner than was assumed");
}

#[test]
fn in_place_it_is_what_is_known_of_stop_start_load_and_readiness() {
    let (policy, snapshot) = fixtures::standalone();
    let mut world = World { policy, snapshot, ..World::new() };
    world.snapshot.targets[0].pod.container.as_mut().unwrap().ready_after = Duration::from_secs(15);
    // No save points; 69 MiB load in 2 s at 50 MiB/s.
    assert_eq!(planned(&world).estimate(), Duration::from_secs(2 + 12 + 2 + 15), "{}", planned(&world).from);
    world.sample(0).config.as_mut().unwrap().save = "3600 1".into();
    world.sample(0).persistence.last_save_took = Duration::from_secs(40);
    assert_eq!(planned(&world).estimate(), Duration::from_secs(40 + 2 + 12 + 2 + 15));
    world.snapshot.targets[0].pod.grace_period = Duration::from_secs(30);
    assert_eq!(planned(&world).estimate(), Duration::from_secs(30 + 2 + 12 + 2 + 15), "then it is killed");
    world.policy.restart.maximum_write_gap = Duration::ZERO;
    assert_eq!(refused(&world), None, "allowDowntime is the consent in place");
}

/// What its pod took from its creation on is what the next takes, but for an image that was fetched.
#[rstest::rstest]
#[case::soon(1, 2 + 1 + 2, "as the last time")]
#[case::an_image_was_fetched(600, 2 + 20 + 2, "as the last time")]
fn in_place_it_starts_as_it_did_the_last_time(#[case] took: u64, #[case] want: u64, #[case] how: &str) {
    let (policy, snapshot) = fixtures::standalone();
    let mut world = World { policy, snapshot, ..World::new() };
    world.snapshot.targets[0].pod.container.as_mut().unwrap().start_took = Duration::from_secs(took);
    let gap = planned(&world);
    assert_eq!(gap.estimate(), Duration::from_secs(want), "{}", gap.from);
    assert!(gap.from.contains(how), "{}", gap.from);
}

/// Clients of a proxy wait until it believes the Sentinels, and asks again.
#[test]
fn through_a_proxy_it_is_the_check_of_the_proxy_too() {
    let mut world = super::sentinels::watched();
    assert_eq!(planned(&world).estimate(), Duration::from_secs(2));
    let fronts = vec![fixtures::pod_name(0), fixtures::pod_name(1), fixtures::pod_name(2)];
    let proxy =
        redis_memory_operator::domain::proxy::Proxy { service: "argo-redis-ha-haproxy".into(), fronts, through: None };
    world.snapshot.proxies = vec![proxy];
    let gap = planned(&world);
    assert_eq!(gap.estimate(), Duration::from_millis(2400 + 1500));
    assert!(gap.from.contains("the proxy behind Service argo-redis-ha-haproxy"), "{}", gap.from);
    // What was measured here is what the operator saw: the proxy comes on top.
    world.policy.restart.maximum_write_gap = Duration::from_secs(10);
    took(&mut world, Duration::from_millis(4000));
    assert_eq!(planned(&world).estimate(), Duration::from_millis(4000 + 1500));
    world.snapshot.proxies[0].fronts = vec!["another-0".into()];
    assert_eq!(planned(&world).estimate(), Duration::from_secs(4), "that of another release");
}

#[test]
fn what_it_became_is_remembered_and_the_next_estimate() {
    let (policy, snapshot) = fixtures::standalone();
    let mut world = World { policy, snapshot, ..World::new() };
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    let measured = record.write_gap.as_ref().and_then(WriteGap::measured).expect("it was measured");
    assert!(measured > Duration::ZERO && measured < Duration::from_secs(60), "{measured:?}");
    let (policy, snapshot) = fixtures::standalone();
    let world = World { policy, snapshot, records: vec![record], ..World::new() };
    assert_eq!(planned(&world).estimate(), measured);
}
