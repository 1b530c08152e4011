//! Both ports, over loopback.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

use super::{
    serve::{DRAIN, MAX_CONNECTIONS, READ_TIMEOUT},
    *,
};

struct Running {
    address: SocketAddr,
    health: Health,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn running() -> Running {
    let admin = Admin::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let (address, health) = (admin.address(), Health::default());
    let (stop, stopped) = oneshot::channel::<()>();
    let serve = admin.serve_health(health.clone(), async move { drop(stopped.await) });
    Running { address, health, stop, task: tokio::spawn(serve) }
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn is_ready_when_the_lease_was_read_and_the_policies_listed_and_alive_from_the_start() {
    let server = running().await;
    assert!(get(server.address, "/livez").await.starts_with("HTTP/1.1 200"));
    let unready = |answer: String, text: &str| answer.starts_with("HTTP/1.1 503") && answer.contains(text);
    assert!(unready(get(server.address, "/readyz").await, "Lease"));
    server.health.lease_read();
    server.health.leads(true);
    assert!(unready(get(server.address, "/readyz").await, "definition or right missing"));
    server.health.policies_listed();
    for (leads, text) in [(true, "ok: leading\n"), (false, "ok: standby\n")] {
        server.health.leads(leads);
        let answer = get(server.address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(text), "{answer}");
    }
    server.health.unreadable(vec!["cart".to_owned(), "shop".to_owned()]);
    let answer = get(server.address, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("ok: standby\nmay not be read, and not served: namespace cart, shop\n"), "{answer}");
    assert!(get(server.address, "/metrics").await.starts_with("HTTP/1.1 404"), "scrapes share nothing with health");
}

#[tokio::test]
async fn a_scrape_gets_openmetrics() {
    let admin = Admin::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let address = admin.address();
    let metrics = Metrics::new("operator");
    let serving = tokio::spawn(admin.serve_metrics(metrics, Entrance::default(), std::future::pending()));
    let answer = get(address, "/metrics").await;
    assert!(answer.contains(&format!("content-type: {}", metrics::CONTENT_TYPE)), "{answer}");
    assert!(answer.contains("leader_election_master_status{name=\"operator\"} 0"), "{answer}");
    assert!(answer.contains("process_resident_memory_bytes "), "{answer}");
    serving.abort();
}

#[tokio::test]
async fn shuts_down_although_a_client_hangs() {
    let server = running().await;
    let mut hanging = TcpStream::connect(server.address).await.expect("a connection");
    hanging.write_all(b"GET /livez HTTP/1.1\r\n").await.expect("half a request");
    assert!(get(server.address, "/livez").await.starts_with("HTTP/1.1 200"));
    server.stop.send(()).expect("a running server");
    tokio::time::timeout(DRAIN * 3, server.task).await.expect("in time").expect("no panic");
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

// Any pod could have the operator restarted for ever: 32 connections that said nothing, again each minute.
#[tokio::test]
async fn health_is_answered_at_once_however_many_connections_say_nothing() {
    let server = running().await;
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS * 2 {
        idle.push(TcpStream::connect(server.address).await.expect("a connection"));
    }
    let answer = tokio::time::timeout(Duration::from_secs(2), get(server.address, "/livez")).await;
    let answer = answer.expect("before the kubelet gives up");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_send_its_request_is_sent_away() {
    let server = running().await;
    let mut silent = TcpStream::connect(server.address).await.expect("a connection");
    let mut slow = TcpStream::connect(server.address).await.expect("a connection");
    slow.write_all(b"GET /livez HTTP/1.1\r\n").await.expect("half a request");
    for stream in [&mut silent, &mut slow] {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(READ_TIMEOUT * 3, stream.read_to_end(&mut rest)).await;
        ended.expect("it does not keep its place").ok();
    }
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_it() {
    let first = Admin::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let error = Admin::bind(first.address()).await.expect_err("taken");
    assert!(error.to_string().contains(&first.address().to_string()), "{error}");
}
