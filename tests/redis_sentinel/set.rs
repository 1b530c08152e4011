//! Three servers and the three Sentinels that watch them.

use std::{collections::HashMap, net::SocketAddr, path::Path, time::Duration};

use redis_memory_operator::{
    clock::Clock,
    domain::{names::NodeAddress, sample::Role},
    redis_io::Connection,
};

use crate::common::{DEADLINE, PATIENCE, connect, eventually, server::RedisServer};

/// Settings of the Sentinels as spotahome's and OT's operators give them.
pub(crate) const USUAL: &[(&str, &str)] = &[("down-after-milliseconds", "5000"), ("failover-timeout", "10000")];

/// A set under Sentinel.
pub(crate) struct Watched {
    pub(crate) servers: Vec<RedisServer>,
    pub(crate) sentinels: Vec<RedisServer>,
}

impl Watched {
    /// The first server is primary, and every Sentinel knows everybody.
    pub(crate) async fn start(program: &Path, settings: &[(&str, &str)]) -> Self {
        let sentinel = |server: &RedisServer, _| RedisServer::start_sentinel_as(program, server, 2, settings);
        Self::start_with(program, sentinel).await
    }

    /// The same with Sentinels that are started so, each by the primary and its number.
    pub(crate) async fn start_with(program: &Path, sentinel: impl Fn(&RedisServer, usize) -> RedisServer) -> Self {
        Self::of((0..3).map(|_| server(program, &[])).collect(), sentinel).await
    }

    /// The same of these servers.
    pub(crate) async fn of(servers: Vec<RedisServer>, sentinel: impl Fn(&RedisServer, usize) -> RedisServer) -> Self {
        for replica in &servers[1..] {
            replica.follow(&servers[0]).await;
        }
        let sentinels = (0..3).map(|n| sentinel(&servers[0], n)).collect();
        let set = Self { servers, sentinels };
        set.settled(0).await;
        set
    }

    /// Waits until every Sentinel names that primary, and knows both replicas, with their links, and both others.
    pub(crate) async fn settled(&self, primary: usize) {
        for sentinel in &self.sentinels {
            eventually("a Sentinel knows everybody", async || {
                let master = master(sentinel).await;
                let known = [&master["num-slaves"], &master["num-other-sentinels"]] == ["2", "2"];
                let calm = master["flags"] == "master" && named(&master) == self.servers[primary].node();
                let replicas = ask(sentinel, &["REPLICAS", "demo"]).await;
                let well = |it: &HashMap<String, String>| it["flags"] == "slave" && it["master-link-status"] == "ok";
                (known && calm && replicas.iter().all(well)).then_some(())
            })
            .await;
        }
    }

    /// Whom each Sentinel names; `None`: somebody who does not say that it is primary.
    pub(crate) async fn named(&self) -> Vec<Option<usize>> {
        let mut all = Vec::new();
        for sentinel in &self.sentinels {
            let node = named(&master(sentinel).await);
            let position = self.servers.iter().position(|server| server.node() == node).expect("one of the servers");
            all.push((role(&self.servers[position]).await == Some(Role::Primary)).then_some(position));
        }
        all
    }

    /// Waits until a Sentinel has demoted that server: after the pause has ended, 12 to 21 s were seen.
    pub(crate) async fn demoted(&self, n: usize) {
        let clock = Clock::start();
        while !matches!(role(&self.servers[n]).await, Some(Role::Replica(_))) {
            assert!(clock.uptime() < Duration::from_secs(60), "no Sentinel demotes it");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whom the first Sentinel names.
    pub(crate) async fn first_named(&self) -> Option<usize> {
        let node = named(&master(&self.sentinels[0]).await);
        self.servers.iter().position(|server| server.node() == node)
    }

    pub(crate) fn others(&self, than: usize) -> impl Iterator<Item = &RedisServer> {
        self.servers.iter().enumerate().filter(move |(n, _)| *n != than).map(|(_, server)| server)
    }

    /// Waits until both others follow that server, and their links are up.
    pub(crate) async fn all_follow(&self, primary: usize) {
        let node = self.servers[primary].node();
        for server in self.others(primary) {
            eventually("it follows", async || {
                let Role::Replica(link) = role(server).await? else { return None };
                (link.primary == node && link.link_up && !link.sync_in_progress).then_some(())
            })
            .await;
        }
    }

    /// Waits until both others have everything that the primary has.
    pub(crate) async fn all_equal(&self, primary: usize) {
        let offset = self.servers[primary].replication().await.offset;
        for server in self.others(primary) {
            let mut connection = connect(server).await;
            eventually("it has everything", async || {
                (connection.replication(DEADLINE).await.ok()?.offset == offset).then_some(())
            })
            .await;
        }
    }

    /// Full syncs that all servers have given since they started.
    pub(crate) fn full_syncs(&self) -> u64 {
        let given = |server: &RedisServer| {
            let stats = server.run(&["INFO", "stats"]);
            let line = stats.lines().find_map(|line| line.strip_prefix("sync_full:")).expect("INFO stats has it");
            line.trim().parse::<u64>().expect("a number")
        };
        self.servers.iter().map(given).sum()
    }
}

/// A server of a set, with these options of its own. Who calls from an address of its own is no stranger (roads.rs, cut.rs), and
/// all of it is on loopback. A writer that follows at once has a second before the others are led to the new primary.
pub(crate) fn server(program: &Path, own: &[&str]) -> RedisServer {
    let options = ["--repl-backlog-size", "256mb", "--protected-mode", "no"];
    RedisServer::start_program(program, &[&options, own].concat())
}

/// The role of a server; `None`: no answer, as while a Sentinel closes the connections of one whose role changes.
pub(crate) async fn role(server: &RedisServer) -> Option<Role> {
    let mut connection = Connection::open(server.address(), None, DEADLINE).await.ok()?;
    Some(connection.replication(DEADLINE).await.ok()?.role)
}

/// What a Sentinel says of the primary.
pub(crate) async fn master(sentinel: &RedisServer) -> HashMap<String, String> {
    ask(sentinel, &["MASTERS"]).await.remove(0)
}

fn named(master: &HashMap<String, String>) -> NodeAddress {
    NodeAddress { host: master["ip"].clone(), port: master["port"].parse().expect("a port") }
}

/// `SENTINEL …`: the instances that it answers with.
async fn ask(sentinel: &RedisServer, words: &[&str]) -> Vec<HashMap<String, String>> {
    redis::cmd("SENTINEL").arg(words).query_async(&mut client(sentinel).await).await.expect("it answers")
}

/// A client of the test's own.
pub(crate) async fn client(server: &RedisServer) -> redis::aio::MultiplexedConnection {
    client_at(server.address()).await
}

/// The same, by its address.
pub(crate) async fn client_at(address: SocketAddr) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(format!("redis://{address}")).expect("the address is one");
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    eventually("it lets a client in", async || client.get_multiplexed_async_connection_with_config(&config).await.ok())
        .await
}
