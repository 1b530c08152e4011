//! Proxies in front of a set: who of them is asked whom it leads to, and what it is told.

use super::*;
use crate::domain::{names::RunId, proxy::Through};

/// What a server says to AUTH, CLIENT SETNAME and INFO.
const SERVER: &str = "+OK\r\n+OK\r\n$47\r\nredis_version:7.0.15\r\nrun_id:0123456789abcdef\r\n\r\n";

fn of_the_proxy(owner: &Value, host_network: bool) -> Value {
    pod("front-1-abcde", owner, host_network)
}

/// A set under Sentinel, with a proxy of that pod in front of it, at that port.
fn fronted(proxy: Value, port: u16, sentinel: bool) -> Bench {
    let front = json!({
        "metadata": {"name": "front", "namespace": "shop"},
        "spec": {"selector": {"app": "redis-haproxy", "release": "shop"}, "ports": [{"port": 6379, "targetPort": port}]},
    });
    let member = pod("redis-0", &owner("StatefulSet", "redis", SET_UID), false);
    let mut bench = bench_with(vec![member], vec![proxy], vec![front], 1);
    if sentinel {
        let access = SentinelAccess {
            selector: Some("app=sentinel".into()),
            port: PortRef::Number(1),
            master_name: None,
            username: None,
            password: None,
            tls: None,
        };
        Arc::make_mut(&mut bench.policy).redis.sentinel = Some(access);
    }
    bench
}

async fn through(bench: &Bench) -> Option<Vec<Through>> {
    let snapshot = bench.look().await;
    let [proxy] = snapshot.proxies.as_slice() else { panic!("{:?}", snapshot.proxies) };
    assert_eq!((proxy.service.as_str(), proxy.fronts.as_slice()), ("front", ["redis-0".into()].as_slice()));
    proxy.through.clone()
}

#[tokio::test]
async fn a_proxy_is_asked_at_its_pod_and_says_which_process_answers() {
    let ear = Ear::saying(SERVER).await;
    let bench = fronted(of_the_proxy(&owner("ReplicaSet", "front-1", "front-uid"), false), ear.port, true);
    let met = Ok(RunId::new("0123456789abcdef"));
    assert_eq!(through(&bench).await, Some(vec![Through { pod: "front-1-abcde".into(), met }]));
    assert!(ear.heard().contains(PASSWORD), "as a client: {}", ear.heard());
    assert_eq!(ear.connections.load(Ordering::SeqCst), 1);
}

#[rstest]
#[case::bare_pod(of_the_proxy(&Value::Null, false), "OwnerUnproven")]
#[case::of_nobody(of_the_proxy(&owner("ReplicaSet", "ghost-1", "ghost-uid"), false), "OwnerUnproven")]
#[case::owner_that_never_made_it(of_the_proxy(&owner("StatefulSet", "redis", SET_UID), false), "OwnerUnproven")]
#[case::host_network(of_the_proxy(&owner("ReplicaSet", "front-1", "front-uid"), true), "HostNetwork")]
#[tokio::test]
async fn a_pod_that_only_looks_like_one_is_not_connected_to(#[case] proxy: Value, #[case] reason: &str) {
    let ear = Ear::saying(SERVER).await;
    let bench = fronted(proxy, ear.port, true);
    let through = through(&bench).await.expect("it was looked at");
    assert_eq!(through[0].met.as_ref().unwrap_err().reason(), reason, "{through:?}");
    assert_eq!(ear.connections.load(Ordering::SeqCst), 0, "{}", ear.heard());
}

#[tokio::test]
async fn what_answers_otherwise_says_nothing() {
    let ear = Ear::open().await;
    let bench = fronted(of_the_proxy(&owner("ReplicaSet", "front-1", "front-uid"), false), ear.port, true);
    let through = through(&bench).await.expect("it was asked");
    assert!(through[0].met.is_err(), "{through:?}");
}

#[tokio::test]
async fn where_no_sentinel_moves_the_role_no_proxy_is_asked() {
    let ear = Ear::saying(SERVER).await;
    let bench = fronted(of_the_proxy(&owner("ReplicaSet", "front-1", "front-uid"), false), ear.port, false);
    assert_eq!(through(&bench).await, None);
    assert_eq!(ear.connections.load(Ordering::SeqCst), 0);
}
