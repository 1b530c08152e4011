//! What lies behind the claims of selected pods: how much it holds, and whether a replacement can get to it.

use serde::{Deserialize, Serialize};

use super::bytes::Bytes;

/// What was read of the claims. Looked at only where a primary is to be restarted in place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Volumes {
    /// Not looked at.
    #[default]
    Unread,
    /// The API server says that the operator may not.
    Denied,
    /// The question failed; the text says why.
    Unreadable(String),
    /// The claims that exist.
    Known(Vec<ClaimVolume>),
}

impl Volumes {
    /// Not looked at.
    pub const fn are_unread(&self) -> bool {
        matches!(self, Self::Unread)
    }
}

/// A PersistentVolumeClaim, and where its volume can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimVolume {
    /// Name of the claim.
    pub claim: String,
    /// `status.capacity.storage`; `None`: not said, or not readable.
    pub capacity: Option<Bytes>,
    /// The volume can be used on some nodes only (`spec.nodeAffinity`: a local volume, a zone).
    pub tied: bool,
    /// A node where it can be used and that takes pods.
    pub open: Option<String>,
    /// Nodes where it can be used and that take none: the first few by name.
    pub closed: Vec<ClosedNode>,
}

/// A node that takes no pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClosedNode {
    /// Name.
    pub name: String,
    /// Why.
    pub why: Closed,
}

/// Why a node takes no pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Closed {
    /// `spec.unschedulable`.
    Cordoned,
    /// Its Ready condition is not True.
    NotReady,
}

impl Closed {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cordoned => "cordoned",
            Self::NotReady => "not Ready",
        }
    }
}
