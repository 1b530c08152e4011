//! The world as it is: the API server, Redis over the network, and the clock of this machine.

use std::{net::IpAddr, time::Duration};

use k8s_openapi::api::{core::v1::Pod, discovery::v1::EndpointSlice};

use super::{
    ExecuteError,
    crash::Boundary,
    ports::{Acting, Cluster, Ports, Redis, Watching},
    redis::{CONNECT_DEADLINE, redis},
};
use crate::{
    clock::{Clock, Clocked},
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
        fence::{Fence, Fenced},
        read::Reader,
        write::{EvictError, PodTarget, WriteError, Writer},
    },
    observe::{
        sampler::{SamplerHandle, TargetKey},
        snapshot::Sentinels,
    },
    plan::effect::{Peer, SentinelPeer},
    redis_io::{Connection, Credentials, RedisError},
};

/// The ports of a process that acts in a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    /// Kubernetes, writing.
    pub writer: Writer,
    /// Kubernetes, reading: endpoints and pods during a switchover, the policy before a decision.
    pub reader: Reader,
    /// Knows the credentials of each target.
    pub sampler: SamplerHandle,
    /// Knows how each Sentinel is asked.
    pub sentinels: Sentinels,
    /// Checked right before every change.
    pub fence: Fence,
    /// The clock.
    pub clock: Clock,
}

impl Clocked for Live {
    fn clock(&self) -> &Clock {
        &self.clock
    }
}

impl Cluster for Live {
    fn may_change(&self) -> Result<(), Fenced> {
        self.fence.check()
    }

    async fn live_pod(&self, namespace: &str, name: &PodName, uid: &PodUid) -> Result<Option<Pod>, KubeError> {
        let pod = self.reader.pod(namespace, name).await?;
        Ok(pod.filter(|pod| pod.metadata.uid.as_deref() == Some(uid.as_str())))
    }

    async fn endpoint_slices(&self, namespace: &str, service: &str) -> Result<Vec<EndpointSlice>, KubeError> {
        self.reader.endpoint_slices(namespace, service).await
    }

    async fn evict(&self, namespace: &str, name: &PodName, uid: &PodUid) -> Result<(), EvictError> {
        self.writer.evict(&self.fence, namespace, name, uid).await
    }

    async fn resize(
        &self,
        pod: PodTarget<'_>,
        container: &str,
        limit: Bytes,
        request: Option<Bytes>,
    ) -> Result<(), WriteError> {
        self.writer.resize(&self.fence, pod, container, limit, request).await
    }

    async fn set_label(&self, pod: PodTarget<'_>, key: &str, value: &str) -> Result<(), WriteError> {
        self.writer.set_label(&self.fence, pod, key, Some(value)).await.map(|_| ())
    }
}

impl Redis for Live {
    type Server = Connection;
    type Sentinel = Connection;

    async fn connect_sentinel(&self, policy: &Policy, peer: &SentinelPeer) -> Result<Connection, ExecuteError> {
        let unknown = |message| ExecuteError::Credentials { pod: peer.pod.to_string(), message };
        let wanted = self.sentinels.access(policy, &peer.uid);
        let wanted = wanted.ok_or_else(|| unknown("this Sentinel was not asked lately".to_owned()))?;
        let credentials = self.sampler.resolve(&wanted).await.map_err(|failure| unknown(failure.text().to_owned()))?;
        open_sentinel(peer, credentials.as_ref()).await
    }

    async fn connect(&self, policy: &Policy, peer: &Peer) -> Result<Connection, ExecuteError> {
        let key = TargetKey { policy_uid: policy.uid.clone(), pod_uid: peer.uid.clone() };
        let credentials = self.sampler.credentials(&key).await.map_err(|failure| ExecuteError::Credentials {
            pod: peer.pod.to_string(),
            message: failure.text().to_owned(),
        })?;
        open(peer, credentials.as_ref()).await
    }

    async fn resolve(&self, name: &str, port: u16) -> Vec<IpAddr> {
        look_up(name, port).await
    }
}

/// A connection to exactly that process.
pub(super) async fn open(peer: &Peer, credentials: Option<&Credentials>) -> Result<Connection, ExecuteError> {
    let failed = |source| redis("connecting", peer, source);
    let mut connection = Connection::open(peer.address, credentials, CONNECT_DEADLINE).await.map_err(failed)?;
    connection.expect_run_id(&peer.run_id, CONNECT_DEADLINE).await.map_err(failed)?;
    Ok(connection)
}

/// A connection to that Sentinel.
pub(super) async fn open_sentinel(
    peer: &SentinelPeer,
    credentials: Option<&Credentials>,
) -> Result<Connection, ExecuteError> {
    let failed = |source| ExecuteError::Redis { what: "connecting to the Sentinel", pod: peer.pod.to_string(), source };
    Connection::open(peer.address, credentials, CONNECT_DEADLINE).await.map_err(failed)
}

/// The addresses of a name, by the resolver of this machine.
pub(super) async fn look_up(name: &str, port: u16) -> Vec<IpAddr> {
    let found = tokio::net::lookup_host((name, port)).await;
    found.map(|addresses| addresses.map(|address| address.ip()).collect()).unwrap_or_default()
}

impl Ports for Live {
    async fn reached(&self, boundary: Boundary) {
        boundary.crash();
    }
}

/// Each is the connection's own method of that name.
impl Acting for Connection {
    async fn replication(&mut self, deadline: Duration) -> Result<Replication, RedisError> {
        Self::replication(self, deadline).await
    }

    async fn role_and_pause(&mut self, deadline: Duration) -> Result<(Replication, Option<bool>), RedisError> {
        Self::role_and_pause(self, deadline).await
    }

    async fn keys(&mut self, deadline: Duration) -> Result<u64, RedisError> {
        Self::keys(self, deadline).await
    }

    async fn persistence(&mut self, deadline: Duration) -> Result<Persistence, RedisError> {
        Self::persistence(self, deadline).await
    }

    async fn memory(&mut self, deadline: Duration) -> Result<Memory, RedisError> {
        Self::memory(self, deadline).await
    }

    async fn config_set(&mut self, name: &str, value: &str) -> Result<(), RedisError> {
        Self::config_set(self, name, value).await
    }

    async fn config_rewrite(&mut self) -> Result<bool, RedisError> {
        Self::config_rewrite(self).await
    }

    async fn run(&mut self, command: PlainCommand) -> Result<(), RedisError> {
        Self::run(self, command).await
    }

    async fn ordinary_clients(&mut self, age: Duration) -> Result<Vec<u64>, RedisError> {
        Self::ordinary_clients(self, age).await
    }

    async fn close_clients(&mut self, ids: &[u64]) -> Result<u32, RedisError> {
        Self::close_clients(self, ids).await
    }

    async fn replicaof(&mut self, primary: &NodeAddress) -> Result<(), RedisError> {
        Self::replicaof(self, primary).await
    }

    async fn promote(&mut self) -> Result<(), RedisError> {
        Self::promote(self).await
    }

    async fn client_pause_writes(&mut self, life: Duration) -> Result<(), RedisError> {
        Self::client_pause_writes(self, life).await
    }

    async fn client_unpause(&mut self) -> Result<(), RedisError> {
        Self::client_unpause(self).await
    }

    async fn failover_to(&mut self, target: &NodeAddress, timeout: Duration) -> Result<(), RedisError> {
        Self::failover_to(self, target, timeout).await
    }

    async fn failover_abort(&mut self) -> Result<(), RedisError> {
        Self::failover_abort(self).await
    }
}

impl Watching for Connection {
    async fn named(&mut self, set: &str, deadline: Duration) -> Result<Named, RedisError> {
        Self::named(self, set, deadline).await
    }

    async fn sentinel_failover(&mut self, set: &str, coordinated: bool) -> Result<(), RedisError> {
        Self::sentinel_failover(self, set, coordinated).await
    }

    async fn sentinel_reset(&mut self, set: &str) -> Result<(), RedisError> {
        Self::sentinel_reset(self, set).await
    }
}
