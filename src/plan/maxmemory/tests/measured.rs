//! By method Measured what the limit bears wavers: what was set is moved once a day, and only by what is measured.

use jiff::SignedDuration;
use pretty_assertions::assert_eq;

use super::*;
use crate::domain::{peaks::Peaks, policy::HeadroomMethod, ratio::Ratio};

/// Measured for a day, in which a fork copied `copied` percent.
fn world(copied: u32) -> World {
    let mut world = World::new(Bytes::ZERO);
    world.policy.headroom.method = HeadroomMethod::Measured;
    world.measured(copied);
    world
}

impl World {
    pub(super) fn measured(&mut self, copied: u32) {
        for target in &mut self.snapshot.targets {
            let covered = Duration::from_secs(24 * 3600);
            target.peaks = Peaks { covered, copied: Some(Ratio(copied)), ..Peaks::default() };
        }
    }

    fn bears(&self) -> Bytes {
        let members: Vec<&Target> = self.snapshot.targets.iter().collect();
        Demand::of(&self.policy, &members).bearable(Bytes::mib(1024))
    }

    fn own(&mut self) -> &mut OwnMaxmemory {
        self.records[0].maxmemory.as_deref_mut().expect("it is remembered")
    }

    /// As if it had been set that number of hours ago.
    pub(super) fn hours_later(&mut self, hours: i64) {
        let at = NOW - SignedDuration::from_hours(hours);
        self.own().at = at;
    }
}

const NOTHING: Vec<Vec<String>> = Vec::new();

#[test]
fn what_is_set_is_what_the_limit_bears_by_the_terms() {
    let mut world = world(20);
    world.settle();
    let bears = world.bears();
    assert_eq!(world.have(), [bears; 3]);
    // M × 1.15 × 1.30 + M / 4 + 16 + 1 + 12 + 0.035 × M <= 1024 × 0.95
    assert_eq!(bears, Bytes::mib(530));
}

#[test]
fn what_wavers_moves_it_once_a_day() {
    let mut world = world(20);
    world.settle();
    let set = world.have();
    world.measured(60);
    assert!(world.bears() < set[0]);
    world.hours_later(23);
    assert_eq!(world.settle(), NOTHING);
    let remedy = world.remedy();
    assert!(
        remedy.starts_with("the operator set maxmemory to 530 MiB at 2026-01-01T04:04:05Z; method Measured"),
        "{remedy}"
    );
    world.hours_later(24);
    world.settle();
    assert_eq!(world.have(), [world.bears(); 3], "down, where what is used allows it");
    // And up.
    world.measured(20);
    assert_eq!(world.settle(), NOTHING);
    world.hours_later(24);
    world.settle();
    assert_eq!(world.have(), set);
}

/// An operator that has just been started remembers no measurement.
#[test]
fn less_evidence_moves_nothing() {
    for copied in [20, 60] {
        let mut world = world(copied);
        world.settle();
        let set = world.have();
        for target in &mut world.snapshot.targets {
            target.peaks = Peaks::default();
        }
        world.hours_later(1000);
        assert_ne!(world.bears(), set[0], "the bounds are neither");
        assert_eq!(world.settle(), NOTHING);
        assert_eq!(world.have(), set);
    }
}

#[test]
fn a_process_that_starts_without_it_gets_the_same_back_within_the_day() {
    let mut world = world(20);
    world.settle();
    let set = world.have();
    world.measured(60);
    world.restart(1, Bytes::ZERO);
    world.settle();
    assert_eq!(world.have(), set);
}

#[test]
fn by_method_fixed_the_limit_is_followed_at_once() {
    let mut world = World::new(Bytes::ZERO);
    world.settle();
    (0..3).for_each(|n| world.limit(n, Bytes::mib(768)));
    world.settle();
    assert_eq!(world.have(), [Bytes::mib(512); 3]);
}
