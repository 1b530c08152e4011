//! What the executor asks of the world: the cluster, the Redis servers and time. Production is one implementation
//! ([`live`](super::live)), servers alone are another ([`bare`](super::switchover::bare)), and the simulator of the tests
//! is a third. Nothing in `execute` reaches the outside in another way.

use std::{future::Future, net::IpAddr, time::Duration};

use k8s_openapi::api::{core::v1::Pod, discovery::v1::EndpointSlice};

use super::{ExecuteError, crash::Boundary};
use crate::{
    clock::Time,
    domain::{
        acl::PlainCommand,
        bytes::Bytes,
        names::{NodeAddress, PodName, PodUid},
        policy::Policy,
        sample::{Memory, Persistence, Replication},
        sentinel::Named,
    },
    kube_io::{
        error::KubeError,
        fence::Fenced,
        write::{EvictError, PodTarget, WriteError},
    },
    plan::effect::{Peer, SentinelPeer},
    redis_io::RedisError,
};

/// Pods and endpoints, as they are now, and the changes that may be made to them. Each change asks the fence right before
/// it is sent, and carries its precondition.
pub trait Cluster: Send + Sync {
    /// Whether this process may still change anything; asked right before every Redis command, too.
    fn may_change(&self) -> Result<(), Fenced>;
    /// The pod of that name and UID; `None`: there is none (any more).
    fn live_pod(
        &self,
        namespace: &str,
        name: &PodName,
        uid: &PodUid,
    ) -> impl Future<Output = Result<Option<Pod>, KubeError>> + Send;
    /// Who is behind a Service.
    fn endpoint_slices(
        &self,
        namespace: &str,
        service: &str,
    ) -> impl Future<Output = Result<Vec<EndpointSlice>, KubeError>> + Send;
    /// Evicts the pod of that UID through the Eviction API. `Ok`: its deletion has begun.
    fn evict(
        &self,
        namespace: &str,
        name: &PodName,
        uid: &PodUid,
    ) -> impl Future<Output = Result<(), EvictError>> + Send;
    /// Sets a container's memory limit (and request, when given) in place.
    fn resize(
        &self,
        pod: PodTarget<'_>,
        container: &str,
        limit: Bytes,
        request: Option<Bytes>,
    ) -> impl Future<Output = Result<(), WriteError>> + Send;
    /// Sets one label.
    fn set_label(
        &self,
        pod: PodTarget<'_>,
        key: &str,
        value: &str,
    ) -> impl Future<Output = Result<(), WriteError>> + Send;
}

/// The way to the Redis servers.
pub trait Redis: Send + Sync {
    /// A connection to one process.
    type Server: Acting;
    /// A connection to exactly that process: same address, same `run_id`; with the credentials of that policy, also
    /// where others watch the pod.
    fn connect(&self, policy: &Policy, peer: &Peer) -> impl Future<Output = Result<Self::Server, ExecuteError>> + Send;
    /// A connection to one Sentinel.
    type Sentinel: Watching;
    /// A connection to the Sentinel in that pod, as that policy says that its Sentinels are asked.
    fn connect_sentinel(
        &self,
        policy: &Policy,
        peer: &SentinelPeer,
    ) -> impl Future<Output = Result<Self::Sentinel, ExecuteError>> + Send;
    /// The addresses of a full name, from here; none: it does not resolve.
    fn resolve(&self, name: &str, port: u16) -> impl Future<Output = Vec<IpAddr>> + Send;
}

/// What effects ask of a server, and tell it. A reading takes at most its deadline; a command has its own, and is never
/// repeated: after [`RedisError::TimedOut`] its effect is unknown.
pub trait Acting: Send {
    /// The replication state.
    fn replication(&mut self, deadline: Duration) -> impl Future<Output = Result<Replication, RedisError>> + Send;
    /// The same, and whether clients are paused; `None`: a version that does not say.
    fn role_and_pause(
        &mut self,
        deadline: Duration,
    ) -> impl Future<Output = Result<(Replication, Option<bool>), RedisError>> + Send;
    /// Keys in all databases.
    fn keys(&mut self, deadline: Duration) -> impl Future<Output = Result<u64, RedisError>> + Send;
    /// What it says of writing its data out.
    fn persistence(&mut self, deadline: Duration) -> impl Future<Output = Result<Persistence, RedisError>> + Send;
    /// What it says of its memory.
    fn memory(&mut self, deadline: Duration) -> impl Future<Output = Result<Memory, RedisError>> + Send;
    /// `CONFIG SET name value`.
    fn config_set(&mut self, name: &str, value: &str) -> impl Future<Output = Result<(), RedisError>> + Send;
    /// `CONFIG REWRITE`; `false`: there is no file that it could write.
    fn config_rewrite(&mut self) -> impl Future<Output = Result<bool, RedisError>> + Send;
    /// A command without arguments.
    fn run(&mut self, command: PlainCommand) -> impl Future<Output = Result<(), RedisError>> + Send;
    /// Ids of ordinary clients that have been connected for at least `age`.
    fn ordinary_clients(&mut self, age: Duration) -> impl Future<Output = Result<Vec<u64>, RedisError>> + Send;
    /// Closes those clients; answers how many there still were.
    fn close_clients(&mut self, ids: &[u64]) -> impl Future<Output = Result<u32, RedisError>> + Send;
    /// `REPLICAOF host port`.
    fn replicaof(&mut self, primary: &NodeAddress) -> impl Future<Output = Result<(), RedisError>> + Send;
    /// `REPLICAOF NO ONE`.
    fn promote(&mut self) -> impl Future<Output = Result<(), RedisError>> + Send;
    /// `CLIENT PAUSE ms WRITE`.
    fn client_pause_writes(&mut self, life: Duration) -> impl Future<Output = Result<(), RedisError>> + Send;
    /// `CLIENT UNPAUSE`.
    fn client_unpause(&mut self) -> impl Future<Output = Result<(), RedisError>> + Send;
    /// `FAILOVER TO host port TIMEOUT ms`.
    fn failover_to(
        &mut self,
        target: &NodeAddress,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), RedisError>> + Send;
    /// `FAILOVER ABORT`.
    fn failover_abort(&mut self) -> impl Future<Output = Result<(), RedisError>> + Send;
}

/// What effects ask of a Sentinel, and tell it.
pub trait Watching: Send {
    /// Whom it names as primary of the set of that name.
    fn named(&mut self, set: &str, deadline: Duration) -> impl Future<Output = Result<Named, RedisError>> + Send;
    /// `SENTINEL FAILOVER set`, `COORDINATED` where asked for.
    fn sentinel_failover(
        &mut self,
        set: &str,
        coordinated: bool,
    ) -> impl Future<Output = Result<(), RedisError>> + Send;
    /// `SENTINEL RESET set`.
    fn sentinel_reset(&mut self, set: &str) -> impl Future<Output = Result<(), RedisError>> + Send;
}

/// Everything that carrying an effect out needs.
pub trait Ports: Time + Cluster + Redis {
    /// A boundary between two effects was reached: where a test may end the process, or this future.
    fn reached(&self, boundary: Boundary) -> impl Future<Output = ()> + Send;
}
