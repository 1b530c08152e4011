//! No surroundings: a switchover between servers alone, without Kubernetes. For tests and measurements.

use std::time::Duration;

use super::Surroundings;
use crate::{
    execute::{ExecuteError, crash::Place},
    kube_io::fence::Fenced,
    plan::effect::Peer,
    redis_io::{Connection, Credentials},
};

/// Opening a connection, AUTH included.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// Servers that all take these credentials; no labels, no Services, no lease. Every pod exists for ever.
#[derive(Clone, Debug, Default)]
pub struct Bare {
    /// What every server takes; `None`: no AUTH is sent.
    pub credentials: Option<Credentials>,
}

impl Surroundings for Bare {
    fn may_change(&self) -> Result<(), Fenced> {
        Ok(())
    }

    async fn connect(&self, peer: &Peer) -> Result<Connection, ExecuteError> {
        let failed = |source| ExecuteError::Redis { what: "connecting", pod: peer.pod.to_string(), source };
        let mut connection =
            Connection::open(peer.address, self.credentials.as_ref(), CONNECT_DEADLINE).await.map_err(failed)?;
        connection.expect_run_id(&peer.run_id, CONNECT_DEADLINE).await.map_err(failed)?;
        Ok(connection)
    }

    /// As where another controller keeps the label and has not moved it.
    async fn labelled(&self, _peer: &Peer) -> Result<bool, ExecuteError> {
        Ok(true)
    }

    async fn set_role(&self, _peer: &Peer, _primary: bool) -> Result<(), ExecuteError> {
        Ok(())
    }

    async fn overlapping(&self) -> bool {
        true
    }

    async fn fit(&self, _peer: &Peer) -> Option<bool> {
        Some(true)
    }

    async fn exists(&self, _peer: &Peer) -> Option<bool> {
        Some(true)
    }

    async fn reached(&self, _boundary: Place) {}
}
