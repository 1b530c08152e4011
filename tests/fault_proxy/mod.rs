//! A proxy in front of the real API server that loses replies, refuses, delays, swallows and cuts what it is told to,
//! and keeps a record of every request. One for each operator process, so the record says who wrote.
//!
//! It shows the operator one namespace only: lists and watches of policies are narrowed to it. So several operators,
//! each with a world of its own, run beside each other on one API server.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

mod call;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    response::Response,
};
use futures::{StreamExt as _, stream};
use http::{HeaderValue, StatusCode, header};
use kube::Client;
use redis_memory_operator::clock::Clock;
use serde_json::json;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

pub use self::call::{Call, Kind};

/// No request or answer of the tests is bigger.
const MOST_BYTES: usize = 16 << 20;

/// What is done to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It reaches the API server and takes effect; the reply does not come.
    LoseReply,
    /// It is answered with this status and does not reach the API server.
    Answer { code: u16, retry_after: Option<u32> },
    /// It reaches the API server later.
    Delay(Duration),
    /// It does not reach the API server, and no answer comes.
    Blackhole,
}

/// How often.
#[derive(Clone, Copy, Debug)]
pub enum Times {
    /// The first so many.
    First(u32),
    /// All of them.
    Always,
    /// So many of a hundred, by a fixed sequence.
    Percent(u32),
}

/// Which requests, what is done to them, and how often.
struct Rule {
    matches: Box<dyn Fn(&Call) -> bool + Send + Sync>,
    fault: Fault,
    times: Times,
    seen: u32,
    random: u64,
}

impl Rule {
    fn take(&mut self, call: &Call) -> Option<Fault> {
        if !(self.matches)(call) {
            return None;
        }
        self.seen += 1;
        let hit = match self.times {
            Times::First(count) => self.seen <= count,
            Times::Always => true,
            Times::Percent(share) => {
                // A multiplicative generator: the same sequence in every run.
                self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                (self.random >> 33) % 100 < u64::from(share)
            }
        };
        hit.then(|| self.fault.clone())
    }
}

/// One request as it went through.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Since the proxy started.
    pub at: Duration,
    /// What it was.
    pub call: Call,
    /// What was done to it.
    pub fault: Option<Fault>,
    /// What the API server answered; `None`: it was not asked, or has not answered yet.
    pub status: Option<u16>,
}

struct Shared {
    upstream: Client,
    namespace: String,
    clock: Clock,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
    cuts: watch::Sender<u32>,
}

/// A running proxy on a free port of 127.0.0.1, gone when dropped.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// In front of that client's API server, with that client's rights, showing that namespace.
    pub async fn start(upstream: Client, namespace: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            upstream,
            namespace: namespace.to_owned(),
            clock: Clock::start(),
            rules: Mutex::default(),
            seen: Mutex::default(),
            cuts: watch::channel(0).0,
        });
        let router = Router::new().fallback(handle).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { address, shared, task }
    }

    /// A kubeconfig that leads here.
    pub fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{ "name": "proxy", "cluster": { "server": format!("http://{}", self.address) } }],
            "contexts": [{ "name": "proxy", "context": { "cluster": "proxy", "user": "nobody" } }],
            "users": [{ "name": "nobody", "user": {} }],
        })
        .to_string()
    }

    /// From now on, until [`FaultProxy::heal`]. The first rule that hits wins.
    pub fn inject(&self, matches: impl Fn(&Call) -> bool + Send + Sync + 'static, fault: Fault, times: Times) {
        let rule = Rule { matches: Box::new(matches), fault, times, seen: 0, random: 7 };
        lock(&self.shared.rules).push(rule);
    }

    /// No more faults.
    pub fn heal(&self) {
        lock(&self.shared.rules).clear();
    }

    /// Ends every watch that is open with 410 Gone.
    pub fn cut_watches(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Everything that went through so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// Time on the clock of [`Seen::at`].
    pub fn now(&self) -> Duration {
        self.shared.clock.uptime()
    }

    /// The requests of that kind so far.
    pub fn of_kind(&self, kind: Kind) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.call.kind == kind).collect()
    }

    /// The writes that reached the API server since that time.
    pub fn writes_since(&self, since: Duration) -> Vec<Seen> {
        let writes = |seen: &Seen| seen.call.kind.is_change() && seen.at >= since && seen.status.is_some();
        self.seen().into_iter().filter(writes).collect()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let call = Call::of(&request);
    let fault = lock(&shared.rules).iter_mut().find_map(|rule| rule.take(&call));
    let number = {
        let mut seen = lock(&shared.seen);
        let at = shared.clock.uptime();
        seen.push(Seen { at, call: call.clone(), fault: fault.clone(), status: None });
        seen.len() - 1
    };
    match fault {
        Some(Fault::Blackhole) => never().await,
        Some(Fault::Answer { code, retry_after }) => answer(code, retry_after),
        Some(Fault::LoseReply) => {
            // Read to its end: the effect is complete. Then silence, until the operator has had enough.
            let (_, body) = forward(&shared, number, &call, request).await.into_parts();
            let _what_was_answered = to_bytes(body, MOST_BYTES).await;
            never().await
        }
        Some(Fault::Delay(pause)) => {
            tokio::time::sleep(pause).await;
            forward(&shared, number, &call, request).await
        }
        None => forward(&shared, number, &call, request).await,
    }
}

async fn never() -> Response {
    match std::future::pending::<Infallible>().await {}
}

fn answer(code: u16, retry_after: Option<u32>) -> Response {
    let status = StatusCode::from_u16(code).expect("a status");
    let reason = match code {
        409 => "Conflict",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
        "message": format!("injected {code}"),
    });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

async fn forward(shared: &Shared, number: usize, call: &Call, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, MOST_BYTES).await.expect("a whole request");
    parts.uri = call::narrowed(&parts.uri, &shared.namespace);
    for hop in [header::HOST, header::CONNECTION, header::USER_AGENT, header::CONTENT_LENGTH] {
        parts.headers.remove(hop);
    }
    let upstream = http::Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
    let Ok(response) = shared.upstream.send(upstream).await else {
        return answer(502, None);
    };
    let (mut parts, body) = response.into_parts();
    lock(&shared.seen)[number].status = Some(parts.status.as_u16());
    parts.headers.remove(header::TRANSFER_ENCODING);
    let body = Body::new(body);
    if call.kind != Kind::Watch {
        return Response::from_parts(parts, body);
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    let mut cuts = shared.cuts.subscribe();
    let cut = async move {
        let _the_proxy_may_have_gone = cuts.changed().await;
    };
    let gone = stream::once(async { Ok::<_, axum::Error>(Bytes::from(expired())) });
    let body = body.into_data_stream().take_until(cut).chain(gone);
    Response::from_parts(parts, Body::from_stream(body))
}

/// The line with which the API server ends a watch whose version is too old.
fn expired() -> String {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410,
        "message": "too old resource version: injected",
    });
    format!("{}\n", json!({ "type": "ERROR", "object": status }))
}
