//! The acting commands on real redis-server processes, of whichever version comes first in PATH.
#![cfg(test)]

mod common;

use std::time::Duration;

use common::{
    DEADLINE, connect, eventually,
    server::RedisServer,
    writer::{Writer, lost},
};
use pretty_assertions::assert_eq;
use redis_memory_operator::{
    clock::Clock,
    domain::sample::{FailoverState, ReplicaLine, Role, Version},
    redis_io::{Connection, Credentials, RedisError},
};

const FAILOVER_TIMEOUT: Duration = Duration::from_secs(3);
/// The first version with ACL DRYRUN.
const SEVEN: Version = Version { major: 7, minor: 0, patch: 0 };

fn line_of(lines: &[ReplicaLine], server: &RedisServer) -> ReplicaLine {
    lines.iter().find(|line| line.address.port == server.address().port()).expect("it is a replica").clone()
}

async fn acting_writer(servers: &[&RedisServer], at_least: u64) -> Writer {
    let writer = Writer::start(servers.iter().map(|server| server.address()).collect());
    eventually("the writer is at work", async || (writer.so_far().count >= at_least).then_some(())).await;
    writer
}

#[tokio::test(flavor = "multi_thread")]
async fn failover_moves_the_role_and_loses_no_acknowledged_write() {
    let (primary, replica, other) = (RedisServer::start(&[]), RedisServer::start(&[]), RedisServer::start(&[]));
    replica.follow(&primary).await;
    other.follow(&primary).await;
    let writer = acting_writer(&[&primary, &replica], 500).await;

    let mut old = connect(&primary).await;
    let mut new = connect(&replica).await;
    let target = line_of(&old.replication(DEADLINE).await.expect("it answers").replicas, &replica).address;
    old.failover_to(&target, FAILOVER_TIMEOUT).await.expect("FAILOVER is accepted");
    eventually("the roles are exchanged", async || {
        let (from, to) = (old.replication(DEADLINE).await.ok()?, new.replication(DEADLINE).await.ok()?);
        (matches!(from.role, Role::Replica(_)) && to.role == Role::Primary).then_some(())
    })
    .await;
    // The old primary drops its replicas; they are pointed at the new one.
    connect(&other).await.replicaof(&replica.node()).await.expect("REPLICAOF is accepted");
    eventually("the third follows the new primary", async || {
        let lines = new.replication(DEADLINE).await.ok()?.replicas;
        lines.iter().any(|line| line.address == other.node() && line.online).then_some(())
    })
    .await;

    let before = writer.so_far().count;
    eventually("writing goes on", async || (writer.so_far().count >= before + 500).then_some(())).await;
    let acknowledged = writer.stop().await;
    assert_eq!(lost(replica.address(), acknowledged.count).await, 0);
    assert!(acknowledged.gap < FAILOVER_TIMEOUT, "{acknowledged:?}");
    assert_eq!(new.replication(DEADLINE).await.expect("it answers").failover_state, FailoverState::None);
}

/// As after a crash between the command and the note of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_follows_already_is_told_again() {
    let (primary, replica) = (RedisServer::start(&[]), RedisServer::start(&[]));
    replica.follow(&primary).await;
    assert_eq!(connect(&replica).await.replicaof(&primary.node()).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_sees_writes_that_are_lost() {
    let (mut primary, replica) = (RedisServer::start(&[]), RedisServer::start(&[]));
    replica.follow(&primary).await;
    let writer = acting_writer(&[&primary], 500).await;
    eventually("the replica has some of it", async || (replica.run(&["EXISTS", "w:100"]) == "1").then_some(())).await;
    // A careless promotion: the old primary goes on taking writes that the new one never sees, and then dies.
    assert_eq!(replica.run(&["REPLICAOF", "NO", "ONE"]), "OK");
    let before = writer.so_far().count;
    eventually("writing goes on", async || (writer.so_far().count >= before + 100).then_some(())).await;
    let acknowledged = writer.stop().await;
    primary.crash();
    let lost = lost(replica.address(), acknowledged.count).await;
    assert!((99..acknowledged.count).contains(&lost), "{lost} of {acknowledged:?}");
}

#[tokio::test]
async fn a_failover_that_cannot_finish_is_seen_and_aborted() {
    let (primary, replica) = (RedisServer::start(&[]), RedisServer::start(&[]));
    replica.follow(&primary).await;
    let mut connection = connect(&primary).await;
    let error = connection.failover_abort().await.expect_err("there is nothing to abort");
    assert!(matches!(&error, RedisError::Refused { message, .. } if message.contains("No failover")), "{error:?}");

    replica.freeze();
    primary.run(&["SET", "k", "v"]);
    connection.failover_to(&replica.node(), Duration::from_secs(60)).await.expect("FAILOVER is accepted");
    let state = connection.replication(DEADLINE).await.expect("it answers").failover_state;
    assert_eq!(state, FailoverState::WaitingForSync);
    let rights = connection.acting_rights(DEADLINE).await;
    if connection.version() < SEVEN {
        assert!(rights.is_err(), "an ABORT would not be harmless now: {rights:?}");
    } else {
        assert_eq!(rights.expect("DRYRUN tells"), Vec::<String>::new());
    }
    let state = connection.replication(DEADLINE).await.expect("it answers").failover_state;
    assert_eq!(state, FailoverState::WaitingForSync, "asking for rights changed nothing");
    connection.failover_abort().await.expect("it can be aborted");
    let replication = connection.replication(DEADLINE).await.expect("it answers");
    assert_eq!((replication.failover_state, replication.role), (FailoverState::None, Role::Primary));
    assert_eq!(primary.run(&["SET", "k", "w"]), "OK", "writes are let through again");
}

#[tokio::test]
async fn a_failover_past_its_point_of_no_timeout_is_seen() {
    let (primary, replica) = (RedisServer::start(&[]), RedisServer::start(&[]));
    replica.follow(&primary).await;
    // Caught up, and then frozen: the target never answers the primary's PSYNC FAILOVER.
    eventually("the replica has acknowledged everything", async || {
        let replication = primary.replication().await;
        (line_of(&replication.replicas, &replica).offset == replication.offset).then_some(())
    })
    .await;
    replica.freeze();
    let mut connection = connect(&primary).await;
    connection.failover_to(&replica.node(), Duration::from_millis(500)).await.expect("FAILOVER is accepted");
    // Depending on when the last acknowledgement came, it waits for the sync first and gives up by itself.
    let state = eventually("it is in progress, or gave up", async || {
        let replication = connection.replication(DEADLINE).await.ok()?;
        (replication.failover_state != FailoverState::WaitingForSync).then_some(replication)
    })
    .await;
    if state.failover_state == FailoverState::InProgress {
        assert!(matches!(state.role, Role::Replica(_)), "the old primary takes no writes meanwhile");
        connection.failover_abort().await.expect("the target is still a replica: it can be aborted");
    }
    assert_eq!(connection.replication(DEADLINE).await.expect("it answers").role, Role::Primary);
}

#[tokio::test]
async fn refusals_say_what_redis_said_in_words_of_ours() {
    let (primary, stranger) = (RedisServer::start(&[]), RedisServer::start(&[]));
    let mut connection = connect(&primary).await;
    let error = connection.failover_to(&stranger.node(), FAILOVER_TIMEOUT).await.expect_err("it has no replicas");
    assert!(error.to_string().contains("replica"), "{error}");
    let error = connection.config_set("no-such-setting", "1").await.expect_err("there is no such setting");
    assert!(error.to_string().starts_with("ERR: ") && !error.to_string().contains("no-such-setting"), "{error}");
    // A refusal leaves the connection in step.
    connection.config_set("maxmemory", "123456789").await.expect("CONFIG SET is accepted");
    assert_eq!(primary.run(&["CONFIG", "GET", "maxmemory"]), "maxmemory\n123456789");
}

#[tokio::test]
async fn rights_are_known_before_anything_is_tried() {
    let server = RedisServer::start(&[]);
    let rights = async |rules: &str| {
        let mut command = vec!["ACL", "SETUSER", "actor", "reset", "on", ">pw", "+info"];
        command.extend(rules.split_whitespace());
        assert_eq!(server.run(&command), "OK");
        let credentials = Credentials::new(Some("actor".into()), "pw".into());
        let mut connection = Connection::open(server.address(), Some(&credentials), DEADLINE).await.expect("a way in");
        connection.acting_rights(DEADLINE).await.expect("the question is answered")
    };
    let none: [&str; 0] = [];
    let all = [
        "failover",
        "replicaof",
        "config|set",
        "config|rewrite",
        "client|pause",
        "client|unpause",
        "client|kill",
        "bgsave",
        "bgrewriteaof",
    ];
    let granted = "+failover +replicaof +config|set +config|rewrite +client|pause +client|unpause +client|kill +bgsave +bgrewriteaof";
    if connect(&server).await.version() < SEVEN {
        assert_eq!(rights(granted).await, none);
        // BGREWRITEAOF takes no argument that would make a trial of it harmless.
        assert_eq!(rights("+failover").await, all[1..8]);
        let missing = ["failover", "config|set", "config|rewrite", "client|pause", "client|kill", "bgsave"];
        assert_eq!(rights("+replicaof +client|unpause").await, missing);
        assert_eq!(rights("").await, all[..8]);
        assert_eq!(server.run(&["CONFIG", "GET", "maxmemory"]), "maxmemory\n0", "nothing was tried in earnest");
        return;
    }
    assert_eq!(rights(&format!("{granted} +acl|dryrun +acl|whoami")).await, none);
    assert_eq!(rights("+@all -failover").await, ["failover"]);
    assert_eq!(rights("+@all -client|pause").await, ["client|pause"]);
    assert_eq!(rights("+acl|dryrun +acl|whoami").await, all);
    // Without the question being allowed, only what looks at rights before arguments can be tried out.
    assert_eq!(rights(&format!("{granted} +acl|whoami")).await, ["acl|dryrun"]);
    assert_eq!(rights("").await, ["failover", "replicaof", "acl|whoami"]);
}

#[tokio::test]
async fn users_are_compared_without_being_kept() {
    let (one, other) = (RedisServer::start(&[]), RedisServer::start(&[]));
    let of = async |server: &RedisServer| connect(server).await.users(DEADLINE).await.expect("they may be read");
    assert_eq!(of(&one).await, of(&other).await);
    let user = ["ACL", "SETUSER", "app", "on", ">first", ">second", "~*", "+get"];
    let turned = ["ACL", "SETUSER", "app", "on", ">second", ">first", "~*", "+get"];
    assert_eq!((one.run(&user), other.run(&turned)), ("OK".into(), "OK".into()));
    assert_eq!(of(&one).await, of(&other).await, "the order of passwords says nothing");
    assert_eq!(other.run(&["ACL", "SETUSER", "app", "<first"]), "OK");
    assert_ne!(of(&one).await, of(&other).await);
    assert!(
        !of(&one).await.contains("a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e"),
        "sha256 of first"
    );
}

#[tokio::test]
async fn an_acting_command_to_a_frozen_server_ends() {
    let server = RedisServer::start(&[]);
    let mut connection = connect(&server).await;
    server.freeze();
    let clock = Clock::start();
    let error = connection.config_set("maxmemory", "1").await.expect_err("nobody answers");
    assert!(matches!(error, RedisError::TimedOut(_)), "{error:?}");
    assert!(clock.uptime() < Duration::from_secs(5), "{:?}", clock.uptime());
}
