//! What the set of a world is like.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use crate::{
    end::Member,
    fake_kubelet::Keeps,
    world::{REPLICAS, SET},
};

/// What the set of a world is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Three that hold nothing but memory; the operator keeps the role label.
    Replicated,
    /// One that writes every acknowledged write to a claim, and whose pod may be restarted.
    Standalone,
    /// A primary that is fixed, and its replica; both keep their data, and the primary may be restarted.
    Static,
    /// As `Replicated`, but the first pod always starts as a primary.
    Returning,
    /// As `Replicated`, with dumps on claims and a backlog that is too small to go on from after a restart.
    Dumping,
    /// Three that hold nothing but memory and keep their addresses, watched by three Sentinels in pods of their own.
    Watched,
    /// The same with addresses that are new with every start: each restart leaves the old one in the lists of the Sentinels.
    Moving,
    /// As `Replicated`; nothing is restarted, and no limit may be raised: `maxmemory` is set to what it bears.
    Bounded,
}

/// The set of the Sentinels.
pub(crate) const SENTINELS: &str = "sentinel";

impl Shape {
    pub(crate) const fn replicas(self) -> usize {
        match self {
            Self::Standalone => 1,
            Self::Static => 2,
            Self::Replicated | Self::Returning | Self::Dumping | Self::Watched | Self::Moving | Self::Bounded => {
                REPLICAS
            }
        }
    }

    /// Whether its primary is restarted as such.
    pub(crate) const fn in_place(self) -> bool {
        matches!(self, Self::Standalone | Self::Static)
    }

    /// Sentinels decide who is primary.
    pub(crate) const fn under_sentinel(self) -> bool {
        matches!(self, Self::Watched | Self::Moving)
    }

    pub(crate) const fn keeps(self) -> Keeps {
        match self {
            Self::Replicated | Self::Moving | Self::Bounded => Keeps::Nothing,
            Self::Returning => Keeps::NothingAndFirstLeads,
            Self::Watched => Keeps::Address,
            Self::Dumping => Keeps::Data,
            Self::Standalone | Self::Static => Keeps::DataAndName,
        }
    }

    /// Options of every redis-server.
    pub(crate) fn options(self) -> Vec<&'static str> {
        match self {
            Self::Replicated | Self::Returning | Self::Watched | Self::Moving | Self::Bounded => {
                vec!["--repl-backlog-size", "4mb"]
            }
            Self::Standalone | Self::Static => {
                vec!["--repl-backlog-size", "4mb", "--appendonly", "yes", "--appendfsync", "always"]
            }
            Self::Dumping => vec!["--repl-backlog-size", "256kb", "--save", "86400 1"],
        }
    }

    /// What the Service selects: the role where it moves, the Sentinels where they know, else the pod that is always primary.
    pub(crate) fn selector(self) -> Value {
        if self.under_sentinel() {
            json!({ "app": SENTINELS })
        } else if self.in_place() {
            json!({ "app": SET, "statefulset.kubernetes.io/pod-name": format!("{SET}-0") })
        } else {
            json!({ "app": SET, "redismemory.io/role": "primary" })
        }
    }

    /// The claims of the set, and where the container mounts them.
    pub(crate) fn claims(self, volume: &Path) -> (Value, Value) {
        if !self.keeps().data() {
            return (json!([]), json!([]));
        }
        let room = json!({ "requests": { "storage": "1Gi" } });
        let spec = json!({ "accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": room });
        let claims = json!([{ "metadata": { "name": "data" }, "spec": spec }]);
        (claims, json!([{ "name": "data", "mountPath": volume.to_str().expect("a path that is text") }]))
    }

    /// The policy's spec as a person would write it, with short times.
    pub(crate) fn policy(self) -> Value {
        let mut spec = json!({
            "selector": { "matchLabels": { "app": SET } },
            "mode": "Enforce",
            "redis": { "roleAuthority": if self.follows_a_label() { "Operator" } else { "Auto" } },
            "headroom": { "percent": 50, "remedies": ["ResizePod"] },
            "fragmentation": { "minimumWaste": "12Mi", "sustained": "2s" },
            "restart": { "cooldown": "0s", "stepTimeout": "2m" },
        });
        if self.in_place() {
            spec["restart"]["allowDowntime"] = json!(true);
            spec["restart"]["minimumSyncedReplicas"] = json!(0);
        }
        if self.under_sentinel() {
            spec["redis"]["sentinel"] = json!({ "selector": { "matchLabels": { "app": SENTINELS } } });
        }
        if self == Self::Bounded {
            spec["headroom"]["remedies"] = json!(["SetMaxmemory"]);
            spec["fragmentation"]["remedies"] = json!(["Report"]);
        }
        if self == Self::Dumping {
            // Without a minute of history nothing is known of the rate of writes.
            spec["fragmentation"]["sustained"] = json!("65s");
        }
        spec
    }

    /// The operator keeps the label that clients go by.
    pub(crate) fn follows_a_label(self) -> bool {
        !self.in_place() && !self.under_sentinel()
    }

    /// What the members are after an undisturbed remediation that left that one as primary.
    pub(crate) fn end(self, primary: usize) -> BTreeMap<String, Member> {
        let member = |number: usize| {
            let role = if number == primary { "primary" } else { "replica" };
            let follows = if number == primary { "nobody".to_owned() } else { format!("{SET}-{primary}") };
            let label = if self.follows_a_label() { role } else { "" };
            // The limit of the template less the 64 MiB that `headroom.minimum` is by itself.
            let (limit, maxmemory) = if self == Self::Bounded { ("100Mi", 36 << 20) } else { ("144Mi", 80 << 20) };
            Member {
                label: label.to_owned(),
                ready: true,
                limit: limit.to_owned(),
                maxmemory: maxmemory.to_string(),
                backlog: if self == Self::Dumping { 256 << 10 } else { 4 << 20 }.to_string(),
                follows,
            }
        };
        (0..self.replicas()).map(|number| (format!("{SET}-{number}"), member(number))).collect()
    }
}
