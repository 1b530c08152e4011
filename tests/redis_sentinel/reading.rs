//! What the operator reads from real Sentinels.

use std::time::Duration;

use redis_memory_operator::{
    clock::Clock,
    domain::{
        acl, fixtures,
        sentinel::{Said, Sentinel},
        snapshot::{Observation, Snapshot},
    },
    redis_io::{Connection, Credentials, RedisError},
    topology::{self, Disturbance},
};

use crate::{
    common::{DEADLINE, connect, eventually, look, server::RedisServer, versions},
    exchange::failover,
    set::{USUAL, Watched},
};

async fn read(sentinel: &RedisServer) -> Said {
    connect(sentinel).await.sentinel(None, DEADLINE).await.expect("it answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_is_read_the_same() {
    for (name, program) in versions::servers() {
        let set = Watched::start(program, USUAL).await;
        let mut ids = Vec::new();
        for sentinel in &set.sentinels {
            // They know each other a little before they are connected.
            let said = eventually("nobody is down", async || {
                let said = read(sentinel).await;
                let mut known = said.sets.iter().flat_map(|set| set.replicas.iter().chain(&set.others));
                let well = known.all(|known| !known.down);
                well.then_some(said)
            })
            .await;
            let [watched] = said.sets.as_slice() else { panic!("{name}: one set: {said:?}") };
            assert_eq!((watched.name.as_str(), &watched.primary), ("demo", &set.servers[0].node()), "{name}");
            let times = (watched.down_after, watched.failover_timeout);
            assert_eq!(times, (Duration::from_secs(5), Duration::from_secs(10)), "{name}");
            assert!(!(said.tilt || watched.primary_down || watched.failing_over), "{name}: {said:?}");
            assert_eq!((watched.quorum, watched.replicas.len(), watched.others.len()), (2, 2, 2), "{name}");
            let named = connect(sentinel).await.sentinel(Some("demo"), DEADLINE).await.expect("it answers");
            assert_eq!((&named.id, named.sets.len()), (&said.id, 1), "{name}");
            ids.push((said.id, watched.others.iter().map(|known| known.id.clone()).collect::<Vec<_>>()));
        }
        for (id, _) in &ids {
            let knowing = ids.iter().filter(|(_, others)| others.contains(id)).count();
            assert_eq!(knowing, 2, "{name}: the others know it by its id");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_since_the_last_failover_is_read() {
    let set = Watched::start("redis-server".as_ref(), USUAL).await;
    let before = read(&set.sentinels[1]).await.sets[0].settled_for;
    failover(set.sentinels[0].address(), &[]).await.expect("it begins a failover");
    assert!(read(&set.sentinels[0]).await.sets[0].failing_over, "it says so at once");
    eventually("the other Sentinel counts anew", async || {
        let said = read(&set.sentinels[1]).await;
        let anew = said.sets[0].primary != set.servers[0].node() && said.sets[0].settled_for < before;
        anew.then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_no_sentinel_is_told() {
    let server = RedisServer::start(&[]);
    let error = connect(&server).await.sentinel(None, DEADLINE).await.expect_err("a Redis");
    assert_eq!(error, RedisError::NotRedis("no Sentinel answers here".into()));
    let sentinel = RedisServer::start_sentinel(&server);
    let error = connect(&sentinel).await.sentinel(Some("other"), DEADLINE).await.expect_err("no such set");
    assert!(error.to_string().contains("No such master with that name"), "{error}");
    let rules = acl::sentinel_rules();
    let user: Vec<&str> =
        ["ACL", "SETUSER", "looker", "reset", "on", ">pw"].into_iter().chain(rules.split(' ')).collect();
    assert_eq!(sentinel.run(&user), "OK");
    let credentials = Credentials::new(Some("looker".into()), "pw".into());
    let mut looker = Connection::open(sentinel.address(), Some(&credentials), DEADLINE).await.expect("a way in");
    for only in [None, Some("demo")] {
        looker.sentinel(only, DEADLINE).await.expect("these rights are enough");
    }
    eventually("the server shows where it is connected from", async || {
        let sample = look(&mut connect(&server).await).await.ok()?;
        (sample.sentinel_hosts == [server.address().ip()]).then_some(())
    })
    .await;
}

/// What the operator would see of the set, with its Sentinels in pods of their own.
async fn observed(set: &Watched) -> Snapshot {
    let mut snapshot = told(set).await;
    for (target, server) in snapshot.targets.iter_mut().zip(&set.servers) {
        let sample = eventually("it lets us look", async || {
            look(&mut Connection::open(server.address(), None, DEADLINE).await.ok()?).await.ok()
        })
        .await;
        target.redis = Observation::Seen(Box::new(sample));
    }
    snapshot
}

/// The same without a look at the servers, which may be away: what the Sentinels say of these pods.
pub(crate) async fn told(set: &Watched) -> Snapshot {
    let mut snapshot = fixtures::three_pods();
    for (target, server) in snapshot.targets.iter_mut().zip(&set.servers) {
        target.pod.addresses = server.address().ip().into();
        target.pod.container.as_mut().expect("it is known").port = server.address().port();
    }
    for (n, sentinel) in set.sentinels.iter().enumerate() {
        let said = match Connection::open(sentinel.address(), None, DEADLINE).await {
            Ok(mut connection) => connection.sentinel(None, DEADLINE).await,
            Err(error) => Err(error),
        };
        // All are at one address here, and a Sentinel that is silent is known by its address.
        let addresses = std::net::Ipv4Addr::new(10, 1, 0, u8::try_from(n).expect("few")).to_string();
        let addresses = redis_memory_operator::domain::addresses::PodAddresses::of([addresses.as_str()]);
        let (pod, pod_uid) = (format!("sentinel-{n}").into(), format!("sentinel-uid-{n}").into());
        snapshot.sentinels.push(Sentinel {
            pod,
            pod_uid,
            addresses,
            port: sentinel.address().port(),
            container: None,
            said: said.map_err(Into::into),
        });
    }
    snapshot
}

pub(crate) fn texts(faults: Vec<topology::Fault>) -> Vec<String> {
    faults.into_iter().map(|fault| fault.text).collect()
}

/// What is wrong with the Sentinels, and why a replica must not be restarted.
pub(crate) async fn judged(set: &Watched) -> (Vec<String>, Option<String>) {
    let snapshot = observed(set).await;
    let shards = topology::find(&fixtures::policy(), &snapshot);
    let [shard] = shards.as_slice() else { panic!("one set") };
    assert_eq!(shard.refusal(), None);
    let what = Disturbance { restarted: Some(&shard.members[1].pod.name), calm: false };
    (texts(shard.sentinel_faults()), shard.sentinels_forbid(&what).map(|fault| fault.text))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_real_sentinels_say_is_judged() {
    let mut set = Watched::start("redis-server".as_ref(), USUAL).await;
    eventually("nothing is wrong", async || judged(&set).await.0.is_empty().then_some(())).await;
    failover(set.sentinels[0].address(), &[]).await.expect("it begins a failover");
    let forbidden = judged(&set).await.1.expect("nothing is restarted now");
    assert!(forbidden.contains("a failover is in progress, by the Sentinel in sentinel-0"), "{forbidden}");
    let forbidden = eventually("all agree again, and it is not long ago", async || {
        let (faults, forbidden) = judged(&set).await;
        forbidden.filter(|text| faults.is_empty() && !text.contains("in progress"))
    })
    .await;
    assert!(forbidden.starts_with("the last failover was less than 20 s ago"), "{forbidden}");
    set.sentinels[2].crash();
    let (faults, _) = judged(&set).await;
    assert!(faults[0].starts_with("the Sentinel in sentinel-2 gives no answer"), "{faults:?}");
    assert!(!faults.iter().any(|fault| fault.contains("no failover would be possible")), "{faults:?}");
    set.sentinels[1].crash();
    let (faults, _) = judged(&set).await;
    assert!(faults.iter().any(|it| it.contains("1 of 3 known Sentinels answer, and 2 must")), "{faults:?}");
}

/// What the next eviction waits for: a replica that is away is missed, and one that is back is known again.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_away_is_missed_until_it_is_back() {
    let mut set = Watched::start("redis-server".as_ref(), USUAL).await;
    let clock = Clock::start();
    set.servers[1].crash();
    let missed = "takes the replica redis-1 for dead";
    eventually("every Sentinel misses it", async || {
        let snapshot = told(&set).await;
        let faults = texts(topology::find(&fixtures::policy(), &snapshot)[0].sentinel_faults());
        (faults.iter().filter(|fault| fault.contains(missed)).count() == 3).then_some(())
    })
    .await;
    let away = clock.uptime();
    set.servers[1].restart();
    set.servers[1].follow(&set.servers[0]).await;
    eventually("it is known again", async || judged(&set).await.0.is_empty().then_some(())).await;
    println!("missed after {away:?}, known again {:?} later", clock.uptime().saturating_sub(away));
}
