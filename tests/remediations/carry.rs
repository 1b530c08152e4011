//! What clients rely on is given to the candidate before the role moves, and taken back when it does not move.

use super::*;
use redis_memory_operator::{domain::snapshot::ProbeFailure, plan::effect::Peer};

const NOTIFY: &str = "notify-keyspace-events";

impl World {
    /// The primary was told by a client library to notify of expired keys.
    fn notifying() -> Self {
        let mut world = Self::new();
        for n in 0..3 {
            world.set(n, NOTIFY, "");
            world.set(n, "timeout", "0");
        }
        world.set(0, NOTIFY, "xE");
        world
    }

    fn set(&mut self, n: usize, name: &str, value: &str) {
        let config = self.sample(n).config.as_mut().expect("readable");
        config.serving.carried.insert(name.to_owned(), value.to_owned());
    }

    fn has(&mut self, n: usize) -> String {
        self.sample(n).config.as_ref().expect("readable").serving.carried[NOTIFY].clone()
    }

    pub(super) fn carry(&mut self, peer: &Peer, settings: &[(String, String)], back: bool) {
        self.done.push((if back { "TakeBack" } else { "Carry" }, peer.pod.to_string()));
        let n = self.index(&peer.pod);
        assert_eq!(self.sample(n).run_id, peer.run_id, "the process that is meant");
        assert_ne!(n, self.primary, "a primary keeps its own");
        for (name, value) in settings {
            self.set(n, name, value);
        }
    }

    /// The journal as it stands when the candidate has them and nothing else is begun.
    fn carried(&mut self) -> Journal {
        self.reach_after(|effect| matches!(effect, Effect::Carry { .. }))
    }
}

#[test]
fn the_candidate_gets_them_before_the_role_moves_and_keeps_them() {
    let mut world = World::notifying();
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    let mut order = full_order();
    order.insert(2, ("Carry", "redis-1".to_owned()));
    assert_eq!(world.done, order);
    assert_eq!(world.has(1), "xE");
    // The old primary's replacement gets back what it had; the other replica never had it.
    assert_eq!((world.has(0), world.has(2)), ("xE".into(), String::new()));
}

#[test]
fn a_successor_takes_them_back_when_the_switchover_is_given_up() {
    let mut world = World::notifying();
    let journal = world.carried();
    assert_eq!(world.has(1), "xE");
    assert_eq!(journal.carried[0].settings.len(), 1, "{:?}", journal.carried);
    // Whoever takes over has the journal and nothing else.
    let journal: Journal = serde_json::from_str(&serde_json::to_string(&journal).unwrap()).unwrap();
    world.policy.suspend = true;
    let record = world.end_soon(journal, |_| false);
    assert_eq!(record.outcome, Some(Outcome::Paused));
    assert_eq!(world.has(1), "");
    assert_eq!(world.done.last(), Some(&("TakeBack", "redis-1".to_owned())));
}

#[test]
fn a_candidate_that_became_primary_by_somebody_elses_hand_keeps_them() {
    let mut world = World::notifying();
    let journal = world.carried();
    world.hand_over(0, 1);
    let record = world.end_soon(journal, |_| false);
    assert_eq!(record.outcome, Some(Outcome::Superseded));
    assert_eq!(world.has(1), "xE");
}

#[test]
fn a_candidate_that_will_not_take_them_does_not_take_over() {
    let mut world = World::notifying();
    let journal = world.carried();
    world.set(1, NOTIFY, "");
    let record = world.end_soon(journal, |_| true);
    assert_eq!(record.outcome, Some(Outcome::ConfigDrift));
    assert!(record.message.contains("notify-keyspace-events of redis-1 could not be set to xE"), "{}", record.message);
    assert!(!world.done.iter().any(|(kind, _)| *kind == "Switchover"));
}

#[test]
fn what_cannot_be_taken_back_is_drift() {
    let mut world = World::notifying();
    let journal = world.carried();
    world.policy.suspend = true;
    let record = world.end_soon(journal.clone(), |_| true);
    assert_eq!(record.outcome, Some(Outcome::ConfigDrift));
    assert!(record.message.contains("redis-1") && record.message.contains("Suspended"), "{}", record.message);
    assert_eq!(world.done.iter().filter(|(kind, _)| *kind == "Refused").count(), 3);

    world.snapshot.targets[1].redis = Observation::Failed(ProbeFailure::TimedOut("silent".into()));
    assert_eq!(world.end_soon(journal, |_| false).outcome, Some(Outcome::ConfigDrift));
}

#[test]
fn what_a_server_does_not_say_is_left_alone() {
    let mut world = World::notifying();
    for n in [1, 2] {
        world.sample(n).config.as_mut().unwrap().serving.carried.remove(NOTIFY);
    }
    let journal = world.begin();
    assert_eq!(world.walk(journal, None).outcome, Some(Outcome::Succeeded));
    assert_eq!(world.done, full_order());
}
