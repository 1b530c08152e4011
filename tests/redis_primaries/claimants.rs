//! The old primary that comes back as one, two primaries of any other origin, a primary that lost its data.

use pretty_assertions::assert_eq;
use redis_memory_operator::{
    clock::Clock,
    domain::{
        blocked::BlockReason,
        fixtures::{self, NOW},
        journal::Journal,
        step::Step,
    },
    execute::{Done, ExecuteError},
    kube_io::fence::Fence,
    plan::{Context, begin, decide, effect::Effect, next::Next},
    redis_io::RedisError,
};

use crate::{
    common::eventually,
    set::{KEYS, Set, assert_frozen, at, decide, demotion, policy, settings},
};

/// redis-1 has the role, redis-0 is back as a primary without keys.
async fn returned() -> (Set, Journal) {
    let mut set = Set::start(&[]).await;
    set.hand_over().await;
    let journal = set.journal().await;
    set.replace_old_primary();
    assert!(set.servers[0].is_primary().await && set.servers[1].is_primary().await, "the premise");
    assert_eq!((set.keys(0), set.keys(1)), (0, KEYS), "the premise");
    (set, journal)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_primary_that_we_evicted_is_demoted_and_syncs() {
    let (set, journal) = returned().await;
    let kept = set.run_id(1).await;
    let effect = demotion(&set.observe().await, &journal);
    let done = set.carry_out(&effect).await.expect("it is carried out");
    assert!(matches!(done, Done::Demoted(_)), "{done:?}");
    eventually("redis-0 is a replica with the data", async || {
        (!set.servers[0].is_primary().await && set.keys(0) == KEYS).then_some(())
    })
    .await;
    assert_eq!((set.run_id(1).await, set.keys(1), set.keys(2)), (kept, KEYS, KEYS), "the primary was not touched");
    // Done once, there is nothing left to demote.
    let next = decide(&set.observe().await, Some(&journal)).act;
    let demotes = matches!(&next, Next::Act(_, effect) if matches!(**effect, Effect::Demote { .. }));
    assert!(!demotes, "{next:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_since_the_decision_calls_the_demotion_off() {
    let (mut set, journal) = returned().await;
    let effect = demotion(&set.observe().await, &journal);
    let off = async |set: &Set, effect: &Effect| match set.carry_out(effect).await {
        Err(ExecuteError::NotAsJudged { why, .. }) => why,
        other => panic!("not called off: {other:?}"),
    };

    // The new primary is a replica by now: two servers that follow each other would have no data.
    assert_eq!(set.servers[1].run(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    assert_eq!(off(&set, &effect).await, "redis-1 is not simply the primary");
    assert_eq!(set.servers[1].run(&["REPLICAOF", "NO", "ONE"]), "OK");
    // Somebody was faster.
    assert_eq!(set.servers[0].run(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    assert_eq!(off(&set, &effect).await, "redis-0 is not simply a primary");
    assert_eq!(set.servers[0].run(&["REPLICAOF", "NO", "ONE"]), "OK");
    // The new primary lost its keys.
    assert_eq!(set.servers[1].run(&["FLUSHALL"]), "OK");
    assert_eq!(off(&set, &effect).await, "redis-1 holds no key");
    // Another process answers where the new primary was.
    set.servers[1].restart();
    let Err(ExecuteError::Redis { source: RedisError::RunIdChanged { .. }, .. }) = set.carry_out(&effect).await else {
        panic!("another process was taken for the primary")
    };
    assert!(set.servers[0].is_primary().await, "nothing was done to redis-0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_repointed_only_to_what_is_primary_right_then() {
    let set = Set::start(&[]).await;
    let repoint = Effect::Repoint { peer: set.peer(2).await, by_name: None, to: set.peer(1).await };
    let followed = || set.servers[2].run(&["CONFIG", "GET", "replicaof"]);
    let before = followed();

    // The role has not come to redis-1, or has moved on: redis-2 would hang on a replica.
    let refused = set.carry_out(&repoint).await;
    assert!(
        matches!(&refused, Err(ExecuteError::NotAsJudged { why, .. }) if why == "redis-1 is not simply the primary"),
        "{refused:?}"
    );
    assert_eq!(followed(), before, "nothing was sent");
    // A primary that nobody decided to demote stays one.
    assert_eq!(set.servers[1].run(&["REPLICAOF", "NO", "ONE"]), "OK");
    assert_eq!(set.servers[2].run(&["REPLICAOF", "NO", "ONE"]), "OK");
    let refused = set.carry_out(&repoint).await;
    assert!(
        matches!(&refused, Err(ExecuteError::NotAsJudged { why, .. }) if why == "redis-2 is a primary"),
        "{refused:?}"
    );
    assert!(set.servers[2].is_primary().await);

    set.servers[2].follow(&set.servers[0]).await;
    assert_eq!(set.carry_out(&repoint).await.expect("it is carried out"), Done::Repointed(None));
    eventually("redis-2 follows redis-1", async || (followed() != before).then_some(())).await;
}

/// What the gates rest on may have changed between their look and the eviction.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_is_evicted_only_while_it_is_one_and_its_data_is_safe() {
    let set = Set::start(&[]).await;
    let primary = &set.servers[0];
    let kept = async |n: usize| match set.carry_out(&Effect::EvictPrimary { peer: set.peer(n).await }).await {
        Err(ExecuteError::NotAsExpected { why, .. }) => Some(why),
        // Nobody is there to be asked.
        Err(ExecuteError::Evict(_)) => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(kept(0).await, None, "what is in order is evicted");
    assert_eq!(kept(1).await, Some("it is no primary any more"));

    assert_eq!(primary.run(&["CONFIG", "SET", "rdb-key-save-delay", "4000"]), "OK");
    assert_eq!(primary.run(&["BGSAVE"]), "Background saving started");
    assert_eq!(kept(0).await, Some("it is writing its data out"));
    assert_eq!(primary.run(&["CONFIG", "SET", "rdb-key-save-delay", "0"]), "OK");
    eventually("the save has ended", async || kept(0).await.is_none().then_some(())).await;

    // A save cannot take the place of a directory.
    let directory = primary.run(&["CONFIG", "GET", "dir"]);
    let file = std::path::Path::new(directory.lines().last().expect("a value")).join("dump.rdb");
    std::fs::remove_file(&file).expect("it was saved");
    std::fs::create_dir(&file).expect("a directory");
    assert_eq!(primary.run(&["BGSAVE"]), "Background saving started");
    eventually("the save has failed", async || {
        (kept(0).await == Some("its last save, rewrite or AOF write failed")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_fence_nothing_is_demoted() {
    let (mut set, journal) = returned().await;
    let effect = demotion(&set.observe().await, &journal);
    set.executor.ports.fence = Fence::never(Clock::start());
    assert!(matches!(set.carry_out(&effect).await, Err(ExecuteError::Fenced(_))));
    assert!(set.servers[0].is_primary().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_primaries_of_any_other_origin_freeze_everything() {
    // Somebody promotes a replica beside the primary, and both take writes.
    let set = Set::start(&[]).await;
    let journal = set.journal().await;
    assert_eq!(set.servers[1].run(&["REPLICAOF", "NO", "ONE"]), "OK");
    assert_eq!(set.servers[1].run(&["SET", "mine", "1"]), "OK");
    let mut before_the_switchover = journal.clone();
    before_the_switchover.primary = set.identity(0).await;
    assert_frozen(&set.observe().await, &before_the_switchover, BlockReason::TwoPrimaries);
    assert_eq!((set.keys(0), set.keys(1)), (KEYS, KEYS + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_primary_whose_container_restarts_before_we_evict_it_is_demoted_and_syncs() {
    // By its start arguments it is a primary again; clients have not been led to it since.
    let mut set = Set::start(&[]).await;
    set.hand_over().await;
    let mut journal = set.journal().await;
    at(&mut journal, |step| *step == Step::Evict { pod: fixtures::pod_name(0) });
    set.servers[0].restart();
    assert!(set.servers[0].is_primary().await && set.servers[1].is_primary().await, "the premise");
    let effect = demotion(&set.observe().await, &journal);
    let done = set.carry_out(&effect).await.expect("it is carried out");
    assert!(matches!(done, Done::Demoted(_)), "{done:?}");
    set.until_keys(0, KEYS).await;
    assert!(!set.servers[0].is_primary().await && set.servers[1].is_primary().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_primary_that_somebody_makes_a_primary_again_freezes_everything() {
    // After our switchover, but the process is the very one that was primary: a person's word brought it back.
    let set = Set::start(&[]).await;
    set.hand_over().await;
    let journal = set.journal().await;
    assert_eq!(set.servers[0].run(&["REPLICAOF", "NO", "ONE"]), "OK");
    assert!(set.servers[0].is_primary().await && set.servers[1].is_primary().await, "the premise");
    assert_frozen(&set.observe().await, &journal, BlockReason::TwoPrimaries);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_primary_that_restarted_freezes_everything() {
    // It loads what its last full sync left on its disk: what came after is lost, and nobody can tell how much.
    let (mut set, journal) = returned().await;
    set.servers[1].restart();
    assert!(set.servers[1].is_primary().await, "the premise");
    assert_frozen(&set.observe().await, &journal, BlockReason::TwoPrimaries);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_comes_back_empty_freezes_everything() {
    // It lets replicas wait for a minute before they sync: so long they still hold the data.
    let mut set = Set::start(&["--repl-diskless-sync-delay", "60"]).await;
    let (policy, settings) = (policy(), settings());
    let before = set.observe().await;
    let ctx = Context::of(&policy, &before, &[], NOW, &settings);
    let whole = begin::consider(&ctx);
    assert!(!whole.blocked.iter().any(|blocked| blocked.reason == BlockReason::PrimaryEmpty), "the premise");
    let mut journal = set.journal().await;
    set.servers[0].restart();
    journal.primary = set.identity(0).await;
    assert_eq!((set.keys(0), set.keys(1), set.keys(2)), (0, KEYS, KEYS), "the premise");
    assert_frozen(&set.observe().await, &journal, BlockReason::PrimaryEmpty);
    assert_eq!((set.keys(1), set.keys(2)), (KEYS, KEYS), "what is left is left alone");
}

/// What redis-1 acknowledged after the split is gone with the restart of its pod, and redis-0 is the only primary.
#[tokio::test(flavor = "multi_thread")]
async fn clients_are_not_led_to_the_stale_one_of_two_primaries() {
    let mut set = Set::start_fixed().await;
    set.hand_over().await;
    set.replace(0);
    assert!(set.servers[0].is_primary().await && set.servers[1].is_primary().await, "the premise");
    let mut before = set.observe().await;
    before.targets[1].pod.role_label = Some("primary".into());
    let (policy, settings) = (policy(), settings());
    let ctx = Context::of(&policy, &before, &[], NOW, &settings);
    let Next::Remember(records) = decide::decide(&ctx, None, false, true).act else { panic!("no mark is left") };
    let mark = records[0].several_primaries.as_ref().expect("made");
    assert_eq!(mark.recorded.as_ref().map(|it| it.identity.pod.as_str()), Some("redis-1"));

    set.servers[1].run(&["EVAL", "for i=1,100 do redis.call('set', 'later'..i, i) end", "0"]);
    assert_eq!(set.keys(1), KEYS + 100);
    set.replace(1);
    set.until_keys(1, KEYS).await;
    let left = set.observe().await;
    let ctx = |records| Context::of(&policy, &left, records, NOW, &settings);
    let forgetful = decide::decide(&ctx(&[]), None, false, true).act;
    assert!(matches!(forgetful, Next::Upkeep(_)), "without the mark clients are led to what lacks their writes");
    let decision = decide::decide(&ctx(&records), None, false, true);
    assert_eq!(decision.act, Next::Rest);
    assert!(decision.blocked.iter().any(|blocked| blocked.reason == BlockReason::TwoPrimaries), "{decision:?}");
}
