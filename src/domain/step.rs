//! Steps and plans: the closed list of what a remediation can do to the world, in order and with reasons.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{bytes::Bytes, names::PodName, shard::ShardId};

/// One step of a remediation. A new kind of effect must be added here: nothing else is ever carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StepRecord", into = "StepRecord")]
pub enum Step {
    /// Evict the pod through the Eviction API; its StatefulSet replaces it.
    Evict {
        /// The pod.
        pod: PodName,
    },
    /// Raise the memory limit of the pod's Redis container in place.
    Resize {
        /// The pod.
        pod: PodName,
        /// The new limit.
        limit: Bytes,
    },
    /// Wait until the pod's Redis is a loaded, connected and caught-up replica of the primary.
    AwaitReplica {
        /// The pod.
        pod: PodName,
    },
    /// Apply the run-time settings that the evicted pod had, where the replacement differs.
    RestoreSettings {
        /// The pod.
        pod: PodName,
    },
    /// Have the primary write its data out right before its own restart: an AOF rewrite where there is an AOF (a replay of
    /// the old one would fragment the memory again), a save otherwise. Done when it has finished well.
    Persist {
        /// The primary that nothing takes over from.
        pod: PodName,
    },
    /// Wait until the pod's Redis has loaded its data, is the primary again with about the keys that it had, and its
    /// replicas follow.
    AwaitPrimary {
        /// The pod.
        pod: PodName,
    },
    /// Raise `repl-backlog-size` of the primary until the remediation ends, so that replicas that keep their data need
    /// no full sync after their restart.
    RaiseBacklog {
        /// The primary.
        pod: PodName,
        /// The size until then.
        size: Bytes,
    },
    /// Measure that the restart gave the memory back that it was expected to give back.
    Prove {
        /// The pod.
        pod: PodName,
    },
    /// Hand the primary role over without losing an acknowledged write, the role label included.
    Switchover {
        /// The primary.
        from: PodName,
        /// The replica that becomes the primary.
        to: PodName,
    },
    /// Make the replica follow the new primary.
    Repoint {
        /// The replica.
        pod: PodName,
        /// The new primary.
        to: PodName,
    },
}

impl Step {
    /// The kind of the step, as it is shown.
    pub const fn kind(&self) -> StepKind {
        match self {
            Self::Evict { .. } => StepKind::Evict,
            Self::Resize { .. } => StepKind::Resize,
            Self::AwaitReplica { .. } => StepKind::AwaitReplica,
            Self::RestoreSettings { .. } => StepKind::RestoreSettings,
            Self::Persist { .. } => StepKind::Persist,
            Self::AwaitPrimary { .. } => StepKind::AwaitPrimary,
            Self::RaiseBacklog { .. } => StepKind::RaiseBacklog,
            Self::Prove { .. } => StepKind::Prove,
            Self::Switchover { .. } => StepKind::Switchover,
            Self::Repoint { .. } => StepKind::Repoint,
        }
    }

    /// The pod that the step is about; for a switchover the old primary.
    pub const fn pod(&self) -> &PodName {
        match self {
            Self::Evict { pod }
            | Self::Resize { pod, .. }
            | Self::AwaitReplica { pod }
            | Self::RestoreSettings { pod }
            | Self::Persist { pod }
            | Self::AwaitPrimary { pod }
            | Self::RaiseBacklog { pod, .. }
            | Self::Prove { pod }
            | Self::Switchover { from: pod, .. }
            | Self::Repoint { pod, .. } => pod,
        }
    }
}

/// The kinds of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum StepKind {
    /// See [`Step::Evict`].
    Evict,
    /// See [`Step::Resize`].
    Resize,
    /// See [`Step::AwaitReplica`].
    AwaitReplica,
    /// See [`Step::RestoreSettings`].
    RestoreSettings,
    /// See [`Step::Persist`].
    Persist,
    /// See [`Step::AwaitPrimary`].
    AwaitPrimary,
    /// See [`Step::RaiseBacklog`].
    RaiseBacklog,
    /// See [`Step::Prove`].
    Prove,
    /// See [`Step::Switchover`].
    Switchover,
    /// See [`Step::Repoint`].
    Repoint,
}

/// A step as the status stores it: flat, so that the schema is structural and `kubectl` shows it well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepRecord {
    /// What is done.
    pub kind: StepKind,
    /// The pod that it is done to; for a Switchover the old primary.
    pub pod: PodName,
    /// The new primary (Switchover, Repoint).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<PodName>,
    /// The new memory limit in bytes (Resize).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub limit_bytes: Option<i64>,
    /// The new size in bytes (RaiseBacklog).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub size_bytes: Option<i64>,
}

impl From<Step> for StepRecord {
    fn from(step: Step) -> Self {
        let (kind, pod) = (step.kind(), step.pod().clone());
        let stored = |bytes: Bytes| Some(i64::try_from(bytes.0).unwrap_or(i64::MAX));
        let (to, limit_bytes, size_bytes) = match step {
            Step::Switchover { to, .. } | Step::Repoint { to, .. } => (Some(to), None, None),
            Step::Resize { limit, .. } => (None, stored(limit), None),
            Step::RaiseBacklog { size, .. } => (None, None, stored(size)),
            Step::Evict { .. }
            | Step::AwaitReplica { .. }
            | Step::RestoreSettings { .. }
            | Step::Persist { .. }
            | Step::AwaitPrimary { .. }
            | Step::Prove { .. } => (None, None, None),
        };
        Self { kind, pod, to, limit_bytes, size_bytes }
    }
}

/// A stored step that lacks what its kind needs: the status was edited by hand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored {kind:?} step lacks its `{field}`")]
pub struct BrokenStep {
    kind: StepKind,
    field: &'static str,
}

impl TryFrom<StepRecord> for Step {
    type Error = BrokenStep;

    fn try_from(record: StepRecord) -> Result<Self, BrokenStep> {
        let StepRecord { kind, pod, to, limit_bytes, size_bytes } = record;
        let lacks = |field| BrokenStep { kind, field };
        let bytes = |number: Option<i64>, field| {
            number.and_then(|n| u64::try_from(n).ok()).map(Bytes).ok_or_else(|| lacks(field))
        };
        Ok(match kind {
            StepKind::Evict => Self::Evict { pod },
            StepKind::AwaitReplica => Self::AwaitReplica { pod },
            StepKind::RestoreSettings => Self::RestoreSettings { pod },
            StepKind::Prove => Self::Prove { pod },
            StepKind::Persist => Self::Persist { pod },
            StepKind::AwaitPrimary => Self::AwaitPrimary { pod },
            StepKind::Resize => Self::Resize { pod, limit: bytes(limit_bytes, "limitBytes")? },
            StepKind::RaiseBacklog => Self::RaiseBacklog { pod, size: bytes(size_bytes, "sizeBytes")? },
            StepKind::Switchover => Self::Switchover { from: pod, to: to.ok_or_else(|| lacks("to"))? },
            StepKind::Repoint => Self::Repoint { pod, to: to.ok_or_else(|| lacks("to"))? },
        })
    }
}

/// A step and why it is taken. The reason reaches status, event and log unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// The step.
    #[serde(flatten)]
    #[schemars(with = "StepRecord")]
    pub step: Step,
    /// Why, in one sentence with numbers.
    #[schemars(length(max = 512))]
    pub reason: String,
}

/// The step of a plan that hands the role back to the pod that starts with it, and its position: the last switchover, if
/// nobody is evicted after it. Any other switchover makes room for the eviction of the old primary.
pub fn hand_back(steps: &[PlannedStep]) -> Option<(usize, &PlannedStep)> {
    let last = steps
        .iter()
        .enumerate()
        .rev()
        .find(|(_, planned)| matches!(planned.step, Step::Switchover { .. } | Step::Evict { .. }));
    last.filter(|(_, planned)| matches!(planned.step, Step::Switchover { .. }))
}

/// Frozen, ordered steps for one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The shard whose pods are restarted.
    pub shard: ShardId,
    /// Its name.
    pub workload_name: String,
    /// The steps, in order; at most [`Plan::MAX_STEPS`].
    pub steps: Vec<PlannedStep>,
    /// Names this plan: the first 16 hexadecimal digits of the SHA-256 over workload and steps.
    pub hash: String,
    /// Pods that are to be restarted too and for which this plan had no room.
    pub left: Vec<PodName>,
}

impl Plan {
    /// A plan covers one workload and at most this many steps.
    pub const MAX_STEPS: usize = 64;
    /// A set of more members is not remediated: a hand-over takes a step for each member, five to restart the old primary
    /// and at most one for the backlog, and is planned in one piece.
    pub const MAX_MEMBERS: usize = Self::MAX_STEPS - 8;
}
