//! One operator process, behind a proxy of its own.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    fault_proxy::FaultProxy,
    metrics,
    world::{LEASE, World, admin, eventually},
};

/// How it is started. The lease is in the world's namespace, so that worlds do not compete.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) identity: &'static str,
    pub(crate) lease: [&'static str; 2],
    /// Separated by commas.
    pub(crate) crash_points: String,
    pub(crate) extra: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { identity: "operator-a", lease: ["15s", "5s"], crash_points: String::new(), extra: Vec::new() }
    }
}

/// A process that ends with this value; its log is shown when the test panics.
pub(crate) struct Operator {
    child: Child,
    listen: SocketAddr,
    options: Options,
    namespace: String,
    directory: TempDir,
    pub(crate) proxy: FaultProxy,
    /// How often it was started.
    pub(crate) starts: u32,
}

impl Operator {
    pub(crate) async fn start(world: &World, options: Options) -> Self {
        let proxy = FaultProxy::start(admin().await, &world.namespace).await;
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("kubeconfig"), proxy.kubeconfig()).expect("a file");
        let listen = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port is free");
        let child = spawn(&options, &world.namespace, listen, &directory);
        Self { child, listen, options, namespace: world.namespace.clone(), directory, proxy, starts: 1 }
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        eventually("the end of the operator's process", async || self.child.try_wait().expect("our own process")).await
    }

    pub(crate) fn try_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own process")
    }

    /// Starts it again, as the kubelet does with a container: same identity, same environment.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(&self.options, &self.namespace, self.listen, &self.directory);
        self.starts += 1;
    }

    /// TERM, KILL, STOP, CONT, by its own process id.
    pub(crate) fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(done.expect("kill can be run").success(), "the process takes signals");
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The crash points that have fired.
    pub(crate) fn fired(&self) -> usize {
        self.log().lines().filter(|line| line.starts_with("crash point ") && line.ends_with(" fired")).count()
    }

    /// Everything that /metrics says; `None`: it does not answer.
    pub(crate) async fn metrics(&self) -> Option<String> {
        metrics::read(self.listen, Duration::from_secs(3)).await
    }

    /// Reconciles so far, by its own counter.
    pub(crate) async fn reconciles(&self) -> u64 {
        let text = eventually("the operator's metrics", async || self.metrics().await).await;
        let counts = text.lines().filter(|line| line.starts_with("controller_runtime_reconcile_total"));
        counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    pub(crate) async fn leads(&self) -> bool {
        let text = self.metrics().await.unwrap_or_default();
        text.lines().any(|line| line.starts_with("leader_election_master_status") && line.ends_with(" 1"))
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // SIGKILL also ends a stopped process.
        let _it_may_have_ended = self.child.kill();
        let _it_may_have_ended = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(12_000);
            eprintln!("=== {} in {}\n{}", self.options.identity, self.namespace, log.get(from..).unwrap_or(&log));
            let seen = self.proxy.seen();
            for seen in seen.iter().rev().take(40).rev() {
                eprintln!("{:?} {:?} {} {:?} {:?}", seen.at, seen.call.kind, seen.call.path, seen.fault, seen.status);
            }
        }
    }
}

fn spawn(options: &Options, namespace: &str, listen: SocketAddr, directory: &TempDir) -> Child {
    let log = File::options().create(true).append(true).open(directory.path().join("log")).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_redis-memory-operator"));
    command.arg("run").args(["--listen", &listen.to_string(), "--identity", options.identity]);
    command.args(["--health-listen", "127.0.0.1:0"]);
    command.args(["--lease-namespace", namespace, "--lease-name", LEASE]);
    command.args(["--lease-duration", options.lease[0], "--lease-renew", options.lease[1]]);
    command.args(["--sample-interval", "500ms", "--warm-up", "1s", "--endpoint-sync", "1s"]);
    command.args(["--proof-settle", "500ms", "--proof-timeout", "60s", "--log-format", "text"]);
    command.args(&options.extra);
    command.env("KUBECONFIG", directory.path().join("kubeconfig"));
    command.env("REDIS_MEMORY_CRASH_POINT", &options.crash_points).env("REDIS_MEMORY_CRASH_DIR", directory.path());
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command.stdout(log.try_clone().expect("the same file")).stderr(log);
    command.spawn().expect("the operator starts")
}
