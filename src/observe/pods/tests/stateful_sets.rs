//! One valid `StatefulSet`; each test changes one thing.

use pretty_assertions::assert_eq;

use super::*;

fn set() -> Value {
    json!({
        "metadata": {
            "name": "redis", "uid": "set-1", "generation": 3,
            "ownerReferences": [{ "apiVersion": "x/v1", "kind": "RedisCluster", "name": "top", "uid": "o", "controller": true }],
        },
        "spec": {
            "replicas": 3, "serviceName": "redis", "selector": {},
            "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 2 } },
            "template": {
                "metadata": { "labels": { ROLE: "replica" } },
                "spec": { "containers": [
                    { "name": "redis", "args": ["--appendonly", "yes"], "resources": { "limits": { "memory": "1Gi" } } },
                    { "name": "exporter" },
                    { "name": "odd", "resources": { "limits": { "memory": "much" } } },
                ] },
            },
        },
        "status": { "replicas": 3, "observedGeneration": 3, "currentRevision": "redis-a", "updateRevision": "redis-b" },
    })
}

fn set_changed(change: impl FnOnce(&mut Value)) -> StatefulSet {
    let mut value = set();
    change(&mut value);
    let set: K8sStatefulSet = serde_json::from_value(value).expect("a StatefulSet");
    let mut pruned = set.clone();
    crate::kube_io::around::prune_set(&mut pruned);
    let read = stateful_set(&set, &role_label());
    assert_eq!(stateful_set(&pruned, &role_label()), read, "the cache keeps everything that is read");
    read
}

#[test]
fn a_whole_stateful_set() {
    assert_eq!(
        set_changed(|_| ()),
        StatefulSet {
            uid: "set-1".into(),
            name: "redis".into(),
            owner: Some(Owner { kind: "RedisCluster".into(), name: "top".into(), uid: "o".into() }),
            replicas: 3,
            current_revision: "redis-a".into(),
            update_revision: "redis-b".into(),
            partition: 2,
            on_delete: false,
            observed: true,
            // `odd` is unknown: neither unlimited nor limited.
            template_limits: vec![("redis".into(), Some(Bytes(1 << 30))), ("exporter".into(), None)],
            template_role_label: Some("replica".into()),
            hold: None,
            start_settings: vec![StartSettings {
                container: "redis".into(),
                settings: vec![("appendonly".into(), "yes".into())],
            }],
            limit_at: None,
        }
    );
}

#[test]
fn a_spec_that_the_controller_has_not_seen_is_not_observed() {
    assert!(!set_changed(|set| set["metadata"]["generation"] = json!(4)).observed);
    assert!(!set_changed(|set| set["status"] = Value::Null).observed);
    assert!(!stateful_set(&K8sStatefulSet::default(), &role_label()).observed);
}

#[test]
fn strategies_and_defaults_of_a_stateful_set() {
    let on_delete = set_changed(|set| set["spec"]["updateStrategy"] = json!({ "type": "OnDelete" }));
    assert!(on_delete.on_delete);
    assert_eq!(on_delete.partition, 0);
    let plain = set_changed(|set| {
        set["spec"]["replicas"] = Value::Null;
        set["spec"]["template"]["metadata"] = Value::Null;
        set["metadata"]["ownerReferences"] = Value::Null;
    });
    assert_eq!((plain.replicas, plain.template_role_label, plain.owner), (1, None, None));
}

/// The name is the one that people know, the UID the one that the pods name.
#[test]
fn a_deployment_is_read_from_its_replica_set() {
    let set = |owners: Value| -> ReplicaSet {
        let container = json!({"name": "redis", "resources": {"limits": {"memory": "1Gi"}}});
        let sidecar = json!({"name": "exporter"});
        let template = json!({"spec": {"containers": [container, sidecar]}});
        let metadata = json!({"name": "cache-77f", "uid": "u-1", "ownerReferences": owners});
        serde_json::from_value(json!({"metadata": metadata, "spec": {"selector": {}, "template": template}})).unwrap()
    };
    let owner =
        json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "cache", "uid": "d", "controller": true}]);
    let limits = vec![("redis".to_owned(), Some(Bytes::mib(1024))), ("exporter".to_owned(), None)];
    let expected = Deployment { uid: "u-1".into(), name: "cache".to_owned(), template_limits: limits, limit_at: None };
    let mut made = set(owner);
    assert_eq!(deployment(&made), expected);
    crate::kube_io::around::prune_replica_set(&mut made);
    assert_eq!(deployment(&made), expected, "what is remembered keeps everything that is read");
    assert_eq!(deployment(&set(json!([]))), Deployment { name: "cache-77f".to_owned(), ..expected });
}
