//! One redis-server process on an address of its own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::address::Address;

/// The port of every pod.
pub const PORT: u16 = 6379;
const ANSWER: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

/// Where a process runs.
pub struct Place<'a> {
    pub address: Arc<Address>,
    /// Its `dir`.
    pub directory: &'a Path,
    /// What it sees as /etc/hosts, if not the machine's.
    pub hosts: Option<PathBuf>,
}

/// A process that ends with this value.
pub struct RedisProcess {
    child: Mutex<Child>,
    address: Arc<Address>,
}

impl RedisProcess {
    /// Starts one, as a replica of that host or as a primary.
    pub fn start(server: &Path, options: &[String], place: Place<'_>, primary: Option<String>) -> Self {
        let Place { address, directory, hosts } = place;
        let mut command = match hosts {
            None => Command::new(server),
            Some(hosts) => {
                // Mounted for this process alone; each program becomes the next, so the process id is the server's.
                let mut command = Command::new("unshare");
                command.args(["--mount", "sh", "-c", r#"mount --bind "$0" /etc/hosts && exec "$@""#]);
                command.arg(hosts).arg(server);
                command
            }
        };
        command.args(["--port", &PORT.to_string(), "--bind", &address.0.to_string(), "--save", ""]);
        // On one machine the source of a connection to a pod would be that pod's own address.
        command.args(["--replica-announce-ip", &address.0.to_string()]);
        command.args(["--protected-mode", "no", "--repl-diskless-sync-delay", "0", "--dir"]).arg(directory);
        command.args(options);
        if let Some(primary) = primary {
            command.args(["--replicaof", &primary, &PORT.to_string()]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot run {}: {error}", server.display()));
        Self { child: Mutex::new(child), address }
    }

    /// Runs it with these words.
    pub fn run(server: &Path, words: &[String], address: Arc<Address>) -> Self {
        let child =
            Command::new(server).args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot run {}: {error}", server.display()));
        Self { child: Mutex::new(child), address }
    }

    pub fn ip(&self) -> Ipv4Addr {
        self.address.0
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.address.0.into(), PORT)
    }

    /// SIGTERM, and SIGKILL after the grace.
    pub async fn stop(&self, grace: Duration) {
        self.signal("TERM");
        let ended = tokio::time::timeout(grace, async {
            while !self.ended() {
                tokio::time::sleep(LOOK).await;
            }
        });
        if ended.await.is_err() {
            let _it_may_have_ended = self.child().kill();
            let _it_may_have_ended = self.child().wait();
        }
    }

    /// Whether the process has ended.
    pub fn ended(&self) -> bool {
        matches!(self.child().try_wait(), Ok(Some(_)))
    }

    /// SIGSTOP and the like, by its own process id.
    pub fn signal(&self, name: &str) {
        let id = self.child().id().to_string();
        let _it_may_have_ended = Command::new("kill").args([&format!("-{name}"), &id]).stderr(Stdio::null()).status();
    }

    /// "master" or "slave"; `None`: it does not answer, or loads.
    pub async fn role(&self) -> Option<String> {
        let info = self.info("replication").await?;
        field(&info, "role").map(str::to_owned)
    }

    /// A section of INFO.
    pub async fn info(&self, section: &str) -> Option<String> {
        ask(self.address(), &["INFO", section]).await
    }

    /// A setting.
    pub async fn setting(&self, name: &str) -> Option<String> {
        let address = self.address();
        let found = connection(address).await?;
        let mut connection = found;
        let pair: Vec<String> = redis::cmd("CONFIG").arg("GET").arg(name).query_async(&mut connection).await.ok()?;
        pair.into_iter().nth(1)
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RedisProcess {
    fn drop(&mut self) {
        let _it_may_have_ended = self.child().kill();
        let _it_may_have_ended = self.child().wait();
    }
}

/// A field of INFO.
pub fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end)
}

/// A connection with short limits.
pub async fn connection(address: SocketAddr) -> Option<redis::aio::MultiplexedConnection> {
    let client = redis::Client::open(format!("redis://{address}")).expect("an address");
    let config =
        redis::AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER)).set_connection_timeout(Some(ANSWER));
    client.get_multiplexed_async_connection_with_config(&config).await.ok()
}

/// The answer to one command, as text.
pub async fn ask(address: SocketAddr, command: &[&str]) -> Option<String> {
    let mut connection = connection(address).await?;
    let (name, arguments) = command.split_first()?;
    redis::cmd(name).arg(arguments).query_async(&mut connection).await.ok()
}

/// A connection for what may take long.
pub async fn patient(address: SocketAddr) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(format!("redis://{address}")).expect("an address");
    let config = redis::AsyncConnectionConfig::new()
        .set_response_timeout(Some(Duration::from_secs(60)))
        .set_connection_timeout(Some(Duration::from_secs(30)));
    client.get_multiplexed_async_connection_with_config(&config).await.expect("the server is up")
}

/// The answer of a server that may be busy.
pub async fn patient_ask(address: SocketAddr, command: &[&str]) -> Option<String> {
    let mut connection = patient(address).await;
    let (name, arguments) = command.split_first()?;
    redis::cmd(name).arg(arguments).query_async(&mut connection).await.ok()
}
