//! A set in which redis-0 alone starts as a primary: the role goes back to it, as part of the plan or by a plan of its own.

use std::time::Duration;

use pretty_assertions::assert_eq;

use super::*;
use redis_memory_operator::domain::{finding::FindingCode, names::NodeAddress, policy::AuthorityRule, step::Plan};

fn world() -> World {
    World { comes_back_as_primary: true, ..World::new() }
}

fn done(world: &World) -> Vec<String> {
    world.done.iter().map(|(kind, pod)| format!("{kind} {pod}")).collect()
}

fn due(world: &World) -> Option<Plan> {
    begin::consider(&world.ctx()).plan
}

fn refusals(world: &World) -> Vec<BlockReason> {
    begin::consider(&world.ctx()).blocked.into_iter().map(|blocked| blocked.reason).collect()
}

fn against_start(world: &World) -> Option<String> {
    let findings = world.ctx().look.findings(&world.records, None);
    let found = findings.into_iter().find(|finding| finding.code == FindingCode::RoleAgainstStart);
    found.map(|finding| format!("{} -> {}", finding.evidence, finding.remedy))
}

/// One remediation, to its end; what is remembered replaces what was.
fn remediate(world: &mut World) -> WorkloadRecord {
    world.done.clear();
    let journal = world.begin();
    let record = world.walk(journal, None);
    world.records = vec![record.clone()];
    record
}

const FOUND_ON_THE_WAY: [&str; 6] =
    ["Evict redis-1", "Evict redis-2", "Switchover redis-1", "Repoint redis-2", "Evict redis-0", "Demote redis-0"];

/// Somebody wrote it into the arguments: all but redis-0 are told to follow it.
fn by_arguments(world: &mut World) {
    let value = format!("{} 6379", fixtures::stable_address(0).host);
    world.snapshot.stateful_sets[0].start_settings = vec![redis_memory_operator::domain::pod::StartSettings {
        container: "redis".into(),
        settings: vec![("replicaof".into(), value)],
    }];
}

#[test]
fn what_is_found_on_the_way_is_mended_by_a_plan_of_its_own() {
    let mut world = world();
    assert_eq!(against_start(&world), None);
    let record = remediate(&mut world);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(done(&world), FOUND_ON_THE_WAY);
    assert_eq!(record.starts_as_primary, [fixtures::pod_name(0)]);
    let said = against_start(&world).expect("until then it is said");
    assert!(said.contains("a restart of redis-1 leaves nobody primary"), "{said}");
    assert!(said.contains("hands it back"), "{said}");

    let plan = due(&world).expect("it follows");
    assert!(plan.steps[0].reason.starts_with("RoleAgainstStart: redis-0 alone"), "{}", plan.steps[0].reason);
    let record = remediate(&mut world);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    // Seen in the simulator: FAILOVER had left it following an address, which went with the pod.
    assert_eq!(done(&world), ["Switchover redis-0", "Repoint redis-2", "Repoint redis-1"]);
    assert_eq!(record.message, "the primary role is back at redis-0");
    assert_eq!((due(&world), against_start(&world)), (None, None), "and that is the end of it");
}

#[test]
fn where_it_is_known_the_plan_ends_with_it() {
    for known in [by_arguments as fn(&mut World), |world| world.records = remembered()] {
        let mut world = world();
        known(&mut world);
        let plan = due(&world).expect("due");
        let kinds: Vec<StepKind> = plan.steps.iter().rev().take(3).map(|planned| planned.step.kind()).collect();
        assert_eq!(
            kinds,
            [StepKind::Repoint, StepKind::Repoint, StepKind::Switchover],
            "it is shown before it is begun"
        );
        let without = { due(&self::world()).expect("due").hash };
        assert_ne!(plan.hash, without, "an approval of the one is none of the other");
        let record = remediate(&mut world);
        assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
        let mut expected: Vec<&str> = FOUND_ON_THE_WAY.to_vec();
        expected.extend(["Switchover redis-0", "Repoint redis-2", "Repoint redis-1"]);
        assert_eq!(done(&world), expected);
        assert_eq!((due(&world), against_start(&world)), (None, None));
    }
}

fn remembered() -> Vec<WorkloadRecord> {
    let name = "redis".to_owned();
    vec![WorkloadRecord {
        outcome: Some(Outcome::Succeeded),
        starts_as_primary: vec![fixtures::pod_name(0)],
        ..WorkloadRecord::new(fixtures::shard_id(), name, fixtures::seconds_ago(90 * 24 * 3600))
    }]
}

// The start script was mended: redis-0 comes back as a replica of whoever is primary.
#[test]
fn what_comes_back_otherwise_corrects_the_record_and_nothing_is_handed_back() {
    let mut world = World { records: remembered(), ..World::new() };
    let record = remediate(&mut world);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(done(&world), FOUND_ON_THE_WAY[..5]);
    assert_eq!(record.starts_as_primary, Vec::<PodName>::new());
    assert_eq!((due(&world), against_start(&world)), (None, None));
}

#[test]
fn a_lost_journal_entry_hands_nothing_back_twice() {
    for kind in [StepKind::Evict, StepKind::Switchover, StepKind::Repoint, StepKind::AwaitReplica, StepKind::Prove] {
        let mut world = World { records: remembered(), ..world() };
        let journal = world.begin();
        let record = world.walk(journal, Some(kind));
        assert_eq!(record.outcome, Some(Outcome::Succeeded), "{kind:?}: {}", record.message);
        let switchovers = world.done.iter().filter(|(what, _)| *what == "Switchover").count();
        assert_eq!(switchovers, 2, "{kind:?}: {:?}", world.done);
    }
}

/// The world after a remediation that found it out on the way.
fn owed() -> World {
    let mut world = world();
    remediate(&mut world);
    world
}

#[test]
fn neither_window_nor_cooldown_nor_a_restart_that_did_not_help_holds_it_back() {
    let mut world = owed();
    world.policy.restart.windows = vec![Window {
        schedule: Cron::parse("0 3 1 6 *").expect("valid"),
        duration: Duration::from_secs(60),
        zone: jiff::tz::TimeZone::UTC,
    }];
    world.policy.restart.maximum_restarts_per_day = Some(1);
    world.policy.restart.minimum_synced_replicas = 2;
    world.records[0].outcome = Some(Outcome::Ineffective);
    assert_eq!(refusals(&world), []);
}

#[test]
fn suspend_stop_and_approval_do() {
    let mut world = owed();
    world.policy.suspend = true;
    assert_eq!(refusals(&world), [BlockReason::Suspended]);
    let mut world = owed();
    world.snapshot.surroundings.stopped = Some("--stop".into());
    assert_eq!(refusals(&world), [BlockReason::ClusterStopped]);
    let mut world = owed();
    world.policy.restart.approval = Approval::Manual;
    assert_eq!(refusals(&world), [BlockReason::ApprovalNeeded]);
    world.snapshot.surroundings.approved = due(&world).map(|plan| plan.hash);
    assert_eq!(refusals(&world), []);
}

// It must not be tried for ever.
#[test]
fn a_pod_that_cannot_take_it_is_a_refusal_like_any_other() {
    let mut world = owed();
    world.snapshot.targets[0].pod.ready = false;
    assert_eq!(refusals(&world), [BlockReason::MemberNotReady]);
    let mut world = owed();
    world.sample(0).config.as_mut().expect("readable").maxmemory = Bytes::mib(1);
    assert!(refusals(&world).contains(&BlockReason::MembersDiffer));
    let mut world = owed();
    world.records[0].outcome = Some(Outcome::SwitchoverFailed);
    assert_eq!(refusals(&world), [BlockReason::RemediationFailed]);
    // Scaled down, by whatever means: it is no member any more, and says nothing.
    let mut world = owed();
    world.records[0].starts_as_primary = vec!["redis-7".into()];
    assert_eq!((due(&world), against_start(&world)), (None, None));
}

// Whoever moved it since meant it: it is said, and left.
#[test]
fn a_role_that_somebody_else_moved_is_theirs() {
    let mut world = owed();
    world.hand_over(1, 2);
    let text = against_start(&world).expect("it is said");
    assert!(text.contains("redis-2 is primary, but redis-0 alone"), "{text}");
    assert!(text.contains("hand the role back when it suits"), "{text}");
    assert_eq!(due(&world), None);
}

#[test]
fn where_another_decides_who_is_primary_nothing_is_handed_back() {
    let mut world = owed();
    world.sample(1).sentinel_seen = Some(true);
    assert_eq!((due(&world), against_start(&world)), (None, None));
    let mut world = owed();
    world.snapshot.stateful_sets[0].owner = Some(redis_memory_operator::domain::pod::Owner {
        kind: "RedisReplication".into(),
        name: "redis".into(),
        uid: "another".into(),
    });
    assert_eq!((due(&world), against_start(&world)), (None, None));
    // Each that comes back starts as a primary: no place is better than another.
    let mut world = owed();
    world.records[0].starts_as_primary.push(fixtures::pod_name(1));
    assert_eq!((due(&world), against_start(&world)), (None, None));
}

// The role is at redis-1 against its start, and redis-1 is due itself: one exchange, and it is where it belongs.
#[test]
fn a_primary_against_its_start_gives_the_role_to_the_one_that_starts_with_it() {
    let mut world = owed();
    world.policy.redis.authority = AuthorityRule::Operator;
    world.policy.restart.cooldown = Duration::ZERO;
    for n in [1, 2] {
        let memory = fixtures::sample(Role::Primary).memory;
        world.sample(n).memory = memory;
        let run_id = world.sample(n).run_id.clone();
        let mut history = fixtures::history(&run_id, Ratio(291), fixtures::USED, fixtures::RSS);
        let shift = world.now.duration_since(NOW);
        for reading in &mut history {
            reading.at = reading.at.saturating_add(shift).expect("in range");
        }
        world.snapshot.targets[n].history = history;
    }
    let plan = due(&world).expect("due");
    let switchovers: Vec<String> = plan
        .steps
        .iter()
        .filter_map(|planned| match &planned.step {
            Step::Switchover { from, to: Some(to) } => Some(format!("{from} to {to}")),
            _ => None,
        })
        .collect();
    assert_eq!(switchovers, ["redis-1 to redis-0"]);
}

/// A set of that size, due in every member.
fn of_members(members: u8) -> World {
    let mut world = world();
    by_arguments(&mut world);
    world.policy.restart.minimum_synced_replicas = 0;
    world.snapshot.targets = (0..members).map(fixtures::target).collect();
    world.snapshot.stateful_sets[0].replicas = members.into();
    world.snapshot.redis_rights = redis_memory_operator::domain::snapshot::RedisRights::Known(Vec::new());
    world.snapshot.services[0].takes = (0..members).map(fixtures::pod_name).collect();
    world.sample(0).replication.replicas = (1..members).map(fixtures::replica_line).collect();
    world
}

#[test]
fn of_two_members_the_replica_holds_the_role_for_as_long_as_the_other_is_away() {
    let mut world = of_members(2);
    let record = remediate(&mut world);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    let there = ["Evict redis-1", "Switchover redis-1", "Evict redis-0", "Demote redis-0"];
    let order = [&there[..], &["Switchover redis-0", "Repoint redis-1"]].concat();
    assert_eq!(done(&world), order);
    assert_eq!((due(&world), against_start(&world)), (None, None));
}

/// The hand-over, the restart and the way back do not fit beside eleven replicas: they are a plan of their own.
#[test]
fn of_twelve_members_the_role_goes_and_comes_back_in_one_plan() {
    let mut world = of_members(12);
    let record = remediate(&mut world);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert!(record.message.contains("the other pod follows in the next plan: redis-0"), "{}", record.message);
    let replicas: Vec<String> = done(&world);
    assert!(replicas.len() == 11 && replicas.iter().all(|one| one.starts_with("Evict")), "{replicas:?}");
    let record = remediate(&mut world);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    let moves: Vec<String> = done(&world).into_iter().filter(|one| !one.starts_with("Repoint")).collect();
    assert_eq!(moves, ["Switchover redis-1", "Evict redis-0", "Demote redis-0", "Switchover redis-0"]);
    assert_eq!((due(&world), against_start(&world)), (None, None));
}

/// The replacement of redis-1, which its start arguments made follow that pod.
fn comes_back_behind(world: &mut World, followed: u8) {
    let Role::Replica(link) = &mut world.sample(1).replication.role else { panic!("a replica") };
    link.primary = fixtures::stable_address(followed);
}

#[test]
fn a_replacement_that_starts_behind_a_replica_is_led_to_the_primary_and_the_remediation_goes_on() {
    let mut world = World::new();
    let journal = world.reach(|step| step.kind() == StepKind::AwaitReplica);
    comes_back_behind(&mut world, 2);
    // A readiness probe may ask for the link to the primary.
    world.snapshot.targets[1].pod.ready = false;
    let Next::Act(_, effect) = advance::next(&world.ctx(), &journal, false) else { panic!("it is only waited for") };
    assert!(
        matches!(&*effect, Effect::Repoint { peer, to, .. } if peer.pod.as_str() == "redis-1" && to.pod.as_str() == "redis-0")
    );
    world.snapshot.targets[1].pod.ready = true;
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(done(&world)[..2], ["Evict redis-1", "Repoint redis-1"]);
    assert_eq!(done(&world).iter().filter(|one| *one == "Repoint redis-1").count(), 1);
}

// Found by seed 65078: a primary said that it was a replica of another set's primary, which one policy selected too, and the
// replacement took that one's data.
#[test]
fn a_replacement_is_never_led_to_the_primary_of_another_set() {
    let mut world = World::new();
    let journal = world.reach(|step| step.kind() == StepKind::AwaitReplica);
    let mut other = fixtures::target(4);
    let name = PodName::new("cache-0");
    (other.pod.name, other.pod.dns_name) = (name, Some("cache-0.cache.shop.svc".into()));
    if let Some(owner) = &mut other.pod.owner {
        (owner.name, owner.uid) = ("cache".into(), "set-cache".into());
    }
    other.sample_mut().unwrap().replication.role = Role::Primary;
    world.snapshot.targets.insert(0, other);
    let says = |world: &mut World, n: usize, host: &str| {
        let primary = NodeAddress { host: host.into(), port: fixtures::PORT };
        let link = ReplicaLink { primary, link_up: true, sync_in_progress: false, read_only: true };
        world.sample(n).replication.role = Role::Replica(link);
    };
    says(&mut world, 1, "cache-0.cache.shop.svc");
    says(&mut world, 2, "redis-0.redis.shop.svc");
    assert_eq!(world.ctx().look.shards.len(), 1, "it looks like one set");
    let next = advance::next(&world.ctx(), &journal, false);
    assert!(matches!(next, Next::Wait(..)), "{next:?}");
    // With the role at a pod that has joined the set itself it is led there.
    world.snapshot.targets[0].pod.owner = world.snapshot.targets[1].pod.owner.clone();
    let next = advance::next(&world.ctx(), &journal, false);
    assert!(matches!(&next, Next::Act(_, effect) if matches!(**effect, Effect::Repoint { .. })), "{next:?}");
}

#[test]
fn a_replacement_that_cannot_be_led_off_a_replica_is_told_at_growing_pauses_and_times_out() {
    let mut world = World::new();
    let mut journal = world.reach(|step| step.kind() == StepKind::AwaitReplica);
    comes_back_behind(&mut world, 2);
    let mut told = 0;
    for _ in 0..4000 {
        match advance::next(&world.ctx(), &journal, false) {
            Next::Act(next, _) => (journal, told) = (*next, told + 1),
            Next::Wait(why, _) => assert!(why.contains("redis-1"), "{why}"),
            Next::End(record) => {
                assert_eq!(record.outcome, Some(Outcome::TimedOut), "{}", record.message);
                let minutes = world.policy.restart.step_timeout.as_secs() / 60;
                assert!((3..=minutes + 10).contains(&told), "told {told} times in {minutes} minutes");
                return;
            }
            other => panic!("{other:?}"),
        }
        world.tick(1);
    }
    panic!("it did not end");
}

// Found by the simulator: the remediation was given up, and its own switchover had left the set with a second primary.
#[test]
fn an_old_primary_that_somebody_else_replaces_right_before_us_is_restarted_and_led_back_all_the_same() {
    let mut world = World { comes_back_as_primary: true, ..World::new() };
    let journal = world.reach(|step| *step == Step::Evict { pod: fixtures::pod_name(0) });
    assert_eq!(journal.current.begun_at, None, "we have not asked for it yet");
    world.replace(0);
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    let done = done(&world);
    assert!(!done.contains(&"Evict redis-0".to_owned()) && done.contains(&"Demote redis-0".to_owned()), "{done:?}");
}

/// What its start arguments say, and no more: an empty primary that nobody follows, in the same pod.
fn container_restarts(world: &mut World, role: Role) {
    let now = world.now;
    let target = &mut world.snapshot.targets[0];
    let container = target.pod.container.as_mut().unwrap();
    (container.restarts, container.started_at) = (container.restarts + 1, Some(now));
    target.history.clear();
    let sample = world.sample(0);
    (sample.run_id, sample.keys) = (RunId::new("restarted".repeat(4)), 0);
    sample.replication.replid = "d".repeat(40);
    sample.replication.role = role;
    sample.replication.replicas.clear();
}

/// Walks on: while there are two primaries nothing is done but to demote one. The record, and at how many looks there were two.
fn walk_beside(world: &mut World, mut journal: Journal) -> (WorkloadRecord, usize) {
    let mut two = 0;
    for _ in 0..400 {
        let primaries = (0..3).filter(|n| world.sample(*n).replication.role == Role::Primary).count();
        two += usize::from(primaries > 1);
        match world.look(&mut journal) {
            Next::Record(_) => {}
            Next::Wait(..) => world.tick(5),
            Next::Act(_, effect) => {
                let demotes = matches!(*effect, Effect::Demote { .. });
                assert!(primaries < 2 || demotes, "first there is one writer: {effect:?}");
            }
            Next::End(record) => return (*record, two),
            other => panic!("{other:?}"),
        }
    }
    panic!("it did not end; at {:?}", journal.step());
}

/// Between the switchover and its eviction a crash of the old primary's process is enough: it starts as what its arguments say.
#[rstest::rstest]
#[case::before_the_others_follow(|step: &Step| matches!(step, Step::Repoint { .. }))]
#[case::before_its_eviction(|step: &Step| matches!(step, Step::Evict { pod } if pod.as_str() == "redis-0"))]
fn an_old_primary_whose_container_restarts_is_demoted_at_once(#[case] moment: fn(&Step) -> bool) {
    let mut world = world();
    let journal = world.reach(moment);
    let before = done(&world);
    container_restarts(&mut world, Role::Primary);
    // Nobody is asked which of the two is right.
    let act = decide::decide(&world.ctx(), Some(&journal), false, true).act;
    assert!(matches!(&act, Next::Act(_, effect) if matches!(**effect, Effect::Demote { .. })), "{act:?}");
    let (record, two) = walk_beside(&mut world, journal);
    assert_eq!(done(&world)[before.len()], "Demote redis-0");
    assert_eq!(two, 1, "it is the first thing that is done");
    assert_eq!(record.outcome, Some(Outcome::Superseded), "{}", record.message);
    assert!(record.message.contains("the Redis of redis-0 has restarted"), "{}", record.message);
    assert_eq!(record.starts_as_primary, [fixtures::pod_name(0)], "what it starts as is remembered");
    assert_eq!(world.snapshot.targets[1].pod.uid, record.primary.unwrap().uid);
}

/// A budget forbids the eviction, whose intent is written down already.
#[test]
fn so_it_is_while_its_eviction_is_refused() {
    let mut world = world();
    let journal = world.reach(|step| matches!(step, Step::Evict { pod } if pod.as_str() == "redis-0"));
    let Next::Act(journal, effect) = advance::next(&world.ctx(), &journal, false) else { panic!("not evicted") };
    assert!(matches!(*effect, Effect::Evict { .. }));
    container_restarts(&mut world, Role::Primary);
    let (record, _) = walk_beside(&mut world, *journal);
    assert_eq!(world.done.last(), Some(&("Demote", "redis-0".to_owned())));
    assert_eq!(record.outcome, Some(Outcome::Superseded), "{}", record.message);
}

/// One that is seen as a replica after its restart and is a primary later was made one by somebody: clients may have written to it.
#[test]
fn one_that_restarted_as_a_replica_and_is_made_a_primary_is_left_to_people() {
    let mut world = World::new();
    let journal = world.reach(|step| matches!(step, Step::Repoint { .. }));
    let link =
        ReplicaLink { primary: fixtures::stable_address(1), link_up: true, sync_in_progress: false, read_only: true };
    container_restarts(&mut world, Role::Replica(link));
    let Next::Record(journal) = advance::next(&world.ctx(), &journal, false) else { panic!("not written down") };
    world.sample(0).replication.role = Role::Primary;
    world.sample(0).keys = 5;
    let Next::Gate(blocked, _) = advance::next(&world.ctx(), &journal, false) else { panic!("not frozen") };
    assert_eq!(blocked[0].reason, BlockReason::TwoPrimaries);
    assert!(blocked[0].text.contains("came back as a replica"), "{}", blocked[0].text);
}
