//! One probe of one Redis: what the server said of itself at one moment.
//!
//! Field meanings and presence by version follow the servers' own sources (`src/server.c`, `src/object.c`).

use std::{fmt, net::IpAddr, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    bytes::Bytes,
    lookups::Lookups,
    names::{NodeAddress, PodUid, RunId},
    ratio::Ratio,
    serving::Serving,
    written,
};

/// One probe of one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sample {
    /// When the reply had arrived, by this process' monotonic clock.
    pub at: Timestamp,
    /// The pod that was asked.
    pub pod_uid: PodUid,
    /// The process that answered; empty: the server does not say.
    pub run_id: RunId,
    /// Which server, which version.
    pub server: Server,
    /// `INFO memory`.
    pub memory: Memory,
    /// `INFO replication`.
    pub replication: Replication,
    /// `INFO persistence`.
    pub persistence: Persistence,
    /// `latest_fork_usec`: how long the last fork blocked the server; zero when it never forked.
    #[serde(rename = "latestForkMicros", with = "written::micros")]
    pub latest_fork: Duration,
    /// Keys in all databases.
    pub keys: u64,
    /// Keys with a time to live in all databases.
    pub keys_with_ttl: u64,
    /// What was looked up and evicted so far; `None`: not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookups: Option<Lookups>,
    /// `CONFIG GET`, or why it could not be read.
    #[serde(with = "written::known")]
    pub config: Result<Config, ConfigUnreadable>,
    /// Whether a Sentinel is connected (seen in the client list); `None`: could not be told.
    pub sentinel_seen: Option<bool>,
    /// Where the Sentinels are connected from, sorted, as far as the client list tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sentinel_hosts: Vec<IpAddr>,
    /// Fields of INFO that every Redis has and that are missing, and fields whose value cannot be: sorted. What stands in
    /// their place in this sample (zero, an empty name, [`Role::Unknown`]) says nothing: findings that rest on them are
    /// not judged, and a server that has any is not acted on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

impl Sample {
    /// That field of INFO could not be read.
    pub fn is_unread(&self, field: &str) -> bool {
        self.unread.iter().any(|unread| unread == field)
    }

    /// How many keys there are could not be read.
    pub fn keys_unread(&self) -> bool {
        self.unread.iter().any(|unread| unread.starts_with("db"))
    }

    /// A replica that is connected here could not be read: who replicates with this server is not known.
    pub fn replicas_unread(&self) -> bool {
        self.unread.iter().any(|unread| unread.starts_with("slave"))
    }
}

impl Sample {
    /// The ports that the server says that it listens on.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        let tls = self.config.as_ref().ok().and_then(Config::tls_port);
        self.server.tcp_port.into_iter().chain(tls)
    }

    /// Something that is to be on disk did not get there. A save that failed once, where none is due, is none of that.
    pub fn persistence_fails(&self) -> bool {
        let nothing_to_save = self.config.as_ref().is_ok_and(|config| config.save.is_empty());
        !(self.persistence.status_ok || self.persistence.only_save_failed && nothing_to_save)
    }

    /// A Sentinel is connected to it; `false` also where that could not be told.
    pub fn has_sentinel(&self) -> bool {
        self.sentinel_seen == Some(true)
    }

    /// The port that this server tells its primary that it listens on, and at which replicas follow it; `None`: an
    /// answer of the first version's, which does not say.
    pub fn replication_port(&self) -> Option<u16> {
        let over_tls = self.config.as_ref().ok().filter(|config| config.tls_replication);
        over_tls.and_then(Config::tls_port).or(self.server.tcp_port)
    }
}

/// Which server answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Server {
    /// The product.
    pub engine: Engine,
    /// The version of the product itself (for Valkey `valkey_version`, not the frozen `redis_version`).
    pub version: Version,
    /// Whether `cluster_enabled` is 1.
    pub cluster_enabled: bool,
    /// `tcp_port`: the plain port, or the one for TLS where there is no plain one. `None`: not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_port: Option<u16>,
    /// Time since the process started.
    #[serde(with = "written::duration")]
    pub uptime: Duration,
}

/// The product behind the Redis protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Engine {
    /// Redis.
    Redis,
    /// Valkey.
    Valkey,
    /// `KeyDB`: watched, never restarted by us.
    KeyDb,
    /// Dragonfly: watched, never restarted by us.
    Dragonfly,
}

/// A server version. Ordered: 6.2.5 < 7.0.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Version {
    /// First number.
    pub major: u16,
    /// Second number.
    pub minor: u16,
    /// Third number.
    pub patch: u16,
}

impl Version {
    /// The server does not say; older than every version that is.
    pub const UNKNOWN: Self = Self { major: 0, minor: 0, patch: 0 };
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::UNKNOWN {
            return f.write_str("of an unknown version");
        }
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// `INFO memory`. Byte differences that the server may report as negative are clamped at zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Memory {
    /// `used_memory`; zero: not measured, as just after the start.
    pub used: Bytes,
    /// `used_memory_rss`; zero: not measured, as just after the start.
    pub rss: Bytes,
    /// `used_memory_peak`.
    pub peak: Bytes,
    /// `used_memory_dataset`; zero where the server's subtraction underflowed.
    pub dataset: Bytes,
    /// `mem_fragmentation_ratio` as the server says it (rss and used taken at the same moment), in percent.
    pub ratio: Ratio,
    /// `maxmemory`; zero: no bound.
    pub maxmemory: Bytes,
    /// `maxmemory_policy`.
    pub maxmemory_policy: String,
    /// `mem_allocator`, for example `jemalloc-5.3.0` or `libc`.
    pub allocator: String,
    /// `allocator_active`.
    pub allocator_active: Bytes,
    /// `allocator_frag_bytes`: active - allocated up to Redis 7.2, small-bin waste from 7.4 and Valkey 8.0.
    pub allocator_frag: Bytes,
    /// `allocator_rss_bytes`: resident - active, the part that jemalloc can give back.
    pub allocator_rss: Bytes,
    /// `rss_overhead_bytes`: what the process holds beyond its allocator.
    pub rss_overhead: Bytes,
    /// `mem_not_counted_for_evict`.
    pub not_counted_for_evict: Bytes,
    /// `mem_clients_normal`.
    pub clients_normal: Bytes,
    /// Memory of Lua's machines, which up to Redis 7.2 is not in `used`: `used_memory_vm_total`, before 7.0
    /// `used_memory_lua`. `None`: not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scripts: Option<Bytes>,
    /// What a replica holds back of the stream of writes during a full sync: `mem_replica_full_sync_buffer` (Redis 8),
    /// `mem_replicas_repl_buffer` (Valkey 9.1). `None`: not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_buffer: Option<Bytes>,
    /// `lazyfree_pending_objects`.
    pub lazyfree_pending: u64,
    /// `active_defrag_running` is not zero.
    pub active_defrag_running: bool,
}

impl Memory {
    /// rss - used, or zero when the process is swapped.
    pub fn waste(&self) -> Bytes {
        self.rss.saturating_sub(self.used)
    }

    /// The server has measured itself: no server holds nothing.
    pub fn is_measured(&self) -> bool {
        self.used > Bytes::ZERO && self.rss > Bytes::ZERO
    }

    /// What the server holds against `maxmemory`: buffers for replicas and for the append-only file are no reason to evict, or to
    /// refuse.
    pub fn counted(&self) -> Bytes {
        self.used.saturating_sub(self.not_counted_for_evict)
    }

    /// The server has evicted down to that `maxmemory`. While it answers it uses some more (measured: 1.6 KiB).
    pub fn has_evicted_to(&self, maxmemory: Bytes) -> bool {
        self.counted() <= maxmemory.percent(101)
    }

    /// On libc builds only the total ratio means anything (redis-server reports 1.00 or mirrors the total).
    pub fn allocator_is_jemalloc(&self) -> bool {
        self.allocator.starts_with("jemalloc")
    }
}

/// `INFO replication`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Replication {
    /// The role, and what only that role has.
    pub role: Role,
    /// `master_replid`: equal on all members that hold the same history.
    pub replid: String,
    /// `master_repl_offset` (on a replica the offset up to which it has applied).
    pub offset: u64,
    /// The history that this one continues; `None`: it began here, or the server does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousHistory>,
    /// `slaveN` lines: the replicas connected to this server (a replica may have some too: a chain).
    pub replicas: Vec<ReplicaLine>,
    /// `master_failover_state`; `no-failover` at rest.
    pub failover_state: FailoverState,
    /// `repl_backlog_size`.
    pub backlog_size: Bytes,
    /// Of a replica: for how long its link has been down (`master_link_down_since_seconds`). `None`: it is up, or never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_down_for: Option<Duration>,
}

/// The history that a promoted replica continues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PreviousHistory {
    /// `master_replid2`.
    pub replid: String,
    /// `second_repl_offset`: one more than the last offset that both share.
    pub end: u64,
}

/// `role`, and what only that role has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// `role:master`.
    Primary,
    /// `role:slave`.
    Replica(ReplicaLink),
    /// The server says something else, or nothing.
    Unknown,
}

/// A replica's view of its link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplicaLink {
    /// `master_host` and `master_port`, as configured on the replica.
    pub primary: NodeAddress,
    /// `master_link_status:up`.
    pub link_up: bool,
    /// `master_sync_in_progress`.
    pub sync_in_progress: bool,
    /// `slave_read_only`.
    pub read_only: bool,
}

/// One `slaveN:` line of a primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplicaLine {
    /// The address as the primary sees it: the only form that `FAILOVER TO` takes.
    pub address: NodeAddress,
    /// `state=online`.
    pub online: bool,
    /// The acknowledged offset.
    pub offset: u64,
    /// Seconds since the last acknowledgement.
    #[serde(with = "written::duration")]
    pub lag: Duration,
}

/// `master_failover_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailoverState {
    /// `no-failover`, or a server without the field.
    None,
    /// `waiting-for-sync`: bounded by FAILOVER's TIMEOUT.
    WaitingForSync,
    /// `failover-in-progress`: bounded by nothing but `FAILOVER ABORT`.
    InProgress,
}

/// `INFO persistence`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Persistence {
    /// `loading` or `async_loading`.
    pub loading: bool,
    /// A child process that is alive: save, rewrite, module fork or slot migration.
    pub child_running: bool,
    /// `aof_rewrite_scheduled`.
    pub rewrite_scheduled: bool,
    /// The last save, and with an AOF its last rewrite and write, went well (`*_status` is `ok`).
    pub status_ok: bool,
    /// Of these the last save alone did not (`rdb_last_bgsave_status`). It is said until another goes well: for ever on
    /// a server that has no save points.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_save_failed: bool,
    /// `aof_enabled`.
    pub aof_enabled: bool,
    /// `aof_current_size`: what the AOF takes on disk; `None`: not said, as where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aof_size: Option<Bytes>,
    /// `rdb_last_bgsave_time_sec`; zero when there was none.
    #[serde(with = "written::duration")]
    pub last_save_took: Duration,
    /// The largest of `rdb_last_cow_size`, `aof_last_cow_size` and `current_cow_peak`.
    pub copy_on_write: Bytes,
    /// Saves that this process has begun: `rdb_saves`, before 7.0 `total_forks`.
    pub saves: u64,
    /// AOF rewrites that this process has begun: `aof_rewrites`, before 7.0 `total_forks`.
    pub rewrites: u64,
    /// Since the last successful save, by the server's own clock; `None`: this process has saved nothing in the
    /// background. (`rdb_last_save_time` begins as the time of the start, which is no save.)
    pub since_last_save: Option<Duration>,
}

/// What `CONFIG GET` says of the settings that decisions rest on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// `maxmemory`.
    pub maxmemory: Bytes,
    /// `save`, as the server writes it; empty: no save points.
    pub save: String,
    /// `appendonly`.
    pub appendonly: bool,
    /// `maxmemory-policy`.
    pub maxmemory_policy: String,
    /// `repl-backlog-size`.
    pub repl_backlog_size: Bytes,
    /// `min-replicas-to-write`.
    pub min_replicas_to_write: u32,
    /// `shutdown-timeout`; zero before 7.0.
    #[serde(with = "written::duration")]
    pub shutdown_timeout: Duration,
    /// Fingerprint of `masterauth` (a hash: the secret itself is never kept); `None`: unset.
    pub primary_auth: Option<String>,
    /// Fingerprint of `masteruser`; `None`: unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_user: Option<String>,
    /// Hard limit of `client-output-buffer-limit` for replicas; zero: unlimited.
    pub replica_output_limit: Bytes,
    /// `repl-diskless-load`.
    pub diskless_load: String,
    /// `dir`: where the AOF and the dump are, absolute.
    pub dir: String,
    /// `tls-replication`: replicas connect over TLS, to the primary's `tls-port`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls_replication: bool,
    /// What it is to its clients beside that.
    #[serde(default, skip_serializing_if = "Serving::is_unknown")]
    pub serving: Serving,
}

impl Config {
    /// The value of a setting that is compared with what a replacement started with, as `CONFIG GET` gives it.
    pub fn get(&self, name: &str) -> Option<String> {
        let value = match name {
            "maxmemory" => self.maxmemory.0.to_string(),
            "maxmemory-policy" => self.maxmemory_policy.clone(),
            "appendonly" => if self.appendonly { "yes" } else { "no" }.to_owned(),
            "save" => self.save.clone(),
            "repl-backlog-size" => self.repl_backlog_size.0.to_string(),
            "dir" => self.dir.clone(),
            name => return self.serving.at_run_time().remove(name),
        };
        Some(value)
    }

    /// Where it takes connections over TLS; `None`: nowhere, or not known.
    pub fn tls_port(&self) -> Option<u16> {
        self.serving.tls_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
    }

    /// By what this member authenticates to its primary otherwise than that one, in words that show neither: "masterauth
    /// is set on {a} and not on {b}". `None`: alike.
    pub fn authenticates_unlike(&self, other: &Self, (here, there): (&str, &str)) -> Option<String> {
        let pairs = [
            ("masterauth", &self.primary_auth, &other.primary_auth),
            ("masteruser", &self.primary_user, &other.primary_user),
        ];
        let (name, own, others) = pairs.into_iter().find(|(_, own, others)| own != others)?;
        Some(match (own, others) {
            (Some(_), None) => format!("{name} is set on {here} and not on {there}"),
            (None, Some(_)) => format!("{name} is set on {there} and not on {here}"),
            _ => format!("{name} has one value on {here} and another on {there}"),
        })
    }

    /// Something of the data is written to disk: an AOF, or save points.
    pub fn persists(&self) -> bool {
        self.appendonly || !self.save.is_empty()
    }
}

/// Why `CONFIG GET` gave nothing (renamed command, missing right, odd reply). The text is safe to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConfigUnreadable(pub String);

impl Reading {
    /// Whether the ratio is that of the data and its heap.
    pub const fn counts_for_band(&self) -> bool {
        self.quiet || self.steady
    }
}

/// What of a sample is kept in a target's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reading {
    /// When, as in [`Sample::at`].
    pub at: Timestamp,
    /// The process that was read.
    pub run_id: RunId,
    /// `mem_fragmentation_ratio`.
    pub ratio: Ratio,
    /// `used_memory`.
    pub used: Bytes,
    /// `used_memory_rss`.
    pub rss: Bytes,
    /// Nothing went on: not loading, syncing or forking, no lazy free or rewrite pending. Only such a reading is a proof.
    pub quiet: bool,
    /// Nothing went on but at most a child process or a rewrite that is due: a fork does not move the ratio (measured), so
    /// that it counts for the band.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub steady: bool,
    /// `uptime_in_seconds` of the process that was read.
    #[serde(with = "written::duration")]
    pub uptime: Duration,
    /// `master_repl_offset`: how it grows is the write rate.
    pub offset: u64,
    /// What else there was to know, should the kernel kill it next.
    #[serde(default)]
    pub pressure: Pressure,
}

/// What tells why a server takes more memory than its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Pressure {
    /// `maxmemory`; zero: no bound.
    pub maxmemory: Bytes,
    /// `mem_clients_normal`: buffers of ordinary clients.
    pub clients: Bytes,
    /// `mem_not_counted_for_evict`: buffers for replicas and for the append-only file.
    pub uncounted: Bytes,
    /// It loads its data.
    pub loading: bool,
    /// A child saves or rewrites.
    pub child: bool,
}
