//! Clients that still stand on an old primary.

use std::time::Duration;

use pretty_assertions::assert_eq;
use redis_memory_operator::{
    domain::{fixtures, sample::Role},
    execute::{Done, ExecuteError},
    plan::effect::Effect,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    common::{DEADLINE, connect, eventually, server::RedisServer},
    set::Set,
};

/// A client that says one thing and then keeps its connection.
async fn client(server: &RedisServer, says: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).await.expect("it accepts");
    stream.write_all(format!("{says}\r\n").as_bytes()).await.expect("it listens");
    let mut first = [0];
    stream.read_exact(&mut first).await.expect("it answers");
    stream
}

/// Whether the server has closed it.
async fn is_closed(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await.is_ok()
}

/// Everybody who is connected has been so for a second at least.
async fn a_second_old(server: &RedisServer, clients: usize) {
    eventually("they have been connected for a second", async || {
        let list = server.run(&["CLIENT", "LIST"]);
        (list.lines().filter(|line| !line.contains(" age=0 ")).count() >= clients).then_some(())
    })
    .await;
}

async fn close_clients(set: &Set, n: usize) -> Result<Done, ExecuteError> {
    let effect = Effect::CloseClients {
        peer: set.peer(n).await,
        primary: fixtures::pod_name(1),
        // As long as kube-proxy needs, and no longer: who has come since then stays.
        standing: set.executor.endpoint_sync,
    };
    set.carry_out(&effect).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinary_clients_of_an_old_primary_are_led_away_and_nobody_else() {
    let set = Set::start(&[]).await;
    let old = &set.servers[0];
    let mut sticky = Vec::new();
    for _ in 0..600 {
        sticky.push(client(old, "PING").await);
    }
    let subscriber = client(old, "SUBSCRIBE news").await;
    let mut ours = connect(old).await;
    set.hand_over().await;
    a_second_old(old, 602).await;
    let meant_this_pod = client(old, "PING").await;
    let begun = set.executor.ports.clock.uptime();
    let done = close_clients(&set, 0).await.expect("it is carried out");
    let took = set.executor.ports.clock.uptime().saturating_sub(begun);
    assert_eq!(done, Done::ClientsClosed { closed: 600 });
    assert!(took >= Duration::from_secs(1), "at most 500 a second: {took:?}");
    for stream in sticky {
        assert!(is_closed(stream).await);
    }
    assert_eq!(old.run(&["PUBLISH", "news", "x"]), "1", "the subscriber is still there");
    drop((subscriber, meant_this_pod));
    let follows = ours.replication(DEADLINE).await.expect("our own connection is still there");
    assert!(matches!(follows.role, Role::Replica(link) if link.link_up), "nor was replication disturbed");
    let list = old.run(&["CLIENT", "LIST", "TYPE", "normal"]);
    assert!(list.lines().count() >= 2, "who came since meant this pod: {list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_primary_stay_and_so_do_all_where_the_right_is_missing() {
    let set = Set::start(&[]).await;
    let _stays = client(&set.servers[0], "PING").await;
    a_second_old(&set.servers[0], 1).await;
    let error = close_clients(&set, 0).await.expect_err("it is the primary");
    assert!(matches!(&error, ExecuteError::LeadsAgain { pod } if pod == "redis-0"), "{error}");
    set.hand_over().await;
    let limited = ["ACL", "SETUSER", "default", "-client", "+client|list", "+client|setname"];
    assert_eq!(set.servers[0].run(&limited), "OK");
    let done = close_clients(&set, 0).await.expect("a missing right is no refusal");
    assert_eq!(done, Done::ClientsClosed { closed: 0 });
}
