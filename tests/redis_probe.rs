//! Probes of real redis-server processes. They hold on every version from 6.2 on: whichever `redis-server` comes first
//! in PATH is run.
#![cfg(test)]

mod common;

use std::time::Duration;

use common::{DEADLINE, connect, eventually, look, pod, server::RedisServer, versions};
use pretty_assertions::assert_eq;
use redis_memory_operator::{
    clock::Clock,
    domain::{
        bytes::{Bytes, GIB, MIB},
        lookups::Lookups,
        sample::{Engine, Role, Sample, Server},
        serving::CARRIED,
        snapshot::ProbeFailure,
    },
    redis_io::{Connection, Credentials, RedisError, probe},
};

async fn look_at(server: &RedisServer) -> Sample {
    look(&mut connect(server).await).await.expect("a sample")
}

#[tokio::test]
async fn sees_a_primary_and_its_replica() {
    let primary = RedisServer::start(&["--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru"]);
    let replica = RedisServer::start(&["--appendonly", "yes", "--maxmemory", "512mb"]);
    replica.follow(&primary).await;
    primary.run(&["MSET", "a", "1", "b", "2"]);
    primary.run(&["EXPIRE", "a", "1000"]);
    primary.run(&["MGET", "a", "c", "d"]);

    let sample = look_at(&primary).await;
    assert_eq!(sample.pod_uid, pod());
    assert!(matches!(sample.server.engine, Engine::Redis | Engine::Valkey), "{:?}", sample.server.engine);
    assert!((6..20).contains(&sample.server.version.major), "{}", sample.server.version);
    assert_eq!(sample.memory.maxmemory, Bytes(GIB));
    assert!(sample.memory.used > Bytes(MIB / 2) && sample.memory.rss > sample.memory.used);
    assert_eq!(sample.replication.role, Role::Primary);
    assert_eq!(sample.replication.replicas.len(), 1);
    assert_eq!(sample.replication.replicas[0].address, replica.node());
    assert_eq!((sample.keys, sample.keys_with_ttl), (2, 1));
    assert_eq!(sample.lookups, Some(Lookups { hits: 1, misses: 2, evicted: 0 }));
    assert_eq!(sample.sentinel_seen, Some(false));
    let config = sample.config.expect("CONFIG may be read");
    assert_eq!(config.maxmemory, Bytes(GIB));
    assert_eq!(config.maxmemory_policy, "allkeys-lru");
    assert_eq!(config.replica_output_limit, Bytes(256 * MIB));
    let shutdown_timeout = if sample.server.version.major < 7 { 0 } else { 10 };
    assert_eq!(config.shutdown_timeout, Duration::from_secs(shutdown_timeout));
    assert_eq!((config.save.as_str(), config.appendonly, config.primary_auth), ("", false, None));
    let serving = config.serving;
    assert_eq!((serving.ignores_maxmemory, serving.append_fsync.as_deref()), (Some(true), Some("everysec")));
    assert_eq!((serving.client_auth.as_deref(), serving.max_clients.is_some()), (Some(""), true));
    assert_eq!((serving.databases, serving.port), (Some(16), Some(u64::from(primary.node().port))));
    assert_eq!((serving.tls_port.unwrap_or(0), serving.replica_priority), (0, Some(100)));
    assert_eq!(serving.carried.len(), CARRIED.len(), "{:?}", serving.carried);

    let sample = look_at(&replica).await;
    let Role::Replica(link) = sample.replication.role else { panic!("not a replica") };
    assert_eq!(link.primary, primary.node());
    assert!(link.link_up && link.read_only && !link.sync_in_progress);
    assert!(sample.persistence.aof_enabled);
    assert!(sample.config.expect("CONFIG may be read").appendonly);
}

#[tokio::test]
async fn one_connection_serves_many_probes() {
    let server = RedisServer::start(&[]);
    let mut connection = connect(&server).await;
    let clock = Clock::start();
    let first = look(&mut connection).await.expect("a sample");
    for _ in 0..20 {
        let next = probe(&mut connection, &pod(), &clock, DEADLINE).await.expect("a sample");
        assert_eq!(next.run_id, first.run_id);
        assert!(next.at > first.at);
    }
    let clients = server.run(&["CLIENT", "LIST"]);
    assert_eq!(clients.matches("name=redis-memory-operator").count(), 1, "{clients}");
    assert!(!clients.contains("lib-name=redis-rs"), "{clients}");
    connection.expect_run_id(&first.run_id, DEADLINE).await.expect("it is the same process");
    let other = connection.expect_run_id(&"0000".into(), DEADLINE).await;
    assert!(matches!(other, Err(RedisError::RunIdChanged { .. })), "{other:?}");
}

/// Reads from sockets that the server has counted (`total_reads_processed`, from 6.0 on): one for each round trip.
fn reads(server: &RedisServer) -> u64 {
    let stats = server.run(&["INFO", "stats"]);
    let field = stats.lines().find_map(|line| line.trim_end().strip_prefix("total_reads_processed:"));
    field.and_then(|number| number.parse().ok()).expect("it is counted")
}

#[tokio::test]
async fn from_the_second_look_on_a_probe_is_one_round_trip_and_sees_as_much() {
    let server = RedisServer::start(&[]);
    let mut connection = connect(&server).await;
    let mut seen = Vec::new();
    for probes in [1, 10] {
        let before = reads(&server);
        for _ in 0..probes {
            seen.push(look(&mut connection).await.expect("a sample").sentinel_seen);
        }
        // The client that asks for the count is counted, too: opening and asking.
        let trips = reads(&server) - before;
        assert!(trips <= probes + 2 + u64::from(probes == 1), "{trips} reads for {probes} probes");
    }
    assert!(seen.iter().all(|seen| *seen == Some(false)), "{seen:?}");
}

/// CONFIG GET commands that the server has counted, refused ones included.
fn settings_asked(server: &RedisServer) -> u64 {
    let stats = server.run(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| {
        line.strip_prefix("cmdstat_config|get:calls=").or_else(|| line.strip_prefix("cmdstat_config:calls="))
    });
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn settings_are_asked_for_by_one_command_where_the_server_takes_it() {
    for (name, program) in versions::servers() {
        let server = RedisServer::start_program(program, &["--maxmemory", "1gb", "--masterauth", "s3cr3t"]);
        // A server that has just begun may need a second probe for its first sample.
        look_at(&server).await;
        let mut connection = connect(&server).await;
        let before = settings_asked(&server);
        let first = look(&mut connection).await.expect("a sample");
        let asked = settings_asked(&server);
        let each = asked - before;
        assert!(each > 20, "{name}: the first look asks one by one, {each}");
        for _ in 0..3 {
            let next = look(&mut connection).await.expect("a sample");
            assert_eq!(next.config, first.config, "{name}");
        }
        let Sample { server: Server { engine, version, .. }, .. } = first;
        let takes_lists = engine == Engine::Valkey || version.major >= 7;
        let expected = if takes_lists { 3 } else { 3 * each };
        assert_eq!(settings_asked(&server) - asked, expected, "{name}");
    }
}

#[tokio::test]
async fn settings_that_may_not_be_read_any_more_are_missing_as_they_would_be_at_once() {
    let server = RedisServer::start(&[]);
    server.run(&["ACL", "SETUSER", "looker", "on", ">pw", "+@all"]);
    let credentials = Credentials::new(Some("looker".into()), "pw".into());
    let open = async || Connection::open(server.address(), Some(&credentials), DEADLINE).await.expect("a way in");
    let mut connection = open().await;
    for _ in 0..2 {
        look(&mut connection).await.expect("a sample").config.expect("CONFIG may be read");
    }
    server.run(&["ACL", "SETUSER", "looker", "-config"]);
    let later = look(&mut connection).await.expect("a sample").config;
    let at_once = look(&mut open().await).await.expect("a sample").config;
    assert_eq!(later.expect_err("it is forbidden"), at_once.expect_err("it is forbidden"));
    server.run(&["ACL", "SETUSER", "looker", "+config"]);
    look(&mut connection).await.expect("a sample").config.expect("CONFIG may be read again");
}

#[tokio::test]
async fn a_client_list_that_grew_long_since_the_last_look_is_read_all_the_same() {
    let server = RedisServer::start(&["--maxclients", "4000"]);
    let mut connection = connect(&server).await;
    look(&mut connection).await.expect("a sample");
    let crowd: Vec<_> =
        (0..1000).map(|_| std::net::TcpStream::connect(server.address()).expect("one more client")).collect();
    for _ in 0..2 {
        assert_eq!(look(&mut connection).await.expect("a sample").sentinel_seen, Some(false));
    }
    drop(crowd);
}

#[tokio::test]
async fn a_password_is_needed_and_the_right_one() {
    let server = RedisServer::start(&["--requirepass", "s3cr3t-of-the-test"]);
    let open = async |password: Option<&str>| {
        let credentials = password.map(|password| Credentials::new(None, password.into()));
        Connection::open(server.address(), credentials.as_ref(), DEADLINE).await
    };
    for (password, word) in [(None, "requires a password"), (Some("wrong-guess"), "WRONGPASS")] {
        let error = open(password).await.expect_err("no way in");
        assert!(matches!(error, RedisError::Auth(_)), "{error:?}");
        assert!(error.to_string().contains(word), "{error}");
        assert!(!error.to_string().contains("guess"), "{error}");
        assert_eq!(ProbeFailure::from(error).reason(), "AuthenticationFailed");
    }
    let mut connection = open(Some("s3cr3t-of-the-test")).await.expect("the way in");
    look(&mut connection).await.expect("a sample");
}

#[tokio::test]
async fn a_password_for_a_server_without_one_is_said_so() {
    let server = RedisServer::start(&[]);
    let credentials = Credentials::new(None, "s3cr3t-of-the-test".into());
    let error = Connection::open(server.address(), Some(&credentials), DEADLINE).await.expect_err("refused");
    assert_eq!(error, RedisError::Auth("a password is given, but Redis has none for the default user".into()));
}

#[tokio::test]
async fn a_renamed_auth_does_not_leak_the_password() {
    let server = RedisServer::start(&["--requirepass", "x", "--rename-command", "AUTH", ""]);
    let credentials = Credentials::new(Some("memory".into()), "s3cr3t-of-the-test".into());
    let error = Connection::open(server.address(), Some(&credentials), DEADLINE).await.expect_err("refused");
    assert!(matches!(error, RedisError::Auth(_)), "{error:?}");
    assert!(!error.to_string().contains("s3cr3t"), "{error}");
}

#[tokio::test]
async fn what_the_user_may_not_read_is_missing_with_the_reason() {
    let server = RedisServer::start(&[]);
    server.run(&["ACL", "SETUSER", "narrow", "on", ">pw", "+info", "+ping"]);
    let credentials = Credentials::new(Some("narrow".into()), "pw".into());
    let mut connection = Connection::open(server.address(), Some(&credentials), DEADLINE).await.expect("a way in");
    let sample = look(&mut connection).await.expect("INFO is enough");
    let reason = sample.config.expect_err("CONFIG is forbidden").0;
    assert!(reason.contains("CONFIG GET") && reason.contains("NOPERM"), "{reason}");
    assert_eq!(sample.sentinel_seen, None, "neither the channel nor the client list may be asked");

    server.run(&["ACL", "SETUSER", "blind", "on", ">pw", "+ping"]);
    let credentials = Credentials::new(Some("blind".into()), "pw".into());
    let error = Connection::open(server.address(), Some(&credentials), DEADLINE).await.expect_err("INFO is forbidden");
    assert!(matches!(&error, RedisError::Refused { code, .. } if code == "NOPERM"), "{error:?}");
}

#[tokio::test]
async fn the_documented_observer_is_enough() {
    let server = RedisServer::start(&[]);
    let rules = "+ping +hello +info +role +client|setname +client|list +config|get +memory|stats +dbsize";
    let mut command = vec!["ACL", "SETUSER", "observer", "on", ">pw", "resetkeys", "resetchannels", "-@all"];
    command.extend(rules.split(' '));
    assert_eq!(server.run(&command), "OK");
    let credentials = Credentials::new(Some("observer".into()), "pw".into());
    let mut connection = Connection::open(server.address(), Some(&credentials), DEADLINE).await.expect("a way in");
    let sample = look(&mut connection).await.expect("a sample");
    sample.config.expect("CONFIG may be read");
    assert_eq!(sample.sentinel_seen, Some(false));
}

#[tokio::test]
async fn a_config_command_that_was_renamed_away_costs_only_the_config() {
    let server = RedisServer::start(&["--rename-command", "CONFIG", ""]);
    let sample = look_at(&server).await;
    assert!(sample.config.expect_err("there is no CONFIG").0.contains("unknown command"));
    assert_eq!(sample.sentinel_seen, Some(false));
}

/// Whether a probe by a user with these rights sees a Sentinel.
async fn sentinel_seen(server: &RedisServer, rights: &[&str]) -> Option<bool> {
    server.run(&[&["ACL", "SETUSER", "looker", "reset", "on", ">pw", "+info"], rights].concat());
    let credentials = Credentials::new(Some("looker".into()), "pw".into());
    let mut connection = Connection::open(server.address(), Some(&credentials), DEADLINE).await.expect("a way in");
    let first = look(&mut connection).await.expect("a sample").sentinel_seen;
    let again = look(&mut connection).await.expect("a sample").sentinel_seen;
    assert_eq!(first, again, "in two round trips and in one");
    first
}

#[tokio::test]
async fn a_sentinel_is_seen_by_its_name_and_by_its_channel() {
    let server = RedisServer::start(&["--maxclients", "4000"]);
    assert_eq!(sentinel_seen(&server, &["+client|list"]).await, Some(false));
    let sentinel = RedisServer::start_sentinel(&server);
    eventually("the Sentinel subscribes", async || {
        server.run(&["PUBSUB", "NUMSUB", "__sentinel__:hello"]).ends_with('1').then_some(())
    })
    .await;
    let idle = |count| -> Vec<_> {
        (0..count).map(|_| std::net::TcpStream::connect(server.address()).expect("one more client")).collect()
    };
    let list = ["+client|list"];
    let channel = ["+pubsub"];
    assert_eq!(sentinel_seen(&server, &list).await, Some(true), "by its name");
    assert_eq!(sentinel_seen(&server, &channel).await, None, "the list is short, and may not be read");
    let some = idle(300);
    assert_eq!(sentinel_seen(&server, &list).await, Some(true), "by its name among the subscribers");
    assert_eq!(sentinel_seen(&server, &channel).await, Some(true), "by its channel");
    assert_eq!(sentinel_seen(&server, &[]).await, None);
    drop(some);

    let mut connection = connect(&sentinel).await;
    let failure = probe(&mut connection, &pod(), &Clock::start(), DEADLINE).await.expect_err("no data server");
    assert_eq!(failure, ProbeFailure::NotRedis("a Sentinel answers here, not a data server".into()));
}

#[tokio::test]
async fn the_passwords_of_replication_are_compared_and_never_kept() {
    let with = |password| RedisServer::start(&["--masterauth", password]);
    let (one, same, other) = (with("s3cr3t"), with("s3cr3t"), with("another"));
    let mut prints = Vec::new();
    for server in [&one, &same, &other] {
        let sample = look_at(server).await;
        assert!(!format!("{sample:?}").contains("s3cr3t"));
        prints.push(sample.config.expect("CONFIG may be read").primary_auth.expect("masterauth is set"));
    }
    assert_eq!(prints[0], prints[1]);
    assert_ne!(prints[0], prints[2]);
}

#[tokio::test]
async fn a_frozen_server_times_out_at_the_deadline() {
    let server = RedisServer::start(&[]);
    let mut connection = connect(&server).await;
    let deadline = Duration::from_millis(300);
    server.freeze();
    let clock = Clock::start();
    let failure = probe(&mut connection, &pod(), &clock, deadline).await.expect_err("nobody answers");
    assert_eq!(failure.reason(), "TimedOut");
    assert!((deadline..deadline * 3).contains(&clock.uptime()), "{:?}", clock.uptime());
    // A connection that is out of step is never used again, also when the server is back.
    server.thaw();
    assert!(connection.is_closed());
    let again = connection.replication(DEADLINE).await;
    assert!(matches!(again, Err(RedisError::Connect(_))), "{again:?}");
    // The kernel accepts connections for a frozen server: opening one is under the deadline as well.
    server.freeze();
    let clock = Clock::start();
    let error = Connection::open(server.address(), None, deadline).await.expect_err("nobody answers");
    assert!(matches!(error, RedisError::TimedOut(_)), "{error:?}");
    assert!(clock.uptime() < deadline * 3, "{:?}", clock.uptime());
}

#[tokio::test]
async fn nobody_listens() {
    let mut server = RedisServer::start(&[]);
    let mut connection = connect(&server).await;
    server.crash();
    let failure = look(&mut connection).await.expect_err("it is gone");
    assert_eq!(failure.reason(), "Unreachable");
    let error = Connection::open(server.address(), None, DEADLINE).await.expect_err("it is gone");
    assert!(matches!(error, RedisError::Connect(_)), "{error:?}");
}
