//! Another controller keeps the role label.

use pretty_assertions::assert_eq;

use super::*;

/// The role went to redis-1 that number of seconds ago, and no label has followed yet.
fn exchanged(seconds: i64) -> World {
    let mut world = World::new().under_label();
    assert!(!world.act().keeps_labels);
    world.primary_is(Some(1));
    world.record();
    world.wait(seconds);
    world
}

#[test]
fn another_controllers_label_that_follows_ends_the_step() {
    let mut world = exchanged(20);
    assert!(world.begun_record().exchanged_at.is_some());
    world.label(1, "primary");
    assert!(matches!(world.next(), Next::Wait(why, _) if why.contains("redis-0 still carries")));
    world.label(0, "replica");
    assert!(matches!(world.next(), Next::Wait(why, _) if why.contains("Service redis-primary")));
    world.clients_follow(1);
    let cursor = world.journal.cursor;
    world.record();
    assert_eq!((world.journal.cursor, world.journal.primary.pod.as_str()), (cursor + 1, "redis-1"));
}

#[test]
fn a_label_that_does_not_follow_sends_the_role_back_once() {
    let mut world = exchanged(29);
    assert!(matches!(world.next(), Next::Wait(..)));
    world.wait(1);
    let back = world.act();
    assert_eq!((back.from.pod.as_str(), back.to.pod.as_str()), ("redis-1", "redis-0"));
    assert!(back.resumed && !back.keeps_labels);
    assert!(world.begun_record().back);
    assert_eq!(world.journal.current.attempt, 1);
    // A crash in between: the same way is gone on.
    world.primary_is(None);
    assert_eq!(world.act().to.pod.as_str(), "redis-0");
    world.primary_is(Some(0));
    let (outcome, message) = world.outcome();
    assert_eq!(outcome, Outcome::LabelDidNotFollow);
    assert!(message.contains("redis-0 is primary again") && message.contains("30 s"), "{message}");
}

#[test]
fn a_label_that_comes_before_the_role_is_back_is_good_enough() {
    let mut world = exchanged(31);
    world.act();
    let cursor = world.journal.cursor;
    world.clients_follow(1);
    world.record();
    assert_eq!((world.journal.cursor, world.journal.primary.pod.as_str()), (cursor + 1, "redis-1"));
}

#[test]
fn a_role_that_cannot_go_back_is_said() {
    let mut world = exchanged(31);
    world.act();
    world.act();
    world.journal.current.failures = 2;
    world.answered();
    let (outcome, message) = world.outcome();
    assert_eq!(outcome, Outcome::LabelDidNotFollow);
    assert!(message.contains("could not be handed from redis-1 to redis-0"), "{message}");
}

#[test]
fn the_role_goes_back_only_to_a_replica_that_has_everything() {
    let mut world = exchanged(31);
    if let Role::Replica(link) = &mut world.sample(0).replication.role {
        link.link_up = false;
    }
    assert!(matches!(world.next(), Next::Wait(why, _) if why.contains("cannot go back yet")));
}

#[test]
fn under_label_only_the_sets_own_services_have_to_follow() {
    let mut world = World::begun().under_label();
    let other = fixtures::primary_service(vec!["cart-0".into()], vec!["cart-0".into()]);
    world.snapshot.services.push(crate::domain::pod::Service { name: "cart-primary".into(), ..other });
    world.primary_is(Some(1));
    world.clients_follow(1);
    world.record();
    assert_eq!(world.journal.primary.pod, pod_name(1), "it is settled");
}
