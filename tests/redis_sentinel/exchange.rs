//! The exchange of the role under Sentinel, by hand: the pause protocol.

use std::{net::SocketAddr, time::Duration};

use redis_memory_operator::clock::Clock;

use crate::{
    common::{connect, eventually, server::RedisServer},
    set::{Watched, client_at},
};

/// Seconds between two pings of a primary to its replicas: none falls into a test.
const QUIET: &str = "3600";
/// More replicas than any set has.
const FENCE: &str = "1000";

/// What is done, beside what must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// How long writes are held back at most.
    pub(crate) pause: Duration,
    /// The old primary does not ping its replicas meanwhile (`repl-ping-replica-period`).
    pub(crate) quiet: bool,
    /// The old primary is told that it needs more replicas than there are (`min-replicas-to-write`).
    pub(crate) fenced: bool,
    /// The pause ends as soon as the fence stands.
    pub(crate) brief: bool,
}

pub(crate) const CAREFUL: Manner = Manner { pause: Duration::from_secs(10), quiet: true, fenced: true, brief: false };

/// When what was reached, from the pause on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// A Sentinel named another primary, which said so too.
    pub(crate) first: Duration,
    /// Every Sentinel did.
    pub(crate) all: Duration,
}

/// Up to the moment in which every Sentinel names the new primary: who that is.
pub(crate) async fn until_switched(set: &Watched, old: usize, manner: Manner) -> (usize, Times) {
    let mut connection = connect(&set.servers[old]).await;
    if manner.quiet {
        connection.config_set("repl-ping-replica-period", QUIET).await.expect("CONFIG SET is accepted");
    }
    let clock = Clock::start();
    connection.client_pause_writes(manner.pause).await.expect("CLIENT PAUSE is accepted");
    set.all_equal(old).await;
    if manner.fenced {
        connection.config_set("min-replicas-to-write", FENCE).await.expect("CONFIG SET is accepted");
    }
    if manner.brief {
        connection.client_unpause().await.expect("CLIENT UNPAUSE is accepted");
    }
    failover(set.sentinels[0].address(), &[]).await.expect("it begins a failover");
    let (new, first, all) = switched(set, old, clock).await;
    (new, Times { first, all })
}

/// `SENTINEL FAILOVER demo …`.
pub(crate) async fn failover(sentinel: SocketAddr, words: &[&str]) -> redis::RedisResult<()> {
    redis::cmd("SENTINEL").arg("FAILOVER").arg("demo").arg(words).exec_async(&mut client_at(sentinel).await).await
}

/// Waits until every Sentinel names another primary: who that is, and when the first did and all did.
pub(crate) async fn switched(set: &Watched, old: usize, clock: Clock) -> (usize, Duration, Duration) {
    let mut first = None;
    let new = eventually("every Sentinel names another primary", async || {
        let named = set.named().await;
        let new = *named.iter().flatten().find(|named| **named != old)?;
        first.get_or_insert_with(|| clock.uptime());
        named.iter().all(|named| *named == Some(new)).then_some(new)
    })
    .await;
    (new, first.expect("the first is one of all"), clock.uptime())
}

/// What is left then: the old primary follows, its clients go on, and its settings are as before.
pub(crate) async fn finish(set: &Watched, old: usize, new: usize) {
    // Sentinel may have closed the connection.
    let mut connection = connect(&set.servers[old]).await;
    connection.replicaof(&set.servers[new].node()).await.expect("REPLICAOF is accepted");
    connection.client_unpause().await.expect("CLIENT UNPAUSE is accepted");
    restore(&set.servers[old]).await;
}

/// Takes back what was set for the exchange.
pub(crate) async fn restore(server: &RedisServer) {
    let mut connection = connect(server).await;
    for (name, value) in [("min-replicas-to-write", "0"), ("repl-ping-replica-period", "10")] {
        connection.config_set(name, value).await.expect("CONFIG SET is accepted");
    }
}
