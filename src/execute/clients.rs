//! Leading clients away from an old primary that is not restarted yet.

use std::time::Duration;

use super::{
    Done, ExecuteError, Executor,
    ports::{Acting as _, Ports},
    redis::{redis, replication},
};
use crate::{
    domain::{policy::Policy, sample::Role},
    plan::effect::Peer,
};

/// Most connections that are closed in a second: a client that is sent away connects to the new primary at once.
const A_SECOND: usize = 500;
const SECOND: Duration = Duration::from_secs(1);
/// Rounds at most; what is left then has its turn at the next attempt.
const ROUNDS: u32 = 20;

impl<P: Ports> Executor<P> {
    /// Closes ordinary connections to a server that is no primary any more. `standing`: for how long the Services have led
    /// to the new primary alone. Only who connected before kube-proxy had followed that is sent away: who came since
    /// meant this very pod. A user who may not close clients leaves them where they are.
    pub(super) async fn close_clients(
        &self,
        policy: &Policy,
        peer: &Peer,
        standing: Duration,
    ) -> Result<Done, ExecuteError> {
        let begun = self.ports.uptime();
        // Until kube-proxy has followed, a client that comes back may be led here again.
        self.ports.sleep(self.endpoint_sync.saturating_sub(standing)).await;
        let mut connection = self.ports.connect(policy, peer).await?;
        let mut closed = 0_u32;
        for _ in 0..ROUNDS {
            if replication(&mut connection, peer).await?.role == Role::Primary {
                return Err(ExecuteError::LeadsAgain { pod: peer.pod.to_string() });
            }
            let elapsed = self.ports.uptime().saturating_sub(begun);
            let age = standing.saturating_add(elapsed).saturating_sub(self.endpoint_sync);
            let mut ids = match connection.ordinary_clients(age).await {
                Err(error) if error.is_forbidden() => break,
                list => list.map_err(|source| redis("CLIENT LIST", peer, source))?,
            };
            let more = ids.len() > A_SECOND;
            ids.truncate(A_SECOND);
            self.ports.may_change()?;
            closed = closed.saturating_add(match connection.close_clients(&ids).await {
                Err(error) if error.is_forbidden() => break,
                count => count.map_err(|source| redis("CLIENT KILL", peer, source))?,
            });
            if !more {
                break;
            }
            self.ports.sleep(SECOND).await;
        }
        Ok(Done::ClientsClosed { closed })
    }
}
