//! Bad specs: what is changed in a good one, which field is to blame, and what the refusal says.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use serde_json::{Value, json};

/// Which of the CRD's means refuses the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A CEL rule; [`redis_memory_operator::validate`] says the same text.
    Rule,
    /// A bound, a list type or an empty list; `validate` says so too.
    Bound,
    /// The type or the enum: the Rust types cannot even hold it.
    Type,
}

/// One bad spec.
#[derive(Clone)]
pub struct Bad {
    /// What is merged over [`good`].
    pub change: Value,
    /// The field that the refusal names.
    pub field: &'static str,
    /// Part of the refusal by the API server.
    pub says: &'static str,
    /// By what it is refused.
    pub by: By,
}

/// The smallest good spec.
pub fn good() -> Value {
    json!({"selector": {"matchLabels": {"app": "redis"}}})
}

/// A good spec that writes every field.
pub fn full() -> Value {
    json!({
        "selector": {
            "matchLabels": {"app.kubernetes.io/name": "redis", "empty": ""},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["cache", "session"]},
                {"key": "legacy", "operator": "DoesNotExist"},
            ],
        },
        "mode": "Enforce",
        "suspend": true,
        "purpose": "Session",
        "redis": {
            "container": "redis", "port": "redis-tcp", "roleAuthority": "Operator", "username": "memory-operator",
            "roleLabel": {"key": "example.com/role", "primary": "primary", "replica": "replica"},
            "passwordSecret": {"name": "redis-auth", "key": "password"},
            "tls": {
                "caSecret": {"name": "redis-ca", "key": "ca.crt"}, "clientCertSecret": {"name": "redis-client"},
                "serverName": "redis.shop.svc",
            },
            "sentinel": {
                "selector": {"matchLabels": {"app": "sentinel"}}, "port": 26380, "masterName": "mymaster",
                "username": "looker", "passwordSecret": {"name": "sentinel-auth", "key": "password"},
                "tls": {"caSecret": {"name": "redis-ca", "key": "ca.crt"}},
            },
        },
        "headroom": {
            "method": "Fixed", "percent": 50, "minimum": "0.5Gi", "remedies": ["ResizePod", "SetMaxmemory"], "maximumLimit": "16Gi",
            "requests": true,
        },
        "eviction": {"allowed": ["allkeys-lru", "allkeys-lrm", "volatile-ttl"]},
        "fragmentation": {
            "moderatePercent": 130, "seriousPercent": 150, "criticalPercent": 200, "restartPercent": 250,
            "minimumWaste": "100Mi", "sustained": "1h30m", "remedies": ["Restart"],
        },
        "restart": {
            "cooldown": "0s", "maxReplicationLag": "1Mi", "stepTimeout": "30m", "approval": "Supervised",
            "maximumRestartsPerDay": 6,
            "windows": [
                {"schedule": "0 3 * * SUN", "duration": "2h", "timeZone": "Europe/Berlin"},
                {"schedule": "@daily", "duration": "90m"},
            ],
            "cooldown": "0s", "maxReplicationLag": "1Mi", "stepTimeout": "30m",
            "minimumSyncedReplicas": 0, "allowDowntime": true, "maximumWriteGap": "500ms",
        },
    })
}

impl Bad {
    /// The whole spec.
    pub fn spec(&self) -> Value {
        let mut spec = good();
        merge(&mut spec, &self.change);
        spec
    }
}

fn merge(into: &mut Value, change: &Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                if value.is_null() {
                    into.remove(key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, change) => into.clone_from(change),
    }
}

/// Every way of being bad that the API server is asked about.
pub fn table() -> Vec<Bad> {
    let mut table = rules();
    table.extend(bounds());
    table.extend(types());
    table
}

fn bad(by: By, change: Value, field: &'static str, says: &'static str) -> Bad {
    Bad { change, field, says, by }
}

fn rules() -> Vec<Bad> {
    [of_the_selector(), of_redis(), of_secrets(), of_sentinels(), of_memory(), of_restarts(), of_windows()].concat()
}

fn rule(change: Value, field: &'static str, says: &'static str) -> Bad {
    bad(By::Rule, change, field, says)
}

fn of_the_selector() -> Vec<Bad> {
    let role = "must not select on redis.roleLabel.key";
    vec![
        rule(json!({"selector": {"matchLabels": null}}), "spec.selector", "must not be empty"),
        rule(json!({"selector": {"matchLabels": {"app": null}}}), "spec.selector", "must not be empty"),
        rule(json!({"selector": {"matchLabels": {"redismemory.io/role": "primary"}}}), "spec.selector", role),
        rule(
            json!({"selector": {"matchExpressions": [{"key": "redismemory.io/role", "operator": "Exists"}]}}),
            "spec.selector",
            role,
        ),
        rule(json!({"selector": {"matchLabels": {"a b": "c"}}}), "spec.selector.matchLabels", "not a label key"),
        rule(
            json!({"selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}}),
            "spec.selector.matchExpressions[0]",
            "In and NotIn need values",
        ),
        rule(
            json!({"selector": {"matchExpressions": [{"key": "-", "operator": "Exists"}]}}),
            "spec.selector.matchExpressions[0].key",
            "not a label key",
        ),
    ]
}

fn of_redis() -> Vec<Bad> {
    vec![
        rule(json!({"redis": {"container": "Redis!"}}), "spec.redis.container", "not a container name"),
        rule(json!({"redis": {"port": 0}}), "spec.redis.port", "port number from 1 to 65535"),
        rule(json!({"redis": {"port": 65536}}), "spec.redis.port", "port number from 1 to 65535"),
        rule(json!({"redis": {"port": "65536"}}), "spec.redis.port", "port number from 1 to 65535"),
        rule(json!({"redis": {"port": "-"}}), "spec.redis.port", "with a letter"),
        rule(json!({"redis": {"port": ""}}), "spec.redis.port", "port name"),
        rule(json!({"redis": {"port": "redis--tcp"}}), "spec.redis.port", "port name"),
        rule(json!({"redis": {"roleLabel": {"key": "a/b/c"}}}), "spec.redis.roleLabel.key", "not a label key"),
        rule(
            json!({"redis": {"roleLabel": {"key": "apps.kubernetes.io/pod-index"}}}),
            "spec.redis.roleLabel.key",
            "belongs to Kubernetes",
        ),
        rule(json!({"redis": {"roleLabel": {"primary": "replica"}}}), "spec.redis.roleLabel.replica", "must differ"),
        rule(json!({"redis": {"roleLabel": {"primary": "-"}}}), "spec.redis.roleLabel.primary", "not a label value"),
    ]
}

fn of_secrets() -> Vec<Bad> {
    vec![
        rule(json!({"redis": {"username": "ann"}}), "spec.redis.username", "needs passwordSecret"),
        rule(
            json!({"redis": {"username": "an n", "passwordSecret": {"name": "a", "key": "b"}}}),
            "spec.redis.username",
            "not an ACL user name",
        ),
        rule(
            json!({"redis": {"passwordSecret": {"name": "Redis_Auth", "key": "password"}}}),
            "spec.redis.passwordSecret.name",
            "not the name of a Secret",
        ),
        rule(
            json!({"redis": {"passwordSecret": {"name": "redis-auth", "key": "a/b"}}}),
            "spec.redis.passwordSecret.key",
            "not a key of a Secret",
        ),
        rule(
            json!({"redis": {"tls": {"caSecret": {"name": "Redis_CA", "key": "ca.crt"}}}}),
            "spec.redis.tls.caSecret.name",
            "not the name of a Secret",
        ),
        rule(
            json!({"redis": {"tls": {"caSecret": {"name": "redis-ca", "key": ""}}}}),
            "spec.redis.tls.caSecret.key",
            "not a key of a Secret",
        ),
        rule(
            json!({"redis": {"tls": {"caSecret": {"name": "redis-ca", "key": "ca.crt"}, "clientCertSecret": {"name": "a b"}}}}),
            "spec.redis.tls.clientCertSecret.name",
            "not the name of a Secret",
        ),
        rule(
            json!({"redis": {"tls": {"caSecret": {"name": "redis-ca", "key": "ca.crt"}, "serverName": "https://redis"}}}),
            "spec.redis.tls.serverName",
            "not a DNS name",
        ),
    ]
}

fn of_sentinels() -> Vec<Bad> {
    vec![
        rule(
            json!({"redis": {"sentinel": {"selector": {"matchLabels": {}}}}}),
            "spec.redis.sentinel.selector",
            "must not be empty",
        ),
        rule(
            json!({"redis": {"sentinel": {"masterName": "my master"}}}),
            "spec.redis.sentinel.masterName",
            "not a name by which a Sentinel knows a set",
        ),
        rule(json!({"redis": {"sentinel": {"port": 0}}}), "spec.redis.sentinel.port", "neither a port number"),
        rule(
            json!({"redis": {"sentinel": {"username": "looker"}}}),
            "spec.redis.sentinel.username",
            "needs passwordSecret",
        ),
        rule(
            json!({"redis": {"sentinel": {"tls": {"caSecret": {"name": "redis-ca", "key": ""}}}}}),
            "spec.redis.sentinel.tls.caSecret.key",
            "not a key of a Secret",
        ),
    ]
}

fn of_memory() -> Vec<Bad> {
    vec![
        rule(json!({"headroom": {"minimum": "64mi"}}), "spec.headroom.minimum", "not an amount of memory"),
        rule(json!({"headroom": {"minimum": "-1Gi"}}), "spec.headroom.minimum", "not an amount of memory"),
        rule(json!({"headroom": {"minimum": "64"}}), "spec.headroom.minimum", "from 1Mi"),
        rule(json!({"headroom": {"maximumLimit": "32Mi"}}), "spec.headroom.maximumLimit", "at least headroom.minimum"),
        rule(
            json!({"purpose": "Cache", "headroom": {"allowEviction": true}}),
            "spec.headroom.allowEviction",
            "needs purpose",
        ),
        rule(
            json!({"headroom": {"remedies": ["Report", "ResizePod"]}}),
            "spec.headroom.remedies",
            "cannot stand beside another remedy",
        ),
        rule(
            json!({"fragmentation": {"seriousPercent": 130}}),
            "spec.fragmentation.seriousPercent",
            "must be above moderatePercent",
        ),
        rule(
            json!({"fragmentation": {"criticalPercent": 140}}),
            "spec.fragmentation.criticalPercent",
            "must be above seriousPercent",
        ),
        rule(
            json!({"fragmentation": {"restartPercent": 199}}),
            "spec.fragmentation.restartPercent",
            "must be above criticalPercent",
        ),
        rule(json!({"fragmentation": {"minimumWaste": "0"}}), "spec.fragmentation.minimumWaste", "from 1Mi"),
        rule(json!({"fragmentation": {"sustained": "0s"}}), "spec.fragmentation.sustained", "from 1s to 6h"),
        rule(json!({"fragmentation": {"sustained": "1.5h"}}), "spec.fragmentation.sustained", "not a duration"),
        rule(
            json!({"fragmentation": {"remedies": ["Restart", "Report"]}}),
            "spec.fragmentation.remedies",
            "cannot stand beside Restart",
        ),
        rule(json!({"headroom": {"remedies": ["ResizePod", "ResizePod"]}}), "spec.headroom.remedies", "value twice"),
        rule(
            json!({"fragmentation": {"remedies": ["Restart", "Restart"]}}),
            "spec.fragmentation.remedies",
            "value twice",
        ),
        rule(json!({"eviction": {"allowed": ["noeviction", "noeviction"]}}), "spec.eviction.allowed", "value twice"),
        rule(
            json!({"eviction": {"allowed": ["AllKeys LRU"]}}),
            "spec.eviction.allowed[0]",
            "name of a maxmemory-policy",
        ),
    ]
}

fn of_restarts() -> Vec<Bad> {
    vec![
        rule(json!({"restart": {"cooldown": "1d"}}), "spec.restart.cooldown", "not a duration"),
        rule(json!({"restart": {"cooldown": "99999999999h"}}), "spec.restart.cooldown", "not a duration"),
        rule(json!({"restart": {"maxReplicationLag": "0"}}), "spec.restart.maxReplicationLag", "from 1 to"),
        rule(json!({"restart": {"maximumWriteGap": "2h"}}), "spec.restart.maximumWriteGap", "from 0s to 1h"),
        rule(json!({"restart": {"stepTimeout": "9s"}}), "spec.restart.stepTimeout", "from 10s to 24h"),
        rule(json!({"restart": {"stepTimeout": ""}}), "spec.restart.stepTimeout", "not a duration"),
    ]
}

fn of_windows() -> Vec<Bad> {
    vec![
        rule(
            json!({"restart": {"windows": [{"schedule": "0 3 * *", "duration": "2h"}]}}),
            "spec.restart.windows[0].schedule",
            "write five fields",
        ),
        rule(
            json!({"restart": {"windows": [{"schedule": "TZ=UTC 0 3 * * *", "duration": "2h"}]}}),
            "spec.restart.windows[0].schedule",
            "not a cron schedule",
        ),
        rule(
            json!({"restart": {"windows": [{"schedule": "0 3 * * *", "duration": "0s"}]}}),
            "spec.restart.windows[0].duration",
            "from 1m to 24h",
        ),
        rule(
            json!({"restart": {"windows": [{"schedule": "0 3 * * *", "duration": "25h"}]}}),
            "spec.restart.windows[0].duration",
            "from 1m to 24h",
        ),
        rule(
            json!({"restart": {"windows": [{"schedule": "0 3 * * *", "duration": "2h", "timeZone": "Europe/ Berlin"}]}}),
            "spec.restart.windows[0].timeZone",
            "not the name of a time zone",
        ),
        rule(
            json!({"restart": {"windows": [{"schedule": "0 3 * * *", "duration": "2h"}, {"schedule": "0 3 * * *", "duration": "2h"}]}}),
            "spec.restart.windows",
            "value twice",
        ),
    ]
}

fn bounds() -> Vec<Bad> {
    let bound = |change, field, says| bad(By::Bound, change, field, says);
    vec![
        bound(json!({"headroom": {"percent": 9}}), "spec.headroom.percent", "greater than or equal to 10"),
        bound(json!({"headroom": {"percent": 401}}), "spec.headroom.percent", "less than or equal to 400"),
        bound(
            json!({"restart": {"minimumSyncedReplicas": 17}}),
            "spec.restart.minimumSyncedReplicas",
            "less than or equal to 16",
        ),
        bound(
            json!({"fragmentation": {"moderatePercent": 100}}),
            "spec.fragmentation.moderatePercent",
            "greater than or equal to 101",
        ),
        bound(
            json!({"fragmentation": {"restartPercent": 10001}}),
            "spec.fragmentation.restartPercent",
            "less than or equal to 10000",
        ),
        bound(json!({"restart": {"maximumRestartsPerDay": 0}}), "spec.restart.maximumRestartsPerDay", "equal to 1"),
        bound(json!({"restart": {"maximumRestartsPerDay": 65}}), "spec.restart.maximumRestartsPerDay", "equal to 64"),
        bound(
            json!({"restart": {"windows": (0..9).map(|hour| json!({"schedule": format!("0 {hour} * * *"), "duration": "1h"})).collect::<Vec<_>>()}}),
            "spec.restart.windows",
            "at most 8 items",
        ),
        bound(json!({"headroom": {"remedies": []}}), "spec.headroom.remedies", "at least 1 items"),
        bound(json!({"selector": {"matchLabels": {"app": "?"}}}), "spec.selector.matchLabels", "should match"),
        bound(json!({"redis": {"container": "a".repeat(64)}}), "spec.redis.container", "63"),
    ]
}

fn types() -> Vec<Bad> {
    let of_type = |change, field, says| bad(By::Type, change, field, says);
    vec![
        of_type(json!({"selector": null}), "spec.selector", "Required value"),
        of_type(json!({"mode": "Act"}), "spec.mode", "Unsupported value"),
        of_type(json!({"purpose": "Database"}), "spec.purpose", "Unsupported value"),
        of_type(json!({"redis": {"roleAuthority": "Guess"}}), "spec.redis.roleAuthority", "Unsupported value"),
        of_type(json!({"headroom": {"method": "Guessed"}}), "spec.headroom.method", "Unsupported value"),
        of_type(json!({"headroom": {"percent": 12.5}}), "spec.headroom.percent", "must be of type integer"),
        of_type(json!({"headroom": {"remedies": ["PatchWorkload"]}}), "spec.headroom.remedies", "Unsupported value"),
        of_type(json!({"fragmentation": {"remedies": ["Purge"]}}), "spec.fragmentation.remedies", "Unsupported value"),
        of_type(json!({"restart": {"approval": "Ask"}}), "spec.restart.approval", "Unsupported value"),
        of_type(
            json!({"restart": {"windows": [{"schedule": "0 3 * * *"}]}}),
            "spec.restart.windows[0].duration",
            "Required value",
        ),
        of_type(json!({"redis": {"tls": {}}}), "spec.redis.tls.caSecret", "Required value"),
        of_type(
            json!({"redis": {"tls": {"caSecret": {"name": "ca", "key": "ca.crt"}, "insecure": true}}}),
            "spec.redis.tls.insecure",
            "unknown field",
        ),
        of_type(json!({"headrom": {"percent": 50}}), "spec.headrom", "unknown field"),
        of_type(json!({"redis": {"host": "redis.example.com"}}), "spec.redis.host", "unknown field"),
    ]
}
