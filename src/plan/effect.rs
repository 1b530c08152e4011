//! One concrete change of the world, with everything that must still be true when it is made; and what it is called in
//! events, in metrics, and in sentences.

mod peer;

use std::{fmt, time::Duration};

pub use self::peer::{MemberName, Peer, SentinelPeer};
use crate::domain::{
    acl::PlainCommand,
    bytes::Bytes,
    names::{NodeAddress, PodName, PodUid},
    policy::RoleLabel,
    snapshot::Target,
    switchover::SwitchoverMethod,
};

/// One concrete change, resolved from a [`Step`](crate::domain::step::Step) or from upkeep against a live snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Evict a pod; preconditions: its UID, and that its Redis is still that process and still a replica.
    Evict {
        /// The Redis in the pod.
        peer: Peer,
    },
    /// Evict a primary that nothing takes over from; preconditions: its UID, and that its Redis is still that process,
    /// still primary, and writes its data out without failures.
    EvictPrimary {
        /// The Redis in the pod.
        peer: Peer,
    },
    /// Send a command that takes no arguments of ours; precondition: the `run_id`.
    Send {
        /// The Redis.
        peer: Peer,
        /// What it is told.
        command: PlainCommand,
    },
    /// Set `repl-backlog-size`; precondition: the `run_id`.
    SetBacklog {
        /// The Redis.
        peer: Peer,
        /// The new size.
        size: Bytes,
        /// It is what it was before the remediation.
        back: bool,
    },
    /// Set a container's memory limit in place; preconditions: UID and resourceVersion.
    Resize {
        /// The pod.
        pod: PodName,
        /// The pod that is meant.
        uid: PodUid,
        /// The version that was judged.
        resource_version: String,
        /// The container.
        container: String,
        /// The new limit.
        limit: Bytes,
        /// The new request, where it is raised too: the QoS class of the pod may not change.
        request: Option<Bytes>,
    },
    /// Set `maxmemory`; preconditions: the `run_id`, and that `maxmemory` and what is used still are as judged.
    SetMaxmemory {
        /// The Redis.
        peer: Peer,
        /// The new value.
        value: Bytes,
        /// What it is now.
        before: Bytes,
        /// No more than this may be used when it is set.
        most_used: Bytes,
    },
    /// Set the role label; preconditions: UID and resourceVersion.
    Label {
        /// The pod.
        pod: PodName,
        /// The pod that is meant.
        uid: PodUid,
        /// The version that was judged.
        resource_version: String,
        /// Label key.
        key: String,
        /// Label value.
        value: String,
    },
    /// Apply run-time settings; precondition: the `run_id`.
    Restore {
        /// The Redis.
        peer: Peer,
        /// Name and value, as `CONFIG SET` takes them, in order.
        settings: Vec<(String, String)>,
    },
    /// Give the candidate of a switchover what clients rely on at the primary, or take it back; precondition: the `run_id`.
    Carry {
        /// The candidate.
        peer: Peer,
        /// Name and value, as `CONFIG SET` takes them.
        settings: Vec<(String, String)>,
        /// They are what they were before.
        back: bool,
    },
    /// Make a replica follow another primary; precondition: its `run_id`.
    Repoint {
        /// The replica.
        peer: Peer,
        /// The name to use if it resolves to `to`'s pod: the form that the replica used before.
        by_name: Option<MemberName>,
        /// The new primary.
        to: Peer,
    },
    /// Make an old primary that came back as a primary a replica of the new one; preconditions, read right before:
    /// both `run_id`s, that both are primaries, and that the new one holds keys.
    Demote {
        /// The old primary's replacement.
        peer: Peer,
        /// The name to use if it resolves to `to`'s pod: the form that the other replicas use.
        by_name: Option<MemberName>,
        /// The new primary.
        to: Peer,
    },
    /// Close ordinary connections that still stand on an old primary; preconditions: its `run_id`, and that it is no primary.
    CloseClients {
        /// The old primary.
        peer: Peer,
        /// Who is primary now.
        primary: PodName,
        /// For how long the Services have led to that one alone.
        standing: Duration,
    },
    /// Hand the primary role over, label moves included.
    Switchover(Box<SwitchoverOrder>),
    /// Have a Sentinel give the primary role to a replica of its choice.
    Failover(Box<FailoverOrder>),
    /// Set what held only for the time of such an exchange back to what it was; precondition: the `run_id`.
    SetBack {
        /// The process that was primary, or the one that started with what it wrote to its file.
        peer: Peer,
        /// Name and value, as `CONFIG SET` takes them.
        settings: Vec<(String, String)>,
    },
    /// Make a Sentinel forget the servers that are gone (`SENTINEL RESET`): what is there it finds again. Preconditions, read right
    /// before: it names that primary, and carries no failover out.
    Forget {
        /// The Sentinel.
        sentinel: SentinelPeer,
        /// The name by which it knows the set.
        set: String,
        /// Where it says that the primary is.
        primary: NodeAddress,
    },
}

impl Effect {
    /// Give a pod that value of the role label.
    pub fn label(target: &Target, label: &RoleLabel, value: String) -> Self {
        Self::Label {
            pod: target.pod.name.clone(),
            uid: target.pod.uid.clone(),
            resource_version: target.pod.resource_version.clone(),
            key: label.key.clone(),
            value,
        }
    }
}

/// Every action of [`Effect::words`]: the metrics of each begin at zero.
pub fn actions() -> Vec<&'static str> {
    let mut actions = ACTIONS.to_vec();
    actions.extend(PlainCommand::ALL.iter().map(|command| command.words().action));
    actions.sort_unstable();
    actions.dedup();
    actions
}

/// Those of effects that are more than to send a command.
const ACTIONS: [&str; 11] = [
    "Evict",
    "RaiseBacklog",
    "Resize",
    "SetMaxmemory",
    "Label",
    "RestoreSettings",
    "Switchover",
    "Repoint",
    "Demote",
    "LeadClients",
    "Forget",
];

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
            Self::Send { peer, command } => (command.words().event, command.words().action, &peer.pod),
            Self::SetBacklog { peer, back: false, .. } => ("BacklogRaised", "RaiseBacklog", &peer.pod),
            Self::SetBacklog { peer, back: true, .. } => ("BacklogSetBack", "RaiseBacklog", &peer.pod),
            Self::Resize { pod, .. } => ("PodResized", "Resize", pod),
            Self::SetMaxmemory { peer, .. } => ("MaxmemorySet", "SetMaxmemory", &peer.pod),
            Self::Label { pod, .. } => ("RoleLabelSet", "Label", pod),
            Self::Restore { peer, .. } => ("SettingsRestored", "RestoreSettings", &peer.pod),
            Self::Carry { peer, back: false, .. } => ("SettingsCarriedOver", "Switchover", &peer.pod),
            Self::Carry { peer, back: true, .. } | Self::SetBack { peer, .. } => {
                ("SettingsTakenBack", "Switchover", &peer.pod)
            }
            Self::Repoint { peer, .. } => ("ReplicaRepointed", "Repoint", &peer.pod),
            Self::Demote { peer, .. } => ("OldPrimaryDemoted", "Demote", &peer.pod),
            Self::CloseClients { peer, .. } => ("ClientsClosed", "LeadClients", &peer.pod),
            Self::Switchover(order) => ("SwitchoverCompleted", "Switchover", &order.from.pod),
            Self::Failover(order) => ("SwitchoverCompleted", "Switchover", &order.from.pod),
            Self::Forget { sentinel, .. } => ("SentinelForgot", "Forget", &sentinel.pod),
        };
        debug_assert!(actions().contains(&action), "{action} does not begin at zero");
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
            Self::Send { peer, command } => write!(f, "have {} {}", peer.pod, command.words().task),
            Self::SetBacklog { peer, size, .. } => write!(f, "set the replication backlog of {} to {size}", peer.pod),
            Self::Resize { pod, limit, request: None, .. } => write!(f, "raise the memory limit of {pod} to {limit}"),
            Self::Resize { pod, limit, request: Some(request), .. } => {
                write!(f, "raise the memory limit of {pod} to {limit}, and its request to {request}")
            }
            Self::SetMaxmemory { peer, value, .. } => write!(f, "set maxmemory of {} to {value}", peer.pod),
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
            Self::Failover(order) => write!(f, "have a Sentinel take the primary role from {}", order.from.pod),
            Self::Forget { sentinel, .. } => write!(f, "make the Sentinel in {} forget who is gone", sentinel.pod),
            Self::SetBack { peer, settings } => write!(f, "set {} on {} as it was before", names(settings), peer.pod),
        }
    }
}

/// Everything that a switchover needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchoverOrder {
    /// How the role is handed over.
    pub method: SwitchoverMethod,
    /// The primary, as it was when the switchover was begun.
    pub from: Peer,
    /// The replica that becomes the primary, as it was then.
    pub to: Peer,
    /// The candidate's pod of that UID no longer exists, by a list that was just read.
    pub to_gone: bool,
    /// The candidate's pod is being deleted, by the same list.
    pub to_going: bool,
    /// It was begun before: another process may have done any part of it.
    pub resumed: bool,
    /// An exchange may be begun, if the roles are found as they were. Else what was begun is ended, one way or the other,
    /// and nothing more.
    pub begins: bool,
    /// `master_replid` of both when it was begun.
    pub replid: String,
    /// The addresses, `host:port`, by which `from` may have been told to follow `to` when it was begun.
    pub to_addresses: Vec<String>,
    /// The address of `to` in the primary's `slaveN` line: the only form that `FAILOVER TO` takes. `None` when the
    /// roles have changed already and no FAILOVER will be sent.
    pub failover_address: Option<NodeAddress>,
    /// The name by which the old primary is to follow `to`, in the form that replicas use here; `None`: by address.
    pub by_name: Option<MemberName>,
    /// The other replicas, and the name by which each is to follow `to`.
    pub others: Vec<(Peer, Option<MemberName>)>,
    /// We keep the role label. Else another controller does.
    pub keeps_labels: bool,
    /// The role label that Services follow.
    pub role_label: RoleLabel,
    /// Services that select the primary's label value: both pods must be behind them before the switch.
    pub services: Vec<String>,
    /// Writes are held back for at most this long.
    pub pause: Duration,
    /// `max_replication_lag` of the policy, in bytes.
    pub max_lag: Bytes,
}

/// Everything that an exchange by a Sentinel needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailoverOrder {
    /// The primary, as it was when the exchange was begun.
    pub from: Peer,
    /// The addresses by which Sentinels know it.
    pub from_addresses: Vec<NodeAddress>,
    /// `master_replid` of all of them then.
    pub replid: String,
    /// Every other member that a Sentinel may choose, and the addresses by which Sentinels know it.
    pub replicas: Vec<(Peer, Vec<NodeAddress>)>,
    /// The Sentinels that answer; the first is told to fail over.
    pub sentinels: Vec<SentinelPeer>,
    /// Sentinels that must name the same new primary: a majority of all that are known, dead ones included.
    pub majority: usize,
    /// Sentinels that are known, dead ones included.
    pub known: usize,
    /// So many must answer before one of them is told: with fewer no failover would be possible should the new primary fail.
    pub needed: usize,
    /// The name by which they know the set.
    pub set: String,
    /// Set on the old primary for the time of the exchange, in order: what keeps pings away.
    pub quiet: Vec<(String, String)>,
    /// The same: what refuses writes, should the pause lapse with nobody there.
    pub refusing: Vec<(String, String)>,
    /// What both are set back to.
    pub before: Vec<(String, String)>,
    /// `COORDINATED` is tried first.
    pub coordinated: bool,
    /// It was begun before: another process may have done any part of it.
    pub resumed: bool,
    /// An exchange may be begun. Else what was begun is ended, and nothing more.
    pub begins: bool,
    /// Too much time has passed since it was begun: no Sentinel carries it out any more.
    pub over: bool,
    /// Writes are held back for at most this long before they are refused instead.
    pub pause: Duration,
    /// The Sentinels' greetings, for at most this long from the first pause: no Sentinel takes the primary for dead by then.
    pub longest_pause: Duration,
    /// `max_replication_lag` of the policy, in bytes.
    pub max_lag: Bytes,
}
