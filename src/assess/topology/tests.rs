//! Workloads from addresses, roles and owners.

use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;
use crate::domain::{
    fixtures::{self, three_pods},
    pod::ContainerProblem,
    snapshot::{Observation, ProbeFailure},
};

fn sample(snapshot: &mut Snapshot, n: usize) -> &mut Sample {
    match &mut snapshot.targets[n].redis {
        Observation::Seen(sample) => sample,
        other => panic!("target {n} has no sample: {other:?}"),
    }
}

fn names(targets: &[&Target]) -> Vec<String> {
    targets.iter().map(|t| t.pod.name.to_string()).collect()
}

fn point(snapshot: &mut Snapshot, n: usize, host: &str) {
    match &mut sample(snapshot, n).replication.role {
        Role::Replica(link) => link.primary.host = host.into(),
        Role::Primary | Role::Unknown => panic!("target {n} is no replica"),
    }
}

fn at(host: &str) -> NodeAddress {
    NodeAddress { host: host.into(), port: fixtures::PORT }
}

#[test]
fn a_primary_and_its_replicas_are_one_workload() {
    let snapshot = three_pods();
    let [workload] = workloads(&snapshot).try_into().unwrap();
    assert_eq!((workload.uid.clone(), workload.name.as_str()), (fixtures::workload_uid(), "redis"));
    assert_eq!(names(&workload.members), ["redis-0", "redis-1", "redis-2"]);
    assert_eq!(workload.primary().unwrap().pod.name, fixtures::pod_name(0));
    assert_eq!(names(&workload.replicas), ["redis-1", "redis-2"]);
    assert_eq!((workload.outside, workload.unknown, workload.chained), (vec![], vec![], false));
}

#[rstest]
#[case("10.0.0.11", Some(1))]
#[case("redis-1.redis", Some(1))]
#[case("redis-1.redis.shop", Some(1))]
#[case("redis-1.redis.shop.svc", Some(1))]
#[case("redis-1.redis.shop.svc.cluster.local", Some(1))]
#[case("REDIS-1.redis.shop.svc.cluster.local.", Some(1))]
#[case("redis-1", None)]
#[case("redis-1.redis.other.svc", None)]
#[case("redis-1.redi", None)]
#[case("10.0.0.1", None)]
#[case("redis-primary", None)]
#[case("", None)]
fn addresses_are_resolved_to_pods(#[case] host: &str, #[case] pod: Option<u8>) {
    let snapshot = three_pods();
    let found = resolve(&at(host), &snapshot).map(|t| t.pod.name.clone());
    assert_eq!(found, pod.map(fixtures::pod_name));
}

#[test]
fn another_port_is_another_server() {
    let mut snapshot = three_pods();
    assert_eq!(resolve(&NodeAddress { host: "10.0.0.11".into(), port: 6380 }, &snapshot), None);
    // Of a container that is not known the port is not known either.
    snapshot.targets[1].pod.container = Err(ContainerProblem("none declares 6379".into()));
    assert!(resolve(&NodeAddress { host: "10.0.0.11".into(), port: 6380 }, &snapshot).is_some());
}

#[test]
fn two_workloads_are_told_apart_by_their_replication() {
    let mut snapshot = three_pods();
    let mut other = fixtures::target(0);
    other.pod.name = "store-0".into();
    other.pod.uid = "other".into();
    other.pod.ip = Some("10.0.1.1".into());
    other.pod.dns_name = None;
    if let Some(owner) = &mut other.pod.owner {
        owner.uid = "store-uid".into();
        owner.name = "store".into();
    }
    if let Observation::Seen(sample) = &mut other.redis {
        sample.replication.replicas.clear();
    }
    snapshot.targets.push(other);
    let found = workloads(&snapshot);
    assert_eq!(found.iter().map(|w| w.name.as_str()).collect::<Vec<_>>(), ["redis", "store"]);
    assert_eq!(names(&found[1].members), ["store-0"]);
}

#[test]
fn an_old_primary_that_came_back_alone_still_belongs_to_its_set() {
    let mut snapshot = three_pods();
    sample(&mut snapshot, 2).replication.role = Role::Primary;
    sample(&mut snapshot, 0).replication.replicas.pop();
    let [workload] = workloads(&snapshot).try_into().unwrap();
    assert_eq!(names(&workload.primaries), ["redis-0", "redis-2"]);
    assert!(workload.primary().is_none());
}

#[test]
fn shards_of_a_cluster_are_not_joined_by_their_set() {
    let mut snapshot = three_pods();
    for n in 0..3 {
        sample(&mut snapshot, n).server.cluster_enabled = true;
    }
    sample(&mut snapshot, 2).replication.role = Role::Primary;
    sample(&mut snapshot, 0).replication.replicas.pop();
    let found = workloads(&snapshot);
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|w| w.primaries.len() == 1));
}

#[test]
fn a_member_without_a_sample_is_unknown_and_stays_a_member() {
    let mut snapshot = three_pods();
    snapshot.targets[0].redis = Observation::Failed(ProbeFailure::TimedOut("no answer in 1s".into()));
    let [workload] = workloads(&snapshot).try_into().unwrap();
    assert_eq!(names(&workload.unknown), ["redis-0"]);
    assert_eq!(workload.members.len(), 3);
    assert!(workload.primaries.is_empty());
    // It is known where the primary is, so nothing is outside.
    assert_eq!(workload.outside, []);
}

#[test]
fn an_unselected_replica_and_an_unselected_primary_are_outside() {
    let mut snapshot = three_pods();
    let removed = snapshot.targets.remove(2);
    let [workload] = workloads(&snapshot).try_into().unwrap();
    assert_eq!(workload.outside, [fixtures::address(2)]);
    assert_eq!(live_outside(&workload), [fixtures::address(2)]);

    snapshot.targets = vec![removed];
    let [workload] = workloads(&snapshot).try_into().unwrap();
    assert_eq!(workload.outside, [fixtures::stable_address(0)]);
}

#[test]
fn a_replica_line_that_went_silent_is_not_a_live_member() {
    let mut snapshot = three_pods();
    snapshot.targets.remove(2);
    sample(&mut snapshot, 0).replication.replicas[1].lag = Duration::from_secs(10);
    let [workload] = workloads(&snapshot).try_into().unwrap();
    assert_eq!(live_outside(&workload), [fixtures::address(2)]);
    sample(&mut snapshot, 0).replication.replicas[1].lag = Duration::from_secs(11);
    let [workload] = workloads(&snapshot).try_into().unwrap();
    assert_eq!(workload.outside, [fixtures::address(2)], "it is still in the graph");
    assert_eq!(live_outside(&workload), [], "but it may be the pod that is being replaced");
}

#[test]
fn a_replica_that_follows_a_service_is_placed_by_the_primary_that_lists_it() {
    let mut snapshot = three_pods();
    snapshot.services.clear();
    snapshot.stateful_sets.clear();
    for target in &mut snapshot.targets {
        target.pod.owner = None;
    }
    point(&mut snapshot, 1, "redis-primary");
    let found = workloads(&snapshot);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].outside, []);
}

#[rstest]
#[case("redis-primary", true)]
#[case("redis-primary.shop.svc.cluster.local", true)]
#[case("redis-primary.other.svc", false)]
#[case("redis-replicas", false)]
fn the_role_service_is_inside_also_while_a_link_is_down(#[case] host: &str, #[case] inside: bool) {
    let mut snapshot = three_pods();
    point(&mut snapshot, 1, host);
    if let Role::Replica(link) = &mut sample(&mut snapshot, 1).replication.role {
        link.link_up = false;
    }
    sample(&mut snapshot, 0).replication.replicas.remove(0);
    let [workload] = workloads(&snapshot).try_into().unwrap();
    assert_eq!(workload.outside.is_empty(), inside, "{:?}", workload.outside);
}

#[test]
fn a_service_with_a_pod_that_is_not_selected_is_outside() {
    let mut snapshot = three_pods();
    point(&mut snapshot, 1, "redis-primary");
    sample(&mut snapshot, 0).replication.replicas.remove(0);
    snapshot.services[0].ready_pods.push("stranger".into());
    let [workload] = workloads(&snapshot).try_into().unwrap();
    assert_eq!(workload.outside, [at("redis-primary")]);
}

#[test]
fn chains_are_seen_from_both_ends() {
    let mut above = three_pods();
    point(&mut above, 2, "10.0.0.11");
    assert!(workloads(&above)[0].chained);
    let mut below = three_pods();
    sample(&mut below, 1).replication.replicas.push(fixtures::replica_line(2));
    assert!(workloads(&below)[0].chained);
}

#[test]
fn sentinels_are_no_members() {
    let mut snapshot = three_pods();
    sample(&mut snapshot, 2).server.is_sentinel = true;
    let [workload] = workloads(&snapshot).try_into().unwrap();
    assert_eq!(names(&workload.members), ["redis-0", "redis-1"]);
}

#[test]
fn a_pod_without_a_controller_is_a_workload_of_its_own_name() {
    let mut snapshot = three_pods();
    snapshot.targets.truncate(1);
    snapshot.targets[0].pod.owner = None;
    sample(&mut snapshot, 0).replication.replicas.clear();
    let [workload] = workloads(&snapshot).try_into().unwrap();
    assert!(workload.uid.is_empty());
    assert_eq!(workload.name, "redis-0");
    assert!(workload.replicates_nothing());
}
