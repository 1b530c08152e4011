//! The operator's own exchange, on real Sentinels.

use std::{net::SocketAddr, time::Duration};

use redis_memory_operator::{
    clock::Clock,
    domain::{
        bytes::Bytes,
        fixtures,
        names::{PodName, PodUid},
        sample::Role,
    },
    execute::{
        ExecuteError, Executor,
        switchover::{
            FailedOver,
            bare::{Bare, Hook},
            fail_over,
        },
    },
    plan::effect::{Effect, FailoverOrder, SentinelPeer},
};

use crate::{
    common::{
        server::RedisServer,
        switching::{dies_at, peer},
    },
    set::{Watched, role},
};

/// The name of the pod that the harness gives the server at that address.
fn pod(address: SocketAddr) -> PodName {
    PodName::new(format!("redis-{}", address.port()))
}

/// The order to take the role from that server, as it is begun.
pub(crate) async fn order(set: &Watched, old: usize) -> FailoverOrder {
    let mut replicas = Vec::new();
    for server in set.others(old) {
        replicas.push((peer(server).await, Vec::new()));
    }
    let sentinel = |server: &RedisServer| SentinelPeer {
        pod: pod(server.address()),
        uid: PodUid::new(server.address().port().to_string()),
        address: server.address(),
    };
    let from = &set.servers[old];
    let now = |name: &str| from.run(&["CONFIG", "GET", name]).lines().last().expect("a value").to_owned();
    let [ping, replicas_to_write] = ["repl-ping-replica-period", "min-replicas-to-write"];
    let set_to = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    FailoverOrder {
        from: peer(from).await,
        from_addresses: Vec::new(),
        replid: from.replication().await.replid,
        replicas,
        sentinels: set.sentinels.iter().map(sentinel).collect(),
        majority: 2,
        known: 3,
        needed: 2,
        set: "demo".into(),
        // The operator stays below repl-timeout, so that a ping falls into one exchange of fifty; here none is to.
        quiet: vec![set_to(ping, "3600")],
        refusing: vec![set_to(replicas_to_write, "1000")],
        before: vec![set_to(ping, &now(ping)), set_to(replicas_to_write, &now(replicas_to_write))],
        coordinated: false,
        resumed: false,
        begins: true,
        over: false,
        pause: Duration::from_secs(3),
        // As the operator has it of `down-after-milliseconds` 5000.
        longest_pause: Duration::from_secs(4),
        max_lag: Bytes::mib(16),
    }
}

fn bare() -> Bare {
    Bare::new(Clock::start(), fixtures::policy().redis.role_label)
}

/// Carries it out to the end.
pub(crate) async fn carry_out(order: &FailoverOrder) -> Result<FailedOver, ExecuteError> {
    fail_over(&bare(), &fixtures::policy(), order).await
}

/// The server that has become primary.
pub(crate) async fn winner(set: &Watched, done: &FailedOver) -> usize {
    let new = set.servers.iter().position(|server| pod(server.address()) == done.to).expect("one of the servers");
    assert_eq!(role(&set.servers[new]).await, Some(Role::Primary));
    new
}

/// Nothing of the exchange is left on that server.
pub(crate) fn is_as_before(server: &RedisServer) {
    let now = |name: &str| server.run(&["CONFIG", "GET", name]).lines().last().expect("a value").to_owned();
    assert_eq!((now("repl-ping-replica-period"), now("min-replicas-to-write")), ("10".into(), "0".into()));
}

/// Has the operator set these back on that server, as it does after an exchange.
pub(crate) async fn set_back(server: &RedisServer, settings: &[(&str, &str)]) {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let effect = Effect::SetBack { peer: peer(server).await, settings };
    let executor = Executor { ports: bare(), endpoint_sync: Duration::ZERO };
    executor.carry_out(&fixtures::policy(), &effect, None).await.expect("it is set back");
}

/// Carries it out, with that hook.
pub(crate) async fn hooked(order: &FailoverOrder, hook: Hook) -> Result<FailedOver, ExecuteError> {
    fail_over(&Bare { hook: Some(hook), ..bare() }, &fixtures::policy(), order).await
}

/// Attempts to get to a boundary: on a busy machine replicas may not catch up within the pause, and to give up then is right.
const ATTEMPTS: u32 = 4;

/// Carries it out up to that boundary, and dies there: nothing of it runs any more.
pub(crate) async fn die_at(boundary: &'static str, order: &FailoverOrder) {
    let mut last = None;
    for attempt in 0..ATTEMPTS {
        let order = FailoverOrder { resumed: attempt > 0, ..order.clone() };
        match dies_at(boundary, async |hook| hooked(&order, hook).await).await {
            None => return,
            ended => last = ended,
        }
    }
    panic!("it did not reach {boundary}: {last:?}");
}

/// The same order, taken up by another process: what was begun is ended.
pub(crate) fn resumed(order: &FailoverOrder) -> FailoverOrder {
    FailoverOrder { resumed: true, begins: false, ..order.clone() }
}
