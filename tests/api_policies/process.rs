//! One operator process, and what it costs by its own metrics and by what the kernel says of it.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{api_server::eventually, fleet::LEASE, metrics, setting};

/// Fewer requests than this in [`QUIET`] are rest.
const FEW_REQUESTS: f64 = 20.0;
const QUIET: Duration = Duration::from_secs(20);
/// Longer than the time between two looks at a policy.
const LOOKS: u32 = 4;
/// TCP_ESTABLISHED, as /proc/net/tcp has it.
const ESTABLISHED: &str = "01";
/// Clock ticks of a second, in /proc/PID/stat: always, whatever the kernel's own are.
const TICKS: f64 = 100.0;

/// What the process costs.
pub(crate) struct Cost {
    /// Seconds of CPU time a minute.
    pub(crate) cpu: f64,
    /// Resident memory that is of no file, in MiB.
    pub(crate) memory: f64,
    /// Resident memory, in MiB.
    pub(crate) all_memory: f64,
    /// Established connections.
    pub(crate) connections: usize,
    /// Requests to the API server each second.
    pub(crate) requests: f64,
}

/// Ends with this value; its log is shown when the test panics.
pub(crate) struct Operator {
    child: Child,
    listen: SocketAddr,
    directory: TempDir,
}

impl Operator {
    pub(crate) fn start(home: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let listen = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port is free");
        let program = setting("RMO_OPERATOR").unwrap_or_else(|| env!("CARGO_BIN_EXE_redis-memory-operator").to_owned());
        let log = File::create(directory.path().join("log")).expect("a file");
        let mut command = Command::new(program);
        command.arg("run").args(["--listen", &listen.to_string(), "--identity", "operator-a", "--log-format", "text"]);
        command.args(["--health-listen", "127.0.0.1:0", "--lease-namespace", home, "--lease-name", LEASE]);
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        command.stdout(log.try_clone().expect("the same file")).stderr(log);
        let child = command.spawn().expect("the operator starts");
        Self { child, listen, directory }
    }

    /// Waits until little is asked for, but no longer than every policy needs to be looked at once more: what goes on then
    /// is no beginning.
    pub(crate) async fn is_at_rest(&self) {
        for _ in 0..LOOKS {
            let before = self.requests().await;
            tokio::time::sleep(QUIET).await;
            if self.requests().await - before <= FEW_REQUESTS {
                return;
            }
        }
    }

    /// What it costs over that time.
    pub(crate) async fn cost(&self, watched: Duration) -> Cost {
        let (requests, cpu) = (self.requests().await, self.cpu());
        tokio::time::sleep(watched).await;
        let seconds = watched.as_secs_f64();
        Cost {
            cpu: (self.cpu() - cpu) * 60.0 / seconds,
            memory: self.status("RssAnon"),
            all_memory: self.status("VmRSS"),
            connections: self.connections(),
            requests: (self.requests().await - requests) / seconds,
        }
    }

    async fn requests(&self) -> f64 {
        let text = self.requests_text().await;
        text.lines().filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The counters of requests.
    pub(crate) async fn requests_text(&self) -> String {
        let metrics = eventually("the operator's metrics", async || self.metrics().await).await;
        let lines: Vec<&str> = metrics.lines().filter(|line| line.starts_with("rest_client_requests_total")).collect();
        lines.join("\n")
    }

    async fn metrics(&self) -> Option<String> {
        metrics::read(self.listen, Duration::from_secs(5)).await
    }

    fn proc(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).expect("the process runs")
    }

    /// In MiB.
    fn status(&self, field: &str) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with(field)).expect("a field of the status");
        let kib: f64 = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number");
        kib / 1024.0
    }

    /// Seconds of CPU time so far: the fields `utime` and `stime`.
    fn cpu(&self) -> f64 {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
        fields[11..13].iter().map(|text| text.parse::<f64>().expect("a number")).sum::<f64>() / TICKS
    }

    /// Established TCP connections of the process.
    pub(crate) fn connections(&self) -> usize {
        let inodes: Vec<String> = fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .expect("the process runs")
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()?.to_str().map(str::to_owned))
            .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
            .collect();
        let tables = [self.proc("net/tcp"), self.proc("net/tcp6")].concat();
        let rows = tables.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| row.get(3) == Some(&ESTABLISHED))
            .filter(|row| row.get(9).is_some_and(|inode| inodes.iter().any(|own| own == inode)))
            .count()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _it_may_have_ended = self.child.kill();
        let _it_may_have_ended = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            let from = log.len().saturating_sub(6_000);
            eprintln!("=== the operator\n{}", log.get(from..).unwrap_or(&log));
        }
    }
}
