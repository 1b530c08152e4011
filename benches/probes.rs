//! What watching costs: CPU time of a probe, resident memory, and the time that a probe takes, for 1, 100 and 1,000
//! targets, beside a loop that opens a connection for each probe, and beside one that asks the same on kept connections
//! and throws the answers away: what no way of reading them can go below.
//!
//! The targets are real redis-server processes on loopback; each listens on 16 addresses (the most that a server
//! binds), and each address is a target with a connection of its own. Each measurement is a process of its own, this
//! program again, so that its CPU time and memory are nobody else's. Our side is what the operator runs: the sampler
//! and its history, and the digest that wakes the reconciler.
//!
//! `cargo bench --bench probes [-- TARGETS...]` prints a Markdown table. It needs redis-server and Linux.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    clippy::unchecked_time_subtraction,
    reason = "a measuring program, not the product"
)]

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod as K8sPod;
use redis_memory_operator::{
    api::v1alpha1::RedisMemoryPolicy,
    assess::{AssessSettings, digest},
    clock::Clock,
    domain::{
        names::PodUid,
        policy::{Policy, SecretKey},
        snapshot::{Observation, ProbeFailure},
    },
    observe::{
        pods,
        sampler::{Assignment, CredentialsFor, Sampler, SamplerSettings, SecretSource},
    },
    redis_io::{Connection, PARAMETERS, probe},
    validate,
};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use zeroize::Zeroizing;

/// A server binds at most so many addresses (`CONFIG_BINDADDR_MAX`).
const ADDRESSES_PER_SERVER: usize = 16;
/// The port of every server; addresses differ.
const PORT: u16 = 26_390;
/// Measured time, after the warm-up.
const MEASURED: Duration = Duration::from_secs(20);
const WARM_UP: Duration = Duration::from_secs(5);
/// Probes a second, over all targets: enough to measure, far from what two cores can do.
const RATE: u32 = 500;
const PROBE_DEADLINE: Duration = Duration::from_secs(1);
/// Linux counts CPU time in 1/100 s for every process (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["measure", method, targets] => measure(method, targets.parse().expect("a number")),
        sizes => {
            let sizes: Vec<usize> = sizes.iter().map(|size| size.parse().expect("numbers of targets")).collect();
            table(if sizes.is_empty() { &[1, 100, 1000] } else { &sizes });
        }
    }
}

/// Starts the servers, measures each size both ways, prints the table.
fn table(sizes: &[usize]) {
    let most = sizes.iter().copied().max().unwrap_or_default();
    let _servers: Vec<Server> = (0..most.div_ceil(ADDRESSES_PER_SERVER)).map(Server::start).collect();
    println!("| targets | method | probes/s | CPU a probe | probe p50 | probe p99 | resident memory |");
    println!("|---|---|---|---|---|---|---|");
    for size in sizes {
        for method in ["kept", "opened", "unread"] {
            let me = std::env::current_exe().expect("this program has a path");
            let run = Command::new(me).args(["measure", method, &size.to_string()]).output();
            let run = run.expect("this program can be started");
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
            print!("{}", String::from_utf8_lossy(&run.stdout));
        }
    }
}

/// One measurement, in a process of its own.
#[tokio::main]
async fn measure(method: &str, targets: usize) {
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&times);
    let note = move |took: Duration, failure: Option<&'static str>| {
        assert_eq!(failure, None, "every probe succeeds");
        noted.lock().expect("nobody panicked").push(took);
    };
    let interval = Duration::from_secs(1) * u32::try_from(targets).expect("few") / RATE;
    let clock = Clock::start();
    // Held to the end: dropping it stops the probing.
    let note: Note = Arc::new(note);
    let _running: Box<dyn Send> = match method {
        "kept" => Box::new(watch(targets, interval, clock, note)),
        "unread" => Box::new(read_nothing(targets, interval, clock, &note)),
        _ => Box::new(open_each_time(targets, interval, clock, &note)),
    };
    tokio::time::sleep(WARM_UP.max(interval * 2)).await;
    times.lock().expect("nobody panicked").clear();
    let (before, begun) = (cpu_time(), clock.uptime());
    tokio::time::sleep(MEASURED).await;
    let (used, took) = (cpu_time() - before, clock.uptime() - begun);
    let mut times = std::mem::take(&mut *times.lock().expect("nobody panicked"));
    times.sort_unstable();
    let probes = times.len();
    assert!(probes > 100, "{probes} probes are too few to say anything");
    let percentile = |percent: usize| times.get(probes * percent / 100).copied().unwrap_or_default().as_micros();
    let name = match method {
        "kept" => "one kept connection a target (ours)",
        "unread" => "kept connections, answers unread (the floor)",
        _ => "a connection a probe",
    };
    println!(
        "| {targets} | {name} | {:.0} | {} µs | {} µs | {} µs | {:.1} MiB |",
        f64::from(u32::try_from(probes).expect("few")) / took.as_secs_f64(),
        used.as_micros() / u128::try_from(probes).expect("positive"),
        percentile(50),
        percentile(99),
        f64::from(resident_kib()) / 1024.0,
    );
}

type Note = Arc<dyn Fn(Duration, Option<&'static str>) + Send + Sync>;

/// What the operator runs for its targets.
fn watch(targets: usize, interval: Duration, clock: Clock, note: Note) -> impl Send {
    let settings = SamplerSettings { interval, probe_deadline: PROBE_DEADLINE, ..SamplerSettings::default() };
    let (sampler, task) = Sampler::spawn_counted(settings, clock, Arc::new(NoSecrets), note);
    let policy = Arc::new(policy());
    let pods: Vec<_> = (0..targets).map(|n| pods::pod(&pod(n), &policy.redis)).collect();
    let digester = digest::of(Arc::clone(&policy), &pods, AssessSettings::default());
    // Forty readings a target, as at the default interval of 15 s with `sustained: 10m`.
    let keep = interval * 40;
    let assignments = (0..targets).map(|n| Assignment {
        set: ("shop/redis".into(), "set".into()),
        pod_uid: uid(n),
        address: address(n),
        credentials: CredentialsFor::None,
        keep,
    });
    sampler.assign(&policy.uid, &policy.namespace, assignments.collect(), Arc::new(digester));
    (sampler, task)
}

/// The turns of the nth of all targets: they begin one after the other, spread over the interval.
async fn turns(n: usize, targets: usize, interval: Duration) -> tokio::time::Interval {
    let few = |number: usize| u32::try_from(number).expect("few");
    tokio::time::sleep(interval * few(n) / few(targets)).await;
    tokio::time::interval(interval)
}

/// The simple way: each probe opens a connection, asks the same, and closes it.
fn open_each_time(targets: usize, interval: Duration, clock: Clock, note: &Note) -> impl Send {
    let tasks: Vec<_> = (0..targets)
        .map(|n| {
            let note = Arc::clone(note);
            tokio::spawn(async move {
                let mut turns = turns(n, targets, interval).await;
                loop {
                    turns.tick().await;
                    let begun = clock.uptime();
                    let outcome = once(n, &clock).await;
                    note(clock.uptime() - begun, outcome.err().as_ref().map(ProbeFailure::reason));
                }
            })
        })
        .collect();
    tasks
}

async fn once(n: usize, clock: &Clock) -> Result<Observation, ProbeFailure> {
    let mut connection = Connection::open(address(n), None, PROBE_DEADLINE).await?;
    let sample = probe(&mut connection, &uid(n), clock, PROBE_DEADLINE).await?;
    Ok(Observation::Seen(Box::new(sample)))
}

/// The floor: the same commands on kept connections, one write and as few reads as there can be, and what comes is looked
/// at no further than to know its end.
fn read_nothing(targets: usize, interval: Duration, clock: Clock, note: &Note) -> impl Send {
    let tasks: Vec<_> = (0..targets)
        .map(|n| {
            let note = Arc::clone(note);
            tokio::spawn(async move {
                let mut turns = turns(n, targets, interval).await;
                let mut stream = tokio::net::TcpStream::connect(address(n)).await.expect("it listens");
                loop {
                    turns.tick().await;
                    let begun = clock.uptime();
                    ask_and_forget(&mut stream).await.expect("it answers");
                    note(clock.uptime() - begun, None);
                }
            })
        })
        .collect();
    tasks
}

async fn ask_and_forget(stream: &mut tokio::net::TcpStream) -> std::io::Result<()> {
    stream.write_all(&ASKED).await?;
    let mut answer = Vec::with_capacity(64 * 1024);
    // Only the last of the three ends like that: the lines of INFO end by CRLF.
    while !answer.ends_with(b"\n\r\n") || answer.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// What a probe asks of a Redis from 7.0 on.
static ASKED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut pipeline = redis::pipe();
    pipeline.cmd("INFO").cmd("CONFIG").arg("GET").arg(&PARAMETERS).cmd("CLIENT").arg("LIST");
    pipeline.get_packed_pipeline()
});

struct NoSecrets;

impl SecretSource for NoSecrets {
    fn get<'a>(&'a self, _: &'a str, key: &'a SecretKey) -> BoxFuture<'a, Result<Zeroizing<String>, ProbeFailure>> {
        Box::pin(async { Err(ProbeFailure::SecretUnavailable(key.name.clone())) })
    }
}

fn policy() -> Policy {
    let resource: RedisMemoryPolicy = serde_json::from_value(json!({
        "apiVersion": "redismemory.io/v1alpha1",
        "kind": "RedisMemoryPolicy",
        "metadata": {"name": "bench", "namespace": "bench", "uid": "bench", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "redis"}}},
    }))
    .expect("a policy");
    validate::validate(&resource).expect("a good policy")
}

fn pod(n: usize) -> K8sPod {
    serde_json::from_value(json!({
        "metadata": {"name": format!("redis-{n}"), "namespace": "bench", "uid": uid(n).as_str(),
            "labels": {"app": "redis"}},
        "spec": {"containers": [{"name": "redis", "resources": {"limits": {"memory": "1Gi"}}}]},
        "status": {"phase": "Running", "podIP": address(n).ip().to_string(), "containerStatuses": [
            {"name": "redis", "ready": true, "restartCount": 0, "image": "redis", "imageID": "redis",
             "resources": {"limits": {"memory": "1Gi"}}}]},
    }))
    .expect("a pod")
}

fn uid(n: usize) -> PodUid {
    PodUid::new(format!("3f2c9a60-0000-4000-8000-{n:012}"))
}

/// Addresses of 127.77.0.0/16: all of 127.0.0.0/8 is loopback on Linux.
fn address(n: usize) -> SocketAddr {
    let [_, _, high, low] = u32::try_from(n + 1).expect("few").to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, 77, high, low), PORT))
}

/// User and system time of this process so far (`man 5 proc_pid_stat`, fields 14 and 15).
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in parentheses");
    let ticks: u32 = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u32>().expect("a number")).sum();
    TICK * ticks
}

/// Resident memory of this process.
fn resident_kib() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is there");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// A redis-server behind sixteen targets. Dropped: killed.
struct Server(Child);

impl Server {
    fn start(n: usize) -> Self {
        let addresses = (0..ADDRESSES_PER_SERVER).map(|i| address(n * ADDRESSES_PER_SERVER + i));
        let addresses: Vec<SocketAddr> = addresses.collect();
        for address in &addresses {
            TcpListener::bind(address).unwrap_or_else(|error| panic!("{address} is not free: {error}"));
        }
        let child = Command::new("redis-server")
            .args(["--port", &PORT.to_string(), "--save", "", "--bind"])
            .args(addresses.iter().map(|address| address.ip().to_string()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run redis-server ({error}): apt-get install redis-server"));
        let server = Self(child);
        let clock = Clock::start();
        while clock.uptime() < Duration::from_secs(10) {
            if addresses.last().is_some_and(|address| TcpStream::connect(address).is_ok()) {
                return server;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server did not come up on {}", addresses.first().expect("sixteen"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _it_may_have_ended = self.0.kill();
        let _it_may_have_ended = self.0.wait();
    }
}
