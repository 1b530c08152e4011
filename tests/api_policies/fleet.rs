//! Policies in namespaces of their own, most of which select nothing, and some a pod that nobody schedules.

use std::{process, time::Duration};

use futures::{StreamExt as _, stream};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::StatefulSet,
        coordination::v1::Lease,
        core::v1::{Namespace, Pod, Service},
    },
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ListParams, PostParams},
};
use redis_memory_operator::api::v1alpha1::RedisMemoryPolicy;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::api_server::{Definition, admin, cleanup, eventually};

/// By which the operator leads.
pub(crate) const LEASE: &str = "operator";
/// One policy in so many has a set with a pod and a Service.
const ONE_WITH_PODS_IN: usize = 10;
/// Objects that are made at the same time.
const AT_ONCE: usize = 8;

/// How many policies, where, and for how long they are watched.
pub(crate) struct Size {
    pub(crate) policies: usize,
    pub(crate) namespaces: usize,
    pub(crate) watched: Duration,
}

/// All of it ends with this value.
pub(crate) struct Fleet {
    client: Client,
    /// Where the lease is.
    pub(crate) home: String,
    namespaces: Vec<String>,
    policies: usize,
    _definition: std::sync::Arc<Definition>,
}

impl Fleet {
    pub(crate) async fn create(size: &Size) -> Self {
        let client = admin().await;
        let definition = Definition::ensure().await;
        let name = |n: usize| format!("fleet-{}-{n}", process::id());
        let namespaces: Vec<String> = (0..size.namespaces).map(name).collect();
        let home = namespaces[0].clone();
        let fleet = Self { client, home, namespaces, policies: size.policies, _definition: definition };
        let all: Api<Namespace> = Api::all(fleet.client.clone());
        for name in &fleet.namespaces {
            let namespace = serde_json::from_value(json!({ "metadata": { "name": name } })).expect("a Namespace");
            all.create(&PostParams::default(), &namespace).await.expect("a new namespace");
        }
        // One that nobody holds is claimed at once.
        let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": LEASE } });
        fleet.create_in::<Lease>(&fleet.home, lease).await;
        let made = stream::iter(0..size.policies).map(|n| fleet.policy(n)).buffer_unordered(AT_ONCE);
        made.collect::<Vec<()>>().await;
        fleet
    }

    async fn policy(&self, n: usize) {
        let namespace = &self.namespaces[n % self.namespaces.len()];
        let name = format!("redis-{n}");
        let labels = json!({ "app": "redis", "instance": name });
        if (n / self.namespaces.len()).is_multiple_of(ONE_WITH_PODS_IN) {
            let service = json!({ "metadata": { "name": name }, "spec": {
                "selector": { "app": "redis", "instance": name, "redismemory.io/role": "primary" }, "ports": [{ "port": 6379 }] } });
            self.create_in::<Service>(namespace, service).await;
            let container =
                json!({ "name": "redis", "image": "redis", "ports": [{ "name": "redis", "containerPort": 6379 }] });
            let set = json!({ "metadata": { "name": name }, "spec": {
                "serviceName": name, "replicas": 1, "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": {
                    "schedulerName": "nobody", "automountServiceAccountToken": false, "containers": [container] } } } });
            self.create_in::<StatefulSet>(namespace, set).await;
        }
        let policy = json!({
            "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy", "metadata": { "name": name },
            "spec": { "selector": { "matchLabels": labels } },
        });
        self.create_in::<RedisMemoryPolicy>(namespace, policy).await;
    }

    async fn create_in<K>(&self, namespace: &str, object: Value)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
    {
        let object: K = serde_json::from_value(object).expect("an object of that kind");
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        api.create(&PostParams::default(), &object).await.expect("the object is accepted");
    }

    /// Whether every policy has a status, and every set its pod.
    pub(crate) async fn is_judged(&self) -> bool {
        let (mut judged, mut pods) = (0, 0);
        for namespace in &self.namespaces {
            let policies: Api<RedisMemoryPolicy> = Api::namespaced(self.client.clone(), namespace);
            let Ok(found) = policies.list(&ListParams::default()).await else { return false };
            judged +=
                found.into_iter().filter(|one| one.status.as_ref().is_some_and(|it| !it.conditions.is_empty())).count();
            let all: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
            pods += all.list(&ListParams::default()).await.map_or(0, |found| found.items.len());
        }
        judged == self.policies && pods > 0
    }

    /// Deletes every policy, and waits until none is left.
    pub(crate) async fn end_policies(&self) {
        for namespace in &self.namespaces {
            let policies: Api<RedisMemoryPolicy> = Api::namespaced(self.client.clone(), namespace);
            policies
                .delete_collection(&DeleteParams::default(), &ListParams::default())
                .await
                .expect("the policies are deleted");
            let none = async || policies.list(&ListParams::default()).await.ok()?.items.is_empty().then_some(());
            eventually("the end of the policies", none).await;
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let namespaces = self.namespaces.clone();
        cleanup(async move |client| {
            for namespace in namespaces {
                let policies: Api<RedisMemoryPolicy> = Api::namespaced(client.clone(), &namespace);
                drop(policies.delete_collection(&DeleteParams::default(), &ListParams::default()).await);
                let all: Api<Namespace> = Api::all(client.clone());
                drop(all.delete(&namespace, &DeleteParams::default()).await);
            }
        });
    }
}
