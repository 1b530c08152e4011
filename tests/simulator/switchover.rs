//! Drives a switchover: carries out the moves that the real pure machine `plan::switchover::native::next` decides, as
//! `execute::switchover` does. The Guarded method is in [`crate::guarded`].

use redis_memory_operator::{
    domain::{sample::FailoverState, switchover::SwitchoverMethod},
    plan::{
        effect::{Peer, SwitchoverOrder},
        switchover::{
            Failure, LabelView, Limits, SeenRole,
            native::{self, Move, View},
        },
    },
};

use crate::{
    executor::Connection,
    faults::Lie,
    kubernetes::Refusal,
    operator::Process,
    planted::Bug,
    redis::{Cause, Failover, Host, Ms, Role},
    view,
};

/// As in `execute::switchover`.
const CONFIRM_DEADLINE: Ms = 3_000;
const ANSWER_DEADLINE: Ms = 1_000;
const LABEL_ATTEMPTS: usize = 8;
const ENDPOINT_SYNC: Ms = 2_000;
const READ_DEADLINE: Ms = 500;

struct Watched<'a> {
    peer: &'a Peer,
    connection: Option<Connection>,
    /// Its pod is gone, by the list that the order was made from.
    gone: bool,
}

struct Progress {
    labels: Labels,
    failover_at: Option<Ms>,
    aborted: bool,
    obstacle: Option<Failure>,
}

/// What is known of the labels.
pub struct Labels {
    pub from_labelled: bool,
    pub to_labelled: bool,
    pub labelled_at: Ms,
    pub overlap_at: Option<Ms>,
}

impl Labels {
    pub fn view(&self, now: Ms) -> LabelView {
        LabelView {
            kept: true,
            to_labelled: self.to_labelled,
            from_labelled: self.from_labelled,
            since_labelled: since(now, self.labelled_at),
            since_overlap: self.overlap_at.map(|at| since(now, at)),
        }
    }
}

pub fn limits(order: &SwitchoverOrder) -> Limits {
    Limits { pause: order.pause, endpoint_sync: std::time::Duration::from_millis(ENDPOINT_SYNC) }
}

pub fn ms(time: std::time::Duration) -> Ms {
    time.as_millis() as Ms
}

pub fn since(now: Ms, then: Ms) -> std::time::Duration {
    std::time::Duration::from_millis(now.saturating_sub(then))
}

impl Process {
    /// Hands the role over.
    pub async fn switch_over(&self, order: &SwitchoverOrder) -> Result<(), Refusal> {
        match order.method {
            SwitchoverMethod::Guarded => self.guarded(order).await,
            SwitchoverMethod::Native => self.native(order).await,
        }
    }

    pub async fn labels(&self, order: &SwitchoverOrder) -> Result<Labels, Refusal> {
        Ok(Labels {
            from_labelled: self.labelled(&order.from).await?,
            to_labelled: self.labelled(&order.to).await?,
            labelled_at: self.now(),
            overlap_at: None,
        })
    }

    pub async fn label_candidate(&self, order: &SwitchoverOrder, labels: &mut Labels) -> Result<(), Refusal> {
        self.set_role(&order.to, "primary").await?;
        labels.to_labelled = true;
        labels.labelled_at = self.now();
        self.point("switchover:candidate-labelled").await;
        Ok(())
    }

    pub async fn await_overlap(
        &self,
        order: &SwitchoverOrder,
        after: std::time::Duration,
        labels: &mut Labels,
    ) -> Result<(), Refusal> {
        let before = labels.overlap_at;
        let overlapping = self.overlapping(order).await.unwrap_or(false);
        labels.overlap_at = if overlapping { before.or_else(|| Some(self.now())) } else { None };
        if before.is_some() || labels.overlap_at.is_none() {
            self.pause(ms(after).min(200)).await;
        }
        Ok(())
    }

    /// Everything that must be true, once more, right before writes are held back: the others, then both pods.
    pub async fn confirm(&self, order: &SwitchoverOrder, labels: &mut Labels, obstacle: &mut Option<Failure>) -> bool {
        if self.bug == Some(Bug::NoLastLook) {
            return true;
        }
        let begun = self.now();
        let mut silent = false;
        for (peer, _) in &order.others {
            match self.connect_within(peer, ANSWER_DEADLINE).await {
                Ok(connection) => silent |= self.role(&connection).await.is_err(),
                Err(_) => silent = true,
            }
        }
        let peers = [&order.from, &order.to].map(|peer| (view::ordinal(&peer.pod), view::uid_number(&peer.uid)));
        let pods = self
            .read(move |world| {
                let stays = peers.iter().all(|(n, uid)| {
                    world.kube.pod(*n).is_some_and(|pod| pod.uid == *uid && pod.ready && pod.terminating.is_none())
                });
                (stays, peers.iter().all(|(n, uid)| world.kube.pod(*n).is_some_and(|it| it.uid == *uid && it.slice)))
            })
            .await;
        let (stays, overlapping) = match pods {
            Ok(seen) if self.now() <= begun + CONFIRM_DEADLINE => seen,
            Ok(_) | Err(_) => {
                *obstacle = Some(Failure::NotConfirmed);
                return false;
            }
        };
        *obstacle = match (stays, silent) {
            (false, _) => Some(Failure::PodNotFit),
            (true, true) => Some(Failure::MemberSilent),
            (true, false) => None,
        };
        if !overlapping {
            labels.overlap_at = None;
        }
        obstacle.is_none() && overlapping
    }

    pub async fn unlabel_old(&self, order: &SwitchoverOrder, labels: &mut Labels) -> Result<(), Refusal> {
        self.point("switchover:exchanged").await;
        self.set_role(&order.from, "replica").await?;
        labels.from_labelled = false;
        self.point("switchover:old-unlabelled").await;
        Ok(())
    }

    pub async fn native(&self, order: &SwitchoverOrder) -> Result<(), Refusal> {
        let limits = limits(order);
        let mut from = Watched { peer: &order.from, connection: None, gone: false };
        let mut to = Watched { peer: &order.to, connection: None, gone: order.to_gone };
        let labels = self.labels(order).await?;
        let mut progress = Progress { labels, failover_at: None, aborted: false, obstacle: None };
        loop {
            let view = View {
                may_begin: order.begins,
                obstacle: progress.obstacle,
                ..self.look(&mut from, &mut to, &mut progress, &limits).await
            };
            if self.bug == Some(Bug::AbortBlindly) && view.failover != FailoverState::None && !progress.aborted {
                self.abort(&mut from, &mut progress).await?;
                continue;
            }
            match native::next(&view, &limits) {
                Move::LabelCandidate => self.label_candidate(order, &mut progress.labels).await?,
                Move::AwaitOverlap(after) => self.await_overlap(order, after, &mut progress.labels).await?,
                Move::Send => self.send_failover(&mut from, &to, order, &mut progress).await?,
                Move::Poll(after) => self.pause(ms(after)).await,
                Move::Abort => self.abort(&mut from, &mut progress).await?,
                Move::UnlabelOld => self.unlabel_old(order, &mut progress.labels).await?,
                Move::TakeBack(failure) => {
                    self.set_role(&order.to, "replica").await?;
                    return Err(Refusal::Switchover(failure));
                }
                Move::Failed(failure) => {
                    self.note(|| format!("switchover failed: {}", failure.text()));
                    return Err(Refusal::Switchover(failure));
                }
                Move::Done => {
                    self.point("switchover:done").await;
                    return Ok(());
                }
            }
        }
    }

    /// Reads both roles and updates what follows from them.
    async fn look(
        &self,
        from: &mut Watched<'_>,
        to: &mut Watched<'_>,
        progress: &mut Progress,
        limits: &Limits,
    ) -> View {
        let old = self.read_role(from).await;
        let new = self.read_role(to).await;
        let now = self.now();
        let failover = old.map_or(FailoverState::None, |(_, failover)| failover);
        if failover != FailoverState::None {
            progress.failover_at.get_or_insert(now);
        }
        let running = progress.failover_at.map(|at| since(now, at));
        let waited = running.unwrap_or_else(|| progress.labels.view(now).since_labelled);
        let overdue = waited >= limits.pause + native::WATCHDOG_MARGIN;
        View {
            from: self.role_or_gone(from, old, overdue).await,
            to: self.role_or_gone(to, new, overdue).await,
            failover,
            labels: progress.labels.view(now),
            since_failover: running,
            aborted: progress.aborted,
            may_begin: true,
            obstacle: None,
        }
    }

    async fn read_role(&self, watched: &mut Watched<'_>) -> Option<(Role, FailoverState)> {
        if watched.gone {
            return None;
        }
        if watched.connection.is_none() {
            watched.connection = self.connect(watched.peer).await.ok();
        }
        let connection = watched.connection.as_ref()?;
        let role = self.role(connection).await;
        let Ok(role) = role else {
            let hung = self.world.borrow().servers.by_ip.contains_key(&connection.ip);
            self.pause(if hung { READ_DEADLINE } else { 1 }).await;
            watched.connection = None;
            return None;
        };
        let world = self.world.borrow();
        let state = match world.servers.by_ip.get(&connection.ip)?.failover {
            _ if world.lies(connection.pod, Lie::NoFailover) => FailoverState::None,
            Failover::None => FailoverState::None,
            Failover::Waiting { .. } => FailoverState::WaitingForSync,
            Failover::InProgress { .. } => FailoverState::InProgress,
        };
        Some((role, state))
    }

    async fn role_or_gone(
        &self,
        watched: &Watched<'_>,
        seen: Option<(Role, FailoverState)>,
        overdue: bool,
    ) -> SeenRole {
        match seen {
            Some((Role::Primary, _)) => SeenRole::Primary,
            Some((Role::Replica(_), _)) => SeenRole::Replica,
            None if watched.gone || self.replaced(watched.peer) => SeenRole::Gone,
            None if !overdue => SeenRole::Unknown,
            None if self.gone(watched.peer).await => SeenRole::Gone,
            None => SeenRole::Unknown,
        }
    }

    /// The pod no longer exists, by the API server's word.
    pub async fn gone(&self, peer: &Peer) -> bool {
        self.live_pod(peer).await == Ok(None)
    }

    async fn send_failover(
        &self,
        from: &mut Watched<'_>,
        to: &Watched<'_>,
        order: &SwitchoverOrder,
        progress: &mut Progress,
    ) -> Result<(), Refusal> {
        self.point("switchover:overlap").await;
        if self.bug == Some(Bug::PromoteBeforeDemote) {
            return self.promote_before_demote(from, to).await;
        }
        if !self.confirm(order, &mut progress.labels, &mut progress.obstacle).await {
            return Ok(());
        }
        let (Some(connection), Some(address)) = (from.connection.as_ref(), order.failover_address.as_ref()) else {
            return Err(Refusal::Unread);
        };
        let target = view::ip_number(&address.host);
        let timeout = (self.bug != Some(Bug::NoTimeout)).then(|| ms(order.pause));
        let sender = self.sender();
        self.command(connection, "FAILOVER", move |world, ip| {
            let now = world.now;
            world.servers.failover(ip, target, timeout, Cause::Ours, now)?;
            let from = world.servers.by_ip[&ip].pod;
            world.observer.failing_over(&world.kube, &sender, from, timeout, now);
            Ok(())
        })
        .await?;
        progress.failover_at = Some(self.now());
        self.point("switchover:failover-sent").await;
        Ok(())
    }

    async fn promote_before_demote(&self, from: &Watched<'_>, to: &Watched<'_>) -> Result<(), Refusal> {
        let (Some(old), Some(new)) = (from.connection.as_ref(), to.connection.as_ref()) else {
            return Err(Refusal::Unread);
        };
        self.command(new, "REPLICAOF NO ONE", |world, ip| {
            let now = world.now;
            world.servers.promote(ip, Cause::Ours, now);
            world.observer.became_primary(Cause::Ours);
            Ok(())
        })
        .await?;
        let host = Host::Ip(new.ip);
        self.command(old, "REPLICAOF", move |world, ip| {
            let now = world.now;
            world.servers.replicaof(ip, host, now)
        })
        .await
    }

    async fn abort(&self, from: &mut Watched<'_>, progress: &mut Progress) -> Result<(), Refusal> {
        self.point("switchover:abort").await;
        if let Some(connection) = from.connection.as_ref() {
            self.command(connection, "FAILOVER ABORT", |world, ip| {
                let now = world.now;
                world.servers.abort(ip, Cause::Ours, now)?;
                world.observer.became_primary(Cause::Ours);
                Ok(())
            })
            .await?;
            progress.aborted = true;
        }
        Ok(())
    }

    /// Whether the pod carries the primary's label now.
    async fn labelled(&self, peer: &Peer) -> Result<bool, Refusal> {
        Ok(self.live_pod(peer).await?.is_some_and(|(_, role)| role == Some("primary")))
    }

    /// Version and label of exactly that pod, if it exists.
    async fn live_pod(&self, peer: &Peer) -> Result<Option<(u64, Option<&'static str>)>, Refusal> {
        let (n, uid) = (view::ordinal(&peer.pod), view::uid_number(&peer.uid));
        self.read(move |world| world.kube.pod(n).filter(|pod| pod.uid == uid).map(|pod| (pod.rv, pod.role))).await
    }

    pub async fn set_role(&self, peer: &Peer, role: &'static str) -> Result<(), Refusal> {
        let (n, uid) = (view::ordinal(&peer.pod), view::uid_number(&peer.uid));
        for _ in 0..LABEL_ATTEMPTS {
            let Some((rv, _)) = self.live_pod(peer).await? else { return Ok(()) };
            let patch = move |world: &mut crate::world::World| {
                world.kube.patch(n, Some(uid), Some(rv), |pod| pod.role = Some(role))
            };
            match self.write(&format!("label redis-{n} {role}"), true, patch).await {
                Err(Refusal::Conflict) => {}
                other => return other,
            }
        }
        Err(Refusal::Conflict)
    }

    /// Whether the Service has both pods behind ready endpoints.
    async fn overlapping(&self, order: &SwitchoverOrder) -> Result<bool, Refusal> {
        let uids = [view::uid_number(&order.from.uid), view::uid_number(&order.to.uid)];
        self.read(move |world| {
            let there =
                |uid: &u32| world.kube.places.iter().flat_map(|it| &it.pod).any(|pod| pod.uid == *uid && pod.slice);
            uids.iter().all(there)
        })
        .await
    }
}
