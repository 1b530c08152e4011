//! One valid pod; each test changes one thing.

mod services;
mod started;
mod stateful_sets;

use pretty_assertions::assert_eq;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::domain::{
    fixtures::mount,
    pod::{FieldManagers, StartSettings},
    policy::AuthorityRule,
};

const ROLE: &str = "redismemory.io/role";

fn role_label() -> RoleLabel {
    RoleLabel { key: ROLE.into(), primary: "primary".into(), replica: "replica".into() }
}

fn access(container: Option<&str>, port: PortRef) -> RedisAccess {
    RedisAccess {
        container: container.map(str::to_owned),
        port,
        authority: AuthorityRule::Operator,
        role_label: role_label(),
        username: None,
        password: None,
        tls: None,
        sentinel: None,
    }
}

fn by_number() -> RedisAccess {
    access(None, PortRef::Number(6379))
}

fn named(port: &str) -> RedisAccess {
    access(None, PortRef::Name(port.into()))
}

fn object() -> Value {
    json!({
        "metadata": {
            "name": "redis-1", "namespace": "shop", "uid": "uid-1", "resourceVersion": "7",
            "labels": { "app": "redis", ROLE: "replica", "controller-revision-hash": "redis-5d4f" },
            "ownerReferences": [
                { "apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "x" },
                { "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "redis", "uid": "set-1", "controller": true },
            ],
        },
        "spec": {
            "nodeName": "node-1", "hostname": "redis-1", "subdomain": "redis-headless", "terminationGracePeriodSeconds": 60,
            "initContainers": [{
                "name": "init", "ports": [{ "name": "redis", "containerPort": 6379 }],
            }],
            "containers": [{
                "name": "redis",
                "volumeMounts": [
                    { "name": "data", "mountPath": "/data" }, { "name": "tmp", "mountPath": "/tmp" },
                    { "name": "conf", "mountPath": "/etc/redis", "readOnly": true },
                ],
                "ports": [{ "name": "redis", "containerPort": 6379, "protocol": "TCP" }],
                "resources": { "limits": { "memory": "512Mi" }, "requests": { "memory": "256Mi" } },
                "resizePolicy": [
                    { "resourceName": "cpu", "restartPolicy": "RestartContainer" },
                    { "resourceName": "memory", "restartPolicy": "NotRequired" },
                ],
            }],
            "volumes": [
                { "name": "data", "persistentVolumeClaim": { "claimName": "data-redis-1" } },
                { "name": "tmp", "emptyDir": {} },
                { "name": "conf", "configMap": { "name": "a-config" } },
            ],
        },
        "status": {
            "phase": "Running", "podIP": "10.0.0.7", "podIPs": [{ "ip": "10.0.0.7" }, { "ip": "2001:DB8::7" }], "qosClass": "Burstable",
            "conditions": [{ "type": "Ready", "status": "True" }],
            "containerStatuses": [{
                "name": "redis", "ready": true, "restartCount": 2, "image": "redis", "imageID": "",
                "resources": { "limits": { "memory": "768Mi" }, "requests": { "memory": "256Mi" } },
                "state": { "running": { "startedAt": "2026-01-02T03:04:05Z" } },
            }],
        },
    })
}

/// The pod of [`object`] after a change.
fn changed(change: impl FnOnce(&mut Value)) -> K8sPod {
    let mut value = object();
    change(&mut value);
    serde_json::from_value(value).expect("a pod")
}

fn problem(change: impl FnOnce(&mut Value), access: &RedisAccess) -> String {
    pod(&changed(change), access).container.expect_err("no container").0
}

fn found(change: impl FnOnce(&mut Value), access: &RedisAccess) -> Container {
    pod(&changed(change), access).container.expect("a container")
}

#[test]
fn a_whole_pod() {
    assert_eq!(
        pod(&changed(|_| ()), &by_number()),
        Pod {
            name: "redis-1".into(),
            uid: "uid-1".into(),
            resource_version: "7".into(),
            addresses: PodAddresses::of(["10.0.0.7", "2001:db8::7"]),
            node: Some("node-1".into()),
            host_network: false,
            dns_name: Some("redis-1.redis-headless.shop.svc".into()),
            ready: true,
            terminating: false,
            running: true,
            role_label: Some("replica".into()),
            owner: Some(Owner { kind: "StatefulSet".into(), name: "redis".into(), uid: "set-1".into() }),
            revision: Some("redis-5d4f".into()),
            grace_period: Duration::from_secs(60),
            container: Ok(Container {
                name: "redis".into(),
                port: 6379,
                declared_ports: vec![6379],
                spec_limit: Some(Bytes::mib(512)),
                spec_request: Some(Bytes::mib(256)),
                live_limit: Some(Bytes::mib(768)),
                pod_limit: None,
                resize_restarts: false,
                started_at: Some("2026-01-02T03:04:05Z".parse().expect("a time")),
                restarts: 2,
                killed: None,
                killed_before: None,
                start_took: Duration::ZERO,
                ready_after: Duration::ZERO,
                mounts: vec![
                    Mount { claim: Some("data-redis-1".into()), ..mount("/data", VolumeKind::Claim) },
                    mount("/tmp", VolumeKind::EmptyDir),
                    Mount { read_only: true, ..mount("/etc/redis", VolumeKind::Other) },
                ],
            }),
            guaranteed: false,
            pod_level_resources: false,
            resize: ResizeProgress::None,
            trouble: None,
            hold: None,
            limit_at: None,
            managers: FieldManagers::default(),
        }
    );
}

#[test]
fn a_pod_of_which_nothing_is_known_is_not_ready_and_has_no_container() {
    let bare = pod(&K8sPod::default(), &by_number());
    assert!(!bare.ready && !bare.running && !bare.terminating && !bare.guaranteed);
    assert_eq!((bare.addresses, bare.dns_name, bare.owner), (PodAddresses::default(), None, None));
    assert_eq!(bare.grace_period, Duration::from_secs(30));
    assert_eq!(
        bare.container,
        Err(ContainerProblem("no container declares port 6379; there are: ; name one in `redis.container`".into()))
    );
}

#[rstest]
#[case::not_ready("/status/conditions/0/status", json!("False"), |pod: &Pod| !pod.ready)]
#[case::unknown_is_not_ready("/status/conditions/0/status", json!("Unknown"), |pod: &Pod| !pod.ready)]
#[case::pending("/status/phase", json!("Pending"), |pod: &Pod| !pod.running)]
#[case::no_address_yet("/status/podIPs", json!([]), |pod: &Pod| pod.addresses == PodAddresses::of(["10.0.0.7"]))]
#[case::guaranteed("/status/qosClass", json!("Guaranteed"), |pod: &Pod| pod.guaranteed)]
#[case::no_subdomain("/spec/subdomain", json!(""), |pod: &Pod| pod.dns_name.is_none())]
#[case::no_hostname("/spec/hostname", Value::Null, |pod: &Pod| pod.dns_name.is_none())]
#[case::no_controller("/metadata/ownerReferences/1/controller", json!(false), |pod: &Pod| pod.owner.is_none())]
#[case::no_role("/metadata/labels", json!({}), |pod: &Pod| pod.role_label.is_none() && pod.revision.is_none())]
fn one_thing_changed(#[case] path: &str, #[case] value: Value, #[case] holds: fn(&Pod) -> bool) {
    let object = changed(|object| *object.pointer_mut(path).expect("the path exists") = value);
    let pod = pod(&object, &by_number());
    assert!(holds(&pod), "{pod:#?}");
}

#[test]
fn a_deletion_timestamp_means_terminating() {
    let object = changed(|object| object["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z"));
    assert!(pod(&object, &by_number()).terminating);
}

#[rstest]
#[case(json!({}), false)]
#[case(json!({ "limits": {} }), false)]
#[case(json!({ "limits": { "memory": "1Gi" } }), true)]
#[case(json!({ "requests": { "cpu": "1" } }), true)]
fn pod_level_resources_count_when_they_say_something(#[case] resources: Value, #[case] want: bool) {
    let object = changed(|object| object["spec"]["resources"] = resources);
    assert_eq!(pod(&object, &by_number()).pod_level_resources, want);
}

/// A second container, which declares those ports.
fn beside(ports: Value) -> impl FnOnce(&mut Value) {
    move |object| {
        let containers = object["spec"]["containers"].as_array_mut().expect("containers");
        containers.insert(0, json!({ "name": "exporter", "ports": ports }));
    }
}

#[test]
fn the_named_container_is_taken_even_if_another_declares_the_port() {
    let named = access(Some("exporter"), PortRef::Number(6379));
    let container = found(beside(json!([])), &named);
    assert_eq!((container.name.as_str(), container.port), ("exporter", 6379));
    assert_eq!(
        (container.spec_limit, container.live_limit, container.started_at, container.restarts),
        (None, None, None, 0),
        "nothing of another container is mixed in"
    );
}

#[test]
fn a_named_container_that_is_missing_is_named() {
    let missing = access(Some("reddis"), PortRef::Number(6379));
    assert_eq!(problem(beside(json!([])), &missing), "no container is named `reddis`; there are: exporter, redis");
    let init = access(Some("init"), PortRef::Number(6379));
    assert_eq!(problem(|_| (), &init), "no container is named `init`; there are: redis", "it has ended");
}

/// The first init container stays (a sidecar) and is what Redis runs in; the container of the pod is something else.
fn as_a_sidecar(object: &mut Value) {
    let redis = object["spec"]["containers"][0].take();
    object["spec"]["containers"] = json!([{ "name": "app", "ports": [{ "containerPort": 8080 }] }]);
    object["spec"]["initContainers"] = json!([redis]);
    object["spec"]["initContainers"][0]["restartPolicy"] = json!("Always");
    let statuses = object["status"]["containerStatuses"].take();
    object["status"]["initContainerStatuses"] = statuses;
}

#[test]
fn an_init_container_that_stays_running_is_a_container() {
    let mut sidecar = changed(as_a_sidecar);
    crate::kube_io::cache::prune(&mut sidecar);
    let container = pod(&sidecar, &by_number()).container.expect("the one that declares the port");
    assert_eq!((container.name.as_str(), container.restarts), ("redis", 2));
    assert_eq!((container.spec_limit, container.live_limit), (Some(Bytes::mib(512)), Some(Bytes::mib(768))));
    let undeclared = |object: &mut Value| {
        as_a_sidecar(object);
        object["spec"]["initContainers"][0]["ports"] = json!([]);
    };
    let text = problem(undeclared, &by_number());
    assert!(text.contains("no container declares port 6379; there are: app, redis"), "{text}");
}

#[rstest]
#[case::smaller("600Mi", Some(600), Some(600))]
#[case::larger("2Gi", Some(2048), Some(768))]
fn the_limit_of_the_pod_as_a_whole_counts(
    #[case] limit: &str,
    #[case] of_pod: Option<u64>,
    #[case] holds: Option<u64>,
) {
    let container =
        found(|object| object["spec"]["resources"] = json!({ "limits": { "memory": limit } }), &by_number());
    assert_eq!((container.pod_limit, container.limit()), (of_pod.map(Bytes::mib), holds.map(Bytes::mib)));
    let alone = |object: &mut Value| {
        object["spec"]["resources"] = json!({ "limits": { "memory": limit } });
        object["spec"]["containers"][0]["resources"] = Value::Null;
        object["status"]["containerStatuses"][0]["resources"] = Value::Null;
    };
    assert_eq!(found(alone, &by_number()).limit(), of_pod.map(Bytes::mib), "the containers have none");
}

#[test]
fn a_limit_of_the_pod_that_cannot_be_read_is_a_problem() {
    let text = problem(|object| object["spec"]["resources"] = json!({ "limits": { "memory": "lots" } }), &by_number());
    assert!(text.starts_with("memory limit of the whole pod cannot be read"), "{text}");
}

#[test]
fn the_only_container_need_not_declare_a_port_that_is_given_by_number() {
    let container =
        found(|object| object["spec"]["containers"][0]["ports"] = json!([]), &access(None, PortRef::Number(7000)));
    assert_eq!((container.name.as_str(), container.port), ("redis", 7000));
}

#[rstest]
#[case::by_number(by_number())]
#[case::by_name(named("redis"))]
fn of_several_the_one_that_declares_the_port_is_taken(#[case] access: RedisAccess) {
    let container = found(beside(json!([{ "name": "metrics", "containerPort": 9121 }])), &access);
    assert_eq!((container.name.as_str(), container.port), ("redis", 6379));
}

#[test]
fn none_of_several_declares_the_port() {
    let other = access(None, PortRef::Number(7000));
    assert_eq!(
        problem(beside(json!([])), &other),
        "no container declares port 7000; there are: exporter, redis; name one in `redis.container`"
    );
    assert_eq!(
        problem(beside(json!([])), &named("client")),
        "no container declares a port named `client`; there are: exporter, redis; name one in `redis.container`"
    );
}

#[test]
fn two_that_declare_the_port_are_one_too_many() {
    assert_eq!(
        problem(beside(json!([{ "containerPort": 6379 }])), &by_number()),
        "several containers declare port 6379: exporter, redis; name one in `redis.container`"
    );
}

#[test]
fn a_udp_port_is_no_redis_port() {
    let container = found(beside(json!([{ "containerPort": 6379, "protocol": "UDP" }])), &by_number());
    assert_eq!(container.name, "redis");
}

#[test]
fn an_unknown_port_name_is_a_problem_that_lists_the_names() {
    assert_eq!(problem(|_| (), &named("client")), "container `redis` has no TCP port named `client`; it has: redis");
    assert_eq!(
        problem(|object| object["spec"]["containers"][0]["ports"] = Value::Null, &named("client")),
        "container `redis` has no TCP port named `client`; it names none"
    );
}

#[test]
fn a_container_status_without_resources_leaves_the_live_limit_open() {
    let container = found(
        |object| {
            object["status"]["containerStatuses"][0]["resources"] = Value::Null;
        },
        &by_number(),
    );
    assert_eq!((container.live_limit, container.limit()), (None, Some(Bytes::mib(512))));
}

#[test]
fn a_limit_that_cannot_be_read_is_a_problem_and_not_no_limit() {
    let path = "/spec/containers/0/resources/limits/memory";
    let text = problem(|object| *object.pointer_mut(path).expect("a limit") = json!("much"), &by_number());
    assert!(text.starts_with("memory limit of container `redis` cannot be read: "), "{text}");
}

#[test]
fn a_restart_policy_for_memory_is_seen() {
    let path = "/spec/containers/0/resizePolicy/1/restartPolicy";
    let container =
        found(|object| *object.pointer_mut(path).expect("a policy") = json!("RestartContainer"), &by_number());
    assert!(container.resize_restarts);
}

#[rstest]
#[case("PodResizePending", "True", "Deferred", ResizeProgress::Deferred("node full".into()))]
#[case("PodResizePending", "True", "Infeasible", ResizeProgress::Infeasible("node full".into()))]
#[case("PodResizePending", "True", "SomethingNew", ResizeProgress::Deferred("node full".into()))]
#[case("PodResizePending", "False", "Deferred", ResizeProgress::InProgress)]
#[case("Other", "True", "Deferred", ResizeProgress::InProgress)]
fn a_pending_resize_says_more_than_one_in_progress(
    #[case] type_: &str,
    #[case] status: &str,
    #[case] reason: &str,
    #[case] want: ResizeProgress,
) {
    let object = changed(|object| {
        object["status"]["conditions"] = json!([
            { "type": "PodResizeInProgress", "status": "True" },
            { "type": type_, "status": status, "reason": reason, "message": "node\nfull" },
        ]);
    });
    assert_eq!(pod(&object, &by_number()).resize, want);
}

#[test]
fn a_resize_that_fails_is_no_progress() {
    let object = changed(|object| {
        object["status"]["conditions"] =
            json!([{ "type": "PodResizeInProgress", "status": "True", "reason": "Error", "message": "cgroup" }]);
    });
    assert_eq!(pod(&object, &by_number()).resize, ResizeProgress::Error("cgroup".into()));
}

/// The pod of [`object`] with something more in every part that is read, and much in parts that are not.
fn cluttered(object: &mut Value) {
    let extra = json!({
        "metadata": {
            "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}", "redismemory.io/hold": "audit\n" },
            "managedFields": [{ "manager": "a-manager", "operation": "Update" }],
            "deletionTimestamp": "2026-01-02T03:04:05Z",
        },
        "spec": {
            "resources": { "limits": { "memory": "2Gi" } },
        },
        "status": { "hostIP": "10.9.9.9", "qosClass": "Guaranteed" },
    });
    for (part, fields) in extra.as_object().expect("parts") {
        for (field, value) in fields.as_object().expect("fields") {
            object[part][field] = value.clone();
        }
    }
    let container = &mut object["spec"]["containers"][0];
    container["env"] = json!([{ "name": "PASSWORD", "value": "hunter2" }]);
    container["readinessProbe"] =
        json!({ "exec": { "command": ["redis-cli", "ping"] }, "periodSeconds": 5, "failureThreshold": 7 });
    container["resizePolicy"][1]["restartPolicy"] = json!("RestartContainer");
    let conditions = object["status"]["conditions"].as_array_mut().expect("conditions");
    conditions.push(json!({ "type": "PodResizePending", "status": "True", "reason": "Deferred", "message": "later" }));
}

#[test]
fn the_caches_pruning_keeps_everything_that_is_read_and_drops_the_rest() {
    let full = changed(cluttered);
    let mut pruned = full.clone();
    crate::kube_io::cache::prune(&mut pruned);
    assert_eq!(pod(&pruned, &named("redis")), pod(&full, &named("redis")));
    let text = serde_json::to_string(&pruned).expect("JSON");
    for dropped in ["hunter2", "last-applied", "a-manager", "redis-cli", "a-config", "hostIP"] {
        assert!(!text.contains(dropped), "{dropped} was kept: {text}");
    }
}

#[rstest]
#[case::declared(json!([{"name": "redis"}, {"name": "s", "ports": [{"containerPort": 26379, "name": "sent"}]}]), false, Some(26379), Some(26379))]
#[case::not_declared(json!([{"name": "redis"}]), false, None, None)]
#[case::not_declared_and_known(json!([{"name": "s"}]), true, Some(26379), None)]
fn the_port_of_a_sentinel(
    #[case] containers: Value,
    #[case] known: bool,
    #[case] by_number: Option<u16>,
    #[case] by_name: Option<u16>,
) {
    let mut pod = object();
    pod["spec"]["containers"] = containers;
    let pod: K8sPod = serde_json::from_value(pod).expect("a pod");
    let access =
        |port| SentinelAccess { selector: None, port, master_name: None, username: None, password: None, tls: None };
    assert_eq!(sentinel_port(&pod, &access(PortRef::Number(26379)), known), by_number);
    assert_eq!(sentinel_port(&pod, &access(PortRef::Name("sent".into())), known), by_name);
}

#[rstest]
#[case::declares_it(json!([{"name": "r"}, {"name": "s", "ports": [{"containerPort": 26379}]}]), Some("s"))]
#[case::is_the_only_one(json!([{"name": "s"}]), Some("s"))]
#[case::not_known(json!([{"name": "r"}, {"name": "s"}]), None)]
fn the_container_of_a_sentinel(#[case] containers: Value, #[case] expected: Option<&str>) {
    let mut pod = object();
    pod["spec"]["containers"] = containers;
    let pod: K8sPod = serde_json::from_value(pod).expect("a pod");
    assert_eq!(container_of_port(&pod, 26379).as_deref(), expected);
}
