//! What people are told to change, by what makes the pods.

use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;
use crate::domain::{fixtures, pod::Deployment};

const TO: Bytes = Bytes::mib(1536);

fn told(change: impl FnOnce(&mut Snapshot)) -> String {
    let mut snapshot = fixtures::three_pods();
    change(&mut snapshot);
    of("shop", &snapshot, &snapshot.targets[1], TO).expect("a patch").to_string()
}

fn resource(kind: &str, path: Option<&str>) -> LimitAt {
    LimitAt::Resource {
        kind: kind.into(),
        group: (kind == "Cluster").then(|| "apps.kubeblocks.io".to_owned()),
        name: "cache".into(),
        path: path.map(str::to_owned),
        said: "componentSpecs[].resources".into(),
    }
}

fn value(release: &str, path: Option<&str>) -> LimitAt {
    LimitAt::Value { chart: "Bitnami chart".into(), release: release.to_owned(), path: path.map(str::to_owned) }
}

fn owned(snapshot: &mut Snapshot, kind: &str, at: Option<LimitAt>) {
    let set = &mut snapshot.stateful_sets[0];
    set.owner = Some(Owner { kind: kind.into(), name: "cache".into(), uid: "o".into() });
    set.limit_at = at;
}

/// The template gives as much as is needed.
fn has_it(snapshot: &mut Snapshot) -> &mut StatefulSet {
    let set = &mut snapshot.stateful_sets[0];
    set.template_limits = vec![("redis".into(), Some(TO))];
    set
}

/// What a change of the template does to the fixture's set.
const ROLLS: &str = "this rolls all 3 pods, one after the other, the primary redis-0 too, which saves nothing and comes back EMPTY, and \
                     its replicas copy that: first kubectl patch statefulset/redis -n shop --type merge -p \
                     '{\"spec\":{\"updateStrategy\":{\"rollingUpdate\":{\"partition\":1}}}}' (leaves redis-0 alone; back to 0 when a \
                     replica is primary instead), then";

#[rstest]
#[case::stateful_set(
    |_: &mut Snapshot| (),
    "set the limit to 1.50 GiB in the pod template; {ROLLS}: kubectl set resources statefulset/redis -n shop -c redis \
     --limits=memory=1536Mi (where a chart or GitOps writes it, change it there)"
)]
#[case::of_one_pod(
    |s: &mut Snapshot| s.stateful_sets[0].replicas = 1,
    "set the limit to 1.50 GiB in the pod template; this rolls its only pod: Redis starts anew, and EMPTY, for it saves \
     nothing: kubectl set resources statefulset/redis -n shop -c redis --limits=memory=1536Mi (where a chart or GitOps \
     writes it, change it there)"
)]
#[case::guaranteed(
    |s: &mut Snapshot| s.targets[1].pod.guaranteed = true,
    "set the limit to 1.50 GiB in the pod template; {ROLLS}: kubectl set resources statefulset/redis -n shop -c redis \
     --limits=memory=1536Mi --requests=memory=1536Mi (where a chart or GitOps writes it, change it there)"
)]
#[case::a_release_of_an_unknown_chart(
    |s: &mut Snapshot| s.stateful_sets[0].limit_at = Some(value("cache", None)),
    "set the limit to 1.50 GiB in the pod template; {ROLLS}: kubectl set resources statefulset/redis -n shop -c redis \
     --limits=memory=1536Mi (Helm release cache made it, so change its values too, or the next upgrade undoes it)"
)]
#[case::a_value(
    |s: &mut Snapshot| s.stateful_sets[0].limit_at = Some(value("cache", Some("replica.resources"))),
    "set the limit to 1.50 GiB in Helm release cache (Bitnami chart); {ROLLS}: helm upgrade cache CHART -n shop \
     --reuse-values --set replica.resources.limits.memory=1536Mi (CHART as it was installed; where GitOps renders it, set \
     the value there)"
)]
#[case::a_resource(
    |s: &mut Snapshot| owned(s, "RedisFailover", Some(resource("RedisFailover", Some("spec.redis.resources")))),
    "set the limit to 1.50 GiB in RedisFailover cache; its operator then restarts the pods, the primary too: kubectl \
     patch redisfailover cache -n shop --type merge -p \
     '{\"spec\":{\"redis\":{\"resources\":{\"limits\":{\"memory\":\"1536Mi\"}}}}}'"
)]
#[case::an_unknown_owner(
    |s: &mut Snapshot| owned(s, "Strange", None),
    "set the limit to 1.50 GiB in Strange cache; its operator then restarts the pods, the primary too: kubectl edit \
     strange cache -n shop (set limits.memory of redis to 1536Mi there)"
)]
#[case::pods_of_an_operator(
    |s: &mut Snapshot| {
        let pod = &mut s.targets[1].pod;
        pod.owner.as_mut().unwrap().kind = "InstanceSet".into();
        pod.limit_at = Some(resource("Cluster", None));
    },
    "set the limit to 1.50 GiB in Cluster cache; its operator then restarts the pods, the primary too: kubectl edit \
     cluster.apps.kubeblocks.io cache -n shop (limits.memory: 1536Mi in componentSpecs[].resources)"
)]
#[case::the_template_has_it(
    |s: &mut Snapshot| s.stateful_sets[0].template_limits = vec![("redis".into(), Some(TO))],
    "let the pod be replaced, for the template of StatefulSet redis gives 1.50 GiB already; {ROLLS}: kubectl rollout \
     restart statefulset/redis -n shop"
)]
#[case::on_delete(
    |s: &mut Snapshot| s.stateful_sets[0].on_delete = true,
    "set the limit to 1.50 GiB in the pod template; this rolls no pod, for its strategy is OnDelete: delete them then, \
     one after the other, and a primary only when a replica has taken its role over: kubectl set resources \
     statefulset/redis -n shop -c redis --limits=memory=1536Mi (where a chart or GitOps writes it, change it there)"
)]
#[case::the_template_has_it_and_nothing_rolls(
    |s: &mut Snapshot| { has_it(s).on_delete = true; },
    "let the pod be replaced, for the template of StatefulSet redis gives 1.50 GiB already; the strategy of StatefulSet \
     redis is OnDelete, so that a roll-out replaces no pod; one pod after the other, each when the one before has caught \
     up, and a primary last: kubectl delete pod redis-1 -n shop"
)]
#[case::the_primary_of_a_set_that_does_not_roll(
    |s: &mut Snapshot| { has_it(s).on_delete = true; s.targets[1].sample_mut().unwrap().replication.role = Role::Primary; },
    "let the pod be replaced, for the template of StatefulSet redis gives 1.50 GiB already; the strategy of StatefulSet \
     redis is OnDelete, so that a roll-out replaces no pod; it is a primary that saves nothing: first let a replica take \
     its role over, or it comes back EMPTY, and its replicas copy that: kubectl delete pod redis-1 -n shop"
)]
#[case::below_the_partition_of_a_roll_out(
    |s: &mut Snapshot| { let set = has_it(s); (set.partition, set.update_revision) = (2, "redis-next".into()); },
    "let the pod be replaced, for the template of StatefulSet redis gives 1.50 GiB already; below its partition of 2 pods \
     are left alone, and this rolls those from number 1 on, a primary among them only after a replica has taken its role: \
     kubectl patch statefulset/redis -n shop --type merge -p \
     '{\"spec\":{\"updateStrategy\":{\"rollingUpdate\":{\"partition\":1}}}}'"
)]
#[case::below_the_partition(
    |s: &mut Snapshot| has_it(s).partition = 2,
    "let the pod be replaced, for the template of StatefulSet redis gives 1.50 GiB already; it is below the partition of \
     StatefulSet redis, which a roll-out leaves alone; one pod after the other, each when the one before has caught up, \
     and a primary last: kubectl delete pod redis-1 -n shop"
)]
#[case::above_the_partition(
    |s: &mut Snapshot| has_it(s).partition = 1,
    "let the pod be replaced, for the template of StatefulSet redis gives 1.50 GiB already; this rolls its pods from \
     number 1 on, one after the other: kubectl rollout restart statefulset/redis -n shop"
)]
#[case::the_template_of_an_owned_set_has_it(
    |s: &mut Snapshot| { has_it(s); owned(s, "RedisFailover", None); },
    "let the pod be replaced, for the template of StatefulSet redis gives 1.50 GiB already; RedisFailover cache owns \
     StatefulSet redis, and takes a roll-out back; one pod after the other, each when the one before has caught up, and a \
     primary last: kubectl delete pod redis-1 -n shop"
)]
fn the_change_has_real_names(#[case] change: fn(&mut Snapshot), #[case] expected: &str) {
    assert_eq!(told(change), expected.replace("{ROLLS}", ROLLS));
}

#[test]
fn a_deployment_is_changed_at_itself() {
    let told = told(|s| {
        s.stateful_sets.clear();
        s.targets[1].pod.owner.as_mut().unwrap().kind = "ReplicaSet".into();
        s.deployments = vec![Deployment {
            uid: fixtures::set_uid(),
            name: "cache".into(),
            template_limits: Vec::new(),
            limit_at: None,
        }];
    });
    assert!(told.contains("kubectl set resources deployment/cache -n shop -c redis --limits=memory=1536Mi"), "{told}");
}

#[rstest]
#[case::nobody(|_: &mut Snapshot| (), None)]
#[case::an_unknown_owner(|s: &mut Snapshot| owned(s, "Strange", None), Some("Strange cache"))]
#[case::a_release(|s: &mut Snapshot| s.stateful_sets[0].limit_at = Some(value("cache", None)), Some("Helm release cache"))]
#[case::by_its_label(
    |s: &mut Snapshot| owned(s, "ValkeyNode", Some(resource("ValkeyCluster", None))),
    Some("ValkeyCluster cache")
)]
fn who_takes_a_change_of_the_set_back(#[case] change: fn(&mut Snapshot), #[case] expected: Option<&str>) {
    let mut snapshot = fixtures::three_pods();
    change(&mut snapshot);
    assert_eq!(kept_in(&snapshot, &snapshot.targets[1]).as_deref(), expected);
}

#[rstest]
#[case::stateful_set(
    |_: &mut Snapshot| (),
    "set the memory request to 1.50 GiB in the pod template; {ROLLS}: kubectl set resources statefulset/redis -n shop -c \
     redis --requests=memory=1536Mi (where a chart or GitOps writes it, change it there)"
)]
#[case::a_value(
    |s: &mut Snapshot| s.stateful_sets[0].limit_at = Some(value("cache", Some("replica.resources"))),
    "set the memory request to 1.50 GiB in Helm release cache (Bitnami chart); {ROLLS}: helm upgrade cache CHART -n shop \
     --reuse-values --set replica.resources.requests.memory=1536Mi (CHART as it was installed; where GitOps renders it, \
     set the value there)"
)]
#[case::a_resource(
    |s: &mut Snapshot| owned(s, "RedisFailover", Some(resource("RedisFailover", Some("spec.redis.resources")))),
    "set the memory request to 1.50 GiB in RedisFailover cache; its operator then restarts the pods, the primary too: \
     kubectl patch redisfailover cache -n shop --type merge -p \
     '{\"spec\":{\"redis\":{\"resources\":{\"requests\":{\"memory\":\"1536Mi\"}}}}}'"
)]
#[case::a_template_with_such_a_limit_may_have_another_request(
    |s: &mut Snapshot| { has_it(s); },
    "set the memory request to 1.50 GiB in the pod template; {ROLLS}: kubectl set resources statefulset/redis -n shop -c \
     redis --requests=memory=1536Mi (where a chart or GitOps writes it, change it there)"
)]
fn so_has_that_of_a_request(#[case] change: fn(&mut Snapshot), #[case] expected: &str) {
    let mut snapshot = fixtures::three_pods();
    change(&mut snapshot);
    let patch = of_request("shop", &snapshot, &snapshot.targets[1], TO, None).expect("a patch");
    assert_eq!(patch.to_string(), expected.replace("{ROLLS}", ROLLS));
}

#[test]
fn a_request_that_the_limit_does_not_bear_comes_with_another_limit() {
    let snapshot = fixtures::three_pods();
    let patch = of_request("shop", &snapshot, &snapshot.targets[1], TO, Some(Bytes::mib(2304))).expect("a patch");
    assert_eq!(patch.what, "set the memory request to 1.50 GiB and the limit to 2.25 GiB in the pod template");
    assert!(patch.command.ends_with("-c redis --limits=memory=2304Mi --requests=memory=1536Mi"), "{}", patch.command);
}

/// Every merge is JSON, and says what it says.
#[test]
fn what_is_merged_is_json() {
    let merged: serde_json::Value = serde_json::from_str(&merge("spec.a.resources", &Wanted::limit(TO, true))).unwrap();
    let amounts = serde_json::json!({"limits": {"memory": "1536Mi"}, "requests": {"memory": "1536Mi"}});
    assert_eq!(merged, serde_json::json!({"spec": {"a": {"resources": amounts}}}));
}

#[test]
fn of_a_pod_of_nobody_nothing_is_said() {
    let mut snapshot = fixtures::three_pods();
    snapshot.targets[1].pod.owner = None;
    assert_eq!(of("shop", &snapshot, &snapshot.targets[1], TO), None);
}
