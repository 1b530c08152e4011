//! The commands that make a server write its data out, and what it says of that.

use std::time::Duration;

use redis::{Pipeline, Value};

use super::{connection::Connection, error::RedisError, info::Info, reply};
use crate::domain::sample::Persistence;

/// Both commands answer as soon as the child is forked, or the work is put off until another child has ended.
const ACT_DEADLINE: Duration = Duration::from_secs(10);

impl Connection {
    /// `BGREWRITEAOF`: begun, or put off until the child that runs now has ended (`aof_rewrite_scheduled`).
    pub async fn rewrite_aof(&mut self) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("BGREWRITEAOF");
        self.begin_writing(&pipeline, "BGREWRITEAOF").await
    }

    /// `BGSAVE`.
    pub async fn save(&mut self) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("BGSAVE");
        self.begin_writing(&pipeline, "BGSAVE").await
    }

    async fn begin_writing(&mut self, pipeline: &Pipeline, what: &str) -> Result<(), RedisError> {
        // The answer is a sentence: "Background saving started".
        match self.request(pipeline, what, ACT_DEADLINE).await?.into_iter().next() {
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
}
