//! The wire to one server, plain or TLS: a request goes out, its replies come in, one exchange at a time. Reading stops
//! at the first byte that cannot be part of a reply, and after the last reply that was asked for.

use std::{fmt, io};

use futures::FutureExt as _;
use redis::{Pipeline, Value};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

use super::{
    error::RedisError,
    frame::{FrameGuard, MAX_REPLY},
    tls, values,
};

/// Least room for what is read at once. The replies of a probe are about 7 KiB, and as much again where clients are many.
const CHUNK: usize = 8192;
/// Most room that is made for replies of which it is not known yet how long they are.
const MOST_AT_ONCE: usize = 1 << 16;

/// What carries the bytes: a socket, or TLS over one.
trait Duplex: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Duplex for T {}

/// Commands that are sent at once.
pub(super) struct Request {
    /// A password may be in it.
    packed: Zeroizing<Vec<u8>>,
    /// One reply each.
    commands: usize,
    /// Most bytes of the replies.
    most: usize,
}

impl Request {
    /// The same, with replies of up to that many bytes.
    pub(super) fn up_to(self, most: usize) -> Self {
        Self { most, ..self }
    }
}

impl From<&Pipeline> for Request {
    fn from(pipeline: &Pipeline) -> Self {
        Self { packed: Zeroizing::new(pipeline.get_packed_pipeline()), commands: pipeline.len(), most: MAX_REPLY }
    }
}

/// The wire. After an exchange that did not end well, or was given up midway, it is cut: what comes next on it could be
/// the reply to anything.
pub(super) struct Wire {
    /// `None`: cut, or an exchange is under way.
    transport: Option<Box<dyn Duplex>>,
    /// Bytes of the last replies. The next are about as many, and with room for all of them one read will do.
    heard: usize,
}

impl Wire {
    /// A wire without encryption.
    pub(super) fn plain(tcp: TcpStream) -> Self {
        Self::over(Box::new(tcp))
    }

    /// An encrypted one, to a server that was verified.
    pub(super) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self::over(Box::new(stream))
    }

    fn over(transport: Box<dyn Duplex>) -> Self {
        Self { transport: Some(transport), heard: 0 }
    }

    /// True when every further exchange would fail at once.
    pub(super) const fn is_cut(&self) -> bool {
        self.transport.is_none()
    }

    /// Sends a request and returns one reply to each command, error replies among them.
    pub(super) async fn exchange(&mut self, request: &Request) -> Result<Vec<Value>, RedisError> {
        let Some(mut transport) = self.transport.take() else {
            return Err(RedisError::Connect("closed after an earlier failure".to_owned()));
        };
        let mut replies = Replies::up_to(request.most, self.heard);
        exchange(&mut *transport, request, &mut replies).await?;
        self.heard = replies.bytes.len();
        let values = replies.parse(request.commands)?;
        self.transport = Some(transport);
        Ok(values)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("is_cut", &self.is_cut()).finish_non_exhaustive()
    }
}

async fn exchange(transport: &mut dyn Duplex, request: &Request, replies: &mut Replies) -> Result<(), RedisError> {
    // Nothing was asked, so that nothing should be there; nor is anything sent to a server that has gone.
    if let Some(heard) = replies.hear(transport).now_or_never() {
        heard?;
        replies.until(transport, 1).await?;
        return Err(replies
            .refusal()
            .unwrap_or_else(|| RedisError::NotRedis("the server speaks without being asked".to_owned())));
    }
    if let Err(error) = send(transport, &request.packed).await {
        // Who closes a connection may have said why before: what is there is read.
        let heard = replies.until(transport, usize::MAX).now_or_never();
        return Err(heard.and_then(Result::err).unwrap_or_else(|| broken(&error)));
    }
    replies.until(transport, request.commands).await
}

async fn send(transport: &mut dyn Duplex, bytes: &[u8]) -> io::Result<()> {
    transport.write_all(bytes).await?;
    transport.flush().await
}

/// What has come since the last exchange.
struct Replies {
    bytes: Vec<u8>,
    guard: FrameGuard,
    most: usize,
}

impl Replies {
    /// With room for a little more than the replies before them had.
    fn up_to(most: usize, before: usize) -> Self {
        let room = before.saturating_add(before / 8).clamp(CHUNK, MOST_AT_ONCE);
        Self { bytes: Vec::with_capacity(room), guard: FrameGuard::up_to(most), most }
    }

    /// Reads until that number of replies is complete.
    async fn until(&mut self, transport: &mut dyn Duplex, wanted: usize) -> Result<(), RedisError> {
        while self.guard.complete() < wanted {
            self.hear(transport).await.map_err(|error| match self.refusal() {
                Some(refusal) if refusal.is_of_the_connection() => refusal,
                _ => error,
            })?;
        }
        Ok(())
    }

    /// Reads and checks what comes next.
    async fn hear(&mut self, transport: &mut dyn Duplex) -> Result<(), RedisError> {
        let before = self.bytes.len();
        if self.bytes.capacity() - before < CHUNK / 8 {
            self.bytes.reserve(CHUNK);
        }
        if transport.read_buf(&mut self.bytes).await.map_err(|error| broken(&error))? == 0 {
            return Err(closed());
        }
        self.guard.feed(self.bytes.get(before..).unwrap_or_default())?;
        if self.bytes.len() > self.most {
            return Err(RedisError::TooLarge(format!("more than {} bytes", self.most)));
        }
        Ok(())
    }

    /// The replies as values, as many as there are commands and no byte more.
    fn parse(&self, wanted: usize) -> Result<Vec<Value>, RedisError> {
        if self.guard.complete() > wanted || !self.guard.is_at_rest() {
            return Err(RedisError::NotRedis(format!("more answers than the {wanted} that were asked for")));
        }
        self.values(wanted).ok_or_else(|| RedisError::NotRedis("the answer cannot be parsed".to_owned()))
    }

    fn values(&self, count: usize) -> Option<Vec<Value>> {
        values::parse(&self.bytes, count)
    }

    /// The first reply, if it is complete and an error.
    fn refusal(&self) -> Option<RedisError> {
        match self.values(self.guard.complete().min(1))?.pop()? {
            Value::ServerError(error) => Some(RedisError::reply(error.code(), error.details().unwrap_or_default())),
            _ => None,
        }
    }
}

fn closed() -> RedisError {
    RedisError::Connect("the server closed the connection".to_owned())
}

/// Why the stream broke.
fn broken(error: &io::Error) -> RedisError {
    match error.kind() {
        // What TLS says of a server that went away without a farewell.
        io::ErrorKind::UnexpectedEof => closed(),
        _ => tls::failure(error).unwrap_or_else(|| RedisError::io("it broke", error)),
    }
}

#[cfg(test)]
mod tests;
