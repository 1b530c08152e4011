//! The memory of a Redis → what to write down so that `lint` and the operator find nothing: redis.conf, resources, and what
//! the node must have. Pure.

use super::judge::LARGEST_INSTANCE;
use crate::{
    assess::headroom::{self, Demand},
    domain::{
        bytes::{Bytes, MIB},
        policy::HeadroomRule,
        purpose::Purpose,
        start::redis_text,
    },
};

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The memory that there is.
    pub memory: Memory,
    /// Replicas beside the primary.
    pub replicas: u32,
    /// How the data is kept.
    pub persistence: Persistence,
    /// What the data is for.
    pub purpose: Purpose,
    /// How far the limit must exceed maxmemory.
    pub headroom: HeadroomRule,
}

/// The memory that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// A container may take this: its limit.
    Container(Bytes),
    /// A node has this, for one Redis and the system.
    Node(Bytes),
}

/// How the data is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Not at all.
    None,
    /// By save points.
    Rdb,
    /// By an append-only file.
    Aof,
}

/// What to write down.
#[derive(Clone, Debug)]
pub struct Recommendation {
    /// Servers among which the data is split, each with its replicas: 1, unless one would hold too much.
    pub servers: u64,
    /// Pods of each: the primary and its replicas.
    pub pods: u64,
    /// The limit and the request of each pod.
    pub limit: Bytes,
    /// maxmemory of each pod.
    pub maxmemory: Bytes,
    /// The lines of redis.conf.
    pub redis_conf: Vec<String>,
    /// The node that was given, else what one that holds one of these pods has at least.
    pub node: Bytes,
    /// Of it for the system.
    pub reserve: Bytes,
    /// Settings of the node's kernel: name, value, why.
    pub sysctls: Vec<(&'static str, String, &'static str)>,
    /// How the numbers were found.
    pub arithmetic: Vec<String>,
    /// What a person should think of.
    pub notes: Vec<String>,
}

/// Why there is nothing to recommend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{have} leave no room for data: a container needs at least {least}, {minimum} of it above maxmemory")]
pub struct TooSmall {
    have: Bytes,
    least: Bytes,
    minimum: Bytes,
}

/// 1 GB and 500 MB: what a system takes of a small node.
const GB: u64 = 1_000_000_000;
const LEAST_RESERVE: Bytes = Bytes(GB / 2);
/// The most that a replica's output buffer holds before the replica is cut off: Redis' default.
const REPLICA_BUFFER: Bytes = Bytes::mib(256);
/// Where transparent huge pages are switched.
pub const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// What a node keeps for the system: 20 % until that is 1 GB, 15 % from where that is more, and never less than 500 MB.
pub fn reserve(node: Bytes) -> Bytes {
    node.percent(15).max(node.percent(20).min(Bytes(GB))).max(LEAST_RESERVE)
}

/// The smallest node, in whole mebibytes, that has this much beside its reserve.
fn node_for(limit: Bytes) -> Bytes {
    let enough = |mebibytes: u64| Bytes::mib(mebibytes).saturating_sub(reserve(Bytes::mib(mebibytes))) >= limit;
    let (mut low, mut high) = (0, (limit + limit + Bytes(2 * GB)).0.div_ceil(MIB));
    while low < high {
        let middle = low + (high - low) / 2;
        if enough(middle) { high = middle } else { low = middle + 1 }
    }
    Bytes::mib(low)
}

/// What to write down for that wish.
pub fn recommend(wish: &Wish) -> Result<Recommendation, TooSmall> {
    let (whole_limit, given) = match wish.memory {
        Memory::Container(limit) => (limit.round_down_mib(), format!("limit: {} are given", limit.round_down_mib())),
        Memory::Node(node) => {
            let limit = node.saturating_sub(reserve(node)).round_down_mib();
            (limit, format!("limit: {node} of the node − {} for the system = {limit}", reserve(node)))
        }
    };
    let demand = Demand::assumed(&wish.headroom);
    let fits = |limit: Bytes| demand.bearable(limit);
    let too_small = || {
        let least = demand.limit(Bytes::mib(1));
        TooSmall { have: whole_limit, least, minimum: wish.headroom.minimum }
    };
    if fits(whole_limit) == Bytes::ZERO {
        return Err(too_small());
    }
    // No more than one server should hold.
    let servers = fits(whole_limit).0.div_ceil(LARGEST_INSTANCE.0);
    // Rounding may leave a mebibyte too much to each.
    let servers = servers + u64::from(fits(Bytes(whole_limit.0 / servers).round_down_mib()) > LARGEST_INSTANCE);
    let limit = Bytes(whole_limit.0 / servers).round_down_mib();
    let maxmemory = fits(limit);
    // A node that was given holds all of them.
    let on_node = if matches!(wish.memory, Memory::Node(_)) { Bytes(limit.0.saturating_mul(servers)) } else { limit };
    let node = match wish.memory {
        Memory::Node(node) => node,
        Memory::Container(_) => node_for(limit),
    };
    let mut made = Recommendation {
        servers,
        pods: u64::from(wish.replicas) + 1,
        limit,
        maxmemory,
        redis_conf: conf(wish, maxmemory),
        node,
        reserve: reserve(node),
        sysctls: sysctls(on_node, node),
        arithmetic: vec![given],
        notes: notes(wish, servers),
    };
    made.arithmetic.extend(arithmetic(wish, &made));
    Ok(made)
}

fn conf(wish: &Wish, maxmemory: Bytes) -> Vec<String> {
    let policy = wish.purpose.fitting_policy();
    let mut lines = vec![format!("maxmemory {}", redis_text(maxmemory)), format!("maxmemory-policy {policy}")];
    if policy != "noeviction" {
        lines.push("lazyfree-lazy-eviction yes".to_owned());
    }
    let more: &[&str] = match wish.persistence {
        Persistence::None => &["appendonly no", "save \"\""],
        Persistence::Rdb => &["appendonly no", "save 3600 1", "save 300 100", "save 60 10000", "dir /data"],
        Persistence::Aof => &["appendonly yes", "appendfsync everysec", "save \"\"", "dir /data"],
    };
    lines.extend(more.iter().map(|line| (*line).to_owned()));
    if wish.replicas > 0 {
        let buffer = redis_text(replica_buffer(maxmemory));
        lines.push(format!("repl-backlog-size {}", redis_text(backlog(maxmemory))));
        lines.push(format!(
            "client-output-buffer-limit replica {buffer} {} 60",
            redis_text(Bytes(replica_buffer(maxmemory).0 / 4).round_down_mib())
        ));
    }
    lines
}

/// Redis' default of 256mb, but no more than a quarter of a small server's maxmemory.
fn replica_buffer(maxmemory: Bytes) -> Bytes {
    Bytes(maxmemory.0 / 4).round_down_mib().min(REPLICA_BUFFER).max(Bytes::mib(4))
}

/// A fiftieth of maxmemory, from Redis' default of 1mb to 256mb: what a replica that was away catches up from.
fn backlog(maxmemory: Bytes) -> Bytes {
    Bytes(maxmemory.0 / 50).round_down_mib().clamp(Bytes::mib(1), Bytes::mib(256))
}

fn sysctls(redis: Bytes, node: Bytes) -> Vec<(&'static str, String, &'static str)> {
    // Where the kernel counts what is promised (2), a fork promises the whole process once more.
    let promised = (u128::from(redis.0) * 2 + u128::from(reserve(node).0)) * 100;
    let ratio = promised.div_ceil(u128::from(node.0.max(1)));
    vec![
        ("vm.overcommit_memory", "1".to_owned(), "the kernel grants the fork of a save, a rewrite or a full sync"),
        (
            "vm.overcommit_ratio",
            ratio.to_string(),
            "has no effect under 1; where overcommit_memory must be 2, a fork needs this without swap",
        ),
        ("vm.swappiness", "1".to_owned(), "a page of Redis that is swapped out stops every client that needs it"),
    ]
}

fn arithmetic(wish: &Wish, made: &Recommendation) -> Vec<String> {
    let rule = &wish.headroom;
    let (limit, maxmemory) = (made.limit, made.maxmemory);
    let mut lines = Vec::new();
    if made.servers > 1 {
        lines.push(format!(
            "servers: one should hold at most {LARGEST_INSTANCE}, so {} with a limit of {limit} each",
            made.servers
        ));
    }
    let fits = match Demand::assumed(rule) {
        Demand::Fixed { percent, minimum } => {
            format!("the smaller of {limit} × 100 / {} and {limit} − {minimum}", percent.saturating_add(100))
        }
        demand @ Demand::Measured(_) => {
            format!("the most for which {limit} is enough by method Measured: {}", demand.short(maxmemory))
        }
    };
    lines.push(format!("maxmemory: {fits}, in whole mebibytes = {}", redis_text(maxmemory)));
    let process = headroom::PROCESS_BASE + headroom::metadata(maxmemory);
    let buffer = if wish.replicas > 0 { replica_buffer(maxmemory) } else { Bytes::ZERO };
    let room = limit.saturating_sub(maxmemory);
    let rest = room.saturating_sub(process + buffer);
    let share = u128::from(rest.0) * 100 / u128::from(maxmemory.0.max(1));
    lines.push(format!(
        "headroom: {limit} − {maxmemory} = {room}: the process {process} (12 MiB and 3.5 % of maxmemory), replication buffers \
         {buffer}, and {rest} ({share} % of maxmemory) for fragmentation, clients and the pages that a fork copies"
    ));
    lines.push(format!(
        "request: the limit, {limit}: what Redis may take the node has. All pods: {} × {limit} = {}",
        made.servers * made.pods,
        Bytes(limit.0.saturating_mul(made.servers * made.pods))
    ));
    let percent = u128::from(made.reserve.0) * 100 / u128::from(made.node.0.max(1));
    lines.push(format!(
        "node: {} has {} for the system ({percent} %: 20 % until that is 1 GB, then 15 %, at least 500 MB) and {} for Redis",
        made.node,
        made.reserve,
        made.node.saturating_sub(made.reserve)
    ));
    lines
}

fn notes(wish: &Wish, servers: u64) -> Vec<String> {
    let mut notes = Vec::new();
    let keeps = wish.persistence != Persistence::None;
    match (wish.purpose.may_be_lost(), keeps) {
        (true, true) => notes.push(
            "a cache that is written to disk pays for it with forks: --persistence none, unless a start with a full cache is \
             worth it"
                .to_owned(),
        ),
        (false, false) => notes.push(format!(
            "a {} without persistence is empty after a restart of its primary, and so are its replicas: --persistence aof",
            wish.purpose
        )),
        _ => {}
    }
    if keeps {
        notes.push(
            "dir is on a PersistentVolumeClaim, of at least twice maxmemory: a rewrite holds both files".to_owned(),
        );
    }
    if servers > 1 {
        notes.push(format!(
            "{servers} servers: a Redis Cluster of {servers} shards, or servers among which the clients choose by key"
        ));
    }
    notes.push(
        "the kernel's settings are the node's, and hold for all of its pods: set them where the node is made"
            .to_owned(),
    );
    notes
}

#[cfg(test)]
mod tests;
