//! A pod that starts as a primary by its arguments gets the role back.

use std::time::Duration;

use pretty_assertions::assert_eq;
use redis_memory_operator::{
    domain::{
        bytes::Bytes,
        fixtures::{self, NOW},
        journal::{Outcome, WorkloadRecord},
        policy::AuthorityRule,
        ratio::Ratio,
        sample::Role,
        snapshot::{Observation, Snapshot},
    },
    plan::{
        Context,
        decide::{self, Decision},
        effect::Effect,
        next::Next,
    },
};

use crate::{
    common::switching,
    set::{KEYS, Set, demotion, policy, settings},
};

/// What is seen now of a set that is clean and whose label follows the primary, as a sidecar keeps it.
async fn clean(set: &Set, now: jiff::Timestamp) -> Snapshot {
    let mut snapshot = set.observe().await;
    snapshot.at = now;
    let mut ready = Vec::new();
    for target in &mut snapshot.targets {
        let Observation::Seen(sample) = &mut target.redis else { continue };
        sample.at = now;
        (sample.memory.rss, sample.memory.ratio) = (Bytes::mib(80), Ratio(115));
        // Here they share one address; in pods they do not, and listen at one port.
        if let Ok(config) = &mut sample.config {
            config.serving.port = Some(6379);
        }
        let leads = sample.replication.role == Role::Primary;
        target.pod.role_label = Some(if leads { "primary" } else { "replica" }.to_owned());
        ready.extend(leads.then(|| target.pod.uid.clone()));
    }
    snapshot.services[0].ready_pods = ready;
    snapshot
}

// After such a hand-over a restart of redis-1 left nobody primary, for ever: it and redis-0 followed each other.
#[tokio::test(flavor = "multi_thread")]
async fn the_role_goes_back_to_the_one_that_starts_with_it() {
    let mut set = Set::start_fixed().await;
    set.hand_over().await;
    let journal = set.journal().await;
    set.replace(0);
    assert!(set.servers[0].is_primary().await, "the premise: its arguments say so");
    let effect = demotion(&set.observe().await, &journal);
    set.carry_out(&effect).await.expect("it is carried out");
    let name = "redis".to_owned();
    let records = [WorkloadRecord {
        outcome: Some(Outcome::Succeeded),
        primary: Some(journal.primary.clone()),
        starts_as_primary: vec![fixtures::pod_name(0)],
        ..WorkloadRecord::new(fixtures::shard_id(), name, NOW)
    }];
    let (mut policy, settings) = (policy(), settings());
    policy.redis.authority = AuthorityRule::Label;
    let clock = set.executor.ports.clock;
    let begun = clock.uptime();
    let (mut journal, mut ended, mut waits) = (None, None, String::new());
    while ended.is_none() && clock.uptime() < begun + Duration::from_secs(60) {
        let now = NOW.saturating_add(clock.uptime().saturating_sub(begun)).expect("in range");
        let snapshot = clean(&set, now).await;
        let ctx = Context::of(&policy, &snapshot, &records, now, &settings);
        let Decision { act, blocked, .. } = decide::decide(&ctx, journal.as_ref(), false, true);
        match act {
            Next::Begin(begins) => {
                assert!(begins.steps[0].reason.starts_with("RoleAgainstStart"), "{:?}", begins.steps);
                journal = Some(*begins);
            }
            Next::Record(next) => journal = Some(*next),
            Next::Act(next, effect) => {
                match &*effect {
                    // Its last look at the candidate's pod is the real API server's test.
                    Effect::Switchover(order) => drop(switching::carry_out(order).await.expect("it is carried out")),
                    effect => drop(set.carry_out(effect).await.expect("it is carried out")),
                }
                journal = Some(*next);
            }
            Next::End(record) => ended = Some(*record),
            // A full sync, or the file that is rewritten after it.
            act @ (Next::Rest | Next::Wait(..) | Next::Gate(..)) => {
                waits = format!("{act:?} {blocked:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => panic!("{other:?}"),
        }
    }
    let Some(ended) = ended else { panic!("it did not end: {waits}") };
    assert_eq!(
        (ended.outcome, ended.message.as_str()),
        (Some(Outcome::Succeeded), "the primary role is back at redis-0")
    );

    set.servers[0].run(&["SET", "later", "1"]);
    set.until_keys(1, KEYS + 1).await;
    set.until_keys(2, KEYS + 1).await;
    for n in [1, 0] {
        set.replace(n);
        set.until_keys(n, KEYS + 1).await;
    }
    set.until_keys(1, KEYS + 1).await;
    assert!(
        set.servers[0].is_primary().await && !set.servers[1].is_primary().await && !set.servers[2].is_primary().await
    );
}
