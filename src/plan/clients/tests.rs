//! The old primary waits for its eviction, and clients stand on it.

use jiff::{SignedDuration, Timestamp};
use pretty_assertions::assert_eq;

use super::*;
use crate::{
    domain::{
        blocked::BlockReason,
        fixtures::{self, NOW, pod_name},
        journal::{Outcome, WorkloadRecord},
        policy::Policy,
        sample::Sample,
        snapshot::{Observation, ProbeFailure, Snapshot},
        step::StepKind,
    },
    plan::{PlanSettings, begin, decide, next::Next},
};

/// redis-1 has taken over from redis-0, whose eviction is the step under way; clients follow.
struct World {
    policy: Policy,
    snapshot: Snapshot,
    journal: Journal,
    now: Timestamp,
    settings: PlanSettings,
}

impl World {
    fn new() -> Self {
        let (policy, snapshot) = fixtures::enforced();
        let settings = PlanSettings::default();
        let ctx = Context::of(&policy, &snapshot, &[], NOW, &settings);
        let journal = begin::consider(&ctx).begin.expect("nothing is in the way");
        let mut world = Self { policy, snapshot, journal, now: NOW, settings };
        for n in 0..3_u8 {
            let sample = world.sample(usize::from(n));
            sample.replication.role = fixtures::replica_role();
            if let Role::Replica(link) = &mut sample.replication.role {
                link.primary = fixtures::stable_address(1);
            }
            sample.replication.replicas.clear();
        }
        world.sample(1).replication.role = Role::Primary;
        world.sample(1).replication.replicas = vec![fixtures::replica_line(0), fixtures::replica_line(2)];
        world.snapshot.services[0].ready_pods = vec![fixtures::pod_uid(1)];
        world.at(|step| matches!(step, Step::Evict { pod } if *pod == pod_name(0)));
        world
    }

    fn at(&mut self, wanted: impl Fn(&Step) -> bool) {
        let at = self.journal.steps.iter().position(|planned| wanted(&planned.step)).expect("the plan has it");
        self.journal.cursor = u32::try_from(at).expect("small");
    }

    fn sample(&mut self, n: usize) -> &mut Sample {
        self.snapshot.targets[n].sample_mut().expect("the fixture has a sample")
    }

    fn lead(&self, next: Next) -> Next {
        let Self { policy, snapshot, settings, .. } = self;
        let ctx = Context::of(policy, snapshot, &[], self.now, settings);
        lead(&ctx, &self.journal, next)
    }

    /// Looked at while the eviction is waited for.
    fn look(&mut self) -> Option<Effect> {
        match self.lead(waiting()) {
            Next::Record(journal) => self.journal = *journal,
            Next::Act(journal, effect) => {
                self.journal = *journal;
                return Some(*effect);
            }
            _ => {}
        }
        None
    }

    fn wait(&mut self, seconds: i64) {
        self.now = self.now.saturating_add(SignedDuration::from_secs(seconds)).expect("in range");
        self.sample(0).server.uptime += Duration::from_secs(seconds.unsigned_abs());
    }
}

fn waiting() -> Next {
    Next::Wait("a budget says no".into(), Duration::from_secs(60))
}

fn end() -> Next {
    Next::End(Box::new(WorkloadRecord {
        outcome: Some(Outcome::WindowClosed),
        remediation: "r".into(),
        generation: 1,
        ..WorkloadRecord::new(fixtures::shard_id(), "redis".into(), NOW)
    }))
}

#[test]
fn who_still_stands_on_the_old_primary_is_sent_away_after_ten_seconds() {
    let mut world = World::new();
    assert_eq!(world.look(), None);
    assert_eq!(world.journal.led.as_ref().map(|led| led.since), Some(NOW), "it is written when that began");
    let Next::Wait(_, after) = world.lead(waiting()) else { panic!("it waits") };
    assert_eq!(after, PATIENCE, "and is looked at in time");
    world.wait(9);
    assert_eq!(world.look(), None);
    world.wait(1);
    let Some(Effect::CloseClients { peer, primary, standing }) = world.look() else { panic!("it is done") };
    assert_eq!((peer.pod, peer.run_id), (pod_name(0), fixtures::run_id(0)));
    assert_eq!((primary, standing), (pod_name(1), PATIENCE.saturating_sub(CLOCK_STEP)));
    // The process that takes over finds it intended, and does it again, a few times.
    let mut again = 0;
    for _ in 0..100 {
        world.wait(10);
        again += u32::from(world.look().is_some());
    }
    assert_eq!(again, ATTEMPTS - 1);
}

// Found by seed 89598: the process that wrote the beginning died, the clock of the next was 57 s ahead of its own, and clients
// that had stood there for less than that were left.
#[test]
fn the_clock_of_the_node_that_the_operator_runs_on_says_nothing_of_them() {
    for ahead in [-57, 0, 57] {
        let mut world = World::new();
        assert_eq!(world.look(), None);
        world.wait(12);
        world.now = world.now.saturating_add(SignedDuration::from_secs(ahead)).expect("in range");
        let Some(Effect::CloseClients { standing, .. }) = world.look() else { panic!("it is done in time") };
        assert_eq!(standing, Duration::from_secs(11), "{ahead} s");
    }
    // What an earlier version has written has no other clock.
    let mut world = World::new();
    world.look();
    world.journal.led.as_mut().expect("written").uptime_seconds = None;
    world.wait(12);
    assert!(matches!(world.look(), Some(Effect::CloseClients { standing, .. }) if standing == Duration::from_secs(11)));
}

// Found by the simulator: the new primary hung for a moment at the end of the remediation.
#[test]
fn a_new_primary_that_is_silent_just_then_keeps_nobody_on_the_old_one() {
    let silent = |follows: u8| {
        let mut world = World::new();
        world.snapshot.targets[1].redis = Observation::Failed(ProbeFailure::TimedOut("no answer".into()));
        if let Role::Replica(link) = &mut world.sample(0).replication.role {
            link.primary = fixtures::stable_address(follows);
        }
        world.look();
        world.wait(10);
        world.look()
    };
    assert!(matches!(silent(1), Some(Effect::CloseClients { .. })));
    assert_eq!(silent(2), None, "who leads is not known");
}

#[test]
fn an_eviction_that_goes_on_is_never_kept_waiting() {
    let world = World::new();
    let journal = Box::new(world.journal.clone());
    let evict = evict(&world);
    assert_eq!(world.lead(evict.clone()), evict);
    let record = Next::Record(journal);
    assert_eq!(world.lead(record.clone()), record);
}

fn evict(world: &World) -> Next {
    let peer = Peer::of(&world.snapshot.targets[0]).expect("it has an address");
    Next::Act(Box::new(world.journal.clone()), Box::new(Effect::Evict { peer }))
}

#[test]
fn an_eviction_that_is_refused_again_and_again_is_tried_all_the_same() {
    let mut world = World::new();
    world.journal.current.attempt = 1;
    let Next::Record(journal) = world.lead(evict(&world)) else { panic!("it is written") };
    world.journal = *journal;
    assert_eq!(world.lead(evict(&world)), evict(&world), "meanwhile it is tried");
    world.wait(10);
    let Next::Act(journal, effect) = world.lead(evict(&world)) else { panic!("it is done") };
    assert!(matches!(*effect, Effect::CloseClients { .. }), "{effect:?}");
    world.journal = *journal;
    assert_eq!(world.lead(evict(&world)), evict(&world));
}

#[test]
fn before_a_remediation_ends_here_they_are_sent_away_at_once() {
    let mut world = World::new();
    let Next::Record(journal) = world.lead(end()) else { panic!("it is written first") };
    world.journal = *journal;
    let Next::Act(journal, effect) = world.lead(end()) else { panic!("it is done") };
    assert!(matches!(*effect, Effect::CloseClients { standing: Duration::ZERO, .. }), "{effect:?}");
    world.journal = *journal;
    let Next::Act(journal, _) = world.lead(end()) else { panic!("once more, had the operator died") };
    world.journal = *journal;
    assert_eq!(world.lead(end()), end());
    world.journal.led = None;
    world.snapshot.surroundings.stopped = Some("the Lease".into());
    assert_eq!(world.lead(end()), end(), "who stops everything wants nothing done");
}

#[test]
fn nobody_is_sent_away() {
    type Change = fn(&mut World);
    let changes: [(&str, Change); 7] = [
        ("before the switchover", |w| w.at(|step| step.kind() == StepKind::Switchover)),
        ("after the eviction", |w| w.at(|step| *step == Step::AwaitReplica { pod: pod_name(0) })),
        ("it goes by itself", |w| w.snapshot.targets[0].pod.terminating = true),
        ("it is primary again", |w| w.sample(0).replication.role = Role::Primary),
        ("nobody is primary", |w| w.sample(1).replication.role = fixtures::replica_role()),
        ("there is no Service", |w| w.snapshot.services.clear()),
        ("there is no right", |w| {
            w.snapshot.redis_rights = RedisRights::Known(vec![(pod_name(0), vec!["client|kill".into()])]);
        }),
    ];
    for (name, change) in changes {
        let mut world = World::new();
        change(&mut world);
        assert_eq!(world.lead(waiting()), waiting(), "{name}");
        assert_eq!(world.lead(end()), end(), "{name}");
    }
}

// Seen in the simulator: a remediation that ended with the role's return ended before the endpoints had followed, and clients
// that keep their connections stood on a replica for as long as it lived.
#[test]
fn the_end_waits_for_the_services_to_follow_and_not_for_ever() {
    type Change = fn(&mut Vec<crate::domain::names::PodUid>);
    let changes: [Change; 2] = [|pods| pods.push(fixtures::pod_uid(0)), Vec::clear];
    for change in changes {
        let mut world = World::new();
        change(&mut world.snapshot.services[0].ready_pods);
        assert_eq!(world.lead(waiting()), waiting(), "the eviction may still come");
        let Next::Record(journal) = world.lead(end()) else { panic!("it is written since when") };
        world.journal = *journal;
        assert!(matches!(world.lead(end()), Next::Wait(..)));
        let mut followed = World { snapshot: World::new().snapshot, ..world };
        assert!(matches!(followed.lead(end()), Next::Record(_)), "now they are sent away");
        change(&mut followed.snapshot.services[0].ready_pods);
        followed.wait(10);
        assert_eq!(followed.lead(end()), end());
    }
}

#[test]
fn another_process_in_that_pod_has_its_own_time() {
    let mut world = World::new();
    world.look();
    world.wait(30);
    world.sample(0).run_id = crate::domain::names::RunId::new("restarted");
    assert_eq!(world.look(), None);
    assert_eq!(world.journal.led.as_ref().map(|led| led.since), Some(world.now));
}

#[test]
fn what_holds_the_eviction_is_said_meanwhile() {
    let mut world = World::new();
    for (n, role) in ["replica", "primary", "replica"].into_iter().enumerate() {
        world.snapshot.targets[n].pod.role_label = Some(role.into());
    }
    world.journal.primary = identity(&world.snapshot.targets[1]).expect("a sample");
    let Role::Replica(link) = &mut world.sample(2).replication.role else { panic!("a replica") };
    link.link_up = false;
    let decide = |world: &World| {
        let World { policy, snapshot, settings, .. } = world;
        let ctx = Context::of(policy, snapshot, &[], world.now, settings);
        decide::decide(&ctx, Some(&world.journal), false, true)
    };
    let Next::Record(journal) = decide(&world).act else { panic!("since when it waits") };
    assert_eq!(journal.current.waiting_since, Some(world.now));
    world.journal = *journal;
    let decision = decide(&world);
    let Next::Record(journal) = decision.act else { panic!("{decision:?}") };
    assert_eq!(decision.blocked[0].reason, BlockReason::ReplicaNotSynced);
    world.journal = *journal;
    let Next::Gate(_, after) = decide(&world).act else { panic!("it waits") };
    assert!(after <= PATIENCE);
    world.wait(10);
    let decision = decide(&world);
    assert!(matches!(decision.act, Next::Act(_, effect) if matches!(*effect, Effect::CloseClients { .. })));
    assert_eq!(decision.blocked[0].reason, BlockReason::ReplicaNotSynced);
}

/// For people and time nothing is waited for with the slot: the clients are sent on at once, and the remediation pauses.
#[test]
fn clients_are_led_before_a_pause() {
    let mut world = World::new();
    for (n, role) in ["replica", "primary", "replica"].into_iter().enumerate() {
        world.snapshot.targets[n].pod.role_label = Some(role.into());
    }
    world.journal.primary = identity(&world.snapshot.targets[1]).expect("a sample");
    world.snapshot.surroundings.maximum_restarts_per_hour = Some(2);
    world.snapshot.surroundings.restarts_last_hour = 2;
    let mut closed = 0;
    for _ in 0..10 {
        let World { policy, snapshot, settings, .. } = &world;
        let ctx = Context::of(policy, snapshot, &[], world.now, settings);
        match decide::decide(&ctx, Some(&world.journal), false, true).act {
            Next::Record(journal) => world.journal = *journal,
            Next::Act(journal, effect) => {
                assert!(matches!(*effect, Effect::CloseClients { .. }), "{effect:?}");
                closed += 1;
                world.journal = *journal;
            }
            Next::End(record) => {
                assert_eq!((record.outcome, closed), (Some(Outcome::Paused), LAST_ATTEMPTS), "{}", record.message);
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("it did not end");
}
