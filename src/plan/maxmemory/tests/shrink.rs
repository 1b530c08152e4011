//! Eviction by consent: who evicts, how much at a time, who follows, and what it waits for.

use std::time::Duration;

use jiff::tz::TimeZone;
use pretty_assertions::assert_eq;
use rstest::rstest;

use super::{BEARS, Meddle, World};
use crate::{
    domain::{bytes::Bytes, cron::Cron, fixtures::NOW, purpose::Purpose, snapshot::Observation, window::Window},
    plan::{effect::Effect, next::Next},
};

const USED: Bytes = Bytes::mib(900);

/// A full cache of 900 MiB without a bound, whose limit bears 682 MiB.
fn full() -> World {
    let mut world = World::new(Bytes::ZERO);
    world.policy.headroom.allow_eviction = true;
    world.policy.purpose = Some(Purpose::Cache);
    world.used(USED, "allkeys-lru");
    for n in 0..3 {
        if let Ok(config) = &mut world.sample(n).config {
            config.serving.ignores_maxmemory = Some(true);
        }
    }
    world
}

/// Six hours from now, for half an hour.
fn closed() -> Window {
    let hour = (NOW.to_zoned(TimeZone::UTC).hour() + 6) % 24;
    Window {
        schedule: Cron::parse(&format!("0 {hour} * * *")).unwrap(),
        duration: Duration::from_secs(30 * 60),
        zone: TimeZone::UTC,
    }
}

/// Sets what is due; who evicts comes down at once, and the others with it.
fn settle(world: &mut World) -> Vec<(String, Bytes)> {
    let mut done = Vec::new();
    for _ in 0..60 {
        match world.decide().act {
            Next::Remember(records) => world.records = records,
            Next::Rest => return done,
            Next::Upkeep(effects) => {
                for (effect, reason) in effects {
                    let Effect::SetMaxmemory { peer, value, before, most_used } = effect else { panic!("{effect:?}") };
                    let n = usize::from(peer.pod.as_str().ends_with('1'))
                        + 2 * usize::from(peer.pod.as_str().ends_with('2'));
                    let memory = world.sample(n).memory.clone();
                    assert_eq!(memory.maxmemory, before);
                    assert!(memory.used <= most_used, "{reason}");
                    world.maxmemory(n, value);
                    if n == 0 {
                        assert!(memory.used.percent(94) <= value, "{value} of {} goes at once", memory.used);
                        (0..3).for_each(|n| world.sample(n).memory.used = memory.used.min(value));
                    }
                    done.push((peer.pod.to_string(), value));
                }
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("it does not come to rest: {done:?}");
}

#[test]
fn the_primary_evicts_in_small_steps_and_then_the_replicas_follow() {
    let mut world = full();
    let remedy = world.remedy();
    let end = format!(
        "the operator will set maxmemory to {BEARS}: by eviction, 5 % at a time, as headroom.allowEviction allows"
    );
    assert!(remedy.starts_with(&end), "{remedy}");
    let done = settle(&mut world);
    let (steps, others) = done.split_at(done.iter().position(|(pod, _)| pod != "redis-0").unwrap());
    assert_eq!(steps.len(), 6, "{done:?}");
    assert_eq!(steps.last().map(|(_, value)| *value), Some(BEARS));
    assert_eq!(others, [("redis-1".to_owned(), BEARS), ("redis-2".to_owned(), BEARS)]);
    assert_eq!(world.have(), [BEARS; 3]);
}

/// What is used wavers from look to look: the step that is remembered is the one that is set.
#[test]
fn what_wavers_changes_no_step() {
    let mut world = full();
    let Next::Remember(records) = world.decide().act else { panic!("it is remembered first") };
    world.records = records;
    world.used(Bytes(USED.0 - 3_000_000), "allkeys-lru");
    let Next::Upkeep(effects) = world.decide().act else { panic!("it is set now") };
    let values: Vec<_> = effects.iter().map(|(effect, _)| effect.to_string()).collect();
    assert_eq!(values, [format!("set maxmemory of redis-0 to {}", USED.percent(95))]);
}

#[test]
fn the_step_before_comes_to_its_end_first() {
    let mut world = full();
    world.maxmemory(0, Bytes::mib(855));
    let remedy = world.remedy();
    assert!(remedy.contains("redis-0 evicts: 900 MiB are used, and its maxmemory is 855 MiB"), "{remedy}");
    assert_eq!(world.decide().act, Next::Rest);
}

#[rstest]
#[case::another_policy(|world: &mut World| world.used(USED, "volatile-lru"), "allkeys-*, and redis-0 has volatile-lru")]
#[case::one_of_them(|world: &mut World| world.sample(2).memory.maxmemory_policy = "noeviction".into(), "redis-2 has noeviction")]
#[case::silent(|world: &mut World| world.snapshot.targets[2].redis = Observation::Pending, "while a member does not answer")]
#[case::loads(|world: &mut World| world.sample(2).persistence.loading = true, "while redis-2 loads")]
#[case::closed(|world: &mut World| world.policy.restart.windows = vec![closed()], "the next window opens at")]
fn what_it_waits_for_is_said(#[case] change: Meddle, #[case] why: &str) {
    let mut world = full();
    change(&mut world);
    let remedy = world.remedy();
    assert!(remedy.contains(why), "{remedy}");
    assert_eq!(settle(&mut world), [], "nothing is set");
}

#[test]
fn a_replica_that_evicts_by_itself_is_left() {
    let mut world = full();
    if let Ok(config) = &mut world.sample(2).config {
        config.serving.ignores_maxmemory = Some(false);
    }
    let done = settle(&mut world);
    assert_eq!(done.last(), Some(&("redis-1".to_owned(), BEARS)));
    assert_eq!(world.have(), [BEARS, BEARS, Bytes::ZERO]);
    assert!(world.remedy().contains("redis-2 would evict by itself"), "{}", world.remedy());
}

#[test]
fn without_consent_no_key_goes() {
    let mut world = full();
    world.policy.headroom.allow_eviction = false;
    assert_eq!(settle(&mut world), []);
}
