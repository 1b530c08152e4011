//! A third member has the role, or another set comes into sight, in the middle of a switchover.

use pretty_assertions::assert_eq;

use super::*;

// Found by seed 69330: the old primary's pod was drained and found no node any more, somebody gave the role to a third, and
// the switchover went on for ever, with the cluster's slot.
#[test]
fn an_old_primary_whose_pod_does_not_come_back_is_not_waited_for_once_a_third_leads_the_candidate() {
    let mut world = World::begun();
    world.primary_is(Some(2));
    world.snapshot.targets[0].redis = Observation::Pending;
    assert!(world.act().resumed, "the old primary is only silent: it may be primary");
    world.snapshot.targets[0].pod.uid = PodUid::from("replacement");
    let (outcome, text) = world.outcome();
    assert_eq!(outcome, Outcome::Superseded);
    assert!(text.contains("redis-2 became primary, not redis-1"), "{text}");
    let Role::Replica(link) = &mut world.sample(1).replication.role else { panic!("a replica") };
    link.primary = fixtures::stable_address(0);
    assert!(!matches!(world.next(), Next::End(_)), "nobody gave it the role");
}

// What seed 65078 did to a replacement, done to a whole set: its primary says that it follows one of ours.
#[test]
fn members_of_another_set_are_never_told_to_follow_the_candidate() {
    let mut world = World::begun();
    let mut other = fixtures::target(4);
    (other.pod.name, other.pod.dns_name) = (PodName::from("cache-0"), Some("cache-0.cache.shop.svc".into()));
    world.snapshot.targets.push(other);
    let told = |world: &mut World| {
        let order = world.act();
        order.others.into_iter().map(|(peer, _)| peer.pod.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(told(&mut world), ["cache-0", "redis-2"], "it has joined the set");
    if let Some(owner) = &mut world.snapshot.targets[3].pod.owner {
        (owner.name, owner.uid) = ("cache".into(), "set-cache".into());
    }
    assert_eq!(told(&mut world), ["redis-2"]);
}

#[test]
fn nor_is_a_candidate_whose_pod_does_not_come_back_once_a_third_leads_the_old_primary() {
    let mut world = World::begun();
    world.primary_is(Some(2));
    world.snapshot.targets[1].redis = Observation::Pending;
    assert!(world.act().resumed, "the candidate is only silent: it may be promoted yet");
    world.snapshot.targets[1].pod.uid = PodUid::from("replacement");
    assert_eq!(world.outcome().0, Outcome::Superseded);
    world.snapshot.targets.remove(1);
    assert_eq!(world.outcome().0, Outcome::Superseded);
    world.sample(0).replication.failover_state = FailoverState::InProgress;
    assert!(!matches!(world.next(), Next::End(_)), "the old primary is still at it");
}
