//! Switchovers between real servers, without Kubernetes: the driver of the operator itself, with hooks at its boundaries.

use std::{
    future::{pending, ready},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use redis_memory_operator::{
    clock::Clock,
    domain::{
        bytes::Bytes,
        fixtures,
        names::{PodName, PodUid},
        policy::RoleLabel,
        switchover::SwitchoverMethod,
    },
    execute::{
        ExecuteError,
        crash::Boundary,
        switchover::{
            HandedOver,
            bare::{Bare, Hook},
            hand_over,
        },
    },
    plan::effect::{MemberName, Peer, SwitchoverOrder},
};
use tokio::sync::Notify;

use super::{connect, server::RedisServer};

/// Writes are held back for at most this long, as in the operator.
pub const PAUSE: Duration = Duration::from_secs(3);

/// The process that runs there now, as the operator would have seen it.
pub async fn peer(server: &RedisServer) -> Peer {
    Peer {
        pod: PodName::new(format!("redis-{}", server.address().port())),
        uid: PodUid::new(format!("uid-{}", server.address().port())),
        run_id: connect(server).await.run_id().clone(),
        address: server.address(),
        addresses: server.address().ip().into(),
        replication_port: server.address().port(),
    }
}

/// The order to hand the role from one to the other, as it is begun.
pub async fn order(
    method: SwitchoverMethod,
    from: &RedisServer,
    to: &RedisServer,
    others: &[&RedisServer],
) -> SwitchoverOrder {
    let mut peers: Vec<(Peer, Option<MemberName>)> = Vec::new();
    for other in others {
        peers.push((peer(other).await, None));
    }
    SwitchoverOrder {
        method,
        from: peer(from).await,
        to: peer(to).await,
        to_gone: false,
        to_going: false,
        resumed: false,
        begins: true,
        replid: from.replication().await.replid,
        to_addresses: vec![to.node().to_string()],
        failover_address: Some(to.node()),
        by_name: None,
        others: peers,
        keeps_labels: false,
        role_label: RoleLabel { key: "role".into(), primary: "primary".into(), replica: "replica".into() },
        services: Vec::new(),
        pause: PAUSE,
        max_lag: Bytes::mib(16),
    }
}

/// The same order, taken up by another process.
pub fn resumed(order: &SwitchoverOrder) -> SwitchoverOrder {
    SwitchoverOrder { resumed: true, ..order.clone() }
}

/// The same order as it is made when the candidate's pod is gone: nothing is known of it but what was written down.
pub fn without_candidate(order: &SwitchoverOrder) -> SwitchoverOrder {
    let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let to = Peer { address: nowhere, ..order.to.clone() };
    SwitchoverOrder { to, to_gone: true, failover_address: None, by_name: None, ..resumed(order) }
}

/// Carries it out to the end.
pub async fn carry_out(order: &SwitchoverOrder) -> Result<HandedOver, ExecuteError> {
    hand_over(&Bare::new(Clock::start(), order.role_label.clone()), &fixtures::policy(), order, Duration::ZERO).await
}

/// Carries it out up to that boundary, and dies there.
pub async fn die_at(boundary: &'static str, order: &SwitchoverOrder) {
    let ended = dies_at(boundary, async |hook| Hooked(hook).carry_out(order).await).await;
    assert!(ended.is_none(), "it did not reach {boundary}: {ended:?}");
}

/// Runs it with that hook up to the boundary, and dies there: nothing of it runs any more, no destructor that could tidy up.
/// `None`: it got there.
pub async fn dies_at<T>(boundary: &'static str, run: impl AsyncFnOnce(Hook) -> T) -> Option<T> {
    let there = Arc::new(Notify::new());
    let reached = Arc::clone(&there);
    let hook = hook_at(boundary, move || {
        reached.notify_one();
        Box::pin(pending())
    });
    tokio::select! {
        ended = run(hook) => Some(ended),
        () = there.notified() => None,
    }
}

/// Does that at one boundary.
pub fn hook_at(boundary: &'static str, hook: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Hook {
    Arc::new(
        move |reached: Boundary| {
            if reached.name() == boundary { hook() } else { Box::pin(ready(())) as BoxFuture<'static, ()> }
        },
    )
}

/// Servers alone, and a hook at one boundary.
pub struct Hooked(Hook);

impl Hooked {
    pub fn at(boundary: &'static str, hook: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Self {
        Self(hook_at(boundary, hook))
    }

    pub async fn carry_out(&self, order: &SwitchoverOrder) -> Result<HandedOver, ExecuteError> {
        let bare = Bare { hook: Some(Arc::clone(&self.0)), ..Bare::new(Clock::start(), order.role_label.clone()) };
        hand_over(&bare, &fixtures::policy(), order, Duration::ZERO).await
    }
}
