//! Drives the Sentinel method. Every connection is open before writes are held back.

use std::{collections::BTreeMap, future::ready, iter::empty, time::Duration};

use futures::future::join_all;

use super::{
    guarded::{OVERDUE, connection, sent},
    watched::{Eyes, Reading, Watched},
};
use crate::{
    clock::within,
    domain::{
        names::{NodeAddress, PodName},
        policy::Policy,
        sample::{FailoverState, Replication, Role},
        sentinel,
    },
    execute::{
        ExecuteError,
        crash::Place,
        ports::{Acting as _, Ports, Watching as _},
        redis::{RoleSeen, redis, rewrite, set_all},
    },
    plan::{
        effect::{FailoverOrder, Peer},
        switchover::{
            Failure, SeenRole,
            guarded::Sent,
            sentinel::{CATCHES_UP, Did, Move, Named, View, next},
        },
    },
    redis_io::RedisError,
};

/// One question to a Sentinel, and opening a connection to it.
const ASK_DEADLINE: Duration = Duration::from_millis(500);
/// A name that no Sentinel knows a set by: whether it may be told to fail over is tried out with it.
const NO_SET: &str = "redismemory-io-no-such-set";

/// A Sentinel has given the role to another member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedOver {
    /// Who is primary now.
    pub to: PodName,
    /// How long writes were held back or refused, as seen from here; `None` when the roles were found exchanged.
    pub paused: Option<Duration>,
}

/// One exchange under way. Times are uptimes of the process.
struct Exchange<'a, P: Ports> {
    eyes: Eyes<'a, P>,
    order: &'a FailoverOrder,
    from: Watched<'a, P::Server>,
    replicas: Vec<Watched<'a, P::Server>>,
    sentinels: Vec<Option<P::Sentinel>>,
    did: Did,
    /// Just before `CLIENT PAUSE` was sent: the server counts from a later time.
    paused_at: Option<Duration>,
    refused_at: Option<Duration>,
    /// How long writes were held back or refused: until they could be made again, wherever.
    paused_for: Option<Duration>,
    changed_at: Duration,
    /// Of the last look.
    seen: RoleSeen,
    /// What stands still while nothing happens, and since when.
    state: (SeenRole, Named, bool, bool),
    state_at: Duration,
    /// The old primary's offset at the look before.
    offset_before: Option<u64>,
    /// When each replica was last seen to have what the old primary had a look before.
    near_at: Vec<Option<Duration>>,
    /// Whom a majority names: the address that they give, and the pod.
    new: Option<(NodeAddress, PodName)>,
}

/// Has a Sentinel give the primary role to another member, as ordered. Cancelling it (dropping the future) leaves at most
/// a primary that refuses writes; the caller that comes again with `resumed` set and the same process goes on from there.
pub async fn fail_over<P: Ports>(
    ports: &P,
    policy: &Policy,
    order: &FailoverOrder,
) -> Result<FailedOver, ExecuteError> {
    let now = ports.uptime();
    let mut exchange = Exchange {
        eyes: Eyes { ports, policy },
        order,
        from: Watched::new(&order.from, false),
        replicas: order.replicas.iter().map(|(peer, _)| Watched::new(peer, false)).collect(),
        sentinels: order.sentinels.iter().map(|_| None).collect(),
        did: Did::default(),
        paused_at: None,
        refused_at: None,
        paused_for: None,
        changed_at: now,
        seen: RoleSeen { at: now },
        state: (SeenRole::Unknown, Named::Undecided, false, false),
        state_at: now,
        offset_before: None,
        near_at: vec![None; order.replicas.len()],
        new: None,
    };
    let result = exchange.moves().await;
    exchange.unpause_at_last().await;
    result
}

impl<P: Ports> Exchange<'_, P> {
    async fn moves(&mut self) -> Result<FailedOver, ExecuteError> {
        loop {
            let view = self.look().await;
            match next(&view, self.order.pause) {
                Move::Poll(after) => {
                    self.eyes.ports.sleep(after).await;
                    continue;
                }
                Move::Release => self.release().await?,
                Move::TellCoordinated => self.tell(true).await?,
                Move::Quiet => self.quiet().await?,
                Move::Pause => self.pause().await?,
                Move::Refuse => self.refuse().await?,
                Move::Tell => self.tell(false).await?,
                Move::Demote => self.demote().await?,
                Move::Unpause => self.unpause().await?,
                Move::SetBack => self.set_back(view.from).await?,
                Move::Done => return self.done().await,
                Move::Failed(failure) => {
                    return Err(ExecuteError::Switchover { failure, paused: self.paused_for });
                }
            }
            self.changed_at = self.eyes.ports.uptime();
        }
    }

    /// Reads every member and every Sentinel at the same time. Under the pause what the old primary says cannot grow any more,
    /// so the readings belong together.
    async fn look(&mut self) -> View {
        let eyes = &self.eyes;
        self.seen = RoleSeen { at: eyes.ports.uptime() };
        let replicas = join_all(self.replicas.iter_mut().map(|replica| eyes.read(replica)));
        let (policy, set) = (eyes.policy, self.order.set.as_str());
        let sentinels = self.order.sentinels.iter().zip(self.sentinels.iter_mut());
        let named = join_all(sentinels.map(|(peer, connection)| async move {
            if connection.is_none() {
                let opened = within(eyes.ports, ASK_DEADLINE, eyes.ports.connect_sentinel(policy, peer)).await;
                *connection = opened.and_then(Result::ok);
            }
            let named = connection.as_mut()?.named(set, ASK_DEADLINE).await;
            if named.is_err() {
                *connection = None;
            }
            named.ok()
        }));
        let (old, replicas, named) = tokio::join!(eyes.read(&mut self.from), replicas, named);
        let now = eyes.ports.uptime();
        let overdue = now.saturating_sub(self.changed_at) >= OVERDUE;
        let from = eyes.role(&mut self.from, old.as_ref(), now, overdue).await;
        let (leads, other_primary) = self.judge(&replicas, &named);
        let by_the_server = |old: &Reading| old.replication.failover_state != FailoverState::None;
        let failing_over =
            named.iter().flatten().any(|named| named.failing_over) || old.as_ref().is_some_and(by_the_server);
        let state = (from, leads, failing_over, other_primary);
        if state != self.state {
            (self.state, self.state_at) = (state, now);
        }
        let old = old.as_ref().map(|old| (&old.replication, old.clients_paused));
        let offset = old.map(|(replication, _)| replication.offset);
        let (near, catches_up) = offset.map_or((false, false), |offset| self.are_near(offset, &replicas, now));
        self.offset_before = offset.or(self.offset_before);
        View {
            from,
            named: leads,
            heard: self.has_heard(&named),
            enough: named.iter().flatten().count() >= self.order.needed,
            failing_over,
            other_primary,
            near,
            catches_up,
            equal: offset.is_some_and(|offset| self.are_at(offset, &replicas)),
            clients_paused: old.and_then(|(_, paused)| paused),
            may_begin: self.order.begins,
            resumed: self.order.resumed,
            coordinated: self.order.coordinated,
            over: self.order.over,
            did: Did {
                paused: self.paused_at.map(|at| now.saturating_sub(at)),
                refused: self.refused_at.map(|at| now.saturating_sub(at)),
                ..self.did
            },
            waited: now.saturating_sub(self.changed_at),
            stuck: now.saturating_sub(self.state_at),
        }
    }

    /// Whoever may carry a failover out by our doing has answered. While the one that was told is silent, what the others say
    /// proves nothing: they hear of a failover when the new one is primary.
    fn has_heard(&self, named: &[Option<sentinel::Named>]) -> bool {
        let may = |sent: Sent| !matches!(sent, Sent::No | Sent::Refused);
        if may(self.did.told) || may(self.did.coordinated) {
            named.first().is_some_and(Option::is_some)
        } else {
            named.iter().flatten().count() >= self.order.known
        }
    }

    /// Whom the Sentinels name, and whether a replica says that it is primary.
    fn judge(&mut self, replicas: &[Option<Reading>], named: &[Option<sentinel::Named>]) -> (Named, bool) {
        let primary = |reading: &Option<Reading>| is_primary(reading.as_ref().map(|reading| &reading.replication));
        let mut votes: BTreeMap<&NodeAddress, usize> = BTreeMap::new();
        for named in named.iter().flatten() {
            *votes.entry(&named.primary).or_default() += 1;
        }
        let leader = votes.into_iter().find(|(_, votes)| *votes >= self.order.majority).map(|(address, _)| address);
        let other = replicas.iter().any(primary);
        let Some(leader) = leader else { return (Named::Undecided, other) };
        let known = self.order.replicas.iter().zip(replicas);
        let new = known.clone().find(|((peer, addresses), _)| is_at(leader, peer, addresses));
        match new {
            Some(((peer, _), reading)) if primary(reading) => {
                self.new = Some((leader.clone(), peer.pod.clone()));
                (Named::New, other)
            }
            None if is_at(leader, &self.order.from, &self.order.from_addresses) => (Named::Old, other),
            Some(_) | None => (Named::Undecided, other),
        }
    }

    /// Every replica is linked, of the recorded history, no further behind than the policy allows, and has what the primary
    /// had a look ago; and the same, but that each had it at its own time, lately.
    fn are_near(&mut self, offset: u64, replicas: &[Option<Reading>], now: Duration) -> (bool, bool) {
        let allowed = offset.saturating_sub(self.order.max_lag.0);
        let least = self.offset_before.unwrap_or(u64::MAX).max(allowed);
        let mut near_at = std::mem::take(&mut self.near_at);
        let (mut near, mut catches_up) = (true, true);
        for (reading, at) in replicas.iter().zip(&mut near_at) {
            let is_near = self.holds(reading.as_ref(), least);
            if is_near {
                *at = Some(now);
            }
            near &= is_near;
            let lately = at.is_some_and(|at| now.saturating_sub(at) <= CATCHES_UP);
            catches_up &= lately && self.holds(reading.as_ref(), allowed);
        }
        self.near_at = near_at;
        (near, catches_up)
    }

    /// Every replica has everything up to that offset.
    fn are_at(&self, offset: u64, replicas: &[Option<Reading>]) -> bool {
        let exactly = |reading: &Option<Reading>| {
            reading.as_ref().is_some_and(|it| it.replication.offset == offset && self.holds(Some(it), offset))
        };
        replicas.iter().all(exactly)
    }

    fn holds(&self, reading: Option<&Reading>, least: u64) -> bool {
        reading.is_some_and(|Reading { replication, .. }| {
            let linked = matches!(&replication.role, Role::Replica(link) if link.link_up && !link.sync_in_progress);
            linked && replication.replid == self.order.replid && replication.offset >= least
        })
    }

    /// The pause first, as whenever the old primary stays primary: see `give_up` of the machine.
    async fn release(&mut self) -> Result<(), ExecuteError> {
        let order = self.order;
        self.send_unpause().await?;
        self.set(&order.before).await?;
        self.did.released = true;
        Ok(())
    }

    async fn quiet(&mut self) -> Result<(), ExecuteError> {
        if !self.confirm().await {
            return Ok(());
        }
        let order = self.order;
        // Intended is as good as sent: it is set back.
        self.did.quieted = true;
        self.set(&order.quiet).await?;
        self.eyes.ports.reached(Place::Quieted.into()).await;
        Ok(())
    }

    async fn pause(&mut self) -> Result<(), ExecuteError> {
        self.eyes.ports.may_change()?;
        // From here on it may hold, answered or not.
        self.paused_at = Some(self.eyes.ports.uptime());
        self.hold_back(self.order.pause).await
    }

    async fn hold_back(&mut self, life: Duration) -> Result<(), ExecuteError> {
        let connection = connection(&mut self.from)?;
        self.eyes.ports.may_change()?;
        let paused = connection.client_pause_writes(life).await;
        paused.map_err(|source| redis("CLIENT PAUSE", &self.order.from, source))
    }

    /// Whether every replica has everything is looked at once more afterwards: then nothing was written in between.
    async fn refuse(&mut self) -> Result<(), ExecuteError> {
        let order = self.order;
        self.eyes.ports.reached(Place::HeldBack.into()).await;
        self.refused_at = Some(self.eyes.ports.uptime());
        self.set(&order.refusing).await?;
        let since = self.paused_at.map_or(Duration::ZERO, |at| self.eyes.ports.uptime().saturating_sub(at));
        let life = order.longest_pause.saturating_sub(since);
        if !life.is_zero() {
            self.hold_back(life).await?;
        }
        self.refused_at = Some(self.eyes.ports.uptime());
        self.eyes.ports.reached(Place::RefusesWrites.into()).await;
        Ok(())
    }

    /// One Sentinel, once: an answer that is lost is looked for, and never asked for again.
    async fn tell(&mut self, coordinated: bool) -> Result<(), ExecuteError> {
        if coordinated && !self.confirm().await {
            return Ok(());
        }
        self.eyes.ports.may_change()?;
        let told = match self.sentinels.first_mut().and_then(Option::as_mut) {
            Some(sentinel) => sent(&sentinel.sentinel_failover(&self.order.set, coordinated).await),
            None => Sent::Refused,
        };
        if coordinated {
            self.did.coordinated = told;
        } else {
            self.did.told = told;
        }
        if told != Sent::Refused {
            self.eyes.ports.reached(Place::SentinelTold.into()).await;
        }
        Ok(())
    }

    async fn demote(&mut self) -> Result<(), ExecuteError> {
        let Some((address, _)) = self.new.clone() else { return Ok(()) };
        self.eyes.ports.reached(Place::Named.into()).await;
        // This process may have been stopped since, and the new primary may have restarted meanwhile: it is looked at again.
        if !self.seen.is_fresh(self.eyes.ports.uptime()) {
            return Ok(());
        }
        let connection = connection(&mut self.from)?;
        self.eyes.ports.may_change()?;
        self.did.demoted = sent(&connection.replicaof(&address).await);
        self.note_pause();
        self.eyes.ports.reached(Place::Follows.into()).await;
        Ok(())
    }

    async fn unpause(&mut self) -> Result<(), ExecuteError> {
        self.send_unpause().await?;
        // Where they are refused, they can be made when the settings are back.
        if self.refused_at.is_none() {
            self.note_pause();
        }
        self.did.unpaused = true;
        Ok(())
    }

    async fn send_unpause(&mut self) -> Result<(), ExecuteError> {
        let connection = connection(&mut self.from)?;
        self.eyes.ports.may_change()?;
        connection.client_unpause().await.map_err(|source| redis("CLIENT UNPAUSE", &self.order.from, source))
    }

    /// In the file too, where a Sentinel may have given it a role since they were set, for then it has it write its settings
    /// down: it is a primary although we have demoted it; or we have not, and it is a replica, or a Sentinel was told (who may
    /// have taken the role and given it back); or another process of ours began this and nobody knows what came since.
    async fn set_back(&mut self, role: SeenRole) -> Result<(), ExecuteError> {
        let order = self.order;
        self.set(&order.before).await?;
        self.note_pause();
        let was = |sent: Sent| !matches!(sent, Sent::No | Sent::Refused);
        let told = was(self.did.told) || was(self.did.coordinated);
        let is_replica = role == SeenRole::Replica;
        if order.resumed || if was(self.did.demoted) { !is_replica } else { is_replica || told } {
            rewrite(self.eyes.ports, connection(&mut self.from)?, &order.from).await?;
        }
        self.did.set_back = true;
        self.eyes.ports.reached(Place::SettingsBack.into()).await;
        Ok(())
    }

    async fn set(&mut self, settings: &[(String, String)]) -> Result<(), ExecuteError> {
        set_all(self.eyes.ports, connection(&mut self.from)?, &self.order.from, settings).await
    }

    async fn done(&mut self) -> Result<FailedOver, ExecuteError> {
        self.eyes.ports.reached(Place::SwitchoverDone.into()).await;
        let to = self.new.clone().map_or_else(|| self.order.from.pod.clone(), |(_, pod)| pod);
        Ok(FailedOver { to, paused: self.paused_for })
    }

    /// The last look, and whether the Sentinel that is told may be told. That a majority answers was a look ago: it named the
    /// old primary.
    async fn confirm(&mut self) -> bool {
        let replicas: Vec<&Peer> = self.order.replicas.iter().map(|(peer, _)| peer).collect();
        let (mut found, _) = self.eyes.last_look(&self.order.from, &replicas, empty(), ready(())).await;
        if found.is_none() && !self.may_tell().await {
            found = Some(Failure::SentinelRefused);
        }
        self.did.obstacle = found;
        found.is_none()
    }

    /// Whether the Sentinel that is told may be told: of a set that it does not know it says so, without the right it says that.
    async fn may_tell(&mut self) -> bool {
        let Some(Some(sentinel)) = self.sentinels.first_mut() else { return false };
        match sentinel.sentinel_failover(NO_SET, false).await {
            Err(RedisError::Refused { code, .. }) => code != "NOPERM",
            _ => false,
        }
    }

    /// The finally path: whatever ended it, writers do not wait for the end of a pause before writes are refused. After that
    /// the pause keeps the Sentinels' greetings away, and ends by itself.
    async fn unpause_at_last(&mut self) {
        if self.paused_at.is_some() && !self.did.unpaused && self.refused_at.is_none() {
            self.did.unpaused = self.send_unpause().await.is_ok();
        }
    }

    /// Writes can be made again from now on.
    fn note_pause(&mut self) {
        if self.paused_for.is_none() {
            self.paused_for = self.paused_at.map(|at| self.eyes.ports.uptime().saturating_sub(at));
        }
    }
}

fn is_primary(replication: Option<&Replication>) -> bool {
    replication.is_some_and(|replication| replication.role == Role::Primary)
}

/// Whether that address is the peer's: its own, or one by which Sentinels know it.
fn is_at(address: &NodeAddress, peer: &Peer, known_as: &[NodeAddress]) -> bool {
    *address == peer.node() || known_as.contains(address)
}
