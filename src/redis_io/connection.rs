//! One connection to one node, under one deadline per request.

use std::{net::SocketAddr, time::Duration};

use redis::{Pipeline, Value};
use tokio::time::timeout;

use super::{
    credentials::Credentials,
    error::RedisError,
    info::Info,
    reply,
    tls::reach,
    wire::{Request, Wire},
};
use crate::domain::{
    names::RunId,
    sample::{Replication, Role, Version},
};

/// What `CLIENT LIST` shows of us.
pub(super) const CLIENT_NAME: &str = "redis-memory-operator";

/// A connection to one node. It remembers which process it was opened on. After a failure other than an error reply,
/// or a request that was given up midway, it is closed for good: who opens the next one verifies again whom they
/// talk to.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
    run_id: RunId,
    version: Version,
    clients: Option<u64>,
    takes_list: Option<bool>,
}

/// What redis-server does at its `tls-port` with a plain word (seen on 7.0.15): it resets the connection, and says nothing.
fn perhaps_tls(error: RedisError) -> RedisError {
    let RedisError::Connect(text) = error else { return error };
    RedisError::Connect(format!(
        "{text}, at the first plain command: so does a port that wants TLS; if this is one, set spec.redis.tls"
    ))
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
        let encrypted = credentials.and_then(Credentials::tls);
        let wire = match encrypted {
            Some(tls) => Wire::tls(tls.connect(address, deadline).await?),
            None => Wire::plain(reach(address).await?),
        };
        let mut connection =
            Self { wire, run_id: RunId::default(), version: Version::UNKNOWN, clients: None, takes_list: None };
        let introduced = connection.introduce(credentials).await;
        introduced.map_err(|error| if encrypted.is_none() { perhaps_tls(error) } else { error })?;
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
        let mut replies = self.wire.exchange(&Request::from(&pipeline)).await?.into_iter();
        if login.is_some() {
            reply::auth(replies.next())?;
        }
        // A server that knows no client names, or an ACL that forbids them, is served all the same.
        let _name_is_a_courtesy = replies.next();
        let text = reply::text(replies.next())?;
        let info = Info::parse(&text);
        // A server that does not say which process it is, or which version, is watched; what says neither is no Redis.
        let (run_id, version) = (info.run_id(), info.version());
        if version.is_err() {
            run_id.clone()?;
        }
        self.run_id = run_id.unwrap_or_default();
        self.version = version.unwrap_or(Version::UNKNOWN);
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

    /// Connected clients at the last probe of this connection; `None`: not probed yet.
    pub(super) const fn clients(&self) -> Option<u64> {
        self.clients
    }

    /// Keeps the number of connected clients for the next probe.
    pub(super) const fn note_clients(&mut self, clients: u64) {
        self.clients = Some(clients);
    }

    /// Whether CONFIG GET takes all names at once here; `None`: not known yet.
    pub(super) const fn takes_list(&self) -> Option<bool> {
        self.takes_list
    }

    /// Keeps for the next probe whether CONFIG GET takes all names at once.
    pub(super) const fn note_list(&mut self, taken: bool) {
        self.takes_list = Some(taken);
    }

    /// True when every further request would fail at once.
    pub const fn is_closed(&self) -> bool {
        self.wire.is_cut()
    }

    /// Reads the run id again and compares it with the process that is meant: the last look before an effect.
    pub async fn expect_run_id(&mut self, expected: &RunId, deadline: Duration) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("INFO").arg("server");
        let text = self.text(&pipeline, "INFO server", deadline).await?;
        let found = Info::parse(&text).run_id()?;
        if found == *expected {
            return Ok(());
        }
        let role = self.replication(deadline).await.map(|replication| replication.role);
        Err(RedisError::RunIdChanged {
            expected: expected.clone(),
            found,
            leads: role.ok().map(|it| it == Role::Primary),
        })
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
        let replication = Info::parse(&replication).replication()?;
        Ok((replication, Info::parse(&clients).clients_paused()))
    }

    /// Sends one command and returns its text reply.
    async fn text(&mut self, pipeline: &Pipeline, what: &str, deadline: Duration) -> Result<String, RedisError> {
        reply::text(self.request(pipeline, what, deadline).await?.into_iter().next())
    }

    /// Sends the commands at once and returns one reply each, error replies among them.
    pub(super) async fn request(
        &mut self,
        pipeline: &Pipeline,
        what: &str,
        deadline: Duration,
    ) -> Result<Vec<Value>, RedisError> {
        self.ask(&Request::from(pipeline), what, deadline).await
    }

    /// The same with commands that are packed already.
    pub(super) async fn ask(
        &mut self,
        request: &Request,
        what: &str,
        deadline: Duration,
    ) -> Result<Vec<Value>, RedisError> {
        timeout(deadline, self.wire.exchange(request))
            .await
            .unwrap_or_else(|_| Err(RedisError::timed_out(what, deadline)))
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
