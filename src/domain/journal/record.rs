//! What is remembered of a workload when a remediation has ended.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MemberIdentity;
use crate::domain::{lineage::SeveralPrimaries, names::PodName, shard::ShardId, write_gap::WriteGap};

/// How the replacement of a pod started: the only true evidence of what its start configuration says, which may be a
/// file or a script that nobody else can read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartRecord {
    /// The pod.
    pub pod: PodName,
    /// The revision of the template that it started with (label `controller-revision-hash`).
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub revision: String,
    /// When it was seen.
    #[schemars(with = "String", length(max = 40))]
    pub at: Timestamp,
    /// The settings with which it started and that were not what the pod before had; empty: there were none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub settings: Vec<StartValue>,
}

/// A setting with which a replacement started, unlike the pod before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartValue {
    /// Its name, as `CONFIG GET` has it.
    #[schemars(length(max = 64))]
    pub name: String,
    /// What the pod before had, as `CONFIG GET` gives it.
    #[schemars(length(max = 256))]
    pub before: String,
    /// What the replacement started with.
    #[schemars(length(max = 256))]
    pub start: String,
}

/// How a remediation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// Every step was taken and the proof holds.
    Succeeded,
    /// Role, member or spec changed: a new plan is made from what is now true.
    Superseded,
    /// A step took longer than `stepTimeout`.
    TimedOut,
    /// The restart did not give back what it should have: not repeated until the spec changes.
    Ineffective,
    /// A replacement could not be given the settings of the pod before it.
    ConfigDrift,
    /// The primary role could not be handed over; the old primary is still primary.
    SwitchoverFailed,
    /// The role was handed over, another controller's label did not follow, and the role was handed back.
    LabelDidNotFollow,
    /// A primary that was to be restarted as such did not write its data out; it was not restarted.
    PersistFailed,
    /// The policy was set to Observe or deleted, or restarts are no longer among its remedies.
    Stopped,
    /// Written by earlier versions: the window closed. Now this is `Paused`.
    WindowClosed,
    /// People or time are waited for (an approval, a window, suspend, a stop) and nothing is half done: what remains is a
    /// plan of its own, and others may be remediated meanwhile. No failure.
    Paused,
    /// An obstacle outlasted `stepTimeout`, or is one that does not go by itself. No failure of the set: planned anew when
    /// the obstacle goes.
    GaveUp,
}

impl Outcome {
    /// Every one.
    pub const ALL: [Self; 12] = [
        Self::Succeeded,
        Self::Superseded,
        Self::TimedOut,
        Self::Ineffective,
        Self::ConfigDrift,
        Self::SwitchoverFailed,
        Self::LabelDidNotFollow,
        Self::PersistFailed,
        Self::Stopped,
        Self::WindowClosed,
        Self::Paused,
        Self::GaveUp,
    ];

    /// The name as it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Superseded => "Superseded",
            Self::TimedOut => "TimedOut",
            Self::Ineffective => "Ineffective",
            Self::ConfigDrift => "ConfigDrift",
            Self::SwitchoverFailed => "SwitchoverFailed",
            Self::LabelDidNotFollow => "LabelDidNotFollow",
            Self::PersistFailed => "PersistFailed",
            Self::Stopped => "Stopped",
            Self::WindowClosed => "WindowClosed",
            Self::Paused => "Paused",
            Self::GaveUp => "GaveUp",
        }
    }
}

/// What is remembered of a workload between remediations, and of one that has never been remediated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRecord {
    /// Which set: UIDs of its controllers, joined by "+"; of a cluster those, a slash and the shard.
    #[serde(rename = "uid")]
    pub shard: ShardId,
    /// Name of the StatefulSet.
    #[schemars(length(max = 253))]
    pub name: String,
    /// How the last remediation ended; absent: there has been none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The last remediation; empty: there has been none.
    #[schemars(length(max = 128))]
    pub remediation: String,
    /// When it began; absent: there has been none, or an earlier version wrote this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 40))]
    pub started_at: Option<Timestamp>,
    /// When it ended; without one, when this record was made.
    #[schemars(with = "String", length(max = 40))]
    pub ended_at: Timestamp,
    /// The generation of the spec that it ran under.
    pub generation: i64,
    /// What happened, in one sentence with numbers.
    #[schemars(length(max = 512))]
    pub message: String,
    /// The primary when the last remediation ended, if that remediation moved the role to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<MemberIdentity>,
    /// Pods that were seen to start as primaries although another member was one: they came back so from an eviction of
    /// ours, last time. Where it is one alone, the role belongs to it: any restart of the set gives it back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub starts_as_primary: Vec<PodName>,
    /// Two primaries were seen, and it is not settled since which one is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub several_primaries: Option<SeveralPrimaries>,
    /// Not begun anew before this time: it gave up for an obstacle that cannot be seen before the remediation is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 40))]
    pub retry_at: Option<Timestamp>,
    /// How long writes stopped at the last hand-over, or restart in place; absent: none was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_gap: Option<WriteGap>,
    /// When we restarted pods, the newest first: the base of cooldown and budgets. The last of each pod, and all of
    /// the last day.
    #[schemars(length(max = 64))]
    pub restarts: Vec<RestartRecord>,
    /// How replacements started, where that was not what the pod before had: the last return of each pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub starts: Vec<StartRecord>,
    /// `maxmemory` as this operator set it; absent: it did not, or every member starts with what it should have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxmemory: Option<Box<OwnMaxmemory>>,
    /// The remediations before the last one, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9))]
    pub earlier: Vec<PastRemediation>,
}

/// A remediation that another one has followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastRemediation {
    /// Which.
    #[schemars(length(max = 128))]
    pub remediation: String,
    /// How it ended.
    pub outcome: Outcome,
    /// When it began; absent: an earlier version wrote this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 40))]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schemars(with = "String", length(max = 40))]
    pub ended_at: Timestamp,
    /// What happened: the beginning of it.
    #[schemars(length(max = 200))]
    pub message: String,
}

impl PastRemediation {
    /// So many are kept of a workload beside the last one: ten in all.
    pub const MOST: usize = 9;
    /// Bytes of a message that are kept. A policy has at most 100 workloads, and its status must stay far below the 1.5 MiB
    /// that the API server stores of an object: these are 0.4 MB at most.
    const MESSAGE: usize = 200;
}

/// `maxmemory` of a set's members, set by this operator: to the same value on each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnMaxmemory {
    /// What was set, in bytes, the newest first: a member that has one of them has it from us.
    #[schemars(length(max = 8), inner(range(min = 0)))]
    pub values: Vec<i64>,
    /// What it comes to, in bytes: less than the newest value while keys are evicted step by step. 0: an earlier version wrote
    /// this.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub end: i64,
    /// The value that a member was last seen with, in bytes; 0: none yet. It comes back whenever less than it is used.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub held: i64,
    /// The processes as they were before keys were evicted for it: what that leaves resident is no fragmentation to restart a
    /// process for, and what was wasted before is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub before_eviction: Vec<BeforeEviction>,
    /// What people had set, the least of the members that had any, in bytes: it is never raised above that. 0: none had.
    #[schemars(range(min = 0))]
    pub before: i64,
    /// When the value was last changed.
    #[schemars(with = "String", length(max = 40))]
    pub at: Timestamp,
    /// The processes on which it is set, or was about to be.
    #[schemars(length(max = 64))]
    pub members: Vec<MemberIdentity>,
}

/// A process before keys were evicted from it by consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BeforeEviction {
    /// Which process.
    pub identity: MemberIdentity,
    /// What it used when it used most, in bytes.
    #[schemars(range(min = 0))]
    pub used_bytes: i64,
    /// What was resident then, in bytes.
    #[schemars(range(min = 0))]
    pub rss_bytes: i64,
}

/// When we restarted a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestartRecord {
    /// The pod.
    pub pod: PodName,
    /// When its eviction was carried out.
    #[schemars(with = "String", length(max = 40))]
    pub at: Timestamp,
}

impl WorkloadRecord {
    /// The record of a workload that has not been remediated yet.
    pub const fn new(shard: ShardId, name: String, now: Timestamp) -> Self {
        Self {
            shard,
            name,
            outcome: None,
            remediation: String::new(),
            ended_at: now,
            generation: 0,
            message: String::new(),
            primary: None,
            starts_as_primary: Vec::new(),
            several_primaries: None,
            retry_at: None,
            write_gap: None,
            restarts: Vec::new(),
            starts: Vec::new(),
            maxmemory: None,
            started_at: None,
            earlier: Vec::new(),
        }
    }

    /// The last remediation, and those before it, the newest first.
    pub fn history(&self) -> Vec<PastRemediation> {
        let last = self.outcome.map(|outcome| PastRemediation {
            remediation: self.remediation.clone(),
            outcome,
            started_at: self.started_at,
            ended_at: self.ended_at,
            message: self
                .message
                .get(..self.message.floor_char_boundary(PastRemediation::MESSAGE))
                .unwrap_or_default()
                .to_owned(),
        });
        last.into_iter().chain(self.earlier.iter().cloned()).collect()
    }
}
