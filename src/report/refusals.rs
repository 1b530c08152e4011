//! What lifts a refusal, and who does that. Pure.

use jiff::Timestamp;

use self::Lifter as L;
use super::Input;
use crate::{
    api::v1alpha1::{RedisMemoryPolicyStatus, RefusalStatus},
    domain::blocked::{
        BlockReason::{self, self as B},
        Blocked,
    },
};

/// The status shows this many refusals.
const MAX_REFUSALS: usize = 16;
/// Longest text of a refusal.
const TEXT_CAP: usize = 1000;

/// What is in the way, since when, and what lifts it.
pub(super) fn status(input: &Input<'_>, previous: &RedisMemoryPolicyStatus) -> Vec<RefusalStatus> {
    let shown = input.blocked.iter().take(MAX_REFUSALS).map(|blocked| {
        let (who, what) = lifted(blocked.reason);
        RefusalStatus {
            reason: blocked.reason.to_string(),
            since: since(blocked, previous, input.now),
            text: blocked.text.chars().take(TEXT_CAP).collect(),
            lifted_by: match who {
                Lifter::ItPasses => format!("{}: it goes on once {what}", who.as_str()),
                _ => format!("{}: {what}", who.as_str()),
            },
        }
    });
    shown.collect()
}

/// Since when that is in the way: as was said before, else it is so now for the first time.
pub(super) fn since(blocked: &Blocked, previous: &RedisMemoryPolicyStatus, now: Timestamp) -> Timestamp {
    let before = previous.refusals.iter().find(|refusal| refusal.reason == blocked.reason.as_str());
    before.map_or_else(|| Timestamp::from_second(now.as_second()).unwrap_or(now), |refusal| refusal.since)
}

/// Who lifts a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifter {
    /// A person.
    You,
    /// Time alone.
    Time,
    /// The cluster or Redis, without a person: a sync ends, a pod comes back.
    ItPasses,
    /// Nobody: this set is not restarted as it is built.
    Nobody,
}

impl Lifter {
    /// The word as it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::You => "a person",
            Self::Time => "time alone",
            Self::ItPasses => "nobody has to",
            Self::Nobody => "nobody, as the set is built",
        }
    }
}

/// Who lifts that refusal, and what is done, or has to come.
pub const fn lifted(reason: BlockReason) -> (Lifter, &'static str) {
    match reason {
        B::Suspended => (L::You, "set spec.suspend to false"),
        B::ClusterStopped => (L::You, "take the stop of the whole operator away"),
        B::Held => (L::You, "remove the annotation redismemory.io/hold"),
        B::AnotherOperator => (L::You, "uninstall one of the two installs, or wait until the other has finished"),
        B::GlobalFault => (L::You, "mend the network or the nodes: many servers do not answer"),
        B::ClaimedByOlderPolicy => (L::You, "narrow the selector of one of the two policies"),
        B::MemberUnknown => (L::You, "make the member answer: look at its pod, its password and the network"),
        B::ClusterMode => (L::Nobody, "this version does not restart members of a Redis Cluster"),
        B::SentinelSeen | B::SentinelUnknown => (L::You, "let the operator see the Sentinels: spec.redis.sentinel"),
        B::ServerUnsupported => (L::Nobody, "only Redis and Valkey from 6.2 on are restarted"),
        B::DowntimeNotAllowed => (L::You, "consent with spec.restart.allowDowntime, or add a replica"),
        B::WriteGapTooLong => (L::You, "raise spec.restart.maximumWriteGap"),
        B::TooFewReplicas => {
            (L::You, "add a replica, bring the missing ones back, or lower spec.restart.minimumSyncedReplicas")
        }
        B::ChainedReplicas => (L::You, "let every replica follow the primary"),
        B::ReplicaFollowsNoMember => (L::You, "let the replica follow the primary by an address of its pod"),
        B::NoPrimary => (L::You, "make one member the primary"),
        B::TwoPrimaries => (L::You, "let all but one follow the right primary"),
        B::PrimaryEmpty => (L::You, "save what the replica holds, then say which member is right"),
        B::MemberOutsideSelector => (L::You, "extend spec.selector to every member"),
        B::DeploymentPod | B::NoStatefulSet => (L::Nobody, "only pods of a StatefulSet are restarted"),
        B::SetIncomplete => (L::ItPasses, "all pods of the set are there and selected"),
        B::SetTooLarge => (L::Nobody, "a plan covers fewer members than this set has"),
        B::ForeignOwner => (L::Nobody, "its own operator decides about its pods"),
        B::RoleLabelInTemplate => (L::You, "take the role label out of the pod template"),
        B::ClientsPinned | B::ServiceTakesSome | B::NoRoleService => {
            (L::You, "let the Service select the role label and every member")
        }
        B::RoleLabelWrong => (L::ItPasses, "the role label says the live role"),
        B::RequestRefused => (L::You, "ask for what this set can do, or withdraw the request"),
        B::CauseNotCurable => (L::You, "look at the cause: a restart would not cure it"),
        B::OomCauseRemains => (L::You, "raise the limit, set maxmemory, or take note of the kills"),
        B::ConfigUnreadable => (L::You, "give the Redis user the right config|get"),
        B::MembersDiffer => (L::You, "make the members alike"),
        B::CandidateUnfit => (L::You, "make a replica keep and let in what the primary does"),
        B::SentinelsUnfit => (L::You, "do what the refusal says: SENTINEL RESET, or fixed ids and names"),
        B::SentinelsNotReady => (L::ItPasses, "the Sentinels agree and are quiet"),
        B::MemberNotReady => (L::ItPasses, "every member is Ready"),
        B::MemberBusy => (L::ItPasses, "the load, save, rewrite or sync is over"),
        B::PersistenceFailing => (L::You, "mend the disk or the rights on it, then save once"),
        B::ReplicaNotSynced => (L::ItPasses, "the replica has caught up"),
        B::PersistenceNotProven => (L::You, "let the primary write its data to a claim"),
        B::VolumeUnknown => (L::You, "let the operator read claims and volumes"),
        B::VolumeUnreachable => (L::You, "make a node of the volume take pods again"),
        B::NoRoomForRewrite => (L::You, "enlarge the claim"),
        B::FullSyncHeadroom => (L::You, "raise the memory limit of the primary, or of whom the replica follows"),
        B::MinReplicasToWrite => (L::You, "add a replica, or lower min-replicas-to-write"),
        B::GracePeriodTooShort => (L::You, "raise terminationGracePeriodSeconds in the pod template"),
        B::EvictionWouldRollOut => (L::You, "finish the roll-out that is pending, or take it back"),
        B::TemplateTooSmall => (L::You, "raise the memory limit in the pod template"),
        B::PermissionMissing => (L::You, "grant the missing right"),
        B::Cooldown => (L::Time, "the cooldown is over"),
        B::WindowClosed | B::WindowTooShort => (L::Time, "the next window opens"),
        B::ApprovalNeeded => (L::You, "approve the plan"),
        B::RestartBudget => (L::Time, "earlier restarts are a day old"),
        B::ClusterBudget => (L::Time, "another remediation in the cluster ends"),
        B::RemediationIneffective => (L::You, "look at the cause, then change the spec"),
        B::LabelDidNotFollow => (L::You, "mend the controller that keeps the label, then change the spec"),
        B::RemediationFailed => {
            (L::You, "mend what the last remediation names, then change the spec; else the cooldown ends it")
        }
        B::DisruptionBudget => (L::ItPasses, "the PodDisruptionBudget allows an eviction"),
        B::RemediationGaveUp => (L::Time, "an hour has passed since; a change of the spec lets it begin at once"),
        B::ResizeRefused => {
            (L::You, "make room for the limit: quota, LimitRange or node; or mend the kubelet that does not set it")
        }
        B::StepFailed => (L::ItPasses, "it is tried again, later each time"),
    }
}
