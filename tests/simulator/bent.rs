//! Planted bugs on the connections to servers: what is told them, and what they say, is bent.

use std::{collections::BTreeMap, time::Duration};

use redis_memory_operator::{
    clock::Time as _,
    domain::{
        acl::PlainCommand,
        bytes::Bytes,
        fixtures,
        names::NodeAddress,
        sample::{FailoverState, Memory, Persistence, Replication, Role},
        sentinel::{Known, Named},
        snapshot::{Observation, Snapshot, Target},
    },
    execute::ports::{Acting, Watching},
    redis_io::RedisError,
};

use serde_json::{Value, json};

use crate::{
    connection::{self, Connection},
    orders::Order,
    planted::Bug,
    redis::{Host, Server},
    sabotage::Sabotaged,
    sentinels::SentinelLink,
    shape, view,
};

/// More than any limit of these worlds.
const LARGE: Bytes = Bytes::mib(8_192);

/// A connection that is bent.
pub struct Bent {
    inner: Connection,
    by: Sabotaged,
}

impl Bent {
    pub const fn new(inner: Connection, by: Sabotaged) -> Self {
        Self { inner, by }
    }

    /// What is sent from now on is not blind any more.
    fn sent(&self) {
        self.by.state().blind = false;
    }
}

impl Acting for Bent {
    async fn replication(&mut self, deadline: Duration) -> Result<Replication, RedisError> {
        if self.by.is(Bug::NoLiveRole) {
            return Ok(fixtures::sample(fixtures::replica_role()).replication);
        }
        let asked_at = self.by.process.uptime();
        if self.by.is(Bug::OldRole) {
            self.by.state().stopped_at = Some(asked_at);
        }
        self.inner.replication(deadline).await
    }

    async fn role_and_pause(&mut self, deadline: Duration) -> Result<(Replication, Option<bool>), RedisError> {
        let (mut replication, paused) = self.inner.role_and_pause(deadline).await?;
        if self.by.is(Bug::AbortBlindly) && replication.failover_state != FailoverState::None {
            let _ = self.inner.failover_abort().await;
        }
        if replication.role == Role::Primary {
            self.by.state().leads = Some(replication.clone());
        }
        let demoted = self.by.state().demoted.clone();
        if let Some((old, Host::Ip(to))) = demoted.filter(|_| self.by.is(Bug::GuardedAnyCandidate))
            && to == self.inner.ip
            && replication.role != Role::Primary
        {
            replication = Replication { role: fixtures::replica_role(), ..old };
        }
        let leads = self.by.state().leads.clone();
        let caught_up = self.by.is(Bug::NoCatchUp) || self.by.is(Bug::TellTooSoon);
        if let (true, Some(leads), Role::Replica(_)) = (caught_up, leads, &replication.role) {
            replication.offset = leads.offset;
        }
        Ok((replication, paused))
    }

    async fn keys(&mut self, deadline: Duration) -> Result<u64, RedisError> {
        self.inner.keys(deadline).await
    }

    async fn persistence(&mut self, deadline: Duration) -> Result<Persistence, RedisError> {
        self.inner.persistence(deadline).await
    }

    async fn memory(&mut self, deadline: Duration) -> Result<Memory, RedisError> {
        let mut memory = self.inner.memory(deadline).await?;
        if self.by.is(Bug::OverlookHalf) {
            halve(&mut memory);
        }
        if self.by.is(Bug::TakenForAlike) {
            memory.maxmemory = Bytes::ZERO;
        }
        let set = self.by.state().bounds.get(&self.inner.ip).copied();
        if let Some(set) = set.filter(|_| self.by.is(Bug::OverlookPeople)) {
            memory.maxmemory = set;
        }
        Ok(memory)
    }

    async fn config_set(&mut self, name: &str, value: &str) -> Result<(), RedisError> {
        let back = if value == "0" { Bug::LeaveSettings } else { Bug::NoRefusal };
        if name == "min-replicas-to-write" && self.by.is(back) {
            return Ok(());
        }
        let bytes: Option<u64> = value.parse().ok().filter(|_| name == "maxmemory");
        let Some(bytes) = bytes else { return self.inner.config_set(name, value).await };
        let far = if self.by.is(Bug::StepTooFar) { bytes / 5 * 4 } else { bytes };
        self.inner.config_set(name, &far.to_string()).await?;
        self.by.state().bounds.insert(self.inner.ip, Bytes(bytes));
        Ok(())
    }

    async fn config_rewrite(&mut self) -> Result<bool, RedisError> {
        self.inner.config_rewrite().await
    }

    async fn run(&mut self, command: PlainCommand) -> Result<(), RedisError> {
        self.inner.run(command).await
    }

    async fn ordinary_clients(&mut self, age: Duration) -> Result<Vec<u64>, RedisError> {
        self.inner.ordinary_clients(age).await
    }

    async fn close_clients(&mut self, ids: &[u64]) -> Result<u32, RedisError> {
        if self.by.is(Bug::LeaveClients) {
            return Ok(0);
        }
        self.inner.close_clients(ids).await
    }

    async fn replicaof(&mut self, primary: &NodeAddress) -> Result<(), RedisError> {
        let to = connection::host(primary);
        let to = match to {
            Host::Pod(n) => self.by.process.world().kube.pod(n).map_or(to, |pod| Host::Ip(pod.ip)),
            Host::Ip(_) => to,
        };
        let led = self.by.state().leads.clone();
        let leads = {
            let world = self.by.process.world();
            world.servers.by_ip.get(&self.inner.ip).is_some_and(|server| server.role == crate::redis::Role::Primary)
        };
        if leads {
            self.by.state().demoted = led.map(|led| (led, to));
        }
        if let (true, true, Host::Ip(ip)) = (self.by.is(Bug::GuardedPromotesFirst), leads, to)
            && let Some(candidate) = self.by.anyone(ip)
        {
            let _ = candidate.order(Order::Lead, Duration::from_secs(1)).await;
            self.by.process.point("switchover:promoted").await;
        }
        self.inner.replicaof(primary).await
    }

    async fn promote(&mut self) -> Result<(), RedisError> {
        self.inner.promote().await
    }

    async fn client_pause_writes(&mut self, life: Duration) -> Result<(), RedisError> {
        self.sent();
        let life = if self.by.is(Bug::GuardedEndlessPause) { Duration::MAX } else { life };
        self.inner.client_pause_writes(life).await
    }

    async fn client_unpause(&mut self) -> Result<(), RedisError> {
        self.inner.client_unpause().await
    }

    async fn failover_to(&mut self, target: &NodeAddress, timeout: Duration) -> Result<(), RedisError> {
        self.sent();
        if let (true, Host::Ip(ip)) = (self.by.is(Bug::PromoteBeforeDemote), connection::host(target))
            && let Some(candidate) = self.by.anyone(ip)
        {
            candidate.order(Order::Lead, Duration::from_secs(1)).await?;
            return self.inner.order(Order::Follow(Host::Ip(ip)), Duration::from_secs(1)).await;
        }
        let timeout = if self.by.is(Bug::NoTimeout) { Duration::MAX } else { timeout };
        self.inner.failover_to(target, timeout).await
    }

    async fn failover_abort(&mut self) -> Result<(), RedisError> {
        self.inner.failover_abort().await
    }
}

/// A connection to a Sentinel that is bent.
pub struct BentSentinel {
    inner: SentinelLink,
    by: Sabotaged,
}

impl BentSentinel {
    pub const fn new(inner: SentinelLink, by: Sabotaged) -> Self {
        Self { inner, by }
    }

    /// The primary of its set follows the next best replica.
    async fn demote(&self) {
        let (from, to) = {
            let world = self.by.process.world();
            let set = world.sentinels.all[self.inner.at].set;
            let of = |leads: bool| {
                let role = move |it: &&Server| (it.role == crate::redis::Role::Primary) == leads;
                world.servers.of_set(set).find(role).map(|it| (it.ip, it.pod))
            };
            (of(true), of(false))
        };
        if let (Some((from, _)), Some((_, to))) = (from, to)
            && let Some(primary) = self.by.anyone(from)
        {
            let _ = primary.order(Order::Follow(Host::Pod(to)), Duration::from_secs(1)).await;
        }
    }
}

impl Watching for BentSentinel {
    async fn named(&mut self, set: &str, deadline: Duration) -> Result<Named, RedisError> {
        let said = self.inner.named(set, deadline).await;
        let named = match said {
            Err(_) if self.by.is(Bug::SilenceIsRest) => {
                let named = self.by.process.world().named(self.inner.at);
                Named { failing_over: false, ..named }
            }
            said => said?,
        };
        let failing_over = named.failing_over && !self.by.is(Bug::NoFailoverSeen);
        Ok(Named { failing_over, ..named })
    }

    async fn sentinel_failover(&mut self, set: &str, coordinated: bool) -> Result<(), RedisError> {
        let told = self.inner.sentinel_failover(set, coordinated).await;
        if told.is_ok() && self.by.is(Bug::DemoteTooSoon) {
            self.demote().await;
        }
        told
    }

    async fn sentinel_reset(&mut self, set: &str) -> Result<(), RedisError> {
        self.inner.sentinel_reset(set).await
    }
}

/// Half of what is used.
pub fn halve(memory: &mut Memory) {
    memory.used = Bytes(memory.used.0 / 2);
}

/// As if every member had the primary's `maxmemory`.
pub fn alike(snapshot: &mut Snapshot) {
    let mut samples = snapshot.targets.iter().filter_map(Target::sample);
    let Some(led) = samples.find(|it| it.replication.role == Role::Primary).map(|it| it.memory.maxmemory) else {
        return;
    };
    for sample in snapshot.targets.iter_mut().filter_map(Target::sample_mut) {
        sample.memory.maxmemory = led;
        if let Ok(config) = sample.config.as_mut() {
            config.maxmemory = led;
        }
    }
}

/// As if `maxmemory` were what we have set.
pub fn overlook(bounds: &BTreeMap<u32, Bytes>, target: &mut Target) {
    let mut ips = target.pod.addresses.iter().map(connection::address);
    let set = ips.find_map(|ip| bounds.get(&ip)).copied();
    if let (Some(set), Observation::Seen(sample)) = (set, &mut target.redis) {
        sample.memory.maxmemory = set;
        if let Ok(config) = sample.config.as_mut() {
            config.maxmemory = set;
        }
    }
}

/// Limits and kills are read wrongly; of the primary only kills.
pub fn misread(bug: Bug, snapshot: &mut Snapshot) {
    for target in &mut snapshot.targets {
        let leads = target.sample().is_some_and(|sample| sample.replication.role == Role::Primary);
        let Ok(container) = target.pod.container.as_mut() else { continue };
        if bug == Bug::ReadLargeLimits && !leads {
            (container.spec_limit, container.live_limit) = (Some(LARGE), Some(LARGE));
        }
        if bug == Bug::OverlookKills || bug == Bug::OverlookKilledReplicas && !leads {
            container.killed = None;
        }
    }
}

/// What is remembered of `maxmemory` is not all written down.
pub fn forget(bug: Bug, status: &mut Value) {
    let (name, instead) = match bug {
        Bug::ForgetPeople => ("before", json!(0)),
        Bug::ForgetTheDay => ("at", json!("2025-12-30T00:00:00Z")),
        _ => return,
    };
    let records = status.get_mut("workloads").and_then(Value::as_array_mut).into_iter().flatten();
    for own in records.filter_map(|record| record.get_mut("maxmemory")) {
        own[name] = instead.clone();
    }
}

/// Whoever does not answer says what one that does says.
pub fn count_silent(snapshot: &mut Snapshot) {
    let Some(donor) = snapshot.sentinels.iter().find_map(|it| it.said.clone().ok()) else { return };
    let address = |n: usize| snapshot.sentinels[n].addresses.first().map(|ip| ip.to_string()).unwrap_or_default();
    let hosts: Vec<String> = (0..snapshot.sentinels.len()).map(address).collect();
    for (sentinel, host) in snapshot.sentinels.iter_mut().zip(hosts) {
        let known = donor.sets.iter().flat_map(|set| &set.others);
        let own =
            known.clone().find(|it| it.address.host == host || it.address.host.starts_with(sentinel.pod.as_str()));
        if let (Err(_), Some(own)) = (&sentinel.said, own.cloned()) {
            let mut said = donor.clone();
            said.id.clone_from(&own.id);
            for set in &mut said.sets {
                set.others.retain(|it| it.id != own.id);
                set.others.push(Known { id: donor.id.clone(), ..own.clone() });
            }
            sentinel.said = Ok(said);
        }
    }
    let said = snapshot.sentinels.iter_mut().filter_map(|it| it.said.as_mut().ok());
    said.flat_map(|said| &mut said.sets).flat_map(|set| &mut set.others).for_each(|it| it.down = false);
}

/// Every Sentinel names the one that says that it is primary, and nothing goes on.
pub fn take_to_agree(snapshot: &mut Snapshot) {
    let leads = |target: &&Target| target.sample().is_some_and(|sample| sample.replication.role == Role::Primary);
    let mut primaries = snapshot.targets.iter().filter(leads).map(|target| shape::number(&target.pod.name));
    let (Some(primary), None) = (primaries.next(), primaries.next()) else { return };
    let members: Vec<usize> = snapshot.targets.iter().map(|target| shape::number(&target.pod.name)).collect();
    let said = snapshot.sentinels.iter_mut().filter_map(|it| it.said.as_mut().ok());
    for set in said.flat_map(|said| &mut said.sets) {
        set.primary = view::address(Host::Pod(primary));
        (set.primary_down, set.failing_over, set.settled_for) = (false, false, Duration::from_secs(86_400));
        let replica = |n: &usize| {
            let (id, address) = (n.to_string(), view::address(Host::Pod(*n)));
            Known { id, address, down: false, fresh: true }
        };
        set.replicas = members.iter().filter(|n| **n != primary).map(replica).collect();
    }
}
