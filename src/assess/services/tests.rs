//! Services that lead to a set, take a part of it, or hold clients to one of its pods.

use rstest::rstest;

use super::*;
use crate::domain::snapshot::Snapshot;
use crate::{
    domain::fixtures::{self, pod_name, service},
    topology::find,
};

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";

fn world(members: usize, services: Vec<Service>) -> Snapshot {
    let mut snapshot = fixtures::three_pods();
    snapshot.targets.truncate(members);
    snapshot.services = services;
    snapshot
}

fn names(pods: &[u8]) -> Vec<PodName> {
    pods.iter().copied().map(pod_name).collect()
}

/// A Service for each of these members, by the value of that label.
fn each(key: &str, members: u8) -> Vec<Service> {
    (0..members).map(|n| service(&format!("at-{n}"), &[("app", "redis"), (key, &n.to_string())], names(&[n]))).collect()
}

#[test]
fn the_services_of_a_set_are_those_that_take_every_member() {
    let label = fixtures::policy().redis.role_label;
    let primary = fixtures::primary_service(names(&[0, 1, 2]), Vec::new());
    let other = Service { name: "cart".into(), takes: vec!["cart-0".into()], ..primary.clone() };
    let part = Service { name: "part".into(), takes: names(&[0, 2]), ..primary.clone() };
    let both =
        Service { name: "both".into(), takes: [names(&[0, 1, 2]), vec!["cart-0".into()]].concat(), ..primary.clone() };
    let reads = service("reads", &[(&label.key, &label.replica)], names(&[0, 1, 2]));
    let snapshot = world(3, vec![other, part, primary, both, reads]);
    let [shard] = find(&fixtures::policy(), &snapshot).try_into().unwrap();
    let found: Vec<_> = to_primary(&shard, &label).map(|service| service.name.as_str()).collect();
    assert_eq!(found, ["redis-primary", "both"]);
    assert_eq!(partial(&shard).map(|service| service.name.as_str()), Some("part"));
}

#[rstest]
#[case::by_the_pods_name(3, vec![service("redis", &[(POD_NAME, "redis-0")], names(&[0]))], true)]
#[case::by_a_fixed_label(3, vec![service("redis", &[("component", "master")], names(&[0]))], true)]
#[case::to_another_member(3, vec![service("redis", &[(POD_NAME, "redis-1")], names(&[1]))], false)]
#[case::to_it_and_one_more(3, vec![service("redis", &[("zone", "a")], names(&[0, 1]))], true)]
#[case::all_of_them(3, vec![service("redis", &[("app", "redis")], names(&[0, 1, 2]))], false)]
#[case::another_set(3, vec![service("cart", &[(POD_NAME, "cart-0")], vec!["cart-0".into()])], false)]
#[case::each_has_its_own(3, each(POD_NAME, 3), false)]
#[case::one_lacks_its_own(3, each(POD_NAME, 2), true)]
#[case::each_of_two_has_its_own(2, each(POD_NAME, 2), false)]
#[case::each_of_three_by_a_label(3, each("announce", 3), false)]
#[case::one_for_each_role(2, each("component", 2), true)]
#[case::the_only_member(1, vec![service("redis", &[(POD_NAME, "redis-0")], names(&[0]))], true)]
#[case::the_only_member_by_its_app(1, vec![service("redis", &[("app", "redis")], names(&[0]))], false)]
fn clients_are_held_to_the_primarys_pod(#[case] members: usize, #[case] services: Vec<Service>, #[case] held: bool) {
    let snapshot = world(members, services);
    let [shard] = find(&fixtures::policy(), &snapshot).try_into().unwrap();
    assert_eq!(pinning(&shard, &snapshot.targets[0]).is_some(), held);
}
