//! A namespace with a fragmented Redis of three pods on a node of its own, and the policy for it.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{self, Command},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::StatefulSet,
        coordination::v1::Lease,
        core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Service},
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};
use redis_memory_operator::{api::v1alpha1::RedisMemoryPolicy, execute::crash};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

pub(crate) use crate::api_server::{admin, eventually};
use crate::{
    api_server::{Definition, cleanup},
    common::writer::Writer,
    fake_kubelet::{self, FakeNode},
    shape::{SENTINELS, Shape},
};

/// Name of set, Service and policy.
pub(crate) const SET: &str = "redis";
pub(crate) const REPLICAS: usize = 3;
/// Name of the proxy and its Service.
pub(crate) const PROXY: &str = "proxy";
/// By which the operators of one world choose their leader.
pub(crate) const LEASE: &str = "operator";
/// `maxmemory` of the template, and as it is set at run time: a replacement needs its settings restored.
const MAXMEMORY: [&str; 2] = ["64mb", "80mb"];
/// Keys before thinning out. One of five stays.
const KEYS: u32 = 250_000;
const KEYS_AT_ONCE: u32 = 25_000;
/// Time between two writes of the counting client.
const WRITE_EVERY: Duration = Duration::from_millis(4);

/// Worlds at once: two cores carry no more without changing what is measured.
static WORLDS: Semaphore = Semaphore::const_new(5);
/// Worlds that are being filled at once.
static FILLING: Semaphore = Semaphore::const_new(2);

/// What a test is about. Everything in it ends with this value.
pub(crate) struct World {
    pub(crate) namespace: String,
    pub(crate) client: Client,
    pub(crate) node: FakeNode,
    pub(crate) shape: Shape,
    _definition: Arc<Definition>,
    _place: SemaphorePermit<'static>,
}

impl World {
    /// A fragmented set, and no policy yet.
    pub(crate) async fn new(name: &str) -> Self {
        Self::with(name, Shape::Replicated, "redis-server".into()).await
    }

    pub(crate) async fn with(name: &str, shape: Shape, server: PathBuf) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let with_crash_points = crash::ENABLED;
        assert!(with_crash_points, "build these tests with --features crash-points, as scripts/test does");
        let place = WORLDS.acquire().await.expect("never closed");
        let _filling = FILLING.acquire().await.expect("never closed");
        let client = admin().await;
        let definition = Definition::ensure().await;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("faults-{name}-{}-{number}", process::id());
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let object = json!({ "metadata": { "name": namespace } });
        let object: Namespace = serde_json::from_value(object).expect("a Namespace");
        namespaces.create(&PostParams::default(), &object).await.expect("a new namespace");
        // One that nobody holds is claimed at once; one that is missing only after a lease duration.
        let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": LEASE } });
        let lease: Lease = serde_json::from_value(lease).expect("a Lease");
        Api::namespaced(client.clone(), &namespace).create(&PostParams::default(), &lease).await.expect("a new lease");
        let options = [vec!["--maxmemory", MAXMEMORY[0]], shape.options()].concat();
        let node = FakeNode::start(client.clone(), &namespace, server, &options, shape.keeps()).await;
        let world = Self { namespace, client, node, shape, _definition: definition, _place: place };
        world.deploy().await;
        world.fragment().await;
        eventually("calm Sentinels", async || world.node.sentinels_are_calm().await.then_some(())).await;
        world
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn create<K>(&self, object: Value)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
    {
        let object: K = serde_json::from_value(object).expect("an object of that kind");
        self.api::<K>().create(&PostParams::default(), &object).await.expect("the object is accepted");
    }

    async fn deploy(&self) {
        // Of one release, as a chart's pods are.
        let labels = json!({ "app": SET, "release": SET });
        let port = json!([{ "name": "redis", "port": 6379, "targetPort": "redis" }]);
        self.create::<Service>(json!({
            "metadata": { "name": format!("{SET}-nodes") },
            "spec": { "clusterIP": "None", "publishNotReadyAddresses": true, "selector": labels, "ports": port },
        }))
        .await;
        self.create::<Service>(json!({
            "metadata": { "name": SET },
            "spec": { "selector": self.shape.selector(), "ports": port },
        }))
        .await;
        self.create::<PodDisruptionBudget>(json!({
            "metadata": { "name": SET }, "spec": { "maxUnavailable": 1, "selector": { "matchLabels": labels } },
        }))
        .await;
        let (claims, mounts) = self.shape.claims(self.node.volume());
        let replicas = self.shape.replicas();
        if self.shape.keeps().data() {
            self.volumes(replicas).await;
        }
        self.create::<StatefulSet>(json!({
            "metadata": { "name": SET },
            "spec": {
                "serviceName": format!("{SET}-nodes"), "replicas": replicas, "podManagementPolicy": "Parallel",
                "selector": { "matchLabels": labels }, "volumeClaimTemplates": claims,
                "template": { "metadata": { "labels": labels }, "spec": self.pod_spec(&mounts) },
            },
        }))
        .await;
        eventually("pods that are Ready", async || {
            let pods = self.pods().await;
            (pods.len() == replicas && pods.iter().all(is_ready)).then_some(())
        })
        .await;
        if self.shape.keeps().data() {
            self.bound(replicas).await;
        }
        if self.shape.under_sentinel() {
            self.sentinels().await;
        }
    }

    /// HAProxy in front of the set, and its Service.
    pub(crate) async fn proxy(&self) {
        let labels = json!({ "app": "haproxy", "release": SET });
        self.create::<Service>(json!({
            "metadata": { "name": PROXY }, "spec": { "selector": labels, "ports": [{ "name": "redis", "port": 6379 }] },
        }))
        .await;
        let container = json!({ "name": "haproxy", "image": "haproxy", "ports": [{ "containerPort": 6379 }] });
        let spec = json!({
            "nodeName": self.node.name(), "automountServiceAccountToken": false, "containers": [container],
        });
        self.create::<StatefulSet>(json!({
            "metadata": { "name": PROXY },
            "spec": {
                "serviceName": PROXY, "replicas": 1, "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": spec },
            },
        }))
        .await;
        eventually("a proxy that leads to the primary", async || {
            let proxy = self.node.proxies().into_iter().next()?;
            proxy.role().await.filter(|role| role == "master")
        })
        .await;
    }

    async fn sentinels(&self) {
        let labels = json!({ "app": SENTINELS });
        let container = json!({ "name": "sentinel", "image": "redis", "ports": [{ "containerPort": 26379 }] });
        let spec = json!({
            "nodeName": self.node.name(), "automountServiceAccountToken": false, "containers": [container],
        });
        self.create::<StatefulSet>(json!({
            "metadata": { "name": SENTINELS },
            "spec": {
                "serviceName": SENTINELS, "replicas": REPLICAS, "podManagementPolicy": "Parallel",
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": spec },
            },
        }))
        .await;
        eventually("Sentinels that are Ready", async || {
            let listed = ListParams::default().labels("app=sentinel");
            let pods = self.api::<Pod>().list(&listed).await.ok()?.items;
            (pods.len() == REPLICAS && pods.iter().all(is_ready)).then_some(())
        })
        .await;
    }

    /// A volume for each claim, by its name: nothing here makes volumes.
    async fn volumes(&self, replicas: usize) {
        let api: Api<PersistentVolume> = Api::all(self.client.clone());
        for n in 0..replicas {
            let claim = format!("data-{SET}-{n}");
            let volume = json!({
                "metadata": { "name": format!("{}-{n}", self.namespace) },
                "spec": {
                    "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
                    "persistentVolumeReclaimPolicy": "Retain",
                    "claimRef": { "namespace": self.namespace, "name": claim },
                    "hostPath": { "path": self.node.volume().to_str().expect("a path that is text") },
                },
            });
            let volume: PersistentVolume = serde_json::from_value(volume).expect("a PersistentVolume");
            api.create(&PostParams::default(), &volume).await.expect("the volume is accepted");
        }
    }

    /// Its claims say what they hold: nothing is restarted in place before.
    async fn bound(&self, replicas: usize) {
        eventually("claims that are bound", async || {
            let claims = self.api::<PersistentVolumeClaim>().list(&ListParams::default()).await.ok()?;
            let bound = |claim: &&PersistentVolumeClaim| claim.status.iter().any(|status| status.capacity.is_some());
            (claims.items.iter().filter(bound).count() == replicas).then_some(())
        })
        .await;
    }

    fn pod_spec(&self, mounts: &Value) -> Value {
        json!({
            "nodeName": self.node.name(), "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 30,
            "containers": [{
                "name": "redis", "image": "redis", "volumeMounts": mounts, "ports": [{ "name": "redis", "containerPort": 6379 }],
                // Less than the policy demands: upkeep resizes the pods, and a remediation their replacements.
                "resources": { "requests": { "cpu": "10m", "memory": "64Mi" }, "limits": { "memory": "100Mi" } },
                "resizePolicy": [{ "resourceName": "memory", "restartPolicy": "NotRequired" }],
            }],
        })
    }

    /// Memory pages that are mostly empty, on all members, and a setting that the template does not have.
    async fn fragment(&self) {
        for running in self.node.running() {
            let address = running.process.address();
            fake_kubelet::patient_ask(address, &["CONFIG", "SET", "maxmemory", MAXMEMORY[1]])
                .await
                .expect("CONFIG SET");
        }
        let primary = self.node.of(&format!("{SET}-0")).expect("the first pod runs").process.clone();
        let fill = "local v = string.rep('x', 100) for i = ARGV[1], ARGV[2] do redis.call('SET', 'f:' .. i, v) end";
        let thin = "for i = ARGV[1], ARGV[2] do if i % 5 ~= 0 then redis.call('DEL', 'f:' .. i) end end";
        for script in [fill, thin] {
            for from in (0..KEYS).step_by(KEYS_AT_ONCE as usize) {
                let (from, to) = (from.to_string(), (from + KEYS_AT_ONCE - 1).to_string());
                let run = ["EVAL", script, "0", &from, &to];
                let mut connection = fake_kubelet::patient(primary.address()).await;
                let (name, arguments) = run.split_first().unwrap();
                let _nil: redis::Value =
                    redis::cmd(name).arg(arguments).query_async(&mut connection).await.expect("the script runs");
            }
        }
    }

    pub(crate) async fn apply_policy(&self) {
        self.create::<RedisMemoryPolicy>(json!({
            "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy", "metadata": { "name": SET },
            "spec": self.shape.policy(),
        }))
        .await;
    }

    /// So many pods may be evicted at a time.
    pub(crate) async fn allow_disruptions(&self, most: u32) {
        let patch = kube::api::Patch::Merge(json!({ "spec": { "maxUnavailable": most } }));
        let budgets = self.api::<PodDisruptionBudget>();
        budgets.patch(SET, &kube::api::PatchParams::default(), &patch).await.expect("the budget is changed");
    }

    pub(crate) async fn policy(&self) -> Option<Value> {
        let policy = self.api::<RedisMemoryPolicy>().get_opt(SET).await.ok()??;
        serde_json::to_value(policy).ok()
    }

    /// The kind of the step under way.
    pub(crate) async fn step(&self) -> Option<String> {
        let policy = self.policy().await?;
        let journal = policy.pointer("/status/journal")?;
        let cursor = usize::try_from(journal["cursor"].as_u64()?).ok()?;
        Some(journal["steps"][cursor]["kind"].as_str()?.to_owned())
    }

    /// How the last remediation ended, once none is under way.
    pub(crate) async fn outcome(&self) -> Option<String> {
        let policy = self.policy().await?;
        let status = &policy["status"];
        let done = status["journal"].is_null() && policy["metadata"]["finalizers"].is_null();
        done.then(|| status["workloads"][0]["outcome"].as_str().map(str::to_owned))?
    }

    pub(crate) async fn pods(&self) -> Vec<Pod> {
        let pods = self.api::<Pod>().list(&ListParams::default().labels(&format!("app={SET}"))).await;
        let mut pods = pods.map(|list| list.items).unwrap_or_default();
        pods.sort_by_key(kube::ResourceExt::name_any);
        pods
    }

    /// The end of a pod without grace, as when its machine is lost.
    pub(crate) async fn kill(&self, pod: &str) {
        let process = self.node.of(pod).expect("it runs").process.clone();
        process.signal("KILL");
        let now = DeleteParams::default().grace_period(0);
        self.api::<Pod>().delete(pod, &now).await.expect("the pod is deleted");
        eventually("the end of the pod's process", async || process.ended().then_some(())).await;
    }

    /// A client that writes through the Service and remembers what was acknowledged.
    pub(crate) async fn writer(&self) -> Writer {
        if self.shape.under_sentinel() {
            // Whichever of them takes writes: an answer of one that is no primary any more would be a write lost.
            let running = self.node.running();
            let mut addresses: Vec<_> = running.iter().map(|running| running.process.address()).collect();
            if self.shape == Shape::Moving {
                addresses.extend(running.iter().map(|running| self.node.next_address(&running.pod)));
            }
            return Writer::start_paced(addresses, WRITE_EVERY);
        }
        let service = self.api::<Service>().get(SET).await.expect("the Service");
        let ip = service.spec.and_then(|spec| spec.cluster_ip).expect("an address");
        Writer::start_paced(vec![SocketAddr::new(ip.parse().expect("an address"), 6379)], WRITE_EVERY)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let (namespace, node) = (self.namespace.clone(), self.node.name().to_owned());
        let dump = thread::panicking();
        cleanup(async move |client| {
            if dump {
                let policies: Api<RedisMemoryPolicy> = Api::namespaced(client.clone(), &namespace);
                for policy in policies.list(&ListParams::default()).await.into_iter().flatten() {
                    let status = serde_json::to_value(&policy.status).unwrap_or_default();
                    eprintln!("=== {namespace}: the policy as the test left it\n{status:#}");
                }
            }
            let now = DeleteParams::default().grace_period(0);
            let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &namespace);
            drop(sets.delete(SET, &now).await);
            drop(sets.delete(SENTINELS, &now).await);
            let policies: Api<RedisMemoryPolicy> = Api::namespaced(client.clone(), &namespace);
            let patch = kube::api::Patch::Merge(json!({ "metadata": { "finalizers": null } }));
            drop(policies.patch(SET, &kube::api::PatchParams::default(), &patch).await);
            drop(policies.delete(SET, &now).await);
            let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
            for pod in pods.list(&ListParams::default()).await.into_iter().flatten() {
                drop(pods.delete(&pod.name_any(), &now).await);
            }
            let namespaces: Api<Namespace> = Api::all(client.clone());
            drop(namespaces.delete(&namespace, &DeleteParams::default()).await);
            let volumes: Api<PersistentVolume> = Api::all(client.clone());
            for n in 0..REPLICAS {
                drop(volumes.delete(&format!("{namespace}-{n}"), &now).await);
            }
            let nodes: Api<Node> = Api::all(client);
            drop(nodes.delete(&node, &now).await);
        });
    }
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Another server than the system's, if it is in the cache or can be fetched.
pub(crate) fn other_server(name: &str) -> Option<PathBuf> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/redis-versions");
    let said = Command::new(script).arg(name).output().expect("the script runs");
    let line = String::from_utf8_lossy(&said.stdout).into_owned();
    line.strip_prefix(name).map(|path| PathBuf::from(path.trim()))
}
