//! What lies around a policy and bears on its restarts: what people said, what runs elsewhere in the cluster, and how
//! much of it answers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    bytes::Bytes,
    names::{ControllerUid, PodName, PodUid},
    oom::PodKills,
    request::Request,
    shard::ShardId,
};

/// What lies around a policy at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Surroundings {
    /// People have stopped the whole operator: by what, for a text.
    pub stopped: Option<String>,
    /// The plan hash that the policy's annotation approves.
    pub approved: Option<String>,
    /// The primary that the policy's annotation accepts after there were several.
    pub accepted: Option<String>,
    /// The value of the policy's annotation that holds all of its sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// What a person asks for by hand, if that is not answered yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// Remediations of other policies that are under way.
    pub elsewhere: Vec<Elsewhere>,
    /// Remediations that may be under way at once (`--maximum-remediations`).
    pub maximum_remediations: u32,
    /// Pods that were restarted within the last hour, over all policies, by our record.
    pub restarts_last_hour: u32,
    /// Their bound (`--maximum-restarts-per-hour`); `None`: no bound.
    pub maximum_restarts_per_hour: Option<u32>,
    /// How many Redis servers answer.
    pub reach: Reach,
    /// Shards of which something is stored: the pods of their controllers hold one data set, also while no server shows
    /// it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stored: Vec<ShardId>,
    /// Kills by the kernel that are remembered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kills: Vec<PodKills>,
    /// Up to when a person has taken note of kills: the value of the policy's annotation
    /// [`ACKNOWLEDGED_ANNOTATION`](super::oom::ACKNOWLEDGED_ANNOTATION).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<String>,
    /// What somebody else has set back so often that it is left alone for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_alone: Vec<LeftAlone>,
    /// Pods of which the API server last refused, within the hour, to raise the limit: a quota, a LimitRange or a webhook.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_limits: Vec<RefusedLimit>,
    /// Pods whose limit was asked for and is not written to the cgroup yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unwritten: Vec<UnwrittenLimit>,
}

/// A policy's claim on pods, for finding out which of several policies acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Name of the other policy.
    pub policy: String,
    /// UIDs of controllers of which it matches a pod, and which it acts for because it is older.
    pub controllers: Vec<ControllerUid>,
}

/// What this operator keeps right on pods, and others may set as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kept {
    /// The role label.
    RoleLabel,
    /// The memory limit of the Redis container.
    Limit,
    /// `maxmemory` of its server.
    Maxmemory,
}

/// Something of one pod that was set again and again in vain, and is left alone until a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeftAlone {
    /// The pod.
    pub pod: PodName,
    /// Its UID: a new pod is another object.
    pub uid: PodUid,
    /// What of it.
    pub kept: Kept,
    /// The value that was set; another one is tried again.
    pub value: String,
    /// How often it was set within ten minutes.
    pub times: u32,
    /// What became of it.
    pub undone: Undone,
    /// It is tried once more from then on.
    pub until: Timestamp,
}

/// A limit that the API server refused to raise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenRefusal", rename_all = "camelCase")]
pub struct RefusedLimit {
    /// UID of the pod.
    pub uid: PodUid,
    /// What the API server said, cut; empty: not kept.
    pub text: String,
}

/// A limit that a pod was given and that the kubelet has not written to its cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnwrittenLimit {
    /// UID of the pod.
    pub uid: PodUid,
    /// When this process first saw it so.
    pub since: Timestamp,
}

/// A snapshot file of a version that kept the UID alone can be read.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenRefusal {
    Uid(PodUid),
    Whole { uid: PodUid, text: String },
}

impl From<WrittenRefusal> for RefusedLimit {
    fn from(written: WrittenRefusal) -> Self {
        match written {
            WrittenRefusal::Uid(uid) => Self { uid, text: String::new() },
            WrittenRefusal::Whole { uid, text } => Self { uid, text },
        }
    }
}

/// What became of a value that was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Undone {
    /// Somebody set it back: the field manager, where one is known.
    By(Option<String>),
    /// The API server refused it, with this text.
    Refused(String),
    /// We took it back: the server answered its clients late while it evicted down to it. The text says how late.
    Stopped(String),
}

/// A remediation of another policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Elsewhere {
    /// The policy as "namespace/name".
    pub policy: String,
    /// What it restarts.
    #[serde(rename = "workload")]
    pub shard: ShardId,
}

/// How many Redis servers of all policies answer. Only sets count of which a server has answered as Redis: a pod that was
/// never one, under labels that it shares with a set, says nothing about the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reach {
    /// Servers that have been probed.
    pub endpoints: usize,
    /// Those that could not be reached, or did not answer in time.
    pub unreachable: usize,
    /// The sets that these are of, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<LostSet>,
}

/// A set of servers some of which do not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LostSet {
    /// The set as "namespace/name".
    pub name: String,
    /// UID of its controller; empty: a pod without one.
    #[serde(rename = "workload")]
    pub set: ControllerUid,
    /// Its servers that do not answer.
    pub unreachable: usize,
}

impl Surroundings {
    /// Whether that value of that pod is left alone.
    pub fn leaves_alone(&self, uid: &PodUid, kept: Kept, value: &str) -> bool {
        self.left_alone.iter().any(|left| left.uid == *uid && left.kept == kept && left.value == value)
    }

    /// Whether that pod evicts nothing more by us for a while, because it answered late when it did.
    pub fn stopped_eviction(&self, uid: &PodUid) -> Option<&LeftAlone> {
        let stopped = |left: &&LeftAlone| left.kept == Kept::Maxmemory && matches!(left.undone, Undone::Stopped(_));
        self.left_alone.iter().filter(stopped).find(|left| left.uid == *uid)
    }

    /// What is left alone of that pod's limit, where so much is wanted. `wavers`: what is wanted is measured; then it is left
    /// alone whatever it is by now, because each new value would begin the fight anew.
    pub fn limit_left_alone(&self, uid: &PodUid, limit: Bytes, wavers: bool) -> Option<&LeftAlone> {
        let value = limit.to_string();
        let of_limit = |left: &&LeftAlone| left.uid == *uid && left.kept == Kept::Limit;
        self.left_alone.iter().filter(of_limit).find(|left| wavers || left.value == value)
    }

    /// What the API server said when it last refused to raise that pod's limit.
    pub fn refused_limit(&self, uid: &PodUid) -> Option<&str> {
        self.refused_limits.iter().find(|refused| refused.uid == *uid).map(|refused| refused.text.as_str())
    }

    /// Since when that pod's limit is asked for and not written; `None`: it is written, or nobody looked before.
    pub fn unwritten_since(&self, uid: &PodUid) -> Option<Timestamp> {
        self.unwritten.iter().find(|unwritten| unwritten.uid == *uid).map(|unwritten| unwritten.since)
    }

    /// Nothing around bears on the policy: a snapshot file leaves it out.
    pub fn are_quiet(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Surroundings {
    /// Nothing else runs, nobody has said anything, one remediation at once.
    fn default() -> Self {
        Self {
            stopped: None,
            approved: None,
            accepted: None,
            hold: None,
            request: None,
            elsewhere: Vec::new(),
            maximum_remediations: 1,
            restarts_last_hour: 0,
            maximum_restarts_per_hour: None,
            reach: Reach::default(),
            stored: Vec::new(),
            kills: Vec::new(),
            acknowledged: None,
            left_alone: Vec::new(),
            refused_limits: Vec::new(),
            unwritten: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_an_earlier_version_is_read() {
        let read = |text: &str| serde_json::from_str::<RefusedLimit>(text).unwrap();
        assert_eq!(read("\"u-1\""), RefusedLimit { uid: "u-1".into(), text: String::new() });
        let whole = RefusedLimit { uid: "u-1".into(), text: "exceeded quota".to_owned() };
        assert_eq!(read(&serde_json::to_string(&whole).unwrap()), whole);
    }
}
