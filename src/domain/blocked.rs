//! Why a remediation is not begun or does not go on: stable reasons with a sentence each.

use std::fmt;

/// One refusal, with the numbers that show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The stable reason.
    pub reason: BlockReason,
    /// What is in the way, with numbers, and what a person can do about it.
    pub text: String,
    /// It makes every other reason moot: such a set is not restarted by this version, whatever else is mended.
    pub rules: bool,
}

impl Blocked {
    /// A refusal.
    pub fn new(reason: BlockReason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into(), rules: false }
    }

    /// The same refusal, which makes every other moot.
    #[must_use]
    pub fn ruling(self) -> Self {
        Self { rules: true, ..self }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident,)*) => {
        /// Why nothing is done. Reasons of the condition `RemediationBlocked`; stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum BlockReason {
            $($(#[$doc])* $reason,)*
        }

        impl BlockReason {
            /// Every reason, in the order in which gates are looked at.
            pub const ALL: &'static [Self] = &[$(Self::$reason,)*];

            /// The reason of that name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == name)
            }

            /// The name as it is shown.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$reason => stringify!($reason),)* }
            }
        }
    };
}

reasons! {
    /// `suspend` is set.
    Suspended,
    /// People have stopped the whole operator.
    ClusterStopped,
    /// People hold a pod, its StatefulSet or the policy by an annotation.
    Held,
    /// Another install of the operator carries a remediation of this policy out.
    AnotherOperator,
    /// Much of what is watched in the cluster does not answer.
    GlobalFault,
    /// An older policy matches members of the workload and acts for it.
    ClaimedByOlderPolicy,
    /// A member gave no fresh sample.
    MemberUnknown,
    /// A member runs in cluster mode: not handled yet.
    ClusterMode,
    /// A Sentinel watches a member, and which one is not known; or the primary is to be restarted, whose role is left to
    /// Sentinels.
    SentinelSeen,
    /// Whether a Sentinel watches could not be told.
    SentinelUnknown,
    /// A member is neither Redis nor Valkey, or older than 6.2 (which brought FAILOVER).
    ServerUnsupported,
    /// Nothing can take over from the primary that is to be restarted, and `allowDowntime` is false.
    DowntimeNotAllowed,
    /// Writes would stop for longer than `maximumWriteGap` while the role is handed over.
    WriteGapTooLong,
    /// Fewer than `minimumSyncedReplicas` other replicas would be left.
    TooFewReplicas,
    /// A replica follows a replica.
    ChainedReplicas,
    /// A replica follows a name or an address that is no member's.
    ReplicaFollowsNoMember,
    /// No member is primary.
    NoPrimary,
    /// More than one member is primary.
    TwoPrimaries,
    /// The primary holds no key while a replica still holds some, or came back from our restart without its keys.
    PrimaryEmpty,
    /// A member is not selected by the policy.
    MemberOutsideSelector,
    /// A member is a Deployment's pod: its successor would start beside it, on the same volume.
    DeploymentPod,
    /// A member is no StatefulSet's pod: it would not come back under its name.
    NoStatefulSet,
    /// A StatefulSet of it wants more or fewer pods than are selected.
    SetIncomplete,
    /// The set has more members than a plan covers.
    SetTooLarge,
    /// The StatefulSet belongs to another controller, which may undo or fight what we do.
    ForeignOwner,
    /// The pod template sets the role label: a new pod would claim a role before it has one.
    RoleLabelInTemplate,
    /// A Service holds its clients to the primary's pod: they would not follow the role.
    ClientsPinned,
    /// A Service that selects the role label would take some members only.
    ServiceTakesSome,
    /// No Service selects the role label: clients would not follow.
    NoRoleService,
    /// A pod's role label does not say its live role yet.
    RoleLabelWrong,
    /// What a person asked for cannot be done in this set: see the text.
    RequestRefused,
    /// A restart would not cure the dominating cause of the waste.
    CauseNotCurable,
    /// The kernel killed a member that is to be restarted, and what it was killed for has not changed.
    OomCauseRemains,
    /// A member's configuration cannot be read.
    ConfigUnreadable,
    /// Members differ in version, maxmemory or the credentials of replication.
    MembersDiffer,
    /// The replica that would become primary keeps less, lets fewer in, or declares that it is never to.
    CandidateUnfit,
    /// The Sentinels do not agree, fail over or did lately, or too few would be left while a pod is away.
    SentinelsNotReady,
    /// The Sentinels list somebody who is gone, or are too few: nobody but people can mend it.
    SentinelsUnfit,
    /// A member is not Ready, or is being deleted.
    MemberNotReady,
    /// A member loads, saves, rewrites, syncs, resizes or fails over.
    MemberBusy,
    /// The last save, rewrite or AOF write of a member failed.
    PersistenceFailing,
    /// A replica is not connected, not synced or too far behind.
    ReplicaNotSynced,
    /// A primary that nothing can take over from might come back without its data.
    PersistenceNotProven,
    /// What is behind the claim of a primary that is restarted in place is not known.
    VolumeUnknown,
    /// Its volume can be used only on nodes that take no pod.
    VolumeUnreachable,
    /// Its claim has no room for a rewrite of the AOF.
    NoRoomForRewrite,
    /// The primary's container has no room for the fork and buffers of a full sync.
    FullSyncHeadroom,
    /// Without the restarted replica fewer than min-replicas-to-write would be left.
    MinReplicasToWrite,
    /// The pod's grace period is shorter than a clean shutdown may take.
    GracePeriodTooShort,
    /// A replaced pod would get another revision: an eviction would roll out a change.
    EvictionWouldRollOut,
    /// The template's memory limit would not hold the data.
    TemplateTooSmall,
    /// The operator lacks a right, in Kubernetes or in Redis.
    PermissionMissing,
    /// A pod was restarted too recently.
    Cooldown,
    /// No window is open.
    WindowClosed,
    /// The remediation would not fit into the time that the window leaves.
    WindowTooShort,
    /// A person has to approve this plan.
    ApprovalNeeded,
    /// The workload's restarts of a day are used up.
    RestartBudget,
    /// Other remediations or restarts in the cluster use its budget up.
    ClusterBudget,
    /// The last restart did not help: not repeated until the spec changes.
    RemediationIneffective,
    /// Another controller's role label did not follow the last switchover, and the role went back.
    LabelDidNotFollow,
    /// The last remediation failed: not repeated until the spec changes or the cooldown is over.
    RemediationFailed,
    /// A PodDisruptionBudget forbids the eviction, now or always.
    DisruptionBudget,
    /// The last remediation gave up for an obstacle that shows only when it is under way: tried again after an hour.
    RemediationGaveUp,
    /// A memory limit cannot be raised: see the text.
    ResizeRefused,
    /// A step could not be carried out and is tried again: see the text.
    StepFailed,
}

/// What it takes for a refusal to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// A person's word, or a time that comes.
    ForPeopleOrTime,
    /// A set that is built otherwise: it does not pass by itself.
    ForAnotherSet,
    /// A state that passes by itself, or by somebody's hand.
    ForTheState,
}

impl BlockReason {
    /// What it takes for this refusal to go.
    pub const fn waits(self) -> Waits {
        match self {
            Self::Suspended
            | Self::ClusterStopped
            | Self::Held
            | Self::Cooldown
            | Self::WindowClosed
            | Self::WindowTooShort
            | Self::ApprovalNeeded
            | Self::RestartBudget
            | Self::ClusterBudget
            | Self::SentinelsUnfit
            | Self::RemediationGaveUp => Waits::ForPeopleOrTime,
            Self::ClusterMode
            | Self::SentinelSeen
            | Self::ServerUnsupported
            | Self::DeploymentPod
            | Self::NoStatefulSet
            | Self::SetIncomplete
            | Self::ForeignOwner
            | Self::RoleLabelInTemplate
            | Self::NoRoleService
            | Self::ClaimedByOlderPolicy => Waits::ForAnotherSet,
            _ => Waits::ForTheState,
        }
    }
}

impl fmt::Display for BlockReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
