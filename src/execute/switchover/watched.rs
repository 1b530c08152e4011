//! A server that is looked at again and again, over one connection.

use std::time::Duration;

use super::Surroundings;
use crate::{
    clock::Clock,
    domain::sample::{Replication, Role},
    execute::ExecuteError,
    plan::{effect::Peer, switchover::SeenRole},
    redis_io::{Connection, RedisError},
};

/// One reading of the replication state.
const READ_DEADLINE: Duration = Duration::from_millis(500);
/// Opening a connection again, AUTH included.
const REOPEN_DEADLINE: Duration = Duration::from_secs(1);
/// After an attempt that failed, the next comes this much later: the other server is looked at meanwhile.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);
/// Whether a silent pod still exists is asked at most this often.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// A peer and the connection that is kept to it.
pub(super) struct Watched<'a> {
    pub(super) peer: &'a Peer,
    pub(super) connection: Option<Connection>,
    gone: bool,
    asked_at: Option<Duration>,
    closed_at: Option<Duration>,
}

/// What it said.
pub(super) struct Reading {
    pub(super) replication: Replication,
    /// Its clients are paused; `None`: a version that does not say.
    pub(super) clients_paused: Option<bool>,
}

impl<'a> Watched<'a> {
    pub(super) const fn new(peer: &'a Peer, gone: bool) -> Self {
        Self { peer, connection: None, gone, asked_at: None, closed_at: None }
    }

    /// Its state, or `None` when it does not answer as the process that it was.
    pub(super) async fn read(&mut self, around: &impl Surroundings, clock: Clock) -> Option<Reading> {
        let too_soon = |at: Duration| clock.uptime().saturating_sub(at) < REOPEN_PAUSE;
        if self.gone || (self.connection.is_none() && self.closed_at.is_some_and(too_soon)) {
            return None;
        }
        if self.connection.is_none() {
            let opened = tokio::time::timeout(REOPEN_DEADLINE, around.connect(self.peer)).await;
            // Another process answers in its place: this one is gone for good, whatever became of its pod.
            self.gone = matches!(&opened, Ok(Err(ExecuteError::Redis { source: RedisError::RunIdChanged { .. }, .. })));
            self.connection = opened.ok().and_then(Result::ok);
            self.closed_at = self.connection.is_none().then(|| clock.uptime());
        }
        let reply = self.connection.as_mut()?.role_and_pause(READ_DEADLINE).await;
        if reply.is_err() {
            self.connection = None;
        }
        reply.ok().map(|(replication, clients_paused)| Reading { replication, clients_paused })
    }

    /// The role that was read. Only a silence that has lasted is taken to the API server: whether the pod still exists.
    pub(super) async fn role(
        &mut self,
        around: &impl Surroundings,
        seen: Option<&Reading>,
        now: Duration,
        overdue: bool,
    ) -> SeenRole {
        if let Some(reading) = seen {
            return match reading.replication.role {
                Role::Primary => SeenRole::Primary,
                Role::Replica(_) => SeenRole::Replica,
                Role::Unknown => SeenRole::Unknown,
            };
        }
        let due = self.asked_at.is_none_or(|at| now.saturating_sub(at) >= ASK_EVERY);
        if !self.gone && overdue && due {
            self.asked_at = Some(now);
            self.gone = around.exists(self.peer).await == Some(false);
        }
        if self.gone { SeenRole::Gone } else { SeenRole::Unknown }
    }
}
