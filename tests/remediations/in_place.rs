//! A primary that nothing takes over from, walked through: saved, evicted, back with its data or without.

use super::*;
use redis_memory_operator::{
    domain::{blocked::BlockReason, policy::AuthorityRule, snapshot::Snapshot, write_gap::WriteGap},
    plan::effect::Peer,
};

impl World {
    fn alone() -> Self {
        let (policy, snapshot) = fixtures::standalone();
        Self { policy, snapshot, ..Self::new() }
    }

    pub(super) fn persist(&mut self, peer: &Peer, command: PlainCommand) {
        let rewrite = match command {
            PlainCommand::BgSave => false,
            PlainCommand::BgRewriteAof => true,
        };
        self.done.push((if rewrite { "Rewrite" } else { "Save" }, peer.pod.to_string()));
        let n = self.index(&peer.pod);
        assert_eq!(n, self.primary, "only a primary is made to write its data out");
        let persistence = &mut self.sample(n).persistence;
        if rewrite {
            persistence.rewrites += 1;
        } else {
            persistence.saves += 1;
            persistence.since_last_save = Some(Duration::ZERO);
        }
    }

    pub(super) fn evict_primary(&mut self, peer: &Peer) {
        let n = self.index(&peer.pod);
        assert_eq!(self.snapshot.targets[n].pod.uid, peer.uid, "the pod that is meant");
        let before = self.done.last().map(|(kind, _)| *kind);
        assert!(matches!(before, Some("Rewrite" | "Save")), "its data is written out right before: {before:?}");
        self.done.push(("EvictPrimary", peer.pod.to_string()));
        let lines = self.sample(n).replication.replicas.clone();
        self.replace(n);
        self.sample(n).replication.role = Role::Primary;
        self.sample(n).replication.replicas = lines;
    }
}

/// The journal as it stands when the primary has been evicted, for which nothing is waited.
fn evicted(world: &mut World) -> Journal {
    let mut journal = world.begin();
    for _ in 0..20 {
        match world.look(&mut journal) {
            Next::Act(_, effect) if matches!(*effect, Effect::EvictPrimary { .. }) => return journal,
            Next::Record(_) | Next::Act(..) => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("it was never evicted");
}

#[test]
fn the_aof_is_rewritten_right_before_its_primary_is_evicted() {
    let mut world = World::alone();
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(world.done, [("Rewrite", "redis-0".to_owned()), ("EvictPrimary", "redis-0".to_owned())]);
}

#[test]
fn without_an_aof_it_is_saved() {
    let mut world = World::alone();
    let config = world.sample(0).config.as_mut().unwrap();
    (config.appendonly, config.save) = (false, "3600 1".into());
    let journal = world.begin();
    assert_eq!(world.walk(journal, None).outcome, Some(Outcome::Succeeded));
    assert_eq!(world.done[0].0, "Save");
}

#[test]
fn a_journal_entry_that_was_lost_repeats_nothing() {
    for kind in [StepKind::Persist, StepKind::Evict, StepKind::AwaitPrimary, StepKind::Prove] {
        let mut world = World::alone();
        let journal = world.begin();
        let record = world.walk(journal, Some(kind));
        assert_eq!(record.outcome, Some(Outcome::Succeeded), "{kind:?}: {}", record.message);
        assert_eq!(world.done.len(), 2, "{kind:?}: {:?}", world.done);
    }
}

#[test]
fn replicas_of_a_static_set_first_then_its_primary_in_place() {
    let mut world = World::new();
    world.policy.redis.authority = AuthorityRule::Auto;
    world.policy.restart.allow_downtime = true;
    world.snapshot.targets.iter_mut().for_each(fixtures::on_claim);
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(world.kinds(), ["Evict", "Evict", "Rewrite", "EvictPrimary"]);
}

fn primary_apart() -> World {
    let mut world = World::new();
    world.policy.redis.authority = AuthorityRule::Auto;
    world.policy.restart.allow_downtime = true;
    let apart = fixtures::primary_apart();
    world.snapshot.stateful_sets = apart.stateful_sets;
    for (target, apart) in world.snapshot.targets.iter_mut().zip(apart.targets) {
        target.pod.owner = apart.pod.owner;
        fixtures::on_claim(target);
    }
    world
}

#[test]
fn so_is_a_set_whose_primary_is_in_a_stateful_set_of_its_own() {
    let mut world = primary_apart();
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(world.kinds(), ["Evict", "Evict", "Rewrite", "EvictPrimary"]);
}

#[test]
fn a_stateful_set_whose_only_pod_is_away_is_waited_for() {
    let mut world = primary_apart();
    let journal = world.reach(|step| matches!(step, Step::AwaitPrimary { .. }));
    world.snapshot.targets.remove(0);
    world.snapshot.stateful_sets.remove(0);
    world.snapshot.surroundings.stored = vec![journal.shard.clone()];
    let next = advance::next(&world.ctx(), &journal, false);
    assert!(matches!(next, Next::Wait(..)), "{next:?}");
}

#[test]
fn a_save_from_before_is_no_proof() {
    let mut world = World::alone();
    let config = world.sample(0).config.as_mut().unwrap();
    (config.appendonly, config.save) = (false, "3600 1".into());
    world.sample(0).persistence.since_last_save = Some(Duration::from_secs(1));
    let mut journal = world.begin();
    // Nothing that it is asked for happens.
    let mut asked = 0;
    for _ in 0..20 {
        match advance::next(&world.ctx(), &journal, false) {
            Next::Act(next, effect) => {
                assert!(writes_out(&effect), "{effect:?}");
                (journal, asked) = (*next, asked + 1);
            }
            Next::End(record) => {
                assert_eq!((record.outcome, asked), (Some(Outcome::PersistFailed), 3));
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("it never ended");
}

#[test]
fn a_save_that_was_begun_before_and_one_that_is_too_old_are_no_proof() {
    let mut world = World::alone();
    let config = world.sample(0).config.as_mut().unwrap();
    (config.appendonly, config.save) = (false, "3600 1".into());
    let journal = world.begin();
    let Next::Act(asked, _) = advance::next(&world.ctx(), &journal, false) else { panic!("not asked") };
    world.tick(30);
    // One more was begun, and the last that succeeded is older than our question.
    world.sample(0).persistence.saves += 1;
    world.sample(0).persistence.since_last_save = Some(Duration::from_secs(60));
    assert!(matches!(advance::next(&world.ctx(), &asked, false), Next::Act(..)), "it is asked again");
    world.sample(0).persistence.since_last_save = Some(Duration::from_secs(3));
    assert!(matches!(advance::next(&world.ctx(), &asked, false), Next::Record(..)));
    world.sample(0).persistence.child_running = true;
    assert!(matches!(advance::next(&world.ctx(), &asked, false), Next::Wait(..)));
}

#[test]
fn a_save_that_failed_is_waited_for_and_not_passed_over() {
    let mut world = World::alone();
    let journal = world.begin();
    let Next::Act(mut asked, effect) = advance::next(&world.ctx(), &journal, false) else { panic!("not asked") };
    world.apply(&effect);
    world.sample(0).persistence.status_ok = false;
    assert_eq!(world.gate(&mut asked).reason, BlockReason::PersistenceFailing);
}

#[test]
fn what_was_saved_long_ago_is_saved_again() {
    let mut world = World::alone();
    let journal = world.begin();
    let Next::Act(asked, effect) = advance::next(&world.ctx(), &journal, false) else { panic!("not asked") };
    world.apply(&effect);
    let Next::Record(saved) = advance::next(&world.ctx(), &asked, false) else { panic!("not saved") };
    // Something kept the eviction waiting.
    world.tick(1200);
    let Next::Record(back) = advance::next(&world.ctx(), &saved, false) else { panic!("not taken back") };
    assert_eq!(back.step().map(Step::kind), Some(StepKind::Persist));
    assert!(matches!(advance::next(&world.ctx(), &back, false), Next::Act(_, effect) if writes_out(&effect)));
}

#[test]
fn one_that_comes_back_empty_freezes_everything() {
    let mut world = World::alone();
    let mut journal = evicted(&mut world);
    world.sample(0).keys = 0;
    assert_eq!(world.gate(&mut journal).reason, BlockReason::PrimaryEmpty);
}

#[test]
fn while_the_only_pod_is_away_it_is_waited_for() {
    let mut world = World::alone();
    let mut journal = evicted(&mut world);
    let there = std::mem::take(&mut world.snapshot.targets);
    for _ in 0..3 {
        match advance::next(&world.ctx(), &journal, false) {
            Next::Record(next) => journal = *next,
            Next::Wait(why, _) => assert!(why.contains("writes are stopped"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    world.snapshot = Snapshot { targets: there, ..world.snapshot };
    world.tick(1);
    assert_eq!(world.walk(journal, None).outcome, Some(Outcome::Succeeded));
}

#[test]
fn consent_that_is_taken_back_stops_it_before_the_eviction() {
    let mut world = World::alone();
    let journal = world.begin();
    world.policy.restart.allow_downtime = false;
    world.policy.generation += 1;
    let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("not ended") };
    assert_eq!(record.outcome, Some(Outcome::Superseded));
    assert_eq!(world.done, Vec::new());
}

#[test]
fn one_that_does_not_come_back_times_out() {
    let mut world = World::alone();
    let journal = evicted(&mut world);
    world.snapshot.targets.clear();
    assert_eq!(world.end_in_hours(journal).outcome, Some(Outcome::TimedOut));
}

// The replicas of valkey-helm's chart followed 70 s after the primary took writes again; that was taken for the gap.
#[test]
fn writes_go_on_when_the_primary_is_back_and_not_when_its_replicas_have_synced() {
    let mut world = primary_apart();
    let replica = (0..3).find(|n| *n != world.primary).expect("a replica");
    let primary = world.primary;
    for n in (0..3).filter(|n| *n != primary) {
        world.without_waste(n);
    }
    let mut journal = evicted(&mut world);
    world.tick(5);
    let synced = world.sample(replica).replication.clone();
    let Role::Replica(link) = &mut world.sample(replica).replication.role else { panic!("a replica") };
    link.link_up = false;
    let mut gap = None;
    for _ in 0..20 {
        match advance::next(&world.ctx(), &journal, false) {
            Next::Record(next) => journal = *next,
            Next::Wait(why, _) if why.contains("writes are stopped") => {}
            Next::Wait(_, _) => gap = gap.or_else(|| journal.write_gap.as_ref().and_then(WriteGap::measured)),
            Next::Act(next, effect) => {
                journal = *next;
                world.apply(&effect);
            }
            other => panic!("{other:?}"),
        }
        world.tick(1);
    }
    let gap = gap.expect("it was measured while the replica is not in sync");
    world.tick(60);
    world.sample(replica).replication = synced;
    let record = world.walk(journal, None);
    assert_eq!(record.write_gap.as_ref().and_then(WriteGap::measured), Some(gap));
    assert!(gap < Duration::from_secs(20), "{gap:?}");
}
