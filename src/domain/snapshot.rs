//! Everything that was observed for one policy at one time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    budget::DisruptionBudget,
    names::{ControllerUid, NodeAddress, NodeName, PodName},
    node::Node,
    peaks::Peaks,
    pod::{self, Deployment, Owner, Pod, Rights, Service, StatefulSet},
    proxy::Proxy,
    sample::{Reading, Sample},
    sentinel::Sentinel,
    surroundings::Surroundings,
    tls::TlsProblem,
    volume::Volumes,
};

/// Everything that was observed for one policy at one time. Targets are sorted by pod name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Snapshot {
    /// When the observation was complete.
    pub at: Timestamp,
    /// The selected pods.
    pub targets: Vec<Target>,
    /// The StatefulSets that own them, and those that are known to have had some.
    pub stateful_sets: Vec<StatefulSet>,
    /// The Deployments that make them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deployments: Vec<Deployment>,
    /// Services whose selector contains the role label.
    pub services: Vec<Service>,
    /// Services that lead to proxies in front of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxies: Vec<Proxy>,
    /// What the operator may do here.
    pub rights: Rights,
    /// The API server has the `pods/resize` subresource (1.33 and newer).
    pub resize_supported: bool,
    /// Another, older policy that matches pods of this workload and therefore acts for it.
    pub claimed_by_other: Vec<(ControllerUid, String)>,
    /// What the Redis users may do. Asked only in a live observation, before something is begun.
    pub redis_rights: RedisRights,
    /// Members that could not be asked for them: their own set is not acted on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unasked: Vec<PodName>,
    /// A fingerprint of the ACL users of each member that let them be read. Read with the rights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acl_users: Vec<(PodName, String)>,
    /// The disruption budgets that cover selected pods; `None`: they could not be read, and an eviction asks them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budgets: Option<Vec<DisruptionBudget>>,
    /// What is behind the claims of primaries that are to be restarted in place.
    #[serde(default, skip_serializing_if = "Volumes::are_unread")]
    pub volumes: Volumes,
    /// The nodes on which selected pods run; none where the operator may not read nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Node>,
    /// What was seen of a set within the last hour by this process: it counts although it may be away just now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen_before: Vec<SeenBefore>,
    /// The Sentinels that were asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sentinels: Vec<Sentinel>,
    /// What lies around the policy: what people said, and what runs elsewhere. Filled by the controller.
    #[serde(default, skip_serializing_if = "Surroundings::are_quiet")]
    pub surroundings: Surroundings,
}

/// Commands that acting needs and that Redis' own access control forbids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RedisRights {
    /// Not asked.
    #[default]
    Unknown,
    /// Asked on every member that could be asked: the commands that are missing, by pod. Empty: nothing is missing.
    Known(Vec<(PodName, Vec<String>)>),
}

impl Snapshot {
    /// Of that time, with nothing seen yet, on an API server that resizes.
    pub fn at(at: Timestamp) -> Self {
        Self {
            at,
            targets: Vec::new(),
            stateful_sets: Vec::new(),
            deployments: Vec::new(),
            services: Vec::new(),
            rights: Rights::default(),
            resize_supported: true,
            claimed_by_other: Vec::new(),
            redis_rights: RedisRights::Unknown,
            unasked: Vec::new(),
            acl_users: Vec::new(),
            budgets: None,
            volumes: Volumes::default(),
            nodes: Vec::new(),
            seen_before: Vec::new(),
            sentinels: Vec::new(),
            proxies: Vec::new(),
            surroundings: Surroundings::default(),
        }
    }

    /// The target of that name.
    pub fn target(&self, name: &PodName) -> Option<&Target> {
        self.targets.iter().find(|t| t.pod.name == *name)
    }

    /// The node of that name.
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == *name)
    }

    /// The fingerprint of the ACL users of that member; `None`: not known.
    pub fn users_of(&self, name: &PodName) -> Option<&str> {
        self.acl_users.iter().find(|(pod, _)| pod == name).map(|(_, users)| users.as_str())
    }

    /// Whether each of these members was asked what its Redis user may do.
    pub fn rights_known_of<'a>(&self, members: impl IntoIterator<Item = &'a PodName>) -> bool {
        self.redis_rights != RedisRights::Unknown && members.into_iter().all(|pod| !self.unasked.contains(pod))
    }

    /// What was lately seen of the set of that UID.
    pub fn seen_before(&self, uid: &ControllerUid) -> Option<&SeenBefore> {
        self.seen_before.iter().find(|seen| seen.set == *uid)
    }

    /// The pod that is announced by that address of a Service which takes it alone.
    pub fn announced(&self, address: &NodeAddress) -> Option<&PodName> {
        pod::announced(&self.services, address)
    }

    /// The StatefulSet of that UID.
    pub fn stateful_set(&self, uid: &ControllerUid) -> Option<&StatefulSet> {
        self.stateful_sets.iter().find(|s| s.uid == *uid)
    }

    /// The Deployment whose ReplicaSet has that UID.
    pub fn deployment(&self, uid: &ControllerUid) -> Option<&Deployment> {
        self.deployments.iter().find(|deployment| deployment.uid == *uid)
    }
}

/// What was lately seen of a set: who decides its roles does not go by being away for a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeenBefore {
    /// UID of the StatefulSet.
    #[serde(rename = "workload")]
    pub set: ControllerUid,
    /// When a Sentinel was last seen connected to one of its members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel_at: Option<Timestamp>,
    /// Who last owned the StatefulSet itself, and when that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<(Owner, Timestamp)>,
}

/// One selected pod and its Redis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// What Kubernetes says.
    pub pod: Pod,
    /// What Redis says.
    pub redis: Observation,
    /// Recent readings, oldest first; only of the pod's present UID, across its run ids.
    pub history: Vec<Reading>,
    /// The most that its memory took within the last day.
    #[serde(default, skip_serializing_if = "Peaks::is_empty")]
    pub peaks: Peaks,
}

impl Target {
    /// Whether the server that listens at this address is this member, at whichever of its ports: the one that it is
    /// asked at, one that its container declares, or one that it says that it listens on. Of a container that is not
    /// known, and of a server that has not said, no port is ruled out.
    pub fn listens_at(&self, address: &NodeAddress) -> bool {
        let Ok(container) = &self.pod.container else { return self.pod.is_host(&address.host) };
        let port = address.port;
        let said = self.sample().filter(|sample| sample.server.tcp_port.is_some());
        let own = match said {
            Some(sample) => sample.ports().any(|own| own == port),
            // On the host's network others listen at the same address. No server listens on port 0.
            None => port != 0 && !self.pod.host_network,
        };
        (own || port == container.port || container.declared_ports.contains(&port)) && self.pod.is_host(&address.host)
    }

    /// The port at which other members replicate from this one: it need not be the one that it is asked at (clients use
    /// TLS, replication does not). `None`: its container is not known.
    pub fn replication_port(&self) -> Option<u16> {
        let asked = self.pod.container.as_ref().ok()?.port;
        Some(self.sample().and_then(Sample::replication_port).unwrap_or(asked))
    }

    /// The newest sample, when the last probe succeeded.
    pub fn sample(&self) -> Option<&Sample> {
        self.redis.sample()
    }

    /// Why there is no sample, for people.
    pub fn why_silent(&self) -> String {
        let why = match &self.redis {
            Observation::Failed(failure) if failure.text().is_empty() => failure.reason(),
            Observation::Failed(failure) => failure.text(),
            Observation::Pending | Observation::Seen(_) => "not probed yet",
        };
        let of_the_pod = self.pod.trouble.as_ref().map(|_| format!("; the pod is {}", self.pod.not_ready()));
        format!("{why}{}", of_the_pod.unwrap_or_default())
    }

    /// The sample, to be changed.
    pub fn sample_mut(&mut self) -> Option<&mut Sample> {
        match &mut self.redis {
            Observation::Seen(sample) => Some(sample),
            Observation::Failed(_) | Observation::Pending => None,
        }
    }
}

/// The outcome of the last probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Observation {
    /// It answered.
    Seen(Box<Sample>),
    /// It did not, or not like a Redis.
    Failed(ProbeFailure),
    /// Not probed yet: the pod has no address, does not run, or is new.
    Pending,
}

impl Observation {
    /// What it answered.
    pub fn sample(&self) -> Option<&Sample> {
        match self {
            Self::Seen(sample) => Some(sample),
            Self::Failed(_) | Self::Pending => None,
        }
    }
}

/// Why a probe gave no sample. The texts come from us or are stripped of control characters and capped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProbeFailure {
    /// No TCP connection, or it broke.
    Unreachable(String),
    /// Connected, but no complete answer within the deadline.
    TimedOut(String),
    /// NOAUTH, WRONGPASS, or no password to send: see the text.
    AuthenticationFailed(String),
    /// The Secret or its key is missing or may not be read.
    SecretUnavailable(String),
    /// Whatever answered does not speak as Redis does.
    NotRedis(String),
    /// The reply went over the cap.
    ReplyTooLarge(String),
    /// Redis answered with an error to INFO (NOPERM, MASTERDOWN, BUSY, …).
    Refused(String),
    /// The pod has no controller that exists: no password is sent to it.
    OwnerUnproven(String),
    /// No TLS connection, and therefore none.
    Tls(TlsProblem, String),
    /// The pod has no address of its own (host network): what listens there may be anybody's.
    HostNetwork(String),
}

impl ProbeFailure {
    /// A stable word for metrics and reasons.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "Unreachable",
            Self::TimedOut(_) => "TimedOut",
            Self::AuthenticationFailed(_) => "AuthenticationFailed",
            Self::SecretUnavailable(_) => "SecretUnavailable",
            Self::NotRedis(_) => "NotRedis",
            Self::ReplyTooLarge(_) => "ReplyTooLarge",
            Self::Refused(_) => "Refused",
            Self::OwnerUnproven(_) => "OwnerUnproven",
            Self::Tls(problem, _) => problem.reason(),
            Self::HostNetwork(_) => "HostNetwork",
        }
    }

    /// Every word of [`reason`](Self::reason).
    pub fn reasons() -> impl Iterator<Item = &'static str> {
        let all = [
            Self::Unreachable,
            Self::TimedOut,
            Self::AuthenticationFailed,
            Self::SecretUnavailable,
            Self::NotRedis,
            Self::ReplyTooLarge,
            Self::Refused,
            Self::OwnerUnproven,
            Self::HostNetwork,
        ];
        let plain = all.map(|of: fn(String) -> Self| of(String::new()).reason());
        plain.into_iter().chain(TlsProblem::ALL.map(TlsProblem::reason))
    }

    /// The text for people.
    pub fn text(&self) -> &str {
        match self {
            Self::Unreachable(text)
            | Self::TimedOut(text)
            | Self::AuthenticationFailed(text)
            | Self::SecretUnavailable(text)
            | Self::NotRedis(text)
            | Self::ReplyTooLarge(text)
            | Self::Refused(text)
            | Self::OwnerUnproven(text)
            | Self::Tls(_, text)
            | Self::HostNetwork(text) => text,
        }
    }
}
