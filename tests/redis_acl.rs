//! The ACL users of SECURITY.md, given to a real server: what is written there is enough, and no more than enough.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

mod common;

use common::{DEADLINE, look, server::RedisServer};
use redis_memory_operator::redis_io::{Connection, Credentials};

/// The rules of a user, as SECURITY.md has them.
fn rules(user: &str) -> Vec<&'static str> {
    let page = include_str!("../SECURITY.md");
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("user {user} ")));
    line.expect("SECURITY.md has the user").split(' ').collect()
}

async fn log_in(server: &RedisServer, user: &str, without: &str) -> Connection {
    let mut command = vec!["ACL", "SETUSER", user];
    command.extend(rules(user).into_iter().filter(|rule| *rule != without));
    assert_eq!(server.run(&command), "OK");
    let credentials = Credentials::new(Some(user.into()), "PASSWORD".into());
    Connection::open(server.address(), Some(&credentials), DEADLINE).await.expect("the user may log in")
}

#[tokio::test]
async fn the_observer_sees_everything_and_may_not_act() {
    let server = RedisServer::start(&[]);
    let mut connection = log_in(&server, "memory-observe", "").await;
    let sample = look(&mut connection).await.expect("a sample");
    sample.config.expect("the configuration may be read");
    assert_eq!(sample.sentinel_seen, Some(false));
    let missing = connection.acting_rights(DEADLINE).await.expect("the question is answered");
    assert!(missing.contains(&"failover".to_owned()), "{missing:?}");
}

#[tokio::test]
async fn the_operator_may_act() {
    let server = RedisServer::start(&[]);
    let mut connection = log_in(&server, "memory-operator", "").await;
    let sample = look(&mut connection).await.expect("a sample");
    sample.config.expect("the configuration may be read");
    assert_eq!(sample.sentinel_seen, Some(false));
    let missing = connection.acting_rights(DEADLINE).await.expect("the question is answered");
    assert_eq!(Vec::<String>::new(), missing);
}

#[tokio::test]
async fn no_acting_right_is_there_for_nothing() {
    for right in rules("memory-operator").into_iter().filter(|rule| rule.starts_with('+')) {
        if rules("memory-observe").contains(&right) {
            continue;
        }
        let server = RedisServer::start(&[]);
        let mut connection = log_in(&server, "memory-operator", right).await;
        let missing = connection.acting_rights(DEADLINE).await.expect("the question is answered");
        assert!(!missing.is_empty(), "nothing is missing without {right}");
    }
}
