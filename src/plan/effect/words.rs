//! What an effect is called: in events, in metrics, and in sentences. One row for each.

use std::fmt;

use super::Effect;
use crate::domain::names::PodName;

/// The words of one effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words<'a> {
    /// Reason of the event that says that it was carried out.
    pub event: &'static str,
    /// Action of that event, and the metrics' name of it.
    pub action: &'static str,
    /// The pod that it is about.
    pub pod: &'a PodName,
}

impl Effect {
    /// What it is called in events and metrics.
    pub fn words(&self) -> Words<'_> {
        let (event, action, pod) = match self {
            Self::Evict { peer } => ("PodEvicted", "Evict", &peer.pod),
            Self::EvictPrimary { peer } => ("PrimaryEvicted", "Evict", &peer.pod),
            Self::Persist { peer, .. } => ("PersistenceStarted", "Persist", &peer.pod),
            Self::SetBacklog { peer, back: false, .. } => ("BacklogRaised", "RaiseBacklog", &peer.pod),
            Self::SetBacklog { peer, back: true, .. } => ("BacklogSetBack", "RaiseBacklog", &peer.pod),
            Self::Resize { pod, .. } => ("PodResized", "Resize", pod),
            Self::Label { pod, .. } => ("RoleLabelSet", "Label", pod),
            Self::Restore { peer, .. } => ("SettingsRestored", "RestoreSettings", &peer.pod),
            Self::Carry { peer, back: false, .. } => ("SettingsCarriedOver", "Switchover", &peer.pod),
            Self::Carry { peer, back: true, .. } => ("SettingsTakenBack", "Switchover", &peer.pod),
            Self::Repoint { peer, .. } => ("ReplicaRepointed", "Repoint", &peer.pod),
            Self::Demote { peer, .. } => ("OldPrimaryDemoted", "Demote", &peer.pod),
            Self::CloseClients { peer, .. } => ("ClientsClosed", "LeadClients", &peer.pod),
            Self::Switchover(order) => ("SwitchoverCompleted", "Switchover", &order.from.pod),
        };
        Words { event, action, pod }
    }
}

/// As the end of "it would …".
impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |settings: &[(String, String)]| {
            settings.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::Evict { peer } => write!(f, "evict {}", peer.pod),
            Self::EvictPrimary { peer } => write!(f, "evict {}, a primary that nothing takes over from", peer.pod),
            Self::Persist { peer, rewrite: true } => write!(f, "have {} rewrite its append-only file", peer.pod),
            Self::Persist { peer, rewrite: false } => write!(f, "have {} save its data", peer.pod),
            Self::SetBacklog { peer, size, .. } => write!(f, "set the replication backlog of {} to {size}", peer.pod),
            Self::Resize { pod, limit, .. } => write!(f, "raise the memory limit of {pod} to {limit}"),
            Self::Label { pod, key, value, .. } => write!(f, "label {pod} {key}={value}"),
            Self::Restore { peer, settings } => write!(f, "restore {} on {}", names(settings), peer.pod),
            Self::Carry { peer, settings, back } => {
                let why = if *back { "as it was before" } else { "as on the primary" };
                write!(f, "set {} on {} {why}", names(settings), peer.pod)
            }
            Self::Demote { peer, to, .. } => write!(f, "make {}, a second primary, follow {}", peer.pod, to.pod),
            Self::Repoint { peer, to, .. } => write!(f, "make {} follow {}", peer.pod, to.pod),
            Self::CloseClients { peer, .. } => write!(f, "close ordinary connections that still stand on {}", peer.pod),
            Self::Switchover(order) => write!(f, "hand the primary role from {} to {}", order.from.pod, order.to.pod),
        }
    }
}
