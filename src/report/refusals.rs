//! What lifts a refusal, and who does that. Pure.

use jiff::Timestamp;

use super::Input;
use crate::{
    api::v1alpha1::{RedisMemoryPolicyStatus, RefusalStatus},
    domain::blocked::{BlockReason, Blocked},
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

/// Who lifts that refusal, and by what.
pub const fn lifted(reason: BlockReason) -> (Lifter, &'static str) {
    use BlockReason as B;
    use Lifter::{ItPasses, Nobody, Time, You};
    match reason {
        B::Suspended => (You, "set spec.suspend to false"),
        B::ClusterStopped => (You, "take the stop of the whole operator away"),
        B::Held => (You, "remove the annotation redismemory.io/hold"),
        B::AnotherOperator => (You, "uninstall one of the two installs, or wait until the other has finished"),
        B::GlobalFault => (You, "mend the network or the nodes: many servers do not answer"),
        B::ClaimedByOlderPolicy => (You, "narrow the selector of one of the two policies"),
        B::MemberUnknown => (You, "make the member answer: look at its pod, its password and the network"),
        B::ClusterMode => (Nobody, "this version does not restart members of a Redis Cluster"),
        B::SentinelSeen | B::SentinelUnknown => (You, "let the operator see the Sentinels: spec.redis.sentinel"),
        B::ServerUnsupported => (Nobody, "only Redis and Valkey from 6.2 on are restarted"),
        B::DowntimeNotAllowed => (You, "consent with spec.restart.allowDowntime, or add a replica"),
        B::WriteGapTooLong => (You, "raise spec.restart.maximumWriteGap"),
        B::TooFewReplicas => {
            (You, "add a replica, bring the missing ones back, or lower spec.restart.minimumSyncedReplicas")
        }
        B::ChainedReplicas => (You, "let every replica follow the primary"),
        B::ReplicaFollowsNoMember => (You, "let the replica follow the primary by an address of its pod"),
        B::NoPrimary => (You, "make one member the primary"),
        B::TwoPrimaries => (You, "let all but one follow the right primary"),
        B::PrimaryEmpty => (You, "save what the replica holds, then say which member is right"),
        B::MemberOutsideSelector => (You, "extend spec.selector to every member"),
        B::DeploymentPod | B::NoStatefulSet => (Nobody, "only pods of a StatefulSet are restarted"),
        B::SetIncomplete => (ItPasses, "all pods of the set are there and selected"),
        B::SetTooLarge => (Nobody, "a plan covers fewer members than this set has"),
        B::ForeignOwner => (Nobody, "its own operator decides about its pods"),
        B::RoleLabelInTemplate => (You, "take the role label out of the pod template"),
        B::ClientsPinned | B::ServiceTakesSome | B::NoRoleService => {
            (You, "let the Service select the role label and every member")
        }
        B::RoleLabelWrong => (ItPasses, "the role label says the live role"),
        B::RequestRefused => (You, "ask for what this set can do, or withdraw the request"),
        B::CauseNotCurable => (You, "look at the cause: a restart would not cure it"),
        B::ConfigUnreadable => (You, "give the Redis user the right config|get"),
        B::MembersDiffer => (You, "make the members alike"),
        B::CandidateUnfit => (You, "make a replica keep and let in what the primary does"),
        B::SentinelsUnfit => (You, "do what the refusal says: SENTINEL RESET, or fixed ids and names"),
        B::SentinelsNotReady => (ItPasses, "the Sentinels agree and are quiet"),
        B::MemberNotReady => (ItPasses, "every member is Ready"),
        B::MemberBusy => (ItPasses, "the load, save, rewrite or sync is over"),
        B::PersistenceFailing => (You, "mend the disk or the rights on it, then save once"),
        B::ReplicaNotSynced => (ItPasses, "the replica has caught up"),
        B::PersistenceNotProven => (You, "let the primary write its data to a claim"),
        B::VolumeUnknown => (You, "let the operator read claims and volumes"),
        B::VolumeUnreachable => (You, "make a node of the volume take pods again"),
        B::NoRoomForRewrite => (You, "enlarge the claim"),
        B::FullSyncHeadroom => (You, "raise the memory limit of the primary, or of whom the replica follows"),
        B::MinReplicasToWrite => (You, "add a replica, or lower min-replicas-to-write"),
        B::GracePeriodTooShort => (You, "raise terminationGracePeriodSeconds in the pod template"),
        B::EvictionWouldRollOut => (You, "finish the roll-out that is pending, or take it back"),
        B::TemplateTooSmall => (You, "raise the memory limit in the pod template"),
        B::PermissionMissing => (You, "grant the missing right"),
        B::Cooldown => (Time, "the cooldown is over"),
        B::WindowClosed | B::WindowTooShort => (Time, "the next window opens"),
        B::ApprovalNeeded => (You, "approve the plan"),
        B::RestartBudget => (Time, "earlier restarts are a day old"),
        B::ClusterBudget => (Time, "another remediation in the cluster ends"),
        B::RemediationIneffective => (You, "look at the cause, then change the spec"),
        B::LabelDidNotFollow => (You, "mend the controller that keeps the label, then change the spec"),
        B::RemediationFailed => {
            (You, "mend what the last remediation names, then change the spec; else the cooldown ends it")
        }
        B::DisruptionBudget => (ItPasses, "the PodDisruptionBudget allows an eviction"),
        B::RemediationGaveUp => (Time, "an hour has passed since; a change of the spec lets it begin at once"),
        B::ResizeRefused => {
            (You, "make room for the limit: quota, LimitRange or node; or mend the kubelet that does not set it")
        }
        B::StepFailed => (ItPasses, "it is tried again, later each time"),
    }
}
