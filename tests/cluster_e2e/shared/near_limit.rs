//! A full set at limit 1.5 × maxmemory meets the kernel long before the restart threshold: near its limit it is restarted for
//! that.

use crate::prelude::*;

/// What is enough for maxmemory 256 MiB.
const LIMIT: u64 = 384 * MIB;
/// Above 80 % of it, and with room for the fork of a full sync.
const NEAR: u64 = 317 * MIB;

/// Fills the primary with keys of 100 bytes nearly to its maxmemory, deletes five of nine, and fills it with larger keys, which
/// do not fit into the holes, until it is resident with so many bytes: about 1.6 times what is used.
const FRAGMENT: &str = r#"
set -e
memory() { redis-cli INFO memory | tr -d '\r' | sed -n "s/^$1://p"; }
evaluate() {
  refused=$(redis-cli EVAL "$1" 0 "$2")
  [ -z "$refused" ] || { echo "$refused" >&2; exit 1; }
}
fill='local v = string.rep("x", 100) for i = tonumber(ARGV[1]), ARGV[1] + 19999 do redis.call("SET", "f:" .. i, v) end'
thin='for i = tonumber(ARGV[1]), ARGV[1] + 19999 do if i % 9 < 5 then redis.call("DEL", "f:" .. i) end end'
more='local v = string.rep("y", 1000) for i = tonumber(ARGV[1]), ARGV[1] + 1999 do redis.call("SET", "g:" .. i, v) end'
keys=0
while [ "$(memory used_memory)" -lt 246000000 ]; do
  evaluate "$fill" "$keys"
  keys=$((keys + 20000))
done
at=0
while [ "$at" -lt "$keys" ]; do
  evaluate "$thin" "$at"
  at=$((at + 20000))
done
at=0
while [ "$(memory used_memory_rss)" -lt "$1" ]; do
  [ "$at" -lt 400000 ] || { echo "it does not grow" >&2; exit 1; }
  evaluate "$more" "$at"
  [ "$(redis-cli WAIT 2 20000)" -ge 2 ]
  at=$((at + 2000))
  # A server measures its resident memory ten times a second.
  sleep 0.12
done
"#;

/// Resident memory of each member, in percent of the limit, and its ratio.
fn resident(set: &Redis<'_>) -> Vec<(u64, f64)> {
    let of = |pod: &String| {
        let info = set.info(pod);
        (info.number("used_memory_rss") * 100 / LIMIT, info.ratio())
    };
    set.pods().iter().map(of).collect()
}

#[test]
#[ignore = "needs a cluster: make test"]
fn a_full_set_that_nears_its_limit_is_restarted_before_the_ratio_alone_is_a_reason() {
    let _operator = operator::usual();
    let space = Space::new("near");
    let set = Redis::deploy(&space, "redis", 3, &[("MAXMEMORY", "256mb"), ("LIMIT", "384Mi")]);
    set.label_roles();
    let writer = set.writer(400);
    set.script(&set.primary(), FRAGMENT, &[&NEAR.to_string()]);
    let before = resident(&set);
    println!("before: {before:?}");
    // Serious, and far from the threshold of 2.5.
    assert!(before.iter().all(|(percent, ratio)| *percent > 80 && (1.5..2.0).contains(ratio)), "{before:?}");

    let watch = PodWatch::of(&set);
    let policy = Policy::apply(&space, "redis", &[("MODE", "Enforce")]);
    let steps = policy.await_journal();
    let restarts: Vec<_> = steps.iter().filter(|step| step.kind == "Evict").collect();
    println!("{}", restarts[0].reason);
    assert!(restarts.len() == 3, "{steps:?}");
    // One may be so for less than `sustained` when another is due.
    let saying = |text: &str| restarts.iter().filter(|step| step.reason.contains(text)).count();
    let of_each = (saying("RSS is near the limit of 384 MiB"), saying("another member of its set has to be restarted"));
    assert!(of_each.0 > 0 && of_each.0 + of_each.1 == 3, "{steps:#?}");
    policy.await_success(240);
    watch.assert_main_job("redis-0", &["redis-1".to_owned(), "redis-2".to_owned()]);

    let after = resident(&set);
    println!("after: {after:?}");
    assert!(after.iter().all(|(percent, _)| *percent < 70), "{after:?}");
    set.assert_cured();
    for pod in set.pods() {
        assert_eq!(set.cgroup_limit(&pod), LIMIT, "no limit was raised");
        assert_eq!(set.info(&pod).number("evicted_keys"), 0, "{pod}");
    }
    assert_eq!(set.container_restarts(), 0);
    println!("{}", writer.assert_nothing_lost());
}
