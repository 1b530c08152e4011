//! Effects on Redis other than the switchover: settings and repointing.

use std::time::Duration;

use super::{Done, ExecuteError, Executor};
use crate::{
    domain::{names::NodeAddress, sample::Role},
    observe::sampler::TargetKey,
    plan::effect::Peer,
    redis_io::{Connection, RedisError},
};

/// Opening an acting connection, AUTH included.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// Resolving a replica's stable name before it is told to use it.
const RESOLVE_DEADLINE: Duration = Duration::from_secs(2);

impl Executor {
    /// Opens a connection to exactly that process: same address, same `run_id`.
    pub(super) async fn connect(&self, namespace: &str, peer: &Peer) -> Result<Connection, ExecuteError> {
        let key = TargetKey { namespace: namespace.to_owned(), pod_uid: peer.uid.clone() };
        let credentials = self.sampler.credentials(&key).await.map_err(|failure| ExecuteError::Credentials {
            pod: peer.pod.to_string(),
            message: failure.text().to_owned(),
        })?;
        let failed = |source| ExecuteError::Redis { what: "connecting", pod: peer.pod.to_string(), source };
        let mut connection =
            Connection::open(peer.address, credentials.as_ref(), CONNECT_DEADLINE).await.map_err(failed)?;
        connection.expect_run_id(&peer.run_id, CONNECT_DEADLINE).await.map_err(failed)?;
        Ok(connection)
    }

    /// Reads the role right before an eviction: between the look that the gates rest on and now it may have moved.
    pub(super) async fn still_replica(&self, namespace: &str, peer: &Peer) -> Result<(), ExecuteError> {
        let mut connection = self.connect(namespace, peer).await?;
        let seen = connection.replication(CONNECT_DEADLINE).await;
        match seen.map_err(|source| redis("INFO replication", peer, source))?.role {
            Role::Replica(_) => Ok(()),
            Role::Primary => Err(ExecuteError::NowPrimary { pod: peer.pod.to_string() }),
        }
    }

    pub(super) async fn restore(
        &self,
        namespace: &str,
        peer: &Peer,
        settings: &[(String, String)],
    ) -> Result<Done, ExecuteError> {
        let mut connection = self.connect(namespace, peer).await?;
        for (name, value) in settings {
            self.fence.check()?;
            connection.config_set(name, value).await.map_err(|source| redis("CONFIG SET", peer, source))?;
        }
        Ok(Done::Restored)
    }

    pub(super) async fn repoint(
        &self,
        namespace: &str,
        peer: &Peer,
        by_name: Option<&NodeAddress>,
        to: &Peer,
    ) -> Result<Done, ExecuteError> {
        let mut connection = self.connect(namespace, peer).await?;
        // A name that does not resolve blocks a replica's main thread for about 20 s at a time (measured), so
        // it is used only when it resolves, from here, to the new primary's pod and nothing else.
        let address = match by_name {
            Some(name) if resolves_to(name, to).await => name.clone(),
            _ => NodeAddress { host: to.address.ip().to_string(), port: to.address.port() },
        };
        self.fence.check()?;
        connection.replicaof(&address).await.map_err(|source| redis("REPLICAOF", peer, source))?;
        Ok(Done::Repointed)
    }
}

async fn resolves_to(name: &NodeAddress, to: &Peer) -> bool {
    let look_up = tokio::net::lookup_host((name.host.as_str(), name.port));
    match tokio::time::timeout(RESOLVE_DEADLINE, look_up).await {
        Ok(Ok(addresses)) => {
            let found: Vec<_> = addresses.map(|address| address.ip()).collect();
            !found.is_empty() && found.iter().all(|ip| *ip == to.address.ip())
        }
        Ok(Err(_)) | Err(_) => false,
    }
}

pub(super) fn redis(what: &'static str, peer: &Peer, source: RedisError) -> ExecuteError {
    ExecuteError::Redis { what, pod: peer.pod.to_string(), source }
}
