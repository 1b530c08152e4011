//! The pods of one policy, kept current by a watch: selected by label on the server, pruned to what is read here.

use std::sync::Arc;

use futures::{StreamExt as _, stream::BoxStream};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume};
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt as _,
        reflector::{ObjectRef, Store, store},
        watcher::{self, Event, watcher},
    },
};
use tokio::{sync::watch, task::AbortHandle};

use super::{error::Cause, text::plain};

/// Objects per page where lists are not streamed: whole pods are big before they are pruned.
const PAGE: u32 = 50;

/// Told of each failure of a list or watch: counts them.
pub type WatchFailed = Arc<dyn Fn() + Send + Sync>;

/// The pods of one policy. The watch ends when this is dropped.
#[derive(Debug)]
pub struct PodCache {
    reader: Store<Pod>,
    state: watch::Receiver<CacheState>,
    task: AbortHandle,
}

/// How current the cache is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheState {
    /// Grows with every change that a decision may rest on; a change of the resourceVersion alone is none.
    pub version: u64,
    /// Every selected pod has been seen once.
    pub synced: bool,
    /// The text of the failure that the watch is in, until it works again. What is cached stays, and ages.
    pub failing: Option<WatchFailure>,
}

/// Why the watch gives nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchFailure {
    /// 403: the reading rights are missing.
    pub forbidden: bool,
    /// For people.
    pub text: String,
}

impl PodCache {
    /// Starts to watch the pods that the selector (in the form of a query) matches. Fails never: a watch that cannot
    /// be had is tried again with backoff, and [`CacheState::failing`] says so.
    pub fn watch(client: Client, namespace: &str, selector: &str) -> Self {
        Self::watch_counted(client, namespace, selector, Arc::new(|| {}))
    }

    /// The same, and `failed` is told of every failure.
    pub fn watch_counted(client: Client, namespace: &str, selector: &str, failed: WatchFailed) -> Self {
        let api: Api<Pod> = Api::namespaced(client, namespace);
        let config = watcher::Config::default().labels(selector);
        let (reader, writer) = store();
        let (publish, state) = watch::channel(CacheState::default());
        let feed = Feed { writer, reader: reader.clone(), publish, failed };
        let task = tokio::spawn(feed.run(api, config)).abort_handle();
        Self { reader, state, task }
    }

    /// The pods as last seen, in no order.
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        self.reader.state()
    }

    /// The store itself.
    pub fn reader(&self) -> Store<Pod> {
        self.reader.clone()
    }

    /// How current the cache is, and a wake-up for each change. Several changes may come as one.
    pub fn changes(&self) -> watch::Receiver<CacheState> {
        self.state.clone()
    }

    /// Completes when every selected pod has been seen once.
    pub async fn ready(&self) {
        let mut state = self.state.clone();
        // The sender lives as long as the task, and the task as long as `self`.
        let _ = state.wait_for(|state| state.synced).await;
    }

    /// Every selected pod has been seen once.
    pub fn is_ready(&self) -> bool {
        self.state.borrow().synced
    }
}

impl Drop for PodCache {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Feed {
    writer: kube::runtime::reflector::store::Writer<Pod>,
    reader: Store<Pod>,
    publish: watch::Sender<CacheState>,
    failed: WatchFailed,
}

type PodEvents = BoxStream<'static, Result<Event<Pod>, watcher::Error>>;

fn events(api: &Api<Pod>, config: watcher::Config) -> PodEvents {
    watcher(api.clone(), config).default_backoff().modify(prune).boxed()
}

impl Feed {
    async fn run(mut self, api: Api<Pod>, config: watcher::Config) {
        // Paged lists, not streamed ones: an API server whose etcd is older than 3.4.25 accepts a streamed list and then
        // fails it for ever (RequestWatchProgress), and a page of pruned pods is small.
        let mut stream = events(&api, config.page_size(PAGE));
        while let Some(next) = stream.next().await {
            match next {
                Ok(event) => self.take(&event),
                Err(error) => self.fail(error),
            }
        }
    }

    fn take(&mut self, event: &Event<Pod>) {
        let changed = match event {
            Event::Apply(pod) => {
                let before = self.reader.get(&ObjectRef::from_obj(pod));
                before.is_none_or(|before| differs(&before, pod))
            }
            Event::Delete(_) | Event::InitDone => true,
            Event::Init | Event::InitApply(_) => false,
        };
        self.writer.apply_watcher_event(event);
        let done = matches!(event, Event::InitDone);
        self.publish.send_if_modified(|state| {
            let recovered = state.failing.take().is_some();
            state.synced |= done;
            state.version = state.version.saturating_add(u64::from(changed));
            changed || recovered
        });
    }

    fn fail(&self, error: watcher::Error) {
        (self.failed)();
        let failure = failure(error);
        tracing::warn!(error = %failure.text, "the watch on the pods fails");
        self.publish.send_if_modified(|state| {
            let news = state.failing.as_ref() != Some(&failure);
            state.failing = Some(failure);
            news
        });
    }
}

/// Whether anything but the resourceVersion differs, of two pods that are pruned already.
fn differs(before: &Pod, after: &Pod) -> bool {
    before.spec != after.spec || before.status != after.status || {
        let mut before = before.metadata.clone();
        before.resource_version.clone_from(&after.metadata.resource_version);
        before != after.metadata
    }
}

fn failure(error: watcher::Error) -> WatchFailure {
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

/// Drops what `observe::pods` does not read. A new reader there needs its field to be kept here; its tests compare.
pub fn prune(pod: &mut Pod) {
    pod.metadata.managed_fields = None;
    pod.metadata.annotations = None;
    if let Some(spec) = pod.spec.as_mut() {
        let kept = std::mem::take(spec);
        *spec = PodSpec {
            containers: kept.containers.into_iter().map(pruned_container).collect(),
            init_containers: kept.init_containers.map(|all| all.into_iter().map(pruned_container).collect()),
            host_network: kept.host_network,
            hostname: kept.hostname,
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
        ..Container::default()
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
