//! What limit is needed, and when one is enough.

use pretty_assertions::assert_eq;
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::domain::{
    bytes::MIB,
    fixtures::{self, policy},
    pod::ContainerProblem,
    policy::HeadroomMethod,
    snapshot::{Observation, ProbeFailure},
};

fn judged(target: &Target) -> HeadroomVerdict {
    judge(&Demand::of(&policy(), &[target]), target)
}

fn rule(percent: u32, minimum: u64) -> HeadroomRule {
    HeadroomRule {
        method: HeadroomMethod::Fixed,
        percent,
        minimum: Bytes::mib(minimum),
        resize_pod: true,
        set_maxmemory: false,
        maximum_limit: None,
        requests: false,
        allow_eviction: false,
    }
}

#[rstest]
#[case(50, 64, Bytes::mib(512), Bytes::mib(768))]
#[case(50, 64, Bytes::mib(100), Bytes::mib(164))]
#[case(50, 64, Bytes::mib(128), Bytes::mib(192))]
#[case(10, 64, Bytes::mib(1024), Bytes::mib(1127))]
#[case(50, 64, Bytes(1_000_000_000), Bytes::mib(1431))]
#[case(400, 64, Bytes(u64::MAX), Bytes(u64::MAX / MIB * MIB))]
fn the_larger_of_percent_and_minimum_is_needed(
    #[case] percent: u32,
    #[case] minimum: u64,
    #[case] maxmemory: Bytes,
    #[case] need: Bytes,
) {
    let got = Demand::assumed(&rule(percent, minimum)).limit(maxmemory);
    assert!(got == need || (maxmemory.0 == u64::MAX && got >= need), "{got:?}, expected {need:?}");
}

#[test]
fn a_limit_that_is_enough_to_the_byte_is_enough() {
    let mut target = fixtures::target(0);
    if let Observation::Seen(sample) = &mut target.redis {
        sample.memory.maxmemory = Bytes(1_000_000_000);
    }
    let mut limited = |bytes: u64| {
        target.pod.container.as_mut().unwrap().live_limit = Some(Bytes(bytes));
        judged(&target)
    };
    let need = Bytes::mib(1431);
    assert_eq!(limited(1_500_000_000), HeadroomVerdict::Sufficient { have: Bytes(1_500_000_000), need });
    assert_eq!(limited(1_499_999_999), HeadroomVerdict::Insufficient { have: Bytes(1_499_999_999), need });
}

#[test]
fn the_live_limit_counts_and_the_spec_only_where_there_is_none() {
    let mut target = fixtures::target(0);
    target.pod.container.as_mut().unwrap().live_limit = Some(Bytes::mib(600));
    assert!(matches!(judged(&target), HeadroomVerdict::Insufficient { .. }));
    target.pod.container.as_mut().unwrap().live_limit = None;
    assert!(matches!(judged(&target), HeadroomVerdict::Sufficient { .. }));
}

#[test]
fn what_is_not_known_is_not_judged() {
    let mut target = fixtures::target(0);
    target.redis = Observation::Failed(ProbeFailure::TimedOut(String::new()));
    assert_eq!(judged(&target), HeadroomVerdict::Unknown);
    let mut target = fixtures::target(0);
    target.pod.container = Err(ContainerProblem("two containers".into()));
    assert_eq!(judged(&target), HeadroomVerdict::Unknown);
}

#[test]
fn no_bound_and_no_limit_are_verdicts_of_their_own() {
    let mut target = fixtures::target(0);
    let container = target.pod.container.as_mut().unwrap();
    (container.live_limit, container.spec_limit) = (None, None);
    assert_eq!(judged(&target), HeadroomVerdict::NoLimit);
    if let Observation::Seen(sample) = &mut target.redis {
        sample.memory.maxmemory = Bytes::ZERO;
    }
    assert_eq!(judged(&target), HeadroomVerdict::Unbounded);
}

#[test]
fn the_floor_holds_the_data_its_buffers_and_the_process() {
    let mut memory = fixtures::memory();
    memory.used = Bytes::mib(1000);
    memory.maxmemory = Bytes::mib(2000);
    memory.not_counted_for_evict = Bytes::mib(10);
    memory.clients_normal = Bytes::mib(5);
    // 1.10 x 1000 + 10 + 5 + 12 + 3.5 % of 2000
    assert_eq!(template_floor(&memory), Bytes::mib(1197));
    memory.maxmemory = Bytes::ZERO;
    assert_eq!(template_floor(&memory), Bytes::mib(1162), "3.5 % of what is used where nothing bounds it");
}

#[test]
fn the_request_keeps_its_distance_to_the_limit() {
    let (pod, container) = (fixtures::pod(0), fixtures::container());
    let limit = Bytes::mib(1536);
    let with = |requests| HeadroomRule { requests, ..rule(50, 64) };
    assert_eq!(request_with(&with(false), &pod, &container, limit), None);
    assert_eq!(
        request_with(&with(true), &pod, &container, limit),
        Some(Bytes::mib(1024)),
        "512 MiB more, as the limit"
    );
    assert_eq!(request_with(&with(true), &pod, &container, fixtures::LIMIT), None, "nothing is raised");
    let guaranteed = Pod { guaranteed: true, ..pod.clone() };
    assert_eq!(request_with(&with(false), &guaranteed, &container, limit), Some(limit));
    let unset = Container { spec_request: None, ..container };
    assert_eq!(request_with(&with(true), &pod, &unset, limit), None, "the API server has none either");
}

proptest! {
    #[test]
    fn a_request_never_passes_its_limit(before in any::<u64>(), request in any::<u64>(), limit in any::<u64>()) {
        let request = request.min(before);
        let container =
            Container { spec_limit: Some(Bytes(before)), spec_request: Some(Bytes(request)), ..fixtures::container() };
        let rule = HeadroomRule { requests: true, ..rule(50, 64) };
        if let Some(raised) = request_with(&rule, &fixtures::pod(0), &container, Bytes(limit)) {
            prop_assert!(raised <= Bytes(limit) && raised >= Bytes(request));
            prop_assert_eq!(raised == Bytes(limit), request == before, "the class of the pod stays");
        }
    }

    #[test]
    fn a_higher_limit_is_never_judged_worse(maxmemory in any::<u64>(), limit in any::<u64>(), more in any::<u64>()) {
        let mut target = fixtures::target(0);
        let Observation::Seen(sample) = &mut target.redis else { panic!("a sample") };
        sample.memory.maxmemory = Bytes(maxmemory);
        let mut short = |limit: u64| {
            target.pod.container.as_mut().unwrap().live_limit = Some(Bytes(limit));
            matches!(judged(&target), HeadroomVerdict::Insufficient { .. })
        };
        let before = short(limit);
        prop_assert!(before || !short(limit.saturating_add(more)));
    }
}
