//! Steps and plans: the closed list of what a remediation can do to the world, in order and with reasons.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{acl::Command, bytes::Bytes, names::PodName, shard::ShardId, write_gap::WriteGap};

/// One step of a remediation. What it carries out is an effect of `plan::effect`.
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
        /// The replica that becomes the primary; `None`: a Sentinel chooses.
        to: Option<PodName>,
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

    /// The pod whose replacement it is about: it waits for nobody when that pod is scaled away.
    pub const fn replacement(&self) -> Option<&PodName> {
        match self {
            Self::Resize { pod, .. }
            | Self::AwaitReplica { pod }
            | Self::RestoreSettings { pod }
            | Self::AwaitPrimary { pod }
            | Self::Prove { pod } => Some(pod),
            Self::Evict { .. }
            | Self::Persist { .. }
            | Self::RaiseBacklog { .. }
            | Self::Switchover { .. }
            | Self::Repoint { .. } => None,
        }
    }
}

/// A closed list of what kind of remediation comes by a step, or by another place in the code.
macro_rules! situations {
    ($($(#[$meaning:meta])* $situation:ident,)*) => {
        /// What kind of remediation comes by a step: tests choose their world by it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Situation { $($(#[$meaning])* $situation,)* }

        impl Situation {
            /// Every situation.
            pub const ALL: &'static [Self] = &[$(Self::$situation),*];
        }
    };
}

situations! {
    /// Replicas are restarted, the role is handed over by either method, and the old primary is restarted.
    Any,
    /// The role is handed over by the Guarded method.
    Guarded,
    /// The role is handed over by the Native method.
    Native,
    /// The role is handed over by a Sentinel.
    Sentinel,
    /// The candidate of a Guarded switchover is lost between demote and promote.
    RolledBack,
    /// The only member is restarted as the primary that it is: the first step is its persisting.
    Standalone,
    /// The primary of a Static set is restarted as such, after its replicas.
    AfterReplicas,
    /// Restarted replicas go on where they were if the backlog is raised.
    Backlog,
    /// The old primary comes back as a primary.
    Returning,
    /// The eviction of the old primary is waited for, by a budget say.
    Held,
    /// A restart leaves something in the lists of Sentinels, which know the pods by their addresses.
    Forgotten,
    /// `maxmemory` is set to what a limit bears: no remediation need be under way.
    Maxmemory,
}

/// When a remediation may be ended while a step is under way: nothing of ours is half done then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// At any time.
    Always,
    /// Until its effect is intended.
    BeforeEffect,
    /// When the policy is deleted: the set heals without us.
    OnDeletion,
    /// Not before it is done.
    Never,
}

/// When a step counts as begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// When its gates hold and its effect is intended.
    AtGates,
    /// When the step before it is done.
    AtOnce,
}

/// How long a step takes where nothing keeps it waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// No time of its own: the wait after it has it.
    InTheNext,
    /// One answer.
    AtOnce,
    /// A pod is replaced, and its data are written by the one that it follows, sent, and loaded.
    FullSync,
    /// A pod is replaced and loads its data.
    Load,
    /// The data are written once.
    Save,
    /// Samples of a proof, after the settling.
    Proof,
    /// A role is handed over.
    HandOver,
    /// A replica follows another primary.
    Follow,
}

/// The table of kinds: the name in crash points; the word for people; when it begins; how long it takes; when a remediation
/// may end at it; the situation in which the cursor moves to it and, of a kind that has an effect, the one in which that is
/// made; the commands that it sends, beside those that look.
macro_rules! step_kinds {
    ($($(#[$meaning:meta])* $kind:ident $name:literal $word:literal begins $begins:ident, lasts $lasts:ident,
        ends $ends:ident, arrives in $arrives:ident $(and acts in $acts:ident)?, sends [$($command:ident),*];)*) => {
        /// The kinds of steps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum StepKind { $($(#[$meaning])* $kind,)* }

        impl fmt::Display for StepKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }

        impl StepKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The crash points' name of it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// The word for people, and in metrics: what is stored keeps its own.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$kind => $word,)* }
            }

            /// When it counts as begun.
            pub const fn begins(self) -> Begins {
                match self { $(Self::$kind => Begins::$begins,)* }
            }

            /// How long it takes where nothing keeps it waiting.
            pub const fn lasts(self) -> Lasts {
                match self { $(Self::$kind => Lasts::$lasts,)* }
            }

            /// When a remediation may end at it.
            pub const fn ends(self) -> Ends {
                match self { $(Self::$kind => Ends::$ends,)* }
            }

            /// When the cursor moves to it.
            pub const fn arrives(self) -> Situation {
                match self { $(Self::$kind => Situation::$arrives,)* }
            }

            /// When its effect is made; `None`: it has none.
            pub const fn acts(self) -> Option<Situation> {
                match self { $(Self::$kind => step_kinds!(@ $($acts)?),)* }
            }

            /// Whether it is there to give the role of primary to another member.
            pub const fn moves_a_role(self) -> bool {
                matches!(self, Self::Switchover | Self::Repoint)
            }

            /// Whether clients or the data of the set can notice it.
            pub const fn disturbs(self) -> bool {
                matches!(self, Self::Evict | Self::Persist | Self::Switchover)
            }

            /// The commands that it sends, beside those that look.
            pub const fn sends(self) -> &'static [Command] {
                match self { $(Self::$kind => &[$(Command::$command,)*],)* }
            }
        }
    };
    (@ $acts:ident) => { Some(Situation::$acts) };
    (@) => { None };
}

step_kinds! {
    /// See [`Step::Evict`].
    Evict "evict" "Evict" begins AtGates, lasts InTheNext, ends BeforeEffect, arrives in Any and acts in Any, sends [];
    /// See [`Step::Resize`].
    Resize "resize" "Resize" begins AtOnce, lasts AtOnce, ends OnDeletion, arrives in Any and acts in Any, sends [];
    /// See [`Step::AwaitReplica`].
    AwaitReplica "await-replica" "AwaitReplica" begins AtOnce, lasts FullSync, ends OnDeletion, arrives in Any,
        sends [];
    /// See [`Step::RestoreSettings`].
    RestoreSettings "restore-settings" "RestoreSettings" begins AtOnce, lasts AtOnce, ends OnDeletion,
        arrives in Any and acts in Any, sends [ConfigSet];
    // The first step of a plan is not arrived at.
    /// See [`Step::Persist`].
    Persist "persist" "Persist" begins AtGates, lasts Save, ends Always,
        arrives in AfterReplicas and acts in Standalone, sends [BgSave, BgRewriteAof];
    /// See [`Step::AwaitPrimary`].
    AwaitPrimary "await-primary" "AwaitPrimary" begins AtOnce, lasts Load, ends OnDeletion, arrives in Standalone,
        sends [];
    /// See [`Step::RaiseBacklog`].
    RaiseBacklog "raise-backlog" "RaiseBacklog" begins AtOnce, lasts AtOnce, ends Always,
        arrives in Backlog and acts in Backlog, sends [ConfigSet];
    /// See [`Step::Prove`]. The word in which it is stored is that of the first version, which an older operator reads after a
    /// rollback; the word for people is read too, so that a later version may write it.
    #[serde(alias = "Verify")]
    Prove "prove" "Verify" begins AtOnce, lasts Proof, ends Always, arrives in Any, sends [];
    /// See [`Step::Switchover`].
    Switchover "switchover" "Switchover" begins AtGates, lasts HandOver, ends BeforeEffect,
        arrives in Any and acts in Any,
        sends [Failover, ReplicaOf, ConfigSet, ConfigRewrite, ClientPause, ClientUnpause, ClientKill];
    // Guarded has told the other replicas by then.
    /// See [`Step::Repoint`].
    Repoint "repoint" "Repoint" begins AtOnce, lasts Follow, ends Never, arrives in Any and acts in Native,
        sends [ReplicaOf];
}

/// A step as the status stores it: flat, so that the schema is structural and `kubectl` shows it well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepRecord {
    /// What is done. `Prove` is stored for the step that people are told as Verify; both words are read.
    #[schemars(transform = or_in_words)]
    pub kind: StepKind,
    /// The pod that it is done to; for a Switchover the old primary.
    pub pod: PodName,
    /// The new primary (Switchover, Repoint); a Switchover without one is by a Sentinel, which chooses.
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

/// Where the stored word is another than the one for people, that one is accepted too.
fn or_in_words(schema: &mut schemars::Schema) {
    let Some(kinds) = schema.get_mut("oneOf").and_then(|kinds| kinds.as_array_mut()) else { return };
    for kind in StepKind::ALL.iter().filter(|kind| format!("{kind:?}") != kind.word()) {
        kinds.push(schemars::json_schema!({"type": "string", "const": kind.word()}).to_value());
    }
}

impl From<Step> for StepRecord {
    fn from(step: Step) -> Self {
        let (kind, pod) = (step.kind(), step.pod().clone());
        let stored = |bytes: Bytes| Some(i64::try_from(bytes.0).unwrap_or(i64::MAX));
        let (to, limit_bytes, size_bytes) = match step {
            Step::Switchover { to, .. } => (to, None, None),
            Step::Repoint { to, .. } => (Some(to), None, None),
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
            StepKind::Switchover => Self::Switchover { from: pod, to },
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

/// Whether these steps move the role and restart nobody.
pub fn only_move_the_role(steps: &[PlannedStep]) -> bool {
    let any = |wanted: fn(&Step) -> bool| steps.iter().any(|planned| wanted(&planned.step));
    any(|step| matches!(step, Step::Switchover { .. })) && !any(|step| matches!(step, Step::Evict { .. }))
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
    /// The role leaves a primary that the kernel kills for its limit: that is all that it is for.
    pub leaves_sick: bool,
    /// How long writes stop by it; `None`: they do not.
    pub write_gap: Option<WriteGap>,
}

impl Plan {
    /// A plan covers one workload and at most this many steps.
    pub const MAX_STEPS: usize = 64;
    /// A set of more members is not remediated: a hand-over takes a step for each member, five to restart the old primary
    /// and at most one for the backlog, and is planned in one piece.
    pub const MAX_MEMBERS: usize = Self::MAX_STEPS - 8;
}
