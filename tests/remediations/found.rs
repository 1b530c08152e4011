//! What the simulator (tests/simulator) found in the planner, each as the smallest walk that shows it.

use super::*;

/// The journal at the step that hands the role over, with the replicas restarted.
fn at_the_switchover(world: &mut World) -> Journal {
    at_the(StepKind::Switchover, world)
}

/// The journal at the first step of that kind.
fn at_the(kind: StepKind, world: &mut World) -> Journal {
    world.reach(|step| step.kind() == kind)
}

fn ends_superseded(world: &World, journal: &Journal) -> String {
    match advance::next(&world.ctx(), journal, false) {
        Next::End(record) if record.outcome == Some(Outcome::Superseded) => record.message,
        other => panic!("{other:?}"),
    }
}

// Found by the simulator: the remediation stayed, its labels too, and clients were sent to two replicas.
#[test]
fn a_role_that_went_to_a_third_member_in_the_middle_of_a_switchover_supersedes_the_plan() {
    let mut world = World::new();
    let mut journal = at_the_switchover(&mut world);
    journal.current.begun_at = Some(world.now);
    world.hand_over(0, 2);
    assert!(ends_superseded(&world, &journal).contains("redis-2 became primary"));
}

// Found by the simulator: the role was taken from whoever had just got it back, a second time in one remediation.
#[test]
fn a_role_that_somebody_moves_back_is_not_handed_over_twice() {
    let mut world = World::new();
    let mut journal = at_the_switchover(&mut world);
    journal.current.begun_at = Some(world.now);
    journal.current.attempt = 1;
    world.snapshot.targets[0].pod.role_label = Some("replica".into());
    world.snapshot.targets[1].pod.role_label = Some("primary".into());
    assert!(ends_superseded(&world, &journal).contains("made redis-0 the primary again"));
}

// Found by the simulator: the pod kept its UID, so its fresh and clean process was evicted on old evidence.
#[test]
fn a_container_that_restarted_before_its_eviction_is_left_alone() {
    let mut world = World::new();
    let journal = world.begin();
    world.sample(1).run_id = RunId::new("another");
    assert!(ends_superseded(&world, &journal).contains("the Redis of redis-1 has restarted"));
}

// Found by the simulator: the switchover waited for labels that nobody set while it waited.
#[test]
fn labels_are_kept_right_until_a_switchover_begins() {
    let mut world = World::new();
    let mut journal = at_the_switchover(&mut world);
    world.snapshot.targets[1].pod.role_label = Some("primary".into());
    let labelled = |world: &World, journal: &Journal| {
        let due = redis_memory_operator::plan::labels::due(&world.ctx(), Some(journal));
        due.iter().any(|(effect, _)| matches!(effect, Effect::Label { pod, .. } if pod.as_str() == "redis-1"))
    };
    assert!(labelled(&world, &journal));
    journal.current.begun_at = Some(world.now);
    assert!(!labelled(&world, &journal), "in the switchover its two pods are left to it");
}

// Found by the simulator: a pod that never came back was looked for every second, for ever.
#[test]
fn a_pod_that_does_not_exist_supersedes_the_plan() {
    let mut world = World::new();
    let journal = world.begin();
    world.snapshot.targets.remove(1);
    assert!(ends_superseded(&world, &journal).contains("redis-1 is gone"));
}

// Found by the simulator: the candidate's process was lost in the middle, somebody made the next one primary, and the
// switchover waited for ever for the process that it knew.
#[test]
fn a_candidate_that_restarted_and_was_made_primary_supersedes_the_plan() {
    let mut world = World::new();
    let journal = at_the_switchover(&mut world);
    let Next::Act(journal, _) = advance::next(&world.ctx(), &journal, false) else { panic!("the switchover begins") };
    world.hand_over(0, 1);
    world.sample(1).run_id = RunId::new("another");
    assert!(ends_superseded(&world, &journal).contains("the Redis of redis-1 has restarted and is primary"));
}

// Found by the simulator: the replica was to follow a pod that was no primary any more, which was refused for ever.
#[test]
fn a_role_that_went_on_before_the_repointing_supersedes_the_plan() {
    let mut world = World::new();
    let journal = at_the(StepKind::Repoint, &mut world);
    world.hand_over(1, 0);
    assert!(ends_superseded(&world, &journal).contains("redis-0 became primary, not redis-1"));
}

// Found by the simulator: a replica that said yes and did not follow was told eight times a second.
#[test]
fn a_replica_that_says_yes_and_does_not_follow_is_told_less_and_less_often() {
    let mut world = World::new();
    let mut journal = at_the(StepKind::Repoint, &mut world);
    let mut told = Vec::new();
    for second in 0..60 {
        match advance::next(&world.ctx(), &journal, false) {
            Next::Act(next, effect) => {
                assert!(matches!(*effect, Effect::Repoint { .. }), "{effect:?}");
                told.push(second);
                journal = *next;
            }
            Next::Wait(..) => {}
            other => panic!("{other:?}"),
        }
        world.tick(1);
    }
    assert_eq!(told, [0, 1, 3, 7, 15, 31]);
}

// Found by the simulator: while the API server failed nobody could be told, and afterwards all of that was made up for.
#[test]
fn what_could_not_be_tried_for_a_while_is_not_made_up_for() {
    let mut world = World::new();
    let mut journal = at_the(StepKind::Repoint, &mut world);
    let mut told = 0;
    let mut look = |world: &World, journal: &mut Journal| {
        if let Next::Act(next, _) = advance::next(&world.ctx(), journal, false) {
            *journal = *next;
            told += 1;
        }
    };
    look(&world, &mut journal);
    world.tick(200);
    for _ in 0..10 {
        look(&world, &mut journal);
    }
    assert_eq!(told, 2);
}

// Found by the simulator: so was a second primary that said yes.
#[test]
fn a_second_primary_that_says_yes_and_stays_one_is_told_less_and_less_often() {
    let mut world = World::new();
    world.comes_back_as_primary = true;
    let mut journal = world.begin();
    let mut told = Vec::new();
    for second in 0..600 {
        match advance::next(&world.ctx(), &journal, false) {
            Next::Act(next, effect) if matches!(*effect, Effect::Demote { .. }) => {
                told.push(second);
                journal = *next;
            }
            Next::Act(next, effect) => {
                world.apply(&effect);
                journal = *next;
            }
            Next::Record(next) => journal = *next,
            Next::Wait(..) => {}
            other => panic!("{other:?}"),
        }
        world.tick(1);
        if told.first().is_some_and(|first| second - first >= 60) {
            break;
        }
    }
    assert!((3..=10).contains(&told.len()), "{told:?}");
}

// Found by the simulator: with the clock of the node before ahead of ours, a step that waits was looked at every second.
#[test]
fn a_beginning_that_lies_ahead_makes_no_hot_loop() {
    let mut world = World::new();
    let mut journal = at_the(StepKind::AwaitReplica, &mut world);
    world.snapshot.targets[1].pod.ready = false;
    for (ahead, wanted) in [(0, 1), (70, 10), (3, 10), (-3, 3)] {
        journal.current.begun_at = Some(world.now.saturating_add(SignedDuration::from_secs(ahead)).expect("in range"));
        match advance::next(&world.ctx(), &journal, false) {
            Next::Wait(_, pause) => assert_eq!(pause.as_secs(), wanted, "{ahead} s ahead"),
            other => panic!("{other:?}"),
        }
    }
}
