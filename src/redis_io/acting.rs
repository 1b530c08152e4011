//! The commands that change a server, and the question whether this user may run them.
//!
//! None of them is sent twice: after [`RedisError::TimedOut`] the effect is unknown, and the caller reads it back.

use std::time::Duration;

use redis::{Pipeline, Value};

use super::{connection::Connection, error::RedisError, reply};
use crate::domain::{
    acl::{self, Command, DRYRUN_SINCE},
    names::NodeAddress,
    sample::FailoverState,
    switchover::SwitchoverMethod,
};

/// How long an acting command may take. All of them answer at once: FAILOVER works in the background.
const ACT_DEADLINE: Duration = Duration::from_secs(3);

/// The same where writers wait for the answer.
const QUICK_DEADLINE: Duration = Duration::from_secs(1);

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
        self.act_within(&pipeline, "REPLICAOF", QUICK_DEADLINE).await
    }

    /// `REPLICAOF NO ONE`: makes it a primary. On a primary it changes nothing.
    pub async fn promote(&mut self) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("REPLICAOF").arg("NO").arg("ONE");
        self.act_within(&pipeline, "REPLICAOF NO ONE", QUICK_DEADLINE).await
    }

    /// `CLIENT PAUSE ms WRITE`: holds back every command that may write, expiry and eviction, for at most that time.
    /// The server ends it by itself. A longer pause of somebody else is not shortened.
    pub async fn client_pause_writes(&mut self, life: Duration) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        let milliseconds = u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1);
        pipeline.cmd("CLIENT").arg("PAUSE").arg(milliseconds).arg("WRITE");
        self.act_within(&pipeline, "CLIENT PAUSE", QUICK_DEADLINE).await
    }

    /// `CLIENT UNPAUSE`: clients that were held back go on at once. Never while a FAILOVER runs: on 6.2 it would end that
    /// one's pause too.
    pub async fn client_unpause(&mut self) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("CLIENT").arg("UNPAUSE");
        self.act_within(&pipeline, "CLIENT UNPAUSE", QUICK_DEADLINE).await
    }

    /// `CONFIG SET name value`.
    pub async fn config_set(&mut self, name: &str, value: &str) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("CONFIG").arg("SET").arg(name).arg(value);
        self.act(&pipeline, "CONFIG SET").await
    }

    /// `CONFIG REWRITE`: the settings as they are now replace those of the file that the server was started with. `false`:
    /// it has none, or none that it can write, so that nothing of before is in it either.
    pub async fn config_rewrite(&mut self) -> Result<bool, RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("CONFIG").arg("REWRITE");
        match self.act(&pipeline, "CONFIG REWRITE").await {
            Ok(()) => Ok(true),
            Err(RedisError::Refused { code, .. }) if code == "ERR" => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn act(&mut self, pipeline: &Pipeline, what: &str) -> Result<(), RedisError> {
        self.act_within(pipeline, what, ACT_DEADLINE).await
    }

    async fn act_within(&mut self, pipeline: &Pipeline, what: &str, deadline: Duration) -> Result<(), RedisError> {
        reply::ok(self.request(pipeline, what, deadline).await?.into_iter().next())
    }

    /// The commands of a remediation ([`acl::acting`]) that this user may not run, in the words of ACL rules. From 7.0 on
    /// the server is asked by `ACL WHOAMI` and `ACL DRYRUN`, and `acl|whoami` or `acl|dryrun` is in the list when that is
    /// itself forbidden. Before, each command is tried out in a form that has no effect.
    pub async fn acting_rights(&mut self, deadline: Duration) -> Result<Vec<String>, RedisError> {
        if self.version() < DRYRUN_SINCE {
            return self.rights_by_trying(acl::acting(&SwitchoverMethod::ALL), deadline).await;
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
        let commands = acl::acting(&SwitchoverMethod::ALL);
        for command in &commands {
            pipeline.cmd("ACL").arg("DRYRUN").arg(&user).arg(command.trial());
        }
        let replies = self.request(&pipeline, "ACL DRYRUN", deadline).await?;
        let mut missing = Vec::new();
        for (name, reply) in commands.into_iter().map(Command::rule).zip(replies) {
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

    /// The question itself is forbidden: that is a missing right too. From 7.0 on the number of arguments is looked at before
    /// rights, so that only some of the others can be tried out.
    async fn rights_without_dryrun(&mut self, forbidden: &str, deadline: Duration) -> Result<Vec<String>, RedisError> {
        let mut missing = self.rights_by_trying(vec![Command::Failover, Command::ReplicaOf], deadline).await?;
        missing.push(forbidden.to_owned());
        Ok(missing)
    }

    /// Tries each that has a form without effect; a step meets a missing right to the others itself. `FAILOVER ABORT` has
    /// no effect while no failover runs: it is read first that none does.
    async fn rights_by_trying(
        &mut self,
        commands: Vec<Command>,
        deadline: Duration,
    ) -> Result<Vec<String>, RedisError> {
        if self.replication(deadline).await?.failover_state != FailoverState::None {
            return Err(RedisError::Refused {
                code: "BUSY".to_owned(),
                message: "a failover is in progress: rights cannot be tried out now".to_owned(),
            });
        }
        let mut pipeline = redis::pipe();
        let mut tried = Vec::new();
        for command in commands {
            let Some(harmless) = command.harmless() else { continue };
            let mut trial = redis::Cmd::new();
            trial.arg(harmless);
            pipeline.add_command(trial);
            tried.push(command);
        }
        let replies = self.request(&pipeline, "FAILOVER ABORT", deadline).await?;
        let mut missing = Vec::new();
        for (command, reply) in tried.into_iter().zip(replies) {
            match reply {
                // What a call without an effect gets from a server that would allow it.
                Value::ServerError(error) if !is_forbidden(&error) && !is_unknown(&error) => {}
                Value::ServerError(_) => missing.push(command.rule().to_owned()),
                reply => reply::ok(Some(reply))?,
            }
        }
        Ok(missing)
    }
}

/// A server without the command lacks the right as well. Of a subcommand it says something else.
fn is_unknown(error: &redis::ServerError) -> bool {
    error.details().is_some_and(|text| text.starts_with("unknown command"))
}

fn is_forbidden(error: &redis::ServerError) -> bool {
    error.code() == "NOPERM"
}
