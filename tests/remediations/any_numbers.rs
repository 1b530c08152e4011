//! Whatever numbers the servers say, negative, absurd or none at all: a higher limit makes nothing worse, and no `maxmemory`
//! is set that costs a key.

use proptest::prelude::*;
use redis_memory_operator::{
    assess::{AssessSettings, Assessment},
    domain::{
        finding::{Finding, FindingCode},
        peaks::Peaks,
        policy::HeadroomMethod,
    },
    redis_io::info::Info,
};

use super::*;

/// What a field of INFO may say: mostly what a server says.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        24 => (0_u64..1 << 33).prop_map(|number| number.to_string()),
        1 => any::<u64>().prop_map(|number| number.to_string()),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => prop::num::f64::ANY.prop_map(|number| number.to_string()),
        1 => prop::sample::select(vec!["0", "nan", "-nan", "inf", "", "18446744073709551616"]).prop_map(str::to_owned),
    ]
}

fn ratio() -> impl Strategy<Value = String> {
    prop_oneof![8 => (0.0..5.0_f64).prop_map(|ratio| format!("{ratio:.2}")), 1 => number()]
}

/// The ratio comes last.
const FIELDS: [&str; 17] = [
    "used_memory",
    "used_memory_rss",
    "used_memory_peak",
    "used_memory_dataset",
    "maxmemory",
    "allocator_active",
    "allocator_frag_bytes",
    "allocator_rss_bytes",
    "rss_overhead_bytes",
    "mem_not_counted_for_evict",
    "mem_clients_normal",
    "used_memory_vm_total",
    "rdb_last_cow_size",
    "keyspace_hits",
    "keyspace_misses",
    "evicted_keys",
    "mem_fragmentation_ratio",
];

/// What the three members of a set say, field by field.
fn said() -> impl Strategy<Value = Vec<Vec<String>>> {
    let fields = (prop::collection::vec(number(), FIELDS.len() - 1), ratio());
    let member = fields.prop_map(|(mut fields, ratio)| {
        fields.push(ratio);
        fields
    });
    prop::collection::vec(member, 3)
}

fn peaks() -> impl Strategy<Value = Peaks> {
    let amounts = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    let shares = (prop::option::of(any::<u32>()), prop::option::of(any::<u32>()), 0_u64..100_000);
    (amounts, shares).prop_map(|((uncounted, clients, buffer, writes, copied_by), (ratio, copied, seconds))| Peaks {
        covered: Duration::from_secs(seconds),
        ratio: ratio.map(Ratio),
        uncounted: Bytes(uncounted),
        clients: Bytes(clients),
        sync_buffer: Bytes(buffer),
        copied: copied.map(Ratio),
        writes: Bytes(writes),
        writes_copied: Bytes(copied_by),
    })
}

/// A policy that may set `maxmemory`, by either method, and the set that says that.
fn scene(said: &[Vec<String>], measured: bool, peaks: Peaks, evicts: &str) -> (Policy, Snapshot) {
    let (mut policy, mut snapshot) = fixtures::enforced();
    policy.headroom.set_maxmemory = true;
    policy.headroom.method = if measured { HeadroomMethod::Measured } else { HeadroomMethod::Fixed };
    for (target, said) in snapshot.targets.iter_mut().zip(said) {
        let lines = FIELDS.iter().zip(said).map(|(name, value)| format!("{name}:{value}\r\n"));
        let text = format!(
            "run_id:{}\r\nredis_version:7.0.15\r\nrole:master\r\nmaxmemory_policy:{evicts}\r\nmem_allocator:jemalloc-5.3.0\r\n{}",
            "a".repeat(40),
            lines.collect::<String>()
        );
        let before = target.sample().expect("a sample").clone();
        let read = Info::parse(&text).sample(before.at, before.pod_uid.clone(), before.config.clone(), Some(false));
        let read = read.expect("a server answers");
        // Its role and its links are those of the set; what it says of its memory is read as it is.
        let mut sample = Sample { memory: read.memory, lookups: read.lookups, unread: read.unread, ..before };
        sample.persistence.copy_on_write = read.persistence.copy_on_write;
        if let Ok(config) = &mut sample.config {
            config.maxmemory = sample.memory.maxmemory;
        }
        let memory = &sample.memory;
        for reading in &mut target.history {
            (reading.ratio, reading.used, reading.rss) = (memory.ratio, memory.used, memory.rss);
        }
        target.peaks = peaks;
        target.redis = Observation::Seen(Box::new(sample));
    }
    (policy, snapshot)
}

fn limited(snapshot: &mut Snapshot, limit: u64) {
    let limit = Some(Bytes(limit));
    for set in &mut snapshot.stateful_sets {
        set.template_limits = vec![("redis".into(), limit)];
    }
    for target in &mut snapshot.targets {
        let container = target.pod.container.as_mut().unwrap();
        (container.spec_limit, container.live_limit) = (limit, limit);
    }
}

fn found(policy: &Policy, snapshot: &Snapshot) -> Vec<Finding> {
    Assessment::of(policy, snapshot, &AssessSettings::default()).findings(&[], None)
}

/// The bands of fragmentation are one finding.
fn alike(one: FindingCode, other: FindingCode) -> bool {
    let band = |code: FindingCode| code.as_str().starts_with("Fragmentation");
    one == other || (band(one) && band(other))
}

proptest! {
    #[test]
    fn a_higher_limit_makes_no_finding_worse(
        said in said(), measured: bool, peaks in peaks(), limit in prop_oneof![any::<u64>(), 1_u64..1 << 34], more: u64,
    ) {
        let (policy, mut snapshot) = scene(&said, measured, peaks, "allkeys-lru");
        let mut with = |limit| {
            limited(&mut snapshot, limit);
            found(&policy, &snapshot)
        };
        let (before, after) = (with(limit), with(limit.saturating_add(more)));
        for one in &after {
            let was = before.iter().filter(|was| was.pod == one.pod && alike(was.code, one.code));
            prop_assert!(was.map(|was| was.severity).max() >= Some(one.severity), "{one:#?} {before:#?}");
        }
    }

    #[test]
    fn no_maxmemory_is_set_below_what_is_used_and_a_tenth(
        said in said(), measured: bool, peaks in peaks(), limit in prop_oneof![any::<u64>(), 1_u64..1 << 34],
        evicts in prop::sample::select(vec!["allkeys-lru", "noeviction", "volatile-ttl"]), resize: bool,
    ) {
        let (mut policy, mut snapshot) = scene(&said, measured, peaks, evicts);
        policy.headroom.resize_pod = resize;
        snapshot.targets.iter_mut().for_each(|target| target.history.clear());
        limited(&mut snapshot, limit);
        let used = snapshot.targets.iter().map(|target| target.sample().unwrap().memory.used.0).max().unwrap_or_default();
        let (settings, mut records) = (PlanSettings::default(), Vec::new());
        for _ in 0..12 {
            let ctx = Context::of(&policy, &snapshot, &records, NOW, &settings);
            match decide::decide(&ctx, None, false, true).act {
                Next::Remember(remembered) => records = remembered,
                Next::Upkeep(effects) => {
                    for (effect, _) in effects {
                        if let Effect::SetMaxmemory { peer, value, .. } = effect {
                            prop_assert!(u128::from(value.0) * 100 >= u128::from(used) * 110, "{value:?} for {used}");
                            let member = snapshot.targets.iter_mut().find(|target| target.pod.uid == peer.uid).unwrap();
                            let sample = member.sample_mut().unwrap();
                            sample.memory.maxmemory = value;
                            sample.config.as_mut().unwrap().maxmemory = value;
                        }
                    }
                }
                _ => break,
            }
        }
    }
}
