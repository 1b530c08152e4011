//! A stream, plain or TLS, that stops reading once a reply cannot be one that was asked for.

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
use tokio_rustls::client::TlsStream;

use super::{
    error::RedisError,
    frame::{FrameGuard, MAX_REPLY},
    tls,
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

    /// Notes why the stream broke, if that is more than a lost connection.
    fn broken(&self, error: &io::Error) {
        let verdict = match error.kind() {
            // What TLS says of a server that went away without a farewell.
            io::ErrorKind::UnexpectedEof => Some(RedisError::Connect("the server closed the connection".to_owned())),
            _ => tls::failure(error),
        };
        if let Some(verdict) = verdict {
            let _first_verdict_stays = self.verdict.set(verdict);
        }
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

/// What carries the bytes.
#[derive(Debug)]
pub(super) enum Transport {
    /// As they are.
    Plain(TcpStream),
    /// Encrypted, to a server that was verified.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// A stream whose replies are capped and checked while they are read.
#[derive(Debug)]
pub(super) struct CappedStream {
    transport: Transport,
    guard: FrameGuard,
    meter: Arc<Meter>,
}

impl CappedStream {
    pub(super) fn new(transport: Transport) -> (Self, Arc<Meter>) {
        let meter = Arc::new(Meter::default());
        (Self { transport, guard: FrameGuard::new(), meter: Arc::clone(&meter) }, meter)
    }
}

impl AsyncRead for CappedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if let Err(error) = ready!(Pin::new(&mut this.transport).poll_read(cx, buf)) {
            this.meter.broken(&error);
            return Poll::Ready(Err(error));
        }
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
        let written = ready!(Pin::new(&mut self.transport).poll_write(cx, bytes));
        if written.is_err() {
            // With TLS 1.3 a server refuses a client's certificate after the handshake. It has said so before it
            // closed the connection that we write to: the reason is there to be read.
            let mut last_words = [0; 64];
            let read = Pin::new(&mut self.transport).poll_read(cx, &mut ReadBuf::new(&mut last_words));
            if let Poll::Ready(Err(error)) = read {
                self.meter.broken(&error);
            }
        }
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}
