//! What two primaries leave behind: who they were, so that the only primary of afterwards can be told apart
//! from the one that holds what clients were told is stored.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{journal::MemberIdentity, snapshot::Target};

/// Several members of one set were primaries at the same time. It stands until the recorded one is the only primary
/// again, or a person has said who is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeveralPrimaries {
    /// When they were first seen.
    #[schemars(with = "String", length(max = 40))]
    pub seen_at: Timestamp,
    /// The one that clients were led to, or that the set followed; absent: it could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Claimant>,
    /// The others.
    #[schemars(length(max = 8))]
    pub others: Vec<Claimant>,
}

/// A member that said that it was primary, with the history that it then had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Claimant {
    /// Who it was.
    #[serde(flatten)]
    pub identity: MemberIdentity,
    /// `master_replid`.
    #[schemars(length(max = 64))]
    pub replid: String,
    /// `master_repl_offset`.
    #[schemars(range(min = 0))]
    pub offset: i64,
    /// Keys in all databases.
    #[schemars(range(min = 0))]
    pub keys: i64,
}

impl SeveralPrimaries {
    /// At most this many others are recorded.
    pub const MAX_OTHERS: usize = 8;

    /// Whether what that primary holds is the recorded history: it is the recorded process, or it was promoted from a
    /// replica of it after the mark was made.
    ///
    /// `second_repl_offset` is one more than the last offset that both histories share (`replication.c:
    /// shiftReplicationId`). One that left the recorded history before the mark was made lacks what was written since:
    /// the other claimants, whatever process of theirs it is, and one that shares less than was there then.
    pub fn continued_by(&self, target: &Target) -> bool {
        let (Some(recorded), Some(sample)) = (&self.recorded, target.sample()) else { return false };
        if recorded.identity.uid == sample.pod_uid && recorded.identity.run_id == sample.run_id {
            return true;
        }
        let replid = &sample.replication.replid;
        let claimed = self.others.iter().any(|it| it.identity.pod == target.pod.name || it.replid == *replid);
        let shares = |end: u64| i64::try_from(end).is_ok_and(|end| end > recorded.offset);
        let previous = sample.replication.previous.as_ref();
        !claimed && previous.is_some_and(|it| it.replid == recorded.replid && shares(it.end))
    }

    /// "redis-1 (5000 keys, offset 1234, history 59a51ffd; clients were led to it), redis-0 (…)".
    pub fn who_is_who(&self) -> String {
        let recorded = self.recorded.iter().map(|it| it.text("; the one that clients were led to"));
        recorded.chain(self.others.iter().map(|it| it.text(""))).collect::<Vec<_>>().join(", ")
    }
}

impl Claimant {
    fn text(&self, more: &str) -> String {
        let history: String = self.replid.chars().take(8).collect();
        format!("{} ({} keys, offset {}, history {history}{more})", self.identity.pod, self.keys, self.offset)
    }
}
