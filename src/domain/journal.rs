//! The durable record of one remediation. It is written before an effect, so that the operator that takes over knows.

mod record;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::record::{
    BeforeEviction, Outcome, OwnMaxmemory, PastRemediation, RestartRecord, StartRecord, StartValue, WorkloadRecord,
};
use super::{
    names::{PodName, PodUid, RunId},
    shard::ShardId,
    step::{self, PlannedStep, Step},
    switchover::SwitchoverMethod,
    write_gap::WriteGap,
};

/// One remediation under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Journal {
    /// Names this run: plan hash and start.
    #[schemars(length(max = 128))]
    pub id: String,
    /// Hash of the frozen plan.
    #[schemars(length(max = 64))]
    pub plan_hash: String,
    /// The generation of the spec that the plan was made from.
    pub generation: i64,
    /// What is remediated: UIDs of its controllers, joined by "+"; of a cluster those, a slash and the shard.
    #[serde(rename = "workload")]
    pub shard: ShardId,
    /// Name of the StatefulSet.
    #[schemars(length(max = 253))]
    pub workload_name: String,
    /// When the remediation began.
    #[schemars(with = "String", length(max = 40))]
    pub started_at: Timestamp,
    /// The frozen steps.
    #[schemars(length(max = 64))]
    pub steps: Vec<PlannedStep>,
    /// Index of the step that is under way; equal to the number of steps when all are done.
    #[schemars(range(min = 0, max = 64), extend("format" = "int32"))]
    pub cursor: u32,
    /// The step under way.
    pub current: CurrentStep,
    /// Who is the primary by our record: the one found at the start, after the switchover the new one.
    pub primary: MemberIdentity,
    /// The members as they were when the remediation began.
    #[schemars(length(max = 64))]
    pub members: Vec<MemberRecord>,
    /// Replication backlogs that were raised, with what they were: set back before the remediation ends, however it ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub raised: Vec<RaisedBacklog>,
    /// Settings that were given to the candidate of a switchover, with what they were: taken back when it does not become
    /// primary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub carried: Vec<CarriedSettings>,
    /// Settings of the old primary that hold only while a Sentinel gives its role to another member, with what they were:
    /// set back before the remediation ends, however it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temporary: Option<Box<TemporarySettings>>,
    /// Services of proxies that led clients to the primary when a Sentinel was told to give its role to another member: they
    /// must lead to the new one before the old one is restarted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub proxies: Vec<String>,
    /// How often a Sentinel was to be made to forget what a restart of this remediation left in its list.
    #[serde(default, skip_serializing_if = "zero")]
    #[schemars(range(min = 0, max = 100_000), extend("format" = "int32"))]
    pub forgotten: u32,
    /// A replica followed another one when it began: nobody is led off a replica by it.
    #[serde(default, skip_serializing_if = "not")]
    pub chained: bool,
    /// Pods that are to be restarted too and for which the plan had no room: they follow in the next plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub left: Vec<PodName>,
    /// The request that asked for it; absent: a threshold did. It is answered at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub request: Option<String>,
    /// The kernel kills the primary for a limit that cannot be raised: its role goes to a member whose limit is enough.
    #[serde(default, skip_serializing_if = "not")]
    pub leaves_sick: bool,
    /// How long writes stop by it; absent: they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_gap: Option<WriteGap>,
    /// Leading clients away from the old primary, when its eviction is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub led: Option<LedClients>,
    /// Who carries it out, set with every write; absent: begun by a version that had one install.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<JournalOwner>,
}

/// Clients of an old primary that is not restarted yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedClients {
    /// The process that was primary.
    #[serde(flatten)]
    pub identity: MemberIdentity,
    /// When the Services were first seen to lead to the new primary alone, and its eviction waited for.
    #[schemars(with = "String", length(max = 40))]
    pub since: Timestamp,
    /// The same by the clock of that process: its uptime in seconds. Clients are told apart by it, for the clocks of two
    /// nodes may differ; absent: written by an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub uptime_seconds: Option<i64>,
    /// How often closing its clients was intended.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000), extend("format" = "int32"))]
    pub attempt: u32,
}

/// The install that carries a remediation out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JournalOwner {
    /// Namespace and name of its Lease.
    #[schemars(length(max = 320))]
    pub install: String,
    /// UID of the policy: a journal that came with a restored backup names another one.
    #[schemars(length(max = 64))]
    pub policy_uid: String,
    /// Its heartbeat, written anew every ten seconds. Another install waits until it has stood still for a minute, by
    /// its own clock; the time itself is compared with nothing.
    #[schemars(with = "String", length(max = 40))]
    pub renewed_at: Timestamp,
}

/// Settings of the primary that were given to the candidate of a switchover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CarriedSettings {
    /// The candidate's process.
    #[serde(flatten)]
    pub identity: MemberIdentity,
    /// What was set.
    #[schemars(length(max = 16))]
    pub settings: Vec<CarriedSetting>,
    /// How often it was tried to set them.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000), extend("format" = "int32"))]
    pub attempt: u32,
    /// How often it was tried to take them back.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000), extend("format" = "int32"))]
    pub back_attempt: u32,
}

/// Settings of the primary for the time of an exchange under Sentinel
/// ([docs/adr/0019](../../docs/adr/0019-the-exchange-under-sentinel.md)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemporarySettings {
    /// The process that was primary. A Sentinel may have had it write them to its file: then another process of the same
    /// pod starts with them.
    #[serde(flatten)]
    pub identity: MemberIdentity,
    /// What is set meanwhile, in order.
    #[schemars(length(max = 16))]
    pub settings: Vec<CarriedSetting>,
    /// How often it was tried to set them back.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000), extend("format" = "int32"))]
    pub back_attempt: u32,
}

/// One setting that was given to a candidate, or for a time to a primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CarriedSetting {
    /// Its name, as `CONFIG SET` takes it.
    #[schemars(length(max = 64))]
    pub name: String,
    /// What it had.
    #[schemars(length(max = 256))]
    pub before: String,
    /// What it is set to.
    #[schemars(length(max = 256))]
    pub value: String,
}

/// A replication backlog that was raised for the time of the remediation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RaisedBacklog {
    /// The process whose backlog it is: another one starts with its own settings.
    #[serde(flatten)]
    pub identity: MemberIdentity,
    /// `repl-backlog-size` before, in bytes.
    #[schemars(range(min = 0))]
    pub before_bytes: i64,
    /// How often it was tried to set it back.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000), extend("format" = "int32"))]
    pub attempt: u32,
}

/// How far the step under way has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrentStep {
    /// When its effect was first intended, or its waiting began; absent while it waits at a gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 40))]
    pub begun_at: Option<Timestamp>,
    /// Since when it stands at a gate with nothing begun: an obstacle is waited for no longer than `stepTimeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 40))]
    pub waiting_since: Option<Timestamp>,
    /// How often the effect was intended.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000), extend("format" = "int32"))]
    pub attempt: u32,
    /// When its effect was last intended; absent in a journal of the first version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 40))]
    pub tried_at: Option<Timestamp>,
    /// How many of these attempts were answered by a failure (Switchover). The others were cut short: the operator died,
    /// or lost its Lease.
    #[serde(default, skip_serializing_if = "zero")]
    #[schemars(range(min = 0, max = 1000), extend("format" = "int32"))]
    pub failures: u32,
    /// Why the effect was last not carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub failure: Option<String>,
    /// The hand-over that a Switchover step is carrying out; the operator that takes over goes on from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switchover: Option<SwitchoverRecord>,
    /// Saves (or AOF rewrites) that the process had begun when this step first asked for one: more of them mean that it
    /// was heard (Persist).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub baseline: Option<i64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn not(said: &bool) -> bool {
    !*said
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn zero(number: &u32) -> bool {
    *number == 0
}

impl CurrentStep {
    /// The effect was not carried out: keeps why.
    pub fn failed(&mut self, why: &str) {
        let mut why = why.to_owned();
        why.truncate(why.floor_char_boundary(256));
        self.failure = Some(why);
    }
}

/// A hand-over as it was begun, written before its first effect: two processes, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SwitchoverRecord {
    /// How the role is handed over.
    pub method: SwitchoverMethod,
    /// Why this method, in one sentence.
    #[schemars(length(max = 256))]
    pub why: String,
    /// The primary that is demoted.
    pub primary: MemberIdentity,
    /// The replica that is promoted; absent: a Sentinel chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<MemberIdentity>,
    /// `master_replid` of both when it was begun: a demoted primary that still has it never followed a new one.
    #[schemars(length(max = 64))]
    pub replid: String,
    /// The addresses, `host:port`, by which the old primary may have been told to follow the candidate. A candidate whose
    /// pod is gone has none any more, and only an old primary that follows it may have its role back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), inner(length(max = 300)))]
    pub candidate_addresses: Vec<String>,
    /// When the roles were first seen exchanged; from then on another controller's label has its time to follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 40))]
    pub exchanged_at: Option<Timestamp>,
    /// The one compensating switch back: the label did not follow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub back: bool,
    /// An attempt has ended by its own word since this was written: the old primary is primary, and nothing that was sent
    /// can change that any more. Before that a switchover never ends with the old primary as primary.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settled: bool,
}

/// A member by pod, UID and process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberIdentity {
    /// Pod name.
    pub pod: PodName,
    /// Pod UID.
    pub uid: PodUid,
    /// Redis `run_id`.
    pub run_id: RunId,
}

/// A member as it was right before its own eviction (until then, when the remediation began), and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberRecord {
    /// Identity when the remediation began.
    #[serde(flatten)]
    pub identity: MemberIdentity,
    /// `used_memory` right before its eviction, in bytes.
    pub used_bytes: i64,
    /// `used_memory_rss` then, in bytes.
    pub rss_bytes: i64,
    /// What a restart was expected to give back, in bytes.
    pub expected_gain_bytes: i64,
    /// The memory limit that held then, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<i64>,
    /// Settings then, by the name that `CONFIG SET` takes.
    pub settings: Settings,
    /// `dir` then: it is compared with the replacement's, and cannot be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub dir: Option<String>,
    /// How its replacement started, as it was first seen; absent: not seen yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<StartRecord>,
    /// When a save or rewrite that was begun for its restart had finished well (a primary that nothing takes over from).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 40))]
    pub persisted_at: Option<Timestamp>,
    /// How often it was written out for its restart: what became old while the eviction was refused is written out once
    /// more and no third time.
    #[serde(default, skip_serializing_if = "zero")]
    #[schemars(range(min = 0, max = 1000), extend("format" = "int32"))]
    pub persisted_times: u32,
    /// How often it was made to follow the new primary again, because it followed another one after it had been
    /// repointed.
    #[serde(default, skip_serializing_if = "zero")]
    #[schemars(range(min = 0, max = 1000), extend("format" = "int32"))]
    pub repointed_again: u32,
    /// Keys right before its eviction (a primary that nothing takes over from).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub keys: Option<i64>,
    /// Keys then that have no time to live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub lasting_keys: Option<i64>,
    /// What the replacement was when it came back, before anything was done about it; absent: it is not back yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned_as: Option<StartRole>,
    /// When the replacement had caught up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 40))]
    pub caught_up_at: Option<Timestamp>,
    /// `used_memory_rss` that the proof measured, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_after_bytes: Option<i64>,
    /// `used_memory` that the proof measured, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_after_bytes: Option<i64>,
}

/// The role in which a pod starts: by its arguments, its start script or its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum StartRole {
    /// As a primary, also where another member is primary then.
    Primary,
    /// As a replica.
    Replica,
}

/// Run-time settings that an eviction may undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// `maxmemory` in bytes.
    pub maxmemory: i64,
    /// `maxmemory-policy`.
    #[schemars(length(max = 32))]
    pub maxmemory_policy: String,
    /// `appendonly`.
    pub appendonly: bool,
    /// `save`.
    #[schemars(length(max = 256))]
    pub save: String,
    /// `repl-backlog-size` in bytes.
    pub repl_backlog_size: i64,
    /// What clients rely on besides, by name, as `CONFIG GET` gives it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub others: Vec<OtherSetting>,
}

/// A run-time setting by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OtherSetting {
    /// Its name.
    #[schemars(length(max = 64))]
    pub name: String,
    /// Its value.
    #[schemars(length(max = 256))]
    pub value: String,
}

impl Journal {
    /// The step under way; `None` when all are done.
    pub fn planned(&self) -> Option<&PlannedStep> {
        self.left().first()
    }

    /// The step under way; `None` when all are done.
    pub fn step(&self) -> Option<&Step> {
        self.planned().map(|planned| &planned.step)
    }

    /// The steps behind the cursor, and those from the one under way on.
    fn split(&self) -> (&[PlannedStep], &[PlannedStep]) {
        self.steps.split_at(self.steps.len().min(usize::try_from(self.cursor).unwrap_or(usize::MAX)))
    }

    /// The steps that are done.
    pub fn done(&self) -> &[PlannedStep] {
        self.split().0
    }

    /// The steps from the one under way on.
    pub fn left(&self) -> &[PlannedStep] {
        self.split().1
    }

    /// A Sentinel gives the role to another member by its plan.
    pub fn by_sentinel(&self) -> bool {
        self.steps.iter().any(|planned| matches!(planned.step, Step::Switchover { to: None, .. }))
    }

    /// The record of the member of that name.
    pub fn member(&self, pod: &PodName) -> Option<&MemberRecord> {
        self.members.iter().find(|member| member.identity.pod == *pod)
    }

    /// Whether that pod is restarted as the primary that it is, without a hand-over: its data is written out before.
    pub fn in_place(&self, pod: &PodName) -> bool {
        self.steps.iter().any(|planned| matches!(&planned.step, Step::Persist { pod: p } if p == pod))
    }

    /// Whether the step under way hands the role back to the pod that starts with it: what sets it apart is that nobody
    /// is evicted afterwards, that nobody asked for a switchover, and that the primary is not killed.
    pub fn hands_back(&self) -> bool {
        if (self.request.is_some() || self.leaves_sick) && step::only_move_the_role(&self.steps) {
            return false;
        }
        step::hand_back(&self.steps).is_some_and(|(position, _)| position == self.done().len())
    }

    /// Whether the eviction of that pod lies behind the cursor.
    pub fn evicted(&self, pod: &PodName) -> bool {
        self.done().iter().any(|planned| matches!(&planned.step, Step::Evict { pod: p } if p == pod))
    }

    /// Whether the eviction of that pod is under way; or ahead, and this remediation has taken its role: what replaces it
    /// does our work then, and what it comes back as is still ours to see to.
    pub fn evicting(&self, pod: &PodName) -> bool {
        let evicts = |step: &Step| matches!(step, Step::Evict { pod: next } if next == pod);
        let under_way = self.current.begun_at.is_some() && self.step().is_some_and(evicts);
        under_way || (self.gave_the_role(pod) && self.left().iter().any(|planned| evicts(&planned.step)))
    }

    /// Whether this remediation has taken the primary role from that pod.
    pub fn gave_the_role(&self, pod: &PodName) -> bool {
        self.done().iter().any(|planned| matches!(&planned.step, Step::Switchover { from, .. } if from == pod))
    }
}
