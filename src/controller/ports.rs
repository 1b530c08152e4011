//! What a reconcile asks of the world besides what the executor does: the policies, the watches and what is observed.
//! Production is [`Outside`](super::outside::Outside); the simulator of the tests is the other implementation.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::runtime::reflector::ObjectRef;
use serde_json::Value;

use crate::{
    api::v1alpha1::{FindingStatus, StoredPolicy},
    assess::{AssessSettings, judged::Judged},
    domain::{
        event::EventNote,
        names::PodName,
        pod::StatefulSet,
        policy::Policy,
        snapshot::Snapshot,
        surroundings::{Claim, Elsewhere, Reach},
        volume::Volumes,
    },
    execute::ports::Ports,
    kube_io::{around::Around, cache::Seen, error::KubeError, event::EventTarget, write::WriteError},
};

/// A policy in the version that was read: what a write to it must still find.
#[derive(Clone, Copy, Debug)]
pub struct PolicyVersion<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its resourceVersion.
    pub version: &'a str,
}

impl<'a> PolicyVersion<'a> {
    /// The version of that object.
    pub fn of(meta: &'a ObjectMeta) -> Self {
        let text = |field: &'a Option<String>| field.as_deref().unwrap_or_default();
        Self { namespace: text(&meta.namespace), name: text(&meta.name), version: text(&meta.resource_version) }
    }
}

/// Policies as they are stored now, and what is written to them. Each write asks the fence right before it is sent, and is
/// refused when the policy is no longer of that version; it returns the policy as it is then.
pub trait Policies: Send + Sync {
    /// The policy of that name as it is now; `None`: there is none.
    fn policy(
        &self,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Option<StoredPolicy>, KubeError>> + Send;
    /// Applies the whole set of status fields that people read.
    fn apply_status(
        &self,
        of: PolicyVersion<'_>,
        part: Value,
    ) -> impl Future<Output = Result<StoredPolicy, WriteError>> + Send;
    /// Applies the whole set of journal fields.
    fn apply_journal(
        &self,
        of: PolicyVersion<'_>,
        part: Value,
    ) -> impl Future<Output = Result<StoredPolicy, WriteError>> + Send;
    /// Adds or removes our finalizer.
    fn set_finalizer(
        &self,
        of: PolicyVersion<'_>,
        present: bool,
    ) -> impl Future<Output = Result<StoredPolicy, WriteError>> + Send;
    /// Writes one event.
    fn event(&self, about: &EventTarget, note: &EventNote) -> impl Future<Output = Result<(), WriteError>> + Send;
}

/// What a policy sees of its namespace, as the watches last had it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Its pods.
    pub pods: Seen,
    /// What lies around them; `None`: it is not watched, and read.
    pub around: Option<Arc<Around>>,
}

/// How new something must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// As it is now: something may be done on it.
    Now,
    /// As it was lately: nothing is done on it.
    Lately,
}

/// The world of a reconcile.
pub trait World: Send + Sync + 'static {
    /// The world of the executor.
    type Ports: Ports + Policies;

    /// These policies, by UID, and those of the namespace that are in the middle of a remediation, as last seen.
    fn rivals(&self, namespace: &str, of: &BTreeSet<String>) -> Vec<Arc<StoredPolicy>>;
    /// The remediations of all policies, by their journals.
    fn remediations(&self) -> BTreeMap<String, Elsewhere>;
    /// The policies that may tell of a restart since then, as last seen.
    fn restarted_within(&self, time: SignedDuration, now: Timestamp) -> Vec<Arc<StoredPolicy>>;
    /// What the policy sees of its namespace, by this selector from now on; `query`: the same in the form of a query.
    /// `now`: uptime of the process.
    fn watched(&self, policy: &Policy, selector: &LabelSelector, query: &str, now: Duration) -> Watched;
    /// A snapshot of those pods with the latest samples.
    fn cached(
        &self,
        policy: &Arc<Policy>,
        watched: &Watched,
        claims: &[Claim],
        settings: AssessSettings,
    ) -> impl Future<Output = Result<Snapshot, KubeError>> + Send;
    /// A snapshot of the pods that exist now, each probed now.
    fn live(
        &self,
        policy: &Arc<Policy>,
        selector: &str,
        claims: &[Claim],
        settings: AssessSettings,
    ) -> impl Future<Output = Result<Snapshot, KubeError>> + Send;
    /// The StatefulSets of those names, of which no pod is selected, as far as they exist and can be read; from `around`,
    /// where it is watched.
    fn stateful_sets(
        &self,
        policy: &Policy,
        names: &[String],
        around: Option<&Around>,
    ) -> impl Future<Output = Vec<StatefulSet>> + Send;
    /// What is behind the claims of those pods, no older than that.
    fn volumes(
        &self,
        namespace: &str,
        snapshot: &Snapshot,
        of: &[PodName],
        age: Duration,
    ) -> impl Future<Output = Volumes> + Send;
    /// The snapshot as people are told of it.
    fn settled(&self, policy: &Policy, snapshot: &Snapshot) -> Snapshot;
    /// How many of all pods answered their last probe.
    fn reach(&self, how: Freshness) -> Reach;
    /// Shows the targets of the policy as series.
    fn show(&self, policy: &Policy, snapshot: &Snapshot, findings: &[FindingStatus], judged: &Judged);
    /// Nothing of that policy is probed any more.
    fn stop_probing(&self, uid: &str);
    /// Nothing of that policy is watched any more.
    fn stop_watching(&self, uid: &str);
    /// Time since the policy's status was last written, by this process, or since the policy was first seen.
    fn since_written(&self, uid: &str, now: Duration) -> Option<Duration>;
    /// Its status was written now.
    fn written(&self, uid: &str, now: Duration);
    /// Whether that policy waits for a slot of the cluster's budget.
    fn waits(&self, uid: &str, waits: bool);
    /// A slot was given back: the policies that wait for one are looked at.
    fn wake_waiting(&self);
    /// Whether the policy was woken since it was last asked.
    fn woken(&self, policy: &ObjectRef<StoredPolicy>) -> bool;
    /// What is left of the time for which the API server asked us to wait, if it did.
    fn asked_to_wait(&self) -> Option<Duration>;
}
