//! `maxmemory` set on real servers, of whichever version comes first in PATH, under writes: decided, remembered and carried
//! out as the operator does it.
#![cfg(test)]

mod common;

use std::{process::Command, time::Duration};

use common::{
    connect, eventually, look,
    server::RedisServer,
    writer::{Writer, lost},
};
use jiff::tz::TimeZone;
use pretty_assertions::assert_eq;
use redis_memory_operator::{
    clock::Clock,
    domain::{
        addresses::PodAddresses,
        bytes::Bytes,
        cron::Cron,
        fixtures::{self, NOW},
        journal::WorkloadRecord,
        policy::Policy,
        purpose::Purpose,
        sample::Sample,
        snapshot::{Observation, Snapshot},
        window::Window,
    },
    execute::{ExecuteError, Executor, switchover::bare::Bare},
    plan::{Context, PlanSettings, decide, effect::Effect, next::Next},
};

/// The limit of each container; with a headroom of at least 64 MiB it bears as much.
const LIMIT: Bytes = Bytes::mib(128);
const BEARS: Bytes = Bytes::mib(64);

/// A primary and a replica in pods with a limit, as the operator sees them.
struct Set {
    servers: Vec<RedisServer>,
    policy: Policy,
    records: Vec<WorkloadRecord>,
    executor: Executor<Bare>,
}

impl Set {
    async fn start(options: &[&str]) -> Self {
        let servers: Vec<RedisServer> = (0..2).map(|_| RedisServer::start(options)).collect();
        servers[1].follow(&servers[0]).await;
        let (mut policy, _) = fixtures::enforced();
        (policy.headroom.set_maxmemory, policy.headroom.resize_pod) = (true, false);
        let ports = Bare::new(Clock::start(), policy.redis.role_label.clone());
        Self { servers, policy, records: Vec::new(), executor: Executor { ports, endpoint_sync: Duration::ZERO } }
    }

    async fn sample(&self, n: usize) -> Sample {
        look(&mut connect(&self.servers[n]).await).await.expect("a sample")
    }

    async fn snapshot(&self) -> Snapshot {
        let (_, mut snapshot) = fixtures::enforced();
        snapshot.targets.truncate(2);
        snapshot.stateful_sets[0].replicas = 2;
        for (n, target) in snapshot.targets.iter_mut().enumerate() {
            target.history.clear();
            target.pod.addresses = PodAddresses::of(["127.0.0.1"]);
            let container = target.pod.container.as_mut().expect("known");
            container.port = self.servers[n].address().port();
            container.declared_ports = vec![container.port];
            (container.spec_limit, container.live_limit) = (Some(LIMIT), Some(LIMIT));
            target.redis = Observation::Seen(Box::new(self.sample(n).await));
        }
        snapshot
    }

    async fn decide(&self) -> Next {
        let (snapshot, settings) = (self.snapshot().await, PlanSettings::default());
        let ctx = Context::of(&self.policy, &snapshot, &self.records, NOW, &settings);
        decide::decide(&ctx, None, false, true).act
    }

    /// Does what is decided until nothing is: the pods in order.
    async fn settle(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        for _ in 0..10 {
            match self.decide().await {
                Next::Remember(records) => self.records = records,
                Next::Upkeep(effects) => {
                    for (effect, _) in effects {
                        self.executor.carry_out(&self.policy, &effect, None).await.expect("it is carried out");
                        done.push(effect.words().pod.to_string());
                    }
                }
                Next::Rest => return done,
                other => panic!("{other:?}"),
            }
        }
        panic!("it does not come to rest: {done:?}");
    }

    async fn have(&self) -> [Bytes; 2] {
        [self.sample(0).await.memory.maxmemory, self.sample(1).await.memory.maxmemory]
    }

    /// Keys until the primary uses at least this much when the replica has them: what waits for it is used for a while, too.
    async fn fill(&self, used: Bytes) {
        let script = "for i = 1, 2000 do redis.call('SET', 'k:' .. ARGV[1] .. ':' .. i, string.rep('x', 1000)) end";
        let mut round = self.sample(0).await.keys;
        while self.sample(0).await.memory.used < used {
            self.servers[0].run(&["EVAL", script, "0", &round.to_string()]);
            round += 1;
            self.replicated().await;
        }
    }

    async fn replicated(&self) {
        eventually("the replica has what the primary has", async || {
            let (one, two) = (self.sample(0).await, self.sample(1).await);
            (one.keys == two.keys && one.replication.offset == two.replication.offset).then_some(())
        })
        .await;
    }

    /// What is to be done at the primary, before any of it is.
    async fn first_effect(&mut self) -> Effect {
        let Next::Remember(records) = self.decide().await else { panic!("it is remembered first") };
        self.records = records;
        let Next::Upkeep(effects) = self.decide().await else { panic!("it is set then") };
        effects.first().expect("the primary's").0.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bound_beside_a_limit_becomes_right_under_writes_and_no_key_is_lost() {
    let mut set = Set::start(&["--maxmemory-policy", "noeviction"]).await;
    set.fill(Bytes::mib(30)).await;
    let writer = Writer::start(vec![set.servers[0].address()]);
    eventually("the writer is at work", async || (writer.so_far().count >= 300).then_some(())).await;
    let keys = set.sample(0).await.keys;
    assert_eq!(set.settle().await, ["redis-0", "redis-1"], "the primary first");
    assert_eq!(set.have().await, [BEARS; 2]);
    let before = writer.so_far().count;
    eventually("writing goes on", async || (writer.so_far().count >= before + 300).then_some(())).await;
    let acknowledged = writer.stop().await;
    assert_eq!(lost(set.servers[0].address(), acknowledged.count).await, 0, "of {acknowledged:?}");
    for n in 0..2 {
        let sample = set.sample(n).await;
        assert!(sample.keys >= keys, "{n} has {} keys of {keys}", sample.keys);
        assert!(sample.memory.used.percent(110) <= sample.memory.maxmemory);
    }
    let refused = set.servers[0].run(&["INFO", "stats"]);
    assert!(refused.contains("evicted_keys:0"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_gets_it_again_also_when_it_is_fuller() {
    let mut set = Set::start(&["--maxmemory-policy", "noeviction"]).await;
    set.fill(Bytes::mib(30)).await;
    set.settle().await;
    set.fill(Bytes::mib(55)).await;
    set.servers[1].terminate();
    set.servers[1].start_again();
    let first = set.servers[0].address();
    let port = first.port().to_string();
    set.servers[1].run(&["REPLICAOF", &first.ip().to_string(), &port]);
    eventually("it has all again", async || (set.sample(1).await.keys == set.sample(0).await.keys).then_some(())).await;
    eventually("the full sync has ended", async || {
        set.sample(0).await.replication.replicas.iter().any(|line| line.online).then_some(())
    })
    .await;
    assert_eq!(set.have().await, [BEARS, Bytes::ZERO]);
    assert_eq!(set.settle().await, ["redis-1"]);
    assert_eq!(set.have().await, [BEARS; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_full_is_not_touched() {
    let mut set = Set::start(&["--maxmemory-policy", "noeviction"]).await;
    set.fill(Bytes::mib(50)).await;
    assert_eq!(set.settle().await, [""; 0], "more than 75 % of what the limit bears is used");
    for server in &set.servers {
        server.run(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    }
    assert_eq!(set.settle().await, ["redis-0", "redis-1"], "any key may go, and none does");
    set.fill(Bytes::mib(62)).await;
    for server in &set.servers {
        server.run(&["CONFIG", "SET", "maxmemory", "0"]);
    }
    set.records.clear();
    assert_eq!(set.settle().await, [""; 0], "it would be less than 1.1 of what is used");
    assert_eq!(set.have().await, [Bytes::ZERO; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_since_it_was_judged_is_left() {
    let mut set = Set::start(&["--maxmemory-policy", "noeviction"]).await;
    let effect = set.first_effect().await;
    let carried = |effect: Effect| {
        let (executor, policy) = (set.executor.clone(), set.policy.clone());
        async move { executor.carry_out(&policy, &effect, None).await }
    };
    set.fill(Bytes::mib(55)).await;
    let grown = carried(effect.clone()).await;
    assert!(matches!(&grown, Err(ExecuteError::NotSet { why, .. }) if why.contains("are used")), "{grown:?}");
    set.servers[0].run(&["CONFIG", "SET", "maxmemory", "100mb"]);
    let by_people = carried(effect.clone()).await;
    assert!(matches!(&by_people, Err(ExecuteError::NotSet { why, .. }) if why.contains("was 0")), "{by_people:?}");
    assert_eq!(set.have().await[0], Bytes::mib(100));
    set.servers[0].restart();
    let another = carried(effect).await;
    assert!(matches!(another, Err(ExecuteError::Redis { .. })), "another process: {another:?}");
    assert_eq!(set.have().await[0], Bytes::ZERO);
}

/// A full cache shrinks by consent, a little at a time, and its replica evicts nothing by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_shrinks_by_eviction_a_little_at_a_time() {
    let mut set = Set::start(&["--maxmemory-policy", "allkeys-lru"]).await;
    set.fill(Bytes::mib(80)).await;
    assert_eq!(set.settle().await, [""; 0], "nobody has consented");
    (set.policy.headroom.allow_eviction, set.policy.purpose) = (true, Some(Purpose::Cache));
    let mut values = Vec::new();
    for _ in 0..100 {
        if set.have().await == [BEARS; 2] {
            break;
        }
        let used = set.sample(0).await.memory.used;
        match set.decide().await {
            Next::Remember(records) => set.records = records,
            Next::Upkeep(effects) => {
                for (effect, reason) in effects {
                    set.executor.carry_out(&set.policy, &effect, None).await.expect(&reason);
                    let now = set.sample(0).await.memory;
                    assert!(now.used.percent(107) >= used, "{used} were used, then {}: {reason}", now.used);
                    values.push(now.maxmemory);
                }
            }
            // It has not come down yet.
            Next::Rest => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(set.have().await, [BEARS; 2], "{values:?}");
    assert!(values.len() > 4, "in steps: {values:?}");
    set.replicated().await;
    let evicted = set.servers[1].run(&["INFO", "stats"]);
    assert!(evicted.contains("evicted_keys:0"), "the replica evicted by itself: {evicted}");
}

/// The operator was stopped between its look and the command, and the window closed meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn no_key_goes_once_the_window_has_closed() {
    let mut set = Set::start(&["--maxmemory-policy", "allkeys-lru"]).await;
    set.fill(Bytes::mib(80)).await;
    (set.policy.headroom.allow_eviction, set.policy.purpose) = (true, Some(Purpose::Cache));
    let effect = set.first_effect().await;
    let now = Clock::start().now().to_zoned(TimeZone::UTC);
    let daily = |hour: i8| Window {
        schedule: Cron::parse(&format!("0 {hour} * * *")).expect("a schedule"),
        duration: Duration::from_secs(3 * 3600),
        zone: TimeZone::UTC,
    };
    set.policy.restart.windows = vec![daily((now.hour() + 6) % 24)];
    let closed = set.executor.carry_out(&set.policy, &effect, None).await;
    assert!(
        matches!(&closed, Err(ExecuteError::NotSet { why, .. }) if why.contains("no window is open")),
        "{closed:?}"
    );
    assert_eq!(set.have().await[0], Bytes::ZERO);
    set.policy.restart.windows = vec![daily((now.hour() + 23) % 24)];
    set.executor.carry_out(&set.policy, &effect, None).await.expect("it is open");
    assert!(set.have().await[0] > Bytes::ZERO);
}

/// A server that stands still while it evicts gets back what it had.
#[tokio::test(flavor = "multi_thread")]
async fn an_eviction_that_slows_the_server_down_is_stopped() {
    let mut set = Set::start(&["--maxmemory-policy", "allkeys-lru", "--enable-debug-command", "yes"]).await;
    set.fill(Bytes::mib(80)).await;
    (set.policy.headroom.allow_eviction, set.policy.purpose) = (true, Some(Purpose::Cache));
    let effect = set.first_effect().await;
    // So that it lasts as long as the server is watched.
    set.servers[0].run(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let sleeps = async {
        eventually("it has the new value", async || (set.have().await[0] > Bytes::ZERO).then_some(())).await;
        let port = set.servers[0].address().port().to_string();
        Command::new("redis-cli").args(["-p", &port, "DEBUG", "SLEEP", "0.3"]).spawn().expect("redis-cli")
    };
    let (stopped, mut slept) = tokio::join!(set.executor.carry_out(&set.policy, &effect, None), sleeps);
    slept.wait().expect("it ends");
    assert!(matches!(&stopped, Err(ExecuteError::EvictionStopped { .. })), "{stopped:?}");
    assert_eq!(set.have().await[0], Bytes::ZERO, "as before");
}
