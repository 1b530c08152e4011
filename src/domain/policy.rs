//! The validated policy: what a `RedisMemoryPolicy` says, parsed once. What comes after cannot fail on it.

use std::time::Duration;

use jiff::Timestamp;

use super::{bytes::Bytes, purpose::Purpose, ratio::Ratio, sample::Role, tls::TlsRule, window::Window};

/// A policy after validation. Made only by `validate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Namespace of the resource, and of everything that it may look at.
    pub namespace: String,
    /// Name of the resource.
    pub name: String,
    /// UID of the resource.
    pub uid: String,
    /// The generation of the spec that was validated.
    pub generation: i64,
    /// When the resource was made: of two policies that match a pod, the older acts.
    pub created_at: Timestamp,
    /// Which pods it is about, in the form of a query.
    pub selector: String,
    /// Whether the operator may change anything for this policy.
    pub mode: Mode,
    /// No new disruption is begun; a running remediation stops at the next safe boundary.
    pub suspend: bool,
    /// What the data is for; `None`: not said, and nothing is judged by it.
    pub purpose: Option<Purpose>,
    /// How to find and reach Redis in a pod.
    pub redis: RedisAccess,
    /// How far the container limit must exceed `maxmemory`.
    pub headroom: HeadroomRule,
    /// The `maxmemory-policy` values that are no finding. Empty: every value is allowed.
    pub eviction_allowed: Vec<String>,
    /// When memory is fragmented, and what may be done about it.
    pub fragmentation: FragmentationRule,
    /// How restarts are paced.
    pub restart: RestartRule,
}

impl Policy {
    /// The rights that its remedies need of the API server: none in Observe.
    pub fn needed_rights(&self) -> NeededRights {
        let acts = self.mode == Mode::Enforce;
        NeededRights {
            evict: acts && self.fragmentation.restart_allowed,
            resize: acts && self.headroom.resize_pod,
            label: acts && self.redis.authority == AuthorityRule::Operator,
        }
    }
}

/// What a policy needs of [`Rights`](super::pod::Rights).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeededRights {
    /// `create pods/eviction`.
    pub evict: bool,
    /// `patch pods/resize`.
    pub resize: bool,
    /// `patch pods` (the role label).
    pub label: bool,
}

/// Whether the operator only looks or also acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Changes nothing; the plan is shown.
    Observe,
    /// Carries the remedies out.
    Enforce,
}

/// How to find and reach Redis in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisAccess {
    /// The container; `None`: the only container, else the one that declares the port.
    pub container: Option<String>,
    /// The port, by number or by the name that a container gives it.
    pub port: PortRef,
    /// Who decides which member is the primary, and how clients follow.
    pub authority: AuthorityRule,
    /// The pod label that names the role.
    pub role_label: RoleLabel,
    /// ACL user; `None`: the default user.
    pub username: Option<String>,
    /// Where the password is; `None`: no AUTH is sent.
    pub password: Option<SecretKey>,
    /// TLS; `None`: the connection is plain.
    pub tls: Option<TlsRule>,
    /// How Sentinels are asked; `None`: those in the same pods, as Redis is.
    pub sentinel: Option<SentinelAccess>,
}

/// How Sentinels are found and asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentinelAccess {
    /// Their pods, in the form of a query; `None`: the policy's own, where a container declares the port or
    /// a Sentinel is connected from.
    pub selector: Option<String>,
    /// The port, by number or by the name that a container gives it.
    pub port: PortRef,
    /// The name by which they know the set; `None`: whichever has the members.
    pub master_name: Option<String>,
    /// ACL user; `None`: the default user.
    pub username: Option<String>,
    /// Where the password is; `None`: no AUTH is sent.
    pub password: Option<SecretKey>,
    /// TLS; `None`: the connection is plain.
    pub tls: Option<TlsRule>,
}

/// A container port by number or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortRef {
    /// The port number.
    Number(u16),
    /// The name of a declared container port.
    Name(String),
}

/// `spec.redis.roleAuthority`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityRule {
    /// Cluster, Sentinel or Static, whichever is seen.
    Auto,
    /// Another controller keeps the role label.
    Label,
    /// This operator keeps the role label.
    Operator,
}

/// The label that names a pod's role, and its two values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleLabel {
    /// Label key.
    pub key: String,
    /// Value on the primary.
    pub primary: String,
    /// Value on a replica.
    pub replica: String,
}

impl RoleLabel {
    /// The value on a server of that role; `None`: its role is not known.
    pub fn value_of(&self, role: &Role) -> Option<&str> {
        match role {
            Role::Primary => Some(&self.primary),
            Role::Replica(_) => Some(&self.replica),
            Role::Unknown => None,
        }
    }
}

/// A key of a Secret in the policy's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretKey {
    /// Name of the Secret.
    pub name: String,
    /// Key within it.
    pub key: String,
}

/// `spec.headroom.method`: how the headroom is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeadroomMethod {
    /// A percentage of `maxmemory`, and a minimum.
    #[default]
    Fixed,
    /// What the servers were seen to need, and a minimum.
    Measured,
}

/// `spec.headroom`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadroomRule {
    /// How it is found.
    pub method: HeadroomMethod,
    /// Method Fixed: headroom over maxmemory in percent: 50 means limit >= 1.5 x maxmemory.
    pub percent: u32,
    /// Headroom over maxmemory in bytes, whatever the method gives.
    pub minimum: Bytes,
    /// The container limit may be raised in place.
    pub resize_pod: bool,
    /// `maxmemory` may be set to what the limit bears, where the limit is not raised.
    pub set_maxmemory: bool,
    /// No limit is raised above this.
    pub maximum_limit: Option<Bytes>,
    /// The request is raised with the limit, also where the pod is not Guaranteed.
    pub requests: bool,
    /// `maxmemory` may be set below what is used, for keys to be evicted.
    pub allow_eviction: bool,
}

/// `spec.fragmentation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FragmentationRule {
    /// From here on: Moderate.
    pub moderate: Ratio,
    /// From here on: Serious.
    pub serious: Ratio,
    /// From here on: Critical.
    pub critical: Ratio,
    /// From here on a restart may be due.
    pub restart: Ratio,
    /// Less waste than this is no finding, whatever the ratio.
    pub minimum_waste: Bytes,
    /// A judgement needs fresh samples for this long.
    pub sustained: Duration,
    /// Restarts are among the remedies.
    pub restart_allowed: bool,
}

/// `spec.restart.approval`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approval {
    /// Nobody is asked.
    #[default]
    Automatic,
    /// The remediation stops before the primary is touched, until its plan is approved.
    Supervised,
    /// Nothing is begun until the plan is approved.
    Manual,
}

/// `spec.restart`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartRule {
    /// When restarts are allowed. Empty: at any time.
    pub windows: Vec<Window>,
    /// Who lets a plan begin, and go on to the primary.
    pub approval: Approval,
    /// Pods of a workload that may be restarted within 24 hours; `None`: no bound.
    pub maximum_restarts_per_day: Option<u32>,
    /// A pod is not restarted again within this time.
    pub cooldown: Duration,
    /// A replica that is further behind the primary than this is not in sync.
    pub max_replication_lag: Bytes,
    /// A step that takes longer than this ends the remediation. Waiting at a gate counts.
    pub step_timeout: Duration,
    /// Other replicas that stay synced while one restarts. Zero: the primary may be the only copy meanwhile.
    pub minimum_synced_replicas: u32,
    /// Writes may stop for as long as this at a hand-over, by the estimate.
    pub maximum_write_gap: Duration,
    /// A primary that nothing can take over from may be restarted, if its persistence is proven: writes stop meanwhile.
    pub allow_downtime: bool,
}
