//! A TCP stream that stops reading once a reply cannot be one that was asked for.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{
    error::RedisError,
    frame::{FrameGuard, MAX_REPLY},
};

/// What the reading half and the requester share.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Bytes read since the last request began.
    read: AtomicUsize,
    /// Why reading was stopped.
    verdict: OnceLock<RedisError>,
}

impl Meter {
    /// A new request begins: its replies have the whole cap.
    pub(super) fn request_begins(&self) {
        self.read.store(0, Ordering::Relaxed);
    }

    /// Why reading was stopped, if it was.
    pub(super) fn verdict(&self) -> Option<RedisError> {
        self.verdict.get().cloned()
    }

    /// Counts and judges what was read.
    fn admit(&self, guard: &mut FrameGuard, bytes: &[u8]) -> Result<(), RedisError> {
        guard.feed(bytes)?;
        let read = self.read.fetch_add(bytes.len(), Ordering::Relaxed).saturating_add(bytes.len());
        if read > MAX_REPLY {
            return Err(RedisError::TooLarge(format!("more than {MAX_REPLY} bytes")));
        }
        Ok(())
    }
}

/// A TCP stream whose replies are capped and checked while they are read.
#[derive(Debug)]
pub(super) struct CappedStream {
    tcp: TcpStream,
    guard: FrameGuard,
    meter: Arc<Meter>,
}

impl CappedStream {
    pub(super) fn new(tcp: TcpStream) -> (Self, Arc<Meter>) {
        let meter = Arc::new(Meter::default());
        (Self { tcp, guard: FrameGuard::new(), meter: Arc::clone(&meter) }, meter)
    }
}

impl AsyncRead for CappedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.tcp).poll_read(cx, buf))?;
        let fresh = buf.filled().get(before..).unwrap_or_default();
        Poll::Ready(this.meter.admit(&mut this.guard, fresh).map_err(|error| {
            let io_error = io::Error::other(error.to_string());
            let _first_verdict_stays = this.meter.verdict.set(error);
            io_error
        }))
    }
}

impl AsyncWrite for CappedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
