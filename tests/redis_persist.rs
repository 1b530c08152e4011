//! What real servers have of their data after a restart, and what the planner makes of what they say: rewritten AOFs and
//! others, saves that are too old, a primary that comes back empty, a backlog that spares a full sync.
#![cfg(test)]

mod common;

use std::time::Duration;

use common::{DEADLINE, connect, eventually, look, server::RedisServer};
use redis_memory_operator::{
    assess::AssessSettings,
    domain::{
        acl::PlainCommand,
        blocked::BlockReason,
        bytes::Bytes,
        fixtures::{self, NOW},
        journal::Journal,
        policy::Policy,
        sample::{Role, Sample},
        snapshot::{Observation, Snapshot},
        step::{Step, StepKind},
    },
    plan::{Context, PlanSettings, advance, begin, effect::Effect, next::Next},
};

/// Keys that are written; every fifth stays.
const KEYS: u32 = 300_000;

async fn look_at(server: &RedisServer) -> Sample {
    look(&mut connect(server).await).await.expect("a sample")
}

/// Fills slabs and thins them out, in scripts whose commands replicate and are logged one by one.
fn fragment(server: &RedisServer) {
    let fill = "local v = string.rep('x', 100) for i = tonumber(ARGV[1]), ARGV[1] + 19999 do redis.call('SET', 'f:' .. i, v) end";
    let thin = "for i = tonumber(ARGV[1]), ARGV[1] + 19999 do if i % 5 ~= 0 then redis.call('DEL', 'f:' .. i) end end";
    for script in [fill, thin] {
        for from in (0..KEYS).step_by(20_000) {
            server.run(&["EVAL", script, "0", &from.to_string()]);
        }
    }
}

/// Its resident memory once free pages are given back: what is left is data and what lies half-empty between it.
async fn resident(server: &RedisServer) -> Bytes {
    let mut last = Bytes::ZERO;
    eventually("the resident memory is steady", async || {
        server.run(&["MEMORY", "PURGE"]);
        // The server measures itself every 100 ms.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let rss = look_at(server).await.memory.rss;
        let steady = rss.0.abs_diff(last.0) < 1 << 20;
        last = rss;
        steady.then_some(())
    })
    .await;
    last
}

async fn rewrite(server: &RedisServer) {
    let before = look_at(server).await.persistence.rewrites;
    connect(server).await.run(PlainCommand::BgRewriteAof).await.expect("BGREWRITEAOF is accepted");
    eventually("the AOF is rewritten", async || {
        let seen = look_at(server).await.persistence;
        (seen.rewrites > before && !seen.child_running && !seen.rewrite_scheduled && seen.status_ok).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_primary_that_loads_its_aof_is_cured_only_after_a_rewrite() {
    let mut server = RedisServer::start(&["--appendonly", "yes"]);
    fragment(&server);
    let fragmented = resident(&server).await;

    server.terminate();
    server.start_again();
    assert_eq!(look_at(&server).await.keys, u64::from(KEYS / 5));
    let replayed = resident(&server).await;
    assert!(replayed.0 > fragmented.0 * 8 / 10, "the replay fragments it again: {fragmented} before, {replayed} after");

    rewrite(&server).await;
    server.terminate();
    server.start_again();
    assert_eq!(look_at(&server).await.keys, u64::from(KEYS / 5));
    let clean = resident(&server).await;
    println!("fragmented {fragmented}, replayed {replayed}, after a rewrite {clean}");
    assert!(clean.0 < fragmented.0 * 6 / 10, "{fragmented} before, {clean} after");
}

#[tokio::test]
async fn a_replica_with_an_aof_is_cured_without_a_rewrite() {
    let primary = RedisServer::start(&["--appendonly", "yes"]);
    let port = primary.address().port().to_string();
    let mut replica = RedisServer::start(&["--appendonly", "yes", "--replicaof", "127.0.0.1", &port]);
    online(&primary, &replica).await;
    fragment(&primary);
    caught_up(&primary, &replica).await;
    let fragmented = resident(&replica).await;

    replica.terminate();
    replica.start_again();
    online(&primary, &replica).await;
    caught_up(&primary, &replica).await;
    let synced = resident(&replica).await;
    println!("fragmented {fragmented}, after a restart {synced}");
    let sample = look_at(&replica).await;
    assert_eq!(sample.keys, u64::from(KEYS / 5));
    // libc gives back less of what the AOF had taken before the full sync.
    let tenths = if sample.memory.allocator_is_jemalloc() { 6 } else { 8 };
    assert!(synced.0 < fragmented.0 * tenths / 10, "{fragmented} before, {synced} after");
}

async fn online(primary: &RedisServer, replica: &RedisServer) {
    eventually("the replica is online", async || {
        let lines = primary.replication().await.replicas;
        let listed = lines.iter().any(|line| line.address.port == replica.address().port() && line.online);
        let role = replica.replication().await.role;
        (listed && matches!(role, Role::Replica(link) if link.link_up && !link.sync_in_progress)).then_some(())
    })
    .await;
}

async fn caught_up(primary: &RedisServer, replica: &RedisServer) {
    eventually("the replica has everything", async || {
        (primary.replication().await.offset == replica.replication().await.offset).then_some(())
    })
    .await;
}

/// The planner's world: the fixture of one pod, with what a real server says of its data.
struct World {
    policy: Policy,
    snapshot: Snapshot,
    settings: PlanSettings,
    passed: i64,
}

impl World {
    fn of(sample: &Sample) -> Self {
        let (policy, snapshot) = fixtures::standalone();
        let settings = PlanSettings {
            assess: AssessSettings::default(),
            proof_settle: Duration::ZERO,
            proof_timeout: Duration::from_secs(1),
            ..PlanSettings::default()
        };
        let mut world = Self { policy, snapshot, settings, passed: 0 };
        let Observation::Seen(fixture) = &mut world.snapshot.targets[0].redis else { panic!("a sample") };
        let run_id = fixture.run_id.clone();
        world.see(sample);
        // The process that the fixture's history is of.
        let Observation::Seen(seen) = &mut world.snapshot.targets[0].redis else { panic!("a sample") };
        seen.run_id = run_id;
        world
    }

    /// The server was looked at again.
    fn see(&mut self, sample: &Sample) {
        let Observation::Seen(seen) = &mut self.snapshot.targets[0].redis else { panic!("a sample") };
        seen.persistence = sample.persistence.clone();
        (seen.keys, seen.keys_with_ttl) = (sample.keys, sample.keys_with_ttl);
        let (real, config) = (sample.config.as_ref().expect("readable"), seen.config.as_mut().expect("readable"));
        (config.appendonly, config.save) = (real.appendonly, real.save.clone());
    }

    fn ctx(&self) -> Context<'_> {
        let now = fixtures::seconds_ago(-self.passed);
        assert!(now >= NOW);
        Context::of(&self.policy, &self.snapshot, &[], now, &self.settings)
    }

    fn begin(&self) -> Journal {
        let considered = begin::consider(&self.ctx());
        considered.begin.unwrap_or_else(|| panic!("{:?}", considered.blocked))
    }

    fn next(&self, journal: &Journal) -> Next {
        advance::next(&self.ctx(), journal, false)
    }
}

/// Asks for the write-out as the planner wants it, and does what it wants only the second time.
async fn only_a_new_one_counts(server: &RedisServer, rewrites: bool) {
    let mut world = World::of(&look_at(server).await);
    let Next::Act(asked, effect) = world.next(&world.begin()) else { panic!("nothing is asked for") };
    let command = if rewrites { PlainCommand::BgRewriteAof } else { PlainCommand::BgSave };
    assert!(matches!(*effect, Effect::Send { command: told, .. } if told == command), "{effect:?}");
    // It was not heard, and an old one is all there is.
    world.passed = 2;
    world.see(&look_at(server).await);
    let Next::Act(asked, _) = world.next(&asked) else { panic!("what was there before is taken for proof") };

    let mut connection = connect(server).await;
    connection.run(command).await.expect("it is accepted");
    let proven = eventually("it is proven", async || {
        world.see(&look_at(server).await);
        match world.next(&asked) {
            Next::Record(journal) => Some(journal),
            Next::Wait(..) => None,
            other => panic!("{other:?}"),
        }
    })
    .await;
    assert_eq!(proven.step().map(Step::kind), Some(StepKind::Evict));
    assert!(proven.members[0].persisted_at.is_some());
    assert!(!connection.persistence(DEADLINE).await.expect("it answers").child_running);
}

#[tokio::test]
async fn a_save_from_before_is_no_proof_and_a_new_one_is() {
    let server = RedisServer::start(&["--save", "3600", "1"]);
    server.run(&["MSET", "a", "1", "b", "2"]);
    connect(&server).await.run(PlainCommand::BgSave).await.expect("BGSAVE is accepted");
    eventually("the first save has ended", async || {
        let seen = look_at(&server).await.persistence;
        (!seen.child_running && seen.since_last_save.is_some()).then_some(())
    })
    .await;
    // Old enough that the whole seconds of the server's clock show it.
    eventually("the save is old", async || {
        let age = look_at(&server).await.persistence.since_last_save?;
        (age > Duration::from_secs(4)).then_some(())
    })
    .await;
    only_a_new_one_counts(&server, false).await;
}

#[tokio::test]
async fn a_rewrite_from_before_is_no_proof_and_a_new_one_is() {
    let server = RedisServer::start(&["--appendonly", "yes"]);
    server.run(&["MSET", "a", "1", "b", "2"]);
    rewrite(&server).await;
    only_a_new_one_counts(&server, true).await;
}

#[tokio::test]
async fn a_server_that_never_saved_says_so() {
    let server = RedisServer::start(&["--save", "3600", "1"]);
    assert_eq!(look_at(&server).await.persistence.since_last_save, None, "the time of its start is no save");
}

#[tokio::test]
async fn a_primary_that_comes_back_empty_freezes_and_one_with_its_keys_does_not() {
    for (options, reason) in [(&["--save", ""][..], Some(BlockReason::PrimaryEmpty)), (&["--appendonly", "yes"], None)]
    {
        let mut server = RedisServer::start(options);
        server.run(&["EVAL", "for i = 1, 1000 do redis.call('SET', i, i) end", "0"]);
        let before = look_at(&server).await;
        let mut world = World::of(&look_at(&RedisServer::start(&["--appendonly", "yes"])).await);
        let mut journal = world.begin();
        while journal.step().map(Step::kind) != Some(StepKind::AwaitPrimary) {
            journal.cursor += 1;
        }
        journal.current.begun_at = Some(NOW);
        journal.members[0].keys = i64::try_from(before.keys).ok();
        journal.members[0].lasting_keys = journal.members[0].keys;
        journal.members[0].identity.uid = "evicted".into();

        server.terminate();
        server.start_again();
        world.see(&look_at(&server).await);
        match (world.next(&journal), reason) {
            (Next::Gate(blocked, _), Some(reason)) => assert_eq!(blocked[0].reason, reason, "{}", blocked[0].text),
            (Next::Record(next), None) => assert_eq!(next.step().map(Step::kind), Some(StepKind::RestoreSettings)),
            other => panic!("{options:?}: {other:?}"),
        }
    }
}

/// `sync_full` and `sync_partial_ok` of a primary.
fn syncs(server: &RedisServer) -> (u64, u64) {
    let info = server.run(&["INFO", "stats"]);
    let count = |name: &str| {
        let line = info.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
        line.and_then(|number| number.parse().ok()).expect("it counts syncs")
    };
    (count("sync_full"), count("sync_partial_ok"))
}

/// Restarts a replica while more is written than a small backlog holds; true: it needed no full sync.
async fn goes_on(options: &[&str], backlog: &str) -> bool {
    let primary = RedisServer::start(&["--repl-backlog-size", "64kb"]);
    let port = primary.address().port().to_string();
    let mut replica = RedisServer::start(&[options, &["--replicaof", "127.0.0.1", &port]].concat());
    online(&primary, &replica).await;
    primary.run(&["SET", "a", "1"]);
    caught_up(&primary, &replica).await;
    connect(&primary).await.config_set("repl-backlog-size", backlog).await.expect("CONFIG SET is accepted");
    let before = syncs(&primary);
    replica.terminate();
    let write = "local v = string.rep('x', 1000) for i = 1, 1000 do redis.call('SET', 'b:' .. i, v) end";
    primary.run(&["EVAL", write, "0"]);
    replica.start_again();
    online(&primary, &replica).await;
    let after = syncs(&primary);
    assert_eq!(look_at(&replica).await.keys, 1001);
    match (after.0 - before.0, after.1 - before.1) {
        (0, 1) => true,
        (1, 0) => false,
        other => panic!("full and partial syncs: {other:?}"),
    }
}

#[tokio::test]
async fn a_raised_backlog_spares_a_full_sync_only_where_a_dump_is_kept() {
    let dump = ["--save", "3600", "1"];
    assert!(!goes_on(&dump, "65536").await, "the small backlog does not cover it");
    assert!(goes_on(&dump, "8388608").await, "the raised one does");
    assert!(!goes_on(&["--appendonly", "yes"], "8388608").await, "an AOF keeps no replication id");
    // Received without a file: else the file of the first sync would do, as long as the backlog reaches back to it.
    let nothing = ["--save", "", "--repl-diskless-load", "on-empty-db"];
    assert!(!goes_on(&nothing, "8388608").await, "and without persistence there is nothing to keep");
}
