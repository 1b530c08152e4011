//! The parser on replies of real servers (`tests/fixtures/info`), each broken in one place, and on noise.

use super::*;
use crate::domain::bytes::GIB;
use proptest::prelude::*;
use rstest::rstest;

const PRIMARY: &str = include_str!("../../../tests/fixtures/info/redis-7.0.15-primary.txt");
const REPLICA: &str = include_str!("../../../tests/fixtures/info/redis-7.0.15-replica.txt");
const SENTINEL: &str = include_str!("../../../tests/fixtures/info/redis-7.0.15-sentinel.txt");
const REDIS_6: &str = include_str!("../../../tests/fixtures/info/redis-6.2.5.txt");
const REDIS_8_FRESH: &str = include_str!("../../../tests/fixtures/info/redis-8.2.3-fresh.txt");
const VALKEY_9: &str = include_str!("../../../tests/fixtures/info/valkey-9.1.2.txt");

fn sample(text: &str) -> Result<Sample, InfoError> {
    let config = Err(ConfigUnreadable("not asked".into()));
    Info::parse(text).sample(Timestamp::UNIX_EPOCH, "pod".into(), config, None)
}

/// The primary's reply with one field set to another value.
fn with(field: &str, value: &str) -> String {
    let line = PRIMARY.lines().find(|line| line.starts_with(&format!("{field}:"))).expect("the fixture has the field");
    PRIMARY.replace(line, &format!("{field}:{value}"))
}

/// The primary's reply without a field.
fn without(field: &str) -> String {
    PRIMARY.split_inclusive('\n').filter(|line| !line.starts_with(&format!("{field}:"))).collect()
}

#[test]
fn reads_a_primary_of_7_0() {
    let sample = sample(PRIMARY).unwrap();
    assert_eq!(sample.run_id, RunId::from("6b31e0045c7878f4552156f0933a39e1e88e1885"));
    assert_eq!(sample.server.engine, Engine::Redis);
    assert_eq!(sample.server.version.to_string(), "7.0.15");
    assert_eq!(sample.server.uptime, Duration::from_secs(7));
    assert!(!sample.server.cluster_enabled);
    assert_eq!(
        sample.memory,
        Memory {
            used: Bytes(1_479_384),
            rss: Bytes(13_012_992),
            peak: Bytes(1_584_608),
            dataset: Bytes(367_612),
            ratio: Ratio(904),
            maxmemory: Bytes(GIB),
            maxmemory_policy: "allkeys-lru".into(),
            allocator: "jemalloc-5.3.0".into(),
            allocator_active: Bytes(2_904_064),
            allocator_frag: Bytes(432_848),
            allocator_rss: Bytes(2_727_936),
            rss_overhead: Bytes(7_380_992),
            not_counted_for_evict: Bytes(0),
            clients_normal: Bytes(44_600),
            scripts: Some(Bytes(92_160)),
            sync_buffer: None,
            lazyfree_pending: 0,
            active_defrag_running: false,
        }
    );
    assert_eq!(
        sample.replication,
        Replication {
            role: Role::Primary,
            replid: "59a51ffdcb909933b9f921b955fa98648f70d657".into(),
            offset: 75_235,
            previous: None,
            replicas: vec![ReplicaLine {
                address: NodeAddress { host: "127.0.0.1".into(), port: 7812 },
                online: true,
                offset: 75_110,
                lag: Duration::from_secs(1),
            }],
            failover_state: FailoverState::None,
            backlog_size: Bytes(1_048_576),
            link_down_for: None,
        }
    );
    assert_eq!(
        sample.persistence,
        Persistence {
            loading: false,
            child_running: false,
            rewrite_scheduled: false,
            status_ok: true,
            only_save_failed: false,
            aof_enabled: false,
            aof_size: None,
            last_save_took: Duration::ZERO,
            copy_on_write: Bytes(413_696),
            saves: 1,
            rewrites: 0,
            since_last_save: Some(Duration::from_micros(2_317_978)),
        }
    );
    assert_eq!(sample.latest_fork, Duration::from_micros(373));
    assert_eq!((sample.keys, sample.keys_with_ttl), (1500, 1000));
}

#[test]
fn reads_a_replica() {
    let replication = sample(REPLICA).unwrap().replication;
    let primary = NodeAddress { host: "127.0.0.1".into(), port: 7811 };
    let link = ReplicaLink { primary, link_up: true, sync_in_progress: false, read_only: true };
    assert_eq!(replication.role, Role::Replica(link));
    assert_eq!(replication.offset, 75_235);
    assert_eq!(replication.replicas, []);
}

#[test]
fn reads_other_products_and_versions() {
    let six = sample(REDIS_6).unwrap();
    assert_eq!((six.server.engine, six.server.version.to_string()), (Engine::Redis, "6.2.5".into()));
    assert!(six.memory.allocator_is_jemalloc());

    let valkey = sample(VALKEY_9).unwrap();
    assert_eq!((valkey.server.engine, valkey.server.version.to_string()), (Engine::Valkey, "9.1.2".into()));
    assert!(!valkey.memory.allocator_is_jemalloc());
}

#[test]
fn a_dataset_that_wrapped_around_is_none() {
    assert!(REDIS_8_FRESH.contains("used_memory_dataset:184467440737"), "the fixture shows the trap");
    assert_eq!(sample(REDIS_8_FRESH).unwrap().memory.dataset, Bytes::ZERO);
}

#[test]
fn a_sentinel_is_no_data_server() {
    assert_eq!(sample(SENTINEL).unwrap_err(), InfoError::Sentinel);
}

#[rstest]
#[case("-nan")]
#[case("nan")]
#[case("inf")]
fn a_ratio_that_is_no_number_is_computed(#[case] ratio: &str) {
    let sample = sample(&with("mem_fragmentation_ratio", ratio)).unwrap();
    assert_eq!((sample.memory.ratio, sample.unread.len()), (Ratio(879), 0));
}

#[rstest]
#[case("used_memory_rss", "0")]
#[case("used_memory", "0")]
#[case("used_memory", "-1")]
#[case("used_memory", "much")]
#[case("used_memory", "99999999999999999999999999")]
#[case("used_memory_rss", "9999999999999999")]
fn a_server_that_has_not_measured_itself_is_seen_and_its_memory_is_not_judged(
    #[case] field: &str,
    #[case] value: &str,
) {
    let sample = sample(&with(field, value)).unwrap();
    assert!(!sample.memory.is_measured() && sample.is_unread(field), "{:?}", sample.unread);
    assert_eq!(sample.replication.role, Role::Primary);
}

#[rstest]
#[case("run_id")]
#[case("redis_version")]
#[case("role")]
#[case("used_memory")]
#[case("used_memory_rss")]
#[case("maxmemory")]
fn a_field_that_is_missing_costs_that_field(#[case] field: &str) {
    assert_eq!(sample(&without(field)).unwrap().unread, [field]);
}

#[rstest]
#[case("run_id", "")]
#[case("run_id", "<script>")]
#[case("redis_version", "new")]
#[case("role", "king")]
#[case("maxmemory", "1gb")]
#[case("maxmemory", "-1")]
#[case("latest_fork_usec", "-3")]
#[case("aof_rewrite_scheduled", "perhaps")]
#[case("db0", "keys=many,expires=0")]
#[case("slave0", "ip=10.0.0.1,port=70000,state=online,offset=1,lag=0")]
#[case("slave0", "port=6379,state=online")]
#[case("slave0", "ip=a b,port=6379")]
fn a_field_that_cannot_be_costs_that_field(#[case] field: &str, #[case] value: &str) {
    let odd = sample(&with(field, value)).unwrap();
    assert_eq!(odd.unread, [field]);
    assert_eq!(odd.memory.used, sample(PRIMARY).unwrap().memory.used);
}

#[test]
fn who_acts_takes_no_reading_with_a_hole() {
    let line = with("slave0", "ip=a b,port=6379");
    assert_eq!(Info::parse(&line).replication().unwrap_err(), InfoError::Unreadable("slaveN line"));
    assert_eq!(Info::parse(&with("role", "king")).replication().unwrap_err(), InfoError::Unreadable("role"));
    assert_eq!(Info::parse(&without("run_id")).run_id().unwrap_err(), InfoError::Missing("run_id"));
}

#[test]
fn a_server_that_hides_its_maxmemory_says_it_in_its_settings() {
    let config = crate::domain::fixtures::sample(Role::Primary).config;
    let said = config.as_ref().unwrap().maxmemory;
    let text = without("maxmemory");
    let sample = Info::parse(&text).sample(Timestamp::UNIX_EPOCH, "pod".into(), config, None).unwrap();
    assert_eq!((sample.memory.maxmemory, sample.unread.len()), (said, 0));
}

#[test]
fn what_has_nothing_of_a_redis_is_none() {
    assert_eq!(sample("hello:world\r\n").unwrap_err(), InfoError::Missing("run_id"));
}

#[rstest]
#[case("rss_overhead_bytes", |s: &Sample| s.memory.rss_overhead)]
#[case("allocator_rss_bytes", |s: &Sample| s.memory.allocator_rss)]
#[case("allocator_frag_bytes", |s: &Sample| s.memory.allocator_frag)]
fn negative_differences_count_as_zero(#[case] field: &str, #[case] read: fn(&Sample) -> Bytes) {
    assert!(read(&sample(PRIMARY).unwrap()) > Bytes::ZERO);
    assert_eq!(read(&sample(&with(field, "-4096")).unwrap()), Bytes::ZERO);
    assert_eq!(read(&sample(&without(field)).unwrap()), Bytes::ZERO, "older servers lack it");
}

#[rstest]
#[case("9.04", Some(904))]
#[case("2.9", Some(290))]
#[case("1", Some(100))]
#[case("0.98", Some(98))]
#[case("1.005", Some(100))]
#[case("42949672.95", Some(u32::MAX))]
#[case("99999999999999999999.00", Some(u32::MAX))]
#[case("-0.5", None)]
#[case("-nan", None)]
#[case(".5", None)]
#[case("1.", None)]
#[case("1e3", None)]
#[case("", None)]
fn ratios_are_read_without_floats(#[case] text: &str, #[case] percent: Option<u32>) {
    assert_eq!(parse_ratio(text), percent.map(Ratio));
}

#[test]
fn a_ratio_that_is_not_there_is_computed() {
    assert_eq!(sample(&without("mem_fragmentation_ratio")).unwrap().memory.ratio, Ratio(879));
}

#[rstest]
#[case("7.0.15", (7, 0, 15))]
#[case("7.4.0-rc1", (7, 4, 0))]
#[case("df-v1.27.1", (1, 27, 1))]
#[case("8", (8, 0, 0))]
#[case("255.255.255", (255, 255, 255))]
fn versions(#[case] text: &str, #[case] (major, minor, patch): (u16, u16, u16)) {
    assert_eq!(parse_version(text), Some(Version { major, minor, patch }));
}

#[rstest]
#[case("valkey_version:8.0.1\r\n", Engine::Valkey, "8.0.1")]
#[case("server_name:valkey\r\n", Engine::Valkey, "7.0.15")]
#[case("dragonfly_version:df-v1.27.1\r\n", Engine::Dragonfly, "1.27.1")]
#[case("mvcc_depth:0\r\n", Engine::KeyDb, "7.0.15")]
fn products_are_known_by_their_own_fields(#[case] extra: &str, #[case] engine: Engine, #[case] version: &str) {
    let server = sample(&format!("{PRIMARY}{extra}")).unwrap().server;
    assert_eq!((server.engine, server.version.to_string()), (engine, version.into()));
}

#[rstest]
#[case("# Cluster\r\ncluster_enabled:1\r\n", true)]
#[case("server_mode:cluster\r\n", true)]
#[case("", false)]
fn cluster_mode_is_seen(#[case] extra: &str, #[case] enabled: bool) {
    assert_eq!(sample(&format!("{}{extra}", without("cluster_enabled"))).unwrap().server.cluster_enabled, enabled);
}

#[test]
fn replica_lines_come_in_order_with_more_keys_and_host_names() {
    let lines = "slave10:ip=10.0.0.9,port=6379,state=online,offset=5,lag=0,type=replica\r\n\
        slave2:ip=redis-2.redis.shop.svc,port=6380,state=wait_bgsave,offset=0,lag=-1,io-thread=0\r\n\
        slave1:port=6379,ip=fd00::1,new=x=y,lag=2,offset=7,state=online\r\n\
        slave_repl_offset:1\r\n";
    let replicas = sample(&format!("{}{lines}", without("slave0"))).unwrap().replication.replicas;
    let line = |host: &str, port, online, offset, lag| ReplicaLine {
        address: NodeAddress { host: host.into(), port },
        online,
        offset,
        lag: Duration::from_secs(lag),
    };
    assert_eq!(
        replicas,
        [
            line("fd00::1", 6379, true, 7, 2),
            line("redis-2.redis.shop.svc", 6380, false, 0, 0),
            line("10.0.0.9", 6379, true, 5, 0)
        ]
    );
}

#[rstest]
#[case("no-failover", FailoverState::None)]
#[case("waiting-for-sync", FailoverState::WaitingForSync)]
#[case("failover-in-progress", FailoverState::InProgress)]
#[case("something-new", FailoverState::InProgress)]
fn failover_states(#[case] text: &str, #[case] state: FailoverState) {
    assert_eq!(sample(&with("master_failover_state", text)).unwrap().replication.failover_state, state);
}

#[rstest]
#[case("rdb_bgsave_in_progress")]
#[case("aof_rewrite_in_progress")]
#[case("module_fork_in_progress")]
fn a_child_process_is_seen(#[case] field: &str) {
    assert!(!sample(PRIMARY).unwrap().persistence.child_running);
    assert!(sample(&with(field, "1")).unwrap().persistence.child_running);
}

#[rstest]
#[case("rdb_last_bgsave_status")]
#[case("aof_last_bgrewrite_status")]
#[case("aof_last_write_status")]
fn a_failed_save_is_seen(#[case] field: &str) {
    let with_aof = with(field, "err").replace("aof_enabled:0", "aof_enabled:1");
    let persistence = sample(&with_aof).unwrap().persistence;
    assert_eq!((persistence.status_ok, persistence.only_save_failed), (false, field.starts_with("rdb")));
}

#[test]
fn of_an_aof_that_is_off_nothing_fails() {
    let old = with("aof_last_bgrewrite_status", "err");
    assert!(sample(&old).unwrap().persistence.status_ok);
}

#[rstest]
#[case("loading")]
#[case("async_loading")]
fn loading_is_seen(#[case] field: &str) {
    assert!(sample(&with(field, "1")).unwrap().persistence.loading);
}

#[test]
fn of_a_field_that_comes_twice_the_first_counts() {
    let twice = format!("{PRIMARY}used_memory:1\r\nrole:slave\r\n");
    assert_eq!(sample(&twice).unwrap(), sample(PRIMARY).unwrap());
}

#[test]
fn line_ends_do_not_matter() {
    assert_eq!(sample(&PRIMARY.replace("\r\n", "\n")).unwrap(), sample(PRIMARY).unwrap());
}

#[test]
fn texts_come_out_clean() {
    let text = with("maxmemory_policy", "all\u{1b}[31mkeys");
    assert_eq!(sample(&text).unwrap().memory.maxmemory_policy, "unreadable");
}

#[test]
fn lookups_are_known_where_all_of_them_are_said() {
    let said = sample(PRIMARY).unwrap().lookups.expect("every version says them");
    let most = sample(&with("keyspace_hits", "18446744073709551615")).unwrap();
    assert_eq!(most.lookups, Some(Lookups { hits: u64::MAX, ..said }));
    for name in ["keyspace_hits", "keyspace_misses", "evicted_keys"] {
        assert_eq!(sample(&with(name, "-1")).unwrap().lookups, None, "{name}");
        assert_eq!(sample(&with(name, "18446744073709551616")).unwrap().lookups, None, "{name}");
        assert_eq!(sample(&PRIMARY.replace(&format!("{name}:"), "other:")).unwrap().lookups, None, "{name}");
    }
}

/// Names that the parser reads, so that noise reaches its inner parts.
const NAMES: [&str; 16] = [
    "run_id",
    "redis_version",
    "role",
    "used_memory",
    "used_memory_rss",
    "maxmemory",
    "mem_fragmentation_ratio",
    "slave0",
    "slave1",
    "slave99999999999",
    "master_host",
    "master_port",
    "db0",
    "db",
    "latest_fork_usec",
    "valkey_version",
];

proptest! {
    #[test]
    fn never_panics_on_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _any_outcome = sample(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn never_panics_on_odd_values(
        lines in proptest::collection::vec((0..NAMES.len(), "[-0-9a-z.,=:é]{0,40}"), 0..40),
        keep_rest in any::<bool>(),
    ) {
        let lines: Vec<String> = lines.iter().map(|(i, value)| format!("{}:{value}\r\n", NAMES[*i])).collect();
        let mut text = lines.concat();
        if keep_rest {
            text.push_str(PRIMARY);
        }
        if let Ok(sample) = sample(&text) {
            prop_assert!(sample.memory.is_measured() || !sample.unread.is_empty());
            prop_assert!(sample.memory.dataset <= sample.memory.used);
        }
    }

    #[test]
    fn numbers_survive_the_journey(
        used in 1..=ABSURD, rss in 1..=ABSURD, maxmemory in 0..=ABSURD, percent: u32, offset: u64, port in 1_u16..,
        keys in 0_u64..1 << 60, expires in 0_u64..1 << 60, fork: u32,
    ) {
        let lines = [
            ("used_memory", used.to_string()),
            ("used_memory_rss", rss.to_string()),
            ("maxmemory", maxmemory.to_string()),
            ("mem_fragmentation_ratio", format!("{}.{:02}", percent / 100, percent % 100)),
            ("master_repl_offset", offset.to_string()),
            ("latest_fork_usec", fork.to_string()),
            ("db0", format!("keys={keys},expires={expires},avg_ttl=0")),
            ("db7", "keys=1,expires=1".into()),
            ("slave0", format!("ip=replica.shop,port={port},state=online,offset={offset},lag=0")),
        ];
        let text = lines.map(|(name, value)| format!("{name}:{value}\r\n")).concat();
        // Of a field that comes twice the first counts: the rest is the real server's.
        let sample = sample(&format!("{text}{PRIMARY}")).unwrap();
        prop_assert_eq!(sample.memory.used, Bytes(used));
        prop_assert_eq!(sample.memory.rss, Bytes(rss));
        prop_assert_eq!(sample.memory.maxmemory, Bytes(maxmemory));
        prop_assert_eq!(sample.memory.ratio, Ratio(percent));
        prop_assert_eq!(sample.replication.offset, offset);
        prop_assert_eq!(sample.replication.replicas[0].offset, offset);
        prop_assert_eq!(sample.replication.replicas[0].address.port, port);
        prop_assert_eq!(sample.latest_fork, Duration::from_micros(u64::from(fork)));
        prop_assert_eq!((sample.keys, sample.keys_with_ttl), (keys + 1, expires + 1));
    }
}

#[test]
fn the_history_that_a_promoted_replica_continues() {
    let replication = |more: &str| {
        let text = format!("role:master\r\nmaster_replid:a1\r\nmaster_repl_offset:7\r\n{more}");
        Info::parse(&text).replication().expect("readable").previous
    };
    let previous = PreviousHistory { replid: "b2".into(), end: 1235 };
    assert_eq!(replication("master_replid2:b2\r\nsecond_repl_offset:1235\r\n"), Some(previous));
    assert_eq!(replication("master_replid2:0000\r\nsecond_repl_offset:-1\r\n"), None);
    assert_eq!(replication("master_replid2:b2\r\nsecond_repl_offset:-1\r\n"), None);
    assert_eq!(replication(""), None);
}

#[test]
fn what_lua_and_a_full_sync_hold_is_read_by_whichever_name_it_has() {
    let memory = |text: &str| sample(text).unwrap().memory;
    assert_eq!(memory(REDIS_6).scripts, Some(Bytes(37_888)), "used_memory_lua");
    assert_eq!(memory(REDIS_8_FRESH).sync_buffer, Some(Bytes::ZERO), "mem_replica_full_sync_buffer");
    assert_eq!(memory(VALKEY_9).sync_buffer, Some(Bytes::ZERO), "mem_replicas_repl_buffer");
    let hidden = memory(&with("used_memory_vm_total", "99999999999999999999").replace("used_memory_lua:", "other:"));
    assert_eq!(hidden.scripts, None, "what cannot be is not said");
}

#[rstest]
#[case::down("master_link_status:down\r\nmaster_link_down_since_seconds:720", Some(720))]
#[case::never_up("master_link_status:down\r\nmaster_link_down_since_seconds:-1", None)]
#[case::up("master_link_status:up", None)]
fn for_how_long_a_link_is_down(#[case] more: &str, #[case] seconds: Option<u64>) {
    let text = format!(
        "role:slave\r\nmaster_host:a\r\nmaster_port:6379\r\nmaster_replid:a1\r\nmaster_repl_offset:7\r\n{more}\r\n"
    );
    let replication = Info::parse(&text).replication().expect("readable");
    assert_eq!(replication.link_down_for, seconds.map(Duration::from_secs));
}
