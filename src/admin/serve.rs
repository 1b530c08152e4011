//! Answers HTTP on one port. Every client is let in: when all places are taken, the oldest connection goes. A client that
//! does not send its request in time goes too, by the HTTP library's own clock.

use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use super::tls::Tls;

/// A kubelet and a few scrapers need a handful.
pub(super) const MAX_CONNECTIONS: usize = 32;
/// A request has arrived by then, the first of a connection as any other.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection lives no longer, busy or not.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);
/// What answers in flight may take after shutdown has begun.
pub(super) const DRAIN: Duration = Duration::from_secs(2);
/// After a connection could not be accepted: out of file descriptors, say.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Answers until `shutdown` completes, and then for at most [`DRAIN`] more; privately, if there is a certificate.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    routes: Router,
    shutdown: impl Future<Output = ()>,
) {
    let (close, closing) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        open.retain(|connection| !connection.is_finished());
        if open.len() >= MAX_CONNECTIONS
            && let Some(first) = open.pop_front()
        {
            first.abort();
        }
        open.push_back(connections.spawn(connection(stream, tls.clone(), routes.clone(), closing.clone())));
    }
    drop(listener);
    close.send_replace(true);
    let ended = async { while connections.join_next().await.is_some() {} };
    let _who_hangs_is_cut_off = tokio::time::timeout(DRAIN, ended).await;
}

async fn connection(stream: TcpStream, tls: Option<Arc<Tls>>, routes: Router, closing: watch::Receiver<bool>) {
    let Some(tls) = tls else { return http(stream, routes, closing).await };
    // Who speaks no TLS, or has no certificate where one is asked for, is told so by TLS, and is gone.
    if let Ok(Ok(stream)) = tokio::time::timeout(READ_TIMEOUT, tls.acceptor().accept(stream)).await {
        http(stream, routes, closing).await;
    }
}

async fn http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    routes: Router,
    mut closing: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(READ_TIMEOUT);
    let mut serving = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes)));
    let until_closed = async {
        tokio::select! {
            _ = serving.as_mut() => return,
            _ = closing.wait_for(|closing| *closing) => serving.as_mut().graceful_shutdown(),
        }
        let _a_client_that_went_is_no_news = serving.await;
    };
    let _its_time_is_over = tokio::time::timeout(CONNECTION_LIFETIME, until_closed).await;
}
