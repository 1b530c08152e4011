//! Planted bugs on the connections to servers: what is told them, and what they say, is bent.

use std::time::Duration;

use redis_memory_operator::{
    clock::Time as _,
    domain::{
        acl::PlainCommand,
        fixtures,
        names::NodeAddress,
        sample::{FailoverState, Memory, Persistence, Replication, Role},
    },
    execute::ports::Acting,
    redis_io::RedisError,
};

use crate::{
    connection::{self, Connection},
    orders::Order,
    planted::Bug,
    redis::Host,
    sabotage::Sabotaged,
};

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
        if let (true, Some(leads), Role::Replica(_)) = (self.by.is(Bug::NoCatchUp), leads, &replication.role) {
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
        self.inner.memory(deadline).await
    }

    async fn config_set(&mut self, name: &str, value: &str) -> Result<(), RedisError> {
        self.inner.config_set(name, value).await
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
