//! The backlog that is raised while replicas restart, and set back however it ends.

use super::*;
use redis_memory_operator::{
    domain::{
        pod::{Mount, VolumeKind},
        snapshot::ProbeFailure,
    },
    plan::{backlog, effect::Peer},
};

const BEFORE: Bytes = Bytes::mib(1);

impl World {
    /// Dumps on claims, a small backlog, and half a megabyte written a second.
    fn dumping() -> Self {
        let mut world = Self::new();
        for n in 0..3 {
            let config = world.sample(n).config.as_mut().unwrap();
            config.save = "3600 1".into();
            config.repl_backlog_size = BEFORE;
            world.sample(n).replication.backlog_size = BEFORE;
            world.write_faster(n, 512 * 1024);
            let mounts = vec![Mount { path: "/data".into(), volume: VolumeKind::Claim, claim: None, read_only: false }];
            world.snapshot.targets[n].pod.container.as_mut().unwrap().mounts = mounts;
        }
        world
    }

    fn write_faster(&mut self, n: usize, rate: u64) {
        let seconds = fixtures::INTERVAL.as_secs();
        for (k, reading) in self.snapshot.targets[n].history.iter_mut().enumerate() {
            reading.offset = u64::try_from(k).unwrap() * seconds * rate;
        }
    }

    pub(super) fn set_backlog(&mut self, peer: &Peer, size: Bytes, back: bool) {
        self.done.push((if back { "SetBack" } else { "Raise" }, peer.pod.to_string()));
        let n = self.index(&peer.pod);
        assert_eq!(self.sample(n).run_id, peer.run_id, "the process that is meant");
        self.sample(n).config.as_mut().unwrap().repl_backlog_size = size;
    }

    fn backlog(&mut self, n: usize) -> Bytes {
        self.sample(n).config.as_ref().unwrap().repl_backlog_size
    }
}

/// The journal as it stands when the backlog was raised.
fn raised(world: &mut World) -> Journal {
    let journal = world.begin();
    let Next::Act(journal, effect) = advance::next(&world.ctx(), &journal, false) else { panic!("nothing is raised") };
    world.apply(&effect);
    assert!(world.backlog(0) > BEFORE);
    *journal
}

#[test]
fn it_is_raised_for_those_who_keep_their_data_and_set_back_on_both() {
    let mut world = World::dumping();
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    let order = ["Raise", "Evict", "Evict", "Switchover", "Repoint", "Raise", "Evict"];
    let done = world.kinds();
    let (before, after) = done.split_at(order.len());
    assert_eq!(before, order);
    assert!(after.iter().all(|kind| ["Restore", "SetBack"].contains(kind)), "{after:?}");
    for n in 0..3 {
        assert_eq!(world.backlog(n), BEFORE, "redis-{n}");
    }
}

#[test]
fn it_is_set_back_when_somebody_stops_it() {
    let mut world = World::dumping();
    let journal = raised(&mut world);
    world.policy.suspend = true;
    assert_eq!(world.end_soon(journal, |_| false).outcome, Some(Outcome::Paused));
    assert_eq!(world.backlog(0), BEFORE);
}

#[test]
fn it_is_set_back_when_the_plan_is_superseded() {
    let mut world = World::dumping();
    let journal = raised(&mut world);
    world.policy.generation += 1;
    assert_eq!(world.end_soon(journal, |_| false).outcome, Some(Outcome::Superseded));
    assert_eq!(world.backlog(0), BEFORE);
}

#[test]
fn a_server_that_will_not_take_it_back_is_drift() {
    let mut world = World::dumping();
    let journal = raised(&mut world);
    world.policy.suspend = true;
    let end = world.end_soon(journal, |effect| matches!(effect, Effect::SetBacklog { back: true, .. }));
    assert_eq!(end.outcome, Some(Outcome::ConfigDrift));
    assert!(end.message.contains("redis-0") && end.message.contains("Suspended"), "{}", end.message);
    assert_eq!(world.kinds(), ["Raise", "Refused", "Refused", "Refused"]);
}

#[test]
fn one_that_does_not_answer_is_waited_for_and_then_said() {
    let mut world = World::dumping();
    let journal = raised(&mut world);
    world.policy.suspend = true;
    world.snapshot.targets[0].redis = Observation::Failed(ProbeFailure::TimedOut("silent".into()));
    let end = world.end_soon(journal, |_| false);
    assert_eq!(end.outcome, Some(Outcome::ConfigDrift), "{}", end.message);
}

#[test]
fn a_process_that_is_gone_needs_nothing() {
    let mut world = World::dumping();
    let journal = raised(&mut world);
    world.policy.suspend = true;
    world.sample(0).run_id = RunId::new("another".to_owned());
    assert_eq!(world.end_soon(journal, |_| false).outcome, Some(Outcome::Paused));
    assert_eq!(world.kinds(), ["Raise"]);
}

#[test]
fn it_is_not_raised_where_it_would_not_help() {
    let wanted = |change: fn(&mut World)| {
        let mut world = World::dumping();
        change(&mut world);
        let [primary, replica, _] = world.snapshot.targets.as_slice() else { panic!("three pods") };
        backlog::expected(&world.ctx(), primary, replica)
    };
    let full = |change: fn(&mut World), why: &str| match wanted(change) {
        backlog::Resync::Full(text) => assert!(text.contains(why), "{text}"),
        other => panic!("{other:?}"),
    };
    // 512 KiB/s for 61 s, twice: 61 MiB, and the next power of two.
    assert_eq!(wanted(|_| ()), backlog::Resync::PartialWith(Bytes::mib(64)));
    assert_eq!(wanted(|w| w.write_faster(0, 1024)), backlog::Resync::Partial);
    full(|w| w.sample(1).config.as_mut().unwrap().appendonly = true, "AOF");
    full(|w| w.sample(1).config.as_mut().unwrap().save.clear(), "saves nothing");
    full(|w| w.snapshot.targets[1].pod.container.as_mut().unwrap().mounts.clear(), "in no volume");
    full(|w| w.snapshot.targets[0].history.truncate(2), "not known yet");
    full(|w| w.write_faster(0, 64 << 20), "room");
}
