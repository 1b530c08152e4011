//! The step Switchover in each state that a look can find.

mod label;
mod third;

use jiff::{SignedDuration, Timestamp};
use pretty_assertions::assert_eq;

use super::*;
use crate::{
    domain::{
        addresses::PodAddresses,
        fixtures::{self, NOW, pod_name},
        names::{PodUid, RunId},
        policy::{AuthorityRule, Policy},
        sample::{ReplicaLink, Sample},
        snapshot::{Observation, ProbeFailure, RedisRights, Snapshot},
        step::StepKind,
    },
    plan::{
        Context, PlanSettings, advance, begin,
        effect::{MemberName, Peer},
    },
};

/// The fixtures' set, its journal at the step Switchover from redis-0 to redis-1.
struct World {
    policy: Policy,
    snapshot: Snapshot,
    now: Timestamp,
    settings: PlanSettings,
    journal: Journal,
}

impl World {
    fn new() -> Self {
        let (policy, snapshot) = fixtures::enforced();
        let settings = PlanSettings::default();
        let ctx = Context::of(&policy, &snapshot, &[], NOW, &settings);
        let mut journal = begin::consider(&ctx).begin.expect("nothing is in the way");
        let at = journal.steps.iter().position(|planned| planned.step.kind() == StepKind::Switchover);
        journal.cursor = u32::try_from(at.expect("it hands over")).expect("small");
        Self { policy, snapshot, now: NOW, settings, journal }
    }

    /// Begun: the journal of the first attempt stands.
    fn begun() -> Self {
        let mut world = Self::new();
        world.act();
        world
    }

    fn under_label(mut self) -> Self {
        self.policy.redis.authority = AuthorityRule::Label;
        self
    }

    fn next(&self) -> Next {
        let Self { policy, snapshot, settings, .. } = self;
        let ctx = Context::of(policy, snapshot, &[], self.now, settings);
        advance::next(&ctx, &self.journal, false)
    }

    /// The order of the next look, whose journal is written.
    fn act(&mut self) -> SwitchoverOrder {
        match self.next() {
            Next::Act(journal, effect) => {
                self.journal = *journal;
                match *effect {
                    Effect::Switchover(order) => *order,
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn record(&mut self) {
        match self.next() {
            Next::Record(journal) => self.journal = *journal,
            other => panic!("{other:?}"),
        }
    }

    fn outcome(&self) -> (Outcome, String) {
        match self.next() {
            Next::End(record) => (record.outcome.expect("it has ended"), record.message),
            other => panic!("{other:?}"),
        }
    }

    fn sample(&mut self, n: usize) -> &mut Sample {
        self.snapshot.targets[n].sample_mut().expect("the fixture has a sample")
    }

    /// `n` is primary, everybody else its replica; with `None` nobody is.
    fn primary_is(&mut self, primary: Option<u8>) {
        for n in 0..3_u8 {
            let upstream = primary.unwrap_or(1);
            let sample = self.sample(usize::from(n));
            sample.replication.role = if primary == Some(n) {
                Role::Primary
            } else {
                let primary = fixtures::stable_address(upstream);
                Role::Replica(ReplicaLink { primary, link_up: true, sync_in_progress: false, read_only: true })
            };
            let lines = (0..3).filter(|other| *other != n).map(fixtures::replica_line);
            sample.replication.replicas = if primary == Some(n) { lines.collect() } else { Vec::new() };
        }
    }

    fn label(&mut self, n: u8, value: &str) {
        self.snapshot.targets[usize::from(n)].pod.role_label = Some(value.to_owned());
    }

    /// Label and Services point at that pod alone.
    fn clients_follow(&mut self, n: u8) {
        for other in 0..3 {
            self.label(other, if other == n { "primary" } else { "replica" });
        }
        self.snapshot.services[0].ready_pods = vec![fixtures::pod_uid(n)];
    }

    fn wait(&mut self, seconds: i64) {
        self.now = self.now.saturating_add(SignedDuration::from_secs(seconds)).expect("in range");
    }

    /// The attempt under way has ended by its own word.
    fn answered(&mut self) {
        self.journal.current.switchover.as_mut().expect("it was begun").settled = true;
    }

    /// The next look ends what may be left of an attempt that nobody answers for, begins nothing, and then it ends.
    fn closed(&mut self) -> (Outcome, String) {
        let journal = self.journal.clone();
        let order = self.act();
        assert!(order.resumed && !order.begins, "{order:?}");
        assert_eq!(self.journal, journal, "no further attempt");
        self.answered();
        self.outcome()
    }

    fn begun_record(&self) -> &SwitchoverRecord {
        self.journal.current.switchover.as_ref().expect("it was begun")
    }
}

#[test]
fn method_and_processes_are_written_before_the_first_effect() {
    let mut world = World::new();
    let order = world.act();
    assert_eq!(order.method, SwitchoverMethod::Guarded);
    assert!(order.begins && !order.resumed && !order.to_gone && !order.to_going && order.keeps_labels);
    assert_eq!((order.from.pod.as_str(), order.to.pod.as_str()), ("redis-0", "redis-1"));
    let sent = |name: Option<MemberName>| name.map(|name| name.sent);
    assert_eq!(sent(order.by_name.clone()), Some(fixtures::stable_address(1)), "in the form that replicas use");
    let others: Vec<_> = order.others.iter().map(|(peer, name)| (peer.pod.as_str(), sent(name.clone()))).collect();
    assert_eq!(others, [("redis-2", Some(fixtures::stable_address(1)))]);
    let record = world.begun_record();
    assert_eq!(record.method, SwitchoverMethod::Guarded);
    assert_eq!(
        (&record.primary.run_id, &record.candidate.as_ref().unwrap().run_id),
        (&order.from.run_id, &order.to.run_id)
    );
    assert_eq!(record.replid, order.replid);
    assert_eq!(world.journal.current.attempt, 1);
}

#[test]
fn the_method_follows_the_rights() {
    let mut world = World::new();
    world.snapshot.redis_rights = RedisRights::Known(vec![(pod_name(2), vec!["client|pause".into()])]);
    assert_eq!(world.act().method, SwitchoverMethod::Native);
    assert!(world.begun_record().why.contains("redis-2"), "{}", world.begun_record().why);

    let mut world = World::new();
    world.snapshot.redis_rights = RedisRights::Unknown;
    world.record();
    assert!(matches!(world.next(), Next::Wait(..)), "what is not known is asked again");
    world.snapshot.redis_rights = RedisRights::Known(Vec::new());
    world.snapshot.unasked = vec![pod_name(2)];
    assert!(matches!(world.next(), Next::Wait(..)), "nor is that of one member");
    world.snapshot.unasked = vec!["cart-2".into()];
    assert!(matches!(world.next(), Next::Act(..)), "a member of another set has no say");
    world.snapshot.unasked = vec![pod_name(2)];
    world.settings.switchover = SwitchoverChoice::Only(SwitchoverMethod::Native);
    assert_eq!(world.act().method, SwitchoverMethod::Native);
}

#[test]
fn in_between_it_goes_on_with_what_was_begun() {
    let mut world = World::begun();
    let journal = world.journal.clone();
    world.primary_is(None);
    // Another method would be chosen now: that does not matter any more.
    world.snapshot.redis_rights = RedisRights::Known(vec![(pod_name(2), vec!["client|pause".into()])]);
    let order = world.act();
    assert_eq!(order.method, SwitchoverMethod::Guarded);
    assert!(order.resumed && !order.to_gone && !order.begins);
    assert_eq!(world.journal, journal, "nothing new is written");
    world.snapshot.targets[1].pod.terminating = true;
    assert!(world.act().to_going);
}

#[test]
fn a_candidate_that_was_replaced_in_between_is_gone() {
    let mut world = World::begun();
    let address = Peer::of(&world.snapshot.targets[1]).unwrap().address.to_string();
    world.primary_is(None);
    world.snapshot.targets[1].pod.uid = PodUid::from("replacement");
    world.snapshot.targets[1].pod.addresses = PodAddresses::of(["10.9.9.9"]);
    let order = world.act();
    assert!(order.to_gone);
    assert!(
        order.to_addresses.contains(&address),
        "{:?}: how else to tell whom the old one follows?",
        order.to_addresses
    );
    assert_eq!(order.to.uid, fixtures::pod_uid(1), "the one that was begun with");
    world.snapshot.targets.remove(1);
    assert!(world.act().to_gone, "nobody waits for the replacement: there is no primary");
}

#[test]
fn a_candidate_that_restarted_in_between_is_not_taken_for_the_one_before() {
    let mut world = World::begun();
    let before = world.begun_record().candidate.as_ref().unwrap().run_id.clone();
    world.primary_is(None);
    world.sample(1).run_id = RunId::from("another");
    let order = world.act();
    assert!(!order.to_gone);
    assert_eq!(order.to.run_id, before, "the driver will not find it");
}

/// Its predecessor was judged by the gates, it was not: nothing is handed to it by this plan.
#[test]
fn a_candidate_that_is_another_process_is_another_plan() {
    let mut world = World::begun();
    world.sample(1).run_id = RunId::from("another");
    assert_eq!(world.closed().0, Outcome::Superseded);
}

// Seen in the simulator: the candidate was scaled away, and the kernel killed the old primary: the attempt could never answer.
#[test]
fn it_ends_when_neither_process_is_there_any_more() {
    let mut world = World::begun();
    world.snapshot.targets.remove(1);
    world.snapshot.targets[0].sample_mut().unwrap().run_id = RunId::from("another");
    assert_eq!(world.outcome().0, Outcome::Superseded);
}

// Seen in the simulator: the old primary was drained, and no node had room for it; the new one was killed and came back as primary.
#[test]
fn it_ends_when_the_new_primary_restarted_and_the_old_one_finds_no_room() {
    let mut world = World::begun();
    world.primary_is(Some(1));
    world.sample(1).run_id = RunId::from("another");
    world.snapshot.targets[0].pod.uid = PodUid::from("replacement");
    world.snapshot.targets[0].redis = Observation::Pending;
    assert_eq!(world.outcome().0, Outcome::Superseded);
}

// Seen in the simulator: of two attempts the second was cut short, and its demotion arrived after the plan had ended.
#[test]
fn it_never_ends_with_the_old_primary_before_an_attempt_has_answered() {
    let mut world = World::begun();
    world.answered();
    assert!(world.act().begins);
    assert!(!world.begun_record().settled, "the second attempt has not answered yet");
    world.journal.current.failures = 2;
    assert_eq!(world.closed().0, Outcome::SwitchoverFailed);
}

#[test]
fn it_is_tried_twice_and_the_second_time_a_pause_may_be_left() {
    let mut world = World::begun();
    let order = world.act();
    assert!(order.resumed);
    assert_eq!(world.journal.current.attempt, 2);
    world.journal.current.failures = 2;
    world.journal.current.failed("redis-1 did not catch up within 1 s");
    world.answered();
    let text = "the role could not be handed from redis-0 to redis-1 in 2 attempts; the last time: redis-1 did not catch \
                up within 1 s";
    assert_eq!(world.outcome(), (Outcome::SwitchoverFailed, text.to_owned()));
}

#[test]
fn an_operator_that_dies_in_the_middle_uses_up_no_attempt_of_the_set_and_not_for_ever() {
    let mut world = World::begun();
    for _ in 0..4 {
        assert!(world.act().begins);
    }
    assert!(!world.act().begins, "what may be left of the last attempt is ended first");
    world.answered();
    let Next::End(record) = world.next() else { panic!("{:?}", world.next()) };
    assert_eq!(record.outcome, Some(Outcome::GaveUp));
    assert!(record.message.contains("the operator was cut short 5 times"), "{}", record.message);
    assert!(record.retry_at.is_some(), "after an hour");
}

#[test]
fn a_primary_that_restarted_meanwhile_is_another_plan() {
    let mut world = World::begun();
    world.sample(0).run_id = RunId::from("another");
    assert_eq!(world.outcome().0, Outcome::Superseded);
}

/// What is left of the step, the labels, is everybody's: upkeep moves them by the live roles.
#[test]
fn an_old_primary_that_restarted_after_the_exchange_is_not_waited_for() {
    let mut world = World::begun();
    world.primary_is(Some(1));
    world.sample(0).run_id = RunId::from("another");
    let (outcome, text) = world.outcome();
    assert_eq!(outcome, Outcome::Superseded);
    assert!(text.contains("redis-0 has restarted, and redis-1 is primary"), "{text}");
}

// Found by the simulator: FAILOVER had left the old primary following the address of a pod that was replaced since.
#[test]
fn a_switchover_that_is_given_up_leaves_nobody_following_an_address() {
    let mut world = World::begun();
    world.primary_is(Some(1));
    world.sample(1).run_id = RunId::from("another");
    let follow = |world: &mut World, address| {
        let Role::Replica(link) = &mut world.sample(0).replication.role else { panic!("a replica") };
        link.primary = address;
    };
    follow(&mut world, fixtures::address(9));
    world.wait(60);
    let Next::Act(_, effect) = world.next() else { panic!("{:?}", world.next()) };
    let Effect::Repoint { peer, by_name, to } = *effect else { panic!("{effect:?}") };
    assert_eq!((peer.pod.as_str(), to.pod.as_str()), ("redis-0", "redis-1"));
    assert!(by_name.is_some_and(|name| name.sent.host.starts_with("redis-1")), "by its name");
    follow(&mut world, fixtures::stable_address(1));
    let (outcome, text) = world.outcome();
    assert_eq!(outcome, Outcome::Superseded);
    assert!(text.contains("redis-1 has restarted and is primary"), "{text}");
}

#[test]
fn an_old_primary_that_fell_silent_after_the_labels_were_moved_is_not_waited_for() {
    let mut world = World::begun();
    world.primary_is(Some(1));
    world.snapshot.targets[0].redis = Observation::Failed(ProbeFailure::TimedOut("no answer".into()));
    assert!(world.act().resumed, "the labels are not there yet");
    world.clients_follow(1);
    world.record();
    assert_eq!(world.journal.primary.pod.as_str(), "redis-1");
}

#[test]
fn it_is_not_tried_again_while_a_member_does_not_answer() {
    let mut world = World::begun();
    world.label(1, "primary");
    world.snapshot.targets[2].redis = Observation::Failed(ProbeFailure::TimedOut("no answer".into()));
    let Next::Act(journal, effect) = world.next() else { panic!("{:?}", world.next()) };
    assert_eq!(*journal, world.journal, "no further attempt");
    let Effect::Label { pod, value, .. } = *effect else { panic!("{effect:?}") };
    assert_eq!((pod.as_str(), value.as_str()), ("redis-1", "replica"), "clients must not meet a replica meanwhile");
    world.label(1, "replica");
    let (outcome, text) = world.closed();
    assert_eq!(outcome, Outcome::Superseded);
    assert!(text.contains("redis-2 does not answer"), "{text}");
}

// Seen in the simulator: a member that was deleted meanwhile came back, silent, while the next attempt waited.
#[test]
fn it_is_not_tried_again_while_a_member_does_not_exist() {
    let mut world = World::begun();
    world.snapshot.targets.remove(2);
    let (outcome, text) = world.closed();
    assert_eq!(outcome, Outcome::Superseded);
    assert!(text.contains("redis-2 does not exist"), "{text}");
}

// Seen in the simulator: the candidate's pod was deleted and found no node any more, and what had ended long ago was ended
// again every ten seconds, with the cluster's slot.
#[test]
fn a_candidate_that_does_not_come_back_is_not_waited_for() {
    let mut world = World::begun();
    world.snapshot.targets[1].pod.uid = PodUid::from("replacement");
    world.snapshot.targets[1].redis = Observation::Pending;
    world.snapshot.targets[1].pod.role_label = Some("replica".to_owned());
    assert_eq!(world.closed().0, Outcome::Superseded);
    let mut world = World::begun();
    world.snapshot.targets.remove(1);
    assert_eq!(world.closed().0, Outcome::Superseded);
}

// Seen in the simulator: the plan ended for somebody who only said that it was primary, and nobody was.
#[test]
fn a_third_primary_whom_neither_of_the_two_follows_is_waited_for_and_gets_no_label() {
    let mut world = World::begun();
    world.primary_is(None);
    let follows = |world: &mut World, n: usize, upstream: u8| {
        world.sample(n).replication.role = Role::Replica(ReplicaLink {
            primary: fixtures::stable_address(upstream),
            link_up: true,
            sync_in_progress: false,
            read_only: true,
        });
    };
    follows(&mut world, 0, 1);
    follows(&mut world, 1, 0);
    world.sample(2).replication.role = Role::Primary;
    assert!(matches!(world.next(), Next::Gate(blocked, _) if blocked[0].reason == BlockReason::TwoPrimaries));
    let due = |world: &World| {
        let World { policy, snapshot, settings, now, journal } = world;
        let ctx = Context::of(policy, snapshot, &[], *now, settings);
        crate::plan::labels::due(&ctx, Some(journal)).len()
    };
    assert_eq!(due(&world), 0);
    follows(&mut world, 0, 2);
    assert_eq!(world.outcome().0, Outcome::Superseded, "somebody gave it the role");
    assert_eq!(due(&world), 1);
}

// The operator died after it had labelled the candidate, which then took a full sync.
#[test]
fn the_candidates_label_goes_back_before_it_is_waited_for() {
    let mut world = World::begun();
    world.label(1, "primary");
    if let Role::Replica(link) = &mut world.sample(1).replication.role {
        (link.link_up, link.sync_in_progress) = (false, true);
    }
    let Next::Act(journal, effect) = world.next() else { panic!("{:?}", world.next()) };
    assert_eq!(*journal, world.journal, "no further attempt");
    assert!(
        matches!(*effect, Effect::Label { ref pod, ref value, .. } if (pod.as_str(), value.as_str()) == ("redis-1", "replica"))
    );
    world.label(1, "replica");
    assert!(matches!(world.next(), Next::Wait(why, _) if why.contains("full sync")));
    world.label(0, "replica");
    let Next::Act(_, effect) = world.next() else { panic!("{:?}", world.next()) };
    assert!(
        matches!(*effect, Effect::Label { ref pod, ref value, .. } if (pod.as_str(), value.as_str()) == ("redis-0", "primary"))
    );
    world.label(0, "primary");
    world.wait(24 * 3600);
    assert_eq!(world.closed().0, Outcome::TimedOut);
}

/// The mechanism: a wait that is added has to say with which labels.
#[test]
fn no_wait_comes_about_without_its_labels() {
    let source = include_str!("../hand_over.rs");
    for bare in ["self.wait(", "Next::Wait(", "Next::Gate("] {
        assert!(!source.contains(bare), "{bare}…) in hand_over.rs: use hold, hold_for, hold_at or hold_as_before");
    }
}

#[test]
fn roles_and_labels_exchanged_end_the_step() {
    let mut world = World::begun();
    let cursor = world.journal.cursor;
    world.primary_is(Some(1));
    assert!(world.act().resumed, "the labels are not there yet");
    world.clients_follow(1);
    world.record();
    assert_eq!((world.journal.cursor, world.journal.primary.pod.as_str()), (cursor + 1, "redis-1"));
    assert_eq!(world.journal.current.switchover, None);
}

#[test]
fn two_primaries_freeze_it() {
    let mut world = World::begun();
    world.sample(1).replication.role = Role::Primary;
    assert!(matches!(world.next(), Next::Gate(blocked, _) if blocked[0].reason == BlockReason::TwoPrimaries));
}

#[test]
fn a_journal_of_the_first_version_is_native() {
    let mut world = World::begun();
    world.journal.current.switchover = None;
    world.primary_is(None);
    world.record();
    assert_eq!(world.act().method, SwitchoverMethod::Native);
}
