//! The world of a reconcile in production: caches, the sampler, the API server, metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::runtime::reflector::ObjectRef;
use serde_json::Value;

use super::{
    ports::{Freshness, Policies, PolicyVersion, Watched, World},
    registry::Registry,
    roster::Roster,
    series,
    wakes::Wakes,
};
use crate::{
    api::v1alpha1::{FindingStatus, StoredPolicy},
    assess::{AssessSettings, digest, judged::Judged},
    domain::{
        event::EventNote,
        names::PodName,
        pod::{Pod, StatefulSet},
        policy::Policy,
        snapshot::Snapshot,
        surroundings::{Claim, Elsewhere, Reach},
        volume::Volumes,
    },
    execute::live::Live,
    kube_io::{around::Around, error::KubeError, event::EventTarget, overload::Overload, write::WriteError},
    metrics::{Metrics, PolicyKey},
    observe::{sampler::Digester, snapshot::Observer},
};

/// What a term of leadership sees of the world.
pub struct Outside {
    /// Reads.
    pub observer: Observer,
    /// Pod caches; they outlive the term.
    pub registry: Arc<Registry>,
    /// Who is to be looked at.
    pub wakes: Wakes,
    /// Every policy, as last seen.
    pub policies: Roster,
    /// Until when the API server asked us to wait.
    pub overload: Overload,
    /// Metrics.
    pub metrics: Metrics,
}

impl Policies for Live {
    async fn policy(&self, namespace: &str, name: &str) -> Result<Option<StoredPolicy>, KubeError> {
        self.reader.policy(namespace, name).await
    }

    async fn apply_status(&self, of: PolicyVersion<'_>, part: Value) -> Result<StoredPolicy, WriteError> {
        self.writer.apply_status(&self.fence, of.namespace, of.name, of.version, part).await
    }

    async fn apply_journal(&self, of: PolicyVersion<'_>, part: Value) -> Result<StoredPolicy, WriteError> {
        self.writer.apply_journal(&self.fence, of.namespace, of.name, of.version, part).await
    }

    async fn set_finalizer(&self, of: PolicyVersion<'_>, present: bool) -> Result<StoredPolicy, WriteError> {
        self.writer.set_finalizer(&self.fence, of.namespace, of.name, of.version, present).await
    }

    async fn event(&self, about: &EventTarget, note: &EventNote) -> Result<(), WriteError> {
        self.writer.event(&self.fence, about, note).await
    }
}

/// What tells the sampler whether something has changed for that policy.
fn digests(policy: &Arc<Policy>, settings: AssessSettings) -> impl Fn(&[Pod]) -> Digester {
    move |pods| Arc::new(digest::of(Arc::clone(policy), pods, settings))
}

impl World for Outside {
    type Ports = Live;

    fn rivals(&self, namespace: &str, of: &BTreeSet<String>) -> Vec<Arc<StoredPolicy>> {
        self.policies.rivals(namespace, of)
    }

    fn remediations(&self) -> BTreeMap<String, Elsewhere> {
        self.policies.remediations()
    }

    fn restarted_within(&self, time: SignedDuration, now: Timestamp) -> Vec<Arc<StoredPolicy>> {
        self.policies.restarted_within(time, now)
    }

    fn watched(&self, policy: &Policy, selector: &LabelSelector, query: &str, now: Duration) -> Watched {
        let reference = ObjectRef::new(&policy.name).within(&policy.namespace);
        self.registry.view(&policy.uid, &reference, selector, query, now)
    }

    async fn cached(
        &self,
        policy: &Arc<Policy>,
        watched: &Watched,
        claims: &[Claim],
        settings: AssessSettings,
    ) -> Result<Snapshot, KubeError> {
        let Watched { pods: seen, around } = watched;
        self.observer.cached(policy, &seen.pods, around.as_deref(), claims, digests(policy, settings)).await
    }

    async fn live(
        &self,
        policy: &Arc<Policy>,
        selector: &str,
        claims: &[Claim],
        settings: AssessSettings,
    ) -> Result<Snapshot, KubeError> {
        self.observer.live(policy, selector, claims, digests(policy, settings)).await
    }

    async fn stateful_sets(&self, policy: &Policy, names: &[String], around: Option<&Around>) -> Vec<StatefulSet> {
        self.observer.stateful_sets(policy, names, around).await
    }

    async fn volumes(&self, namespace: &str, snapshot: &Snapshot, of: &[PodName], age: Duration) -> Volumes {
        self.observer.volumes(namespace, snapshot, of, age).await
    }

    fn settled(&self, policy: &Policy, snapshot: &Snapshot) -> Snapshot {
        self.observer.settled(policy, snapshot)
    }

    fn reach(&self, how: Freshness) -> Reach {
        match how {
            Freshness::Now => self.observer.sampler.reach(),
            Freshness::Lately => self.observer.sampler.reach_lately(),
        }
    }

    fn show(&self, policy: &Policy, snapshot: &Snapshot, findings: &[FindingStatus], judged: &Judged) {
        let key = PolicyKey::new(&policy.namespace, &policy.name);
        let series = series::of(policy, snapshot, findings, judged, &self.observer.sampler);
        self.metrics.publish_targets(&key, series);
    }

    fn stop_probing(&self, uid: &str) {
        self.observer.sampler.forget(uid);
        self.observer.nodes.forget(uid);
    }

    fn stop_watching(&self, uid: &str) {
        self.registry.forget(uid);
    }

    fn since_written(&self, uid: &str, now: Duration) -> Option<Duration> {
        self.registry.since_written(uid, now)
    }

    fn written(&self, uid: &str, now: Duration) {
        self.registry.written(uid, now);
    }

    fn waits(&self, uid: &str, waits: bool) {
        self.registry.waits(uid, waits);
    }

    fn wake_waiting(&self) {
        self.registry.wake_waiting();
    }

    fn woken(&self, policy: &ObjectRef<StoredPolicy>) -> bool {
        self.wakes.taken(policy)
    }

    fn asked_to_wait(&self) -> Option<Duration> {
        self.overload.left()
    }
}
