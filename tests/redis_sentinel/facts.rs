//! What the exchange rests on, measured. docs/adr/0019 says what was concluded.

use std::{path::Path, time::Duration};

use redis_memory_operator::{clock::Clock, domain::sample::Role, redis_io::Connection};
use rstest::rstest;

use crate::{
    common::{
        DEADLINE, connect, eventually,
        load::{Load, Shape},
        rng::Rng,
        server::RedisServer,
        versions,
    },
    exchange::{CAREFUL, Manner, Times, failover, finish, restore, switched, until_switched},
    set::{USUAL, Watched, client, master, role},
};

pub(crate) const SYSTEM: &str = "redis-server";

pub(crate) fn addresses(set: &Watched) -> Vec<std::net::SocketAddr> {
    set.servers.iter().map(RedisServer::address).collect()
}

/// A primary that pings its replicas moves on, and the new one does not have that: nobody can go on from there.
#[rstest]
#[case::pinging(false)]
#[case::quiet(true)]
#[tokio::test(flavor = "multi_thread")]
async fn a_ping_after_the_promotion_costs_full_syncs(#[case] quiet: bool) {
    let set = Watched::start(Path::new(SYSTEM), USUAL).await;
    set.servers[0].run(&["CONFIG", "SET", "repl-ping-replica-period", "1"]);
    let before = set.full_syncs();
    let (new, _) = until_switched(&set, 0, Manner { quiet, ..CAREFUL }).await;
    finish(&set, 0, new).await;
    set.all_follow(new).await;
    let syncs = set.full_syncs() - before;
    assert_eq!(syncs > 0, !quiet, "{syncs} full syncs");
}

/// With the pause ended as soon as the fence stands the Sentinels reach the old primary, however soon they take one for dead,
/// and demote it without us. But their greetings (PUBLISH) go to its replicas like writes, and the new primary lacks them.
#[tokio::test(flavor = "multi_thread")]
async fn a_fence_alone_keeps_the_sentinels_in_touch_and_costs_full_syncs() {
    let set = Watched::start(Path::new(SYSTEM), &[("down-after-milliseconds", "1500"), USUAL[1]]).await;
    let load = Load::start(addresses(&set), 1, Shape::of(&mut Rng::new(1, 3)));
    load.settled_at(0).await;
    let before = set.full_syncs();
    let clock = Clock::start();
    let (new, times) = until_switched(&set, 0, Manner { brief: true, ..CAREFUL }).await;
    load.tell(new);
    load.settled_at(new).await;
    eventually("a Sentinel demotes it", async || {
        matches!(role(&set.servers[0]).await, Some(Role::Replica(_))).then_some(())
    })
    .await;
    let Times { first, all, .. } = times;
    let demoted = clock.uptime();
    set.all_follow(new).await;
    let syncs = set.full_syncs() - before;
    println!("first {first:?}, all {all:?}, demoted by a Sentinel after {demoted:?}, {syncs} full syncs");
    let acknowledged = tokio::task::block_in_place(|| load.stop());
    let lost: u64 = acknowledged.lost(set.servers[new].address()).await.values().sum();
    assert_eq!((lost, syncs > 0), (0, true), "lost, and whether somebody had to sync fully");
}

/// How often the old primary acknowledges a write after the pause has ended with nobody there, until it is demoted.
async fn acknowledged_after_the_pause(set: &Watched, manner: Manner) -> (u32, Duration) {
    let clock = Clock::start();
    let (_, times) = until_switched(set, 0, manner).await;
    assert!(times.all < manner.pause, "{times:?}: the pause has ended before");
    let mut acknowledged = 0;
    // Each is held back, refused, or acknowledged.
    while !matches!(role(&set.servers[0]).await, Some(Role::Replica(_))) {
        let mut client = client(&set.servers[0]).await;
        let done = redis::cmd("SET").arg("late").arg(1).exec_async(&mut client).await;
        acknowledged += u32::from(done.is_ok());
        assert!(clock.uptime() < Duration::from_secs(60), "nobody demotes it");
    }
    (acknowledged, clock.uptime())
}

#[rstest]
#[case::fenced(true)]
#[case::open(false)]
#[tokio::test(flavor = "multi_thread")]
async fn a_fence_outlives_the_pause(#[case] fenced: bool) {
    let mut set = Watched::start(Path::new(SYSTEM), USUAL).await;
    let manner = Manner { fenced, ..CAREFUL };
    let (acknowledged, demoted) = acknowledged_after_the_pause(&set, manner).await;
    println!("fenced {fenced}: {acknowledged} acknowledged by the old primary, which was demoted after {demoted:?}");
    assert!(demoted >= manner.pause, "{demoted:?}: no Sentinel reaches it while writes are held back");
    assert_eq!(acknowledged > 0, !fenced, "{acknowledged} acknowledged by a primary that is none");

    // The Sentinel that demoted it made it write its settings down, as they were then.
    let kept = |server: &RedisServer| server.run(&["CONFIG", "GET", "repl-ping-replica-period"]).ends_with("3600");
    restore(&set.servers[0]).await;
    set.servers[0].restart();
    assert!(kept(&set.servers[0]), "CONFIG SET alone takes nothing out of the file");
    restore(&set.servers[0]).await;
    assert_eq!(set.servers[0].run(&["CONFIG", "REWRITE"]), "OK");
    set.servers[0].restart();
    assert!(!kept(&set.servers[0]), "CONFIG REWRITE does");
}

#[tokio::test]
async fn a_fence_refuses_at_once_what_the_pause_would_hold_back() {
    for (name, program) in versions::servers() {
        let set = Watched::start(program, USUAL).await;
        let mut connection = connect(&set.servers[0]).await;
        connection.client_pause_writes(Duration::from_secs(1)).await.expect("CLIENT PAUSE is accepted");
        let mut earlier = client(&set.servers[0]).await;
        let held = tokio::spawn(async move { redis::cmd("SET").arg("k").arg(1).exec_async(&mut earlier).await });
        eventually("it is held back", async || {
            set.servers[0].run(&["INFO", "clients"]).contains("blocked_clients:1").then_some(())
        })
        .await;
        connection.config_set("min-replicas-to-write", "1000").await.expect("CONFIG SET is accepted");
        let clock = Clock::start();
        let write =
            async |key: &str| redis::cmd("SET").arg(key).arg(1).exec_async(&mut client(&set.servers[0]).await).await;
        let refused = write("l").await.expect_err("it is refused");
        assert_eq!(refused.code(), Some("NOREPLICAS"), "{name}");
        assert!(clock.uptime() < Duration::from_millis(500), "{name}: at once");
        let refused = held.await.expect("it does not panic").expect_err("what was held back is refused, too");
        assert_eq!(refused.code(), Some("NOREPLICAS"), "{name}");
        // A lag of zero turns the whole rule off, and so the fence.
        connection.config_set("min-replicas-max-lag", "0").await.expect("CONFIG SET is accepted");
        write("m").await.expect("there is no fence");
    }
}

/// A Sentinel greets by PUBLISH, which is held back too, and what it sends after that waits: it takes the primary for dead.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_lasts_longer_than_down_after_makes_the_sentinels_fail_over() {
    let set = Watched::start(Path::new(SYSTEM), &[("down-after-milliseconds", "1500"), USUAL[1]]).await;
    let mut connection = connect(&set.servers[0]).await;
    let clock = Clock::start();
    connection.client_pause_writes(Duration::from_secs(30)).await.expect("CLIENT PAUSE is accepted");
    let down = eventually("a Sentinel takes it for dead", async || {
        master(&set.sentinels[0]).await["flags"].contains("s_down").then(|| clock.uptime())
    })
    .await;
    let (new, first, all) = switched(&set, 0, clock).await;
    println!("down after {down:?}, {new} named after {first:?}, by all after {all:?}");
    assert!(set.servers[0].is_primary().await, "it still answers that it is primary");
}

/// What it was told lies in its socket, and is done when it goes on, whatever was decided meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_chosen_replica_that_stands_still_holds_the_failover_up_and_wakes_as_a_second_primary() {
    let set = Watched::start(Path::new(SYSTEM), USUAL).await;
    set.others(0).for_each(RedisServer::freeze);
    let clock = Clock::start();
    failover(set.sentinels[0].address(), &[]).await.expect("it begins a failover");
    eventually("the failover is given up", async || {
        (!master(&set.sentinels[0]).await["flags"].contains("failover_in_progress")).then_some(())
    })
    .await;
    let given_up = clock.uptime();
    set.others(0).for_each(RedisServer::thaw);
    let primaries = async || {
        let mut primaries = 0;
        for server in &set.servers {
            primaries += u32::from(role(server).await? == Role::Primary);
        }
        Some(primaries)
    };
    eventually("it is told to be primary", async || (primaries().await? == 2).then_some(())).await;
    let woken = clock.uptime();
    eventually("a Sentinel demotes it", async || (primaries().await? == 1).then_some(())).await;
    println!("given up after {given_up:?}, two primaries for {:?}", clock.uptime().saturating_sub(woken));
    assert!(set.servers[0].is_primary().await);
    assert!(given_up > Duration::from_secs(9), "{given_up:?}: all of failover-timeout");
}

/// `SENTINEL RESET` on one of three: it finds everybody again. From the moment on in which it has asked the primary another is
/// named as soon as ever; before, it may be elected without knowing a replica, and nobody tries again for twice
/// `failover-timeout`.
#[rstest]
#[case::nothing_happens(false)]
#[case::the_primary_dies_when_it_knows_the_replicas(true)]
#[tokio::test(flavor = "multi_thread")]
async fn one_that_forgot_finds_everybody_again_and_the_others_fail_over_meanwhile(#[case] dies: bool) {
    for (name, program) in versions::servers() {
        let mut set = Watched::start(program, USUAL).await;
        let address = set.sentinels[0].address();
        let mut sentinel = Connection::open(address, None, DEADLINE).await.expect("it lets us in");
        let said = sentinel.sentinel(None, DEADLINE).await.expect("it answers");
        let [before] = said.sets.as_slice() else { panic!("one set") };
        assert_eq!((before.replicas.len(), before.others.len()), (2, 2));
        let clock = Clock::start();
        sentinel.sentinel_reset("demo").await.expect("it forgets");
        assert!(
            sentinel.sentinel_reset("no-such-set").await.is_err(),
            "nothing is forgotten of a set that it does not know"
        );
        eventually("it knows the replicas", async || {
            let said = sentinel.sentinel(None, DEADLINE).await.ok()?;
            (said.sets.first()?.replicas.len() == 2).then_some(())
        })
        .await;
        println!("{name}: knows the replicas after {:?}", clock.uptime());
        if dies {
            set.servers[0].crash();
            let (new, first, all) = switched_from_dead(&set, Clock::start()).await;
            assert!(first < Duration::from_secs(15), "{name}: {first:?}: down-after and a moment");
            println!("{name}: {new} named after {first:?}, by all after {all:?}");
            continue;
        }
        let after = eventually("it knows everybody", async || {
            let said = sentinel.sentinel(None, DEADLINE).await.ok()?;
            let [set] = said.sets.as_slice() else { return None };
            let heard = set.replicas.iter().all(|known| known.fresh && !known.down);
            (set.replicas.len() == 2 && set.others.len() == 2 && heard).then(|| set.clone())
        })
        .await;
        println!("{name}: knows everybody after {:?}", clock.uptime());
        assert!(after.settled_for <= clock.uptime() + Duration::from_secs(1), "its times begin anew");
        assert_eq!((after.quorum, &after.primary), (before.quorum, &before.primary));
    }
}

/// The first server is dead: who is named in its place, when by the first and when by all.
async fn switched_from_dead(set: &Watched, clock: Clock) -> (usize, Duration, Duration) {
    let mut first = None;
    let new = loop {
        assert!(clock.uptime() < Duration::from_secs(60), "nobody takes over");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut named = Vec::new();
        for sentinel in &set.sentinels {
            let master = master(sentinel).await;
            named.push(set.servers.iter().position(|server| server.node().port.to_string() == master["port"]));
        }
        let Some(new) = named.iter().flatten().find(|n| **n != 0) else { continue };
        first.get_or_insert_with(|| clock.uptime());
        if named.iter().all(|it| *it == Some(*new)) {
            break *new;
        }
    };
    (new, first.expect("the first is one of all"), clock.uptime())
}
