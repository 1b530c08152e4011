//! `maxmemory` after kills by the kernel.

use jiff::{SignedDuration, Timestamp};
use pretty_assertions::assert_eq;
use rstest::rstest;

use super::{Meddle, World};
use crate::domain::{
    bytes::Bytes,
    fixtures::NOW,
    oom::{Cause, PodKills},
    policy::HeadroomMethod,
};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// What people set: it fits.
const PEOPLE: Bytes = Bytes::mib(600);

fn ago(hours: i32) -> Timestamp {
    NOW - HOUR * hours
}

/// The primary was killed `times` times, the last time that number of hours ago.
fn killed(times: u32, hours: i32) -> World {
    let mut world = World::new(PEOPLE);
    world.used(Bytes::mib(200), "allkeys-lru");
    let pod = &world.snapshot.targets[0].pod;
    world.snapshot.surroundings.kills = vec![PodKills {
        pod: pod.name.clone(),
        pod_uid: pod.uid.clone(),
        first_at: ago(hours + 1),
        last_at: ago(hours),
        times,
        while_loading: 0,
        cause: Cause::Headroom,
        evidence: "last seen with used about 580 MiB".into(),
        loading_limit_bytes: None,
    }];
    world
}

fn kills(world: &mut World) -> &mut PodKills {
    &mut world.snapshot.surroundings.kills[0]
}

#[rstest]
#[case::one(1, 0, 540)]
#[case::two(2, 23, 480)]
#[case::a_day_without(2, 24, 540)]
#[case::no_more_than_three(9, 1, 420)]
#[case::long_ago(3, 72, 600)]
fn each_kill_takes_a_tenth_and_each_day_gives_one_back(#[case] times: u32, #[case] hours: i32, #[case] mib: u64) {
    let mut world = killed(times, hours);
    world.settle();
    assert_eq!(world.have(), [Bytes::mib(mib); 3]);
}

#[test]
fn it_rises_again_to_what_people_had_and_is_forgotten_as_a_difference() {
    let mut world = killed(2, 1);
    world.settle();
    assert_eq!(world.have(), [Bytes::mib(480); 3]);
    for (hours, mib) in [(25, 540), (49, 600)] {
        kills(&mut world).last_at = ago(hours);
        world.settle();
        assert_eq!(world.have(), [Bytes::mib(mib); 3], "after {hours} hours");
    }
    world.policy.headroom.set_maxmemory = true;
    assert_eq!(world.settle(), Vec::<Vec<String>>::new(), "it rests");
}

/// What the limit bears by method Measured, after a day in which a fork copied `copied` percent, is set.
fn measured(copied: u32) -> World {
    let mut world = World::new(PEOPLE);
    world.used(Bytes::mib(200), "allkeys-lru");
    world.policy.headroom.method = HeadroomMethod::Measured;
    world.measured(copied);
    world.settle();
    world
}

/// By method Measured a limit may bear more by now than was set, and nine tenths of that be more, too.
#[test]
fn a_kill_raises_nothing() {
    let mut world = measured(60);
    let set = world.have();
    world.measured(0);
    world.snapshot.surroundings.kills = killed(1, 0).snapshot.surroundings.kills;
    assert!(set[0] < PEOPLE.percent(90), "{set:?}");
    assert_eq!(world.settle(), Vec::<Vec<String>>::new());
}

/// Seen in the simulator: what a kill lowered had evicted, and that raised the ratio by which method Measured judges.
#[test]
fn what_a_kill_lowered_stays_for_the_day_by_method_measured() {
    let mut world = measured(20);
    world.snapshot.surroundings.kills = killed(1, 0).snapshot.surroundings.kills;
    world.settle();
    let set = world.have();
    world.measured(60);
    kills(&mut world).last_at = ago(1);
    assert_eq!(world.settle(), Vec::<Vec<String>>::new());
    kills(&mut world).last_at = NOW;
    world.settle();
    assert!(world.have() < set, "{:?} after {set:?}", world.have());
}

#[rstest]
#[case::while_loading(|world: &mut World| kills(world).cause = Cause::Loading)]
#[case::the_data_alone(|world: &mut World| kills(world).cause = Cause::LimitBelowData)]
#[case::not_known(|world: &mut World| kills(world).cause = Cause::Unknown)]
#[case::another_pod_took_its_place(|world: &mut World| kills(world).pod_uid = "another".into())]
#[case::not_a_remedy(|world: &mut World| world.policy.headroom.set_maxmemory = false)]
#[case::used(|world: &mut World| world.used(Bytes::mib(500), "allkeys-lru"))]
fn others_lower_nothing(#[case] change: Meddle) {
    let mut world = killed(1, 0);
    change(&mut world);
    world.settle();
    assert_eq!(world.have(), [PEOPLE; 3]);
}
