//! What is remembered of a member is what it was right before its own eviction; what its replacement started with is
//! remembered too; and a proof judges only what was measured.

use jiff::SignedDuration;

use super::*;
use redis_memory_operator::{
    assess::drift,
    domain::{
        finding::{Finding, FindingCode},
        journal::{CurrentStep, StartRecord},
        policy::AuthorityRule,
        sample::Config,
    },
};

impl World {
    fn config(&mut self, n: usize) -> &mut Config {
        self.sample(n).config.as_mut().expect("readable")
    }

    /// A static set whose primary may be restarted in place: an AOF on claims everywhere, and consent.
    fn unled() -> Self {
        let mut world = Self::new();
        world.policy.redis.authority = AuthorityRule::Auto;
        world.policy.restart.allow_downtime = true;
        world.snapshot.targets.iter_mut().for_each(fixtures::on_claim);
        world
    }
}

fn at(journal: &mut Journal, kind: StepKind) {
    let at = journal.steps.iter().position(|planned| planned.step.kind() == kind).expect("it is planned");
    journal.cursor = u32::try_from(at).unwrap();
    journal.current = CurrentStep::default();
}

fn act(world: &World, journal: &Journal) -> (Journal, Effect) {
    match advance::next(&world.ctx(), journal, false) {
        Next::Act(journal, effect) => (*journal, *effect),
        other => panic!("{other:?}"),
    }
}

/// Days lie between the beginning and the eviction: a person turns the AOF on everywhere and gives more memory.
#[test]
fn settings_are_those_that_hold_right_before_the_eviction() {
    let mut world = World::new();
    let mut journal = world.begin();
    for n in 0..3 {
        let config = world.config(n);
        (config.appendonly, config.maxmemory_policy, config.maxmemory) = (true, "noeviction".into(), Bytes::mib(700));
    }
    world.sample(1).memory.used = Bytes::mib(150);
    at(&mut journal, StepKind::Evict);
    let (journal, effect) = act(&world, &journal);
    assert!(matches!(effect, Effect::Evict { .. }));
    let record = journal.member(&fixtures::pod_name(1)).unwrap();
    assert!(record.settings.appendonly && record.settings.maxmemory_policy == "noeviction");
    assert_eq!(record.settings.maxmemory, 700 << 20);
    assert_eq!(record.used_bytes, 150 << 20);
    assert_eq!(record.expected_gain_bytes, (201 << 20) - (165 << 20) - (12 << 20));

    // While a budget refuses it, the intent stands and what is remembered is kept true.
    let (same, _) = act(&world, &journal);
    assert_eq!(same, journal, "nothing new is written");
    world.config(1).save = "60 1".into();
    let (journal, _) = act(&world, &journal);
    assert_eq!(journal.member(&fixtures::pod_name(1)).unwrap().settings.save, "60 1");
}

#[test]
fn a_backlog_that_was_raised_for_its_time_is_not_remembered_as_its_own() {
    let mut world = World::new();
    let mut journal = world.begin();
    let identity = journal.members[1].identity.clone();
    let before_bytes = journal.members[1].settings.repl_backlog_size;
    journal.raised.push(redis_memory_operator::domain::journal::RaisedBacklog { identity, before_bytes, attempt: 0 });
    world.config(1).repl_backlog_size = Bytes::mib(256);
    at(&mut journal, StepKind::Evict);
    let (journal, _) = act(&world, &journal);
    assert_eq!(journal.members[1].settings.repl_backlog_size, before_bytes);
}

/// A replica that rewrites its AOF after its full sync gives no quiet reading for a long time.
#[test]
fn what_is_not_measured_is_not_ineffective() {
    let mut world = World::new();
    let mut journal = world.begin();
    world.replace(1);
    at(&mut journal, StepKind::Prove);
    journal.current.begun_at = Some(world.now);
    journal.members[1].caught_up_at = Some(world.now);
    world.now = world.now.saturating_add(SignedDuration::from_secs(1500)).unwrap();
    match advance::next(&world.ctx(), &journal, false) {
        Next::Wait(why, _) => assert!(why.contains("0 of 4 quiet readings"), "{why}"),
        other => panic!("{other:?}"),
    }
    world.hours(1);
    let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("it waits for ever") };
    assert_eq!(record.outcome, Some(Outcome::TimedOut));
    assert!(record.message.contains("quiet readings"), "{}", record.message);
}

/// From 69 to 150 MiB while the plan waited: 36 MiB less than before, and as clean as can be.
#[test]
fn data_that_grew_is_not_ineffective() {
    let mut world = World::new();
    let mut journal = world.begin();
    world.replace(1);
    let memory = &mut world.sample(1).memory;
    (memory.used, memory.rss, memory.ratio) = (Bytes::mib(150), Bytes::mib(165), Ratio(110));
    at(&mut journal, StepKind::Prove);
    journal.current.begun_at = Some(world.now);
    journal.members[1].caught_up_at = Some(world.now);
    for _ in 0..40 {
        world.tick(15);
    }
    match advance::next(&world.ctx(), &journal, false) {
        Next::Record(next) => assert_eq!(next.members[1].rss_after_bytes, Some(165 << 20)),
        other => panic!("{other:?}"),
    }
    // As large as before the restart: measured, and no cure.
    world.replace(1);
    let memory = &mut world.sample(1).memory;
    (memory.used, memory.rss, memory.ratio) = (Bytes::mib(69), Bytes::mib(190), Ratio(275));
    for _ in 0..40 {
        world.tick(15);
    }
    let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("not ended") };
    assert_eq!(record.outcome, Some(Outcome::Ineffective));
}

/// What makes a candidate less than its primary must not be what our own restart of it has undone.
#[test]
fn what_is_compared_before_the_role_moves_is_restored_too() {
    let mut world = World::new();
    for n in 0..3 {
        let serving = &mut world.config(n).serving;
        (serving.max_clients, serving.replica_priority) = (Some(20_000), Some(50));
        serving.append_fsync = Some("always".into());
        serving.carried.insert("timeout".into(), "300".into());
    }
    let mut journal = world.begin();
    world.replace(1);
    let serving = &mut world.config(1).serving;
    (serving.max_clients, serving.replica_priority) = (Some(10_000), Some(100));
    serving.carried.insert("timeout".into(), "0".into());
    at(&mut journal, StepKind::RestoreSettings);
    journal.current.begun_at = Some(world.now);
    let (journal, effect) = act(&world, &journal);
    let Effect::Restore { settings, .. } = effect else { panic!("{effect:?}") };
    let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(settings, [("maxclients", "20000"), ("replica-priority", "50"), ("timeout", "300")]);
    let started = &journal.members[1].started.as_ref().unwrap().settings;
    assert_eq!((started.len(), started[0].start.as_str()), (3, "10000"));
}

/// The first replica comes back, with what the change makes of its settings; then its settings are restored.
fn comes_back(world: &mut World, change: impl FnOnce(&mut Config)) -> Journal {
    let mut journal = world.begin();
    world.replace(1);
    let before = world.config(1).clone();
    change(world.config(1));
    at(&mut journal, StepKind::RestoreSettings);
    journal.current.begun_at = Some(world.now);
    let journal = match advance::next(&world.ctx(), &journal, false) {
        Next::Act(journal, _) | Next::Record(journal) => *journal,
        other => panic!("{other:?}"),
    };
    let dir = world.config(1).dir.clone();
    *world.config(1) = Config { dir, ..before };
    journal
}

/// The AOF was turned on at run time, the file of the pods says no. What the replica's return has shown, the primary's
/// restart in place must not be made against.
#[test]
fn a_primary_is_not_evicted_against_what_a_replacement_started_with() {
    type Change = fn(&mut Config);
    let cases: [(Change, Option<&str>); 6] = [
        (|config| config.appendonly = false, Some("appendonly no")),
        (|config| config.dir = "/".into(), Some("dir /")),
        (|config| config.maxmemory = Bytes::mib(64), Some("maxmemory 67108864")),
        (|config| config.maxmemory = Bytes::mib(256), None),
        (|config| config.save = "60 1".into(), None),
        (|_| (), None),
    ];
    for (change, refused) in cases {
        let mut world = World::unled();
        let mut journal = comes_back(&mut world, change);
        at(&mut journal, StepKind::Persist);
        world.replace(2);
        if let Next::Record(waits) = advance::next(&world.ctx(), &journal, false) {
            journal = *waits;
        }
        let found = match advance::next(&world.ctx(), &journal, false) {
            Next::Act(_, effect) => {
                assert!(writes_out(&effect));
                None
            }
            Next::Gate(blocked, _) => {
                assert_eq!(blocked[0].reason, BlockReason::PersistenceNotProven, "{blocked:?}");
                Some(blocked[0].text.clone())
            }
            other => panic!("{other:?}"),
        };
        match (&found, refused) {
            (Some(text), Some(part)) => assert!(text.contains("redis-1") && text.contains(part), "{text}"),
            (found, refused) => assert_eq!(found.is_some(), refused.is_some(), "{found:?} {refused:?}"),
        }
    }
}

fn found(world: &World, record: &WorkloadRecord) -> Vec<Finding> {
    drift::of_starts(&world.ctx().look, std::slice::from_ref(record), None)
}

/// What was seen outlives the remediation, however that ended, until newer evidence says otherwise.
#[test]
fn how_a_replacement_started_stays_a_finding_and_a_refusal() {
    let mut world = World::unled();
    let journal = comes_back(&mut world, |config| config.appendonly = false);
    assert_eq!(drift::of_starts(&world.ctx().look, &[], Some(&journal)).len(), 1, "while it is under way, too");
    let Next::End(record) = advance::next(&world.ctx(), &journal, true) else { panic!("not ended") };
    let finding = &found(&world, &record)[0];
    assert_eq!((finding.code, finding.pod.as_ref()), (FindingCode::ConfigDrift, Some(&fixtures::pod_name(1))));
    assert!(finding.evidence.contains("appendonly is yes, it started with no"), "{}", finding.evidence);

    // The next plan leaves the primary alone, and says why once it is the only one left.
    world.records = vec![*record.clone()];
    world.policy.restart.cooldown = Duration::ZERO;
    let considered = begin::consider(&world.ctx());
    assert!(considered.plan.unwrap().steps.iter().all(|planned| planned.step.kind() != StepKind::Persist));
    for n in [1, 2] {
        (world.sample(n).memory.rss, world.sample(n).memory.ratio) = (Bytes::mib(80), Ratio(115));
        world.snapshot.targets[n].history.clear();
    }
    let blocked = begin::consider(&world.ctx()).blocked;
    let refusal = blocked.iter().find(|blocked| blocked.reason == BlockReason::PersistenceNotProven).expect("refused");
    assert!(refusal.text.contains("redis-1") && refusal.text.contains("appendonly no"), "{}", refusal.text);

    // Set for good to what it starts with: nothing differs any more.
    world.config(1).appendonly = false;
    assert_eq!(found(&world, &record), []);
    world.config(1).appendonly = true;
    // Another revision: another configuration, of which nothing was seen yet.
    for target in &mut world.snapshot.targets {
        target.pod.revision = Some("redis-7777".into());
    }
    for set in &mut world.snapshot.stateful_sets {
        (set.current_revision, set.update_revision) = ("redis-7777".into(), "redis-7777".into());
    }
    assert_eq!(found(&world, &record), []);
    let blocked = begin::consider(&world.ctx()).blocked;
    assert!(blocked.iter().all(|blocked| blocked.reason != BlockReason::PersistenceNotProven), "{blocked:?}");
}

#[test]
fn a_return_without_the_difference_corrects_what_was_seen_before() {
    let mut world = World::unled();
    let seen = |pod: u8| StartRecord {
        pod: fixtures::pod_name(pod),
        revision: "redis-5d8f".into(),
        at: fixtures::seconds_ago(86_400),
        settings: vec![redis_memory_operator::domain::journal::StartValue {
            name: "appendonly".into(),
            before: "yes".into(),
            start: "no".into(),
        }],
    };
    let journal = comes_back(&mut world, |_| ());
    world.records = vec![WorkloadRecord {
        outcome: Some(Outcome::Succeeded),
        remediation: "r".into(),
        generation: 1,
        starts: vec![seen(1), seen(2)],
        ..WorkloadRecord::new(fixtures::shard_id(), "redis".into(), fixtures::seconds_ago(86_400))
    }];
    let Next::End(record) = advance::next(&world.ctx(), &journal, true) else { panic!("not ended") };
    assert_eq!(record.starts, [seen(2)], "what another pod showed stands");
}

/// What `history` shows: bounded, so that no status grows with the years.
#[test]
fn the_last_ten_remediations_are_remembered() {
    let mut world = World::new();
    for n in 0..12 {
        let mut journal = world.begin();
        journal.id = format!("r{n}");
        journal.started_at = world.now.saturating_sub(SignedDuration::from_secs(60)).unwrap();
        world.policy.suspend = true;
        let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("it is suspended") };
        world.policy.suspend = false;
        world.records = vec![*record];
    }
    let record = &mut world.records[0];
    let history = record.history();
    let ids: Vec<&str> = history.iter().map(|past| past.remediation.as_str()).collect();
    assert_eq!(ids, ["r11", "r10", "r9", "r8", "r7", "r6", "r5", "r4", "r3", "r2"]);
    assert!(history.iter().all(|past| past.outcome == Outcome::Paused && past.started_at < Some(past.ended_at)));
    assert_eq!(record.earlier, history[1..], "the last one is not stored twice");
    record.message = "ä".repeat(250);
    assert_eq!(record.history()[0].message, "ä".repeat(100), "cut at 200 bytes, between letters");
    // One that has not been remediated has none.
    record.outcome = None;
    record.earlier.clear();
    assert!(record.history().is_empty());
}
