//! What Kubernetes says of a pod, its workload and the Services in front of it.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    addresses::PodAddresses,
    bytes::Bytes,
    names::{ControllerUid, NodeAddress, NodeName, PodName, PodUid},
    oom::Kill,
    recognition::{self, limit_at::LimitAt},
    written,
};

/// On a pod, a StatefulSet or a policy: nothing disturbs it, as long as it is there. Its value is the reason, for people.
pub const HOLD_ANNOTATION: &str = "redismemory.io/hold";

/// What Kubernetes says of one selected pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pod {
    /// Name.
    pub name: PodName,
    /// UID: the precondition of every effect on the pod.
    pub uid: PodUid,
    /// The version that was read: the precondition of every patch.
    pub resource_version: String,
    /// `status.podIP` and `status.podIPs`; empty before the pod has one.
    #[serde(alias = "ip", default)]
    pub addresses: PodAddresses,
    /// `spec.nodeName`; `None`: it is not scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// `spec.hostNetwork`: the address is the node's, and other pods listen there as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub host_network: bool,
    /// DNS name `hostname.subdomain.namespace.svc`, for pods that have one, without the cluster domain.
    pub dns_name: Option<String>,
    /// The Ready condition is True.
    pub ready: bool,
    /// `deletionTimestamp` is set.
    pub terminating: bool,
    /// `status.phase` is Running.
    pub running: bool,
    /// Value of the policy's role label, if the pod carries it.
    pub role_label: Option<String>,
    /// The controller, if there is one.
    pub owner: Option<Owner>,
    /// Label `controller-revision-hash`.
    pub revision: Option<String>,
    /// `terminationGracePeriodSeconds`.
    #[serde(with = "written::duration")]
    pub grace_period: Duration,
    /// The Redis container, or why it could not be found.
    #[serde(with = "written::known")]
    pub container: Result<Container, ContainerProblem>,
    /// The pod's QoS class is Guaranteed.
    pub guaranteed: bool,
    /// `spec.resources` (pod-level resources) is set.
    pub pod_level_resources: bool,
    /// What the kubelet says of a pending resize.
    pub resize: ResizeProgress,
    /// What keeps the pod from being Ready, by what Kubernetes says of it; `None`: it is Ready, or nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// The value of its annotation [`HOLD_ANNOTATION`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// Where its limit is written for good, where a controller owns it that is none of Kubernetes' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_at: Option<LimitAt>,
    /// Who else set what this operator keeps right. Only of a live read: a cache does not keep it.
    #[serde(default, skip_serializing_if = "FieldManagers::is_unknown")]
    pub managers: FieldManagers,
}

impl Pod {
    /// Its controller, where that is none of Kubernetes' own: it may replace a pod that no longer is as its template says.
    pub fn foreign_controller(&self) -> Option<&Owner> {
        self.owner.as_ref().filter(|owner| recognition::is_foreign(owner))
    }

    /// The memory limit that holds for Redis ([`Container::limit`]); `None` also where its container is not known.
    pub fn limit(&self) -> Option<Bytes> {
        self.container.as_ref().ok()?.limit()
    }

    /// "not Ready", with what Kubernetes says of it.
    pub fn not_ready(&self) -> String {
        match &self.trouble {
            Some(trouble) => format!("not Ready: {trouble}"),
            None => "not Ready".to_owned(),
        }
    }

    /// Whether a host that a server names is this pod: one of its addresses, or its stable DNS name, written from
    /// `host.subdomain` up to the full name with any cluster domain. `redis-0` alone is not: it could be anything.
    pub fn is_host(&self, host: &str) -> bool {
        self.addresses.is_host(host) || self.dns_name.as_deref().is_some_and(|name| same_name(host, name))
    }
}

/// The field managers, other than this operator, that last set what this operator keeps right; `None`: nobody, or not
/// known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FieldManagers {
    /// Of the role label.
    pub role_label: Option<String>,
    /// Of the Redis container's memory limit.
    pub limit: Option<String>,
}

impl FieldManagers {
    /// Nobody is known.
    pub const fn is_unknown(&self) -> bool {
        self.role_label.is_none() && self.limit.is_none()
    }
}

/// `redis-0.redis`, `redis-0.redis.shop`, … and `redis-0.redis.shop.svc.cluster.local` all are
/// `redis-0.redis.shop.svc`.
pub fn same_name(host: &str, dns_name: &str) -> bool {
    let mut wanted = dns_name.split('.');
    let mut given = host.trim_end_matches('.').split('.');
    let mut equal = 0;
    loop {
        match (given.next(), wanted.next()) {
            (Some(a), Some(b)) if a.eq_ignore_ascii_case(b) => equal += 1,
            (Some(_), Some(_)) => return false,
            (None, _) | (_, None) => return equal >= 2,
        }
    }
}

/// The pod's controller reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Owner {
    /// Kind, for example `StatefulSet`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: ControllerUid,
}

impl Owner {
    /// Whether a pod of that name can be this controller's: a reference alone is only a claim. Pods of a StatefulSet are
    /// named after it, with a number; those of a ReplicaSet after it, with a random word.
    pub fn could_have_made(&self, pod: &PodName) -> bool {
        let Some(rest) = pod.as_str().strip_prefix(self.name.as_str()).and_then(|rest| rest.strip_prefix('-')) else {
            return false;
        };
        match self.kind.as_str() {
            "StatefulSet" => !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()),
            "ReplicaSet" => !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric()),
            _ => false,
        }
    }
}

/// The Redis container of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Container {
    /// Name.
    pub name: String,
    /// The port that Redis is asked at, as a number.
    pub port: u16,
    /// The TCP ports that the container declares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declared_ports: Vec<u16>,
    /// Memory limit in `spec`: what was asked for.
    pub spec_limit: Option<Bytes>,
    /// Memory request in `spec`.
    pub spec_request: Option<Bytes>,
    /// Memory limit in `status.containerStatuses[].resources`: what the kernel enforces.
    pub live_limit: Option<Bytes>,
    /// Memory limit of the pod as a whole (`spec.resources`), which its containers share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_limit: Option<Bytes>,
    /// `resizePolicy` for memory is `RestartContainer`: a resize would restart Redis.
    pub resize_restarts: bool,
    /// When the container started.
    pub started_at: Option<Timestamp>,
    /// `restartCount`.
    pub restarts: u32,
    /// Its last end, where the kernel killed it for want of memory. What runs now began after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub killed: Option<Kill>,
    /// The end before that, where Kubernetes still tells of it and it was such a kill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub killed_before: Option<Kill>,
    /// From the creation of the pod to the start of the container, where that is its first: scheduling, volumes, image, init
    /// containers. Zero: not known.
    #[serde(default, with = "written::duration", skip_serializing_if = "Duration::is_zero")]
    pub start_took: Duration,
    /// When the kubelet is to be expected to take the server for ready, after its start: by the delay and the period of its
    /// probes.
    #[serde(default, with = "written::duration", skip_serializing_if = "Duration::is_zero")]
    pub ready_after: Duration,
    /// Where volumes are mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
}

/// A volume in the Redis container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// `mountPath`, absolute.
    pub path: String,
    /// What is behind it.
    pub volume: VolumeKind,
    /// Name of the claim, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// Nothing can be written there.
    pub read_only: bool,
}

/// What is behind a mount: whether it is there again for the pod that replaces this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VolumeKind {
    /// A PersistentVolumeClaim: the replacement of a StatefulSet's pod gets the same.
    Claim,
    /// `emptyDir`: gone with the pod.
    EmptyDir,
    /// Anything else: a ConfigMap, a path of the node, an ephemeral volume.
    Other,
}

impl Container {
    /// The limit that holds now: the live one, else the one in `spec`, or that of the whole pod where it is smaller.
    pub fn limit(&self) -> Option<Bytes> {
        let own = self.live_limit.or(self.spec_limit);
        [own, self.pod_limit].into_iter().flatten().min()
    }

    /// The limit that was asked for, where a lower one holds: the kubelet has not written it.
    pub fn unwritten_limit(&self) -> Option<Bytes> {
        self.spec_limit.filter(|asked| self.live_limit.is_some_and(|holds| holds < *asked))
    }
}

/// Why the Redis container of a pod is not known. The text names what was looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerProblem(pub String);

/// The conditions `PodResizePending` and `PodResizeInProgress`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ResizeProgress {
    /// No resize is under way.
    None,
    /// The kubelet is at it.
    InProgress,
    /// The node has no room now (`Deferred`); the text is the kubelet's.
    Deferred(String),
    /// The node can never hold it (`Infeasible`); the text is the kubelet's.
    Infeasible(String),
    /// The kubelet tried and failed (`Error`); the text is the kubelet's.
    Error(String),
}

/// A StatefulSet that owns selected pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatefulSet {
    /// UID.
    pub uid: ControllerUid,
    /// Name.
    pub name: String,
    /// Who owns the StatefulSet itself: another operator, say.
    pub owner: Option<Owner>,
    /// `spec.replicas`.
    pub replicas: u32,
    /// The revision that a replaced pod of an ordinal below the partition gets.
    pub current_revision: String,
    /// The revision that any other replaced pod gets.
    pub update_revision: String,
    /// `spec.updateStrategy.rollingUpdate.partition`; zero when unset.
    pub partition: u32,
    /// `spec.updateStrategy.type` is `OnDelete`.
    pub on_delete: bool,
    /// `status.observedGeneration` equals `metadata.generation`.
    pub observed: bool,
    /// Memory limit of the template's container of that name, or of the whole pod where it is smaller, by container.
    pub template_limits: Vec<(String, Option<Bytes>)>,
    /// The role label's value in the pod template, if it is set there (refused under Operator).
    pub template_role_label: Option<String>,
    /// The value of its annotation [`HOLD_ANNOTATION`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// Settings that the template's containers give to redis-server in `command` and `args`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub start_settings: Vec<StartSettings>,
    /// Where the limit of its Redis is written for good, where that is not the template alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_at: Option<LimitAt>,
}

/// A Deployment that makes selected pods, by the ReplicaSet through which it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deployment {
    /// UID of the ReplicaSet, which its pods name as their controller.
    pub uid: ControllerUid,
    /// Name of the Deployment; of a ReplicaSet that nobody owns its own.
    pub name: String,
    /// Memory limit of the template's container of that name, or of the whole pod where it is smaller, by container.
    pub template_limits: Vec<(String, Option<Bytes>)>,
    /// As of a StatefulSet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_at: Option<LimitAt>,
}

/// Settings in a container's `command` and `args` (`--maxmemory 512mb`): they hold again after a restart. What a
/// configuration file says is not seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StartSettings {
    /// The container.
    pub container: String,
    /// Name (in lower case, without dashes in front) and value, words joined by single spaces.
    pub settings: Vec<(String, String)>,
}

impl StatefulSet {
    /// Whether a pod of that name is one of its own.
    pub fn names(&self, pod: &PodName) -> bool {
        pod.as_str().rsplit_once('-').is_some_and(|(set, _)| set == self.name)
    }

    /// The number of that pod of its own.
    pub fn ordinal(&self, pod: &PodName) -> Option<u32> {
        pod.as_str().rsplit_once('-').filter(|(set, _)| *set == self.name)?.1.parse().ok()
    }

    /// The value with which that container starts; `None`: not written in its arguments.
    pub fn start_value(&self, container: &str, setting: &str) -> Option<&str> {
        let start = self.start_settings.iter().find(|start| start.container == container)?;
        // Of a setting that is given twice the last counts.
        start.settings.iter().rev().find(|(name, _)| name == setting).map(|(_, value)| value.as_str())
    }
}

/// A Service of the namespace that leads clients to selected pods, now or when their role label says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// Name.
    pub name: String,
    /// The whole selector.
    pub selector: BTreeMap<String, String>,
    /// The value of the role label that it selects, if it selects that label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Names of the selected pods whose labels have everything that the selector wants, the role label left aside.
    pub takes: Vec<PodName>,
    /// UIDs of the pods behind ready endpoints of its `EndpointSlices`; read only where it selects the role label.
    pub ready_pods: Vec<PodUid>,
    /// `clusterIPs`; none of a headless one.
    #[serde(default, skip_serializing_if = "PodAddresses::is_empty")]
    pub addresses: PodAddresses,
}

/// Labels that Kubernetes itself gives to each pod of a StatefulSet, and to no two the same.
pub const LABELS_OF_ONE_POD: &[&str] = &["statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"];

impl Service {
    /// The one pod that it selects by a label which no other pod has.
    pub fn only_pod(&self) -> Option<&PodName> {
        let selects = LABELS_OF_ONE_POD.iter().any(|label| self.selector.contains_key(*label));
        let [one] = self.takes.as_slice() else { return None };
        selects.then_some(one)
    }
}

/// The pod that one of these Services takes alone and announces by that address.
pub fn announced<'a>(services: impl IntoIterator<Item = &'a Service>, address: &NodeAddress) -> Option<&'a PodName> {
    services.into_iter().filter(|service| service.addresses.is_host(&address.host)).find_map(Service::only_pod)
}

/// What this operator may do in the policy's namespace, by the API server's own word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rights {
    /// `create pods/eviction`.
    pub evict: Right,
    /// `patch pods/resize`.
    pub resize: Right,
    /// `patch pods` (the role label).
    pub label: Right,
}

/// Whether a right was granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Right {
    /// The API server says yes.
    Granted,
    /// The API server says no.
    Denied,
    /// Not asked yet, or the question failed: never acted upon.
    #[default]
    Unknown,
}
