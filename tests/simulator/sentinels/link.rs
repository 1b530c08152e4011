//! A connection of a process of the operator to one Sentinel.

use std::time::Duration;

use redis_memory_operator::{
    domain::sentinel::Named,
    execute::{ExecuteError, ports::Watching},
    plan::effect::SentinelPeer,
    redis_io::RedisError,
};

use crate::{
    connection::{address, broken, silent},
    operator::Process,
    ports::ms,
    redis::{Cause, Ms},
    shape::set_name,
    world::World,
};

/// As in `redis_io`.
const FAILOVER: Ms = 1_000;

/// A connection to one process.
pub struct SentinelLink {
    pub process: Process,
    pub at: usize,
    run: u32,
}

impl Process {
    /// Opens a connection to whatever Sentinel listens there.
    pub async fn open_sentinel(&self, peer: &SentinelPeer) -> Result<SentinelLink, ExecuteError> {
        let failed =
            |source| ExecuteError::Redis { what: "connecting to the Sentinel", pod: peer.pod.to_string(), source };
        let took = self.random(1, 15);
        self.pause(took).await;
        let ip = address(peer.address.ip());
        let found = {
            let world = self.world();
            let at = world.sentinels.all.iter().position(|it| it.ip == ip && it.up);
            at.map(|at| (at, world.sentinels.all[at].process, world.sentinels.all[at].awake(world.now)))
        };
        match found {
            None => Err(failed(broken())),
            Some((_, _, false)) => {
                self.pause(2_000).await;
                Err(failed(silent("the first commands")))
            }
            Some((at, run, true)) => Ok(SentinelLink { process: self.clone(), at, run }),
        }
    }
}

impl SentinelLink {
    /// Whether it answers; an error: its process is gone.
    fn answers(&self, set: &str) -> Result<bool, RedisError> {
        let world = self.process.world();
        let me = &world.sentinels.all[self.at];
        if !me.up || me.process != self.run {
            return Err(broken());
        }
        if set != set_name(me.set) && me.awake(world.now) {
            let message = "No such master with that name".to_owned();
            return Err(RedisError::Refused { code: "ERR".into(), message });
        }
        Ok(me.awake(world.now))
    }
}

impl Watching for SentinelLink {
    async fn named(&mut self, set: &str, deadline: Duration) -> Result<Named, RedisError> {
        let took = self.process.random(1, 6);
        self.process.pause(took).await;
        if self.answers(set)? {
            let mut world = self.process.world();
            let set = world.sentinels.all[self.at].set;
            world.asks_sentinels(self.process.identity, set);
            return Ok(world.named(self.at));
        }
        self.process.pause(ms(deadline)).await;
        Err(silent("SENTINEL MASTER"))
    }

    async fn sentinel_failover(&mut self, set: &str, coordinated: bool) -> Result<(), RedisError> {
        let process = &self.process;
        let flight = process.fly();
        let took = process.random(1, 6);
        process.pause(took).await;
        drop(flight);
        let answers = self.answers(set)?;
        let said = {
            let mut world = process.world();
            let (now, sender, at) = (world.now, process.sender(), self.at);
            let set = world.sentinels.all[at].set;
            let World { observer, kube, .. } = &mut *world;
            observer.tells_sentinel(kube, sender, set, now);
            world.disturbs(sender.identity, set, None);
            let said = answers.then(|| world.fail_over(at, coordinated, Cause::Ours));
            if said.is_none() {
                world.fail_over_late(at, coordinated, Cause::Ours);
            }
            said
        };
        match said {
            None => {
                process.pause(FAILOVER).await;
                Err(silent("SENTINEL FAILOVER"))
            }
            Some(said) => {
                let back = process.random(1, 4);
                process.pause(back).await;
                said.map_err(|text| {
                    let (code, message) = text.split_once(' ').unwrap_or(("ERR", text));
                    RedisError::Refused { code: code.into(), message: message.into() }
                })
            }
        }
    }

    async fn sentinel_reset(&mut self, set: &str) -> Result<(), RedisError> {
        let took = self.process.random(1, 6);
        self.process.pause(took).await;
        if !self.answers(set)? {
            self.process.pause(FAILOVER).await;
            return Err(silent("SENTINEL RESET"));
        }
        let mut world = self.process.world();
        let now = world.now;
        world.sentinels.all[self.at].reset(now);
        // There are three attempts for each of them and restart at most.
        world.observer.progressed(now);
        Ok(())
    }
}
