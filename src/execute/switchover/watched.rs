//! A server that is looked at again and again, over one connection.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use crate::{
    clock::within,
    domain::{
        policy::Policy,
        sample::{Memory, Replication, Role},
    },
    execute::{
        ExecuteError,
        ports::{Acting as _, Ports},
    },
    observe::pods,
    plan::{effect::Peer, switchover::SeenRole},
    redis_io::RedisError,
};

/// One reading of the replication state.
const READ_DEADLINE: Duration = Duration::from_millis(500);
/// Opening a connection again, AUTH included.
const REOPEN_DEADLINE: Duration = Duration::from_secs(1);
/// After an attempt that failed, the next comes this much later: the other server is looked at meanwhile.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);
/// A member that does not answer within this time does not answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(1);
/// Whether a silent pod still exists is asked at most this often.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// A peer and the connection that is kept to it.
pub(super) struct Watched<'a, S> {
    pub(super) peer: &'a Peer,
    pub(super) connection: Option<S>,
    gone: bool,
    /// Another process answers in its place.
    replaced: bool,
    /// That process may be a primary.
    pub(super) usurped: bool,
    asked_at: Option<Duration>,
    closed_at: Option<Duration>,
}

/// What it said.
pub(super) struct Reading {
    pub(super) replication: Replication,
    /// Its clients are paused; `None`: a version that does not say.
    pub(super) clients_paused: Option<bool>,
}

impl<'a, S> Watched<'a, S> {
    pub(super) const fn new(peer: &'a Peer, gone: bool) -> Self {
        Self { peer, connection: None, gone, replaced: false, usurped: false, asked_at: None, closed_at: None }
    }
}

/// Looks at servers and pods for one policy.
pub(super) struct Eyes<'a, P> {
    pub(super) ports: &'a P,
    pub(super) policy: &'a Policy,
}

impl<P: Ports> Eyes<'_, P> {
    pub(super) async fn live_pod(&self, peer: &Peer) -> Result<Option<Pod>, ExecuteError> {
        let pod = self.ports.live_pod(&self.policy.namespace, &peer.pod, &peer.uid).await;
        pod.map_err(|error| ExecuteError::Read { what: "a pod", message: error.to_string() })
    }

    /// Whether the pod of that UID exists, is Ready and is not being deleted; `None`: could not be told.
    pub(super) async fn fit(&self, peer: &Peer) -> Option<bool> {
        let pod = self.live_pod(peer).await.ok()?;
        Some(pod.is_some_and(|pod| pods::stays(&pod)))
    }

    /// What that process uses now; `None`: it does not answer.
    pub(super) async fn memory(&self, peer: &Peer) -> Option<Memory> {
        let look = Box::pin(async {
            let mut connection = self.ports.connect(self.policy, peer).await.ok()?;
            connection.memory(ANSWER_DEADLINE).await.ok()
        });
        within(self.ports, ANSWER_DEADLINE, look).await.flatten()
    }

    /// Its state, or `None` when it does not answer as the process that it was.
    pub(super) async fn read(&self, watched: &mut Watched<'_, P::Server>) -> Option<Reading> {
        for _ in 0..2 {
            self.open(watched).await;
            match watched.connection.as_mut()?.role_and_pause(READ_DEADLINE).await {
                Ok((replication, clients_paused)) => return Some(Reading { replication, clients_paused }),
                Err(error) => {
                    watched.connection = None;
                    // Closed, it may be back as another process: that is known before anything follows from its silence.
                    if matches!(error, RedisError::TimedOut(_)) {
                        return None;
                    }
                }
            }
        }
        None
    }

    async fn open(&self, watched: &mut Watched<'_, P::Server>) {
        let ports = self.ports;
        let too_soon = |at: Duration| ports.uptime().saturating_sub(at) < REOPEN_PAUSE;
        // What another process in its place says of its role is news at each look.
        let waits = !watched.replaced && (watched.gone || watched.closed_at.is_some_and(too_soon));
        if watched.connection.is_some() || waits {
            return;
        }
        let opened = within(ports, REOPEN_DEADLINE, ports.connect(self.policy, watched.peer)).await;
        if let Some(Err(ExecuteError::Redis { source: RedisError::RunIdChanged { leads, .. }, .. })) = &opened {
            // This one is gone for good, whatever became of its pod.
            (watched.gone, watched.replaced, watched.usurped) = (true, true, *leads != Some(false));
        }
        watched.connection = opened.and_then(Result::ok);
        watched.closed_at = watched.connection.is_none().then(|| ports.uptime());
    }

    /// The role that was read. Only a silence that has lasted is taken to the API server: whether the pod still exists.
    pub(super) async fn role(
        &self,
        watched: &mut Watched<'_, P::Server>,
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
        let due = watched.asked_at.is_none_or(|at| now.saturating_sub(at) >= ASK_EVERY);
        if !watched.gone && overdue && due {
            watched.asked_at = Some(now);
            watched.gone = matches!(self.live_pod(watched.peer).await, Ok(None));
        }
        if watched.gone { SeenRole::Gone } else { SeenRole::Unknown }
    }
}
