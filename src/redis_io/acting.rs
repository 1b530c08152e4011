//! The commands that change a server, and the question whether this user may run them.
//!
//! None of them is sent twice: after [`RedisError::TimedOut`] the effect is unknown, and whoever asked reads it back.

use std::time::Duration;

use redis::{Pipeline, Value};

use super::{connection::Connection, error::RedisError, reply};
use crate::domain::{
    names::NodeAddress,
    sample::{FailoverState, Version},
};

/// How long an acting command may take. All of them answer at once: FAILOVER works in the background.
const ACT_DEADLINE: Duration = Duration::from_secs(3);

/// The first version that has `ACL DRYRUN`.
const DRYRUN_SINCE: Version = Version { major: 7, minor: 0, patch: 0 };

/// The commands that acting may need, in the words of ACL rules, each with arguments that it would take.
const ACTING: &[(&str, &[&str])] = &[
    ("failover", &["FAILOVER"]),
    ("replicaof", &["REPLICAOF", "localhost", "1"]),
    ("config|set", &["CONFIG", "SET", "maxmemory", "1"]),
    ("bgsave", &["BGSAVE"]),
    ("bgrewriteaof", &["BGREWRITEAOF"]),
];

impl Connection {
    /// `FAILOVER TO host port TIMEOUT ms`: hands the primary role over. The address must be that of the primary's
    /// own `slaveN` line. The timeout bounds only the wait for the replica to catch up; never FORCE, which would give
    /// acknowledged writes up.
    pub async fn failover_to(&mut self, target: &NodeAddress, timeout: Duration) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1);
        pipeline.cmd("FAILOVER").arg("TO").arg(&target.host).arg(target.port).arg("TIMEOUT").arg(milliseconds);
        self.act(&pipeline, "FAILOVER").await
    }

    /// `FAILOVER ABORT`. In the state `failover-in-progress` it can leave two primaries: read the target's role first.
    pub async fn failover_abort(&mut self) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("FAILOVER").arg("ABORT");
        self.act(&pipeline, "FAILOVER ABORT").await
    }

    /// `REPLICAOF host port`.
    pub async fn replicaof(&mut self, primary: &NodeAddress) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("REPLICAOF").arg(&primary.host).arg(primary.port);
        self.act(&pipeline, "REPLICAOF").await
    }

    /// `CONFIG SET name value`.
    pub async fn config_set(&mut self, name: &str, value: &str) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("CONFIG").arg("SET").arg(name).arg(value);
        self.act(&pipeline, "CONFIG SET").await
    }

    async fn act(&mut self, pipeline: &Pipeline, what: &str) -> Result<(), RedisError> {
        reply::ok(self.request(pipeline, what, ACT_DEADLINE).await?.into_iter().next())
    }

    /// The commands of a remediation that this user may not run, in the words of ACL rules: `failover`, `replicaof`,
    /// `config|set`. From 7.0 on the server is asked by `ACL WHOAMI` and `ACL DRYRUN`, and `acl|whoami` or
    /// `acl|dryrun` is in the list when that is itself forbidden. Before, only `failover` can be tried out without an effect, by an ABORT when none runs.
    pub async fn acting_rights(&mut self, deadline: Duration) -> Result<Vec<String>, RedisError> {
        if self.version() < DRYRUN_SINCE {
            return self.rights_by_abort(deadline).await;
        }
        let mut pipeline = redis::pipe();
        pipeline.cmd("ACL").arg("WHOAMI");
        let user = match self.request(&pipeline, "ACL WHOAMI", deadline).await?.into_iter().next() {
            Some(Value::ServerError(error)) if is_forbidden(&error) => {
                return self.rights_without_dryrun("acl|whoami", deadline).await;
            }
            reply => reply::text(reply)?,
        };
        let mut pipeline = redis::pipe();
        for (_, command) in ACTING {
            pipeline.cmd("ACL").arg("DRYRUN").arg(&user).arg(*command);
        }
        let replies = self.request(&pipeline, "ACL DRYRUN", deadline).await?;
        let mut missing = Vec::new();
        for (name, reply) in ACTING.iter().map(|(name, _)| *name).zip(replies) {
            match reply {
                Value::Okay => {}
                Value::ServerError(error) if is_forbidden(&error) => {
                    return self.rights_without_dryrun("acl|dryrun", deadline).await;
                }
                // A server without the command lacks the right as well.
                Value::BulkString(_) | Value::SimpleString(_) | Value::ServerError(_) => missing.push(name.to_owned()),
                reply => reply::ok(Some(reply))?,
            }
        }
        Ok(missing)
    }

    /// The question itself is forbidden: that is a missing right too.
    async fn rights_without_dryrun(&mut self, forbidden: &str, deadline: Duration) -> Result<Vec<String>, RedisError> {
        let mut missing = self.rights_by_abort(deadline).await?;
        missing.push(forbidden.to_owned());
        Ok(missing)
    }

    /// Tries `FAILOVER ABORT`, which has no effect while no failover runs: it is read first that none does.
    async fn rights_by_abort(&mut self, deadline: Duration) -> Result<Vec<String>, RedisError> {
        if self.replication(deadline).await?.failover_state != FailoverState::None {
            return Err(RedisError::Refused {
                code: "BUSY".to_owned(),
                message: "a failover is in progress: rights cannot be tried out now".to_owned(),
            });
        }
        let mut pipeline = redis::pipe();
        pipeline.cmd("FAILOVER").arg("ABORT");
        match self.request(&pipeline, "FAILOVER ABORT", deadline).await?.into_iter().next() {
            Some(Value::ServerError(error)) if error.details().is_some_and(|text| text.contains("No failover")) => {
                Ok(Vec::new())
            }
            Some(Value::ServerError(_)) => Ok(vec!["failover".to_owned()]),
            reply => reply::ok(reply).map(|()| Vec::new()),
        }
    }
}

fn is_forbidden(error: &redis::ServerError) -> bool {
    error.code() == "NOPERM"
}
