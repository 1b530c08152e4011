//! Two ports: `/metrics` on one, `/livez` and `/readyz` on the other, so that no crowd of scrapers takes the kubelet's
//! place.

mod listen;
mod scrapers;
mod serve;
mod tls;

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use self::{scrapers::Doorman, tls::Tls};
pub use self::{
    scrapers::{Review, Scrapers},
    tls::TlsError,
};
use crate::{
    clock::Clock,
    metrics::{self, Metrics},
};

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
    /// The certificate of `/metrics`.
    #[error("--metrics-tls: {0}")]
    Tls(#[from] TlsError),
    /// A token, or a certificate, without TLS.
    #[error("--metrics-clients needs --metrics-tls: without it a token could be read by everybody on the way")]
    NeedsTls,
}

/// How `/metrics` is served, and to whom.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Where the files of its certificate are; `None`: in plain HTTP.
    pub tls: Option<PathBuf>,
    /// Who may read it.
    pub scrapers: Scrapers,
}

/// The same, with what it needs. The default: in plain HTTP, for everybody.
#[derive(Default)]
pub struct Entrance {
    tls: Option<Arc<Tls>>,
    doorman: Option<Doorman>,
}

impl Entrance {
    /// Reads the certificate, so that a bad one is known at start. `review` asks about tokens.
    pub fn open(access: &Access, review: Review, clock: Clock) -> Result<Self, AdminError> {
        if access.tls.is_none() && access.scrapers != Scrapers::Anyone {
            return Err(AdminError::NeedsTls);
        }
        let mutual = access.scrapers == Scrapers::Certificate;
        let tls = access.tls.as_deref().map(|directory| Tls::open(directory, mutual)).transpose()?.map(Arc::new);
        let doorman = (access.scrapers == Scrapers::Token).then(|| Doorman::new(review, clock));
        Ok(Self { tls, doorman })
    }
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
    pub async fn serve_metrics(self, metrics: Metrics, entrance: Entrance, shutdown: impl Future<Output = ()>) {
        let Entrance { tls, doorman } = entrance;
        let routes = Router::new().route("/metrics", get(scrape).with_state((metrics, doorman)));
        serve::serve(self.listener, tls, routes, shutdown).await;
    }

    /// Answers `/livez` and `/readyz` until `shutdown` completes, and then for at most 2 s more.
    pub async fn serve_health(self, health: Health, shutdown: impl Future<Output = ()>) {
        let alive = get(|| async { "ok\n" });
        let routes = Router::new().route("/livez", alive).route("/readyz", get(readyz)).with_state(health);
        serve::serve(self.listener, None, routes, shutdown).await;
    }
}

async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    let status = if health.get().is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, health.text())
}

async fn scrape(State((metrics, doorman)): State<(Metrics, Option<Doorman>)>, headers: HeaderMap) -> Response {
    if let Some(doorman) = doorman
        && let Err(refused) = doorman.admit(&headers).await
    {
        return refused.into_response();
    }
    match metrics.render() {
        Ok(page) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "cannot encode the metrics\n").into_response(),
    }
}

#[cfg(test)]
mod tests;
