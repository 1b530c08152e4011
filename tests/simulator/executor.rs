//! Carries effects out as `execute::Executor` does, with its checks right before each effect. The planted bugs take
//! these checks away, here and nowhere else.

use std::net::IpAddr;

use redis_memory_operator::{
    assess::headroom,
    domain::{bytes::Bytes, journal::Journal, sample::Role as SeenAs, snapshot::Snapshot, step::Step},
    plan::{
        advance::Next,
        decide::{Act, Decision},
        effect::{Effect, MemberName, Peer},
        switchover::guarded::Sent,
    },
};

use crate::{
    faults::Lie,
    kubernetes::{Refusal, Resource},
    observer::Evicted,
    operator::Process,
    planted::Bug,
    redis::{Host, Ms, Order, Role, Server, Servers},
    view,
    world::World,
};

/// A connection to one process; with the planted bug to whatever listens there.
pub struct Connection {
    pub ip: u32,
    pub pod: usize,
    pub meant: u32,
    run: Option<u32>,
}

impl Connection {
    /// To whatever listens there (a planted bug).
    pub const fn to_whoever(ip: u32, pod: usize, meant: u32) -> Self {
        Self { ip, pod, meant, run: None }
    }
}

impl Process {
    /// Carries one effect out.
    pub async fn carry_out(&self, effect: &Effect) -> Result<(), Refusal> {
        self.fence()?;
        match effect {
            Effect::Evict { peer } => self.evict(peer).await,
            Effect::Resize { pod, uid, resource_version, limit, .. } => {
                let (n, uid, rv) = (view::ordinal(pod), view::uid_number(uid), resource_version.parse().ok());
                let limit = limit.0 / Bytes::mib(1).0;
                self.write(&format!("resize redis-{n} to {limit} Mi"), true, move |world| {
                    let before = world.kube.pod(n).map_or(0, |pod| pod.limit_mib);
                    let rule = &world.kube.policies[0].spec.headroom;
                    let maxmemory = world.servers.of_pod(n).map_or(0, |server| server.maxmemory_mib);
                    let required = headroom::required_limit(rule, Bytes::mib(maxmemory)).0 / Bytes::mib(1).0;
                    world.kube.patch(n, Some(uid), rv, |pod| pod.limit_mib = limit)?;
                    let now = world.now;
                    world.observer.resizing(n, before, limit, required, now);
                    Ok(())
                })
                .await
            }
            Effect::Label { pod, uid, resource_version, value, .. } => {
                let (n, uid, rv) = (view::ordinal(pod), view::uid_number(uid), resource_version.parse().ok());
                let role = role_word(value);
                self.write(&format!("label redis-{n} {role}"), true, move |world| {
                    let before = world.kube.pod(n).and_then(|pod| pod.role);
                    world.kube.patch(n, Some(uid), rv, |pod| pod.role = Some(role))?;
                    // A label that was wrong is right now: that is progress.
                    let leads = world.servers.of_pod(n).is_some_and(|server| server.role == Role::Primary);
                    if before != Some(role) && leads == (role == "primary") {
                        let now = world.now;
                        world.observer.progressed(now);
                    }
                    Ok(())
                })
                .await
            }
            Effect::Restore { peer, settings } => self.restore(peer, settings).await,
            // Clients of this world connect anew for each write: nobody stands anywhere.
            Effect::CloseClients { .. } => Ok(()),
            Effect::Repoint { peer, by_name, to } => self.follow(peer, by_name.as_ref(), to, false).await,
            Effect::Demote { peer, by_name, to } => self.follow(peer, by_name.as_ref(), to, true).await,
            // This world's sets have a role authority and no volumes: nothing is restarted in place.
            Effect::EvictPrimary { .. } | Effect::Persist { .. } | Effect::SetBacklog { .. } | Effect::Carry { .. } => {
                panic!("not in this world: {effect:?}")
            }
            Effect::Switchover(order) => self.switch_over(order).await,
        }
    }

    /// Opens a connection to exactly that process: same address, same `run_id`.
    pub async fn connect(&self, peer: &Peer) -> Result<Connection, Refusal> {
        self.connect_within(peer, 2000).await
    }

    /// The same, with so much patience.
    pub async fn connect_within(&self, peer: &Peer, patience: Ms) -> Result<Connection, Refusal> {
        let took = self.random(1, 15);
        self.pause(took).await;
        let (ip, meant) = (address(peer), view::run_number(&peer.run_id));
        let hung = {
            let world = self.world.borrow();
            let server = world.servers.by_ip.get(&ip).ok_or(Refusal::Unconfirmed)?;
            if self.bug != Some(Bug::NoRunIdCheck) && server.run != meant {
                return Err(Refusal::Unconfirmed);
            }
            server.hung(world.now)
        };
        if hung {
            self.pause(patience).await;
            return Err(Refusal::Unconfirmed);
        }
        let run = (self.bug != Some(Bug::NoRunIdCheck)).then_some(meant);
        Ok(Connection { ip, pod: view::ordinal(&peer.pod), meant, run })
    }

    /// The process at the other end, if it is there and answers.
    fn at_the_end<'a>(connection: &Connection, servers: &'a mut Servers, now: u64) -> Result<&'a mut Server, Refusal> {
        let server = servers.by_ip.get_mut(&connection.ip).ok_or(Refusal::Unconfirmed)?;
        let same = connection.run.is_none_or(|run| run == server.run);
        if same && !server.hung(now) { Ok(server) } else { Err(Refusal::Unconfirmed) }
    }

    /// Sends a command that changes something: fence, journey, effect, answer.
    pub async fn command<T>(
        &self,
        connection: &Connection,
        what: &str,
        apply: impl FnOnce(&mut World, u32) -> Result<T, &'static str>,
    ) -> Result<T, Refusal> {
        self.fence()?;
        self.in_flight.set(true);
        let took = self.random(1, 6);
        self.pause(took).await;
        self.in_flight.set(false);
        let outcome = {
            let mut world = self.world.borrow_mut();
            let now = world.now;
            let sender = self.sender();
            let World { observer, kube, servers, .. } = &mut *world;
            let server = Self::at_the_end(connection, servers, now)?;
            observer.arrived(kube, &sender, what, true, now);
            observer.reached(server, connection.meant, what, now);
            let outcome = apply(&mut world, connection.ip);
            let said = outcome.as_ref().err().copied().unwrap_or("ok");
            let slot = self.slot;
            world.note(|| format!("operator {slot}: {what} on redis-{}: {said}", connection.pod));
            outcome.map_err(|_| Refusal::Unconfirmed)
        };
        let back = self.random(1, 4);
        self.pause(back).await;
        outcome
    }

    /// Sends a command of the Guarded method and says what became of it, as `execute::switchover::guarded` tells.
    /// Whoever is hung finds it in its socket when it goes on.
    pub async fn order(&self, connection: &Connection, order: Order) -> Result<Sent, Refusal> {
        /// How long an answer is waited for.
        const ANSWER: Ms = 1000;
        self.fence()?;
        self.in_flight.set(true);
        let took = self.random(1, 6);
        self.pause(took).await;
        self.in_flight.set(false);
        let sent = {
            let mut world = self.world.borrow_mut();
            let (now, slot, sender) = (world.now, self.slot, self.sender());
            let World { observer, kube, servers, .. } = &mut *world;
            let Some(server) = servers.by_ip.get(&connection.ip) else { return Ok(Sent::Unanswered) };
            if connection.run.is_some_and(|run| run != server.run) {
                return Ok(Sent::Unanswered);
            }
            observer.arrived(kube, &sender, &format!("{order:?}"), true, now);
            observer.reached(server, connection.meant, &format!("{order:?}"), now);
            if matches!(order, Order::Pause(_)) {
                observer.switching(kube, &sender, connection.pod, now);
            }
            let sent = if server.hung(now) {
                world.leave(connection.ip, order, sender.remediation);
                Sent::Unanswered
            } else {
                let said = world.obey(connection.ip, order, sender.remediation.as_ref());
                if said.is_ok() { Sent::Done } else { Sent::Refused }
            };
            world.note(|| format!("operator {slot}: {order:?} on redis-{}: {sent:?}", connection.pod));
            sent
        };
        let back = if sent == Sent::Unanswered { ANSWER } else { self.random(1, 4) };
        self.pause(back).await;
        Ok(sent)
    }

    /// The process at the other end as it is now, if it is there and answers.
    pub fn ask<T>(&self, connection: &Connection, ask: impl FnOnce(&Server) -> T) -> Option<T> {
        let mut world = self.world.borrow_mut();
        let now = world.now;
        Self::at_the_end(connection, &mut world.servers, now).ok().map(|server| ask(server))
    }

    /// What the server says its role is, lies included.
    pub async fn role(&self, connection: &Connection) -> Result<Role, Refusal> {
        let took = self.random(1, 6);
        self.pause(took).await;
        let mut world = self.world.borrow_mut();
        let now = world.now;
        let role = Self::at_the_end(connection, &mut world.servers, now)?.role;
        world.observer.answered(self.identity, connection.pod, now);
        Ok(match role {
            _ if world.lies(connection.pod, Lie::Replica) => Role::Replica(Host::Pod(0)),
            _ if world.lies(connection.pod, Lie::Primary) => Role::Primary,
            role => role,
        })
    }

    async fn evict(&self, peer: &Peer) -> Result<(), Refusal> {
        let unchecked = matches!(self.bug, Some(Bug::EvictThePrimaryFirst | Bug::NoLiveRole));
        let mut seen_at = None;
        if !unchecked {
            let connection = self.connect(peer).await?;
            seen_at = Some(self.now());
            if self.role(&connection).await? == Role::Primary {
                return Err(Refusal::NowPrimary);
            }
        }
        self.point("evict:checked").await;
        // The role counts for a second: the process may have been stopped since.
        if seen_at.is_some_and(|at| self.now() >= at + 1000) && self.bug != Some(Bug::OldRole) {
            return Err(Refusal::Unconfirmed);
        }
        let (n, uid) = (view::ordinal(&peer.pod), view::uid_number(&peer.uid));
        let uid = (self.bug != Some(Bug::NoUid)).then_some(uid);
        let mut outcome = self.send_eviction(n, uid).await;
        if self.bug == Some(Bug::RetryEvictionBlindly) && outcome == Err(Refusal::Unconfirmed) {
            for _ in 0..3 {
                self.pause(4000).await;
                outcome = self.send_eviction(n, None).await;
            }
        }
        self.point("evict:sent").await;
        outcome
    }

    async fn send_eviction(&self, n: usize, uid: Option<u32>) -> Result<(), Refusal> {
        let (bug, sender, sent_at) = (self.bug, self.sender(), self.now());
        self.write(&format!("evict redis-{n}"), uid.is_some(), move |world| {
            let now = world.now;
            let begins = match world.kube.evictable(n, uid, now) {
                Err(Refusal::BudgetSaysNo) if bug == Some(Bug::PlainDelete) => true,
                other => other?,
            };
            if begins {
                let lied = world.lied(n);
                let World { observer, kube, servers, .. } = world;
                observer.evicting(kube, servers, &sender, Evicted { pod: n, lied, sent_at }, now);
                let grace = world.rng.range(200, 2500);
                world.kube.delete(n, now, grace);
            }
            Ok(())
        })
        .await
    }

    async fn restore(&self, peer: &Peer, settings: &[(String, String)]) -> Result<(), Refusal> {
        let connection = self.connect(peer).await?;
        for (name, value) in settings {
            let text = format!("CONFIG SET {name} {value}");
            let bytes: u64 = value.parse().map_err(|_| Refusal::Unconfirmed)?;
            self.command(&connection, &text, move |world, ip| {
                let server = world.servers.by_ip.get_mut(&ip).ok_or("gone")?;
                server.maxmemory_mib = bytes / Bytes::mib(1).0;
                Ok(())
            })
            .await?;
        }
        self.point("restore:sent").await;
        Ok(())
    }

    /// `execute::redis::repoint`, or `demote`: both roles are read right before.
    async fn follow(&self, peer: &Peer, by_name: Option<&MemberName>, to: &Peer, demote: bool) -> Result<(), Refusal> {
        let host = self.way(by_name, to);
        let (kept, follower) = (self.connect(to).await?, self.connect(peer).await?);
        let leads = self.role(&kept).await? == Role::Primary;
        let is_primary = self.role(&follower).await? == Role::Primary;
        if !leads || is_primary != demote {
            return Err(Refusal::Conflict);
        }
        self.point("repoint:checked").await;
        self.command(&follower, &format!("REPLICAOF {host:?}"), move |world, ip| {
            let now = world.now;
            world.servers.replicaof(ip, host, now)
        })
        .await?;
        self.point("repoint:sent").await;
        Ok(())
    }

    /// The name is used only when it resolves to the new primary's pod.
    pub fn way(&self, by_name: Option<&MemberName>, to: &Peer) -> Host {
        let target = address(to);
        let named = by_name.and_then(|name| name.full.split('.').next()?.rsplit('-').next()?.parse().ok());
        let resolves = |n: &usize| self.world.borrow().kube.pod(*n).is_some_and(|pod| pod.ip == target);
        named.filter(resolves).map_or(Host::Ip(target), Host::Pod)
    }
}

/// The label value as the world has it.
pub fn role_word(value: &str) -> &'static str {
    if value == "primary" { "primary" } else { "replica" }
}

pub fn address(peer: &Peer) -> u32 {
    match peer.address.ip() {
        IpAddr::V4(ip) => view::ip_number(&ip.to_string()),
        IpAddr::V6(_) => 0,
    }
}

/// Planted bugs that reorder the plan.
pub fn plant_in_plan(process: &Process, journal: &mut Journal) {
    if process.bug != Some(Bug::EvictThePrimaryFirst) {
        return;
    }
    let primary = journal.primary.pod.clone();
    journal.steps.retain(|planned| !matches!(planned.step, Step::Switchover { .. } | Step::Repoint { .. }));
    journal.steps.sort_by_key(|planned| *planned.step.pod() != primary);
}

/// Planted bugs that decide otherwise.
pub fn plant_in_decision(process: &Process, snapshot: &Snapshot, resource: &Resource, decision: &mut Decision) {
    match process.bug {
        Some(Bug::EvictThePrimaryFirst) => {
            let Some(journal) = &resource.journal else { return };
            let (Some(Step::Evict { pod }), Act::Go(Next::End(_))) = (journal.step(), &decision.act) else { return };
            let primary = |target: &&redis_memory_operator::domain::snapshot::Target| {
                target.sample().is_some_and(|sample| matches!(sample.replication.role, SeenAs::Primary))
            };
            let Some(target) = snapshot.target(pod).filter(primary) else { return };
            let Some(peer) = Peer::of(target) else { return };
            let mut journal = journal.clone();
            journal.current.begun_at = Some(snapshot.at);
            decision.act = Act::Go(Next::Act(Box::new(journal), Box::new(Effect::Evict { peer })));
        }
        Some(Bug::ShrinkTheLimit) if resource.journal.is_none() && decision.act != Act::LookLive => {
            let Some(target) = snapshot.targets.first() else { return };
            let effect = Effect::Resize {
                pod: target.pod.name.clone(),
                uid: target.pod.uid.clone(),
                resource_version: target.pod.resource_version.clone(),
                container: "redis".into(),
                limit: Bytes::mib(512),
                request: None,
            };
            decision.act = Act::Upkeep(vec![(effect, "planted".into())]);
        }
        _ => {}
    }
}
