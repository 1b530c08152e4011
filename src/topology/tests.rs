//! Workloads from addresses, roles and owners.

use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;
use crate::domain::{
    addresses::PodAddresses,
    fixtures::{self, three_pods},
    pod::{Container, ContainerProblem},
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
    let [shard] = find(&fixtures::policy(), &snapshot).try_into().unwrap();
    assert_eq!((shard.id.clone(), shard.name.as_str()), (fixtures::shard_id(), "redis"));
    assert_eq!(names(&shard.members), ["redis-0", "redis-1", "redis-2"]);
    assert_eq!(shard.primary().unwrap().pod.name, fixtures::pod_name(0));
    assert_eq!(names(&shard.replicas), ["redis-1", "redis-2"]);
    assert_eq!((shard.outside, shard.unknown, shard.chained), (vec![], vec![], false));
}

#[rstest]
#[case("10.0.0.11", Some(1))]
#[case("::ffff:10.0.0.11", Some(1))]
#[case("2001:db8::11", Some(1))]
#[case("2001:0DB8:0::11", Some(1))]
#[case("2001:db8::1", None)]
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
    let found = find(&fixtures::policy(), &snapshot)[0].resolve(&at(host)).map(|t| t.pod.name.clone());
    assert_eq!(found, pod.map(fixtures::pod_name));
}

fn container(snapshot: &mut Snapshot) -> &mut Container {
    snapshot.targets[1].pod.container.as_mut().unwrap()
}

#[rstest]
#[case::a_stranger(|_: &mut Snapshot| (), false)]
#[case::declared(|s: &mut Snapshot| container(s).declared_ports.push(6380), true)]
#[case::asked_at(|s: &mut Snapshot| container(s).port = 6380, true)]
#[case::plain(|s: &mut Snapshot| sample(s, 1).server.tcp_port = Some(6380), true)]
#[case::tls(|s: &mut Snapshot| sample(s, 1).config.as_mut().unwrap().serving.tls_port = Some(6380), true)]
#[case::not_said(|s: &mut Snapshot| sample(s, 1).server.tcp_port = None, true)]
#[case::silent(|s: &mut Snapshot| s.targets[1].redis = Observation::Pending, true)]
#[case::the_hosts_network(|s: &mut Snapshot| {
    s.targets[1].redis = Observation::Pending;
    s.targets[1].pod.host_network = true;
}, false)]
#[case::a_container_that_is_not_known(|s: &mut Snapshot| {
    s.targets[1].pod.container = Err(ContainerProblem("none declares 6379".into()));
}, true)]
fn another_port_of_a_member_is_that_member(#[case] change: fn(&mut Snapshot), #[case] is: bool) {
    let mut snapshot = three_pods();
    change(&mut snapshot);
    let found = find(&fixtures::policy(), &snapshot)[0].resolve(&NodeAddress { host: "10.0.0.11".into(), port: 6380 });
    assert_eq!(found.map(|target| &target.pod.name), is.then_some(&fixtures::pod_name(1)));
}

#[test]
fn of_several_servers_at_one_address_the_one_at_the_port_is_meant() {
    let mut snapshot = three_pods();
    for (target, port) in snapshot.targets.iter_mut().zip([7000, 7001, 7002]) {
        target.pod.addresses = PodAddresses::of(["127.0.0.1"]);
        target.pod.container.as_mut().unwrap().port = port;
        target.redis = Observation::Pending;
    }
    let shards = find(&fixtures::policy(), &snapshot);
    let at = |port| shards[0].resolve(&NodeAddress { host: "127.0.0.1".into(), port }).map(|t| &t.pod.name);
    assert_eq!(at(7002), Some(&fixtures::pod_name(2)));
}

/// A replica connects from, and is followed at, whichever family it likes.
#[test]
fn members_find_each_other_by_either_family() {
    let mut snapshot = three_pods();
    sample(&mut snapshot, 0).replication.replicas[0].address = fixtures::second_address(1);
    sample(&mut snapshot, 0).replication.replicas[1].address = at("::ffff:10.0.0.12");
    point(&mut snapshot, 1, "2001:db8::10");
    let [shard] = find(&fixtures::policy(), &snapshot).try_into().unwrap();
    assert_eq!(shard.outside, []);
    assert_eq!(names(&shard.members), ["redis-0", "redis-1", "redis-2"]);
}

#[test]
fn two_workloads_are_told_apart_by_their_replication() {
    let mut snapshot = three_pods();
    let mut other = fixtures::target(0);
    other.pod.name = "store-0".into();
    other.pod.uid = "other".into();
    other.pod.addresses = PodAddresses::of(["10.0.1.1"]);
    other.pod.dns_name = None;
    if let Some(owner) = &mut other.pod.owner {
        owner.uid = "store-uid".into();
        owner.name = "store".into();
    }
    if let Observation::Seen(sample) = &mut other.redis {
        sample.replication.replicas.clear();
    }
    snapshot.targets.push(other);
    let found = find(&fixtures::policy(), &snapshot);
    assert_eq!(found.iter().map(|w| w.name.as_str()).collect::<Vec<_>>(), ["redis", "store"]);
    assert_eq!(names(&found[1].members), ["store-0"]);
}

#[test]
fn an_old_primary_that_came_back_alone_still_belongs_to_its_set() {
    let mut snapshot = three_pods();
    sample(&mut snapshot, 2).replication.role = Role::Primary;
    sample(&mut snapshot, 0).replication.replicas.pop();
    let [shard] = find(&fixtures::policy(), &snapshot).try_into().unwrap();
    assert_eq!(names(shard.lead.all()), ["redis-0", "redis-2"]);
    assert!(shard.primary().is_none());
}

#[test]
fn shards_of_a_cluster_are_not_joined_by_their_set() {
    let mut snapshot = three_pods();
    for n in 0..3 {
        sample(&mut snapshot, n).server.cluster_enabled = true;
    }
    sample(&mut snapshot, 2).replication.role = Role::Primary;
    sample(&mut snapshot, 0).replication.replicas.pop();
    let found = find(&fixtures::policy(), &snapshot);
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|w| w.lead.all().len() == 1));
}

#[test]
fn a_member_without_a_sample_is_unknown_and_stays_a_member() {
    let mut snapshot = three_pods();
    snapshot.targets[0].redis = Observation::Failed(ProbeFailure::TimedOut("no answer in 1s".into()));
    let [shard] = find(&fixtures::policy(), &snapshot).try_into().unwrap();
    assert_eq!(names(&shard.unknown), ["redis-0"]);
    assert_eq!(shard.members.len(), 3);
    assert!(shard.lead.all().is_empty());
    // It is known where the primary is, so nothing is outside.
    assert_eq!(shard.outside, []);
}

#[test]
fn an_unselected_replica_and_an_unselected_primary_are_outside() {
    let mut snapshot = three_pods();
    let removed = snapshot.targets.remove(2);
    let [shard] = find(&fixtures::policy(), &snapshot).try_into().unwrap();
    assert_eq!(shard.outside, [fixtures::address(2)]);
    assert_eq!(shard.live_outside(), [fixtures::address(2)]);

    snapshot.targets = vec![removed];
    let [shard] = find(&fixtures::policy(), &snapshot).try_into().unwrap();
    assert_eq!(shard.outside, [fixtures::stable_address(0)]);
}

#[test]
fn a_replica_line_that_went_silent_is_not_a_live_member() {
    let mut snapshot = three_pods();
    snapshot.targets.remove(2);
    sample(&mut snapshot, 0).replication.replicas[1].lag = Duration::from_secs(10);
    let [shard] = find(&fixtures::policy(), &snapshot).try_into().unwrap();
    assert_eq!(shard.live_outside(), [fixtures::address(2)]);
    sample(&mut snapshot, 0).replication.replicas[1].lag = Duration::from_secs(11);
    let [shard] = find(&fixtures::policy(), &snapshot).try_into().unwrap();
    assert_eq!(shard.outside, [fixtures::address(2)], "it is still in the graph");
    assert_eq!(shard.live_outside(), [], "but it may be the pod that is being replaced");
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
    let found = find(&fixtures::policy(), &snapshot);
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
    let [shard] = find(&fixtures::policy(), &snapshot).try_into().unwrap();
    assert_eq!(shard.outside.is_empty(), inside, "{:?}", shard.outside);
}

#[test]
fn a_service_with_a_pod_that_is_not_selected_is_outside() {
    let mut snapshot = three_pods();
    point(&mut snapshot, 1, "redis-primary");
    sample(&mut snapshot, 0).replication.replicas.remove(0);
    snapshot.services[0].ready_pods.push("stranger".into());
    let [shard] = find(&fixtures::policy(), &snapshot).try_into().unwrap();
    assert_eq!(shard.outside, [at("redis-primary")]);
}

#[test]
fn chains_are_seen_from_both_ends() {
    let mut above = three_pods();
    point(&mut above, 2, "10.0.0.11");
    assert!(find(&fixtures::policy(), &above)[0].chained);
    let mut below = three_pods();
    sample(&mut below, 1).replication.replicas.push(fixtures::replica_line(2));
    assert!(find(&fixtures::policy(), &below)[0].chained);
}

#[test]
fn amid_a_chain_are_the_primary_and_each_replica_that_is_followed() {
    let of = |snapshot: &Snapshot| {
        let [shard] = find(&fixtures::policy(), snapshot).try_into().unwrap();
        let amid: Vec<bool> = shard.members.iter().map(|member| shard.is_amid_a_chain(member)).collect();
        let feeders = shard.replicas.iter().filter_map(|replica| Some(shard.feeder(replica)?.pod.name.to_string()));
        (amid, feeders.collect::<Vec<_>>())
    };
    let mut snapshot = three_pods();
    assert_eq!(of(&snapshot), (vec![false; 3], vec!["redis-0".to_owned(), "redis-0".to_owned()]));
    let chain = (vec![true, true, false], vec!["redis-0".to_owned(), "redis-1".to_owned()]);
    // By what the last says, whose link may be down.
    point(&mut snapshot, 2, "redis-1.redis");
    assert_eq!(of(&snapshot), chain);
    // It follows a Service, and the one behind it lists it.
    point(&mut snapshot, 2, "redis-primary");
    sample(&mut snapshot, 0).replication.replicas.truncate(1);
    sample(&mut snapshot, 1).replication.replicas.push(fixtures::replica_line(2));
    assert_eq!(of(&snapshot), chain);
}

#[test]
fn the_pods_of_two_stateful_sets_are_one_shard_also_when_no_server_says_so_any_more() {
    let mut snapshot = fixtures::primary_apart();
    let [shard] = find(&fixtures::policy(), &snapshot).try_into().unwrap();
    let (id, sets) = (shard.id.clone(), shard.id.sets.len());
    assert_eq!((names(&shard.members).len(), sets, shard.name.as_str()), (3, 2, "redis"));
    for target in snapshot.targets.iter_mut().skip(1) {
        target.redis = Observation::Failed(ProbeFailure::TimedOut("no answer".into()));
    }
    sample(&mut snapshot, 0).replication.replicas.clear();
    assert_eq!(find(&fixtures::policy(), &snapshot).len(), 2, "nothing shows that they belong together");
    snapshot.surroundings.stored = vec![id.clone()];
    let [shard] = find(&fixtures::policy(), &snapshot).try_into().unwrap();
    assert_eq!((shard.id, shard.unknown.len()), (id.clone(), 2));
    // The pod of one set is away.
    snapshot.targets.remove(0);
    let [shard] = find(&fixtures::policy(), &snapshot).try_into().unwrap();
    assert!(shard.id != id && shard.id.is(&id), "{}", shard.id);
}

// Found by the simulator: a server that lied for four seconds joined two sets for ever. People who copy a set by REPLICAOF
// do the same.
#[test]
fn two_sets_that_replicated_each_other_for_a_while_are_two_again_when_every_server_says_so() {
    let mut snapshot = fixtures::primary_apart();
    let [shard] = find(&fixtures::policy(), &snapshot).try_into().unwrap();
    snapshot.surroundings.stored = vec![shard.id];
    for target in snapshot.targets.iter_mut().skip(1) {
        target.sample_mut().unwrap().replication.role = Role::Primary;
    }
    sample(&mut snapshot, 0).replication.replicas.clear();
    let taking_all = snapshot.services.clone();
    snapshot.services.clear();
    assert_eq!(find(&fixtures::policy(), &snapshot).len(), 2, "apart");
    // With a Service over both they are one set with several primaries.
    snapshot.services = taking_all;
    snapshot.services[0].takes = snapshot.targets.iter().map(|target| target.pod.name.clone()).collect();
    assert_eq!(find(&fixtures::policy(), &snapshot).len(), 1);
    // One that is silent may be what joins them.
    snapshot.services.clear();
    snapshot.targets[2].redis = Observation::Failed(ProbeFailure::TimedOut("no answer".into()));
    assert_eq!(find(&fixtures::policy(), &snapshot).len(), 1);
}

#[test]
fn a_pod_without_a_controller_is_a_workload_of_its_own_name() {
    let mut snapshot = three_pods();
    snapshot.targets.truncate(1);
    snapshot.targets[0].pod.owner = None;
    sample(&mut snapshot, 0).replication.replicas.clear();
    let [shard] = find(&fixtures::policy(), &snapshot).try_into().unwrap();
    assert!(shard.id.is_nameless());
    assert_eq!(shard.name, "redis-0");
    assert!(shard.replicates_nothing());
}
