//! The commands that make a server write its data out, and what it says of that and of its memory.

use std::time::Duration;

use redis::Value;

use super::{connection::Connection, error::RedisError, info::Info, reply};
use crate::domain::{
    acl::PlainCommand,
    sample::{Memory, Persistence},
};

/// The commands that write data out answer as soon as the child is forked, or the work is put off until another child has ended.
const ACT_DEADLINE: Duration = Duration::from_secs(10);

impl Connection {
    /// A command without arguments. `BGREWRITEAOF` is begun, or put off until the child that runs now has ended
    /// (`aof_rewrite_scheduled`).
    pub async fn run(&mut self, command: PlainCommand) -> Result<(), RedisError> {
        let mut words = redis::Cmd::new();
        words.arg(command.sent());
        let mut pipeline = redis::pipe();
        pipeline.add_command(words);
        // The answer may be a sentence: "Background saving started".
        match self.request(&pipeline, command.words().name, ACT_DEADLINE).await?.into_iter().next() {
            Some(Value::SimpleString(_)) => Ok(()),
            other => reply::ok(other),
        }
    }

    /// `INFO persistence` alone.
    pub async fn persistence(&mut self, deadline: Duration) -> Result<Persistence, RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("INFO").arg("persistence");
        let text = reply::text(self.request(&pipeline, "INFO persistence", deadline).await?.into_iter().next())?;
        Ok(Info::parse(&text).persistence())
    }

    /// `INFO memory` alone.
    pub async fn memory(&mut self, deadline: Duration) -> Result<Memory, RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("INFO").arg("memory");
        let text = reply::text(self.request(&pipeline, "INFO memory", deadline).await?.into_iter().next())?;
        Ok(Info::parse(&text).memory(None))
    }
}
