//! To whom a password goes. The API server is a stand-in, the Redis a listener that takes down what it hears.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::future::BoxFuture;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};
use zeroize::Zeroizing;

use super::*;
use crate::{
    domain::{
        fixtures,
        policy::{AuthorityRule, PortRef, SecretKey, SentinelAccess},
    },
    kube_io::testing::{Answer, fake, refusal},
    observe::sampler::{Sampler, SamplerSettings, SamplerTask, SecretSource},
};

mod nodes;
mod proxies;

const PASSWORD: &str = "canary-31c9d0-password";
const SET_UID: &str = "set-uid";

/// Counts how often the password was read.
#[derive(Default)]
struct Secrets(AtomicUsize);

impl SecretSource for Secrets {
    fn get<'a>(&'a self, _: &'a str, _: &'a SecretKey) -> BoxFuture<'a, Result<Zeroizing<String>, ProbeFailure>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(Zeroizing::new(PASSWORD.to_owned())) })
    }
}

/// Listens on the address of every pod of the test.
struct Ear {
    port: u16,
    connections: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Ear {
    async fn open() -> Self {
        Self::saying("-ERR not today\r\n").await
    }

    async fn saying(answer: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, heard) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (count, notes) = (Arc::clone(&connections), Arc::clone(&heard));
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let mut buffer = [0; 1024];
                let length = stream.read(&mut buffer).await.unwrap_or(0);
                notes.lock().unwrap().extend_from_slice(&buffer[..length]);
                let _it_may_have_gone = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { port, connections, heard, task }
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn pod(name: &str, owner: &Value, host_network: bool) -> Value {
    let owners: Vec<&Value> = if owner.is_null() { Vec::new() } else { vec![owner] };
    json!({
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("{name}-uid"), "labels": {"app": "redis", "release": "shop"},
            "ownerReferences": owners,
        },
        "spec": {"hostNetwork": host_network, "containers": [{"name": "redis"}]},
        "status": {"phase": "Running", "podIP": "127.0.0.1"},
    })
}

fn owner(kind: &str, name: &str, uid: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true})
}

struct Bench {
    observer: Observer,
    policy: Arc<Policy>,
    secrets: Arc<Secrets>,
    _task: SamplerTask,
}

/// An observer whose API server has these pods and StatefulSet `redis`.
fn bench(pods: Vec<Value>, port: u16) -> Bench {
    bench_with(pods, Vec::new(), Vec::new(), port)
}

/// The same with Services, pods of a proxy, and the ReplicaSet `front-1` that made them.
fn bench_with(pods: Vec<Value>, proxies: Vec<Value>, services: Vec<Value>, port: u16) -> Bench {
    let (client, _log) = fake(move |request| match request.uri.split('?').next().unwrap_or_default() {
        "/api/v1/namespaces/shop/pods" => {
            let items = if request.uri.contains("proxy") { &proxies } else { &pods };
            Answer::Http(200, json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
        }
        "/api/v1/namespaces/shop/services" => {
            Answer::Http(200, json!({"kind": "ServiceList", "apiVersion": "v1", "metadata": {}, "items": services}))
        }
        "/apis/apps/v1/namespaces/shop/replicasets/front-1" => {
            Answer::Http(200, json!({"metadata": {"name": "front-1", "uid": "front-uid"}, "spec": {"selector": {}}}))
        }
        "/apis/apps/v1/namespaces/shop/statefulsets/redis" => Answer::Http(
            200,
            json!({
                "metadata": {"name": "redis", "uid": SET_UID},
                "spec": {"serviceName": "redis", "selector": {}, "template": {}},
            }),
        ),
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
            if request.body["spec"]["resourceAttributes"]["resource"] == "nodes" =>
        {
            Answer::Http(201, json!({"spec": {}, "status": {"allowed": true}}))
        }
        "/api/v1/nodes/worker-1" => {
            Answer::Http(200, json!({"metadata": {"name": "worker-1"}, "status": {"allocatable": {"memory": "1Gi"}}}))
        }
        _ => refusal(404, "NotFound", "there is no such object", &json!([])),
    });
    let clock = Clock::start();
    let secrets = Arc::new(Secrets::default());
    let settings = SamplerSettings { probe_deadline: Duration::from_secs(2), ..SamplerSettings::default() };
    let (sampler, task) = Sampler::spawn(settings, clock, Arc::<Secrets>::clone(&secrets));
    let mut policy = fixtures::policy();
    policy.redis.port = PortRef::Number(port);
    policy.redis.authority = AuthorityRule::Auto;
    policy.redis.password = Some(SecretKey { name: "redis-auth".into(), key: "password".into() });
    let observer = Observer {
        reader: Reader::new(client, clock),
        sampler,
        clock,
        lately: Lately::default(),
        nodes: OnNodes::default(),
        sentinels: Sentinels::default(),
        proxies: Proxies::default(),
    };
    Bench { observer, policy: Arc::new(policy), secrets, _task: task }
}

impl Bench {
    async fn look(&self) -> Snapshot {
        let digester = |_: &[Pod]| -> Digester { Arc::new(|_, _| 0) };
        self.observer.live(&self.policy, "app=redis", &[], digester).await.expect("a snapshot")
    }
}

#[rstest]
#[case::bare_pod("redis-0", Value::Null, false, "OwnerUnproven")]
#[case::owner_that_does_not_exist("ghost-0", owner("StatefulSet", "ghost", "ghost-uid"), false, "OwnerUnproven")]
#[case::owner_of_another_uid("redis-0", owner("StatefulSet", "redis", "another-uid"), false, "OwnerUnproven")]
#[case::owner_without_a_uid("redis-0", owner("StatefulSet", "redis", ""), false, "OwnerUnproven")]
#[case::owner_that_never_made_it("catcher", owner("StatefulSet", "redis", SET_UID), false, "OwnerUnproven")]
#[case::owner_of_no_known_kind("redis-0", owner("Catcher", "redis", SET_UID), false, "OwnerUnproven")]
#[case::host_network("redis-0", owner("StatefulSet", "redis", SET_UID), true, "HostNetwork")]
#[tokio::test]
async fn a_pod_that_only_claims_to_belong_here_gets_no_password(
    #[case] name: &str,
    #[case] owner: Value,
    #[case] host_network: bool,
    #[case] reason: &str,
) {
    let ear = Ear::open().await;
    let bench = bench(vec![pod(name, &owner, host_network)], ear.port);
    let snapshot = bench.look().await;
    let [target] = snapshot.targets.as_slice() else { panic!("{snapshot:?}") };
    let Observation::Failed(failure) = &target.redis else { panic!("{:?}", target.redis) };
    assert_eq!(failure.reason(), reason, "{failure:?}");
    // The rights are asked with a connection of their own, and acting opens one of its own: neither is had.
    assert!(!snapshot.rights_known_of([&target.pod.name]));
    let credentials = bench.observer.sampler.credentials(&key(&bench.policy, &target.pod)).await;
    assert_eq!(credentials.unwrap_err().reason(), reason);
    assert_eq!(ear.connections.load(Ordering::SeqCst), 0, "it was connected to: {}", ear.heard());
    assert_eq!(bench.secrets.0.load(Ordering::SeqCst), 0, "the password was read");
}

/// The same bench, so that the refusals above are not refusals of everything.
#[tokio::test]
async fn a_pod_of_an_existing_controller_gets_it() {
    let ear = Ear::open().await;
    let bench = bench(vec![pod("redis-0", &owner("StatefulSet", "redis", SET_UID), false)], ear.port);
    bench.look().await;
    assert!(ear.heard().contains(PASSWORD), "{}", ear.heard());
}

#[tokio::test]
async fn a_catcher_beside_real_pods_gets_nothing_and_takes_nothing_from_them() {
    let ear = Ear::open().await;
    let real = pod("redis-0", &owner("StatefulSet", "redis", SET_UID), false);
    let bench = bench(vec![pod("catcher", &Value::Null, false), real], ear.port);
    let snapshot = bench.look().await;
    let reasons: Vec<_> = snapshot
        .targets
        .iter()
        .map(|target| match &target.redis {
            Observation::Failed(failure) => failure.reason(),
            Observation::Seen(_) | Observation::Pending => "-",
        })
        .collect();
    assert_eq!(reasons[0], "OwnerUnproven");
    assert!(reasons[1] != "OwnerUnproven" && ear.heard().contains(PASSWORD), "{reasons:?}");
}

/// A bench whose policy says that Sentinels with a password listen at that port, and Redis nowhere.
fn with_sentinels(pods: Vec<Value>, port: u16) -> Bench {
    let mut bench = bench(pods, 1);
    let policy = Arc::make_mut(&mut bench.policy);
    policy.redis.sentinel = Some(SentinelAccess {
        selector: Some("app=sentinel".into()),
        port: PortRef::Number(port),
        master_name: None,
        username: None,
        password: policy.redis.password.take(),
        tls: None,
    });
    bench
}

#[rstest]
#[case::of_an_existing_controller(owner("StatefulSet", "redis", SET_UID), "Unreachable", true)]
#[case::bare_pod(Value::Null, "OwnerUnproven", false)]
#[case::owner_of_another_uid(owner("StatefulSet", "redis", "another-uid"), "OwnerUnproven", false)]
#[tokio::test]
async fn a_sentinel_gets_a_password_as_redis_does(#[case] owner: Value, #[case] reason: &str, #[case] told: bool) {
    let ear = Ear::open().await;
    let bench = with_sentinels(vec![pod("redis-0", &owner, false)], ear.port);
    let snapshot = bench.look().await;
    let [sentinel] = snapshot.sentinels.as_slice() else { panic!("{snapshot:?}") };
    assert_eq!(sentinel.said.as_ref().unwrap_err().reason(), reason, "{:?}", sentinel.said);
    assert_eq!(ear.heard().contains(PASSWORD), told, "{}", ear.heard());
}

#[tokio::test]
async fn sentinels_are_asked_again_when_something_may_be_done_and_else_seldom() {
    let ear = Ear::open().await;
    let bench = with_sentinels(vec![pod("redis-0", &owner("StatefulSet", "redis", SET_UID), false)], ear.port);
    bench.look().await;
    // Twice each time: one that closes the connection may have been about to start.
    for (age, asked) in [(SENTINELS_BELIEVED, 2), (Duration::ZERO, 4)] {
        let (samples, pods) = (std::iter::empty(), std::iter::empty());
        bench.observer.sentinels(&bench.policy, samples, pods, None, age).await.expect("the pods can be listed");
        assert_eq!(ear.connections.load(Ordering::SeqCst), asked);
    }
}

#[tokio::test]
async fn nobody_is_asked_where_no_sentinel_is_seen_or_named() {
    let ear = Ear::open().await;
    let mut bench = with_sentinels(vec![pod("redis-0", &owner("StatefulSet", "redis", SET_UID), false)], ear.port);
    Arc::make_mut(&mut bench.policy).redis.sentinel = None;
    assert_eq!(bench.look().await.sentinels, []);
    assert_eq!(ear.connections.load(Ordering::SeqCst), 0);
}
