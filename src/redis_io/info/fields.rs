//! The fields of an INFO reply that are read, by name. A reply has some 150 lines; those that count are found in one pass,
//! and nothing is copied: a map of all of them was an eighth of what a probe cost.

use std::collections::HashMap;

use memchr::{memchr, memchr_iter};

/// Every name that is read, but for those that end in a number.
const NAMES: [&str; 72] = [
    "active_defrag_running",
    "allocator_active",
    "allocator_frag_bytes",
    "allocator_rss_bytes",
    "aof_current_size",
    "aof_enabled",
    "aof_last_bgrewrite_status",
    "aof_last_cow_size",
    "aof_last_write_status",
    "aof_rewrite_in_progress",
    "aof_rewrite_scheduled",
    "aof_rewrites",
    "async_loading",
    "cluster_enabled",
    "connected_clients",
    "current_cow_peak",
    "dragonfly_version",
    "evicted_keys",
    "executable",
    "keyspace_hits",
    "keyspace_misses",
    "latest_fork_usec",
    "lazyfree_pending_objects",
    "loading",
    "master_failover_state",
    "master_host",
    "master_link_down_since_seconds",
    "master_link_status",
    "master_port",
    "master_repl_offset",
    "master_replid",
    "master_replid2",
    "master_sync_in_progress",
    "maxmemory",
    "maxmemory_policy",
    "mem_allocator",
    "mem_clients_normal",
    "mem_fragmentation_ratio",
    "mem_not_counted_for_evict",
    "mem_replica_full_sync_buffer",
    "mem_replicas_repl_buffer",
    "module_fork_in_progress",
    "mvcc_depth",
    "paused_reason",
    "rdb_bgsave_in_progress",
    "rdb_last_bgsave_status",
    "rdb_last_bgsave_time_sec",
    "rdb_last_cow_size",
    "rdb_last_save_time",
    "rdb_saves",
    "redis_mode",
    "redis_version",
    "repl_backlog_size",
    "role",
    "rss_overhead_bytes",
    "run_id",
    "second_repl_offset",
    "server_mode",
    "server_name",
    "server_time_usec",
    "slave_read_only",
    "slot_migration_fork_in_progress",
    "tcp_port",
    "total_forks",
    "uptime_in_seconds",
    "used_memory",
    "used_memory_dataset",
    "used_memory_lua",
    "used_memory_peak",
    "used_memory_rss",
    "used_memory_vm_total",
    "valkey_version",
];

/// Places of [`PLACES`]: a power of two, large enough that most names have one of their own.
const SLOTS: usize = 1024;

/// No name lies there.
const FREE: u8 = u8::MAX;

/// Where a name is looked for first, as its place in [`NAMES`]; it lies there, or in the next that are taken. Only names
/// of ours are in it, so that no server can crowd it.
#[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "checked when it is compiled")]
static PLACES: [u8; SLOTS] = {
    let mut places = [FREE; SLOTS];
    let mut number = 0;
    while number < NAMES.len() {
        let mut at = slot(NAMES[number].as_bytes());
        while places[at] != FREE {
            at = (at + 1) % SLOTS;
        }
        places[at] = number as u8;
        number += 1;
    }
    places
};

/// By the length and three letters: names that are read differ in these.
#[expect(clippy::indexing_slicing, reason = "each is below the length, which is not zero")]
const fn slot(name: &[u8]) -> usize {
    let length = name.len();
    if length == 0 {
        return 0;
    }
    (length * 131 + name[length - 1] as usize * 31 + name[length / 2] as usize * 7 + name[length / 3] as usize * 67)
        % SLOTS
}

/// The place of a name in [`NAMES`].
fn place(name: &str) -> Option<usize> {
    let mut at = slot(name.as_bytes());
    loop {
        let number = usize::from(*PLACES.get(at)?);
        // No name lies at a free place.
        if *NAMES.get(number)? == name {
            return Some(number);
        }
        at = (at + 1) % SLOTS;
    }
}

/// The fields by name. Of a field that comes twice the first counts: the server's own sections come before those of its
/// modules.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    named: [Option<&'a str>; NAMES.len()],
    /// `slaveN` and `dbN`.
    numbered: HashMap<&'a str, &'a str>,
}

impl<'a> Fields<'a> {
    /// Splits the reply into fields. Lines that are no fields are passed over.
    pub(super) fn parse(text: &'a str) -> Self {
        let mut fields = Self { named: [None; NAMES.len()], numbered: HashMap::new() };
        let mut begin = 0;
        for end in memchr_iter(b'\n', text.as_bytes()).chain([text.len()]) {
            fields.add(text.get(begin..end).unwrap_or_default());
            begin = end.saturating_add(1);
        }
        fields
    }

    fn add(&mut self, line: &'a str) {
        let Some(colon) = memchr(b':', line.as_bytes()) else { return };
        let (name, value) = line.split_at(colon);
        let value = || value.get(1..).unwrap_or_default().trim_end_matches('\r');
        if let Some(known) = place(name).and_then(|place| self.named.get_mut(place)) {
            known.get_or_insert_with(value);
        } else if is_numbered(name) {
            self.numbered.entry(name).or_insert_with(value);
        }
    }

    /// A field that is among those that are read.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        let place = place(name);
        debug_assert!(place.is_some(), "{name} is not among the names that are read");
        self.named.get(place?).copied().flatten()
    }

    /// `slaveN` and `dbN`, in no order.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.numbered.iter().map(|(name, value)| (*name, *value))
    }
}

/// Begins as `slaveN` and `dbN` do.
fn is_numbered(name: &str) -> bool {
    let number = name.strip_prefix("slave").or_else(|| name.strip_prefix("db"));
    number.and_then(|number| number.bytes().next()).is_some_and(|byte| byte.is_ascii_digit() || byte == b'+')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        for (number, name) in NAMES.iter().enumerate() {
            assert_eq!(place(name), Some(number), "{name}");
            assert_eq!(place(&name[1..]), None);
            assert_eq!(place(&format!("{name}_")), None);
        }
        assert_eq!((place(""), place("é"), place("used_cpu_sys")), (None, None, None));
    }

    #[test]
    fn the_first_of_two_counts_and_what_is_no_field_is_passed_over() {
        let text = "# role:slave\r\nrole:master\r\nrole:slave\r\n\r\nloading\nslave0:a:b\r\r\nslave0:c\ndb0:d\nslave_x:e\nrun_id:f";
        let fields = Fields::parse(text);
        assert_eq!(
            (fields.get("role"), fields.get("loading"), fields.get("run_id")),
            (Some("master"), None, Some("f"))
        );
        let mut numbered: Vec<_> = fields.numbered().collect();
        numbered.sort_unstable();
        assert_eq!(numbered, [("db0", "d"), ("slave0", "a:b")]);
    }
}
