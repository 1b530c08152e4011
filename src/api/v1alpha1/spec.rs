//! `spec`: what a person writes.

use k8s_openapi::apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use crate::domain::purpose::Purpose;

/// Which Redis pods are watched, how much memory headroom they need, and what may be done about fragmentation.
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "redismemory.io",
    version = "v1alpha1",
    kind = "RedisMemoryPolicy",
    plural = "redismemorypolicies",
    shortname = "rmp",
    category = "redis",
    namespaced,
    status = "super::RedisMemoryPolicyStatus",
    derive = "PartialEq",
    doc = "Keeps the memory of the Redis pods that it selects healthy: headroom, fragmentation, safe restarts.",
    printcolumn = r#"{"name":"Verdict","type":"string","jsonPath":".status.verdict.level","description":"ActNow, Plan, Fine or Unknown"}"#,
    printcolumn = r#"{"name":"Brief","type":"string","jsonPath":".status.verdict.brief","description":"What is the matter"}"#,
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.mode","description":"Observe or Enforce"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Suspend","type":"boolean","jsonPath":".spec.suspend","priority":1,"description":"No new disruption is begun"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status","priority":1,"description":"This generation has been evaluated"}"#,
    printcolumn = r#"{"name":"Targets","type":"integer","jsonPath":".status.summary.targets","priority":1,"description":"Selected pods"}"#,
    printcolumn = r#"{"name":"Compliant","type":"integer","jsonPath":".status.summary.compliant","priority":1,"description":"Targets that are judged and have no Warning or Critical finding"}"#,
    printcolumn = r#"{"name":"Worst-Frag","type":"string","jsonPath":".status.summary.worstFragmentation","priority":1,"description":"Highest fragmentation ratio"}"#,
    printcolumn = r#"{"name":"Free","type":"string","jsonPath":".status.verdict.free","priority":1,"description":"Least memory that a pod has below its limit"}"#,
    printcolumn = r#"{"name":"Since","type":"date","jsonPath":".status.verdict.since","priority":1,"description":"For how long that rules"}"#,
    printcolumn = r#"{"name":"Last-Action","type":"string","jsonPath":".status.summary.lastAction","priority":1,"description":"What was last done"}"#,
    printcolumn = r#"{"name":"Sentence","type":"string","jsonPath":".status.verdict.sentence","priority":1,"description":"What is the matter, what is at stake, who does what next"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rules::spec)]
pub struct RedisMemoryPolicySpec {
    /// Pods of this namespace. Required, not empty.
    #[schemars(schema_with = "rules::selector")]
    pub selector: LabelSelector,
    /// Observe changes nothing and shows the plan. Enforce carries it out.
    #[serde(default)]
    pub mode: Mode,
    /// Begin no new disruption; a running remediation stops at the next safe boundary.
    #[serde(default)]
    pub suspend: bool,
    /// What the data is for. It decides which eviction policies are findings, and whether being full and not saving are.
    /// Default: not said, and nothing is judged by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    /// How to find and reach Redis in a pod.
    #[serde(default)]
    pub redis: Redis,
    /// How far the container memory limit must exceed maxmemory.
    #[serde(default)]
    pub headroom: Headroom,
    /// Which eviction policies are no finding.
    #[serde(default)]
    pub eviction: Eviction,
    /// When memory is fragmented, and what may be done about it.
    #[serde(default)]
    pub fragmentation: Fragmentation,
    /// How restarts are paced.
    #[serde(default)]
    pub restart: Restart,
}

/// Whether the operator only looks or also acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Changes nothing; the plan is shown.
    #[default]
    Observe,
    /// Carries the remedies out.
    Enforce,
}

/// How to find and reach Redis in a pod.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(transform = rules::redis)]
pub struct Redis {
    /// The container. Default: the only one, else the one that declares the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), transform = rules::container)]
    pub container: Option<String>,
    /// Port number, or the name of a container port.
    #[schemars(transform = rules::port)]
    pub port: IntOrString,
    /// Who decides which member is the primary.
    pub role_authority: RoleAuthority,
    /// The pod label that names the role.
    pub role_label: RoleLabel,
    /// ACL user. Default: the default user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), transform = rules::username)]
    pub username: Option<String>,
    /// Where the password is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretKeyRef>,
    /// TLS to Redis. Without it the connection is plain; with it never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// How the Sentinels of these pods are asked. Default: those in the same pods, at port 26379, with the password and the TLS
    /// of Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<Box<Sentinel>>,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            container: None,
            port: IntOrString::Int(6379),
            role_authority: RoleAuthority::Auto,
            role_label: RoleLabel::default(),
            username: None,
            password_secret: None,
            tls: None,
            sentinel: None,
        }
    }
}

/// How Sentinels are found and asked, and told to fail over when a primary is to be restarted. Nothing of Redis' own access
/// is used for them.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(transform = rules::redis)]
pub struct Sentinel {
    /// Pods of this namespace in which they run. Default: the policy's own pods, where a container declares the port or a
    /// Sentinel is connected from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::selector")]
    pub selector: Option<LabelSelector>,
    /// Port number, or the name of a container port.
    #[schemars(transform = rules::port)]
    pub port: IntOrString,
    /// The name by which they know the set. Default: whichever has these pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), transform = rules::master_name)]
    pub master_name: Option<String>,
    /// ACL user of the Sentinels. Default: the default user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), transform = rules::username)]
    pub username: Option<String>,
    /// Where the password of the Sentinels is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretKeyRef>,
    /// TLS to the Sentinels. Without it the connection is plain; with it never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

impl Default for Sentinel {
    fn default() -> Self {
        Self {
            selector: None,
            port: IntOrString::Int(26379),
            master_name: None,
            username: None,
            password_secret: None,
            tls: None,
        }
    }
}

/// Who decides which member is the primary, and how clients follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RoleAuthority {
    /// Cluster, Sentinel or Static, whichever is seen.
    #[default]
    Auto,
    /// Another controller keeps the role label.
    Label,
    /// This operator keeps the role label; Services that select it follow.
    Operator,
}

/// The pod label that names the role.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(transform = rules::role_label)]
pub struct RoleLabel {
    /// Label key.
    #[schemars(length(max = 317), transform = rules::label_key)]
    pub key: String,
    /// Value on the primary.
    #[schemars(length(max = 63), transform = rules::label_value)]
    pub primary: String,
    /// Value on a replica.
    #[schemars(length(max = 63), transform = rules::label_value)]
    pub replica: String,
}

impl Default for RoleLabel {
    fn default() -> Self {
        Self { key: "redismemory.io/role".into(), primary: "primary".into(), replica: "replica".into() }
    }
}

/// A key of a Secret in the policy's namespace.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(max = 253), transform = rules::secret_name)]
    pub name: String,
    /// Key within it.
    #[schemars(length(max = 253), transform = rules::secret_key)]
    pub key: String,
}

/// TLS to Redis. The server is verified before anything is said to it.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// Where the PEM certificates of the only authorities are that the server's certificate may come from.
    pub ca_secret: SecretKeyRef,
    /// A Secret of type kubernetes.io/tls (keys tls.crt and tls.key), shown to servers that want a client certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert_secret: Option<SecretRef>,
    /// The name that the server's certificate must have. Default: the pod's DNS name, else its IP address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), transform = rules::server_name)]
    pub server_name: Option<String>,
}

/// A Secret in the policy's namespace.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(max = 253), transform = rules::secret_name)]
    pub name: String,
}

/// How far the container memory limit must exceed maxmemory.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(transform = rules::headroom)]
pub struct Headroom {
    /// How the headroom is found: Fixed by percent, Measured by what the servers were seen to take within the last day
    /// (docs/findings.md); minimum holds for both.
    pub method: HeadroomMethod,
    /// Of method Fixed. 50: the limit is at least 1.5 x maxmemory.
    #[schemars(range(min = 10, max = 400), extend("format" = "int32"))]
    pub percent: u32,
    /// At least this much, whatever the method gives.
    #[schemars(length(max = 24), transform = rules::memory)]
    pub minimum: String,
    /// What may be done when it is too small.
    #[schemars(length(min = 1, max = 8), transform = rules::headroom_remedies)]
    pub remedies: Vec<HeadroomRemedy>,
    /// Never raise a limit above this.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24), transform = rules::memory)]
    pub maximum_limit: Option<String>,
    /// Raise the memory request by as much as the limit, so that the node keeps the memory free. Of a Guaranteed pod both
    /// are always raised.
    pub requests: bool,
    /// Consent for SetMaxmemory to set less than is used: the primary evicts down to what the limit bears, 5 % at a time, while a
    /// window is open. Only for a Cache whose servers may evict any key (allkeys-*).
    pub allow_eviction: bool,
}

impl Default for Headroom {
    fn default() -> Self {
        Self {
            method: HeadroomMethod::Fixed,
            percent: 50,
            minimum: "64Mi".into(),
            remedies: vec![HeadroomRemedy::ResizePod],
            maximum_limit: None,
            requests: false,
            allow_eviction: false,
        }
    }
}

/// How the headroom is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HeadroomMethod {
    /// A percentage of maxmemory, and a minimum.
    #[default]
    Fixed,
    /// What the servers were seen to take within the last day beside their data (fragmentation, buffers, clients, the pages
    /// that a fork copies, a full sync), the largest of each set's members, and a minimum. Until a pod of the set has been
    /// sampled for an hour, bounds. docs/findings.md#measured
    Measured,
}

/// What may be done about insufficient headroom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HeadroomRemedy {
    /// Say so.
    Report,
    /// Raise the container limit in place.
    ResizePod,
    /// Set maxmemory to what the limit bears, where the limit is not raised and no key goes by it.
    SetMaxmemory,
}

/// Which eviction policies are no finding.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Eviction {
    /// Allowed values of maxmemory-policy. Empty: every value.
    #[schemars(length(max = 16), transform = rules::eviction_allowed)]
    pub allowed: Vec<EvictionPolicy>,
}

/// A value of maxmemory-policy, by the server's own name: newer servers bring new ones, for example allkeys-lrm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transform = rules::eviction_policy)]
pub struct EvictionPolicy(#[schemars(length(max = 64))] pub String);

/// When memory is fragmented, and what may be done about it. Percent of used memory: 250 is a ratio of 2.5.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(transform = rules::fragmentation)]
pub struct Fragmentation {
    /// From here on FragmentationModerate.
    #[schemars(range(min = 101, max = 10000), extend("format" = "int32"))]
    pub moderate_percent: u32,
    /// From here on FragmentationSerious.
    #[schemars(range(min = 101, max = 10000), extend("format" = "int32"))]
    pub serious_percent: u32,
    /// From here on FragmentationCritical.
    #[schemars(range(min = 101, max = 10000), extend("format" = "int32"))]
    pub critical_percent: u32,
    /// The restart threshold.
    #[schemars(range(min = 101, max = 10000), extend("format" = "int32"))]
    pub restart_percent: u32,
    /// A ratio without this many bytes is no finding.
    #[schemars(length(max = 24), transform = rules::memory)]
    pub minimum_waste: String,
    /// A judgement needs fresh samples for this long.
    #[schemars(length(max = 24), transform = rules::sustained)]
    pub sustained: String,
    /// What may be done.
    #[schemars(length(min = 1, max = 8), transform = rules::fragmentation_remedies)]
    pub remedies: Vec<FragmentationRemedy>,
}

impl Default for Fragmentation {
    fn default() -> Self {
        Self {
            moderate_percent: 130,
            serious_percent: 150,
            critical_percent: 200,
            restart_percent: 250,
            minimum_waste: "100Mi".into(),
            sustained: "10m".into(),
            remedies: vec![FragmentationRemedy::Restart],
        }
    }
}

/// What may be done about fragmentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FragmentationRemedy {
    /// Say so.
    Report,
    /// Restart replicas, hand the primary role over, restart the old primary.
    Restart,
}

/// How restarts are paced.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Restart {
    /// When restarts are allowed. Empty: at any time. What would not fit into the time that is left is not begun.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), transform = rules::windows)]
    pub windows: Vec<Window>,
    /// Who lets a plan begin: nobody is asked, or the annotation redismemory.io/approve must name its hash.
    pub approval: Approval,
    /// Pods of a workload that may be restarted within 24 hours. Default: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64), extend("format" = "int32"))]
    pub maximum_restarts_per_day: Option<u32>,
    /// A pod is not restarted again within this time, unless a person asks for it.
    #[schemars(length(max = 24), transform = rules::cooldown)]
    pub cooldown: String,
    /// A replica further behind than this is not in sync.
    #[schemars(length(max = 24), transform = rules::lag)]
    pub max_replication_lag: String,
    /// A step that takes longer ends the remediation (TimedOut), and so does an obstacle that lasts longer (GaveUp).
    /// People and times are not waited for: it pauses.
    #[schemars(length(max = 24), transform = rules::step_timeout)]
    pub step_timeout: String,
    /// So many other replicas stay synced while one restarts. 0: the primary may be the only copy meanwhile.
    #[schemars(range(min = 0, max = 16), extend("format" = "int32"))]
    pub minimum_synced_replicas: u32,
    /// Writes may stop for as long as this while the role is handed over, by an estimate that is made before; a plan that
    /// needs longer restarts the replicas only. A restart in place has a consent of its own: allowDowntime.
    #[schemars(length(max = 24), transform = rules::maximum_write_gap)]
    pub maximum_write_gap: String,
    /// Also restart a primary that nothing can take over from, if its data is verified to be on disk. Writes stop meanwhile.
    pub allow_downtime: bool,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            windows: Vec::new(),
            approval: Approval::Automatic,
            maximum_restarts_per_day: None,
            cooldown: "24h".into(),
            max_replication_lag: "1Mi".into(),
            step_timeout: "30m".into(),
            minimum_synced_replicas: 1,
            maximum_write_gap: "5s".into(),
            allow_downtime: false,
        }
    }
}

/// A time at which restarts are allowed.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// When it opens: five cron fields, as a CronJob has them, by the clock of timeZone.
    #[schemars(length(max = 128), transform = rules::schedule)]
    pub schedule: String,
    /// How long it stays open, 1m to 24h.
    #[schemars(length(max = 24), transform = rules::window_duration)]
    pub duration: String,
    /// IANA name of the time zone, for example Europe/Berlin.
    #[serde(default = "utc")]
    #[schemars(length(max = 64), transform = rules::time_zone)]
    pub time_zone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// Who lets a plan begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    /// Nobody is asked.
    #[default]
    Automatic,
    /// Replicas are restarted; before the primary is touched the plan must be approved.
    Supervised,
    /// Before the first step the plan must be approved.
    Manual,
}
