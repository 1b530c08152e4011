//! People who change settings, spec and roles in the middle of a remediation.

use super::*;

/// What is changed on every member while one of them is away is not on the one that comes back.
#[test]
fn a_maxmemory_that_is_changed_while_a_replica_is_away_stops_before_the_next_pod() {
    let mut world = World::new();
    let mut journal = world.reach(|step| step.kind() == StepKind::AwaitReplica);
    for n in [0, 2] {
        let sample = world.sample(n);
        (sample.memory.maxmemory, sample.config.as_mut().unwrap().maxmemory) = (Bytes::mib(600), Bytes::mib(600));
    }
    let refusal = world.gate(&mut journal);
    assert_eq!(refusal.reason, BlockReason::MembersDiffer);
    assert!(refusal.text.contains("maxmemory differs: 600 MiB on redis-0, 512 MiB on redis-1"), "{}", refusal.text);
    // The person sets it there too, and the rest goes on with what holds now.
    let sample = world.sample(1);
    (sample.memory.maxmemory, sample.config.as_mut().unwrap().maxmemory) = (Bytes::mib(600), Bytes::mib(600));
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(world.done, full_order());
    for n in 0..3 {
        assert_eq!(world.sample(n).config.as_ref().unwrap().maxmemory, Bytes::mib(600), "redis-{n}");
    }
}

/// What is under way with a pod is finished, then the plan is made anew from the spec that holds now.
#[test]
fn a_spec_that_is_changed_while_a_replica_is_away_makes_a_plan_of_what_is_left() {
    let mut world = World::new();
    let journal = world.reach(|step| step.kind() == StepKind::AwaitReplica);
    world.policy.generation += 1;
    world.policy.fragmentation.restart = Ratio(240);
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Superseded));
    assert!(record.message.contains("the spec changed"), "{}", record.message);
    assert_eq!(record.restarts.len(), 1);
    world.records = vec![record];
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(world.done, full_order(), "nothing twice");
}

/// After the role was handed over the old primary is left to the next plan, with the role where it is.
#[test]
fn a_spec_that_is_changed_after_the_role_has_moved_leaves_one_primary_and_goes_on() {
    let mut world = World::new();
    let journal = world.reach(|step| matches!(step, Step::Evict { pod } if pod.as_str() == "redis-0"));
    world.policy.generation += 1;
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Superseded));
    world.records = vec![record];
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(world.done, full_order(), "nothing twice, and the role moved once");
}

/// A threshold above what is there: nothing is due any more.
#[test]
fn a_threshold_that_is_raised_in_the_middle_ends_it_for_good() {
    let mut world = World::new();
    let journal = world.reach(|step| matches!(step, Step::Evict { pod } if pod.as_str() == "redis-2"));
    world.policy.generation += 1;
    world.policy.fragmentation.restart = Ratio(400);
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Superseded));
    world.records = vec![record];
    assert_eq!(begin::consider(&world.ctx()).plan, None);
}

/// A person hands the role to a replica that the operator is about to restart.
#[test]
fn a_role_that_is_moved_to_the_next_pod_by_hand_is_not_evicted_there() {
    let mut world = World::new();
    let journal = world.reach(|step| matches!(step, Step::Evict { pod } if pod.as_str() == "redis-2"));
    world.hand_over(0, 2);
    let Role::Replica(link) = &mut world.sample(1).replication.role else { panic!("a replica") };
    link.primary = fixtures::stable_address(2);
    let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("not ended") };
    assert_eq!(record.outcome, Some(Outcome::Superseded));
    assert!(record.message.contains("redis-2 is primary now, not redis-0"), "{}", record.message);
    world.records = vec![*record];
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    let done: Vec<String> = world.done.iter().map(|(kind, pod)| format!("{kind} {pod}")).collect();
    assert_eq!(done, ["Evict redis-1", "Evict redis-0", "Switchover redis-1", "Repoint redis-0", "Evict redis-2"]);
}

/// An older policy that matches the set from now on: what was begun is finished, nothing is begun after it.
#[test]
fn a_claim_of_an_older_policy_lets_what_is_under_way_end_and_nothing_begin() {
    let mut world = World::new();
    let journal = world.reach(|step| matches!(step, Step::Evict { pod } if pod.as_str() == "redis-2"));
    world.snapshot.claimed_by_other = vec![(fixtures::set_uid(), "older".into())];
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(world.done, full_order());
}
