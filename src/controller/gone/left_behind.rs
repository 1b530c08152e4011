//! A `maxmemory` that the operator set: it stays when the policy is deleted, for taking it away would leave nothing that bounds
//! the data. What is said of it, and where.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::ResourceExt as _;

use crate::{
    controller::registry::Guarded,
    domain::{
        bytes::Bytes,
        event::{EventNote, EventType},
        journal::{MemberIdentity, OwnMaxmemory, WorkloadRecord},
        names::ControllerUid,
    },
    kube_io::event::EventTarget,
};

/// What a policy has left on the servers of one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftBehind {
    pub(crate) namespace: String,
    pub(crate) policy: String,
    set: String,
    /// `None`: several controllers made the pods, or none.
    set_uid: Option<ControllerUid>,
    value: Bytes,
    /// What people had set; zero: nothing.
    before: Bytes,
    /// At least one.
    members: Vec<MemberIdentity>,
}

/// What that policy would leave behind, by its records: of each set that has a value of ours.
pub(crate) fn of(stored: &Guarded) -> Vec<LeftBehind> {
    let records = stored.policy().and_then(|policy| policy.status.as_ref()).map(|status| status.workloads.as_slice());
    let left = |record: &WorkloadRecord| {
        let own = record.maxmemory.as_deref()?;
        let (value, before) = (amount(own.held), amount(own.before));
        // Nothing was seen to have it, or what it was lowered by has been given back.
        if value == Bytes::ZERO || value == before || own.members.is_empty() {
            return None;
        }
        Some(LeftBehind {
            namespace: stored.namespace().unwrap_or_default(),
            policy: stored.name_any(),
            set: record.name.clone(),
            set_uid: record.shard.sets.first().filter(|_| record.shard.sets.len() == 1).cloned(),
            value,
            before,
            members: members(own),
        })
    };
    records.into_iter().flatten().filter_map(left).collect()
}

/// One that was edited by hand may say anything.
fn amount(stored: i64) -> Bytes {
    Bytes(u64::try_from(stored).unwrap_or(0))
}

fn members(own: &OwnMaxmemory) -> Vec<MemberIdentity> {
    let mut members = own.members.clone();
    members.sort_by(|a, b| a.pod.cmp(&b.pod));
    members.dedup_by(|a, b| a.pod == b.pod);
    members
}

impl LeftBehind {
    /// What outlives the policy: the StatefulSet, where the pods are named as one names them, else the first of the pods.
    pub(crate) fn about(&self) -> EventTarget {
        let of_set = |who: &MemberIdentity| {
            let ordinal = who.pod.as_str().strip_prefix(&self.set).and_then(|rest| rest.strip_prefix('-'));
            ordinal.is_some_and(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let set = self.set_uid.as_ref().filter(|_| self.members.iter().all(of_set));
        let pod = self.members.first();
        let (version, kind, name, uid) = match (set, pod) {
            (None, Some(who)) => ("v1", "Pod", who.pod.as_str(), who.uid.as_str()),
            (uid, _) => {
                ("apps/v1", "StatefulSet", self.set.as_str(), uid.map(ControllerUid::as_str).unwrap_or_default())
            }
        };
        EventTarget::object(ObjectReference {
            api_version: Some(version.to_owned()),
            kind: Some(kind.to_owned()),
            namespace: Some(self.namespace.clone()),
            name: Some(name.to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        })
    }

    /// What stays, and what it means.
    pub(crate) fn note(&self) -> EventNote {
        let before = match self.before {
            Bytes::ZERO => "there was none before".to_owned(),
            before => format!("it was {before} before"),
        };
        let pods: Vec<&str> = self.members.iter().map(|who| who.pod.as_str()).collect();
        EventNote {
            type_: EventType::Warning,
            reason: "MaxmemoryStays".to_owned(),
            action: "DeletePolicy".to_owned(),
            note: format!(
                "RedisMemoryPolicy {} is deleted, and maxmemory stays {} as the operator set it ({before}). After a restart nobody \
                 sets it again: write it into what the pods start with, or set another by CONFIG SET maxmemory. It is on {}",
                self.policy,
                self.value,
                pods.join(", ")
            ),
        }
    }
}

#[cfg(test)]
mod tests;
