//! The lines that `acl` prints, given to real servers of every version: what is granted is enough to look and to act,
//! none of it is there for nothing, and everything else is refused.
#![cfg(test)]

mod common;

use std::process::Command as Process;

use common::{DEADLINE, eventually, look, server::RedisServer, versions};
use pretty_assertions::assert_eq;
use redis_memory_operator::{
    domain::{
        acl::{ASKING, COMPARING, OBSERVING},
        sample::Role,
    },
    redis_io::{Connection, Credentials},
};

const PASSWORD: &str = "of-the-test";
const WHAT_NOBODY_MAY: &[&[&str]] = &[
    &["GET", "key"],
    &["SET", "key", "value"],
    &["DEL", "key"],
    &["SCAN", "0"],
    &["KEYS", "*"],
    &["FLUSHALL"],
    &["FLUSHDB"],
    &["SHUTDOWN", "NOSAVE"],
    &["EVAL", "return 1", "0"],
    &["MONITOR"],
    &["SUBSCRIBE", "channel"],
    &["PUBLISH", "channel", "message"],
    &["ACL", "SETUSER", "other", "on", "nopass", "+@all"],
    &["ACL", "GETUSER", "default"],
    &["MODULE", "LIST"],
    &["CLUSTER", "RESET"],
];
const WHAT_AN_OBSERVER_MAY_NOT: &[&[&str]] = &[
    &["CONFIG", "SET", "maxmemory", "1"],
    &["CONFIG", "REWRITE"],
    &["FAILOVER", "ABORT"],
    &["REPLICAOF", "NO", "ONE"],
    &["CLIENT", "PAUSE", "1"],
    &["ACL", "LIST"],
    &["CLIENT", "KILL", "TYPE", "normal"],
];

/// The words of a printed line, with the password of the test.
fn line(role: &str, server_version: &str) -> Vec<String> {
    let printed = Process::new(env!("CARGO_BIN_EXE_redis-memory-operator"))
        .args(["acl", "--role", role, "--server-version", server_version])
        .output()
        .expect("the operator can be run");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let text = String::from_utf8(printed.stdout).unwrap();
    let words = text.trim_end().split(' ').map(|word| word.replace("PASSWORD", PASSWORD));
    words.collect()
}

/// Runs the line without one of its rules.
fn set_user(server: &RedisServer, line: &[String], without: &str) {
    let words: Vec<&str> = line.iter().map(String::as_str).filter(|word| *word != without).collect();
    assert_eq!(server.run(&words), "OK", "{words:?}");
}

async fn log_in(server: &RedisServer, user: &str) -> Connection {
    let credentials = Credentials::new(Some(user.into()), PASSWORD.into());
    Connection::open(server.address(), Some(&credentials), DEADLINE).await.expect("the user may log in")
}

/// What `redis-cli` is told as that user.
fn as_user(server: &RedisServer, user: &str, command: &[&str]) -> String {
    let mut words = vec!["--user", user, "--pass", PASSWORD, "--no-auth-warning"];
    words.extend(command);
    server.run(&words)
}

/// `6.2` for servers without ACL DRYRUN.
async fn version_flag(server: &RedisServer) -> &'static str {
    if common::connect(server).await.version().major < 7 { "6.2" } else { "7.0" }
}

#[tokio::test]
async fn the_observer_sees_everything_and_may_nothing_else() {
    for (name, program) in versions::servers() {
        let server = RedisServer::start_program(program, &[]);
        set_user(&server, &line("observe", version_flag(&server).await), "");
        let mut connection = log_in(&server, "memory-observe").await;
        let sample = look(&mut connection).await.expect(name);
        sample.config.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(sample.sentinel_seen, Some(false), "{name}");
        assert_eq!(server.run(&["ACL", "LOG"]), "", "{name}: something was sent that is not granted");
        for command in WHAT_NOBODY_MAY.iter().chain(WHAT_AN_OBSERVER_MAY_NOT) {
            let answer = as_user(&server, "memory-observe", command);
            assert!(answer.contains("NOPERM"), "{name}: {command:?} gave {answer}");
        }
        let missing = connection.acting_rights(DEADLINE).await.expect("the question is answered");
        assert!(missing.contains(&"failover".to_owned()), "{name}: {missing:?}");
        assert_eq!(server.run(&["CONFIG", "GET", "maxmemory"]), "maxmemory\n0", "{name}: asking has no effect");
    }
}

#[tokio::test]
async fn the_actor_may_act_and_nothing_else() {
    for (name, program) in versions::servers() {
        let primary = RedisServer::start_program(program, &[]);
        let replica = RedisServer::start_program(program, &[]);
        replica.follow(&primary).await;
        for server in [&primary, &replica] {
            set_user(server, &line("act", version_flag(server).await), "");
            assert_eq!(server.run(&["ACL", "LOG", "RESET"]), "OK");
        }
        let mut connection = log_in(&primary, "memory-operator").await;
        let none: Vec<String> = Vec::new();
        assert_eq!(connection.acting_rights(DEADLINE).await.expect(name), none, "{name}");
        assert!(connection.users(DEADLINE).await.is_some(), "{name}: its users may be compared");
        look(&mut connection).await.expect(name).config.expect("the configuration may be read");
        connection.config_set("maxmemory", "123456789").await.expect(name);
        connection.failover_to(&replica.node(), DEADLINE).await.expect(name);
        eventually("the roles are exchanged", async || {
            let roles = (primary.replication().await.role, replica.replication().await.role);
            matches!(roles, (Role::Replica(_), Role::Primary)).then_some(())
        })
        .await;
        log_in(&replica, "memory-operator").await.replicaof(&primary.node()).await.expect(name);
        for server in [&primary, &replica] {
            assert_eq!(server.run(&["ACL", "LOG"]), "", "{name}: something was sent that is not granted");
            for command in WHAT_NOBODY_MAY {
                let answer = as_user(server, "memory-operator", command);
                assert!(answer.contains("NOPERM"), "{name}: {command:?} gave {answer}");
            }
        }
    }
}

#[tokio::test]
async fn no_right_is_there_for_nothing() {
    for (name, program) in versions::servers() {
        let server = RedisServer::start_program(program, &[]);
        let line = line("act", version_flag(&server).await);
        for right in line.iter().filter(|rule| rule.starts_with('+')) {
            set_user(&server, &line, right);
            server.run(&["ACL", "LOG", "RESET"]);
            let user = "memory-operator";
            let credentials = Credentials::new(Some(user.into()), PASSWORD.into());
            let opened = Connection::open(server.address(), Some(&credentials), DEADLINE).await;
            let right = right.trim_start_matches('+');
            if right == "info" {
                opened.expect_err("nothing is seen without INFO");
                continue;
            }
            let mut connection = opened.expect("the user may log in");
            if OBSERVING.contains(&right) {
                let _sample = look(&mut connection).await;
                if right == "pubsub|numsub" {
                    // Asked only where the list of clients is long.
                    assert!(as_user(&server, user, &["PUBSUB", "NUMSUB", "c"]).contains("NOPERM"));
                }
                assert!(!server.run(&["ACL", "LOG"]).is_empty(), "{name}: {right} is not used");
                continue;
            }
            if COMPARING.contains(&right) {
                assert_eq!(connection.users(DEADLINE).await, None, "{name}: {right} is not used");
                // From 7.0 on it is asked before, so that a refusal is no entry in the server's log.
                let logged = !server.run(&["ACL", "LOG"]).is_empty();
                assert_eq!(logged, version_flag(&server).await == "6.2", "{name}");
                continue;
            }
            let missing = connection.acting_rights(DEADLINE).await.expect("the question is answered");
            if right == "bgrewriteaof" && version_flag(&server).await == "6.2" {
                // Nothing asks for it there without a rewrite.
                assert!(as_user(&server, user, &["BGREWRITEAOF"]).contains("NOPERM"), "{name}");
                continue;
            }
            assert!(missing.iter().any(|it| it == right), "{name}: without {right}: {missing:?}");
            assert!(!ASKING.contains(&right) || version_flag(&server).await == "7.0", "{name}: {right}");
        }
    }
}
