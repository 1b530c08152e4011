//! A real redis-server process.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis_memory_operator::domain::{
    names::NodeAddress,
    sample::{Replication, Role},
};
use tempfile::TempDir;

use super::{DEADLINE, connect, eventually};

/// The system's server.
const PROGRAM: &str = "redis-server";
/// How long a server may take to come up.
const START: Duration = Duration::from_secs(30);
/// How often another port is tried when one was taken in between.
const ATTEMPTS: usize = 5;

/// A redis-server on a free port of 127.0.0.1 with a directory of its own. Dropped: killed and removed.
pub struct RedisServer {
    child: Child,
    /// The program, and what stands before its own arguments.
    command: Vec<OsString>,
    port: u16,
    arguments: Vec<String>,
    _directory: TempDir,
}

impl RedisServer {
    /// Starts one with these options on top of `--save ""`, and waits until it accepts connections.
    pub fn start(options: &[&str]) -> Self {
        Self::start_as(Path::new(PROGRAM), &[], options)
    }

    /// The same with a server of another version: see [`super::versions`].
    pub fn start_program(program: &Path, options: &[&str]) -> Self {
        Self::start_as(program, &[], options)
    }

    /// The same by a command that ends as the server: its own process.
    pub fn start_by(command: &[OsString], options: &[&str]) -> Self {
        Self::start_on_a_port(command, &[], options)
    }

    /// Starts a Sentinel that watches the server.
    pub fn start_sentinel(watched: &Self) -> Self {
        Self::start_sentinel_as(Path::new(PROGRAM), watched, 1, &[])
    }

    /// Starts a Sentinel of that program and quorum, with these settings of the set "demo" that it watches.
    pub fn start_sentinel_as(program: &Path, watched: &Self, quorum: u32, settings: &[(&str, &str)]) -> Self {
        Self::start_sentinel_at(program, watched.port, quorum, settings, &[])
    }

    /// The same of a server that it reaches at that port, with these options of its own.
    pub fn start_sentinel_at(
        program: &Path,
        watched: u16,
        quorum: u32,
        settings: &[(&str, &str)],
        own: &[&str],
    ) -> Self {
        let (port, quorum) = (watched.to_string(), quorum.to_string());
        let mut options = vec!["--sentinel", "monitor", "demo", "127.0.0.1", &port, &quorum];
        for (name, value) in settings {
            options.extend(["--sentinel", name, "demo", value]);
        }
        options.extend(own);
        Self::start_as(program, &["--sentinel"], &options)
    }

    fn start_as(program: &Path, mode: &[&str], options: &[&str]) -> Self {
        Self::start_on_a_port(&[program.into()], mode, options)
    }

    fn start_on_a_port(command: &[OsString], mode: &[&str], options: &[&str]) -> Self {
        for _ in 0..ATTEMPTS {
            if let Some(server) = Self::try_start(command, mode, options) {
                return server;
            }
        }
        panic!("redis-server did not start on any of {ATTEMPTS} free ports with the options {options:?}");
    }

    fn try_start(command: &[OsString], mode: &[&str], options: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port is free").port();
        let configuration = directory.path().join("redis.conf");
        std::fs::write(&configuration, "").expect("a file can be written");
        let mut arguments = vec![configuration.display().to_string()];
        arguments.extend(mode.iter().copied().map(str::to_owned));
        arguments.extend(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"].map(str::to_owned));
        arguments.push(directory.path().display().to_string());
        if mode.is_empty() {
            // Without delays and files: the tests are about roles, not about disks.
            let quick = ["--save", "", "--repl-diskless-sync-delay", "0", "--repl-diskless-load", "disabled"];
            arguments.extend(quick.map(str::to_owned));
        }
        arguments.extend(options.iter().copied().map(str::to_owned));
        let (child, ready) = spawn(command, &arguments);
        let server = Self { child, command: command.to_vec(), port, arguments, _directory: directory };
        ready.then_some(server)
    }

    /// Ends it at once and starts it again on the same port, as a kubelet does with a container.
    pub fn restart(&mut self) {
        self.crash();
        self.start_again();
    }

    /// Ends it as a kubelet does when its pod is evicted, and waits until it is gone: it saves what it is told to.
    pub fn terminate(&mut self) {
        self.signal("TERM");
        let (gone, wait) = std::sync::mpsc::channel::<()>();
        let id = self.child.id();
        // Should it refuse to go, it is killed, and the test fails on what it finds.
        let watchdog = std::thread::spawn(move || {
            if wait.recv_timeout(START).is_err() {
                let _it_may_have_gone = Command::new("kill").args(["-KILL", &id.to_string()]).status();
            }
        });
        self.child.wait().expect("the process is ours");
        let _the_watchdog_may_have_fired = gone.send(());
        watchdog.join().expect("the watchdog ends");
    }

    /// Starts it again on the same port and in the same directory.
    pub fn start_again(&mut self) {
        let (child, ready) = spawn(&self.command, &self.arguments);
        self.child = child;
        assert!(ready, "redis-server starts again");
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn node(&self) -> NodeAddress {
        NodeAddress { host: "127.0.0.1".into(), port: self.port }
    }

    /// Makes it a replica and waits until it has caught up once.
    pub async fn follow(&self, primary: &Self) {
        connect(self).await.replicaof(&primary.node()).await.expect("REPLICAOF is accepted");
        eventually("the replica is online", async || {
            let lines = connect(primary).await.replication(DEADLINE).await.ok()?.replicas;
            let online = lines.iter().any(|line| line.address.port == self.port && line.online);
            // Valkey's primary says so a little earlier than its replica.
            let role = connect(self).await.replication(DEADLINE).await.ok()?.role;
            (online && matches!(role, Role::Replica(link) if link.link_up && !link.sync_in_progress)).then_some(())
        })
        .await;
    }

    pub async fn replication(&self) -> Replication {
        connect(self).await.replication(DEADLINE).await.expect("INFO replication answers")
    }

    pub async fn is_primary(&self) -> bool {
        self.replication().await.role == Role::Primary
    }

    /// Runs a command for the test itself, by the client that comes with the server.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("cannot run redis-cli ({error}): apt-get install redis-tools"));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Stops the process without ending it: connections stay open and are not answered.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Ends it at once, as a crash would.
    pub fn crash(&mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("the process is ours");
    }

    /// Whether the process has ended by itself, or by somebody else.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the process is ours").is_some()
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(done.expect("kill can be run").success(), "the process takes signals");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // SIGKILL also ends a frozen process.
        let _it_may_have_ended = self.child.kill();
        let _it_may_have_ended = self.child.wait();
    }
}

/// Starts the process and waits until it is ready; false: it ended.
fn spawn(command: &[OsString], arguments: &[String]) -> (Child, bool) {
    let (program, before) = command.split_first().expect("a program");
    let mut child = Command::new(program)
        .args(before)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run redis-server ({error}): apt-get install redis-server"));
    let log = child.stdout.take().expect("the output is a pipe");
    let ready = wait_for_log(log);
    (child, ready)
}

/// Reads the log until the server is ready. The rest is read and dropped in the background, so that the pipe never
/// fills up. False: it ended, or took longer than [`START`].
fn wait_for_log(log: impl std::io::Read + Send + 'static) -> bool {
    let (ready, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if line.contains("eady to accept connections") || line.contains("Sentinel ID is") {
                let _the_test_may_have_gone = ready.send(());
            }
        }
    });
    wait.recv_timeout(START).is_ok()
}
