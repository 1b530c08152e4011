//! A person asks by hand for a restart or a switchover: what is planned, done once, and refused.

use redis_memory_operator::{
    domain::{
        policy::{AuthorityRule, Mode},
        request::{AnsweredRequest, Ask, Wanted},
        snapshot::ProbeFailure,
        surroundings::Elsewhere,
    },
    validate::request,
};

use super::*;

/// A world in which nothing is due.
fn clean() -> World {
    let mut world = World::new();
    for n in 0..3 {
        world.without_waste(n);
    }
    assert!(begin::consider(&world.ctx()).plan.is_none(), "nothing is due");
    world
}

fn ask(world: &mut World, wanted: Wanted) {
    let ask = Ask { wanted, by: "alice".into(), at: world.now, reason: "kernel update".into() };
    world.snapshot.surroundings.request = Some(request::request(&request::written(&ask)));
}

fn restart(name: &str) -> Wanted {
    Wanted::Restart { name: name.into() }
}

fn switchover(to: Option<&str>) -> Wanted {
    Wanted::Switchover { set: "redis".into(), to: to.map(Into::into) }
}

fn done(world: &mut World) -> WorkloadRecord {
    let journal = world.begin();
    assert!(journal.request.is_some(), "it carries the request out");
    world.walk(journal, None)
}

/// The answer without a remediation.
fn answer(world: &World) -> Option<AnsweredRequest> {
    match decide::decide(&world.ctx(), None, false, true).act {
        Next::Answer(answer) => Some(answer),
        _ => None,
    }
}

#[test]
fn a_pod_is_restarted_and_no_other() {
    let mut world = clean();
    ask(&mut world, restart("redis-2"));
    let reason = &begin::consider(&world.ctx()).plan.unwrap().steps[0].reason;
    assert!(reason.starts_with("asked for by alice at 2026-01-02T03:04:05Z: kernel update"), "{reason}");
    let record = done(&mut world);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(world.done, [("Evict", "redis-2".to_owned())]);
}

#[test]
fn a_set_is_restarted_in_the_order_of_any_remediation() {
    let mut world = clean();
    ask(&mut world, restart("redis"));
    let record = done(&mut world);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(world.done, full_order());
}

#[test]
fn the_primary_is_relieved_of_its_role_first() {
    let mut world = clean();
    ask(&mut world, restart("redis-0"));
    assert_eq!(done(&mut world).outcome, Some(Outcome::Succeeded));
    assert_eq!(world.kinds(), ["Switchover", "Repoint", "Evict"]);
}

#[test]
fn the_role_moves_to_the_one_that_is_named_and_stays() {
    let mut world = clean();
    ask(&mut world, switchover(Some("redis-2")));
    let record = done(&mut world);
    assert_eq!((record.outcome, record.message.as_str()), (Some(Outcome::Succeeded), "redis-2 has the primary role"));
    let expected = [("Switchover", "redis-2"), ("Repoint", "redis-1"), ("Repoint", "redis-0")];
    assert_eq!(world.done, expected.map(|(kind, pod)| (kind, pod.to_owned())));
    world.records = vec![record];
    world.snapshot.surroundings.request = None;
    assert!(begin::consider(&world.ctx()).plan.is_none(), "nobody hands it back");
}

#[test]
fn two_pods_are_enough_for_a_switchover() {
    let mut world = clean();
    world.snapshot.targets.truncate(2);
    world.snapshot.stateful_sets[0].replicas = 2;
    world.sample(0).replication.replicas.truncate(1);
    world.snapshot.services =
        vec![fixtures::primary_service(vec![fixtures::pod_name(0), fixtures::pod_name(1)], vec![fixtures::pod_uid(0)])];
    ask(&mut world, switchover(None));
    assert_eq!(begin::consider(&world.ctx()).blocked, Vec::new());
    assert_eq!(done(&mut world).outcome, Some(Outcome::Succeeded));
}

#[test]
fn people_and_time_are_waited_for_as_ever() {
    let mut world = clean();
    ask(&mut world, switchover(None));
    world.policy.restart.windows = vec![Window {
        schedule: Cron::parse("0 4 * * *").unwrap(),
        duration: Duration::from_secs(3600),
        zone: jiff::tz::TimeZone::UTC,
    }];
    let blocked = begin::consider(&world.ctx()).blocked;
    assert_eq!(blocked.iter().map(|one| one.reason).collect::<Vec<_>>(), [BlockReason::WindowClosed]);
    assert_eq!(answer(&world), None, "it waits");
    world.policy.restart.windows.clear();
    world.policy.restart.approval = Approval::Manual;
    assert_eq!(begin::consider(&world.ctx()).blocked[0].reason, BlockReason::ApprovalNeeded);
    assert_eq!(answer(&world), None, "it waits");
    // After a day nobody expects it any more.
    for _ in 0..25 {
        world.tick(3600);
    }
    assert!(answer(&world).unwrap().message.contains("waited for a day"));
}

/// Who asks at three in the morning knows that the pod was restarted an hour ago. What is due by itself waits, and so does the
/// next that is due after it.
#[rstest::rstest]
#[case::a_pod(restart("redis-2"), &["redis-2"])]
#[case::all_of_a_set(restart("redis"), &["redis-1", "redis-2", "redis-0"])]
fn a_request_does_not_wait_for_the_cooldown(#[case] wanted: Wanted, #[case] evicted: &[&str]) {
    let mut world = World::new();
    for target in &mut world.snapshot.targets {
        target.pod.container.as_mut().unwrap().started_at = Some(fixtures::seconds_ago(3600));
    }
    let reasons = |world: &World| begin::consider(&world.ctx()).blocked.iter().map(|it| it.reason).collect::<Vec<_>>();
    assert_eq!(reasons(&world), [BlockReason::Cooldown]);
    ask(&mut world, wanted);
    assert_eq!(reasons(&world), []);
    let record = done(&mut world);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    let pods: Vec<&str> = world.done.iter().filter(|it| it.0 == "Evict").map(|(_, pod)| pod.as_str()).collect();
    assert_eq!(pods, evicted);
    world.records = vec![record];
    world.snapshot.surroundings.request = None;
    let again = begin::consider(&world.ctx());
    assert!(again.plan.is_none() || again.blocked.iter().any(|it| it.reason == BlockReason::Cooldown), "{again:?}");
}

/// What protects the set stays, cooldown or not.
#[test]
fn a_request_within_the_cooldown_meets_every_other_gate() {
    let mut world = World::new();
    for target in &mut world.snapshot.targets {
        target.pod.container.as_mut().unwrap().started_at = Some(fixtures::seconds_ago(3600));
    }
    ask(&mut world, restart("redis-2"));
    world.sample(1).persistence.loading = true;
    assert!(answer(&world).unwrap().message.contains("MemberBusy"));
    world.sample(1).persistence.loading = false;
    world.snapshot.surroundings.elsewhere = vec![Elsewhere { policy: "shop/b".into(), shard: fixtures::shard_id() }];
    assert_eq!(answer(&world), None, "it waits for its turn");
    assert!(begin::consider(&world.ctx()).blocked.iter().all(|it| it.reason == BlockReason::ClusterBudget));
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let refusal = |wanted: Wanted, break_it: &dyn Fn(&mut World)| {
        let mut world = clean();
        ask(&mut world, wanted);
        break_it(&mut world);
        let answer = answer(&world).expect("it is refused");
        assert_eq!(answer.outcome, AnsweredRequest::REFUSED);
        answer.message
    };
    let nothing: &dyn Fn(&mut World) = &|_| {};
    let says = |message: String, text: &str| assert!(message.contains(text), "{message}");
    says(refusal(restart("mysql-0"), nothing), "selects no set and no pod mysql-0; its sets: redis");
    says(refusal(switchover(Some("redis-0")), nothing), "redis-0 is primary already");
    says(refusal(switchover(Some("redis-7")), nothing), "redis-7 is no replica of redis");
    says(refusal(restart("redis"), &|world| world.policy.mode = Mode::Observe), "spec.mode is Observe");
    says(refusal(restart("redis"), &|world| world.policy.fragmentation.restart_allowed = false), "remedies");
    let sentinel: &dyn Fn(&mut World) = &|world| world.sample(0).sentinel_seen = Some(true);
    says(refusal(switchover(None), sentinel), "SentinelSeen");
    says(refusal(restart("redis-1"), sentinel), "SentinelSeen");
    let claimed: &dyn Fn(&mut World) =
        &|world| world.snapshot.claimed_by_other.push((fixtures::set_uid(), "older".into()));
    says(refusal(restart("redis-1"), claimed), "ClaimedByOlderPolicy");
    says(refusal(switchover(None), &|world| world.policy.redis.authority = AuthorityRule::Auto), "no role is moved");
    let silent: &dyn Fn(&mut World) = &|world| {
        world.snapshot.targets[2].redis = Observation::Failed(ProbeFailure::TimedOut("no answer".into()));
    };
    says(refusal(restart("redis-1"), silent), "MemberUnknown");
    let low: &dyn Fn(&mut World) = &|world| {
        world.sample(1).config.as_mut().unwrap().maxmemory = Bytes::mib(64);
    };
    says(refusal(switchover(Some("redis-1")), low), "MembersDiffer");
    let starts: &dyn Fn(&mut World) = &|world| {
        let mut record = WorkloadRecord::new(fixtures::shard_id(), "redis".into(), world.now);
        record.starts_as_primary = vec![fixtures::pod_name(0)];
        world.records = vec![record];
    };
    says(refusal(switchover(None), starts), "redis-0 alone starts as a primary");
}

#[test]
fn a_malformed_one_is_said_and_does_nothing() {
    let mut world = clean();
    world.snapshot.surroundings.request = Some(request::request("restart redis"));
    assert!(begin::consider(&world.ctx()).plan.is_none());
    assert!(answer(&world).unwrap().message.starts_with("the annotation redismemory.io/request is not the JSON"));
    // Only on what is true now is anything written.
    assert_eq!(decide::decide(&world.ctx(), None, false, false).act, Next::LookLive);
}

#[test]
fn it_comes_before_what_a_threshold_makes_due() {
    let mut world = World::new();
    ask(&mut world, restart("redis-2"));
    let journal = world.begin();
    assert_eq!(journal.steps.iter().filter(|planned| matches!(planned.step, Step::Evict { .. })).count(), 1);
    let record = world.walk(journal, None);
    world.records = vec![record];
    world.snapshot.surroundings.request = None;
    world.policy.restart.cooldown = Duration::ZERO;
    assert!(begin::consider(&world.ctx()).plan.is_some(), "what was due is due");
}

/// Of a set without a role to move the replicas are restarted; what is left out is not passed over in silence.
#[test]
fn what_is_left_out_is_in_the_answer() {
    let mut world = clean();
    world.policy.redis.authority = AuthorityRule::Auto;
    ask(&mut world, restart("redis"));
    let record = done(&mut world);
    assert_eq!(record.outcome, Some(Outcome::Succeeded));
    assert!(record.message.ends_with("not restarted: redis-0 (ask for it by name to learn why)"), "{}", record.message);
    assert_eq!(world.done, full_order()[..2]);
}
