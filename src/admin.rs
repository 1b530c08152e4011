//! `/metrics`, `/livez` and `/readyz` on one port. Bounded: so many connections, each for so long.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
    serve::Listener,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};

mod listen;

use crate::metrics::{self, Metrics};

/// A kubelet and a few scrapers need a handful.
const MAX_CONNECTIONS: usize = 32;
/// A connection lives no longer, busy or not: a stuck client cannot keep its place.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);
/// What answers in flight may take after shutdown has begun.
const DRAIN: Duration = Duration::from_secs(2);

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
    /// The server ended although nobody asked it to.
    #[error("the admin server failed: {0}")]
    Serve(#[source] io::Error),
}

/// What `/readyz` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Not ready: the first look is not complete.
    Starting,
    /// Ready: another process leads, this one can take over.
    Standby,
    /// Ready: leads, and has seen everything once.
    Leading,
}

impl Readiness {
    const ALL: [Self; 3] = [Self::Starting, Self::Standby, Self::Leading];

    const fn text(self) -> &'static str {
        match self {
            Self::Starting => "starting\n",
            Self::Standby => "ok: standby\n",
            Self::Leading => "ok: leading\n",
        }
    }
}

/// Says whether the process is ready. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<AtomicU8>);

impl Health {
    /// Sets what `/readyz` says. At first it is [`Readiness::Starting`].
    pub fn set(&self, readiness: Readiness) {
        self.0.store(readiness as u8, Ordering::Relaxed);
    }

    /// What `/readyz` says.
    pub fn get(&self) -> Readiness {
        let now = usize::from(self.0.load(Ordering::Relaxed));
        Readiness::ALL.get(now).copied().unwrap_or(Readiness::Starting)
    }
}

/// The admin server, listening but not yet answering.
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

    /// Answers until `shutdown` completes, and then for at most 2 s more.
    pub async fn serve(
        self,
        metrics: Metrics,
        health: Health,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), AdminError> {
        let routes = Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .with_state(health)
            .route("/metrics", get(scrape).with_state(metrics));
        let listener = Bounded { listener: self.listener, places: Arc::new(Semaphore::new(MAX_CONNECTIONS)) };
        let (begun, begins) = tokio::sync::oneshot::channel();
        let server = axum::serve(listener, routes).with_graceful_shutdown(async move {
            shutdown.await;
            // The receiver waits as long as the server runs.
            let _ = begun.send(());
        });
        tokio::select! {
            ended = server => ended.map_err(AdminError::Serve),
            () = async { let _ = begins.await; tokio::time::sleep(DRAIN).await } => Ok(()),
        }
    }
}

async fn readyz(State(health): State<Health>) -> (StatusCode, &'static str) {
    let readiness = health.get();
    let status = if readiness == Readiness::Starting { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, readiness.text())
}

async fn scrape(State(metrics): State<Metrics>) -> Response {
    match metrics.render() {
        Ok(page) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "cannot encode the metrics\n").into_response(),
    }
}

/// Accepts a connection only when there is a place for it.
struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed; without a place the connection waits in the kernel's queue.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        let ends = Box::pin(tokio::time::sleep(CONNECTION_LIFETIME));
        (Connection { stream, ends, _place: place }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails when its time is over, and gives its place back when dropped.
struct Connection {
    stream: TcpStream,
    ends: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        self.ends
            .as_mut()
            .poll(context)
            .map(|()| io::Error::new(io::ErrorKind::TimedOut, "the connection's time is over"))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(over) = self.poll_over(context) {
            return Poll::Ready(Err(over));
        }
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(over) = self.poll_over(context) {
            return Poll::Ready(Err(over));
        }
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        sync::oneshot,
        task::JoinHandle,
    };

    use super::*;
    use crate::clock::Clock;

    struct Running {
        address: SocketAddr,
        health: Health,
        stop: oneshot::Sender<()>,
        task: JoinHandle<Result<(), AdminError>>,
    }

    async fn running() -> Running {
        let admin = Admin::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let (address, health) = (admin.address(), Health::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let metrics = Metrics::new(Clock::start(), "operator");
        let serve = admin.serve(metrics, health.clone(), async move { drop(stopped.await) });
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
    async fn is_ready_when_standing_by_or_leading_and_alive_from_the_start() {
        let server = running().await;
        assert!(get(server.address, "/readyz").await.starts_with("HTTP/1.1 503"));
        assert!(get(server.address, "/livez").await.starts_with("HTTP/1.1 200"));
        for readiness in [Readiness::Standby, Readiness::Leading] {
            server.health.set(readiness);
            let answer = get(server.address, "/readyz").await;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(readiness.text()), "{answer}");
        }
        assert!(get(server.address, "/secrets").await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn a_scrape_gets_openmetrics() {
        let server = running().await;
        let answer = get(server.address, "/metrics").await;
        assert!(answer.contains(&format!("content-type: {}", metrics::CONTENT_TYPE)), "{answer}");
        assert!(answer.contains("leader_election_master_status{name=\"operator\"} 0"), "{answer}");
        assert!(answer.contains("process_resident_memory_bytes "), "{answer}");
    }

    #[tokio::test]
    async fn shuts_down_although_a_client_hangs() {
        let server = running().await;
        let mut hanging = TcpStream::connect(server.address).await.expect("a connection");
        hanging.write_all(b"GET /livez HTTP/1.1\r\n").await.expect("half a request");
        assert!(get(server.address, "/livez").await.starts_with("HTTP/1.1 200"));
        server.stop.send(()).expect("a running server");
        let ended = tokio::time::timeout(DRAIN * 3, server.task).await.expect("in time");
        ended.expect("no panic").expect("no error");
        assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
    }

    #[tokio::test]
    async fn a_client_beyond_the_bound_waits_and_is_served_when_there_is_a_place() {
        let server = running().await;
        let mut idle = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            idle.push(TcpStream::connect(server.address).await.expect("a connection"));
        }
        let mut waiting = Box::pin(get(server.address, "/livez"));
        let early = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
        assert!(early.is_err(), "served without a place: {early:?}");
        idle.pop();
        let answer = tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("a place");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error_that_names_it() {
        let first = Admin::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let error = Admin::bind(first.address()).await.expect_err("taken");
        assert!(error.to_string().contains(&first.address().to_string()), "{error}");
    }
}
