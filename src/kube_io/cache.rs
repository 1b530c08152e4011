//! The pods of a namespace that any policy selects, kept current by one watch and pruned to what is read here.
//!
//! Nothing is kept of pods that nobody selects. A selector that is new makes the pods be listed anew, so that those are
//! known that only it selects; until then what the others see stays: docs/adr/0014-one-watch-a-namespace.md.

mod held;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, stream::BoxStream};
use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec, Probe, Volume},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    core::Selector,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use tokio::{sync::watch, task::AbortHandle};

use self::held::{Changed, Held};
pub use self::held::{Follower, Seen};
use super::{error::Cause, text::plain};
use crate::domain::{pod::HOLD_ANNOTATION, recognition::limit_at::RELEASE_ANNOTATION};

/// Objects per page where lists are not streamed: whole pods are big before they are pruned.
const PAGE: u32 = 50;
/// Who begins to follow within this time of another is in the same list.
const GATHER: Duration = Duration::from_millis(100);
/// … but nobody waits for others for longer than this.
const GATHER_AT_MOST: Duration = Duration::from_secs(1);
/// A watch that failed and is silent since may be well: only a list can tell. Longer than the longest pause between two
/// attempts of the watch itself (30 s), and shorter than the patience with which a failing watch is said (60 s).
const DOUBT: Duration = Duration::from_secs(45);

/// Told of each failure of a list or watch: counts them.
pub type WatchFailed = Arc<dyn Fn() + Send + Sync>;
/// Told of each follower for whom something has changed: a pod, or whether the watch works.
pub type Wake = Arc<dyn Fn(&str) + Send + Sync>;

/// The selected pods of one namespace. The watch ends when this is dropped.
pub struct PodCache {
    held: Arc<Mutex<Held>>,
    followed: watch::Sender<u64>,
    task: AbortHandle,
}

impl std::fmt::Debug for PodCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PodCache").finish_non_exhaustive()
    }
}

/// Why a watch gives nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchFailure {
    /// 403: the reading rights are missing.
    pub forbidden: bool,
    /// For people.
    pub text: String,
}

impl PodCache {
    /// Watches as soon as anybody follows. Fails never: a watch that cannot be had is tried again with backoff, and
    /// [`Seen::failing`] says so. `failed` is told of every failure, `wake` of every follower that sees something else.
    pub fn watch(client: Client, namespace: &str, failed: WatchFailed, wake: Wake) -> Self {
        let held = Arc::<Mutex<Held>>::default();
        let (followed, asked) = watch::channel(0);
        let api = Api::namespaced(client, namespace);
        let feed = Feed { api, namespace: namespace.to_owned(), held: Arc::clone(&held), asked, failed, wake };
        let task = tokio::spawn(feed.run()).abort_handle();
        Self { held, followed, task }
    }

    /// That follower selects by this from now on. `query` is the selector in the form of a query.
    pub fn follow(&self, follower: &str, query: &str, selector: impl FnOnce() -> Selector) {
        if lock(&self.held).follow(follower, query, selector) {
            self.followed.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// That follower is gone. Whether anybody is left.
    pub fn leave(&self, follower: &str) -> bool {
        let mut held = lock(&self.held);
        held.leave(follower);
        held.is_followed()
    }

    /// What that follower sees.
    pub fn seen(&self, follower: &str) -> Seen {
        lock(&self.held).seen(follower)
    }
}

impl Drop for PodCache {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A poisoned lock only means that a thread died elsewhere: what is held is always whole.
fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Feed {
    api: Api<Pod>,
    namespace: String,
    held: Arc<Mutex<Held>>,
    /// Changes with everybody who follows by a selector of its own.
    asked: watch::Receiver<u64>,
    failed: WatchFailed,
    wake: Wake,
}

type PodEvents = BoxStream<'static, Result<Event<Pod>, watcher::Error>>;

impl Feed {
    /// Ends with the cache: when nobody can follow any more.
    async fn run(mut self) {
        while self.gathered().await {
            self.watched().await;
        }
    }

    /// Waits until somebody follows, and a moment longer for others. False: nobody ever will.
    async fn gathered(&mut self) -> bool {
        while !lock(&self.held).is_followed() {
            if self.asked.changed().await.is_err() {
                return false;
            }
        }
        let more = async { while let Ok(Ok(())) = tokio::time::timeout(GATHER, self.asked.changed()).await {} };
        let _enough_waited = tokio::time::timeout(GATHER_AT_MOST, more).await;
        true
    }

    /// One list and the watch behind it, until somebody follows whom it does not cover, or it may be lost.
    async fn watched(&mut self) {
        self.asked.mark_unchanged();
        let query = lock(&self.held).begin();
        tracing::debug!(namespace = %self.namespace, %query, "the pods are listed and watched");
        let mut stream = events(&self.api, &query);
        let mut doubted = false;
        loop {
            tokio::select! {
                next = stream.next() => match next {
                    Some(Ok(event)) => {
                        // A list that begins has not succeeded yet.
                        doubted &= matches!(event, Event::Init);
                        self.take(&event);
                    }
                    Some(Err(error)) => {
                        doubted = true;
                        self.fail(error);
                    }
                    None => return,
                },
                changed = self.asked.changed() => if changed.is_err() || lock(&self.held).lacks() { return },
                () = tokio::time::sleep(DOUBT), if doubted => return,
            }
        }
    }

    fn take(&self, event: &Event<Pod>) {
        let followers = {
            let mut held = lock(&self.held);
            let changed = match event {
                Event::Apply(pod) => held.is(pod),
                Event::Delete(pod) => held.gone(pod),
                Event::Init => {
                    held.list_begins();
                    return;
                }
                Event::InitApply(pod) => {
                    held.listed(pod);
                    Changed::new()
                }
                Event::InitDone => held.list_ends(),
            };
            let recovered = held.failing.take().is_some();
            if recovered { held.all_followers() } else { held.followers_of(&changed) }
        };
        self.wake(&followers);
    }

    fn fail(&self, error: watcher::Error) {
        (self.failed)();
        let failure = failure(error);
        let news = {
            let mut held = lock(&self.held);
            let news = held.failing.as_ref() != Some(&failure);
            held.failing = Some(failure.clone());
            if news { held.all_followers() } else { Vec::new() }
        };
        if !news.is_empty() {
            tracing::warn!(namespace = %self.namespace, error = %failure.text, "the watch on the pods fails");
        }
        self.wake(&news);
    }

    fn wake(&self, followers: &[Follower]) {
        for follower in followers {
            (self.wake)(follower);
        }
    }
}

/// Paged lists, not streamed ones: an API server whose etcd is older than 3.4.25 accepts a streamed list and then fails it
/// for ever (RequestWatchProgress), and a page of pruned pods is small.
fn events(api: &Api<Pod>, query: &str) -> PodEvents {
    let config = watcher::Config::default().labels(query).page_size(PAGE);
    watcher(api.clone(), config).default_backoff().modify(prune).boxed()
}

/// Whether anything but the resourceVersion differs, of two pods that are pruned already.
fn differs(before: &Pod, after: &Pod) -> bool {
    before.spec != after.spec || before.status != after.status || {
        let mut before = before.metadata.clone();
        before.resource_version.clone_from(&after.metadata.resource_version);
        before != after.metadata
    }
}

pub(super) fn failure(error: watcher::Error) -> WatchFailure {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => {
            let cause = Cause::from(error);
            WatchFailure { forbidden: matches!(cause, Cause::Forbidden(_)), text: cause.to_string() }
        }
        watcher::Error::WatchError(status) => {
            WatchFailure { forbidden: status.code == 403, text: plain(&status.message, super::error::TEXT_CAP) }
        }
        other @ watcher::Error::NoResourceVersion => WatchFailure { forbidden: false, text: other.to_string() },
    }
}

/// Of all annotations only the one that holds the object, and the one that names its Helm release.
pub(super) fn keep_what_is_read(meta: &mut ObjectMeta) {
    let mut all = meta.annotations.take().unwrap_or_default();
    let read = [HOLD_ANNOTATION, RELEASE_ANNOTATION];
    let kept: BTreeMap<_, _> = read.into_iter().filter_map(|key| all.remove_entry(key)).collect();
    meta.annotations = (!kept.is_empty()).then_some(kept);
}

/// Drops what `observe::pods` does not read. A new reader there needs its field to be kept here; its tests compare.
pub fn prune(pod: &mut Pod) {
    pod.metadata.managed_fields = None;
    keep_what_is_read(&mut pod.metadata);
    if let Some(spec) = pod.spec.as_mut() {
        let kept = std::mem::take(spec);
        *spec = PodSpec {
            containers: kept.containers.into_iter().map(pruned_container).collect(),
            init_containers: kept.init_containers.map(|all| all.into_iter().map(pruned_container).collect()),
            host_network: kept.host_network,
            hostname: kept.hostname,
            node_name: kept.node_name,
            subdomain: kept.subdomain,
            resources: kept.resources,
            termination_grace_period_seconds: kept.termination_grace_period_seconds,
            volumes: kept.volumes.map(|volumes| volumes.into_iter().map(pruned_volume).collect()),
            ..PodSpec::default()
        };
    }
    if let Some(status) = pod.status.as_mut() {
        let kept = std::mem::take(status);
        *status = k8s_openapi::api::core::v1::PodStatus {
            conditions: kept.conditions,
            container_statuses: kept.container_statuses,
            init_container_statuses: kept.init_container_statuses,
            phase: kept.phase,
            pod_ip: kept.pod_ip,
            pod_ips: kept.pod_ips,
            qos_class: kept.qos_class,
            ..k8s_openapi::api::core::v1::PodStatus::default()
        };
    }
}

fn pruned_container(kept: Container) -> Container {
    Container {
        name: kept.name,
        ports: kept.ports,
        resize_policy: kept.resize_policy,
        resources: kept.resources,
        restart_policy: kept.restart_policy,
        volume_mounts: kept.volume_mounts,
        readiness_probe: kept.readiness_probe.as_ref().map(pruned_probe),
        startup_probe: kept.startup_probe.as_ref().map(pruned_probe),
        ..Container::default()
    }
}

fn pruned_probe(kept: &Probe) -> Probe {
    Probe {
        initial_delay_seconds: kept.initial_delay_seconds,
        period_seconds: kept.period_seconds,
        success_threshold: kept.success_threshold,
        ..Probe::default()
    }
}

/// Of a volume only its name and whether it is a claim or an emptyDir is read.
fn pruned_volume(kept: Volume) -> Volume {
    Volume {
        name: kept.name,
        persistent_volume_claim: kept.persistent_volume_claim,
        empty_dir: kept.empty_dir,
        ..Volume::default()
    }
}

#[cfg(test)]
mod tests;
