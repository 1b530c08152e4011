//! What a policy wants sampled.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use crate::domain::{
    names::{ControllerUid, PodUid},
    policy::SecretKey,
    sample::Reading,
    snapshot::{Observation, ProbeFailure},
    tls::TlsRule,
};

/// Names what a policy sees of a pod: another policy may see it otherwise, by its own credentials, or not at all. A pod
/// that is replaced is another pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetKey {
    /// UID of the policy.
    pub policy_uid: String,
    /// UID of the pod.
    pub pod_uid: PodUid,
}

/// One target of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// UID of the pod.
    pub pod_uid: PodUid,
    /// The set that it is of: its controller, as "namespace/name" and UID; else the pod.
    pub set: (String, ControllerUid),
    /// Where its Redis listens.
    pub address: SocketAddr,
    /// What it is authenticated to with.
    pub credentials: CredentialsFor,
    /// How long readings are kept.
    pub keep: Duration,
}

/// Where a target's credentials come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialsFor {
    /// No AUTH is sent.
    None,
    /// AUTH with the password in this Secret.
    Secret {
        /// Namespace of the Secret.
        namespace: String,
        /// The Secret and its key.
        secret: SecretKey,
        /// ACL user; `None`: the default user.
        username: Option<String>,
    },
    /// Over TLS.
    Tls {
        /// Namespace of the Secrets.
        namespace: String,
        /// The Secrets, and whom to expect.
        rule: TlsRule,
        /// Names that the pod's certificate may have, where the rule prescribes none.
        names: Vec<String>,
        /// How to log in then.
        login: Box<Self>,
    },
    /// The target is not connected to at all, and this is what is observed: its owner is unproven, say.
    Withheld(ProbeFailure),
}

/// Where and how a pod is probed. Policies that agree in all of it share one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) address: SocketAddr,
    pub(super) credentials: CredentialsFor,
}

/// Digests what a policy would conclude from an observation and its history. Equal digest: nothing to reconcile.
pub type Digester = Arc<dyn Fn(Observation, Vec<Reading>) -> u64 + Send + Sync>;

/// A policy that watches a target.
pub(super) struct Watcher {
    pub(super) policy_uid: String,
    pub(super) namespace: String,
    /// The set that the pod is of.
    pub(super) set: (String, ControllerUid),
    pub(super) keep: Duration,
    pub(super) digester: Digester,
    /// The digest that was last reported; `None`: none yet.
    pub(super) digest: Option<u64>,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("policy_uid", &self.policy_uid)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}
