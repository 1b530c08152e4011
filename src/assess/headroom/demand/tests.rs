//! The formula, its inverse, and what is said of it.

use pretty_assertions::assert_eq;
use proptest::prelude::*;

use super::*;
use crate::{
    assess::headroom::{HeadroomVerdict, judge_amounts},
    domain::fixtures,
};

/// M = 1 GiB with one replica of which nothing is known but defaults: the example of the facts that the formula is from.
fn example() -> Terms {
    Terms {
        minimum: Bytes::mib(64),
        ratio: LEAST_RATIO,
        uncounted: Bytes::ZERO,
        buffer_limit: REPLICA_BUFFER,
        unsent: Bytes::ZERO,
        clients: LEAST_CLIENTS,
        scripts: Bytes::ZERO,
        copied: UNKNOWN_COPIED,
        copied_by: Copied::Unknown,
        twice: false,
        sync_buffer: Bytes::ZERO,
        evidence: Evidence::Measured,
    }
}

const GI: Bytes = Bytes::mib(1024);

fn mebi(demand: Demand, maxmemory: Bytes) -> u64 {
    demand.limit(maxmemory).0 / MIB
}

// 1177.6 + 256 + 16 + 294.4 + 12 + 35.84 = 1791.84; / 0.95 = 1886.1
#[test]
fn the_sum_of_its_terms() {
    assert_eq!(mebi(Demand::Measured(example()), GI), 1887);
    let gives = |change: fn(&mut Terms)| {
        let mut terms = example();
        change(&mut terms);
        mebi(Demand::Measured(terms), GI)
    };
    // 1024 × 2.0, and a quarter of that for the fork.
    assert_eq!(gives(|terms| terms.ratio = Ratio(200)), (2048 + 256 + 16 + 512 + 12 + 36) * 100 / 95 + 1);
    assert_eq!(gives(|terms| terms.copied = Ratio(100)), 2816, "write-heavy: 1177.6 more for the fork");
    assert_eq!(gives(|terms| terms.copied = Ratio(0)), 1577, "no fork");
    assert_eq!(gives(|terms| terms.twice = true), 2816, "a full sync doubles the data, and no fork is added to it");
    assert_eq!(gives(|terms| terms.sync_buffer = Bytes::mib(400)), 1998, "400 in place of 294.4");
    assert_eq!(gives(|terms| terms.uncounted = Bytes::mib(512)), 2156, "more than a replica may leave unsent was seen");
    assert_eq!(gives(|terms| terms.buffer_limit = Bytes::ZERO), 1617);
    assert_eq!(gives(|terms| terms.unsent = Bytes::mib(1024)), 1887, "no more than the server lets one leave unsent");
    assert_eq!(gives(|terms| terms.clients = Bytes::mib(111)), 1987);
    assert_eq!(gives(|terms| terms.scripts = Bytes::mib(19)), 1907);
    assert_eq!(gives(|terms| terms.minimum = Bytes::mib(2000)), 3024, "a minimum holds whatever is measured");
}

#[test]
fn large_and_small_servers_as_in_the_facts() {
    let demand = Demand::Measured(Terms { clients: Bytes::mib(64), ..example() });
    assert_eq!(mebi(demand, Bytes::mib(8 * 1024)), 13048, "12395 MiB / 0.95");
    let alone = Terms { copied: Ratio(0), buffer_limit: Bytes::ZERO, clients: Bytes::mib(64), ..example() };
    let cache = Demand::Measured(alone);
    assert_eq!(mebi(cache, Bytes::mib(8 * 1024)), 10299, "1.26 × where nothing forks and nothing replicates");
    assert_eq!(mebi(Demand::Measured(example()), Bytes::mib(1)), 65, "the minimum");
}

#[test]
fn every_term_is_said() {
    let demand = Demand::Measured(Terms { scripts: Bytes::mib(1), ..example() });
    assert_eq!(
        demand.short(GI),
        "data 1.15 GiB (ratio 1.15), buffers 256 MiB, clients 16 MiB, scripts 1 MiB, copy-on-write 294 MiB (25 %), \
         process 47.8 MiB, spare 94.4 MiB (5 %)"
    );
    let swapped = Demand::Measured(Terms { twice: true, evidence: Evidence::NotYet, ..example() });
    assert_eq!(
        swapped.short(GI),
        "data 1.15 GiB (ratio 1.15), buffers 256 MiB, clients 16 MiB, full sync 1.15 GiB (swapdb), process 47.8 MiB, \
         spare 141 MiB (5 %) (not measured yet: bounds)"
    );
    let tiny = demand.short(Bytes::mib(1));
    assert!(tiny.ends_with(", and at least 64 MiB above it"), "{tiny}");
}

#[test]
fn a_buffer_without_a_limit_is_said_as_such() {
    let why_of = |terms: Terms| {
        let terms = Demand::Measured(terms).terms(GI);
        terms.into_iter().find(|term| term.name == "buffers").unwrap().why
    };
    let why = |buffer_limit: Bytes| why_of(Terms { buffer_limit, ..example() });
    assert!(why(UNLIMITED).contains("(no limit is set; at most a quarter"), "{}", why(UNLIMITED));
    assert!(why(REPLICA_BUFFER).contains("(256 MiB; at most a quarter"), "{}", why(REPLICA_BUFFER));
    assert!(why(Bytes::ZERO).contains("there is no replica"), "{}", why(Bytes::ZERO));
    assert_eq!(
        why_of(Terms { unsent: Bytes::mib(96), ..example() }),
        "what replicas may leave unsent (256 MiB; at most a quarter of maxmemory, or 96 MiB that are written until one \
         that does not answer is cut off), or more that was seen"
    );
}

/// A replica that stood still for the 60 s of `repl-timeout` held back all that was written, whatever `maxmemory` was: the
/// kernel killed primaries of 128 to 192 MiB whose buffer was thought to take a quarter of that (tests/redis_headroom).
#[test]
fn a_small_server_that_is_written_to_may_hold_more_than_a_quarter_for_its_replicas() {
    let buffers = |unsent: u64, mebibytes: u64| {
        let terms = Demand::Measured(Terms { unsent: Bytes::mib(unsent), ..example() }).terms(Bytes::mib(mebibytes));
        terms.into_iter().find(|term| term.name == "buffers").unwrap().amount
    };
    assert_eq!(buffers(0, 128), Bytes::mib(32), "a quarter where no writes were measured");
    assert_eq!(buffers(20, 128), Bytes::mib(32), "nor is few writes less than that");
    assert_eq!(buffers(180, 128), Bytes::mib(180));
    assert_eq!(buffers(900, 128), Bytes::mib(256), "then it is cut off");
    assert_eq!(buffers(900, 2048), Bytes::mib(256), "a large one holds its limit anyway");
}

#[test]
fn the_terms_of_a_finding_fit_into_it() {
    let largest = Terms {
        minimum: Bytes(u64::MAX),
        uncounted: Bytes(1_234_567_890_123),
        clients: Bytes(1_234_567_890_123),
        scripts: Bytes(1_234_567_890_123),
        copied: Ratio(100),
        copied_by: Copied::WriteHeavy,
        evidence: Evidence::InPart,
        ..example()
    };
    let said = Demand::Measured(largest).short(Bytes(1_234_567_890_123));
    assert!(said.len() < 400, "{} characters: {said}", said.len());
}

#[test]
fn between_what_is_sure_and_the_bounds_nothing_is_judged_before_it_is_measured() {
    let demand = Demand::Measured(Terms { evidence: Evidence::NotYet, ..example() });
    let (sure, bound) = (demand.surely(GI), demand.exactly(GI));
    // κ 0.10 instead of 0.25: 176.64 MiB / 0.95 less.
    assert_eq!((sure.round_up_mib(), bound.round_up_mib()), (Bytes::mib(1701), Bytes::mib(1887)));
    let judged = |limit: Bytes| judge_amounts(&demand, GI, Some(limit));
    let need = Bytes::mib(1887);
    let below = Bytes(sure.0 - 1);
    assert_eq!(judged(below), HeadroomVerdict::Insufficient { have: below, need });
    assert_eq!(judged(sure), HeadroomVerdict::NotMeasured { have: sure, need });
    assert_eq!(judged(bound), HeadroomVerdict::Sufficient { have: bound, need });
    let measured = Demand::Measured(example());
    assert_eq!(measured.surely(GI), measured.exactly(GI), "what is measured is sure");
}

#[test]
fn of_manifests_the_bounds_are_taken() {
    let mut rule = fixtures::policy().headroom;
    rule.method = HeadroomMethod::Measured;
    let assumed = Demand::assumed(&rule);
    // The example, and 1 MiB for Lua.
    assert_eq!(mebi(assumed, GI), 1888);
    assert!(assumed.short(GI).ends_with("(bounds: nothing is measured)"));
    rule.method = HeadroomMethod::Fixed;
    assert_eq!(mebi(Demand::assumed(&rule), GI), 1536);
}

prop_compose! {
    fn any_terms()(
        minimum: u64, uncounted: u64, buffer_limit: u64, unsent: u64, clients: u64, scripts: u64, sync_buffer: u64,
        ratio in 115_u32..=u32::MAX, copied in 0_u32..=100, twice: bool, not_yet: bool,
    ) -> Terms {
        Terms {
            minimum: Bytes(minimum),
            ratio: Ratio(ratio),
            uncounted: Bytes(uncounted),
            buffer_limit: Bytes(buffer_limit),
            unsent: Bytes(unsent),
            clients: Bytes(clients),
            scripts: Bytes(scripts),
            copied: Ratio(copied),
            copied_by: Copied::Seen,
            twice,
            sync_buffer: Bytes(sync_buffer),
            evidence: if not_yet { Evidence::NotYet } else { Evidence::Measured },
        }
    }
}

prop_compose! {
    /// As servers have them.
    fn usual_terms()(
        minimum in 1_u64..=1 << 34, uncounted in 0_u64..=1 << 30, buffer_limit in 0_u64..=1 << 30,
        unsent in 0_u64..=1 << 31, clients in 0_u64..=1 << 32, scripts in 0_u64..=1 << 26, ratio in 115_u32..=1000, copied in 0_u32..=100,
        twice: bool, sync_buffer in 0_u64..=1 << 32,
    ) -> Terms {
        Terms {
            minimum: Bytes(minimum), ratio: Ratio(ratio), uncounted: Bytes(uncounted), buffer_limit: Bytes(buffer_limit),
            unsent: Bytes(unsent), clients: Bytes(clients), scripts: Bytes(scripts), copied: Ratio(copied), twice,
            sync_buffer: Bytes(sync_buffer), ..example()
        }
    }
}

fn any_demand() -> impl Strategy<Value = Demand> {
    prop_oneof![
        (10_u32..=u32::MAX, any::<u64>())
            .prop_map(|(percent, minimum)| Demand::Fixed { percent, minimum: Bytes(minimum) }),
        any_terms().prop_map(Demand::Measured),
        usual_terms().prop_map(Demand::Measured),
        (10_u32..=400, 1_u64..=1 << 50)
            .prop_map(|(percent, minimum)| Demand::Fixed { percent, minimum: Bytes(minimum) }),
    ]
}

proptest! {
    #[test]
    fn more_memory_never_needs_less(demand in any_demand(), maxmemory: u64, more: u64) {
        let larger = Bytes(maxmemory.saturating_add(more));
        prop_assert!(demand.exactly(larger) >= demand.exactly(Bytes(maxmemory)));
        prop_assert!(demand.surely(larger) >= demand.surely(Bytes(maxmemory)));
        prop_assert!(demand.surely(larger) <= demand.exactly(larger));
        prop_assert!(demand.exactly(larger) >= larger);
    }

    #[test]
    fn a_higher_limit_is_never_judged_worse(demand in any_demand(), maxmemory: u64, limit: u64, more: u64) {
        let rank = |limit: u64| match judge_amounts(&demand, Bytes(maxmemory), Some(Bytes(limit))) {
            HeadroomVerdict::Insufficient { .. } => 0,
            HeadroomVerdict::NotMeasured { .. } => 1,
            _ => 2,
        };
        prop_assert!(rank(limit) <= rank(limit.saturating_add(more)));
    }

    #[test]
    fn the_inverse_is_the_inverse(demand in any_demand(), limit: u64) {
        let bears = demand.bearable(Bytes(limit));
        prop_assert_eq!(bears.0 % MIB, 0);
        if bears > Bytes::ZERO {
            prop_assert!(demand.exactly(bears) <= Bytes(limit), "{bears:?}");
        }
        if limit < u64::MAX / 2 {
            prop_assert!(demand.exactly(bears + Bytes(MIB)) > Bytes(limit), "{bears:?} is not the largest");
        }
    }

    /// What method Fixed bears is what it always was.
    #[test]
    fn what_fixed_bears_is_known_in_closed_form(percent in 10_u32..=400, minimum in 1_u64..=1 << 50, limit: u64) {
        let by_percent = u128::from(limit) * 100 / (u128::from(percent) + 100);
        let room = u64::try_from(by_percent).unwrap().min(limit.saturating_sub(minimum));
        let bears = Demand::Fixed { percent, minimum: Bytes(minimum) }.bearable(Bytes(limit));
        prop_assert_eq!(bears, Bytes(room / MIB * MIB));
    }

    #[test]
    fn what_is_said_is_what_is_needed(terms in usual_terms(), maxmemory in MIB..=1 << 40) {
        let demand = Demand::Measured(terms);
        let said: u64 = demand.terms(Bytes(maxmemory)).iter().map(|term| term.amount.0).sum();
        let least = maxmemory + terms.minimum.0;
        prop_assert_eq!(demand.exactly(Bytes(maxmemory)).0, said.max(least));
        demand.short(Bytes(maxmemory));
    }
}
