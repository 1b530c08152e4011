//! `status`: what the operator says. Two field managers write it, each its whole set.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::domain::{
    journal::{Journal, WorkloadRecord},
    oom::PodKills,
    request::AnsweredRequest,
    shard::ShardId,
    step::PlannedStep,
    write_gap::WriteGap,
};

/// What was seen, judged, planned and done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisMemoryPolicyStatus {
    /// Whether a person has to act, in one word and one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictStatus>,
    /// The generation of the spec that was last evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled, HeadroomSufficient, FragmentationWithinBounds, ConfigurationSafe,
    /// Remediating, RemediationBlocked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// The install that wrote this: namespace and name of its Lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub operator: Option<String>,
    /// Counts and worst numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// The worst findings, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub findings: Vec<FindingStatus>,
    /// Kills by the kernel for want of memory that nobody has taken note of (annotation redismemory.io/acknowledged), the
    /// last ones first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["pod"]))]
    pub oom_kills: Vec<PodKills>,
    /// What keeps a remediation from its next step, the first first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub refusals: Vec<RefusalStatus>,
    /// What would be done, or is being done. In Observe this is the dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,
    /// What is remembered of each workload. Written by the journal's field manager.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["uid"]))]
    pub workloads: Vec<WorkloadRecord>,
    /// The last request by hand (annotation redismemory.io/request) that was answered. Written by the journal's field manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<AnsweredRequest>,
    /// The remediation under way. Written by the journal's field manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<Journal>,
    /// The spec with which the remediation under way was begun, as JSON: it goes on under it should the spec become
    /// invalid. Written by the journal's field manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub frozen_spec: Option<String>,
}

impl RedisMemoryPolicyStatus {
    /// The shards of which something is stored.
    pub fn shards(&self) -> Vec<ShardId> {
        let under_way = self.journal.iter().map(|journal| &journal.shard);
        under_way.chain(self.workloads.iter().map(|record| &record.shard)).cloned().collect()
    }
}

/// Whether a person has to act: what there is to know first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerdictStatus {
    /// ActNow: data, writes or a server are lost or soon will be, and the operator does not end it by itself. Plan:
    /// something is to be done, by the operator or by a person, and it can wait for the day. Fine: everything was judged,
    /// and nothing is worse than Info. Unknown: it could not be judged.
    #[schemars(extend("enum" = ["ActNow", "Plan", "Fine", "Unknown"]))]
    pub level: String,
    /// What rules: the code of a finding, the reason of a refusal, or Remediating, PodsMissing, ScaledToZero, NotJudgedYet, Healthy.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Since when that rules.
    #[schemars(with = "String", length(max = 40))]
    pub since: Timestamp,
    /// What is the matter, in a few words for a column.
    #[schemars(length(max = 64))]
    pub brief: String,
    /// What is the matter, what is at stake, who is primary, what the operator does next, and what the reader does.
    #[schemars(length(max = 4096))]
    pub sentence: String,
    /// The least memory that any pod has between its resident memory and its limit; absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub free: Option<String>,
    /// The pod that has it; of several that have about as little, the one that was shown first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub free_pod: Option<String>,
}

/// Counts and worst numbers, quantised so that noise writes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Selected pods.
    #[schemars(range(min = 0), extend("format" = "int32"))]
    pub targets: i32,
    /// Targets whose Redis answers.
    #[schemars(range(min = 0), extend("format" = "int32"))]
    pub reachable: i32,
    /// Targets that are judged for everything and have no Critical or Warning finding.
    #[schemars(range(min = 0), extend("format" = "int32"))]
    pub compliant: i32,
    /// Highest fragmentation ratio, for example "2.5"; absent when nothing was sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub worst_fragmentation: Option<String>,
    /// rss - used over all targets, for example "120 MiB".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub waste: Option<String>,
    /// The controllers whose pods are selected, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub sets: Vec<SetSummary>,
    /// What was last done, for people and the printer column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub last_action: Option<String>,
}

/// A controller whose pods are selected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SetSummary {
    /// Name of the StatefulSet or Deployment, or of what else owns the pods.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its selected pods; of one that has none any more, zero.
    #[schemars(range(min = 0), extend("format" = "int32"))]
    pub pods: i32,
    /// Which of them was last seen as a primary; absent: none of them yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub last_primary: Option<String>,
    /// Since when it has no pod any more; a day later it is forgotten, or at once when the spec changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 40))]
    pub gone_since: Option<Timestamp>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingStatus {
    /// What was found.
    #[schemars(length(max = 64))]
    pub code: String,
    /// Info, Warning or Critical: how bad it can get. How soon somebody has to act is the level of the verdict.
    #[schemars(length(max = 16))]
    pub severity: String,
    /// The pod, unless it is about the whole policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub pod: Option<String>,
    /// UID of that pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub pod_uid: Option<String>,
    /// All pods of which it is found, where they are several: `pod` is the first, and the numbers are its.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    pub pods: Vec<String>,
    /// When it was first found; absent: written by an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 40))]
    pub since: Option<Timestamp>,
    /// Found earlier and not judged again since: it stays until it is judged, and nothing is done because of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// The numbers that show it.
    #[schemars(length(max = 512))]
    pub evidence: String,
    /// What can be done.
    #[schemars(length(max = 1024))]
    pub remedy: String,
    /// What a person does when that is done, or for good when it suits; absent: nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub remedy_afterwards: String,
}

/// A plan as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// The StatefulSet.
    #[schemars(length(max = 253))]
    pub workload: String,
    /// Names the plan.
    #[schemars(length(max = 64))]
    pub hash: String,
    /// The steps, in order.
    #[schemars(length(max = 64))]
    pub steps: Vec<PlannedStep>,
    /// How long writes stop by it; absent: they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_gap: Option<WriteGap>,
    /// What it means for each member of the set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub members: Vec<PlanMember>,
}

/// A member of the set that a plan is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanMember {
    /// The pod.
    #[schemars(length(max = 253))]
    pub pod: String,
    /// What it is: primary, replica or unknown.
    #[schemars(length(max = 16))]
    pub role: String,
    /// Whether the plan restarts it.
    pub restarted: bool,
    /// Why it is restarted, or why it is not.
    #[schemars(length(max = 512))]
    pub why: String,
}

/// What keeps a remediation from its next step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusalStatus {
    /// The stable reason; docs/blocked-reasons.md has a section for each.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Since when it has been in the way.
    #[schemars(with = "String", length(max = 40))]
    pub since: Timestamp,
    /// What is in the way, with numbers.
    #[schemars(length(max = 1024))]
    pub text: String,
    /// What lifts it, and who does that.
    #[schemars(length(max = 256))]
    pub lifted_by: String,
}

/// Kubernetes' own condition, with a limit on every text.
fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": {"type": "string", "maxLength": 64, "description": "What is said, for example Ready."},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds."},
                "reason": {"type": "string", "minLength": 1, "maxLength": 128, "description": "Why, in one stable word."},
                "message": {"type": "string", "maxLength": 2048, "description": "Why, for people."},
                "lastTransitionTime": {"type": "string", "format": "date-time", "description": "When the status last changed."},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0, "description": "The generation of the spec that this is about."},
            },
        },
    })
}
