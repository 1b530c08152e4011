//! Servers that are no Redis, or a hostile one: each is named for what it is, within the deadline and in bounded
//! memory, and no other target notices.
#![cfg(test)]

mod common;

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use common::{
    DEADLINE, eventually,
    garbage::{GarbageServer, Manner},
    secret::Secret,
    server::RedisServer,
};
use futures::future::join_all;
use redis_memory_operator::{
    clock::Clock,
    domain::snapshot::{Observation, ProbeFailure},
    observe::sampler::{Assignment, CredentialsFor, Sampler, SamplerSettings, TargetKey},
    redis_io::{Connection, Credentials},
};
use rstest::rstest;

const SHORT: Duration = Duration::from_millis(400);

#[rstest]
#[case(Manner::Silent, "TimedOut")]
#[case(Manner::Drip, "TimedOut")]
#[case(Manner::Close, "Unreachable")]
#[case(Manner::Http, "NotRedis")]
#[case(Manner::Noise, "NotRedis")]
#[case(Manner::Nested, "NotRedis")]
#[case(Manner::HugeArray, "NotRedis")]
#[case(Manner::EndlessLine, "NotRedis")]
#[case(Manner::Map, "NotRedis")]
#[case(Manner::TenMegabytes, "ReplyTooLarge")]
#[case(Manner::HugeLength, "ReplyTooLarge")]
#[tokio::test]
async fn is_named_for_what_it_is(#[case] manner: Manner, #[case] reason: &str) {
    let server = GarbageServer::start(manner).await;
    let clock = Clock::start();
    let error = Connection::open(server.address(), None, SHORT).await.expect_err("that is no Redis");
    assert!(clock.uptime() < SHORT * 3, "{:?}", clock.uptime());
    let failure = ProbeFailure::from(error);
    assert_eq!(failure.reason(), reason, "{failure:?}");
    assert!(!failure.text().is_empty() && failure.text().len() <= 300, "{failure:?}");
    assert!(!failure.text().chars().any(char::is_control), "{failure:?}");
}

#[tokio::test]
async fn the_text_says_what_answered_and_what_was_missing() {
    let text = async |manner| {
        let server = GarbageServer::start(manner).await;
        Connection::open(server.address(), None, DEADLINE).await.expect_err("that is no Redis").to_string()
    };
    let http = text(Manner::Http).await;
    assert!(http.contains("HTTP") && !http.contains("Bad Request"), "{http}");
}

#[tokio::test]
async fn a_server_that_does_not_say_which_process_it_is_is_watched_and_known_as_none() {
    let server = GarbageServer::start(Manner::HollowInfo).await;
    let connection = Connection::open(server.address(), None, DEADLINE).await.expect("it speaks as a Redis does");
    assert!(connection.run_id().is_empty(), "what is acted on has a name: {connection:?}");
}

#[tokio::test]
async fn an_echo_gets_no_password_into_a_text() {
    let server = GarbageServer::start(Manner::Echo).await;
    for username in [None, Some("memory".to_owned())] {
        let credentials = Credentials::new(username, "s3cr3t-of-the-test".into());
        let error = Connection::open(server.address(), Some(&credentials), DEADLINE).await.expect_err("no Redis");
        assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_stopped_in_bounded_memory() {
    let server = GarbageServer::start(Manner::Flood).await;
    let before = resident_bytes();
    let floods = (0..32).map(|_| Connection::open(server.address(), None, DEADLINE));
    let outcomes = join_all(floods).await;
    let after = resident_bytes();
    // The flood is made of good replies, so that some connections may find theirs among them before the cap ends it.
    for outcome in outcomes {
        let failure = ProbeFailure::from(outcome.expect_err("an OK is no INFO"));
        assert!(matches!(failure.reason(), "NotRedis" | "ReplyTooLarge"), "{failure:?}");
    }
    let grown = after.saturating_sub(before) >> 20;
    assert!(grown < 128, "{grown} MiB more for 32 endless replies");
}

/// Resident memory of this process.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number") * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn the_healthy_target_keeps_its_cadence_among_hostile_ones() {
    const INTERVAL: Duration = Duration::from_millis(200);
    let redis = RedisServer::start(&[]);
    let manners = [
        (Manner::Silent, "TimedOut"),
        (Manner::Drip, "TimedOut"),
        (Manner::Close, "Unreachable"),
        (Manner::Http, "NotRedis"),
        (Manner::Noise, "NotRedis"),
        (Manner::Nested, "NotRedis"),
        (Manner::TenMegabytes, "ReplyTooLarge"),
        (Manner::HugeLength, "ReplyTooLarge"),
    ];
    let mut hostile = Vec::new();
    for (manner, reason) in manners {
        // More silent ones than there are turns to connect: they must not use up those of the healthy one.
        for _ in 0..if matches!(manner, Manner::Silent) { 8 } else { 1 } {
            hostile.push((GarbageServer::start(manner).await, reason));
        }
    }
    let settings = SamplerSettings { interval: INTERVAL, probe_deadline: SHORT, concurrency: 4 };
    let (sampler, _task) = Sampler::spawn(settings, Clock::start(), Secret::new(None));
    let key = |name: String| TargetKey { policy_uid: "policy".into(), pod_uid: name.into() };
    let assignment = |name: String, address: SocketAddr| Assignment {
        set: ("shop/redis".into(), "set".into()),
        pod_uid: name.into(),
        address,
        credentials: CredentialsFor::None,
        keep: Duration::from_secs(60),
    };
    let mut assignments: Vec<_> = hostile
        .iter()
        .enumerate()
        .map(|(i, (server, _))| assignment(format!("hostile-{i}"), server.address()))
        .collect();
    assignments.push(assignment("healthy".into(), redis.address()));
    sampler.assign("policy", "shop", assignments, Arc::new(|_, _| 0));

    let readings = eventually("twenty readings", async || {
        let readings = sampler.latest(&key("healthy".into())).1;
        (readings.len() >= 20).then_some(readings)
    })
    .await;
    let gaps: Vec<i128> = readings.windows(2).map(|w| w[1].at.duration_since(w[0].at).as_millis()).collect();
    let late = gaps.iter().filter(|gap| **gap > 2 * 200).count();
    assert!(late <= 3, "gaps in ms: {gaps:?}");

    for (i, (_, reason)) in hostile.iter().enumerate() {
        eventually("each hostile one has been looked at", async || {
            let Observation::Failed(failure) = sampler.latest(&key(format!("hostile-{i}"))).0 else { return None };
            assert_eq!(failure.reason(), *reason, "{failure:?}");
            Some(())
        })
        .await;
    }
    let errors: HashMap<_, _> = sampler.probe_stats().into_iter().map(|s| (s.pod_uid.to_string(), s.errors)).collect();
    assert!(!errors["healthy"].contains_key("TimedOut"), "{errors:?}");
    assert!(errors["hostile-0"]["TimedOut"] > 0, "{errors:?}");
}
