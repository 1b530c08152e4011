//! Switchovers under the heavy load of [`super::load`], round after round on the same three servers: by the operator's
//! own two methods, and by the ways that people take without it. What was acknowledged is counted, and looked for.

use std::{net::SocketAddr, path::Path, time::Duration};

use redis_memory_operator::{
    clock::Clock,
    domain::{sample::Role, switchover::SwitchoverMethod},
    execute::ExecuteError,
    plan::switchover::Failure,
    redis_io::Connection,
};
use tokio::task::block_in_place;

use super::{
    DEADLINE, PATIENCE, connect, eventually,
    load::{Load, Shape},
    rng::Rng,
    server::RedisServer,
    switching::{carry_out, order},
};

/// Enough for what is written while a replica is away, so that it comes back without a full sync.
const OPTIONS: &[&str] = &["--repl-backlog-size", "64mb"];
/// The longest time between two looks at what a Sentinel says.
const SENTINEL_POLL: Duration = Duration::from_millis(5);

/// How the role is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the operator.
    Ours(SwitchoverMethod),
    /// `SENTINEL FAILOVER`; the clients ask Sentinel where the primary is, all the time.
    Sentinel,
    /// `REPLICAOF NO ONE` on a replica, then `REPLICAOF` on the old primary, by redis-cli.
    PromoteFirst,
    /// The primary gets SIGKILL, and a replica is promoted at once.
    Killed,
    /// The primary gets SIGTERM, and a replica is promoted when it is gone.
    Terminated,
}

impl Way {
    pub const ALL: &[Self] = &[
        Self::Ours(SwitchoverMethod::Guarded),
        Self::Ours(SwitchoverMethod::Native),
        Self::Sentinel,
        Self::PromoteFirst,
        Self::Killed,
        Self::Terminated,
    ];

    pub const fn text(self) -> &'static str {
        match self {
            Self::Ours(method) => method.as_str(),
            Self::Sentinel => "plain `SENTINEL FAILOVER`",
            Self::PromoteFirst => "`REPLICAOF NO ONE`, then `REPLICAOF`",
            Self::Killed => "pod deletion, no grace (SIGKILL)",
            Self::Terminated => "pod deletion (SIGTERM)",
        }
    }
}

/// What came of one switchover.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    pub acknowledged: u64,
    /// Acknowledged, and not on the new primary.
    pub lost: u64,
    /// The longest time without an acknowledged write, on any connection, from the first command on.
    pub gap: Duration,
    /// The operator gave it up, because the candidate did not catch up in time, and the old primary went on.
    pub given_up: bool,
}

/// Three servers, one of them primary and the others in sync with it between the rounds, and a Sentinel if one is asked.
pub struct Arena {
    servers: Vec<RedisServer>,
    primary: usize,
    sentinel: Option<RedisServer>,
}

impl Arena {
    pub async fn start(program: &Path) -> Self {
        let servers: Vec<RedisServer> = (0..3).map(|_| RedisServer::start_program(program, OPTIONS)).collect();
        let arena = Self { servers, primary: 0, sentinel: None };
        arena.all_follow().await;
        arena
    }

    /// One switchover. All that is left to chance follows from the seed: to whom, in which phase of which load.
    pub async fn round(&mut self, way: Way, seed: u64) -> Result<Round, String> {
        let mut rng = Rng::new(seed, 3);
        let to = (self.primary + 1 + rng.below(2)) % self.servers.len();
        let load = Load::start(self.addresses(), seed, Shape::of(&mut rng));
        load.settled_at(self.primary).await;
        tokio::time::sleep(Duration::from_micros(rng.range(0, 100_000))).await;
        let new = match way {
            // Given up, the role stays where it was.
            Way::Ours(method) => self.ours(method, to, &load).await?.unwrap_or(self.primary),
            Way::Sentinel => self.by_sentinel(&load).await,
            Way::PromoteFirst => self.promote_first(to, &load),
            Way::Killed => self.end_then_promote(to, &load, RedisServer::crash).await,
            Way::Terminated => self.end_then_promote(to, &load, RedisServer::terminate).await,
        };
        load.settled_at(new).await;
        let gap = load.take_gap();
        let acknowledged = block_in_place(|| load.stop());
        let lost = acknowledged.lost(self.servers[new].address()).await.values().sum();
        let given_up = new == self.primary;
        self.tidy(new, matches!(way, Way::Killed | Way::Terminated)).await;
        Ok(Round { acknowledged: acknowledged.count(), lost, gap, given_up })
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(RedisServer::address).collect()
    }

    fn third(&self, to: usize) -> &RedisServer {
        // The three indices are 0, 1 and 2.
        &self.servers[3 - self.primary - to]
    }

    /// Who has the role then; `None`: it was given up, and nothing was changed.
    async fn ours(&self, method: SwitchoverMethod, to: usize, load: &Load) -> Result<Option<usize>, String> {
        let (old, new, third) = (&self.servers[self.primary], &self.servers[to], self.third(to));
        let order = order(method, old, new, &[third]).await;
        load.take_gap();
        let done = match carry_out(&order).await {
            Err(ExecuteError::Switchover { failure: Failure::NotCaughtUp, .. }) if old.is_primary().await => {
                return if new.is_primary().await { Err("two primaries".to_owned()) } else { Ok(None) };
            }
            result => result.map_err(|error| error.to_string())?,
        };
        if done.method != method {
            return Err(format!("it was handed over by {}", done.method.as_str()));
        }
        let (from, role) = (old.replication().await.role, new.replication().await.role);
        match (from, role) {
            (Role::Replica(link), Role::Primary) if link.primary == new.node() => Ok(Some(to)),
            roles => Err(format!("the roles are not exchanged: {roles:?}")),
        }
    }

    fn promote_first(&self, to: usize, load: &Load) -> usize {
        let (old, new, third) = (&self.servers[self.primary], &self.servers[to], self.third(to));
        load.take_gap();
        block_in_place(|| {
            assert_eq!(new.run(&["REPLICAOF", "NO", "ONE"]), "OK");
            for other in [old, third] {
                assert_eq!(other.run(&["REPLICAOF", "127.0.0.1", &new.address().port().to_string()]), "OK");
            }
        });
        to
    }

    async fn end_then_promote(&mut self, to: usize, load: &Load, end: impl FnOnce(&mut RedisServer)) -> usize {
        let mut candidate = connect(&self.servers[to]).await;
        load.take_gap();
        block_in_place(|| end(&mut self.servers[self.primary]));
        candidate.promote().await.expect("REPLICAOF NO ONE is accepted");
        to
    }

    async fn by_sentinel(&mut self, load: &Load) -> usize {
        if self.sentinel.is_none() {
            self.sentinel = Some(RedisServer::start_sentinel(&self.servers[self.primary]));
        }
        let sentinel = self.sentinel.as_ref().expect("it was started");
        let client = redis::Client::open(format!("redis://{}", sentinel.address())).expect("the address is one");
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(DEADLINE));
        let mut asked = client.get_multiplexed_async_connection_with_config(&config).await.expect("it is up");
        eventually("the Sentinel begins a failover", async || {
            load.take_gap();
            // Refused while it does not know both replicas, and while the last one has not ended.
            redis::cmd("SENTINEL").arg("FAILOVER").arg("demo").exec_async(&mut asked).await.ok()
        })
        .await;
        let clock = Clock::start();
        while clock.uptime() < PATIENCE {
            let mut command = redis::cmd("SENTINEL");
            let (_, port): (String, u16) =
                command.arg("GET-MASTER-ADDR-BY-NAME").arg("demo").query_async(&mut asked).await.expect("it answers");
            let said = self.servers.iter().position(|server| server.address().port() == port);
            if let Some(new) = said.filter(|said| *said != self.primary) {
                load.tell(new);
                return new;
            }
            tokio::time::sleep(SENTINEL_POLL).await;
        }
        panic!("the Sentinel names no other primary");
    }

    /// After a round: nobody writes, and everybody follows the new primary, which begins the next round without keys.
    async fn tidy(&mut self, new: usize, gone: bool) {
        if gone {
            block_in_place(|| self.servers[self.primary].start_again());
        }
        self.primary = new;
        assert_eq!(self.servers[new].run(&["FLUSHALL"]), "OK");
        self.all_follow().await;
    }

    /// Waits until both replicas follow the primary and have everything. They are told to, again if need be: one that
    /// loads a full sync takes no command.
    async fn all_follow(&self) {
        let primary = &self.servers[self.primary];
        for (_, replica) in self.servers.iter().enumerate().filter(|(n, _)| *n != self.primary) {
            eventually("the replica has everything", async || {
                let mut connection = Connection::open(replica.address(), None, DEADLINE).await.ok()?;
                let seen = connection.replication(DEADLINE).await.ok()?;
                match seen.role {
                    Role::Replica(link) if link.primary == primary.node() => {
                        let of_primary = connect(primary).await.replication(DEADLINE).await.ok()?;
                        let online =
                            of_primary.replicas.iter().any(|line| line.address == replica.node() && line.online);
                        let synced = online && link.link_up && !link.sync_in_progress;
                        (synced && seen.offset == of_primary.offset).then_some(())
                    }
                    _ => {
                        connection.replicaof(&primary.node()).await.ok()?;
                        None
                    }
                }
            })
            .await;
        }
    }
}

/// What came of many switchovers.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub acknowledged: u64,
    pub lost: u64,
    /// Attempts that were given up. They are no runs, and what they lost counts.
    pub given_up: u64,
    gaps: Vec<Duration>,
}

impl Tally {
    pub fn add(&mut self, round: Round) {
        self.acknowledged += round.acknowledged;
        self.lost += round.lost;
        if round.given_up {
            self.given_up += 1;
            return;
        }
        let at = self.gaps.partition_point(|gap| *gap <= round.gap);
        self.gaps.insert(at, round.gap);
    }

    pub const fn runs(&self) -> usize {
        self.gaps.len()
    }

    /// The shortest gap that so many of a hundred runs did not exceed (nearest rank).
    pub fn gap(&self, percent: usize) -> Duration {
        let rank = (self.runs() * percent).div_ceil(100).max(1);
        self.gaps.get(rank - 1).copied().unwrap_or_default()
    }

    /// Runs, acknowledged, lost, gap p50, p99, max: the cells of a Markdown table.
    pub fn cells(&self) -> String {
        let milliseconds = |percent| format!("{:.1} ms", self.gap(percent).as_secs_f64() * 1000.0);
        let (runs, acknowledged, lost) = (self.runs(), self.acknowledged, self.lost);
        let [p50, p99, max] = [50, 99, 100].map(milliseconds);
        format!("{runs} | {acknowledged} | {lost} | {p50} | {p99} | {max}")
    }
}
