//! Commands that change something, and how a server of the simulated world carries them out.

use redis_memory_operator::domain::bytes::Bytes;

use crate::{
    redis::{Cause, Failover, Host, Ms, Role},
    shape::set_of,
    world::World,
};

/// Who was lost this long before a command arrives was not missed when it was decided.
const LOST_LATELY: Ms = 2_000;

/// A command that changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// `CLIENT PAUSE ms WRITE`; `None`: without bound.
    Pause(Option<Ms>),
    /// `CLIENT UNPAUSE`.
    Unpause,
    /// `REPLICAOF host`.
    Follow(Host),
    /// `REPLICAOF NO ONE`.
    Lead,
    /// `FAILOVER TO … TIMEOUT ms`; `None`: without bound.
    Failover(u32, Option<Ms>),
    /// `FAILOVER ABORT`.
    Abort,
    /// `CONFIG SET`.
    Set(String, String),
    /// `CONFIG REWRITE`.
    Rewrite,
    /// `BGSAVE`, or `BGREWRITEAOF`.
    WriteOut,
}

/// How long a small data set takes to be written out.
const WRITING_OUT: Ms = 1_500;

impl World {
    /// A command lies in the socket of a hung server: it is read some time after the server goes on.
    pub fn leave(&mut self, ip: u32, order: Order) {
        let Some(server) = self.servers.by_ip.get(&ip) else { return };
        let (run, due) = (server.run, server.hung_until);
        let due = due + self.rng.range(1, 400);
        self.late.push((due, run, order));
    }

    pub fn obey_late(&mut self) {
        let now = self.now;
        while let Some(at) = self.late.iter().position(|(due, ..)| *due <= now) {
            let (_, run, order) = self.late.remove(at);
            let ip = self.servers.by_ip.values().find(|server| server.run == run && !server.hung(now)).map(|it| it.ip);
            let Some(ip) = ip else { continue };
            let said = self.obey(ip, &order);
            self.note(|| format!("redis: process {run} reads {order:?} late: {said:?}"));
        }
    }

    /// A server carries a command out.
    pub fn obey(&mut self, ip: u32, order: &Order) -> Result<(), &'static str> {
        let now = self.now;
        match order {
            Order::Failover(to, timeout) => {
                self.servers.failover(ip, *to, *timeout, Cause::Ours, now)?;
                let from = self.servers.by_ip[&ip].pod;
                self.observer.failing_over(from, *timeout, now);
                Ok(())
            }
            Order::Abort => {
                self.servers.abort(ip, Cause::Ours, now)?;
                let pod = self.servers.by_ip[&ip].pod;
                self.observer.became_primary(pod, Cause::Ours, now);
                Ok(())
            }
            Order::Set(name, value) => {
                self.observer.backlogs += u32::from(name == "repl-backlog-size");
                self.configure(ip, name, value)
            }
            Order::Rewrite => {
                self.rewrite(ip);
                Ok(())
            }
            Order::WriteOut => {
                let server = self.servers.by_ip.get_mut(&ip).ok_or("no connection")?;
                server.write_out(now, WRITING_OUT);
                Ok(())
            }
            Order::Pause(_) | Order::Unpause | Order::Follow(_) | Order::Lead => self.exchange(ip, order),
        }
    }

    fn configure(&mut self, ip: u32, name: &str, value: &str) -> Result<(), &'static str> {
        let server = self.servers.by_ip.get_mut(&ip).ok_or("no connection")?;
        let number = || value.parse().map_err(|_| "argument couldn't be parsed into an integer");
        match name {
            "maxmemory" => server.maxmemory = Bytes(number()?),
            "repl-backlog-size" => server.backlog = number()?,
            _ => {
                server.set.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(())
    }

    /// Who others made primary lacks what the old one had: they lose it, whoever has it follow.
    fn follows_theirs(&mut self, set: usize, host: Host) {
        if let Some(leader) = self.servers.resolve(host) {
            self.lost_to(set, leader);
        }
    }

    /// The commands by which roles move without `FAILOVER`.
    fn exchange(&mut self, ip: u32, order: &Order) -> Result<(), &'static str> {
        let now = self.now;
        let Some(server) = self.servers.by_ip.get_mut(&ip) else { return Err("no connection") };
        match order {
            Order::Pause(bound) => {
                let bound = *bound;
                let until = bound.map_or(Ms::MAX, |bound| now + bound);
                server.paused_until = server.paused_until.max(until);
                let (pod, refuses) = (server.pod, server.refuses_writes());
                let watch = self.schedule.sets[set_of(pod)].watch.as_ref().filter(|_| refuses);
                let refuses = watch.map(|watch| watch.down_after);
                self.observer.pausing(pod, bound, refuses, now);
            }
            Order::Unpause => server.paused_until = 0,
            Order::Follow(host) => {
                let host = *host;
                let (led, run, pod) = (server.role == Role::Primary, server.run, server.pod);
                let second = std::mem::take(&mut server.second);
                self.servers.replicaof(ip, host, now)?;
                let set = set_of(pod);
                if led && self.is_watched(set) && self.observer.theirs(set) {
                    self.follows_theirs(set, host);
                }
                // What it took since goes by that start.
                if led && second {
                    self.follows_theirs(set, host);
                }
                if let Some(to) = self.servers.resolve(host).filter(|to| led && *to != ip)
                    && now >= self.servers.by_ip[&to].started + LOST_LATELY
                {
                    self.observer.gives_way(&self.servers.by_ip[&ip], &self.servers.by_ip[&to], now);
                }
                // Whom the Sentinels name, and who is lost right then, they replace.
                let lost =
                    self.servers.resolve(host).is_none_or(|to| now < self.servers.by_ip[&to].started + LOST_LATELY);
                let named = lost && self.sentinels.all_name(set, host, &self.servers, now);
                if led && !named && !self.servers.of_set(set).any(|it| it.role == Role::Primary) {
                    self.observer.demoted(set, run);
                }
            }
            _ if server.failover != Failover::None => return Err("not while failing over"),
            _ => {
                let (led, pod) = (server.role == Role::Primary, server.pod);
                let back = self.had_the_role(pod);
                self.servers.promote(ip, Cause::Ours, now);
                if !led && back {
                    self.observer.took_back(&self.servers.by_ip[&ip], now);
                } else if !led {
                    self.promoted(ip, Cause::Ours);
                }
            }
        }
        Ok(())
    }
}
