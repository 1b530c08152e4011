//! A pod of a scenario: what may be written of it, and what it is like where nothing is.

use std::collections::BTreeMap;

use redis_memory_operator::domain::{lookups::Lookups, peaks::Peaks};
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct PodYaml {
    pub(super) set: Option<String>,
    pub(super) owner_kind: String,
    /// Another member, or an address; absent: a primary.
    pub(super) follows: Option<String>,
    pub(super) link: String,
    /// The primary lists it.
    pub(super) listed: bool,
    /// Addresses that it lists besides the members that follow it.
    pub(super) lists: Vec<String>,
    // Memory.
    pub(super) ratio: f64,
    pub(super) used: String,
    pub(super) dataset: Option<String>,
    pub(super) purgeable: Option<String>,
    pub(super) other: Option<String>,
    pub(super) allocator: String,
    pub(super) maxmemory: String,
    pub(super) maxmemory_policy: String,
    pub(super) fork_ms: u64,
    pub(super) keys: u64,
    pub(super) keys_with_ttl: u64,
    pub(super) lookups: Option<Lookups>,
    /// How much more it used at each reading than at the one before, every 15 s.
    pub(super) grows: Option<String>,
    // Replication.
    pub(super) min_replicas_to_write: u32,
    /// Of the stream of writes, where it is not behind.
    pub(super) offset: u64,
    pub(super) behind: String,
    pub(super) link_down_minutes: Option<u64>,
    pub(super) diskless_load: String,
    pub(super) priority: Option<u64>,
    // Persistence.
    pub(super) appendonly: bool,
    pub(super) save: String,
    pub(super) on_claim: bool,
    pub(super) child_running: bool,
    // History.
    pub(super) minutes: u16,
    pub(super) busy_every: Option<usize>,
    pub(super) newest_ratio: Option<f64>,
    /// The most of the last day; absent: nothing was measured.
    pub(super) peaks: Peaks,
    // Server.
    pub(super) version: String,
    pub(super) engine: String,
    pub(super) cluster: bool,
    pub(super) sentinel_seen: Option<bool>,
    pub(super) failing_over: bool,
    pub(super) config_unreadable: Option<String>,
    pub(super) failed: Option<BTreeMap<String, String>>,
    pub(super) pending: bool,
    // Pod.
    pub(super) node: Option<String>,
    pub(super) label: Option<String>,
    pub(super) limit: Option<String>,
    pub(super) spec_limit: Option<String>,
    pub(super) request: Option<String>,
    pub(super) container_problem: Option<String>,
    pub(super) resize_restarts: bool,
    pub(super) resize_deferred: Option<String>,
    pub(super) not_ready: bool,
    pub(super) trouble: Option<String>,
    pub(super) terminating: bool,
    /// The value of its annotation redismemory.io/hold.
    pub(super) hold: Option<String>,
    pub(super) started_minutes_ago: Option<i64>,
    /// When the kernel killed its container for want of memory.
    pub(super) killed_minutes_ago: Option<i64>,
}

impl Default for PodYaml {
    fn default() -> Self {
        Self {
            set: Some("redis".into()),
            owner_kind: "StatefulSet".into(),
            follows: None,
            link: "up".into(),
            listed: true,
            lists: Vec::new(),
            ratio: 1.1,
            used: "69Mi".into(),
            dataset: None,
            purgeable: None,
            other: None,
            allocator: "jemalloc-5.3.0".into(),
            maxmemory: "512Mi".into(),
            maxmemory_policy: "allkeys-lru".into(),
            fork_ms: 2,
            keys: 333_334,
            keys_with_ttl: 0,
            lookups: None,
            grows: None,
            min_replicas_to_write: 0,
            offset: 1_000_000,
            behind: "0".into(),
            link_down_minutes: None,
            diskless_load: "disabled".into(),
            priority: None,
            appendonly: false,
            save: String::new(),
            on_claim: false,
            child_running: false,
            minutes: 15,
            busy_every: None,
            newest_ratio: None,
            peaks: Peaks::default(),
            version: "7.0.15".into(),
            engine: "redis".into(),
            cluster: false,
            sentinel_seen: Some(false),
            failing_over: false,
            config_unreadable: None,
            failed: None,
            pending: false,
            node: None,
            label: Some("auto".into()),
            limit: Some("1Gi".into()),
            spec_limit: None,
            request: Some("512Mi".into()),
            container_problem: None,
            resize_restarts: false,
            resize_deferred: None,
            not_ready: false,
            trouble: None,
            terminating: false,
            hold: None,
            started_minutes_ago: None,
            killed_minutes_ago: None,
        }
    }
}

/// What `over` says, and what `base` says where it is silent.
pub(super) fn merged(base: &Value, over: &Value) -> Value {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            let mut all = base.clone();
            for (key, value) in over {
                let value = base.get(key).map_or_else(|| value.clone(), |old| merged(old, value));
                all.insert(key.clone(), value);
            }
            Value::Object(all)
        }
        (base, Value::Null) => base.clone(),
        (_, over) => over.clone(),
    }
}
