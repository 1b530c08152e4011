//! The nodes on which selected pods run: what each gives to pods, and what Redis may take of that.

use serde::{Deserialize, Serialize};

use super::{bytes::Bytes, names::NodeName, snapshot::Target};

/// A node on which selected pods run. Looked at only where the operator may read nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// `status.allocatable.memory`: what it gives to all of its pods. `None`: it was not read yet, could not be, or does not
    /// say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocatable: Option<Bytes>,
    /// What other policies select on it.
    #[serde(default, skip_serializing_if = "Others::are_none")]
    pub others: Others,
}

/// The pods on a node that other policies of this install select and the policy at hand does not. Each is counted once;
/// they are in any namespace, so that nothing of them is known here but numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Others {
    /// How many there are.
    pub pods: usize,
    /// What they may take together, see [`may_take`].
    pub take: Bytes,
    /// Not every policy has been looked at yet: there may be more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
}

impl Others {
    /// There is none, and it is known that there is none.
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What the Redis of that pod may take of its node: its limit. Without one its `maxmemory`, or what it holds where that is
/// more: it may take more still, but a node is not called too full for what nobody has bounded (LimitMissing says that).
/// `None`: neither is known.
pub fn may_take(target: &Target) -> Option<Bytes> {
    let container = target.pod.container.as_ref().ok()?;
    container.limit().or_else(|| {
        let memory = &target.sample()?.memory;
        Some(memory.maxmemory.max(memory.rss.quantised()))
    })
}

/// Whether that pod counts by its limit.
pub fn is_limited(target: &Target) -> bool {
    target.pod.limit().is_some()
}
