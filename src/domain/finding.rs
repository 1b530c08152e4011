//! A judged fact: code, severity, evidence, remedy.

use std::fmt;

use jiff::Timestamp;

use super::names::PodName;

/// How bad a finding is. Ordered: `Info < Warning < Critical`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth mending.
    Warning,
    /// Data or availability is at risk.
    Critical,
}

/// A judged fact about one target, or about the whole policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was found.
    pub code: FindingCode,
    /// How bad it is: what its code usually is, unless its numbers say otherwise.
    pub severity: Severity,
    /// The pod that it is about; `None`: the policy or a workload as a whole.
    pub pod: Option<PodName>,
    /// The numbers that show it, with units, quantised so that noise does not change the text.
    pub evidence: String,
    /// What a person can do, or what the operator will do.
    pub remedy: String,
    /// What a person does when that is done, or for good when it suits: takes note, changes the template. Empty: nothing.
    pub afterwards: String,
    /// Since when it is so, where something tells; `None`: since it was first found.
    pub since: Option<Timestamp>,
}

impl Finding {
    /// A finding as bad as its code usually is.
    pub fn new(
        code: FindingCode,
        pod: Option<PodName>,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (evidence, remedy) = (evidence.into(), remedy.into());
        Self { code, severity: code.severity(), pod, evidence, remedy, afterwards: String::new(), since: None }
    }

    /// The same finding, with what is left to a person when its remedy is done.
    #[must_use]
    pub fn with_afterwards(self, afterwards: impl Into<String>) -> Self {
        Self { afterwards: afterwards.into(), ..self }
    }

    /// The same finding, which has been so since then, whenever it is found.
    #[must_use]
    pub fn with_since(self, since: Timestamp) -> Self {
        Self { since: Some(since), ..self }
    }

    /// The same finding, as bad as its numbers say.
    #[must_use]
    pub fn with_severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }
}

/// The remedy of a finding, and what is left to a person then.
pub fn advice(remedy: &str, afterwards: &str) -> String {
    if afterwards.is_empty() { remedy.to_owned() } else { format!("{remedy}; {afterwards}") }
}

macro_rules! finding_codes {
    ($($(#[$doc:meta])* $code:ident => $severity:ident,)*) => {
        /// What can be found. The names are stable: they are reasons, metric labels and documentation anchors.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FindingCode {
            $($(#[$doc])* $code,)*
        }

        impl FindingCode {
            /// Every code, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            /// The name as it is shown.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => stringify!($code),)* }
            }

            /// The code of that name; `None`: this version knows none such.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.as_str() == name)
            }

            /// How bad it usually is (ADR 0010: the numbers of a finding may say otherwise).
            pub const fn severity(self) -> Severity {
                match self { $(Self::$code => Severity::$severity,)* }
            }
        }
    };
}

finding_codes! {
    /// `maxmemory` is 0: nothing bounds the data, the kernel's OOM killer does.
    MaxmemoryUnset => Critical,
    /// The container limit does not exceed `maxmemory` by the policy's headroom.
    HeadroomInsufficient => Critical,
    /// The container has no memory limit.
    LimitMissing => Warning,
    /// The memory request is below `maxmemory`: the node may not have what Redis may take.
    RequestBelowMaxmemory => Info,
    /// The pod template's limit is below what the policy needs: the next new pod starts too small.
    TemplateTooSmall => Warning,
    /// The container's resize policy would restart Redis, so its limit is not resized.
    ResizeWouldRestart => Info,
    /// Members of a workload are not alike: what holds changes with the role.
    MembersDiffer => Warning,
    /// A live setting is not what the template starts with, or could not be given back after a restart.
    ConfigDrift => Warning,
    /// Somebody else sets the memory limit of a pod back, again and again: it is left alone.
    LimitReverted => Warning,
    /// Somebody else sets `maxmemory` of a pod back, again and again: it is left alone.
    MaxmemoryReverted => Warning,
    /// Somebody else sets the role label of a pod back, again and again: it is left alone.
    LabelReverted => Warning,
    /// Fragmentation at or above `moderatePercent`.
    FragmentationModerate => Info,
    /// Fragmentation at or above `seriousPercent`.
    FragmentationSerious => Warning,
    /// Fragmentation at or above `criticalPercent`.
    FragmentationCritical => Critical,
    /// Fragmentation at or above `restartPercent`, and a restart would gain enough.
    FragmentationRestartDue => Critical,
    /// Less than half of the resident memory is data.
    MemoryEfficiencyLow => Warning,
    /// 75 % of `maxmemory` is used.
    UtilizationWarning => Warning,
    /// 85 % of `maxmemory` is used.
    UtilizationCritical => Critical,
    /// Resident memory is at 80 % of the container limit or more; from 90 % on Critical.
    RssNearLimit => Warning,
    /// The limits of the selected Redis on a node are more than 80 % of the memory that it gives to pods.
    NodeOvercommitted => Warning,
    /// The kernel killed it for want of memory, and nobody has taken note of it.
    OomKilled => Critical,
    /// The kernel kills it again and again: while it loads its data, or three times within an hour.
    OomKillLoop => Critical,
    /// `maxmemory` is more than one server should hold: several smaller ones fork, save, load and sync in less time.
    InstanceTooLarge => Warning,
    /// The last fork blocked the server for more than 10 ms; Info where the size of the server explains it.
    ForkSlow => Warning,
    /// `maxmemory-policy` is not among the allowed ones.
    EvictionPolicyUnsafe => Critical,
    /// Under `allkeys-lfu` the keys that are kept get less than half of the lookups: no share of them is hot.
    LfuWithoutHotKeys => Info,
    /// A full server that refuses writes instead of evicting, or one that will be full soon.
    EvictionStopsWrites => Critical,
    /// Data that was meant to stay is not written to anything that stays.
    PersistenceMissing => Warning,
    /// A cache writes to disk what is made again from elsewhere.
    PersistenceUnneeded => Info,
    /// No member of the workload is a primary.
    NoPrimary => Critical,
    /// More than one member of a workload is a primary: nothing is done until one is.
    TwoPrimaries => Critical,
    /// The Sentinels of a workload do not agree, or could not fail over.
    SentinelDegraded => Warning,
    /// The primary came back without data while a replica still holds some: nothing is done.
    PrimaryEmpty => Critical,
    /// Another member is primary than the one that alone starts as one: a restart of either costs more than a restart.
    RoleAgainstStart => Warning,
    /// The role label is missing or does not say the live role.
    RoleLabelMissing => Warning,
    /// A Service that leads clients to the primary takes the members of several data sets: they meet several primaries.
    ServiceTakesSeveralSets => Critical,
    /// A member of the workload is not selected by the policy.
    MemberOutsideSelector => Warning,
    /// The Redis container or its port is not known.
    ContainerUnknown => Warning,
    /// The selector matches no pod.
    NoTargets => Info,
    /// No answer that a Redis would give.
    Unreachable => Warning,
    /// Redis refused the password, or the password could not be had.
    AuthenticationFailed => Warning,
    /// No TLS connection to Redis; there is no fallback to a plain one.
    TlsFailed => Warning,
    /// A right that the policy needs is missing, in Kubernetes or in Redis.
    PermissionMissing => Warning,
}

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Severity {
    /// The name as it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "Info",
            Self::Warning => "Warning",
            Self::Critical => "Critical",
        }
    }

    /// The severity of that name; what is no such name is a Warning.
    pub fn named(name: &str) -> Self {
        match name {
            "Info" => Self::Info,
            "Critical" => Self::Critical,
            _ => Self::Warning,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
