//! `INFO` to a sample. Pure. The traps are those that real servers were seen to lay: NaN ratios and an RSS of zero
//! just after the start, a dataset size that wrapped around, negative byte differences, fields that come and go with
//! the version, `slaveN` lines that grow keys, and product names behind a frozen `redis_version`.

mod fields;
mod values;

use std::time::Duration;

use jiff::Timestamp;

use self::{
    fields::Fields,
    values::{ABSURD, AMOUNTS, CHECKS, COUNTS, Check, is_amount, is_count, is_numbered_right, is_run_id},
};
use super::text::word;
use crate::domain::{
    bytes::Bytes,
    lookups::Lookups,
    names::{NodeAddress, PodUid, RunId},
    ratio::Ratio,
    sample::{
        Config, ConfigUnreadable, Engine, FailoverState, Memory, Persistence, PreviousHistory, ReplicaLine,
        ReplicaLink, Replication, Role, Sample, Server, Version,
    },
};

/// Longest host name that is taken from a server: that of DNS.
const MAX_HOST: usize = 253;

/// Fields that every Redis has.
const ESSENTIAL: [&str; 6] = ["run_id", "redis_version", "role", "used_memory", "used_memory_rss", "maxmemory"];

/// Why an INFO reply gives no sample.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InfoError {
    /// A field that every Redis has is not there.
    #[error("INFO lacks the field {0}")]
    Missing(&'static str),
    /// A field has a value that no Redis gives it.
    #[error("INFO has an unreadable {0}")]
    Unreadable(&'static str),
    /// A Sentinel answers, not a data server.
    #[error("a Sentinel answers here, not a data server")]
    Sentinel,
}

/// An INFO reply, taken apart.
#[derive(Debug)]
pub struct Info<'a> {
    fields: Fields<'a>,
}

impl<'a> Info<'a> {
    /// Splits the reply into fields. Lines that are no fields are passed over.
    pub fn parse(text: &'a str) -> Self {
        Self { fields: Fields::parse(text) }
    }

    /// Everything at once. What cannot be read costs that field, which [`Sample::unread`] names; an error is only what
    /// shows that no Redis data server answers.
    pub fn sample(
        &self,
        at: Timestamp,
        pod_uid: PodUid,
        config: Result<Config, ConfigUnreadable>,
        sentinel_seen: Option<bool>,
    ) -> Result<Sample, InfoError> {
        if !ESSENTIAL.iter().any(|name| self.get(name).is_some()) {
            return Err(InfoError::Missing("run_id"));
        }
        let (keys, keys_with_ttl) = self.keyspace();
        let memory = self.memory(config.as_ref().ok());
        let mut unread = self.unread();
        if config.is_ok() && self.get("maxmemory").is_none() {
            unread.retain(|name| name != "maxmemory");
        }
        Ok(Sample {
            at,
            pod_uid,
            run_id: self.run_id().unwrap_or_default(),
            server: self.server()?,
            memory,
            replication: self.replication_seen(),
            persistence: self.persistence(),
            latest_fork: Duration::from_micros(self.number("latest_fork_usec")),
            keys,
            keys_with_ttl,
            lookups: self.lookups(),
            config,
            sentinel_seen,
            sentinel_hosts: Vec::new(),
            unread,
        })
    }

    /// The fields that are missing although every Redis has them, and those whose value cannot be, sorted.
    fn unread(&self) -> Vec<String> {
        let is_not = |name: &str, can_be: Check| self.get(name).is_some_and(|value| !can_be(value));
        let missing = ESSENTIAL.into_iter().filter(|name| self.get(name).is_none());
        let amounts = AMOUNTS.into_iter().filter(|name| is_not(name, is_amount));
        let counts = COUNTS.into_iter().filter(|name| is_not(name, is_count));
        let others = CHECKS.into_iter().filter(|(name, check)| is_not(name, *check)).map(|(name, _)| name);
        // Nothing is zero that the server needs to run: it has not measured itself yet.
        let zero = |name: &&str| self.get(name).and_then(parse_number) == Some(0);
        let zeros = ["used_memory", "used_memory_rss"].into_iter().filter(zero);
        let numbered = self.fields.numbered().filter(|(name, value)| !is_numbered_right(name, value));
        let named = missing.chain(amounts).chain(counts).chain(others).chain(zeros);
        let mut unread: Vec<String> = named.chain(numbered.map(|(name, _)| name)).map(str::to_owned).collect();
        unread.sort_unstable();
        unread.dedup();
        unread
    }

    /// `run_id`.
    pub fn run_id(&self) -> Result<RunId, InfoError> {
        let text = self.required("run_id")?;
        if !is_run_id(text) {
            return Err(unreadable("run_id"));
        }
        Ok(RunId::from(text))
    }

    /// The version of the product itself.
    pub fn version(&self) -> Result<Version, InfoError> {
        let (name, text) = match (self.engine(), self.get("valkey_version"), self.get("dragonfly_version")) {
            (Engine::Valkey, Some(text), _) => ("valkey_version", text),
            (Engine::Dragonfly, _, Some(text)) => ("dragonfly_version", text),
            _ => ("redis_version", self.required("redis_version")?),
        };
        parse_version(text).ok_or_else(|| unreadable(name))
    }

    /// How many clients are connected.
    pub fn connected_clients(&self) -> u64 {
        self.number("connected_clients")
    }

    /// `paused_reason`: whether clients are held back. `None`: a server without the field.
    pub fn clients_paused(&self) -> Option<bool> {
        self.get("paused_reason").map(|reason| reason != "none")
    }

    /// `INFO server`.
    pub fn server(&self) -> Result<Server, InfoError> {
        let mode = self.get("server_mode").or_else(|| self.get("redis_mode")).unwrap_or_default();
        if mode == "sentinel" {
            return Err(InfoError::Sentinel);
        }
        Ok(Server {
            engine: self.engine(),
            version: self.version().unwrap_or(Version::UNKNOWN),
            cluster_enabled: mode == "cluster" || self.flag("cluster_enabled"),
            tcp_port: self.get("tcp_port").and_then(|text| text.parse().ok()),
            uptime: Duration::from_secs(self.number("uptime_in_seconds")),
        })
    }

    /// `INFO memory`. A server that does not say its `maxmemory` there says it in its settings.
    /// `INFO memory`; `config`: says `maxmemory` where that does not.
    pub fn memory(&self, config: Option<&Config>) -> Memory {
        let (used, rss) = (self.bytes("used_memory"), self.bytes("used_memory_rss"));
        // Just after the start it is `nan`.
        let said = self.get("mem_fragmentation_ratio").and_then(parse_ratio);
        let ratio = said.or_else(|| Ratio::of(rss, used)).unwrap_or_default();
        let dataset = self.number("used_memory_dataset");
        Memory {
            used,
            rss,
            peak: self.bytes("used_memory_peak").max(used),
            // The server subtracts overhead from used without a check: what exceeds `used` wrapped around.
            dataset: if dataset > used.0 { Bytes::ZERO } else { Bytes(dataset) },
            ratio,
            maxmemory: match self.get("maxmemory") {
                Some(_) => self.bytes("maxmemory"),
                None => config.map(|config| config.maxmemory).unwrap_or_default(),
            },
            maxmemory_policy: self.text("maxmemory_policy"),
            allocator: self.text("mem_allocator"),
            allocator_active: self.bytes("allocator_active"),
            allocator_frag: self.bytes("allocator_frag_bytes"),
            allocator_rss: self.bytes("allocator_rss_bytes"),
            rss_overhead: self.bytes("rss_overhead_bytes"),
            not_counted_for_evict: self.bytes("mem_not_counted_for_evict"),
            clients_normal: self.bytes("mem_clients_normal"),
            scripts: self.amount("used_memory_vm_total").or_else(|| self.amount("used_memory_lua")),
            sync_buffer: self
                .amount("mem_replica_full_sync_buffer")
                .or_else(|| self.amount("mem_replicas_repl_buffer")),
            lazyfree_pending: self.number("lazyfree_pending_objects"),
            active_defrag_running: self.flag("active_defrag_running"),
        }
    }

    /// `INFO replication`, for who acts on it: what cannot be read is an error.
    pub fn replication(&self) -> Result<Replication, InfoError> {
        let replicas = self.replica_lines().into_iter().collect::<Result<_, _>>()?;
        Ok(self.replication_of(self.role()?, replicas))
    }

    /// `INFO replication`, for who only looks.
    fn replication_seen(&self) -> Replication {
        let replicas = self.replica_lines().into_iter().filter_map(Result::ok).collect();
        self.replication_of(self.role().unwrap_or(Role::Unknown), replicas)
    }

    fn replication_of(&self, role: Role, replicas: Vec<ReplicaLine>) -> Replication {
        Replication {
            role,
            replid: self.text("master_replid"),
            offset: self.number("master_repl_offset"),
            previous: self.previous_history(),
            replicas,
            failover_state: match self.get("master_failover_state") {
                None | Some("no-failover") => FailoverState::None,
                Some("waiting-for-sync") => FailoverState::WaitingForSync,
                // An unknown state is the one that nothing may be built on.
                Some(_) => FailoverState::InProgress,
            },
            backlog_size: self.bytes("repl_backlog_size"),
            // Below zero: it never was up.
            link_down_for: self
                .get("master_link_down_since_seconds")
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs),
        }
    }

    /// Forty zeros, and the offset -1: there is none.
    fn previous_history(&self) -> Option<PreviousHistory> {
        let replid = self.get("master_replid2").filter(|id| !id.bytes().all(|byte| byte == b'0'))?;
        let end = self.get("second_repl_offset")?.parse().ok()?;
        Some(PreviousHistory { replid: word(replid), end })
    }

    fn role(&self) -> Result<Role, InfoError> {
        match self.required("role")? {
            "master" => Ok(Role::Primary),
            // The second is Dragonfly's word, the third KeyDB's for a replica that takes writes.
            "slave" | "replica" | "active-replica" => Ok(Role::Replica(ReplicaLink {
                primary: NodeAddress {
                    host: host("master_host", self.required("master_host")?)?,
                    port: port("master_port", self.required("master_port")?)?,
                },
                link_up: self.get("master_link_status") == Some("up"),
                sync_in_progress: self.flag("master_sync_in_progress"),
                read_only: self.get("slave_read_only") != Some("0"),
            })),
            _ => Err(unreadable("role")),
        }
    }

    /// All `slaveN` lines in the order of N. One that cannot be read is an error: a replica must not go unseen.
    fn replica_lines(&self) -> Vec<Result<ReplicaLine, InfoError>> {
        let mut lines: Vec<(u32, &str)> = self
            .fields
            .numbered()
            .filter_map(|(name, value)| Some((name.strip_prefix("slave")?.parse().ok()?, value)))
            .collect();
        lines.sort_unstable();
        lines.into_iter().map(|(_, line)| replica_line(line)).collect()
    }

    /// `INFO persistence`.
    pub fn persistence(&self) -> Persistence {
        let ok = |name| self.get(name).is_none_or(|status| status == "ok");
        let (saved, aof_enabled) = (ok("rdb_last_bgsave_status"), self.flag("aof_enabled"));
        // What is said of an AOF that is off is of long ago.
        let written = !aof_enabled || (ok("aof_last_bgrewrite_status") && ok("aof_last_write_status"));
        Persistence {
            loading: self.flag("loading") || self.flag("async_loading"),
            child_running: self.flag("rdb_bgsave_in_progress")
                || self.flag("aof_rewrite_in_progress")
                || self.flag("module_fork_in_progress")
                || self.flag("slot_migration_fork_in_progress"),
            rewrite_scheduled: self.flag("aof_rewrite_scheduled"),
            status_ok: saved && written,
            only_save_failed: !saved && written,
            aof_enabled,
            aof_size: self.get("aof_current_size").and_then(|size| size.parse().ok()).map(Bytes),
            last_save_took: Duration::from_secs(self.number("rdb_last_bgsave_time_sec")),
            copy_on_write: self
                .bytes("rdb_last_cow_size")
                .max(self.bytes("aof_last_cow_size"))
                .max(self.bytes("current_cow_peak")),
            saves: self.number(if self.get("rdb_saves").is_some() { "rdb_saves" } else { "total_forks" }),
            rewrites: self.number(if self.get("aof_rewrites").is_some() { "aof_rewrites" } else { "total_forks" }),
            since_last_save: self.since_last_save(),
        }
    }

    /// Both times are of the server's clock. A clock that was set back counts as a save just now.
    fn since_last_save(&self) -> Option<Duration> {
        let saved = self.get("rdb_last_bgsave_time_sec").is_some_and(|seconds| !seconds.starts_with('-'));
        let (now, at) = (self.number("server_time_usec"), self.number("rdb_last_save_time"));
        (saved && now > 0 && at > 0).then(|| Duration::from_micros(now).saturating_sub(Duration::from_secs(at)))
    }

    /// Keys, and keys with a time to live, over all databases.
    pub fn keyspace(&self) -> (u64, u64) {
        let databases = self.fields.numbered().filter(|(name, _)| {
            name.strip_prefix("db").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        });
        databases.fold((0, 0), |(keys, expires): (u64, u64), (_, line)| {
            let count = |name| pair(line, name).and_then(parse_number).unwrap_or(0);
            (keys.saturating_add(count("keys")), expires.saturating_add(count("expires")))
        })
    }

    /// What was looked up and evicted; `None` where one of the three is not said.
    fn lookups(&self) -> Option<Lookups> {
        let count = |name| self.get(name).filter(|value| is_count(value)).and_then(parse_number);
        Some(Lookups {
            hits: count("keyspace_hits")?,
            misses: count("keyspace_misses")?,
            evicted: count("evicted_keys")?,
        })
    }

    fn engine(&self) -> Engine {
        let executable = self.get("executable").unwrap_or_default();
        if self.get("dragonfly_version").is_some() {
            Engine::Dragonfly
        } else if self.get("valkey_version").is_some() || self.get("server_name") == Some("valkey") {
            Engine::Valkey
        } else if self.get("mvcc_depth").is_some() || executable.ends_with("keydb-server") {
            Engine::KeyDb
        } else {
            Engine::Redis
        }
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.fields.get(name)
    }

    fn required(&self, name: &'static str) -> Result<&'a str, InfoError> {
        self.get(name).ok_or(InfoError::Missing(name))
    }

    /// A number that some versions do not have; zero then. Negative numbers (differences) are clamped at zero.
    fn number(&self, name: &str) -> u64 {
        self.get(name).and_then(parse_number).unwrap_or(0)
    }

    /// An amount of memory; zero where it cannot be.
    fn bytes(&self, name: &str) -> Bytes {
        self.amount(name).unwrap_or_default()
    }

    /// An amount of memory; `None` where it is not said or cannot be.
    fn amount(&self, name: &str) -> Option<Bytes> {
        self.get(name).and_then(parse_number).filter(|amount| *amount <= ABSURD).map(Bytes)
    }

    /// A number that is not zero.
    fn flag(&self, name: &str) -> bool {
        self.number(name) != 0
    }

    fn text(&self, name: &str) -> String {
        word(self.get(name).unwrap_or_default())
    }
}

/// The value is not repeated: it could say anything.
const fn unreadable(name: &'static str) -> InfoError {
    InfoError::Unreadable(name)
}

/// A whole number; what is negative counts as zero, what is no number or does not fit into 64 bits as none.
fn parse_number(text: &str) -> Option<u64> {
    match text.strip_prefix('-') {
        Some(digits) => digits.parse::<u64>().ok().map(|_| 0),
        None => text.parse().ok(),
    }
}

/// `2.91` as 291 percent, without floats; `nan`, `inf` and negative ratios are none.
fn parse_ratio(text: &str) -> Option<Ratio> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if whole.is_empty() || fraction.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let hundredths = fraction.bytes().chain([b'0']).take(2).fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let percent = whole.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(100).saturating_add(hundredths);
    Some(Ratio(u32::try_from(percent).unwrap_or(u32::MAX)))
}

/// The first three numbers of `7.0.15`, `7.4.0-rc1` or `df-v1.27.1`.
fn parse_version(text: &str) -> Option<Version> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let mut numbers = text.get(start..)?.split('.').map(|part| {
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part.get(..end).and_then(|digits| digits.parse::<u16>().ok())
    });
    let major = numbers.next()??;
    let minor = numbers.next().flatten().unwrap_or(0);
    Some(Version { major, minor, patch: numbers.next().flatten().unwrap_or(0) })
}

/// `ip=10.0.0.2,port=6379,state=online,offset=1,lag=0`, in any order and with more keys.
fn replica_line(line: &str) -> Result<ReplicaLine, InfoError> {
    let (Some(ip), Some(number)) = (pair(line, "ip"), pair(line, "port")) else {
        return Err(unreadable("slaveN line"));
    };
    Ok(ReplicaLine {
        address: NodeAddress { host: host("slaveN line", ip)?, port: port("slaveN line", number)? },
        // The second is Dragonfly's word.
        online: matches!(pair(line, "state"), Some("online" | "stable_sync")),
        offset: pair(line, "offset").and_then(parse_number).unwrap_or(0),
        lag: Duration::from_secs(pair(line, "lag").and_then(parse_number).unwrap_or(0)),
    })
}

/// The value of `name=` in a comma-separated line.
fn pair<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(',').filter_map(|part| part.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Where a server says that another one is; `None`: that is no address.
pub(super) fn address(ip: &str, number: &str) -> Option<NodeAddress> {
    Some(NodeAddress { host: host("address", ip).ok()?, port: port("address", number).ok()? })
}

fn host(name: &'static str, text: &str) -> Result<String, InfoError> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'%'));
    if text.is_empty() || text.len() > MAX_HOST || !plain {
        return Err(unreadable(name));
    }
    Ok(text.to_owned())
}

fn port(name: &'static str, text: &str) -> Result<u16, InfoError> {
    text.parse().map_err(|_| unreadable(name))
}

#[cfg(test)]
mod tests;
