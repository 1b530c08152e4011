//! Live reads: what a decision rests on right before an effect. Each request has a limit of its own.

mod nodes;
mod rights;
mod volumes;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{
    apps::v1::{ReplicaSet, StatefulSet},
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
    policy::v1::PodDisruptionBudget,
};
use kube::{Api, Client, Resource, api::ListParams};
use serde::de::DeserializeOwned;

pub use self::volumes::{Behind, VolumesRead};
use super::{
    around::prune_replica_set,
    error::{Cause, KubeError, within},
};
use crate::{
    api::v1alpha1::StoredPolicy,
    clock::Clock,
    domain::{
        names::{ControllerUid, PodName},
        pod::Owner,
    },
};

/// The limit of one request.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Objects per page of a list: the default of client-go's pager.
const PAGE: u32 = 500;
/// Pages of a list; 10,000 objects are far beyond what one policy may act on.
const MAX_PAGES: usize = 20;
/// That a controller was there is forgotten after this time.
const OWNERS_KEPT: Duration = Duration::from_secs(3600);
/// What was read of disruption budgets is forgotten after this time.
const BUDGETS_KEPT: Duration = Duration::from_secs(2 * 3600);
/// How long "this API server has no pods/resize" is believed: it may be upgraded under us.
const NO_RESIZE_TTL: Duration = Duration::from_secs(600);
/// The label by which an `EndpointSlice` names its Service.
pub(super) const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Live reads. Cheap to clone; clones share what is remembered about rights.
#[derive(Clone)]
pub struct Reader {
    client: Client,
    clock: Clock,
    memory: Arc<Mutex<Memory>>,
}

/// The disruption budgets that there are; `None`: they could not be read.
type Budgets = Option<Arc<Vec<PodDisruptionBudget>>>;

/// What is remembered for a while. All times are of the monotonic clock.
#[derive(Debug, Default)]
struct Memory {
    rights: rights::Asked,
    resize: Option<(bool, Duration)>,
    /// Controllers that were there, and when.
    owners: HashMap<String, Duration>,
    /// The disruption budgets of a namespace.
    budgets: HashMap<String, (Budgets, Duration)>,
    /// ReplicaSets, without what is not read of them.
    replica_sets: HashMap<String, (Arc<ReplicaSet>, Duration)>,
    /// What nodes give.
    nodes: nodes::Nodes,
    /// What is behind claims, by namespace and names.
    volumes: HashMap<(String, Vec<String>), (VolumesRead, Duration)>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Reader {
    /// Reads through this client.
    pub fn new(client: Client, clock: Clock) -> Self {
        Self { client, clock, memory: Arc::default() }
    }

    /// The policy as it is stored now, readable or not; `None` when there is none.
    pub async fn policy(&self, namespace: &str, name: &str) -> Result<Option<StoredPolicy>, KubeError> {
        self.get(namespace, name).await.map_err(KubeError::GetPolicy)
    }

    /// The pods that the selector (in the form of a query: `app=redis,tier in (a,b)`) matches now.
    pub async fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>, KubeError> {
        self.list(namespace, selector).await.map_err(KubeError::ListPods)
    }

    /// The pod as it is now; `None` when there is none of that name.
    pub async fn pod(&self, namespace: &str, name: &PodName) -> Result<Option<Pod>, KubeError> {
        self.get(namespace, name.as_str()).await.map_err(KubeError::GetPod)
    }

    /// The `StatefulSet` as it is now.
    pub async fn stateful_set(&self, namespace: &str, name: &str) -> Result<Option<StatefulSet>, KubeError> {
        self.get(namespace, name).await.map_err(KubeError::GetStatefulSet)
    }

    /// The `ReplicaSet` as it is now.
    pub async fn replica_set(&self, namespace: &str, name: &str) -> Result<Option<ReplicaSet>, KubeError> {
        self.get(namespace, name).await.map_err(KubeError::GetOwner)
    }

    /// The same while nothing is to be done: that it was so within the hour is enough, for a Deployment that is changed makes
    /// another one.
    pub async fn replica_set_lately(
        &self,
        namespace: &str,
        owner: &Owner,
    ) -> Result<Option<Arc<ReplicaSet>>, KubeError> {
        let (key, now) = (format!("{namespace}/{}/{}", owner.name, owner.uid), self.clock.uptime());
        let remembered = self.with_memory(|memory| memory.replica_sets.get(&key).cloned());
        if let Some((set, read)) = remembered
            && now.saturating_sub(read) < OWNERS_KEPT
        {
            return Ok(Some(set));
        }
        let Some(mut set) = self.replica_set(namespace, &owner.name).await? else { return Ok(None) };
        prune_replica_set(&mut set);
        let set = Arc::new(set);
        self.with_memory(|memory| {
            memory.replica_sets.retain(|_, (_, read)| now.saturating_sub(*read) < OWNERS_KEPT);
            memory.replica_sets.insert(key, (Arc::clone(&set), now));
        });
        Ok(Some(set))
    }

    /// The Services of the namespace.
    pub async fn services(&self, namespace: &str) -> Result<Vec<Service>, KubeError> {
        self.list(namespace, "").await.map_err(KubeError::ListServices)
    }

    /// The `EndpointSlices` of that Service; none when there is no such Service.
    pub async fn endpoint_slices(&self, namespace: &str, service: &str) -> Result<Vec<EndpointSlice>, KubeError> {
        let selector = format!("{SERVICE_LABEL}={service}");
        self.list(namespace, &selector).await.map_err(KubeError::ListEndpointSlices)
    }

    /// Whether the pod's controller reference names a `StatefulSet` or `ReplicaSet` that exists and has that UID.
    /// Any other kind: false, because nothing says that it is a workload of this namespace.
    pub async fn owner_exists(&self, namespace: &str, owner: &Owner) -> Result<bool, KubeError> {
        self.owner_exists_within(namespace, owner, Duration::ZERO).await
    }

    /// The same; that it was there within the hour is enough.
    pub async fn owner_existed(&self, namespace: &str, owner: &Owner) -> Result<bool, KubeError> {
        self.owner_exists_within(namespace, owner, OWNERS_KEPT).await
    }

    async fn owner_exists_within(&self, namespace: &str, owner: &Owner, age: Duration) -> Result<bool, KubeError> {
        let Owner { kind, name, uid } = owner;
        let (key, now) = (format!("{namespace}/{kind}/{name}/{uid}"), self.clock.uptime());
        let proven = self.with_memory(|memory| memory.owners.get(&key).copied());
        if proven.is_some_and(|at| now.saturating_sub(at) < age) {
            return Ok(true);
        }
        let uid = match owner.kind.as_str() {
            "StatefulSet" => self.uid_of::<StatefulSet>(namespace, &owner.name).await,
            "ReplicaSet" => self.uid_of::<ReplicaSet>(namespace, &owner.name).await,
            _ => return Ok(false),
        };
        let uid = uid.map_err(KubeError::GetOwner)?;
        let exists = uid.is_some_and(|uid| uid == owner.uid && !uid.is_empty());
        if exists {
            self.with_memory(|memory| {
                memory.owners.retain(|_, at| now.saturating_sub(*at) < OWNERS_KEPT);
                memory.owners.insert(key, now);
            });
        }
        Ok(exists)
    }

    /// The disruption budgets of the namespace, no older than that; `None`: they cannot be read, and the Eviction API is
    /// the only one to ask. That is believed for a minute.
    pub async fn disruption_budgets(&self, namespace: &str, age: Duration) -> Budgets {
        let now = self.clock.uptime();
        let remembered = self.with_memory(|memory| memory.budgets.get(namespace).cloned());
        if let Some((budgets, read)) = remembered
            && now.saturating_sub(read) < if budgets.is_some() { age } else { rights::BELIEVED }
        {
            return budgets;
        }
        let read: Result<Vec<PodDisruptionBudget>, Cause> = self.list(namespace, "").await;
        let budgets = match read {
            Ok(budgets) => Some(Arc::new(budgets)),
            Err(cause) => {
                tracing::warn!(namespace, %cause, "cannot list the PodDisruptionBudgets");
                None
            }
        };
        self.with_memory(|memory| {
            memory.budgets.retain(|_, (_, read)| now.saturating_sub(*read) < BUDGETS_KEPT);
            memory.budgets.insert(namespace.to_owned(), (budgets.clone(), now));
        });
        budgets
    }

    /// Whether the API server has the `pods/resize` subresource (1.33 and newer). False when it cannot be asked.
    pub async fn resize_supported(&self) -> bool {
        let now = self.clock.uptime();
        match self.with_memory(|memory| memory.resize) {
            Some((true, _)) => return true,
            Some((false, asked)) if now.saturating_sub(asked) < NO_RESIZE_TTL => return false,
            _ => {}
        }
        match within(READ_TIMEOUT, self.client.list_core_api_resources("v1")).await {
            Ok(list) => {
                let supported = list.resources.iter().any(|resource| resource.name == "pods/resize");
                self.with_memory(|memory| memory.resize = Some((supported, now)));
                supported
            }
            Err(cause) => {
                tracing::warn!(%cause, "cannot ask the API server for its subresources");
                false
            }
        }
    }

    async fn uid_of<K>(&self, namespace: &str, name: &str) -> Result<Option<ControllerUid>, Cause>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned,
        K: std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let found = within(READ_TIMEOUT, api.get_metadata_opt(name)).await?;
        Ok(found.and_then(|object| object.metadata.uid).map(ControllerUid::new))
    }

    async fn get<K>(&self, namespace: &str, name: &str) -> Result<Option<K>, Cause>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned,
        K: std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        within(READ_TIMEOUT, api.get_opt(name)).await
    }

    /// A whole list, page by page, read from etcd and not from a cache.
    async fn list<K>(&self, namespace: &str, selector: &str) -> Result<Vec<K>, Cause>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned,
        K: std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let mut params = ListParams::default().limit(PAGE);
        if !selector.is_empty() {
            params = params.labels(selector);
        }
        let mut items = Vec::new();
        for _ in 0..MAX_PAGES {
            let page = within(READ_TIMEOUT, api.list(&params)).await?;
            items.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(items),
            }
        }
        let message = format!("more than {} objects match", items.len());
        Err(Cause::Refused { code: 413, message })
    }

    /// A poisoned lock only means that a thread died elsewhere: the memory itself is always whole.
    fn with_memory<T>(&self, look: impl FnOnce(&mut Memory) -> T) -> T {
        look(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
