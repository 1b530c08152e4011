//! Drives the Guarded method: carries out the moves that the real pure machine `plan::switchover::guarded::next`
//! decides, as `execute::switchover::guarded` does.

use std::time::Duration;

use redis_memory_operator::{
    domain::sample::FailoverState,
    plan::{
        effect::{Peer, SwitchoverOrder},
        switchover::{
            Failure, SeenRole,
            guarded::{self, Did, Move, PAUSE_MARGIN, Seen, Sent, View},
        },
    },
};

use crate::{
    executor::{Connection, address},
    faults::Lie,
    kubernetes::Refusal,
    operator::Process,
    planted::Bug,
    redis::{Failover, Host, Link, Ms, Order, Role},
    switchover::{Labels, limits, ms, since},
    view,
};

/// As in `execute::switchover::guarded` and `watched`.
const OVERDUE: Ms = 1000;
const READ_DEADLINE: Ms = 500;
const REOPEN_DEADLINE: Ms = 1000;
const REOPEN_PAUSE: Ms = 500;
const ASK_EVERY: Ms = 1000;
const REPOINT_DEADLINE: Ms = 1000;

struct Watched<'a> {
    peer: &'a Peer,
    connection: Option<Connection>,
    gone: bool,
    asked_at: Option<Ms>,
    closed_at: Option<Ms>,
}

impl<'a> Watched<'a> {
    const fn new(peer: &'a Peer, gone: bool) -> Self {
        Self { peer, connection: None, gone, asked_at: None, closed_at: None }
    }
}

/// What a server said.
struct Reading {
    role: Role,
    offset: u64,
    linked: bool,
    history: String,
    failover: FailoverState,
    clients_paused: Option<bool>,
}

struct Progress {
    labels: Labels,
    did: Did,
    paused_at: Option<Ms>,
    changed_at: Ms,
    roles: (SeenRole, SeenRole),
    roles_at: Ms,
    offset_before: Option<u64>,
    unfit_at: Option<Ms>,
}

/// How it ended without exchange.
enum Ended {
    /// By a decision of the machine.
    Failure(Failure),
    /// A request of it failed.
    Refused(Refusal),
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Process {
    /// Hands the role over by the Guarded method.
    pub async fn guarded(&self, order: &SwitchoverOrder) -> Result<(), Refusal> {
        let now = self.now();
        let mut progress = Progress {
            labels: self.labels(order).await?,
            did: Did::default(),
            paused_at: None,
            changed_at: now,
            roles: (SeenRole::Unknown, SeenRole::Unknown),
            roles_at: now,
            offset_before: None,
            unfit_at: None,
        };
        let (mut from, mut to) = (Watched::new(&order.from, false), Watched::new(&order.to, order.to_gone));
        let result = self.guarded_moves(order, &mut from, &mut to, &mut progress).await;
        // The finally path.
        let both = matches!(result, Err(Ended::Failure(Failure::BothPrimary)));
        if progress.paused_at.is_some() && !progress.did.unpaused && !both {
            let _ = self.tell(&from, Order::Unpause).await;
        }
        result.map_err(|ended| match ended {
            Ended::Refused(refusal) => refusal,
            Ended::Failure(failure) => {
                self.note(|| format!("switchover failed: {}", failure.text()));
                Refusal::Switchover(failure)
            }
        })
    }

    async fn guarded_moves(
        &self,
        order: &SwitchoverOrder,
        from: &mut Watched<'_>,
        to: &mut Watched<'_>,
        progress: &mut Progress,
    ) -> Result<(), Ended> {
        let limits = limits(order);
        loop {
            let view = self.guarded_look(order, from, to, progress).await;
            match guarded::next(&view, &limits) {
                Move::Poll(after) => {
                    self.pause(ms(after)).await;
                    continue;
                }
                Move::LabelCandidate => self.label_candidate(order, &mut progress.labels).await?,
                Move::AwaitOverlap(after) => {
                    self.await_overlap(order, after, &mut progress.labels).await?;
                    progress.changed_at = self.now();
                    continue;
                }
                Move::Release => {
                    done(self.tell(from, Order::Unpause).await?)?;
                    done(self.tell(from, Order::Lead { back: true }).await?)?;
                    progress.did.released = true;
                }
                Move::Pause => self.hold_back(order, from, progress).await?,
                Move::Demote => self.demote(order, from, to, progress).await?,
                Move::Promote => self.promote(to, progress).await?,
                Move::RollBack(failure) => {
                    progress.did.rolled_back = Some(failure);
                    self.tell(from, Order::Lead { back: true }).await?;
                    self.point("switchover:rolled-back").await;
                }
                Move::Unpause => {
                    done(self.tell(from, Order::Unpause).await?)?;
                    progress.did.unpaused = true;
                    self.point("switchover:unpaused").await;
                }
                Move::UnlabelOld => self.unlabel_old(order, &mut progress.labels).await?,
                Move::Repoint => {
                    self.repoint_others(order).await?;
                    progress.did.repointed = true;
                    self.point("switchover:others-repointed").await;
                }
                Move::LeaveToServer => {
                    progress.did.unpaused = true;
                    return Ok(self.native(order).await?);
                }
                Move::TakeBack(failure) => {
                    self.set_role(&order.to, "replica").await?;
                    return Err(Ended::Failure(failure));
                }
                Move::Failed(failure) => return Err(Ended::Failure(failure)),
                Move::Done => {
                    self.point("switchover:done").await;
                    return Ok(());
                }
            }
            progress.changed_at = self.now();
        }
    }

    /// Reads both servers.
    async fn guarded_look(
        &self,
        order: &SwitchoverOrder,
        from: &mut Watched<'_>,
        to: &mut Watched<'_>,
        progress: &mut Progress,
    ) -> View {
        let old = self.guarded_read(from).await;
        let new = self.guarded_read(to).await;
        let now = self.now();
        let overdue = now.saturating_sub(progress.changed_at) >= OVERDUE;
        let roles =
            (self.guarded_role(from, old.as_ref(), overdue).await, self.guarded_role(to, new.as_ref(), overdue).await);
        if roles != progress.roles {
            (progress.roles, progress.roles_at) = (roles, now);
        }
        progress.did.paused = progress.paused_at.map(|at| since(now, at));
        let seen = |role, reading: Option<&Reading>| Seen {
            role,
            offset: reading.map_or(0, |it| it.offset),
            linked: reading.is_some_and(|it| it.linked),
            same_history: reading.is_some_and(|it| it.history == order.replid),
        };
        let (from, to) = (seen(roles.0, old.as_ref()), seen(roles.1, new.as_ref()));
        progress.unfit_at = if to.linked && to.same_history { None } else { progress.unfit_at.or(Some(now)) };
        let trails = progress.offset_before.is_none_or(|before| to.offset < before);
        progress.offset_before = Some(from.offset);
        let candidate = [Host::Ip(address(&order.to)), Host::Pod(view::ordinal(&order.to.pod))];
        let mut view = View {
            from,
            to,
            failover: old.as_ref().map_or(FailoverState::None, |old| old.failover),
            follows_candidate: old
                .as_ref()
                .is_some_and(|old| matches!(old.role, Role::Replica(host) if candidate.contains(&host))),
            clients_paused: old.as_ref().and_then(|old| old.clients_paused),
            far_behind: trails || from.offset.saturating_sub(to.offset) > order.max_lag.0,
            to_going: order.to_going,
            unfit: progress.unfit_at.map_or(Duration::ZERO, |at| since(now, at).max(Duration::from_millis(1))),
            may_begin: order.begins,
            labels: progress.labels.view(now),
            resumed: order.resumed,
            did: progress.did,
            waited: since(now, progress.changed_at),
            stuck: since(now, progress.roles_at),
        };
        self.plant_in_view(&mut view);
        view
    }

    fn plant_in_view(&self, view: &mut View) {
        let demoted = view.did.demoted != Sent::No || view.from.role == SeenRole::Replica;
        let equal = match self.bug {
            Some(Bug::GuardedNoOffsets) => true,
            Some(Bug::GuardedNoSecondLook) => demoted,
            _ => false,
        };
        if equal {
            view.to.offset = view.from.offset;
            view.to.same_history = true;
            view.to.linked = true;
            view.from.same_history = true;
            view.far_behind = false;
        }
        if self.bug == Some(Bug::GuardedAnyCandidate) && demoted && view.to.role == SeenRole::Unknown {
            view.to = Seen { role: SeenRole::Replica, ..view.from };
            view.to.same_history = true;
            view.from.same_history = true;
        }
    }

    async fn guarded_read(&self, watched: &mut Watched<'_>) -> Option<Reading> {
        let now = self.now();
        let closed = watched.closed_at.is_some_and(|at| now < at + REOPEN_PAUSE);
        if watched.gone || (watched.connection.is_none() && closed) {
            return None;
        }
        if watched.connection.is_none() {
            watched.connection = self.connect_within(watched.peer, REOPEN_DEADLINE).await.ok();
            watched.gone |= watched.connection.is_none() && self.replaced(watched.peer);
            watched.closed_at = watched.connection.is_none().then(|| self.now());
        }
        let connection = watched.connection.as_ref()?;
        let Ok(role) = self.role(connection).await else {
            let hung = self.world.borrow().servers.by_ip.contains_key(&connection.ip);
            self.pause(if hung { READ_DEADLINE } else { 1 }).await;
            watched.connection = None;
            return None;
        };
        let (now, pod) = (self.now(), connection.pod);
        let (lies, tells) = {
            let world = self.world.borrow();
            (world.lies(pod, Lie::NoFailover), world.schedule.tells_pause)
        };
        self.ask(connection, |server| Reading {
            role,
            offset: server.offset(),
            linked: server.link == Link::Up,
            history: format!("history-{}", server.replid),
            failover: match server.failover {
                _ if lies => FailoverState::None,
                Failover::None => FailoverState::None,
                Failover::Waiting { .. } => FailoverState::WaitingForSync,
                Failover::InProgress { .. } => FailoverState::InProgress,
            },
            clients_paused: tells.then_some(now < server.paused_until),
        })
    }

    /// Another process answers at that address.
    pub fn replaced(&self, peer: &Peer) -> bool {
        let world = self.world.borrow();
        let server = world.servers.by_ip.get(&address(peer)).filter(|server| !server.hung(world.now));
        server.is_some_and(|server| server.run != view::run_number(&peer.run_id))
    }

    async fn guarded_role(&self, watched: &mut Watched<'_>, seen: Option<&Reading>, overdue: bool) -> SeenRole {
        if let Some(reading) = seen {
            return if reading.role == Role::Primary { SeenRole::Primary } else { SeenRole::Replica };
        }
        let now = self.now();
        if !watched.gone && overdue && watched.asked_at.is_none_or(|at| now >= at + ASK_EVERY) {
            watched.asked_at = Some(now);
            watched.gone = self.gone(watched.peer).await;
        }
        if watched.gone { SeenRole::Gone } else { SeenRole::Unknown }
    }

    /// Sends a command over the connection that is kept.
    async fn tell(&self, watched: &Watched<'_>, order: Order) -> Result<Sent, Refusal> {
        match &watched.connection {
            Some(connection) => self.order(connection, order).await,
            None => Err(Refusal::Unconfirmed),
        }
    }

    async fn hold_back(
        &self,
        order: &SwitchoverOrder,
        from: &Watched<'_>,
        progress: &mut Progress,
    ) -> Result<(), Refusal> {
        self.point("switchover:overlap").await;
        if !self.confirm(order, &mut progress.labels, &mut progress.did.obstacle).await {
            return Ok(());
        }
        if from.connection.is_none() {
            return Err(Refusal::Unconfirmed);
        }
        self.fence()?;
        progress.paused_at = Some(self.now());
        let bound = (self.bug != Some(Bug::GuardedEndlessPause)).then(|| ms(order.pause));
        done(self.tell(from, Order::Pause(bound)).await?)?;
        self.point("switchover:paused").await;
        Ok(())
    }

    async fn demote(
        &self,
        order: &SwitchoverOrder,
        from: &Watched<'_>,
        to: &Watched<'_>,
        progress: &mut Progress,
    ) -> Result<(), Refusal> {
        self.point("switchover:caught-up").await;
        if self.bug == Some(Bug::GuardedPromotesFirst) {
            self.tell(to, Order::Lead { back: false }).await?;
            self.point("switchover:promoted").await;
        }
        let held = || progress.paused_at.map_or(Ms::MAX, |at| self.now().saturating_sub(at));
        // Looked at once more, right before: this process may have been stopped since the offsets were compared.
        let late = held().saturating_add(ms(PAUSE_MARGIN)) >= ms(order.pause);
        if late && self.bug != Some(Bug::GuardedNoSecondLook) {
            return Ok(());
        }
        let sent = self.tell(from, Order::Follow(self.way(order.by_name.as_ref(), &order.to))).await?;
        let in_time = held() < ms(order.pause);
        progress.did.demoted = sent;
        progress.did.demoted_in_time = in_time && sent == Sent::Done;
        self.point("switchover:demoted").await;
        Ok(())
    }

    async fn promote(&self, to: &Watched<'_>, progress: &mut Progress) -> Result<(), Refusal> {
        if self.bug == Some(Bug::GuardedAnyCandidate) {
            let ip = address(to.peer);
            let meant = view::run_number(&to.peer.run_id);
            let anyone = Connection::to_whoever(ip, view::ordinal(&to.peer.pod), meant);
            progress.did.promoted = self.order(&anyone, Order::Lead { back: false }).await?;
        } else if let Some(connection) = &to.connection {
            progress.did.promoted = self.order(connection, Order::Lead { back: false }).await?;
        } else {
            return Ok(());
        }
        self.point("switchover:promoted").await;
        Ok(())
    }

    /// Best effort: what is missed here, the step Repoint finds.
    async fn repoint_others(&self, order: &SwitchoverOrder) -> Result<(), Refusal> {
        self.fence()?;
        for (peer, by_name) in &order.others {
            let host = self.way(by_name.as_ref(), &order.to);
            let Ok(connection) = self.connect_within(peer, REPOINT_DEADLINE).await else { continue };
            let text = format!("REPLICAOF {host:?}");
            let told = self
                .command(&connection, &text, move |world, ip| {
                    let now = world.now;
                    world.servers.replicaof(ip, host, now)
                })
                .await;
            if told == Err(Refusal::Fenced) {
                self.note(|| "fenced while the others are repointed".to_owned());
            }
        }
        Ok(())
    }
}

/// A command that must have been confirmed.
const fn done(sent: Sent) -> Result<(), Refusal> {
    match sent {
        Sent::Done => Ok(()),
        Sent::No | Sent::Unanswered | Sent::Refused => Err(Refusal::Unconfirmed),
    }
}
