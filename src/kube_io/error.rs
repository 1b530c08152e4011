//! What can go wrong with a read: one variant per action, the cause beside it.

use std::time::Duration;

use kube::runtime::watcher;

use super::text::plain;

/// The longest text of another's making that goes into an error of ours.
pub(super) const TEXT_CAP: usize = 512;

/// A read from the API server failed. The texts name resources and users, never a secret value.
#[derive(Debug, thiserror::Error)]
pub enum KubeError {
    /// The client could not be configured: no kubeconfig, no service account, a bad certificate.
    #[error("cannot configure the Kubernetes client: {0}")]
    ConfigureClient(#[source] Box<kube::Error>),
    /// GET of a `RedisMemoryPolicy`.
    #[error("cannot read the RedisMemoryPolicy: {0}")]
    GetPolicy(#[source] Cause),
    /// LIST of `RedisMemoryPolicies`.
    #[error("cannot list the RedisMemoryPolicies: {0}")]
    ListPolicies(#[source] Cause),
    /// PATCH of a `RedisMemoryPolicy`.
    #[error("cannot change the RedisMemoryPolicy: {0}")]
    PatchPolicy(#[source] Cause),
    /// GET of the API server's version.
    #[error("cannot ask the API server for its version: {0}")]
    GetVersion(#[source] Cause),
    /// GET of the `CustomResourceDefinition`.
    #[error("cannot read the CustomResourceDefinition: {0}")]
    GetDefinition(#[source] Cause),
    /// GET of a pod.
    #[error("cannot read the pod: {0}")]
    GetPod(#[source] Cause),
    /// LIST of pods.
    #[error("cannot list the pods: {0}")]
    ListPods(#[source] Cause),
    /// GET of a `StatefulSet`.
    #[error("cannot read the StatefulSet: {0}")]
    GetStatefulSet(#[source] Cause),
    /// GET of a pod's controller.
    #[error("cannot read the pod's controller: {0}")]
    GetOwner(#[source] Cause),
    /// LIST of Services.
    #[error("cannot list the Services: {0}")]
    ListServices(#[source] Cause),
    /// LIST of `EndpointSlices`.
    #[error("cannot list the EndpointSlices: {0}")]
    ListEndpointSlices(#[source] Cause),
}

impl KubeError {
    /// The variant's name: a stable word for metrics and reasons.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::ConfigureClient(_) => "ConfigureClient",
            Self::GetPolicy(_) => "GetPolicy",
            Self::ListPolicies(_) => "ListPolicies",
            Self::PatchPolicy(_) => "PatchPolicy",
            Self::GetVersion(_) => "GetVersion",
            Self::GetDefinition(_) => "GetDefinition",
            Self::GetPod(_) => "GetPod",
            Self::ListPods(_) => "ListPods",
            Self::GetStatefulSet(_) => "GetStatefulSet",
            Self::GetOwner(_) => "GetOwner",
            Self::ListServices(_) => "ListServices",
            Self::ListEndpointSlices(_) => "ListEndpointSlices",
        }
    }

    /// The API server said that we may not: waiting does not help, granting the right does.
    pub const fn is_forbidden(&self) -> bool {
        matches!(
            self,
            Self::GetPolicy(Cause::Forbidden(_))
                | Self::ListPolicies(Cause::Forbidden(_))
                | Self::PatchPolicy(Cause::Forbidden(_))
                | Self::GetVersion(Cause::Forbidden(_))
                | Self::GetDefinition(Cause::Forbidden(_))
                | Self::GetPod(Cause::Forbidden(_))
                | Self::ListPods(Cause::Forbidden(_))
                | Self::GetStatefulSet(Cause::Forbidden(_))
                | Self::GetOwner(Cause::Forbidden(_))
                | Self::ListServices(Cause::Forbidden(_))
                | Self::ListEndpointSlices(Cause::Forbidden(_))
        )
    }
}

/// Why a request gave no result.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// No complete answer within the limit. A write may or may not have happened.
    #[error("no answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// 403: a missing right, a quota, a limit range or an admission policy; the text says which.
    #[error("{0}")]
    Forbidden(String),
    /// Any other answer with an error status.
    #[error("{message} (HTTP {code})")]
    Refused {
        /// HTTP status.
        code: u16,
        /// The API server's text on one line.
        message: String,
    },
    /// An answer that is not what was asked for: a broken object or a newer format.
    #[error("the answer cannot be read: {0}")]
    Malformed(#[source] serde_json::Error),
    /// No answer: connection, TLS or credentials. A write may or may not have happened.
    #[error("{}", chain(.0.as_ref()))]
    Unanswered(#[source] Box<kube::Error>),
}

impl From<kube::Error> for Cause {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 403 => Self::Forbidden(plain(&status.message, TEXT_CAP)),
            kube::Error::Api(status) => Self::Refused { code: status.code, message: plain(&status.message, TEXT_CAP) },
            kube::Error::SerdeError(source) => Self::Malformed(source),
            other => Self::Unanswered(Box::new(other)),
        }
    }
}

/// Whether the API server said that we may not list or watch that.
pub fn is_forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.code == 403,
        _ => false,
    }
}

/// The innermost text of an error: "Connection refused" says more than "`ServiceError`: client error (Connect)".
fn chain(error: &kube::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    plain(&deepest.to_string(), TEXT_CAP)
}

/// Sends a request and gives up waiting after `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Cause> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer.map_err(Cause::from),
        Err(_) => Err(Cause::TimedOut(limit)),
    }
}
