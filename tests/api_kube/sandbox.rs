//! A namespace of its own for each test, deleted with everything in it when the test ends, also by a panic.

#[path = "../common/api_server.rs"]
mod api_server;

use std::{
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Namespace, Pod},
};
use kube::{
    Api, Client, Config, Resource,
    api::{DeleteParams, PostParams},
    config::KubeConfigOptions,
};
use redis_memory_operator::{
    clock::Clock,
    kube_io::{
        client::{ClientOptions, build},
        read::Reader,
        write::Writer,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

pub(crate) use api_server::{Definition, admin, cleanup, eventually};

pub(crate) struct Sandbox {
    pub(crate) namespace: String,
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

impl Sandbox {
    pub(crate) async fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let client = admin().await;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("api-{name}-{}-{number}", process::id());
        let clock = Clock::start();
        let sandbox = Self {
            reader: Reader::new(client.clone(), clock),
            writer: Writer::new(client.clone(), clock, "api-test"),
            namespace,
            client,
            clock,
        };
        let object = json!({ "metadata": { "name": sandbox.namespace } });
        let object: Namespace = serde_json::from_value(object).expect("a Namespace");
        let namespaces: Api<Namespace> = Api::all(sandbox.client.clone());
        namespaces.create(&PostParams::default(), &object).await.expect("a new namespace");
        sandbox
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates an object; waits until the namespace has the service account that pods need.
    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
    {
        let object: K = serde_json::from_value(object).expect("an object of that kind");
        let api = self.api::<K>();
        eventually("the object is accepted", || async {
            match api.create(&PostParams::default(), &object).await {
                Ok(created) => Some(created),
                Err(kube::Error::Api(status)) if status.message.contains("serviceaccount") => None,
                Err(error) => panic!("cannot create {object:?}: {error}"),
            }
        })
        .await
    }

    /// A pod that runs Redis with that memory limit, once its container runs and its limit is known.
    pub(crate) async fn running_pod(&self, name: &str, limit: &str) -> Pod {
        let _: Pod = self.create(pod(name, limit)).await;
        self.pod_when(name, |pod| is_ready(pod) && live_limit(pod).is_some()).await
    }

    /// The pod, as soon as it is as wanted.
    pub(crate) async fn pod_when(&self, name: &str, wanted: impl Fn(&Pod) -> bool) -> Pod {
        let api = self.api::<Pod>();
        eventually(name, || async { api.get(name).await.ok().filter(|pod| wanted(pod)) }).await
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let namespace = self.namespace.clone();
        cleanup(move |client| async move {
            let namespaces: Api<Namespace> = Api::all(client);
            drop(namespaces.delete(&namespace, &DeleteParams::default()).await);
        });
    }
}

/// A client with the rights of somebody else.
pub(crate) async fn acting_as(user: &str) -> Client {
    let mut config = Config::from_kubeconfig(&KubeConfigOptions::default()).await.expect("a kubeconfig");
    config.auth_info.impersonate = Some(user.to_owned());
    build(config, &ClientOptions::default()).expect("a client")
}

#[allow(clippy::disallowed_methods, reason = "a test has no flags")]
fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// A pod of one container, `redis`, that nothing restarts.
pub(crate) fn pod(name: &str, limit: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": "redis", "name": name } },
        "spec": pod_spec(limit),
    })
}

pub(crate) fn pod_spec(limit: &str) -> Value {
    json!({
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": false,
        "containers": [{
            "name": "redis",
            "image": setting("RMO_IMAGE_REDIS", "localhost/rmo-redis:7.0.15"),
            "imagePullPolicy": setting("RMO_IMAGE_PULL_POLICY", "Never"),
            "command": ["redis-server", "--save", ""],
            "ports": [{ "name": "redis", "containerPort": 6379 }],
            "resources": { "limits": { "memory": limit }, "requests": { "memory": "32Mi" } },
        }],
    })
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

pub(crate) fn live_limit(pod: &Pod) -> Option<String> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    let limits = containers.first()?.resources.as_ref()?.limits.as_ref()?;
    limits.get("memory").map(|quantity| quantity.0.clone())
}
