//! What waits gives its slot back: for people and time at once, for obstacles after `stepTimeout`, for what does not pass
//! by itself at once.

use super::*;
use redis_memory_operator::domain::{
    journal::{CurrentStep, MemberIdentity},
    snapshot::SeenBefore,
};

fn ended(next: Next) -> WorkloadRecord {
    match next {
        Next::End(record) => *record,
        other => panic!("not ended: {other:?}"),
    }
}

fn reasons(world: &World) -> Vec<BlockReason> {
    begin::consider(&world.ctx()).blocked.iter().map(|blocked| blocked.reason).collect()
}

/// The journal at the first step of that kind about that pod, with everything before it done.
fn at(world: &mut World, kind: StepKind, pod: &str) -> Journal {
    world.reach(|step| step.kind() == kind && step.pod().as_str() == pod)
}

/// Looks every ten seconds until it ends; effects are refused with that text.
fn refused(world: &mut World, mut journal: Journal, text: &str) -> (WorkloadRecord, usize) {
    let mut asked = 0;
    for _ in 0..2000 {
        match advance::next(&world.ctx(), &journal, false) {
            Next::End(record) => return (*record, asked),
            Next::Record(next) => journal = *next,
            Next::Act(next, effect) if writes_out(&effect) => {
                journal = *next;
                world.apply(&effect);
            }
            Next::Act(next, _) => {
                journal = *next;
                journal.current.failed(text);
                asked += 1;
                world.tick(10);
            }
            Next::Wait(..) | Next::Gate(..) => world.tick(10),
            other => panic!("no look at a remediation says {other:?}"),
        }
    }
    panic!("it did not end; at {:?}", journal.step());
}

fn scale(world: &mut World, pods: u32) {
    world.snapshot.targets.truncate(usize::try_from(pods).unwrap());
    world.snapshot.stateful_sets[0].replicas = pods;
    let gone = |line: &redis_memory_operator::domain::sample::ReplicaLine| {
        (pods..3).any(|n| line.address == fixtures::address(u8::try_from(n).unwrap()))
    };
    for n in 0..world.snapshot.targets.len() {
        world.sample(n).replication.replicas.retain(|line| !gone(line));
    }
}

#[test]
fn supervised_pauses_before_the_primary_and_the_approval_of_what_is_left_stays_good() {
    let mut world = World::new();
    world.policy.restart.approval = Approval::Supervised;
    let journal = at(&mut world, StepKind::Switchover, "redis-0");
    let record = ended(advance::next(&world.ctx(), &journal, false));
    assert_eq!(record.outcome, Some(Outcome::Paused));
    assert!(record.message.contains("2 of 3 pods restarted, redis-0 left"), "{}", record.message);
    assert_eq!(world.done, full_order()[..2], "both replicas, and nothing else");
    assert_eq!(record.restarts.len(), 2, "they keep their cooldown");
    world.records = vec![record];

    // Nothing is begun, and no slot taken, until a person has said so: a year, if need be.
    let considered = begin::consider(&world.ctx());
    let hash = considered.plan.expect("the primary is left").hash;
    assert_eq!((reasons(&world), considered.begin), (vec![BlockReason::ApprovalNeeded], None));
    world.snapshot.surroundings.approved = Some(hash.clone());
    // A rate of writes is no other plan.
    world.sample(1).config.as_mut().unwrap().repl_backlog_size = Bytes::mib(1);
    let journal = world.begin();
    assert_eq!(journal.plan_hash, hash);
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(world.done, full_order());
}

#[test]
fn what_is_approved_beforehand_is_not_asked_for_again() {
    let mut world = World::new();
    world.policy.restart.approval = Approval::Supervised;
    let journal = world.begin();
    world.snapshot.surroundings.approved = Some(journal.plan_hash.clone());
    assert_eq!(world.walk(journal, None).outcome, Some(Outcome::Succeeded));
}

#[test]
fn a_member_that_is_scaled_away_is_another_plan() {
    for (kind, pod, left) in [
        (StepKind::Evict, "redis-1", 2),
        (StepKind::Evict, "redis-2", 2),
        (StepKind::Switchover, "redis-0", 1),
        (StepKind::Switchover, "redis-0", 2),
    ] {
        let mut world = World::new();
        let journal = at(&mut world, kind, pod);
        scale(&mut world, left);
        let record = ended(advance::next(&world.ctx(), &journal, false));
        assert_eq!(record.outcome, Some(Outcome::Superseded), "{kind:?} {pod}: {}", record.message);
        assert!(record.message.contains("is gone"), "{}", record.message);
    }
}

#[test]
fn a_replica_that_is_scaled_away_while_it_is_evicted_is_not_waited_for() {
    let mut world = World::new();
    let mut journal = at(&mut world, StepKind::AwaitReplica, "redis-2");
    let there = world.snapshot.clone();
    world.snapshot.targets.truncate(2);
    assert!(matches!(advance::next(&world.ctx(), &journal, false), Next::Wait(..)), "it comes back");
    scale(&mut world, 2);
    assert_eq!(ended(advance::next(&world.ctx(), &journal, false)).outcome, Some(Outcome::Superseded));
    // Nor one that was still to follow the new primary.
    world.snapshot = there;
    journal = at_repoint(&mut world);
    world.snapshot.targets.truncate(2);
    world.snapshot.stateful_sets[0].replicas = 2;
    assert!(matches!(advance::next(&world.ctx(), &journal, false), Next::Record(_)));
}

fn at_repoint(world: &mut World) -> Journal {
    *world = World::new();
    at(world, StepKind::Repoint, "redis-2")
}

#[test]
fn an_obstacle_that_a_gate_sees_is_given_up_after_the_step_timeout_and_begun_anew_when_it_goes() {
    let mut world = World::new();
    let journal = world.begin();
    world.snapshot.budgets = Some(vec![fixtures::disruption_budget(&world.snapshot, 0, 2)]);
    let begun = world.now;
    let (record, asked) = refused(&mut world, journal, "");
    assert_eq!((record.outcome, asked), (Some(Outcome::GaveUp), 0), "{}", record.message);
    assert!(
        record.message.contains("DisruptionBudget: PodDisruptionBudget redis (minAvailable 2)"),
        "{}",
        record.message
    );
    let waited = world.now.duration_since(begun).as_secs();
    assert!((1800..1830).contains(&waited), "{waited}");
    assert_eq!(record.retry_at, None);
    world.records = vec![record];
    assert_eq!(reasons(&world), [BlockReason::DisruptionBudget]);
    world.snapshot.budgets = Some(vec![fixtures::disruption_budget(&world.snapshot, 1, 2)]);
    assert!(begin::consider(&world.ctx()).begin.is_some(), "{:?}", reasons(&world));
}

#[test]
fn one_that_only_the_eviction_meets_is_tried_again_after_an_hour() {
    let mut world = World::new();
    let journal = world.begin();
    let (record, _) = refused(&mut world, journal, "a webhook says no");
    assert_eq!(record.outcome, Some(Outcome::GaveUp));
    assert!(record.message.contains("the eviction of redis-1") && record.message.contains("a webhook says no"));
    assert_eq!(record.restarts, [], "nothing was restarted");
    world.records = vec![record];
    assert_eq!(reasons(&world), [BlockReason::RemediationGaveUp]);
    for _ in 0..230 {
        world.tick(15);
    }
    assert!(reasons(&world).contains(&BlockReason::RemediationGaveUp));
    for _ in 0..60 {
        world.tick(15);
    }
    assert!(begin::consider(&world.ctx()).begin.is_some(), "{:?}", reasons(&world));
}

#[test]
fn a_budget_that_never_allows_has_nothing_written_out() {
    let (policy, snapshot) = fixtures::standalone();
    let mut world = World { policy, snapshot, ..World::new() };
    world.snapshot.budgets = Some(vec![fixtures::disruption_budget(&world.snapshot, 0, 1)]);
    let considered = begin::consider(&world.ctx());
    assert_eq!(considered.begin, None);
    let text = &considered.blocked[0].text;
    assert!(text.contains("never allows redis-0 to be evicted: of 1 pods it wants 1 healthy"), "{text}");
    // It comes in the middle: before the data is written out it is asked once more.
    world.snapshot.budgets = None;
    let journal = world.begin();
    world.snapshot.budgets = Some(vec![fixtures::disruption_budget(&world.snapshot, 0, 1)]);
    assert_eq!(refused(&mut world, journal, "").0.outcome, Some(Outcome::GaveUp));
    assert_eq!(world.done, Vec::new());
}

#[test]
fn an_eviction_that_is_refused_unseen_has_the_data_written_out_twice_and_no_third_time() {
    let (policy, snapshot) = fixtures::standalone();
    let mut world = World { policy, snapshot, ..World::new() };
    let journal = world.begin();
    let (record, _) = refused(&mut world, journal, "the budget says no");
    assert_eq!(record.outcome, Some(Outcome::GaveUp), "{}", record.message);
    assert!(record.message.contains("the budget says no"), "{}", record.message);
    assert!(record.retry_at.is_some());
    assert_eq!(world.done.iter().filter(|(kind, _)| *kind == "Rewrite").count(), 2);
}

#[test]
fn a_sentinel_that_appears_ends_it_at_once_and_counts_for_an_hour() {
    let mut world = World::new();
    let journal = world.begin();
    world.sample(2).sentinel_seen = Some(true);
    let record = ended(advance::next(&world.ctx(), &journal, false));
    assert_eq!(record.outcome, Some(Outcome::GaveUp));
    assert!(record.message.starts_with("SentinelSeen"), "{}", record.message);
    world.sample(2).sentinel_seen = Some(false);
    let seen = |at| SeenBefore { set: fixtures::set_uid(), sentinel_at: Some(at), owner: None };
    world.snapshot.seen_before = vec![seen(world.now)];
    let considered = begin::consider(&world.ctx());
    assert_eq!(considered.begin, None);
    assert!(
        considered.blocked.iter().any(|one| one.text.contains("it counts for an hour")),
        "{:?}",
        considered.blocked
    );
    world.snapshot.seen_before.clear();
    assert!(begin::consider(&world.ctx()).begin.is_some());
}

#[test]
fn a_replica_that_follows_the_old_primary_again_goes_back_to_its_repoint() {
    let mut world = World::new();
    let mut journal = at(&mut world, StepKind::Evict, "redis-0");
    let Role::Replica(link) = &mut world.sample(2).replication.role else { panic!("a replica") };
    link.primary = fixtures::stable_address(0);
    let Next::Record(back) = advance::next(&world.ctx(), &journal, false) else { panic!("not taken back") };
    journal = *back;
    assert_eq!(journal.step().map(Step::kind), Some(StepKind::Repoint));
    assert_eq!(world.walk(journal, None).outcome, Some(Outcome::Succeeded));
    let repointed = world.done.iter().filter(|(kind, _)| *kind == "Repoint").count();
    assert_eq!((repointed, world.done.iter().filter(|(kind, _)| *kind == "Evict").count()), (2, 3));
}

#[test]
fn one_that_never_stays_repointed_is_left_to_the_gates() {
    let mut world = World::new();
    let mut journal = at(&mut world, StepKind::Evict, "redis-0");
    let mut told = 0;
    for _ in 0..2000 {
        if journal.step().map(Step::kind) == Some(StepKind::Evict)
            && let Role::Replica(link) = &mut world.sample(2).replication.role
        {
            link.primary = fixtures::stable_address(0);
            world.sample(1).replication.replicas.retain(|line| line.address != fixtures::address(2));
        }
        match advance::next(&world.ctx(), &journal, false) {
            Next::Record(next) => journal = *next,
            Next::Act(next, effect) => {
                assert!(matches!(*effect, Effect::Repoint { .. }), "{effect:?}");
                told += 1;
                world.apply(&effect);
                world.sample(1).replication.replicas.push(fixtures::replica_line(2));
                journal = *next;
            }
            Next::End(record) => {
                assert_eq!((record.outcome, told), (Some(Outcome::GaveUp), 3), "{}", record.message);
                return;
            }
            Next::Wait(..) | Next::Gate(..) => world.tick(10),
            other => panic!("no look at a remediation says {other:?}"),
        }
    }
    panic!("it did not end; at {:?}", journal.step());
}

#[test]
fn waiting_begins_anew_with_each_step() {
    let mut world = World::new();
    let mut journal = world.begin();
    journal.current.waiting_since = Some(world.now);
    let Next::Act(next, effect) = advance::next(&world.ctx(), &journal, false) else { panic!("nothing is in the way") };
    world.apply(&effect);
    let Next::Record(next) = advance::next(&world.ctx(), &next, false) else { panic!("it was evicted") };
    assert_eq!(next.current, CurrentStep { begun_at: Some(world.now), ..CurrentStep::default() });
    let MemberIdentity { pod, .. } = &next.primary;
    assert_eq!(pod.as_str(), "redis-0");
}
