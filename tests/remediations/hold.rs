//! Somebody holds a pod, its StatefulSet or the policy: before a remediation, and after each of its effects.

use super::*;

/// After which effect of a whole remediation each kind of hold is set, and what is still done.
fn held_after(effects: usize, hold: impl Fn(&mut World)) -> (WorkloadRecord, World) {
    let mut world = World::new();
    let record = world.walk_changed(effects, hold);
    (record, world)
}

fn hold_policy(world: &mut World) {
    world.snapshot.surroundings.hold = Some("freeze".to_owned());
}

#[test]
fn a_hold_of_the_policy_in_the_middle_pauses_at_the_next_safe_point() {
    for effects in 1..full_order().len() {
        let (record, world) = held_after(effects, hold_policy);
        assert_eq!(record.outcome, Some(Outcome::Paused), "{}", record.message);
        let text = "Held: policy sessions is held by its annotation redismemory.io/hold (\"freeze\")";
        assert!(record.message.starts_with(text), "{}", record.message);
        // After the switchover the replicas still follow; no effect beyond that one was begun.
        let finished = if effects == 3 { 4 } else { effects };
        assert_eq!(world.done, full_order()[..finished], "{}", record.message);
    }
}

#[test]
fn a_set_that_is_held_is_one_whose_pods_are() {
    let (record, world) = held_after(1, |world| world.snapshot.stateful_sets[0].hold = Some(String::new()));
    assert_eq!(record.outcome, Some(Outcome::Paused));
    assert!(record.message.contains("StatefulSet redis") && record.message.contains("no reason"), "{}", record.message);
    assert_eq!(world.done, full_order()[..1]);
}

#[test]
fn a_pod_that_is_held_keeps_the_others_waiting_for_no_longer_than_the_next_plan() {
    let (record, world) = held_after(1, |world| world.snapshot.targets[2].pod.hold = Some("audit".to_owned()));
    assert_eq!(record.outcome, Some(Outcome::Paused), "redis-2 was still to be restarted: {}", record.message);
    let mut world = World { records: vec![record], ..world };
    world.policy.restart.cooldown = Duration::ZERO;
    (0..60).for_each(|_| world.tick(15));
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert!(!world.done.contains(&("Evict", "redis-2".to_owned())), "{:?}", world.done);
    let blocked = begin::consider(&world.ctx()).blocked;
    assert_eq!(blocked.first().map(|blocked| blocked.reason), Some(BlockReason::Held), "only the held one is left");
}

#[test]
fn a_hold_of_what_nothing_left_disturbs_stops_nothing() {
    let (record, world) = held_after(1, |world| world.snapshot.targets[1].pod.hold = Some("audit".to_owned()));
    // It has been restarted, and would have got the role.
    assert_eq!(record.outcome, Some(Outcome::Paused), "{}", record.message);
    assert_eq!(world.done, full_order()[..1]);
    let (record, world) = held_after(4, |world| world.snapshot.targets[1].pod.hold = Some("audit".to_owned()));
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "it has the role by then: {}", record.message);
    assert_eq!(world.done, full_order());
}
