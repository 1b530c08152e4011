//! Which pod alone starts as a primary, by arguments and by what came back.

use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;
use crate::domain::snapshot::Snapshot;
use crate::{
    domain::{
        fixtures,
        pod::{Owner, StartSettings, StatefulSet},
    },
    topology,
};

fn starts(name: &str, value: &str) -> Vec<StartSettings> {
    vec![StartSettings { container: "redis".into(), settings: vec![(name.into(), value.into())] }]
}

fn found(snapshot: &Snapshot, proven: &[&str]) -> Option<String> {
    let proven: Vec<PodName> = proven.iter().map(|pod| PodName::from(*pod)).collect();
    let shards = topology::find(&fixtures::policy(), snapshot);
    assert_eq!(shards.len(), 1);
    alone(&shards[0], &proven).map(|start| start.target.pod.name.to_string())
}

#[rstest]
#[case::nothing_is_known("", "", &[], None)]
#[case::by_the_stable_name("replicaof", "redis-0.redis 6379", &[], Some("redis-0"))]
#[case::by_the_old_word("slaveof", "redis-0.redis.shop.svc.cluster.local 6379", &[], Some("redis-0"))]
#[case::another_port("replicaof", "redis-0.redis 6380", &[], None)]
#[case::no_member("replicaof", "redis-7.redis 6379", &[], None)]
#[case::no_one("replicaof", "no one", &[], None)]
#[case::it_came_back_as_one("", "", &["redis-1"], Some("redis-1"))]
#[case::both_agree("replicaof", "redis-0.redis 6379", &["redis-0"], Some("redis-0"))]
#[case::they_contradict_each_other("replicaof", "redis-0.redis 6379", &["redis-1"], None)]
#[case::each_does("", "", &["redis-0", "redis-1"], None)]
#[case::it_is_gone("", "", &["redis-7"], None)]
fn one_that_alone_starts_as_a_primary(
    #[case] name: &str,
    #[case] value: &str,
    #[case] proven: &[&str],
    #[case] expected: Option<&str>,
) {
    let mut snapshot = fixtures::three_pods();
    if !name.is_empty() {
        snapshot.stateful_sets[0].start_settings = starts(name, value);
    }
    assert_eq!(found(&snapshot, proven).as_deref(), expected);
}

/// One StatefulSet for the primary and one for its replicas, as static charts have it.
#[test]
fn a_set_of_its_own_for_the_primary() {
    let mut snapshot = fixtures::three_pods();
    let replicas = StatefulSet {
        uid: "replicas".into(),
        name: "redis-replicas".into(),
        start_settings: starts("replicaof", "redis-0.redis 6379"),
        ..fixtures::stateful_set()
    };
    snapshot.stateful_sets.push(replicas);
    for target in &mut snapshot.targets[1..] {
        target.pod.owner =
            Some(Owner { kind: "StatefulSet".into(), name: "redis-replicas".into(), uid: "replicas".into() });
    }
    assert_eq!(found(&snapshot, &[]).as_deref(), Some("redis-0"));
    snapshot.stateful_sets[1].start_settings.clear();
    assert_eq!(found(&snapshot, &[]), None, "what a file or a script says is not seen");
}
