//! What a field of `INFO` can say: anything else is no number of a server, and nothing is made of it.

use super::{host, pair, parse_version, port, replica_line};

/// No machine has more memory (1 PiB): more is not measured, whatever the server says.
pub(super) const ABSURD: u64 = 1 << 50;

/// Amounts of memory that a server holds or may hold: neither negative nor absurd.
pub(super) const AMOUNTS: [&str; 7] = [
    "used_memory",
    "used_memory_rss",
    "used_memory_peak",
    "maxmemory",
    "repl_backlog_size",
    "allocator_active",
    "aof_current_size",
];

/// Numbers that are not negative. (Differences, and times of what never was, may be: those count as zero.)
pub(super) const COUNTS: [&str; 13] = [
    "uptime_in_seconds",
    "latest_fork_usec",
    "master_repl_offset",
    "cluster_enabled",
    "master_sync_in_progress",
    "loading",
    "async_loading",
    "rdb_bgsave_in_progress",
    "aof_rewrite_in_progress",
    "module_fork_in_progress",
    "aof_rewrite_scheduled",
    "aof_enabled",
    "lazyfree_pending_objects",
];

/// Whether a server can say that of itself.
pub(super) type Check = fn(&str) -> bool;

/// What the other fields can say. Those that are not named here, and those that are not read, can say what they like.
pub(super) const CHECKS: [(&str, Check); 5] = [
    ("run_id", is_run_id),
    ("redis_version", |value| parse_version(value).is_some()),
    ("role", |value| matches!(value, "master" | "slave" | "replica" | "active-replica")),
    ("master_host", |value| host("master_host", value).is_ok()),
    ("master_port", |value| port("master_port", value).is_ok()),
];

pub(super) fn is_count(value: &str) -> bool {
    is_digits(value) && value.parse::<u64>().is_ok()
}

pub(super) fn is_amount(value: &str) -> bool {
    is_digits(value) && value.parse::<u64>().is_ok_and(|amount| amount <= ABSURD)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a field that is numbered, as `slave0` and `db0` are, has what is read of it.
pub(super) fn is_numbered_right(name: &str, value: &str) -> bool {
    match name.strip_prefix("slave") {
        Some(number) if is_digits(number) => replica_line(value).is_ok(),
        None if name.strip_prefix("db").is_some_and(is_digits) => {
            ["keys", "expires"].iter().all(|part| pair(value, part).is_some_and(is_digits))
        }
        _ => true,
    }
}

pub(super) fn is_run_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric())
}
