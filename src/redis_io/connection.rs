//! One connection to one node, under one deadline per request.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, Pipeline, ProtocolVersion, RedisConnectionInfo, Value, aio::MultiplexedConnection};
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};

use super::{
    credentials::Credentials,
    error::RedisError,
    info::Info,
    reply,
    stream::{CappedStream, Meter, Transport},
};
use crate::domain::{
    names::RunId,
    sample::{Replication, Version},
};

/// What `CLIENT LIST` shows of us.
const CLIENT_NAME: &str = "redis-memory-operator";

/// A connection to one node. It remembers which process it was opened on. After a failure other than an error reply
/// it is closed for good: whoever opens the next one verifies again whom they talk to.
#[derive(Debug)]
pub struct Connection {
    client: MultiplexedConnection,
    meter: Arc<Meter>,
    driver: JoinHandle<()>,
    closed: bool,
    run_id: RunId,
    version: Version,
}

impl Connection {
    /// Connects, verifies the server where there is TLS, authenticates, names the client and reads the run id, all
    /// within `deadline`.
    pub async fn open(
        address: SocketAddr,
        credentials: Option<&Credentials>,
        deadline: Duration,
    ) -> Result<Self, RedisError> {
        timeout(deadline, Self::open_unbounded(address, credentials, deadline))
            .await
            .unwrap_or_else(|_| Err(RedisError::timed_out("the first commands", deadline)))
            .map_err(|error| match credentials {
                Some(credentials) => without_secret(error, credentials),
                None => error,
            })
    }

    async fn open_unbounded(
        address: SocketAddr,
        credentials: Option<&Credentials>,
        deadline: Duration,
    ) -> Result<Self, RedisError> {
        let tcp = TcpStream::connect(address).await.map_err(|e| RedisError::io("cannot connect", &e))?;
        tcp.set_nodelay(true).map_err(|e| RedisError::io("cannot connect", &e))?;
        let transport = match credentials.and_then(Credentials::tls) {
            Some(tls) => Transport::Tls(Box::new(tls.secure(tcp, address, deadline).await?)),
            None => Transport::Plain(tcp),
        };
        let (stream, meter) = CappedStream::new(transport);
        // No password in here and nothing to announce: the library then sends nothing of its own. Its copy of a
        // password would outlive the connection attempt, and its timeouts are off because each request has ours.
        let info = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let (client, driver) = MultiplexedConnection::new_with_config(&info, stream, config)
            .await
            .map_err(|e| transport_error(&e, &meter))?;
        let driver = tokio::spawn(driver);
        let unread = Version { major: 0, minor: 0, patch: 0 };
        let mut connection = Self { client, meter, driver, closed: false, run_id: RunId::default(), version: unread };
        connection.introduce(credentials).await?;
        Ok(connection)
    }

    /// AUTH, CLIENT SETNAME and INFO server in one round trip.
    async fn introduce(&mut self, credentials: Option<&Credentials>) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        let login = credentials.and_then(|credentials| Some((credentials.username(), credentials.password()?)));
        if let Some((username, password)) = login {
            let auth = pipeline.cmd("AUTH");
            if let Some(username) = username {
                auth.arg(username);
            }
            auth.arg(password);
        }
        pipeline.cmd("CLIENT").arg("SETNAME").arg(CLIENT_NAME).cmd("INFO").arg("server");
        let mut replies = self.send(&pipeline).await?.into_iter();
        if login.is_some() {
            reply::auth(replies.next())?;
        }
        // A server that knows no client names, or an ACL that forbids them, is served all the same.
        let _name_is_a_courtesy = replies.next();
        let text = reply::text(replies.next())?;
        let text = String::from_utf8_lossy(&text);
        let info = Info::parse(&text);
        self.run_id = info.run_id()?;
        self.version = info.version()?;
        Ok(())
    }

    /// The process that this connection was opened on.
    pub const fn run_id(&self) -> &RunId {
        &self.run_id
    }

    /// The version that the server said when the connection was opened.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// True when every further request would fail at once.
    pub fn is_closed(&self) -> bool {
        self.closed || self.driver.is_finished()
    }

    /// Reads the run id again and compares it with the process that is meant: the last look before an effect.
    pub async fn expect_run_id(&mut self, expected: &RunId, deadline: Duration) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("INFO").arg("server");
        let text = self.text(&pipeline, "INFO server", deadline).await?;
        let found = Info::parse(&text).run_id()?;
        if found == *expected { Ok(()) } else { Err(RedisError::RunIdChanged { expected: expected.clone(), found }) }
    }

    /// `INFO replication` alone: a few hundred bytes, so that a switchover can be followed closely.
    pub async fn replication(&mut self, deadline: Duration) -> Result<Replication, RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("INFO").arg("replication");
        let text = self.text(&pipeline, "INFO replication", deadline).await?;
        Ok(Info::parse(&text).replication()?)
    }

    /// Keys in all databases, by `INFO keyspace`.
    pub async fn keys(&mut self, deadline: Duration) -> Result<u64, RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("INFO").arg("keyspace");
        let text = self.text(&pipeline, "INFO keyspace", deadline).await?;
        Ok(Info::parse(&text).keyspace().0)
    }

    /// The replication state, and whether clients are paused; `None`: a version that does not say (Valkey does, from
    /// 8.1 on). Two commands, because before 7.0 INFO takes one section.
    pub async fn role_and_pause(&mut self, deadline: Duration) -> Result<(Replication, Option<bool>), RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("INFO").arg("replication").cmd("INFO").arg("clients");
        let mut replies = self.request(&pipeline, "INFO replication", deadline).await?.into_iter();
        let (replication, clients) = (reply::text(replies.next())?, reply::text(replies.next())?);
        let replication = Info::parse(&String::from_utf8_lossy(&replication)).replication()?;
        Ok((replication, Info::parse(&String::from_utf8_lossy(&clients)).clients_paused()))
    }

    /// Sends one command and returns its text reply.
    async fn text(&mut self, pipeline: &Pipeline, what: &str, deadline: Duration) -> Result<String, RedisError> {
        let bytes = reply::text(self.request(pipeline, what, deadline).await?.into_iter().next())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Sends the commands at once and returns one reply each, error replies among them.
    pub(super) async fn request(
        &mut self,
        pipeline: &Pipeline,
        what: &str,
        deadline: Duration,
    ) -> Result<Vec<Value>, RedisError> {
        if self.closed {
            return Err(RedisError::Connect("closed after an earlier failure".to_owned()));
        }
        let outcome = match timeout(deadline, self.send(pipeline)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(RedisError::timed_out(what, deadline)),
        };
        if outcome.as_ref().is_err_and(|error| !error.leaves_connection_usable()) {
            self.close();
        }
        outcome
    }

    async fn send(&mut self, pipeline: &Pipeline) -> Result<Vec<Value>, RedisError> {
        let count = pipeline.len();
        self.meter.request_begins();
        let replies = self
            .client
            .send_packed_commands(pipeline, 0, count)
            .await
            .map_err(|error| transport_error(&error, &self.meter))?;
        if replies.len() == count {
            Ok(replies)
        } else {
            Err(RedisError::NotRedis(format!("{} replies to {count} commands", replies.len())))
        }
    }

    fn close(&mut self) {
        self.closed = true;
        self.driver.abort();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What the library could not do, in our words: our own verdict on the stream comes first.
fn transport_error(error: &redis::RedisError, meter: &Meter) -> RedisError {
    if let Some(verdict) = meter.verdict() {
        return verdict;
    }
    match error.kind() {
        redis::ErrorKind::Parse => RedisError::NotRedis("the answer cannot be parsed".to_owned()),
        _ if error.is_connection_dropped() => RedisError::Connect("the server closed the connection".to_owned()),
        _ => RedisError::Connect(super::text::shown(&error.to_string())),
    }
}

/// A server that echoes what it was sent must not get the password into a status.
fn without_secret(error: RedisError, credentials: &Credentials) -> RedisError {
    match credentials.password() {
        Some(password) if !password.is_empty() && format!("{error} {error:?}").contains(password) => {
            RedisError::NotRedis("the answer repeats the password; it is not shown".to_owned())
        }
        _ => error,
    }
}
