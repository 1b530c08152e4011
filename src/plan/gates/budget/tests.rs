//! Budgets of a workload and of the cluster, and the fault of everything.

use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;
use crate::domain::shard::ShardId;
use crate::{
    domain::{
        budget::DisruptionBudget,
        fixtures::{self, pod_name, seconds_ago},
        journal::{Outcome, RestartRecord, WorkloadRecord},
        names::ControllerUid,
        surroundings::{Elsewhere, LostSet, Reach, Surroundings},
    },
    plan::gates::tests::{World, record},
};

fn reasons(world: &World) -> Vec<BlockReason> {
    world.consider().blocked.iter().map(|blocked| blocked.reason).collect()
}

fn around(change: impl FnOnce(&mut Surroundings)) -> World {
    let mut world = World::good();
    change(&mut world.snapshot.surroundings);
    world
}

fn elsewhere(n: u8) -> Elsewhere {
    Elsewhere { policy: format!("shop/other-{n}"), shard: ShardId::whole(format!("w-{n}").into()) }
}

#[rstest]
#[case::nothing_is_lost(100, 0, true)]
#[case::a_fifth(100, 20, true)]
#[case::more_than_a_fifth(100, 21, false)]
#[case::two_are_never_everything(3, 2, true)]
#[case::three_of_three(3, 3, false)]
fn a_global_fault(#[case] endpoints: usize, #[case] unreachable: usize, #[case] goes: bool) {
    let world = around(|s| s.reach = reach(endpoints, &[1, unreachable.saturating_sub(1)]));
    let want = if goes { Vec::new() } else { vec![BlockReason::GlobalFault] };
    assert_eq!(reasons(&world), want);
}

/// That many servers, of which those of each set do not answer.
fn reach(endpoints: usize, lost: &[usize]) -> Reach {
    let set = |(n, lost): (usize, &usize)| LostSet {
        name: format!("shop/set-{n}"),
        set: ControllerUid::new(format!("w-{n}")),
        unreachable: *lost,
    };
    Reach { endpoints, unreachable: lost.iter().sum(), lost: lost.iter().enumerate().map(set).collect() }
}

#[test]
fn one_broken_set_stops_nothing_elsewhere() {
    let world = around(|s| s.reach = reach(14, &[9]));
    assert_eq!(reasons(&world), []);
}

#[test]
fn a_global_fault_names_the_sets() {
    let world = around(|s| s.reach = reach(9, &[2, 1]));
    let text = &world.consider().blocked[0].text;
    assert!(text.contains("3 of 9") && text.contains("of 2 sets: shop/set-0 (2), shop/set-1 (1);"), "{text}");
}

#[test]
fn what_we_restart_ourselves_is_no_fault() {
    let world = around(|s| {
        s.reach = reach(9, &[2, 1]);
        s.elsewhere = vec![elsewhere(1)];
        s.maximum_remediations = 5;
    });
    assert_eq!(reasons(&world), []);
}

#[rstest]
#[case(0, 1, true)]
#[case(1, 1, false)]
#[case(1, 2, true)]
#[case(2, 2, false)]
#[case(0, 0, false)]
fn so_many_at_once(#[case] running: u8, #[case] most: u32, #[case] goes: bool) {
    let world = around(|s| {
        s.elsewhere = (0..running).map(elsewhere).collect();
        s.maximum_remediations = most;
    });
    let want = if goes { Vec::new() } else { vec![BlockReason::ClusterBudget] };
    assert_eq!(reasons(&world), want);
}

#[test]
fn one_remediation_a_workload_whatever_the_cluster_allows() {
    let world = around(|s| {
        s.elsewhere = vec![Elsewhere { policy: "shop/other".into(), shard: fixtures::shard_id() }];
        s.maximum_remediations = 9;
    });
    let blocked = world.consider().blocked;
    assert_eq!(blocked.len(), 1);
    assert_eq!(blocked[0].text, "policy shop/other is restarting redis already; wait until it has ended");
}

#[rstest]
#[case(None, 1000, true)]
#[case(Some(5), 4, true)]
#[case(Some(5), 5, false)]
fn so_many_an_hour(#[case] most: Option<u32>, #[case] lately: u32, #[case] goes: bool) {
    let world = around(|s| {
        s.maximum_restarts_per_hour = most;
        s.restarts_last_hour = lately;
    });
    let want = if goes { Vec::new() } else { vec![BlockReason::ClusterBudget] };
    assert_eq!(reasons(&world), want);
}

/// The plan of the fixture restarts three pods.
#[rstest]
#[case::no_bound(None, &[3600], true)]
#[case::fits(Some(4), &[3600], true)]
#[case::does_not(Some(3), &[3600], false)]
#[case::a_day_ago_is_over(Some(3), &[24 * 3600], true)]
#[case::almost_a_day_is_not(Some(3), &[24 * 3600 - 1], false)]
#[case::each_counts(Some(6), &[60, 120, 3600, 7200], false)]
#[case::larger_than_the_budget(Some(2), &[], false)]
fn so_many_a_day(#[case] most: Option<u32>, #[case] ages: &[i64], #[case] goes: bool) {
    let mut world = World::good();
    world.policy.restart.cooldown = Duration::ZERO;
    world.policy.restart.maximum_restarts_per_day = most;
    let restarts = ages.iter().map(|age| RestartRecord { pod: pod_name(1), at: seconds_ago(*age) }).collect();
    world.records.push(WorkloadRecord { restarts, ..record(Outcome::Succeeded) });
    let want = if goes { Vec::new() } else { vec![BlockReason::RestartBudget] };
    assert_eq!(reasons(&world), want);
}

/// Allowed now, wanted healthy, evaluated; what the refusal says.
#[rstest]
#[case::allows(1, 2, true, None)]
#[case::a_pod_is_down(
    0,
    2,
    true,
    Some("allows no eviction of redis-0 just now: 2 of 3 pods are healthy, and it wants 2")
)]
#[case::never(0, 3, true, Some("never allows redis-0 to be evicted: of 3 pods it wants 3 healthy"))]
#[case::not_evaluated(1, 2, false, Some("has not been evaluated"))]
fn budgets_are_asked_before_anything_begins(
    #[case] allowed: u32,
    #[case] desired: u32,
    #[case] observed: bool,
    #[case] says: Option<&str>,
) {
    let mut world = World::good();
    let budget = fixtures::disruption_budget(&world.snapshot, allowed, desired);
    world.snapshot.budgets = Some(vec![DisruptionBudget { observed, ..budget }]);
    let blocked = world.consider().blocked;
    let texts: Vec<_> = blocked.iter().map(|one| (one.reason, one.text.as_str())).collect();
    match says {
        None => assert_eq!(texts, []),
        Some(says) => {
            assert_eq!(texts.len(), 1, "{texts:?}");
            assert!(texts[0].0 == BlockReason::DisruptionBudget && texts[0].1.contains(says), "{texts:?}");
        }
    }
}

#[test]
fn a_pod_that_two_budgets_select_is_never_evicted_by_the_api_server() {
    let mut world = World::good();
    let one = fixtures::disruption_budget(&world.snapshot, 1, 2);
    let two = DisruptionBudget { name: "all".into(), ..one.clone() };
    world.snapshot.budgets = Some(vec![one, two]);
    let blocked = world.consider().blocked;
    assert!(blocked[0].text.contains("redis-0 is selected by the PodDisruptionBudgets redis, all"), "{blocked:?}");
}
