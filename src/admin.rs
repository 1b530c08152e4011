//! Two ports: `/metrics` on one, `/livez` and `/readyz` on the other, so that no crowd of scrapers takes the kubelet's
//! place.

mod listen;
mod serve;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use crate::metrics::{self, Metrics};

/// The admin server failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address is taken or may not be used.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// What `/readyz` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Not ready: the Lease was never read.
    LeaseUnread,
    /// Not ready: the policies were never listed; their definition or the right may be missing.
    PoliciesUnlisted,
    /// Ready: another process leads, this one can take over.
    Standby,
    /// Ready: leads.
    Leading,
}

impl Readiness {
    const fn text(self) -> &'static str {
        match self {
            Self::LeaseUnread => "starting: the Lease was not read yet\n",
            Self::PoliciesUnlisted => {
                "starting: the RedisMemoryPolicies were not listed yet: definition or right missing?\n"
            }
            Self::Standby => "ok: standby\n",
            Self::Leading => "ok: leading\n",
        }
    }

    const fn is_ready(self) -> bool {
        matches!(self, Self::Standby | Self::Leading)
    }
}

/// Says whether the process is ready. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    lease_read: AtomicBool,
    policies_listed: AtomicBool,
    leads: AtomicBool,
    /// Namespaces that are to be looked at, and may not be read.
    unreadable: Mutex<Vec<String>>,
}

impl Health {
    /// The API server has answered what the Lease says.
    pub fn lease_read(&self) {
        self.0.lease_read.store(true, Ordering::Relaxed);
    }

    /// The API server has listed policies: their definition is there, and we may read them.
    pub fn policies_listed(&self) {
        self.0.policies_listed.store(true, Ordering::Relaxed);
    }

    /// Whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.0.leads.store(leads, Ordering::Relaxed);
    }

    /// These namespaces are to be looked at, and may not be read: the others are served, and the process is as ready.
    pub fn unreadable(&self, namespaces: Vec<String>) {
        *self.0.unreadable.lock().unwrap_or_else(PoisonError::into_inner) = namespaces;
    }

    /// What `/readyz` says, with what it says besides.
    fn text(&self) -> String {
        let unreadable = self.0.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        let besides = match unreadable.as_slice() {
            [] => String::new(),
            names => format!("may not be read, and not served: namespace {}\n", names.join(", ")),
        };
        self.get().text().to_owned() + &besides
    }

    /// What `/readyz` says. What was true once is enough: an API server that goes away later is no reason to take this
    /// process out, nor to replace it by one that cannot reach it either.
    pub fn get(&self) -> Readiness {
        let is = |known: &AtomicBool| known.load(Ordering::Relaxed);
        if !is(&self.0.lease_read) {
            Readiness::LeaseUnread
        } else if !is(&self.0.policies_listed) {
            Readiness::PoliciesUnlisted
        } else if is(&self.0.leads) {
            Readiness::Leading
        } else {
            Readiness::Standby
        }
    }
}

/// One port, listening but not yet answering.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

impl Admin {
    /// Listens, so that a taken port is known at start.
    #[allow(clippy::unused_async, reason = "async: it must be called inside of the runtime that it listens in")]
    pub async fn bind(address: SocketAddr) -> Result<Self, AdminError> {
        let failed = |source| AdminError::Listen { address, source };
        let listener = listen::on(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens: the port that the system chose, when 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers `/metrics` until `shutdown` completes, and then for at most 2 s more.
    pub async fn serve_metrics(self, metrics: Metrics, shutdown: impl Future<Output = ()>) {
        let routes = Router::new().route("/metrics", get(scrape).with_state(metrics));
        serve::serve(self.listener, routes, shutdown).await;
    }

    /// Answers `/livez` and `/readyz` until `shutdown` completes, and then for at most 2 s more.
    pub async fn serve_health(self, health: Health, shutdown: impl Future<Output = ()>) {
        let alive = get(|| async { "ok\n" });
        let routes = Router::new().route("/livez", alive).route("/readyz", get(readyz)).with_state(health);
        serve::serve(self.listener, routes, shutdown).await;
    }
}

async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    let status = if health.get().is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, health.text())
}

async fn scrape(State(metrics): State<Metrics>) -> Response {
    match metrics.render() {
        Ok(page) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "cannot encode the metrics\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
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
        let serving = tokio::spawn(admin.serve_metrics(metrics, std::future::pending()));
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
}
