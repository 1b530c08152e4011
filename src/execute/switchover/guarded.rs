//! Drives the Guarded method. Everything that takes time comes before the pause: connections are open, names are
//! resolved. Under the pause each move is one round trip.

use std::time::Duration;

use super::{
    Conduct, Framed, HandedOver,
    watched::{Reading, Watched},
};
use crate::{
    clock::within,
    domain::{
        names::NodeAddress,
        sample::{FailoverState, Role},
        switchover::SwitchoverMethod,
    },
    execute::{
        ExecuteError, Fallback,
        crash::Place,
        ports::{Acting as _, Ports},
        redis::{Way, redis, way_to},
    },
    plan::{
        effect::Peer,
        switchover::{
            Failure, SeenRole,
            guarded::{self, Did, Exchange, PAUSE_MARGIN, Seen, Sent, View},
        },
    },
    redis_io::RedisError,
};

/// A silence that has lasted this long is taken to the API server.
pub(super) const OVERDUE: Duration = Duration::from_secs(1);
/// A candidate that has just been seen unfit is so for at least this long.
const UNFIT_AT_LEAST: Duration = Duration::from_millis(1);
/// Telling one of the other replicas of the new primary, connecting included. One that fails has a step of its own.
const REPOINT_DEADLINE: Duration = Duration::from_secs(1);

/// What the driver remembers between looks. Times are uptimes of the process.
struct Progress {
    did: Did,
    /// Just before `CLIENT PAUSE` was sent: the server counts from a later time.
    paused_at: Option<Duration>,
    /// How long writes were held back: until they could be made again, wherever.
    paused_for: Option<Duration>,
    changed_at: Duration,
    roles: (SeenRole, SeenRole),
    roles_at: Duration,
    /// The old primary's offset at the look before.
    offset_before: Option<u64>,
    /// Since when the candidate's link has been down, or its history another one.
    unfit_at: Option<Duration>,
}

/// The addresses by which the old primary and the other replicas are to follow the candidate.
struct Ways {
    old: Way,
    others: Vec<(Peer, Way)>,
}

impl Ways {
    /// Of those that were told now, who was told an address instead of a name.
    fn fallbacks(&self, old: &Peer, did: &Did) -> Vec<Fallback> {
        let old = self.old.fallback(old).filter(|_| did.demoted == Sent::Done);
        let others = self.others.iter().filter(|_| did.repointed).filter_map(|(peer, way)| way.fallback(peer));
        old.into_iter().chain(others).collect()
    }
}

impl<P: Ports> Conduct<'_, P> {
    pub(super) async fn guarded(
        &mut self,
        from: &mut Watched<'_, P::Server>,
        to: &mut Watched<'_, P::Server>,
    ) -> Result<HandedOver, ExecuteError> {
        let now = self.eyes.ports.uptime();
        let mut progress = Progress {
            did: Did::default(),
            paused_at: None,
            paused_for: None,
            changed_at: now,
            roles: (SeenRole::Unknown, SeenRole::Unknown),
            roles_at: now,
            offset_before: None,
            unfit_at: None,
        };
        let ways = self.ways().await;
        let result = self.guarded_moves(from, to, &ways, &mut progress).await;
        self.unpause_at_last(&result, from, &mut progress).await;
        result
    }

    async fn guarded_moves(
        &mut self,
        from: &mut Watched<'_, P::Server>,
        to: &mut Watched<'_, P::Server>,
        ways: &Ways,
        progress: &mut Progress,
    ) -> Result<HandedOver, ExecuteError> {
        loop {
            let view = self.guarded_look(from, to, ways, progress).await;
            match self.frame(guarded::next(&view, &self.timing), progress.paused_for).await? {
                Framed::Waited => continue,
                // Time that the Services take is no time that a server takes.
                Framed::Moved => {}
                Framed::Exchange(Exchange::LeaveToServer) => {
                    // On 6.2 an UNPAUSE of ours would end the FAILOVER's pause: ours ends by itself.
                    progress.did.unpaused = true;
                    return self.native(from, to).await;
                }
                Framed::Exchange(exchange) => self.guarded_exchange(exchange, (from, to), ways, progress).await?,
                Framed::Done => {
                    let fallbacks = ways.fallbacks(&self.order.from, &progress.did);
                    let method = SwitchoverMethod::Guarded;
                    return Ok(HandedOver { method, paused: progress.paused_for, fallbacks });
                }
            }
            progress.changed_at = self.eyes.ports.uptime();
        }
    }

    async fn guarded_exchange(
        &mut self,
        exchange: Exchange,
        (from, to): (&mut Watched<'_, P::Server>, &mut Watched<'_, P::Server>),
        ways: &Ways,
        progress: &mut Progress,
    ) -> Result<(), ExecuteError> {
        match exchange {
            Exchange::Release => {
                self.unpause(from).await?;
                self.undo(from).await?;
                progress.did.released = true;
            }
            Exchange::Pause => self.pause(from, progress).await?,
            Exchange::Demote => self.demote(from, &ways.old.address, progress).await?,
            Exchange::Promote => self.promote(to, progress).await?,
            Exchange::RollBack(failure) => self.roll_back(from, failure, progress).await?,
            Exchange::Unpause => {
                self.unpause(from).await?;
                self.note_pause(progress);
                progress.did.unpaused = true;
                self.eyes.ports.reached(Place::Unpaused.into()).await;
            }
            Exchange::Repoint => {
                self.repoint_others(ways).await?;
                progress.did.repointed = true;
                self.eyes.ports.reached(Place::OthersRepointed.into()).await;
            }
            // The caller's.
            Exchange::LeaveToServer => {}
        }
        Ok(())
    }

    /// Reads both servers at the same time. Under the pause what the old primary says cannot grow any more, so both
    /// readings belong together.
    async fn guarded_look(
        &self,
        from: &mut Watched<'_, P::Server>,
        to: &mut Watched<'_, P::Server>,
        ways: &Ways,
        progress: &mut Progress,
    ) -> View {
        let (old, new) = tokio::join!(self.eyes.read(from), self.eyes.read(to));
        let now = self.eyes.ports.uptime();
        let overdue = now.saturating_sub(progress.changed_at) >= OVERDUE;
        let usurped = from.usurped || to.usurped;
        let roles = (
            self.eyes.role(from, old.as_ref(), now, overdue).await,
            self.eyes.role(to, new.as_ref(), now, overdue).await,
        );
        if roles != progress.roles {
            (progress.roles, progress.roles_at) = (roles, now);
        }
        progress.did.paused = progress.paused_at.map(|at| now.saturating_sub(at));
        let from = self.seen(roles.0, old.as_ref());
        let to = self.seen(roles.1, new.as_ref());
        let fit = to.linked && to.same_history;
        progress.unfit_at = if fit { None } else { progress.unfit_at.or(Some(now)) };
        let trails = progress.offset_before.is_none_or(|before| to.offset < before);
        progress.offset_before = Some(from.offset);
        View {
            from,
            to,
            failover: old.as_ref().map_or(FailoverState::None, |old| old.replication.failover_state),
            follows_candidate: old.as_ref().is_some_and(|old| self.follows_candidate(old, ways)),
            clients_paused: old.as_ref().and_then(|old| old.clients_paused),
            far_behind: trails || from.offset.saturating_sub(to.offset) > self.order.max_lag.0,
            to_going: self.order.to_going,
            usurped,
            unfit: progress.unfit_at.map_or(Duration::ZERO, |at| now.saturating_sub(at).max(UNFIT_AT_LEAST)),
            may_begin: self.order.begins,
            labels: self.label_view(),
            resumed: self.order.resumed,
            did: progress.did,
            waited: now.saturating_sub(progress.changed_at),
            stuck: now.saturating_sub(progress.roles_at),
        }
    }

    fn seen(&self, role: SeenRole, reading: Option<&Reading>) -> Seen {
        let Some(Reading { replication, .. }) = reading else {
            return Seen { role, offset: 0, linked: false, same_history: false };
        };
        let linked = matches!(&replication.role, Role::Replica(link) if link.link_up && !link.sync_in_progress);
        Seen { role, offset: replication.offset, linked, same_history: replication.replid == self.order.replid }
    }

    /// Whether a demoted primary follows the candidate by one of the addresses that we, or the server, would give it.
    fn follows_candidate(&self, old: &Reading, ways: &Ways) -> bool {
        let Role::Replica(link) = &old.replication.role else { return false };
        let order = self.order;
        link.primary == ways.old.address
            || link.primary == order.to.node()
            || Some(&link.primary) == order.by_name.as_ref().map(|name| &name.sent)
            || Some(&link.primary) == order.failover_address.as_ref()
            // All that is known of a candidate whose pod is gone.
            || order.to_addresses.contains(&link.primary.to_string())
    }

    /// Names are resolved here, before anybody waits for us.
    async fn ways(&self) -> Ways {
        let order = self.order;
        let others = order
            .others
            .iter()
            .map(|(peer, name)| async move { (peer.clone(), way_to(self.eyes.ports, name.as_ref(), &order.to).await) });
        let (old, others) =
            tokio::join!(way_to(self.eyes.ports, order.by_name.as_ref(), &order.to), futures::future::join_all(others));
        Ways { old, others }
    }

    async fn pause(&mut self, from: &mut Watched<'_, P::Server>, progress: &mut Progress) -> Result<(), ExecuteError> {
        self.eyes.ports.reached(Place::AfterOverlap.into()).await;
        if !self.confirm(&mut progress.did.obstacle).await {
            return Ok(());
        }
        let connection = connection(from)?;
        self.eyes.ports.may_change()?;
        let sent_at = self.eyes.ports.uptime();
        // From here on it may hold, answered or not.
        progress.paused_at = Some(sent_at);
        connection
            .client_pause_writes(self.timing.pause)
            .await
            .map_err(|source| redis("CLIENT PAUSE", &self.order.from, source))?;
        self.eyes.ports.reached(Place::Paused.into()).await;
        Ok(())
    }

    async fn demote(
        &self,
        from: &mut Watched<'_, P::Server>,
        candidate: &NodeAddress,
        progress: &mut Progress,
    ) -> Result<(), ExecuteError> {
        self.eyes.ports.reached(Place::CaughtUp.into()).await;
        let connection = connection(from)?;
        self.eyes.ports.may_change()?;
        let held = || progress.paused_at.map_or(Duration::MAX, |at| self.eyes.ports.uptime().saturating_sub(at));
        // Looked at once more, right before: this process may have been stopped since the offsets were compared.
        if held().saturating_add(PAUSE_MARGIN) >= self.timing.pause {
            return Ok(());
        }
        let answer = connection.replicaof(candidate).await;
        let in_time = held() < self.timing.pause;
        progress.did.demoted = sent(&answer);
        progress.did.demoted_in_time = in_time && progress.did.demoted == Sent::Done;
        self.eyes.ports.reached(Place::Demoted.into()).await;
        Ok(())
    }

    async fn promote(&self, to: &mut Watched<'_, P::Server>, progress: &mut Progress) -> Result<(), ExecuteError> {
        let Ok(connection) = connection(to) else { return Ok(()) };
        self.eyes.ports.may_change()?;
        progress.did.promoted = sent(&connection.promote().await);
        if progress.did.promoted == Sent::Done {
            self.note_pause(progress);
        }
        self.eyes.ports.reached(Place::Promoted.into()).await;
        Ok(())
    }

    async fn roll_back(
        &self,
        from: &mut Watched<'_, P::Server>,
        failure: Failure,
        progress: &mut Progress,
    ) -> Result<(), ExecuteError> {
        let connection = connection(from)?;
        self.eyes.ports.may_change()?;
        // Intended is as good as sent: from here on it is not taken as never sent.
        progress.did.rolled_back = Some(failure);
        let answer = connection.promote().await;
        tracing::warn!(
            pod = %self.order.from.pod, why = failure.text(), answered = answer.is_ok(),
            "the old primary gets its role back"
        );
        self.eyes.ports.reached(Place::RolledBack.into()).await;
        Ok(())
    }

    /// For a demotion that an earlier process sent and that is still on its way. On a primary it changes nothing.
    async fn undo(&self, from: &mut Watched<'_, P::Server>) -> Result<(), ExecuteError> {
        let connection = connection(from)?;
        self.eyes.ports.may_change()?;
        connection.promote().await.map_err(|source| redis("REPLICAOF NO ONE", &self.order.from, source))
    }

    async fn unpause(&self, from: &mut Watched<'_, P::Server>) -> Result<(), ExecuteError> {
        let connection = connection(from)?;
        self.eyes.ports.may_change()?;
        connection.client_unpause().await.map_err(|source| redis("CLIENT UNPAUSE", &self.order.from, source))
    }

    /// The finally path: whatever ended it, writers do not wait for the end of the pause. Not while two servers say
    /// primary, where the pause keeps one of them from being written; and not without the right to change anything.
    async fn unpause_at_last(
        &self,
        result: &Result<HandedOver, ExecuteError>,
        from: &mut Watched<'_, P::Server>,
        progress: &mut Progress,
    ) {
        let both = matches!(result, Err(ExecuteError::Switchover { failure: Failure::BothPrimary, .. }));
        if progress.paused_at.is_none() || progress.did.unpaused || both {
            return;
        }
        if self.unpause(from).await.is_ok() {
            progress.did.unpaused = true;
        }
    }

    /// Writes can be made again from now on.
    fn note_pause(&self, progress: &mut Progress) {
        if progress.paused_for.is_none() {
            progress.paused_for = progress.paused_at.map(|at| self.eyes.ports.uptime().saturating_sub(at));
        }
    }

    /// Best effort, all at once: what is missed here, the step Repoint finds.
    async fn repoint_others(&self, ways: &Ways) -> Result<(), ExecuteError> {
        self.eyes.ports.may_change()?;
        let told = ways.others.iter().map(|(peer, way)| async move {
            let tell = async {
                let mut connection = self.eyes.ports.connect(self.eyes.policy, peer).await?;
                self.eyes.ports.may_change()?;
                connection.replicaof(&way.address).await.map_err(|source| redis("REPLICAOF", peer, source))
            };
            match within(self.eyes.ports, REPOINT_DEADLINE, tell).await {
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::warn!(pod = %peer.pod, %error, "not repointed yet"),
                None => tracing::warn!(pod = %peer.pod, "not repointed yet: no answer"),
            }
        });
        futures::future::join_all(told).await;
        Ok(())
    }
}

pub(super) fn connection<'a, S>(watched: &'a mut Watched<'_, S>) -> Result<&'a mut S, ExecuteError> {
    let pod = watched.peer.pod.to_string();
    watched.connection.as_mut().ok_or_else(|| ExecuteError::Redis {
        what: "reaching the server",
        pod,
        source: RedisError::Connect("the connection was closed".to_owned()),
    })
}

/// What became of a command. Only an error reply says that it was not carried out.
pub(super) fn sent(answer: &Result<(), RedisError>) -> Sent {
    match answer {
        Ok(()) => Sent::Done,
        Err(RedisError::Refused { .. } | RedisError::Auth(_)) => Sent::Refused,
        Err(_) => Sent::Unanswered,
    }
}
