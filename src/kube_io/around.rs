//! What lies around the selected pods of a namespace and is looked at while nothing is to be done: StatefulSets, Services
//! with their EndpointSlices, and disruption budgets. One watch a kind, pruned to what is read, shared by all policies of
//! the namespace. Before anything is done all of it is read anew ([`super::read`]).
//!
//! It begins with the first policy that has pods. What cannot be watched is read live, as it would be without this.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use futures::StreamExt as _;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{ReplicaSet, StatefulSet},
        core::v1::{Container, PodSpec, PodTemplateSpec, Service, ServiceSpec},
        discovery::v1::EndpointSlice,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::watch, task::AbortHandle};

use super::{cache, read::SERVICE_LABEL};

/// Objects of a page of a list.
const PAGE: u32 = 200;
/// The first look waits for the first lists, for no longer than this: then it is read live.
const FIRST_LISTS: Duration = Duration::from_secs(3);
/// A watch that failed is not believed before it has been listed again; see [`cache`].
const DOUBT: Duration = Duration::from_secs(45);

/// Told of each failure of a list or watch, with the kind.
pub type KindFailed = Arc<dyn Fn(&'static str) + Send + Sync>;

/// What lies around the pods of one namespace. The watches end when this is dropped.
pub struct Around {
    client: Client,
    namespace: String,
    failed: KindFailed,
    kinds: OnceLock<Kinds>,
}

struct Kinds {
    stateful_sets: Kind<StatefulSet>,
    services: Kind<Service>,
    slices: Kind<EndpointSlice>,
    budgets: Kind<PodDisruptionBudget>,
}

impl Debug for Around {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Around").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Around {
    /// Nothing is watched yet.
    pub fn new(client: Client, namespace: &str, failed: KindFailed) -> Self {
        Self { client, namespace: namespace.to_owned(), failed, kinds: OnceLock::new() }
    }

    /// Begins to watch, if that is not done yet, and waits a moment for the first lists.
    pub async fn begun(&self) {
        let kinds = self.kinds.get_or_init(|| self.watch());
        let all = async {
            tokio::join!(
                kinds.stateful_sets.known(),
                kinds.services.known(),
                kinds.slices.known(),
                kinds.budgets.known()
            )
        };
        let _what_is_missing_is_read_live = tokio::time::timeout(FIRST_LISTS, all).await;
    }

    fn watch(&self) -> Kinds {
        let (client, namespace) = (&self.client, self.namespace.as_str());
        let failed = |kind: &'static str| {
            let failed = Arc::clone(&self.failed);
            Box::new(move || failed(kind)) as Box<dyn Fn() + Send + Sync>
        };
        Kinds {
            stateful_sets: Kind::watch(client, namespace, "", prune_set, failed("StatefulSet")),
            services: Kind::watch(client, namespace, "", prune_service, failed("Service")),
            slices: Kind::watch(client, namespace, SERVICE_LABEL, prune_slice, failed("EndpointSlice")),
            budgets: Kind::watch(client, namespace, "", prune_budget, failed("PodDisruptionBudget")),
        }
    }

    /// The StatefulSet of that name; `None`: it is not known whether there is one.
    pub fn stateful_set(&self, name: &str) -> Option<Option<Arc<StatefulSet>>> {
        self.kinds.get()?.stateful_sets.read(|all| all.get(name).cloned())
    }

    /// The Services; `None`: they are not known.
    pub fn services(&self) -> Option<Vec<Arc<Service>>> {
        self.kinds.get()?.services.read(|all| all.values().cloned().collect())
    }

    /// The EndpointSlices of these Services, by Service; `None`: they are not known.
    pub fn endpoint_slices(&self, services: &[String]) -> Option<BTreeMap<String, Vec<Arc<EndpointSlice>>>> {
        if services.is_empty() {
            return Some(BTreeMap::new());
        }
        self.kinds.get()?.slices.read(|all| {
            let mut found: BTreeMap<String, Vec<Arc<EndpointSlice>>> = BTreeMap::new();
            for slice in all.values() {
                if let Some(service) = slice.labels().get(SERVICE_LABEL).filter(|name| services.contains(name)) {
                    found.entry(service.clone()).or_default().push(Arc::clone(slice));
                }
            }
            found
        })
    }

    /// The disruption budgets; `None`: they are not known.
    pub fn disruption_budgets(&self) -> Option<Vec<Arc<PodDisruptionBudget>>> {
        self.kinds.get()?.budgets.read(|all| all.values().cloned().collect())
    }
}

/// All objects of a kind in the namespace.
struct Kind<K> {
    shown: Arc<Mutex<Shown<K>>>,
    /// Whether it is known what there is, or that it cannot be known now.
    answered: watch::Receiver<bool>,
    task: AbortHandle,
}

struct Shown<K> {
    objects: HashMap<String, Arc<K>>,
    listing: HashMap<String, Arc<K>>,
    /// A list was complete and no failure has come since.
    believed: bool,
}

impl<K> Drop for Kind<K> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<K> Kind<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    fn watch(
        client: &Client,
        namespace: &str,
        labels: &str,
        prune: fn(&mut K),
        failed: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        let shown = Shown { objects: HashMap::new(), listing: HashMap::new(), believed: false };
        let shown = Arc::new(Mutex::new(shown));
        let (answer, answered) = watch::channel(false);
        let api: Api<K> = Api::namespaced(client.clone(), namespace);
        let config = watcher::Config::default().labels(labels).page_size(PAGE);
        let (kept, namespace) = (Arc::clone(&shown), namespace.to_owned());
        let task = tokio::spawn(async move {
            loop {
                let stream = watcher(api.clone(), config.clone()).default_backoff().modify(prune);
                follow(stream.boxed(), &kept, &answer, &failed, &namespace).await;
            }
        });
        Self { shown, answered, task: task.abort_handle() }
    }

    async fn known(&self) {
        // The sender lives as long as the task, and the task as long as `self`.
        let _ = self.answered.clone().wait_for(|answered| *answered).await;
    }

    fn read<T>(&self, look: impl FnOnce(&HashMap<String, Arc<K>>) -> T) -> Option<T> {
        let shown = lock(&self.shown);
        shown.believed.then(|| look(&shown.objects))
    }
}

/// A poisoned lock only means that a thread died elsewhere: what is shown is always whole.
fn lock<K>(shown: &Mutex<Shown<K>>) -> MutexGuard<'_, Shown<K>> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Follows the events until it is in doubt whether any are missing.
async fn follow<K: Resource<DynamicType = ()>>(
    mut stream: futures::stream::BoxStream<'static, Result<Event<K>, watcher::Error>>,
    shown: &Mutex<Shown<K>>,
    answer: &watch::Sender<bool>,
    failed: &(dyn Fn() + Send + Sync),
    namespace: &str,
) {
    let mut doubted = false;
    loop {
        tokio::select! {
            next = stream.next() => match next {
                Some(Ok(event)) => {
                    doubted &= matches!(event, Event::Init);
                    if take(&mut lock(shown), event) {
                        answer.send_replace(true);
                    }
                }
                Some(Err(error)) => {
                    failed();
                    let text = cache::failure(error).text;
                    if std::mem::replace(&mut lock(shown).believed, false) || !doubted {
                        tracing::warn!(namespace, kind = %K::kind(&()), error = %text, "a watch fails: it is read live");
                    }
                    doubted = true;
                    answer.send_replace(true);
                }
                None => return,
            },
            () = tokio::time::sleep(DOUBT), if doubted => return,
        }
    }
}

/// Whether all is known now.
fn take<K: Resource<DynamicType = ()>>(shown: &mut Shown<K>, event: Event<K>) -> bool {
    match event {
        Event::Init => shown.listing.clear(),
        Event::InitApply(object) => drop(shown.listing.insert(object.name_any(), Arc::new(object))),
        Event::InitDone => {
            shown.objects = std::mem::take(&mut shown.listing);
            shown.believed = true;
        }
        // An event comes in its turn: what was missed is told before it.
        Event::Apply(object) => {
            shown.objects.insert(object.name_any(), Arc::new(object));
            shown.believed = true;
        }
        Event::Delete(object) => {
            shown.objects.remove(&object.name_any());
            shown.believed = true;
        }
    }
    shown.believed
}

/// What names an object; labels where they are read.
fn named(meta: &mut ObjectMeta) -> ObjectMeta {
    let kept = std::mem::take(meta);
    ObjectMeta {
        name: kept.name,
        namespace: kept.namespace,
        uid: kept.uid,
        resource_version: kept.resource_version,
        generation: kept.generation,
        owner_references: kept.owner_references,
        ..ObjectMeta::default()
    }
}

/// Drops what `observe::pods::stateful_set` does not read.
pub fn prune_set(set: &mut StatefulSet) {
    cache::keep_what_is_read(&mut set.metadata);
    let annotations = set.metadata.annotations.take();
    set.metadata = ObjectMeta { annotations, ..named(&mut set.metadata) };
    let Some(spec) = &mut set.spec else { return };
    spec.volume_claim_templates = None;
    spec.template = pruned_template(std::mem::take(&mut spec.template));
}

/// Drops what `observe::pods::deployment` does not read.
pub fn prune_replica_set(set: &mut ReplicaSet) {
    cache::keep_what_is_read(&mut set.metadata);
    let annotations = set.metadata.annotations.take();
    set.metadata = ObjectMeta { annotations, ..named(&mut set.metadata) };
    set.status = None;
    if let Some(spec) = &mut set.spec {
        spec.template = spec.template.take().map(pruned_template);
    }
}

fn pruned_template(template: PodTemplateSpec) -> PodTemplateSpec {
    PodTemplateSpec {
        metadata: template.metadata.map(|meta| ObjectMeta { labels: meta.labels, ..ObjectMeta::default() }),
        spec: template.spec.map(|spec| PodSpec {
            containers: spec.containers.into_iter().map(pruned_container).collect(),
            init_containers: spec.init_containers.map(|all| all.into_iter().map(pruned_container).collect()),
            resources: spec.resources,
            ..PodSpec::default()
        }),
    }
}

/// Of the variables only those that the command line names, directly or by another: others may be passwords.
fn pruned_container(kept: Container) -> Container {
    let mut texts: Vec<String> = kept.command.iter().flatten().chain(kept.args.iter().flatten()).cloned().collect();
    let mut env = Vec::new();
    // A variable can be put only into those after it.
    for variable in kept.env.into_iter().flatten().rev() {
        let reference = format!("$({})", variable.name);
        if texts.iter().any(|text| text.contains(&reference)) {
            texts.extend(variable.value.clone());
            env.push(variable);
        }
    }
    env.reverse();
    Container {
        name: kept.name,
        command: kept.command,
        args: kept.args,
        env: Some(env),
        resources: kept.resources,
        restart_policy: kept.restart_policy,
        ..Container::default()
    }
}

/// Drops what `observe::pods::service` does not read.
pub fn prune_service(service: &mut Service) {
    service.metadata = named(&mut service.metadata);
    service.status = None;
    service.spec = service.spec.take().map(|spec| ServiceSpec {
        selector: spec.selector,
        type_: spec.type_,
        cluster_ip: spec.cluster_ip,
        cluster_ips: spec.cluster_ips,
        ports: spec.ports,
        ..ServiceSpec::default()
    });
}

/// Drops what `observe::pods::ready_pods` does not read.
pub fn prune_slice(slice: &mut EndpointSlice) {
    let service = slice.labels_mut().remove(SERVICE_LABEL);
    slice.metadata = named(&mut slice.metadata);
    slice.metadata.labels = service.map(|service| BTreeMap::from([(SERVICE_LABEL.to_owned(), service)]));
    slice.ports = None;
    for endpoint in &mut slice.endpoints {
        let (conditions, target) = (endpoint.conditions.take(), endpoint.target_ref.take());
        *endpoint = k8s_openapi::api::discovery::v1::Endpoint {
            conditions,
            target_ref: target.map(|target| k8s_openapi::api::core::v1::ObjectReference {
                kind: target.kind,
                uid: target.uid,
                ..Default::default()
            }),
            ..Default::default()
        };
    }
}

/// Drops what `observe::budgets` does not read.
pub fn prune_budget(budget: &mut PodDisruptionBudget) {
    budget.metadata = named(&mut budget.metadata);
    if let Some(status) = &mut budget.status {
        status.disrupted_pods = None;
        status.conditions = None;
    }
}

#[cfg(test)]
mod tests;
