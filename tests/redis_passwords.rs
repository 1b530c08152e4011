//! Passwords that change, in both orders, and probes that fail once: how soon it is noticed, how often the server is
//! asked to let us in, and what is said meanwhile.
#![cfg(test)]

mod common;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{
    eventually,
    fake::{FakeRedis, Script},
    secret::Secret,
    server::RedisServer,
};
use redis_memory_operator::{
    clock::Clock,
    domain::{
        policy::SecretKey,
        snapshot::{Observation, ProbeFailure},
    },
    observe::sampler::{
        Assignment, CredentialsFor, Digester, Sampler, SamplerHandle, SamplerSettings, SamplerTask, TargetKey,
    },
};

/// As in production: the times below hold for it.
const INTERVAL: Duration = Duration::from_secs(15);
/// A password that was changed on both sides is in use within this time.
const PICKED_UP: Duration = Duration::from_secs(10);

struct Bench {
    sampler: SamplerHandle,
    secret: Arc<Secret>,
    _task: SamplerTask,
}

fn key() -> TargetKey {
    TargetKey { policy_uid: "policy".into(), pod_uid: "a".into() }
}

impl Bench {
    fn start(password: Option<&str>, address: SocketAddr, interval: Duration, digester: Digester) -> Self {
        let secret = Secret::new(password);
        let settings = SamplerSettings { interval, ..SamplerSettings::default() };
        let (sampler, task) = Sampler::spawn(settings, Clock::start(), Arc::<Secret>::clone(&secret));
        let credentials = CredentialsFor::Secret {
            namespace: "shop".into(),
            secret: SecretKey { name: "auth".into(), key: "password".into() },
            username: None,
        };
        let assignment = Assignment {
            pod_uid: "a".into(),
            set: ("shop/redis".into(), "set".into()),
            address,
            credentials,
            keep: Duration::from_secs(60),
        };
        sampler.assign("policy", "shop", vec![assignment], digester);
        Self { sampler, secret, _task: task }
    }

    fn indifferent(password: Option<&str>, address: SocketAddr) -> Self {
        Self::start(password, address, INTERVAL, Arc::new(|_, _| 0))
    }

    async fn seen(&self) {
        eventually("it is seen", async || matches!(self.sampler.latest(&key()).0, Observation::Seen(_)).then_some(()))
            .await;
    }

    /// A look out of turn, as a gate takes: the next in turn may be 15 s away.
    async fn look(&self) -> Observation {
        self.sampler.probe_now(&[key()]).await.remove(0).1
    }

    async fn refused(&self) {
        eventually("the password is refused", async || {
            let failure = self.sampler.latest(&key()).0;
            matches!(failure, Observation::Failed(ProbeFailure::AuthenticationFailed(_))).then_some(())
        })
        .await;
    }

    fn attempts(&self) -> u64 {
        self.sampler.probe_stats()[0].errors.get("AuthenticationFailed").copied().unwrap_or(0)
    }
}

fn change_password(server: &RedisServer, old: &str, new: &str) {
    let answer = server.run(&["-a", old, "--no-auth-warning", "CONFIG", "SET", "requirepass", new]);
    assert_eq!(answer, "OK");
    server.run(&["-a", new, "--no-auth-warning", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
}

/// AUTH commands so far, but for those of this test's own calls.
fn logins(server: &RedisServer, password: &str, own: u64) -> u64 {
    let stats = server.run(&["-a", password, "--no-auth-warning", "INFO", "commandstats"]);
    let calls =
        stats.lines().find_map(|line| line.strip_prefix("cmdstat_auth:calls=")?.split(',').next()?.parse().ok());
    calls.unwrap_or(0_u64).saturating_sub(own)
}

#[tokio::test]
async fn the_server_first_and_the_secret_a_while_later() {
    let server = RedisServer::start(&["--requirepass", "old"]);
    let bench = Bench::indifferent(Some("old"), server.address());
    bench.seen().await;
    change_password(&server, "old", "new");
    bench.look().await;
    bench.refused().await;
    // Long enough for the attempts to have slowed down to their slowest.
    let clock = Clock::start();
    eventually("five refusals", async || (bench.attempts() >= 5).then_some(())).await;
    assert!(clock.uptime() > Duration::from_secs(6), "five attempts within {:?}", clock.uptime());
    bench.secret.set(Some("new"));
    let clock = Clock::start();
    bench.seen().await;
    assert!(clock.uptime() < PICKED_UP, "{:?}", clock.uptime());
    // The first login, the refusals, and the last: no attempt that is not accounted for. Own: two calls above, this one.
    let (count, refusals) = (logins(&server, "new", 3), bench.attempts());
    assert!(count <= refusals + 2, "{count} logins, {refusals} refusals");
    assert!(refusals <= 7, "{refusals} refusals");
}

#[tokio::test]
async fn the_secret_first_and_the_server_a_while_later() {
    let server = RedisServer::start(&["--requirepass", "old"]);
    let bench = Bench::indifferent(Some("old"), server.address());
    bench.seen().await;
    bench.secret.set(Some("new"));
    // Nothing is torn down for it: what was read is believed for a minute, and the server takes it.
    assert!(matches!(bench.look().await, Observation::Seen(_)));
    change_password(&server, "old", "new");
    let clock = Clock::start();
    eventually("it is seen again", async || matches!(bench.look().await, Observation::Seen(_)).then_some(())).await;
    assert!(clock.uptime() < PICKED_UP, "{:?}", clock.uptime());
}

#[tokio::test]
async fn without_a_password_to_send_nothing_is_sent() {
    // A server that would let anybody in.
    let server = FakeRedis::start(Script {
        info: vec!["# Server\r\n".to_owned()],
        error: None,
        config: Vec::new(),
        clients: String::new(),
    })
    .await;
    let bench = Bench::start(None, server.address(), Duration::from_millis(100), Arc::new(|_, _| 0));
    eventually("ten failures", async || (bench.sampler.probe_stats()[0].probes >= 10).then_some(())).await;
    let Observation::Failed(failure) = bench.sampler.latest(&key()).0 else { panic!("it was seen") };
    assert_eq!(failure.reason(), "SecretUnavailable");
    assert_eq!((server.connections(), server.heard().len()), (0, 0));
}

/// A good INFO of the smallest kind.
const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\nrun_id:0123456789abcdef0123456789abcdef01234567\r\n\
    used_memory:1000000\r\nused_memory_rss:2000000\r\nmem_fragmentation_ratio:2.0\r\nmaxmemory:0\r\n\
    maxmemory_policy:noeviction\r\nrole:master\r\n";
/// The same process says that it is a Sentinel.
const BAD: &str = "# Server\r\nredis_version:7.0.15\r\nrun_id:0123456789abcdef0123456789abcdef01234567\r\n\
    redis_mode:sentinel\r\n";

async fn saying(info: &[&str]) -> FakeRedis {
    let info = info.iter().copied().map(str::to_owned).collect();
    FakeRedis::start(Script { info, error: None, config: Vec::new(), clients: String::new() }).await
}

/// What a digester was told, in order.
fn noting() -> (Digester, Arc<Mutex<Vec<bool>>>) {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&notes);
    let digester: Digester = Arc::new(move |observation, _| {
        let seen = matches!(observation, Observation::Seen(_));
        taken.lock().unwrap().push(seen);
        u64::from(seen)
    });
    (digester, notes)
}

#[tokio::test]
async fn one_failed_probe_is_no_news() {
    // The first INFO is that of the connection.
    let server = saying(&[GOOD, GOOD, BAD, GOOD]).await;
    let (digester, told) = noting();
    let bench = Bench::start(Some("any"), server.address(), Duration::from_millis(100), digester);
    eventually("six probes", async || (bench.sampler.probe_stats()[0].probes >= 6).then_some(())).await;
    assert_eq!(bench.sampler.probe_stats()[0].errors.values().sum::<u64>(), 1, "there was one failure");
    assert!(told.lock().unwrap().iter().all(|seen| *seen), "{told:?}");
}

#[tokio::test]
async fn the_second_failed_probe_in_a_row_is_news() {
    let server = saying(&[GOOD, GOOD, BAD]).await;
    let (digester, told) = noting();
    let bench = Bench::start(Some("any"), server.address(), Duration::from_millis(100), digester);
    eventually("it is told", async || told.lock().unwrap().contains(&false).then_some(())).await;
    assert_eq!(told.lock().unwrap()[..3], [true, true, false]);
    assert!(matches!(bench.sampler.latest(&key()).0, Observation::Failed(ProbeFailure::NotRedis(_))));
}

#[tokio::test]
async fn for_a_gate_one_failed_probe_is_enough() {
    let server = saying(&[GOOD, GOOD, BAD]).await;
    let bench = Bench::start(Some("any"), server.address(), INTERVAL, Arc::new(|_, _| 0));
    bench.seen().await;
    let gate = bench.look().await;
    assert!(matches!(gate, Observation::Failed(_)), "{gate:?}");
    assert!(matches!(bench.sampler.latest(&key()).0, Observation::Seen(_)), "people are not told yet");
}
