//! A node of the test's own on a real API server: its kubelet runs a real redis-server process for each pod of one
//! namespace, on an address of its own, and does what a kubelet does as far as the control plane and the operator can
//! see. StatefulSet, EndpointSlice and disruption controllers, the Eviction API and kube-proxy are the real ones.
//!
//! Runs inside the test cluster's network namespace, where addresses can be added. No image is pulled and nothing is
//! scheduled, so a whole remediation takes seconds.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

mod address;
mod haproxy;
mod node;
mod process;
mod sentinel;
mod watcher;

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _};
use redis_memory_operator::clock::Clock;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use self::address::Address;
pub use self::{
    process::{RedisProcess, patient, patient_ask},
    watcher::Pauses,
};

/// What runs for one pod.
#[derive(Clone)]
pub struct Running {
    pub pod: String,
    pub uid: String,
    pub ip: Ipv4Addr,
    pub process: Arc<RedisProcess>,
    pub stopping: bool,
    /// The role and memory limits that the status shows.
    shown: String,
}

/// A pod that was started, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    pub pod: String,
    pub uid: String,
}

/// What of a pod outlives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Nothing: each starts empty.
    Nothing,
    /// Nothing, and the first pod's arguments make it a primary, whoever is.
    NothingAndFirstLeads,
    /// Nothing but its address, as where a Service for each pod is announced in its place.
    Address,
    /// Its `dir`, as on a claim that is mounted at [`FakeNode::volume`].
    Data,
    /// Its `dir`, and its name in the headless Service, by which the others follow the first pod: it is always the
    /// primary.
    DataAndName,
}

impl Keeps {
    pub fn data(self) -> bool {
        matches!(self, Self::Data | Self::DataAndName)
    }
}

struct State {
    client: Client,
    namespace: String,
    node: String,
    server: PathBuf,
    options: Vec<String>,
    clock: Clock,
    keeps: Keeps,
    volume: TempDir,
    names: Mutex<HashMap<String, Ipv4Addr>>,
    running: Mutex<HashMap<String, Running>>,
    sentinels: Mutex<HashMap<String, Arc<RedisProcess>>>,
    proxies: Mutex<HashMap<String, Arc<RedisProcess>>>,
    /// By the pod's name: the one that it keeps, or that its next start is to have.
    addresses: Mutex<HashMap<String, Arc<Address>>>,
    /// Processes whose addresses stay, so that nobody who comes to one of them later is kept waiting.
    kept: Mutex<Vec<Arc<RedisProcess>>>,
    started: Mutex<Vec<Started>>,
    pauses: Mutex<Pauses>,
    above: Mutex<HashMap<String, String>>,
}

impl State {
    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// What pods resolve names by: a file as /etc/hosts that only they see.
    fn hosts(&self) -> PathBuf {
        self.volume.path().join("hosts")
    }

    /// Makes the name of that pod lead to that address.
    fn publish(&self, name: &str, ip: Ipv4Addr) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.to_owned(), ip);
        let lines: Vec<String> = names.iter().map(|(name, ip)| format!("{ip} {name}\n")).collect();
        // The same file as before: it is mounted.
        std::fs::write(self.hosts(), lines.concat()).expect("a file");
    }

    fn directory_of(&self, pod: &str, uid: &str) -> PathBuf {
        let directory = self.volume.path().join(if self.keeps.data() { pod } else { uid });
        std::fs::create_dir_all(&directory).expect("a directory");
        directory
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sentinels(&self) -> MutexGuard<'_, HashMap<String, Arc<RedisProcess>>> {
        self.sentinels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn proxies(&self) -> MutexGuard<'_, HashMap<String, Arc<RedisProcess>>> {
        self.proxies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address of the pod that a start of this one follows, be it primary or not.
    fn above(&self, pod: &str) -> Option<String> {
        let above = self.above.lock().unwrap_or_else(PoisonError::into_inner).get(pod).cloned()?;
        self.all_running().into_iter().find(|it| it.pod == above).map(|it| it.ip.to_string())
    }

    fn all_running(&self) -> Vec<Running> {
        self.running().values().filter(|it| !it.stopping).cloned().collect()
    }

    /// True: nobody has begun to start that pod, and the caller has now.
    fn claim(&self, pod: &Pod) -> bool {
        let started = Started { pod: pod.name_any(), uid: pod.uid().unwrap_or_default() };
        let mut all = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let new = all.iter().all(|known| known.uid != started.uid);
        if new {
            all.push(started);
        }
        new
    }

    /// The address of a pod that is about to start.
    fn address_of(&self, pod: &str) -> Arc<Address> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if self.keeps != Keeps::Address {
            return addresses.remove(pod).unwrap_or_else(|| Arc::new(Address::next()));
        }
        Arc::clone(addresses.entry(pod.to_owned()).or_insert_with(|| Arc::new(Address::next())))
    }
}

/// A node with its kubelet, gone when dropped with everything that runs on it.
pub struct FakeNode {
    state: Arc<State>,
    tasks: Vec<JoinHandle<()>>,
}

impl FakeNode {
    /// Registers the node and starts its kubelet for the pods of that namespace. `options`: of every redis-server.
    pub async fn start(client: Client, namespace: &str, server: PathBuf, options: &[&str], keeps: Keeps) -> Self {
        let state = Arc::new(State {
            client,
            namespace: namespace.to_owned(),
            node: format!("fake-{namespace}"),
            server,
            options: options.iter().copied().map(str::to_owned).collect(),
            clock: Clock::start(),
            keeps,
            volume: tempfile::tempdir().expect("a temporary directory"),
            names: Mutex::default(),
            running: Mutex::default(),
            sentinels: Mutex::default(),
            proxies: Mutex::default(),
            addresses: Mutex::default(),
            kept: Mutex::default(),
            started: Mutex::default(),
            pauses: Mutex::default(),
            above: Mutex::default(),
        });
        node::register(&state).await;
        let tasks = vec![
            tokio::spawn(node::keep_alive(Arc::clone(&state))),
            tokio::spawn(node::watch(Arc::clone(&state))),
            tokio::spawn(node::show_readiness(Arc::clone(&state))),
        ];
        Self { state, tasks }
    }

    /// `spec.nodeName` of the pods that are to run here.
    pub fn name(&self) -> &str {
        &self.state.node
    }

    /// Every `dir` lies below it.
    pub fn volume(&self) -> &Path {
        self.state.volume.path()
    }

    /// From now on each start of that pod follows that other one, be it primary or not; `None`: the primary.
    pub fn chain(&self, pod: &str, above: Option<&str>) {
        let mut all = self.state.above.lock().unwrap_or_else(PoisonError::into_inner);
        match above {
            Some(above) => drop(all.insert(pod.to_owned(), above.to_owned())),
            None => drop(all.remove(pod)),
        }
    }

    /// Every pod that was started, in order.
    pub fn started(&self) -> Vec<Started> {
        self.state.started.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What runs now, by the pods' names.
    pub fn running(&self) -> Vec<Running> {
        let mut running: Vec<Running> = self.state.running().values().filter(|it| !it.stopping).cloned().collect();
        running.sort_by(|a, b| a.pod.cmp(&b.pod));
        running
    }

    /// The process of that pod.
    pub fn of(&self, pod: &str) -> Option<Running> {
        self.running().into_iter().find(|running| running.pod == pod)
    }

    /// The address that the next start of that pod will have, where it does not keep the one that it has. At the one that it
    /// has nobody listens then.
    pub fn next_address(&self, pod: &str) -> SocketAddr {
        assert_ne!(self.state.keeps, Keeps::Address, "it keeps its address");
        let process = self.of(pod).expect("it runs").process;
        self.state.kept.lock().unwrap_or_else(PoisonError::into_inner).push(process);
        let mut addresses = self.state.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let next = addresses.entry(pod.to_owned()).or_insert_with(|| Arc::new(Address::next()));
        SocketAddr::new(next.0.into(), process::PORT)
    }

    /// The processes of its proxies.
    pub fn proxies(&self) -> Vec<Arc<RedisProcess>> {
        self.state.proxies().values().cloned().collect()
    }

    /// The pod whose Redis is primary; `None`: there is none, or more than one.
    pub async fn primary(&self) -> Option<String> {
        let mut primaries = Vec::new();
        for running in self.running() {
            if running.process.role().await.as_deref() == Some("master") {
                primaries.push(running.pod);
            }
        }
        <[String; 1]>::try_from(primaries).ok().map(|[primary]| primary)
    }

    /// Every Sentinel that was started knows the whole set, and has watched it long enough.
    pub async fn sentinels_are_calm(&self) -> bool {
        let all: Vec<_> = self.state.sentinels().values().cloned().collect();
        let mut calm = true;
        for sentinel in all {
            calm &= sentinel::is_calm(&sentinel).await;
        }
        calm
    }

    /// What blocked writes the servers have shown so far.
    pub fn pauses(&self) -> Pauses {
        *self.state.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        // The last references to the processes; each ends its own.
        self.state.running().clear();
        self.state.sentinels().clear();
        self.state.proxies().clear();
        self.state.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// How often the kubelet looks at its processes.
const LOOK: Duration = Duration::from_millis(200);
