//! The only Kubernetes writes of this program. Each passes the fence right before it is sent, carries a precondition
//! (UID, resourceVersion) where it changes somebody's object, is bounded by the lease, and is never repeated here.

use std::time::Duration;

use k8s_openapi::{
    api::{core::v1::Pod, policy::v1::Eviction},
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions},
};
use kube::{
    Api, Client, Resource as _,
    api::{Patch, PatchParams, PostParams},
    core::Status,
};
use serde_json::{Value, json};

use super::{
    error::{Cause, TEXT_CAP},
    event::EventTarget,
    fence::{Fence, Fenced},
    text::plain,
};
use crate::{
    api::v1alpha1::{FINALIZER, RedisMemoryPolicy, StoredPolicy},
    clock::Clock,
    domain::{
        bytes::{Bytes, MIB},
        event::EventNote,
        names::{PodName, PodUid},
    },
};

/// Field manager of pods and of the status that people read (conditions, summary, findings, plan).
pub const MANAGER: &str = "redis-memory-operator";
/// Field manager of the journal and of what is remembered of workloads.
pub const JOURNAL_MANAGER: &str = "redis-memory-operator-journal";
/// The limit of one write. Below the margin of the lease (5 s): a write that was begun in time has ended, or is given
/// up, before another process can lead.
const WRITE_TIMEOUT: Duration = Duration::from_secs(4);

/// A write other than an eviction was not carried out, or nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// We may not lead any more: nothing was sent.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The object changed since it was read (409): read again, decide again.
    #[error("changed since it was read: {0}")]
    Conflict(String),
    /// Another field manager owns what we wanted to set of an object of others, and there we never force.
    #[error("owned by another field manager: {0}")]
    FieldConflict(String),
    /// A pod of that name exists, but it is another one.
    #[error("the pod was replaced: {0}")]
    UidChanged(String),
    /// The object is gone (404).
    #[error("gone: {0}")]
    Gone(String),
    /// 403: a missing right, a quota, a limit range or an admission policy; the text is the API server's.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// The API server found the change invalid (400, 422); the text is its own.
    #[error("refused: {0}")]
    Invalid(String),
    /// The definition of policies in the cluster does not take what this program writes into a status; the text says which
    /// field. A field that it does not declare is an error 500 of the API server (kubernetes/kubernetes#139253).
    #[error(
        "the definition of RedisMemoryPolicy in the cluster is not the one of this operator, and does not take what it writes \
         ({0}): update the definition: {update}",
        update = UPDATE_DEFINITION
    )]
    OtherDefinition(String),
    /// Anything else: overload, no answer, an unreadable answer.
    #[error("not confirmed: {0}")]
    Unconfirmed(#[source] Cause),
}

/// Makes the definition in the cluster that of this program.
const UPDATE_DEFINITION: &str = "redis-memory-operator crd | kubectl apply --server-side -f - (with the program of the operator's \
                                 version; or upgrade the chart with crds.install=true)";

impl WriteError {
    /// The write may have happened although it was not confirmed: read back before it is repeated.
    pub const fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Unconfirmed(_))
    }

    /// The API server judged the change and said no; asked again it says the same.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Forbidden(_) | Self::Invalid(_) | Self::FieldConflict(_))
    }

    /// The variant's name: a stable word for metrics and reasons.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Fenced(_) => "Fenced",
            Self::Conflict(_) => "Conflict",
            Self::FieldConflict(_) => "FieldConflict",
            Self::UidChanged(_) => "UidChanged",
            Self::Gone(_) => "Gone",
            Self::Forbidden(_) => "Forbidden",
            Self::Invalid(_) => "Invalid",
            Self::OtherDefinition(_) => "OtherDefinition",
            Self::Unconfirmed(_) => "Unconfirmed",
        }
    }
}

/// An eviction was not carried out, or nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum EvictError {
    /// We may not lead any more: nothing was sent.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The pod's disruption budget does not allow it now (429): a reason to wait.
    #[error("the disruption budget does not allow it now: {0}")]
    BudgetSaysNo(String),
    /// More than one budget selects the pod (500): the API server evicts it never.
    #[error("the disruption budgets are misconfigured: {0}")]
    BudgetBroken(String),
    /// There is no pod of that name (404).
    #[error("the pod is gone")]
    Gone,
    /// A pod of that name exists, but it is another one (409).
    #[error("the pod was replaced: {0}")]
    UidChanged(String),
    /// 403: a missing right or an admission policy.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// Anything else. Unless the API server refused, the eviction may have happened: read back.
    #[error("not confirmed: {0}")]
    Other(#[source] Cause),
}

impl EvictError {
    /// The variant's name: a stable word for metrics and reasons.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Fenced(_) => "Fenced",
            Self::BudgetSaysNo(_) => "BudgetSaysNo",
            Self::BudgetBroken(_) => "BudgetBroken",
            Self::Gone => "Gone",
            Self::UidChanged(_) => "UidChanged",
            Self::Forbidden(_) => "Forbidden",
            Self::Other(_) => "Other",
        }
    }
}

/// Carries writes out.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    clock: Clock,
    /// `reportingInstance` of events: which process speaks.
    instance: String,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("instance", &self.instance).finish_non_exhaustive()
    }
}

/// Names the pod that a write is about: by name, by UID, and for patches by the version that was read.
#[derive(Clone, Copy, Debug)]
pub struct PodTarget<'a> {
    /// Namespace.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a PodName,
    /// The UID that it must have.
    pub uid: &'a PodUid,
    /// The version that the decision rests on.
    pub resource_version: &'a str,
}

impl PodTarget<'_> {
    fn preconditions(&self) -> Value {
        json!({ "uid": self.uid.as_str(), "resourceVersion": self.resource_version })
    }
}

impl Writer {
    /// Writes through this client; `instance` is the identity that leads.
    pub fn new(client: Client, clock: Clock, instance: impl Into<String>) -> Self {
        Self { client, clock, instance: instance.into() }
    }

    /// Evicts the pod with that UID through the Eviction API, so that its disruption budgets are obeyed. `Ok` means
    /// that the deletion has begun.
    pub async fn evict(&self, fence: &Fence, namespace: &str, pod: &PodName, uid: &PodUid) -> Result<(), EvictError> {
        // Not `Api::evict`: kube-core 5.0.0 writes the field as `delete_options`, which the API server ignores, and
        // with it the UID precondition.
        let eviction = Eviction {
            metadata: ObjectMeta {
                name: Some(pod.as_str().to_owned()),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            delete_options: Some(DeleteOptions {
                preconditions: Some(Preconditions { uid: Some(uid.as_str().to_owned()), resource_version: None }),
                ..DeleteOptions::default()
            }),
        };
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let limit = limit(fence)?;
        let params = PostParams::default();
        let request = pods.create_subresource::<Eviction, Status>("eviction", pod.as_str(), &params, &eviction);
        match tokio::time::timeout(limit, request).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(kube::Error::Api(status))) => Err(evict_error(&status)),
            Ok(Err(error)) => Err(EvictError::Other(error.into())),
            Err(_) => Err(EvictError::Other(Cause::TimedOut(limit))),
        }
    }

    /// Sets the container's memory limit (and request, when given) in place. `Ok` means that the API server has
    /// accepted it; the kubelet's answer is read from the pod.
    pub async fn resize(
        &self,
        fence: &Fence,
        pod: PodTarget<'_>,
        container: &str,
        limit: Bytes,
        request: Option<Bytes>,
    ) -> Result<(), WriteError> {
        let mut resources = json!({ "limits": { "memory": quantity(limit) } });
        if let (Some(request), Some(resources)) = (request, resources.as_object_mut()) {
            resources.insert("requests".into(), json!({ "memory": quantity(request) }));
        }
        let patch = json!({
            "metadata": pod.preconditions(),
            "spec": { "containers": [{ "name": container, "resources": resources }] },
        });
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), pod.namespace);
        let params = managed_by(MANAGER);
        send(fence, pods.patch_resize(pod.name.as_str(), &params, &Patch::Strategic(&patch))).await.map(|_| ())
    }

    /// Sets or (`None`) removes one label of the pod, and nothing else. Returns the pod's new resourceVersion.
    pub async fn set_label(
        &self,
        fence: &Fence,
        pod: PodTarget<'_>,
        key: &str,
        value: Option<&str>,
    ) -> Result<String, WriteError> {
        let mut metadata = pod.preconditions();
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("labels".into(), json!({ key: value }));
        }
        let patch = json!({ "metadata": metadata });
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), pod.namespace);
        let params = managed_by(MANAGER);
        let patched = send(fence, pods.patch_metadata(pod.name.as_str(), &params, &Patch::Merge(&patch))).await?;
        Ok(patched.metadata.resource_version.unwrap_or_default())
    }

    /// Applies the whole set of status fields that people read, if the resource is still of that version.
    pub async fn apply_status(
        &self,
        fence: &Fence,
        namespace: &str,
        name: &str,
        resource_version: &str,
        status: Value,
    ) -> Result<StoredPolicy, WriteError> {
        self.apply(fence, MANAGER, namespace, name, resource_version, status).await
    }

    /// Applies the whole set of journal fields, if the resource is still of that version.
    pub async fn apply_journal(
        &self,
        fence: &Fence,
        namespace: &str,
        name: &str,
        resource_version: &str,
        part: Value,
    ) -> Result<StoredPolicy, WriteError> {
        self.apply(fence, JOURNAL_MANAGER, namespace, name, resource_version, part).await
    }

    /// Adds or removes our finalizer, if the resource is still of that version; the finalizers of others stay. Writes
    /// nothing when it is already so.
    pub async fn set_finalizer(
        &self,
        fence: &Fence,
        namespace: &str,
        name: &str,
        resource_version: &str,
        present: bool,
    ) -> Result<StoredPolicy, WriteError> {
        let policies: Api<StoredPolicy> = Api::namespaced(self.client.clone(), namespace);
        let policy = send(fence, policies.get(name)).await?;
        if policy.meta().resource_version.as_deref() != Some(resource_version) {
            return Err(WriteError::Conflict(format!("{namespace}/{name} is not at version {resource_version}")));
        }
        let before = policy.meta().finalizers.clone().unwrap_or_default();
        let wanted = with_finalizer(&before, present);
        if wanted == before {
            return Ok(policy);
        }
        let patch = json!({ "metadata": { "resourceVersion": resource_version, "finalizers": wanted } });
        send(fence, policies.patch(name, &managed_by(MANAGER), &Patch::Merge(&patch))).await
    }

    /// Writes one event. Not through kube's `Recorder`, which folds events that differ only in their note.
    pub async fn event(&self, fence: &Fence, about: &EventTarget, note: &EventNote) -> Result<(), WriteError> {
        let event = super::event::build(about, note, self.clock.now(), &self.instance);
        let api: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(self.client.clone(), about.namespace());
        send(fence, api.create(&PostParams::default(), &event)).await.map(|_| ())
    }

    async fn apply(
        &self,
        fence: &Fence,
        manager: &str,
        namespace: &str,
        name: &str,
        resource_version: &str,
        status: Value,
    ) -> Result<StoredPolicy, WriteError> {
        let patch = json!({
            "apiVersion": RedisMemoryPolicy::api_version(&()),
            "kind": RedisMemoryPolicy::kind(&()),
            "metadata": { "name": name, "resourceVersion": resource_version },
            "status": status,
        });
        let policies: Api<StoredPolicy> = Api::namespaced(self.client.clone(), namespace);
        // The status is ours alone: what somebody else wrote there, by hand or with a backup, is overwritten. The version
        // guards what the decision rests on. Objects of others are never forced.
        let params = PatchParams::apply(manager).force();
        send(fence, policies.patch_status(name, &params, &Patch::Apply(&patch))).await
    }
}

/// What a request that begins now may take; refuses when we may not lead any more.
fn limit(fence: &Fence) -> Result<Duration, Fenced> {
    Ok(WRITE_TIMEOUT.min(fence.allowance()?))
}

/// Checks the fence, then sends. Futures do nothing before they are polled, so the check comes first.
async fn send<T>(fence: &Fence, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, WriteError> {
    let limit = limit(fence)?;
    match tokio::time::timeout(limit, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(write_error(&status)),
        Ok(Err(error)) => Err(WriteError::Unconfirmed(error.into())),
        Err(_) => Err(WriteError::Unconfirmed(Cause::TimedOut(limit))),
    }
}

fn managed_by(manager: &str) -> PatchParams {
    PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() }
}

/// Whole mebibytes read well; anything else is written in bytes, exactly.
fn quantity(amount: Bytes) -> String {
    if amount.0 > 0 && amount.0.is_multiple_of(MIB) { format!("{}Mi", amount.0 / MIB) } else { amount.0.to_string() }
}

fn with_finalizer(before: &[String], present: bool) -> Vec<String> {
    let mut after: Vec<String> = before.iter().filter(|name| present || name.as_str() != FINALIZER).cloned().collect();
    if present && !after.iter().any(|name| name == FINALIZER) {
        after.push(FINALIZER.to_owned());
    }
    after
}

fn has_cause(status: &Status, reason: &str) -> bool {
    status.details.as_ref().is_some_and(|details| details.causes.iter().any(|cause| cause.reason == reason))
}

fn names_field(status: &Status, field: &str) -> bool {
    status.details.as_ref().is_some_and(|details| details.causes.iter().any(|cause| cause.field == field))
}

fn write_error(status: &Status) -> WriteError {
    let message = plain(&status.message, TEXT_CAP);
    if let (400 | 422 | 500, Some(what)) = (status.code, not_taken(status)) {
        return WriteError::OtherDefinition(what);
    }
    match status.code {
        403 => WriteError::Forbidden(message),
        404 => WriteError::Gone(message),
        409 if has_cause(status, "FieldManagerConflict") => WriteError::FieldConflict(message),
        409 if is_uid_mismatch(&status.message) => WriteError::UidChanged(message),
        409 => WriteError::Conflict(message),
        422 if names_field(status, "metadata.uid") => WriteError::UidChanged(message),
        400 | 422 => WriteError::Invalid(message),
        code => WriteError::Unconfirmed(Cause::Refused { code, message }),
    }
}

/// What of a status the definition does not take: a field that it does not declare, or a value that it does not know.
fn not_taken(status: &Status) -> Option<String> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let value = causes.map(|cause| (&cause.field, &cause.message)).find(|(field, _)| field.starts_with("status."));
    let value = value.map(|(field, message)| format!("{field}: {message}"));
    let text = value.or_else(|| {
        let field = status.message.split_once(": field not declared in schema")?.0.rsplit([' ', '\n']).next()?;
        field.starts_with(".status").then(|| format!("{field}: not declared"))
    })?;
    Some(plain(&text, TEXT_CAP))
}

fn evict_error(status: &Status) -> EvictError {
    let message = plain(&status.message, TEXT_CAP);
    match status.code {
        403 => EvictError::Forbidden(message),
        404 => EvictError::Gone,
        409 if is_uid_mismatch(&status.message) => EvictError::UidChanged(message),
        // A 429 without this cause is the API server's own overload: nothing was judged.
        429 if has_cause(status, "DisruptionBudget") => EvictError::BudgetSaysNo(message),
        500 if status.message.contains("PodDisruptionBudget") => EvictError::BudgetBroken(message),
        code => EvictError::Other(Cause::Refused { code, message }),
    }
}

/// The API server's words for a UID precondition that does not hold: the registry's, and the eviction's own.
fn is_uid_mismatch(message: &str) -> bool {
    message.contains("UID in precondition") || message.contains("UID in the precondition")
}

#[cfg(test)]
mod tests;
