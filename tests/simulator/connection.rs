//! Connections of a process of the operator to the servers of the simulated world.

use std::{net::IpAddr, time::Duration};

use redis_memory_operator::{
    domain::{
        acl::PlainCommand,
        names::NodeAddress,
        policy::Policy,
        sample::{Memory, Persistence, Replication},
    },
    execute::{
        ExecuteError,
        ports::{Acting, Redis},
    },
    plan::effect::{Peer, SentinelPeer},
    redis_io::RedisError,
};

use crate::{
    operator::{Body, Process},
    orders::Order,
    ports::ms,
    redis::{Host, Ms, Server},
    sentinels::SentinelLink,
    shape::{self, set_of},
    view,
    world::World,
};

/// A connection to one process, or (with planted bugs) to whatever listens there.
#[derive(Clone)]
pub struct Connection {
    pub process: Process,
    pub ip: u32,
    pub pod: usize,
    pub meant: u32,
    pub run: Option<u32>,
    pub since: Ms,
    /// For which policy it was opened.
    pub policy: usize,
}

pub fn broken() -> RedisError {
    RedisError::Connect("the connection was reset".into())
}

pub fn silent(what: &str) -> RedisError {
    RedisError::TimedOut(format!("no answer to {what}"))
}

impl Process {
    /// Opens a connection. `whoever`: the process is not looked at.
    pub async fn open(&self, policy: &Policy, peer: &Peer, whoever: bool) -> Result<Connection, RedisError> {
        /// Opening an acting connection, AUTH included.
        const DEADLINE: Ms = 2_000;
        let took = self.random(1, 15);
        self.pause(took).await;
        let (ip, meant) = (address(peer.address.ip()), view::run_number(&peer.run_id));
        let hung = {
            let mut world = self.world();
            let World { servers, observer, now, .. } = &mut *world;
            let server = servers.by_ip.get(&ip).ok_or_else(broken)?;
            let hung = server.hung(*now);
            if server.locked {
                return Err(RedisError::Refused { code: "WRONGPASS".into(), message: "invalid password".into() });
            }
            if server.run != meant && !whoever && !hung {
                let (expected, found) = (peer.run_id.clone(), view::run_text(server.run));
                let leads = Some(server.role == crate::redis::Role::Primary);
                return Err(RedisError::RunIdChanged { expected, found, leads });
            }
            // AUTH, and who it is (`INFO server`): it has answered.
            if !hung && *now >= server.loading_until {
                observer.answered(self.identity, shape::number(&peer.pod), *now);
            }
            hung
        };
        if hung {
            self.pause(DEADLINE).await;
            return Err(silent("the first commands"));
        }
        let run = (!whoever).then_some(meant);
        let since = self.instant();
        let (pod, policy) = (shape::number(&peer.pod), Body::number(&policy.uid));
        Ok(Connection { process: self.clone(), ip, pod, meant, run, since, policy })
    }
}

impl Redis for Process {
    type Server = Connection;
    type Sentinel = SentinelLink;

    async fn connect_sentinel(&self, _: &Policy, peer: &SentinelPeer) -> Result<SentinelLink, ExecuteError> {
        self.open_sentinel(peer).await
    }

    async fn connect(&self, policy: &Policy, peer: &Peer) -> Result<Connection, ExecuteError> {
        let failed = |source| ExecuteError::Redis { what: "connecting", pod: peer.pod.to_string(), source };
        self.open(policy, peer, false).await.map_err(failed)
    }

    /// The names of pods resolve at once, and only while their pods run.
    async fn resolve(&self, name: &str, _: u16) -> Vec<IpAddr> {
        let number = name.split('.').next().and_then(shape::numbered);
        let world = self.world();
        let pod = number.and_then(|n| world.kube.pod(n));
        pod.and_then(|pod| view::ip_text(pod.ip).parse().ok()).into_iter().collect()
    }
}

pub fn address(ip: IpAddr) -> u32 {
    match ip {
        IpAddr::V4(ip) => view::ip_number(&ip.to_string()),
        IpAddr::V6(_) => 0,
    }
}

/// Whom a server is told to follow.
pub fn host(address: &NodeAddress) -> Host {
    match address.host.parse::<IpAddr>() {
        Ok(ip) => Host::Ip(self::address(ip)),
        Err(_) => Host::Pod(address.host.split('.').next().and_then(shape::numbered).expect("a pod of this world")),
    }
}

impl Connection {
    /// The process at the other end, if it is there.
    fn end<'a>(&self, world: &'a World) -> Option<&'a Server> {
        let open = |server: &&Server| server.closed_at <= self.since;
        world.servers.by_ip.get(&self.ip).filter(|server| self.run.is_none_or(|run| run == server.run)).filter(open)
    }

    /// By how much it answers later than others: while it evicts.
    fn late(&self) -> Ms {
        let world = self.process.world();
        let evicting = world.servers.by_ip.get(&self.ip).filter(|server| server.is_evicting(world.now));
        evicting.and_then(|server| server.cache).map_or(0, |cache| cache.late)
    }

    /// A question, which changes nothing.
    async fn ask<T: Send>(
        &self,
        what: &str,
        deadline: Duration,
        read: impl FnOnce(&World, &Server) -> T + Send,
    ) -> Result<T, RedisError> {
        let took = self.process.random(1, 6) + self.late();
        self.process.pause(took).await;
        let hung = {
            let mut world = self.process.world();
            let now = world.now;
            let server = self.end(&world).ok_or_else(broken)?;
            let answer = if server.hung(now) { None } else { Some(read(&world, server)) };
            if let Some(answer) = answer {
                world.observer.answered(self.process.identity, self.pod, now);
                return Ok(answer);
            }
            ms(deadline)
        };
        self.process.pause(hung).await;
        Err(silent(what))
    }

    /// A command that changes something: journey, effect, answer. The fence was asked by who sends it. Whoever is hung
    /// finds it in its socket when it goes on.
    pub async fn order(&self, order: Order, deadline: Duration) -> Result<(), RedisError> {
        let process = &self.process;
        let flight = process.fly();
        let took = process.random(1, 6);
        process.pause(took).await;
        drop(flight);
        let answer = {
            let mut world = process.world();
            let (now, sender, what) = (world.now, process.sender(), format!("{order:?}"));
            self.end(&world).ok_or_else(broken)?;
            let World { observer, kube, servers, .. } = &mut *world;
            let server = &servers.by_ip[&self.ip];
            observer.arrived(kube, sender, &what, true, now);
            observer.reached(server, self.meant, &what, now);
            if matches!(order, Order::Pause(_) | Order::Failover(..)) {
                observer.switching(kube, sender, self.pod, &what, now);
            }
            let hung = server.hung(now);
            if let Order::Set(name, value) = &order
                && name == "maxmemory"
            {
                world.bounding(self.ip, self.policy, value, process.skew);
            }
            let answer = if hung {
                world.leave(self.ip, order);
                None
            } else {
                Some(world.obey(self.ip, &order))
            };
            let (slot, pod) = (process.slot, self.pod);
            world.note(|| format!("operator {slot}: {what} on {}: {answer:?}", shape::pod_name(pod)));
            answer
        };
        match answer {
            None => {
                process.pause(ms(deadline)).await;
                Err(silent("a command"))
            }
            Some(answer) => {
                let back = process.random(1, 4);
                process.pause(back).await;
                answer.map_err(|text| RedisError::Refused { code: "ERR".into(), message: text.into() })
            }
        }
    }
}

/// As in `redis_io`.
const QUICK: Duration = Duration::from_secs(1);
const ACT: Duration = Duration::from_secs(3);
const WRITE_OUT: Duration = Duration::from_secs(10);

impl Acting for Connection {
    async fn replication(&mut self, deadline: Duration) -> Result<Replication, RedisError> {
        let skew = self.process.skew;
        let read = self.ask("INFO replication", deadline, |world, server| world.sample(server, skew).replication);
        let replication = read.await?;
        self.process.point("role:read").await;
        Ok(replication)
    }

    async fn role_and_pause(&mut self, deadline: Duration) -> Result<(Replication, Option<bool>), RedisError> {
        let skew = self.process.skew;
        let read = self.ask("INFO replication", deadline, |world, server| {
            let paused = world.schedule.tells_pause.then_some(world.now < server.paused_until);
            (world.sample(server, skew).replication, paused)
        });
        read.await
    }

    async fn keys(&mut self, deadline: Duration) -> Result<u64, RedisError> {
        let skew = self.process.skew;
        self.ask("INFO keyspace", deadline, |world, server| world.sample(server, skew).keys).await
    }

    async fn persistence(&mut self, deadline: Duration) -> Result<Persistence, RedisError> {
        let skew = self.process.skew;
        self.ask("INFO persistence", deadline, |world, server| world.sample(server, skew).persistence).await
    }

    async fn memory(&mut self, deadline: Duration) -> Result<Memory, RedisError> {
        let skew = self.process.skew;
        let memory = self.ask("INFO memory", deadline, |world, server| world.sample(server, skew).memory).await?;
        let mut world = self.process.world();
        let World { servers, now, .. } = &mut *world;
        if let Some(server) = servers.by_ip.get_mut(&self.ip) {
            server.asked_at = *now;
        }
        Ok(memory)
    }

    async fn config_set(&mut self, name: &str, value: &str) -> Result<(), RedisError> {
        self.order(Order::Set(name.to_owned(), value.to_owned()), ACT).await
    }

    async fn config_rewrite(&mut self) -> Result<bool, RedisError> {
        self.order(Order::Rewrite, ACT).await.map(|()| true)
    }

    async fn run(&mut self, _: PlainCommand) -> Result<(), RedisError> {
        self.order(Order::WriteOut, WRITE_OUT).await
    }

    async fn ordinary_clients(&mut self, age: Duration) -> Result<Vec<u64>, RedisError> {
        let set = set_of(self.pod);
        let list = self.ask("CLIENT LIST", ACT, move |world, server| {
            world.clients[set].of_process(server.run, world.now.saturating_sub(ms(age)))
        });
        list.await
    }

    async fn close_clients(&mut self, ids: &[u64]) -> Result<u32, RedisError> {
        self.ask("CLIENT KILL", ACT, |_, _| ()).await?;
        Ok(self.process.world().clients[set_of(self.pod)].close(ids))
    }

    async fn replicaof(&mut self, primary: &NodeAddress) -> Result<(), RedisError> {
        self.order(Order::Follow(host(primary)), QUICK).await
    }

    async fn promote(&mut self) -> Result<(), RedisError> {
        self.order(Order::Lead, QUICK).await
    }

    async fn client_pause_writes(&mut self, life: Duration) -> Result<(), RedisError> {
        self.order(Order::Pause(bound(life)), QUICK).await
    }

    async fn client_unpause(&mut self) -> Result<(), RedisError> {
        self.order(Order::Unpause, QUICK).await
    }

    async fn failover_to(&mut self, target: &NodeAddress, timeout: Duration) -> Result<(), RedisError> {
        let Host::Ip(to) = host(target) else { return Err(broken()) };
        self.order(Order::Failover(to, bound(timeout)), ACT).await
    }

    async fn failover_abort(&mut self) -> Result<(), RedisError> {
        self.order(Order::Abort, ACT).await
    }
}

/// A time as a bound; the longest there is means none.
fn bound(time: Duration) -> Option<Ms> {
    Some(ms(time)).filter(|_| time < Duration::MAX)
}
