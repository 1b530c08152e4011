//! Each rule, broken one at a time in an otherwise good spec.

use kube::core::ObjectMeta;
use pretty_assertions::assert_eq;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::domain::fixtures;

fn resource(spec: Value) -> RedisMemoryPolicy {
    let mut resource = RedisMemoryPolicy::new("sessions", serde_json::from_value(spec).unwrap());
    resource.metadata = ObjectMeta {
        name: Some("sessions".into()),
        namespace: Some("shop".into()),
        uid: Some("u-1".into()),
        generation: Some(7),
        ..ObjectMeta::default()
    };
    resource
}

/// A good spec with `change` merged over it.
fn changed(change: Value) -> Value {
    let mut spec = json!({"selector": {"matchLabels": {"app": "redis"}}});
    merge(&mut spec, change);
    spec
}

fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change,
    }
}

fn problems(change: Value) -> Vec<String> {
    validate(&resource(changed(change))).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn the_smallest_spec_gives_the_documented_defaults() {
    let policy = validate(&resource(changed(json!({})))).unwrap();
    assert_eq!(
        policy,
        Policy {
            uid: "u-1".into(),
            generation: 7,
            created_at: Timestamp::MAX,
            mode: Mode::Observe,
            redis: RedisAccess { authority: AuthorityRule::Auto, ..fixtures::policy().redis },
            ..fixtures::policy()
        }
    );
}

#[test]
fn what_is_written_arrives() {
    let policy = validate(&resource(changed(json!({
        "mode": "Enforce",
        "suspend": true,
        "redis": {
            "container": "cache", "port": "redis", "roleAuthority": "Operator", "username": "watcher",
            "roleLabel": {"key": "example.com/role", "primary": "p", "replica": "r"},
            "passwordSecret": {"name": "redis-auth", "key": "password"},
        },
        "headroom": {"percent": 20, "minimum": "1.5Gi", "remedies": ["Report"], "maximumLimit": "16Gi", "requests": true},
        "eviction": {"allowed": ["allkeys-lru", "allkeys-lrm"]},
        "fragmentation": {"remedies": ["Report"], "sustained": "1h30m", "minimumWaste": "200M"},
        "restart": {
            "cooldown": "0s", "maxReplicationLag": "1", "stepTimeout": "10s",
            "minimumSyncedReplicas": 0, "allowDowntime": true, "maximumWriteGap": "1m",
        },
    }))))
    .unwrap();
    assert_eq!(policy.mode, Mode::Enforce);
    assert!(policy.suspend);
    assert_eq!(policy.redis.container.as_deref(), Some("cache"));
    assert_eq!(policy.redis.port, crate::domain::policy::PortRef::Name("redis".into()));
    assert_eq!(policy.redis.authority, AuthorityRule::Operator);
    assert_eq!(policy.redis.role_label.primary, "p");
    assert_eq!(policy.redis.password, Some(SecretKey { name: "redis-auth".into(), key: "password".into() }));
    assert_eq!(policy.headroom.minimum, Bytes::mib(1536));
    assert_eq!((policy.headroom.resize_pod, policy.headroom.maximum_limit), (false, Some(Bytes::mib(16 * 1024))));
    assert!(policy.headroom.requests);
    assert_eq!(policy.eviction_allowed, ["allkeys-lru", "allkeys-lrm"], "a newer server brings new names");
    assert!(!policy.fragmentation.restart_allowed);
    assert_eq!(policy.fragmentation.sustained, Duration::from_secs(5400));
    assert_eq!(policy.fragmentation.minimum_waste, Bytes(200_000_000));
    assert_eq!(policy.restart.cooldown, Duration::ZERO);
    assert_eq!(policy.restart.maximum_write_gap, Duration::from_secs(60));
    assert_eq!((policy.restart.minimum_synced_replicas, policy.restart.allow_downtime), (0, true));
}

#[rstest]
#[case(json!({"selector": {"matchLabels": null}}), "spec.selector", "must not be empty")]
#[case(json!({"selector": {"matchLabels": {"redismemory.io/role": "primary"}}}), "spec.selector", "must not select on")]
#[case(json!({"selector": {"matchLabels": {"a b": "c"}}}), "spec.selector.matchLabels", "not a label key")]
#[case(json!({"selector": {"matchLabels": {"app": "-"}}}), "spec.selector.matchLabels", "not a label value")]
#[case(json!({"selector": {"matchExpressions": [{"key": "redismemory.io/role", "operator": "Exists"}]}}), "spec.selector", "must not select on")]
#[case(json!({"selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}}), "spec.selector.matchExpressions[0]", "need values")]
#[case(json!({"selector": {"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["x"]}]}}), "spec.selector.matchExpressions[0]", "take none")]
#[case(json!({"selector": {"matchExpressions": [{"key": "app", "operator": "Like"}]}}), "spec.selector.matchExpressions[0].operator", "unknown")]
#[case(json!({"selector": {"matchExpressions": [{"key": "", "operator": "Exists"}]}}), "spec.selector.matchExpressions[0].key", "not a label key")]
#[case(json!({"redis": {"container": "Redis"}}), "spec.redis.container", "not a container name")]
#[case(json!({"redis": {"container": ""}}), "spec.redis.container", "not a container name")]
#[case(json!({"redis": {"port": 0}}), "spec.redis.port", "port number")]
#[case(json!({"redis": {"port": 65536}}), "spec.redis.port", "port number")]
#[case(json!({"redis": {"port": -1}}), "spec.redis.port", "port number")]
#[case(json!({"redis": {"port": ""}}), "spec.redis.port", "port name")]
#[case(json!({"redis": {"port": "0"}}), "spec.redis.port", "port number")]
#[case(json!({"redis": {"port": "65536"}}), "spec.redis.port", "port number")]
#[case(json!({"redis": {"port": "re--dis"}}), "spec.redis.port", "port name")]
#[case(json!({"redis": {"port": "a-name-of-sixteen"}}), "spec.redis.port", "port name")]
#[case(json!({"redis": {"roleLabel": {"key": "no/such/key"}}}), "spec.redis.roleLabel.key", "not a label key")]
#[case(json!({"redis": {"roleLabel": {"key": "apps.kubernetes.io/pod-index"}}}), "spec.redis.roleLabel.key", "belongs to Kubernetes")]
#[case(json!({"redis": {"roleLabel": {"key": "pod-template-hash"}}}), "spec.redis.roleLabel.key", "belongs to Kubernetes")]
#[case(json!({"redis": {"roleLabel": {"primary": "replica"}}}), "spec.redis.roleLabel.replica", "must differ")]
#[case(json!({"redis": {"roleLabel": {"primary": ""}}}), "spec.redis.roleLabel.primary", "not a label value")]
#[case(json!({"redis": {"username": "ann"}}), "spec.redis.username", "needs passwordSecret")]
#[case(json!({"redis": {"username": "an n", "passwordSecret": {"name": "a", "key": "b"}}}), "spec.redis.username", "not an ACL user")]
#[case(json!({"redis": {"passwordSecret": {"name": "Redis_Auth", "key": "b"}}}), "spec.redis.passwordSecret.name", "not the name of a Secret")]
#[case(json!({"redis": {"passwordSecret": {"name": "a", "key": "a/b"}}}), "spec.redis.passwordSecret.key", "not a key")]
#[case(json!({"headroom": {"percent": 9}}), "spec.headroom.percent", "from 10 to 400")]
#[case(json!({"headroom": {"percent": 401}}), "spec.headroom.percent", "from 10 to 400")]
#[case(json!({"headroom": {"minimum": "1gi"}}), "spec.headroom.minimum", "not an amount of memory")]
#[case(json!({"headroom": {"minimum": "-1Gi"}}), "spec.headroom.minimum", "not an amount of memory")]
#[case(json!({"headroom": {"minimum": "64"}}), "spec.headroom.minimum", "not an amount of memory")]
#[case(json!({"headroom": {"maximumLimit": "32Mi"}}), "spec.headroom.maximumLimit", "at least headroom.minimum")]
#[case(json!({"headroom": {"allowEviction": true, "remedies": ["SetMaxmemory"]}}), "spec.headroom.allowEviction", "needs purpose: Cache")]
#[case(json!({"purpose": "Store", "headroom": {"allowEviction": true, "remedies": ["SetMaxmemory"]}}), "spec.headroom.allowEviction", "needs purpose: Cache")]
#[case(json!({"headroom": {"remedies": []}}), "spec.headroom.remedies", "must not be empty")]
#[case(json!({"headroom": {"remedies": ["ResizePod", "ResizePod"]}}), "spec.headroom.remedies", "twice")]
#[case(json!({"headroom": {"remedies": ["Report", "ResizePod"]}}), "spec.headroom.remedies", "Report means")]
#[case(json!({"eviction": {"allowed": ["noeviction", "noeviction"]}}), "spec.eviction.allowed", "twice")]
#[case(json!({"fragmentation": {"seriousPercent": 130}}), "spec.fragmentation.seriousPercent", "above moderatePercent")]
#[case(json!({"fragmentation": {"criticalPercent": 150}}), "spec.fragmentation.criticalPercent", "above seriousPercent")]
#[case(json!({"fragmentation": {"restartPercent": 200}}), "spec.fragmentation.restartPercent", "above criticalPercent")]
#[case(json!({"fragmentation": {"moderatePercent": 100}}), "spec.fragmentation.moderatePercent", "from 101 to 10000")]
#[case(json!({"fragmentation": {"restartPercent": 10001}}), "spec.fragmentation.restartPercent", "from 101 to 10000")]
#[case(json!({"fragmentation": {"minimumWaste": "100"}}), "spec.fragmentation.minimumWaste", "not an amount of memory")]
#[case(json!({"fragmentation": {"sustained": "0s"}}), "spec.fragmentation.sustained", "from 1s to 6h")]
#[case(json!({"fragmentation": {"sustained": "6h1ms"}}), "spec.fragmentation.sustained", "from 1s to 6h")]
#[case(json!({"fragmentation": {"remedies": ["Report", "Restart"]}}), "spec.fragmentation.remedies", "Report means")]
#[case(json!({"restart": {"cooldown": "1d"}}), "spec.restart.cooldown", "not a duration")]
#[case(json!({"restart": {"cooldown": "8761h"}}), "spec.restart.cooldown", "to 8760h")]
#[case(json!({"restart": {"maxReplicationLag": "0"}}), "spec.restart.maxReplicationLag", "not an amount of bytes")]
#[case(json!({"restart": {"minimumSyncedReplicas": 17}}), "spec.restart.minimumSyncedReplicas", "from 0 to 16")]
#[case(json!({"restart": {"stepTimeout": "9s"}}), "spec.restart.stepTimeout", "from 10s to 24h")]
fn refuses(#[case] change: Value, #[case] field: &str, #[case] says: &str) {
    let problems = problems(change);
    assert!(
        problems.len() == 1 && problems[0].starts_with(&format!("{field} ")) && problems[0].contains(says),
        "expected one problem with {field} that says {says:?}, got {problems:#?}"
    );
}

#[test]
fn says_everything_at_once() {
    let found = problems(json!({
        "selector": {"matchLabels": null},
        "redis": {"port": 0, "username": "ann"},
        "headroom": {"percent": 5, "minimum": "lots"},
        "fragmentation": {"seriousPercent": 120, "sustained": "soon"},
        "restart": {"stepTimeout": "1s"},
    }));
    let fields: Vec<&str> = found.iter().filter_map(|p| p.split(' ').next()).collect();
    assert_eq!(
        fields,
        [
            "spec.selector",
            "spec.redis.port",
            "spec.redis.username",
            "spec.headroom.percent",
            "spec.headroom.minimum",
            "spec.fragmentation.seriousPercent",
            "spec.fragmentation.sustained",
            "spec.restart.stepTimeout",
        ]
    );
}

#[test]
fn no_name_of_a_secret_is_repeated() {
    let found = problems(json!({"redis": {"passwordSecret": {"name": "hunter2!", "key": "hunter3!"}}}));
    assert_eq!(found.len(), 2);
    assert!(!found.join(" ").contains("hunter"), "{found:?}");
}

#[rstest]
#[case(json!({"matchLabels": {"app": "redis", "tier": "cache"}}), "app=redis,tier=cache")]
#[case(json!({"matchExpressions": [
    {"key": "app", "operator": "In", "values": ["a", "b"]},
    {"key": "env", "operator": "NotIn", "values": ["test"]},
    {"key": "redis", "operator": "Exists"},
    {"key": "legacy", "operator": "DoesNotExist"},
]}), "app in (a,b),env notin (test),redis,!legacy")]
#[case(json!({"matchLabels": {"app": "redis"}, "matchExpressions": [{"key": "x", "operator": "Exists"}]}), "app=redis,x")]
#[case(json!({"matchLabels": {"empty": ""}}), "empty=")]
fn selectors_become_queries(#[case] selector: Value, #[case] query: &str) {
    assert_eq!(selector_string(&serde_json::from_value(selector).unwrap()), query);
}

#[test]
fn the_older_of_two_policies_can_be_told() {
    let mut stored = resource(changed(json!({})));
    let time = Timestamp::constant(1_700_000_000, 0);
    stored.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
    assert_eq!(validate(&stored).unwrap().created_at, time);
}

#[test]
fn a_quoted_port_is_a_number() {
    let port = |port: Value| validate(&resource(changed(json!({"redis": {"port": port}})))).unwrap().redis.port;
    assert_eq!(port(json!("6380")), crate::domain::policy::PortRef::Number(6380));
    assert_eq!(port(json!("r2")), crate::domain::policy::PortRef::Name("r2".into()));
}
