//! What is lost should a server die.

use pretty_assertions::assert_eq;

use super::*;
use crate::domain::pod::VolumeKind;

type Change = fn(&mut Snapshot);

/// A set whose members have no maxmemory, and what else is so: what its risk ends with.
fn told(change: Change) -> String {
    let mut scene = healthy();
    scene.1.targets.iter_mut().for_each(|it| it.sample_mut().expect("a sample").memory.maxmemory = Bytes::ZERO);
    change(&mut scene.1);
    let status = first(&scene);
    assert_eq!(word(&status), ("Plan", "MaxmemoryUnset"));
    let sentence = &said(&status).sentence;
    let risk = sentence.split(". Primary: ").next().expect("a part");
    risk.split_once("; writes go on; ").expect("what is lost").1.to_owned()
}

fn save(snapshot: &mut Snapshot, appendonly: bool, volume: VolumeKind) {
    for target in &mut snapshot.targets {
        let config = target.sample_mut().expect("a sample").config.as_mut().expect("read");
        (config.appendonly, config.save) = (appendonly, "3600 1".to_owned());
        let path = config.dir.clone();
        let mounts = &mut target.pod.container.as_mut().expect("a container").mounts;
        *mounts = vec![fixtures::mount(&path, volume)];
    }
}

fn link_down(snapshot: &mut Snapshot, n: usize) {
    if let Role::Replica(link) = &mut snapshot.targets[n].sample_mut().expect("a sample").replication.role {
        link.link_up = false;
    }
}

#[rstest]
#[case::nothing_is_saved(
    |_: &mut Snapshot| (),
    "should redis-0 die, ALL its data (about 69 MiB) is lost: it saves nothing, comes back EMPTY, and its replicas (redis-1, redis-2) \
     copy that, unless one of them is primary by then"
)]
#[case::a_replica_is_behind(
    |s: &mut Snapshot| link_down(s, 1),
    "should redis-0 die, ALL its data (about 69 MiB) is lost: it saves nothing, comes back EMPTY, and its replicas (redis-2) copy that, \
     unless one of them is primary by then; up to date: redis-2, not: redis-1"
)]
#[case::no_replica_has_it(
    |s: &mut Snapshot| { link_down(s, 1); link_down(s, 2); },
    "should redis-0 die, ALL its data (about 69 MiB) is lost: it saves nothing, and no replica that is selected has it; no copy is up to date \
     (redis-1, redis-2 not)"
)]
#[case::a_file_of_each_write(
    |s: &mut Snapshot| save(s, true, VolumeKind::Claim),
    "should redis-0 die, it loads its file again, and only its last writes may be lost"
)]
#[case::a_dump_now_and_then(
    |s: &mut Snapshot| save(s, false, VolumeKind::Claim),
    "should redis-0 die, it loads its file again, and only what it took since its last save may be lost"
)]
#[case::a_file_that_goes_with_the_pod(
    |s: &mut Snapshot| save(s, true, VolumeKind::EmptyDir),
    "should redis-0 die, it loads its file again; with its pod that is gone, for it is on no claim"
)]
#[case::a_replica_alone(
    |s: &mut Snapshot| for n in [0, 1] { s.targets[n].sample_mut().expect("a sample").memory.maxmemory = Bytes::mib(500); },
    "should redis-2 die, no data is lost: redis-0 has it"
)]
fn what_would_be_lost_is_said(#[case] change: Change, #[case] expected: &str) {
    assert_eq!(told(change), expected);
}

/// The moment at which the operator saw something is not the moment at which it began.
#[test]
fn when_it_was_noticed_is_said_so_and_when_it_began_too() {
    let mut scene = healthy();
    assert!(said(&first(&scene)).sentence.starts_with("Healthy since 2026-"));
    scene.1.targets[1].sample_mut().expect("a sample").memory.maxmemory = Bytes::ZERO;
    assert!(said(&first(&scene)).sentence.starts_with("MaxmemoryUnset, noticed 2026-"));
}

/// How bad it can get is one thing, how soon another.
#[test]
fn a_severity_that_seems_to_contradict_the_word_is_explained() {
    let mut scene = healthy();
    scene.1.targets[1].sample_mut().expect("a sample").memory.maxmemory = Bytes::ZERO;
    let sentence = said(&first(&scene)).sentence.clone();
    let waits = "Risk: can wait until working hours (Critical tells how bad it can get, not how soon); ";
    assert!(sentence.contains(waits), "{sentence}");
}
