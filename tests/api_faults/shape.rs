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
}

impl Shape {
    pub(crate) const fn replicas(self) -> usize {
        match self {
            Self::Standalone => 1,
            Self::Static => 2,
            Self::Replicated | Self::Returning | Self::Dumping => REPLICAS,
        }
    }

    /// Whether its primary is restarted as such.
    pub(crate) const fn in_place(self) -> bool {
        matches!(self, Self::Standalone | Self::Static)
    }

    pub(crate) const fn keeps(self) -> Keeps {
        match self {
            Self::Replicated => Keeps::Nothing,
            Self::Returning => Keeps::NothingAndFirstLeads,
            Self::Dumping => Keeps::Data,
            Self::Standalone | Self::Static => Keeps::DataAndName,
        }
    }

    /// Options of every redis-server.
    pub(crate) fn options(self) -> Vec<&'static str> {
        match self {
            Self::Replicated | Self::Returning => vec!["--repl-backlog-size", "4mb"],
            Self::Standalone | Self::Static => {
                vec!["--repl-backlog-size", "4mb", "--appendonly", "yes", "--appendfsync", "always"]
            }
            Self::Dumping => vec!["--repl-backlog-size", "256kb", "--save", "86400 1"],
        }
    }

    /// What the Service selects: the role where it moves, else the pod that is always primary.
    pub(crate) fn selector(self) -> Value {
        if self.in_place() {
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
            "redis": { "roleAuthority": if self.in_place() { "Auto" } else { "Operator" } },
            "headroom": { "percent": 50, "remedies": ["ResizePod"] },
            "fragmentation": { "minimumWaste": "12Mi", "sustained": "2s" },
            "restart": { "cooldown": "0s", "stepTimeout": "2m" },
        });
        if self.in_place() {
            spec["restart"]["allowDowntime"] = json!(true);
            spec["restart"]["minimumSyncedReplicas"] = json!(0);
        }
        if self == Self::Dumping {
            // Without a minute of history nothing is known of the rate of writes.
            spec["fragmentation"]["sustained"] = json!("65s");
        }
        spec
    }

    /// What the members are after an undisturbed remediation.
    pub(crate) fn end(self) -> BTreeMap<String, Member> {
        let primary = usize::from(!self.in_place());
        let member = |number: usize| {
            let role = if number == primary { "primary" } else { "replica" };
            let follows = if number == primary { "nobody".to_owned() } else { format!("{SET}-{primary}") };
            let label = if self.in_place() { "" } else { role };
            Member {
                label: label.to_owned(),
                ready: true,
                limit: "144Mi".to_owned(),
                maxmemory: "83886080".to_owned(),
                backlog: if self == Self::Dumping { 256 << 10 } else { 4 << 20 }.to_string(),
                follows,
            }
        };
        (0..self.replicas()).map(|number| (format!("{SET}-{number}"), member(number))).collect()
    }
}
