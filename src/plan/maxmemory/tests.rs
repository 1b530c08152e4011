//! What is set, on whom, in which order, and what is left as it is.

use jiff::SignedDuration;
use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;

mod any;
mod measured;

use crate::{
    domain::{
        fixtures::{self, NOW},
        pod::{Owner, ResizeProgress, Right},
        policy::Policy,
        snapshot::{Observation, Snapshot},
        surroundings::{LeftAlone, RefusedLimit, Undone, UnwrittenLimit},
    },
    plan::{
        PlanSettings,
        decide::{Decision, decide},
        next::Next,
    },
};

/// Three members without fragmentation under a policy that may set `maxmemory` and raise no limit: each has a limit of 1 GiB,
/// which bears 682 MiB.
struct World {
    policy: Policy,
    snapshot: Snapshot,
    records: Vec<WorkloadRecord>,
}

type Meddle = fn(&mut World);

mod killed;
mod shrink;

const BEARS: Bytes = Bytes::mib(682);

impl World {
    fn new(maxmemory: Bytes) -> Self {
        let (mut policy, mut snapshot) = fixtures::enforced();
        (policy.headroom.set_maxmemory, policy.headroom.resize_pod) = (true, false);
        for target in &mut snapshot.targets {
            target.history.clear();
        }
        let mut world = Self { policy, snapshot, records: Vec::new() };
        (0..3).for_each(|n| world.maxmemory(n, maxmemory));
        world
    }

    fn sample(&mut self, n: usize) -> &mut Sample {
        self.snapshot.targets[n].sample_mut().expect("a sample")
    }

    fn maxmemory(&mut self, n: usize, bytes: Bytes) {
        let sample = self.sample(n);
        sample.memory.maxmemory = bytes;
        if let Ok(config) = &mut sample.config {
            config.maxmemory = bytes;
        }
    }

    fn used(&mut self, bytes: Bytes, policy: &str) {
        for n in 0..self.snapshot.targets.len() {
            let memory = &mut self.sample(n).memory;
            (memory.used, memory.rss, memory.maxmemory_policy) = (bytes, bytes, policy.into());
        }
    }

    fn limit(&mut self, n: usize, bytes: Bytes) {
        let container = self.snapshot.targets[n].pod.container.as_mut().unwrap();
        (container.spec_limit, container.live_limit) = (Some(bytes), Some(bytes));
    }

    /// Another process in that pod, with that `maxmemory`.
    fn restart(&mut self, n: usize, maxmemory: Bytes) {
        self.sample(n).run_id = format!("{n}").repeat(39).as_str().into();
        self.maxmemory(n, maxmemory);
    }

    fn decide(&self) -> Decision {
        let settings = PlanSettings::default();
        let ctx = Context::of(&self.policy, &self.snapshot, &self.records, NOW, &settings);
        decide(&ctx, None, false, true)
    }

    /// `maxmemory` of each member.
    fn members(&self) -> impl Iterator<Item = Bytes> {
        self.snapshot.targets.iter().map(|target| target.sample().unwrap().memory.maxmemory)
    }

    fn have(&self) -> [Bytes; 3] {
        self.members().collect::<Vec<_>>().try_into().expect("three members")
    }

    /// The first members of the three, the primary among them.
    fn only(&mut self, members: usize) {
        self.snapshot.targets.truncate(members);
        self.snapshot.stateful_sets[0].replicas = u32::try_from(members).unwrap();
        self.sample(0).replication.replicas.truncate(members - 1);
    }

    /// Does what is decided until nothing is, and checks each value that is set: the pods in the order of the looks.
    fn settle(&mut self) -> Vec<Vec<String>> {
        let mut looks = Vec::new();
        for _ in 0..20 {
            match self.decide().act {
                Next::Remember(records) => self.records = records,
                Next::Upkeep(effects) => {
                    let done = effects.iter().map(|(effect, _)| self.apply(effect));
                    looks.push(done.collect());
                }
                Next::Rest => return looks,
                other => panic!("{other:?}"),
            }
        }
        panic!("it does not come to rest: {looks:?}");
    }

    fn apply(&mut self, effect: &Effect) -> String {
        match effect {
            Effect::SetMaxmemory { peer, value, before, most_used } => {
                let n = self.snapshot.targets.iter().position(|target| target.pod.uid == peer.uid).unwrap();
                let memory = &self.sample(n).memory;
                assert_eq!(memory.maxmemory, *before);
                assert!(memory.used <= *most_used && (memory.used < *value || *value > *before), "{effect:?}");
                assert!(*value > *before || memory.used < *value, "{effect:?}");
                self.maxmemory(n, *value);
                format!("{}={value}", peer.pod)
            }
            Effect::Resize { pod, limit, .. } => {
                let n = self.snapshot.targets.iter().position(|target| target.pod.name == *pod).unwrap();
                if self.snapshot.surroundings.refused_limit(&self.snapshot.targets[n].pod.uid).is_some() {
                    return format!("{pod} is refused");
                }
                self.limit(n, *limit);
                format!("{pod} limit {limit}")
            }
            other => panic!("{other:?}"),
        }
    }

    fn remedy(&self) -> String {
        let settings = PlanSettings::default();
        let ctx = Context::of(&self.policy, &self.snapshot, &self.records, NOW, &settings);
        let findings = crate::plan::promise::findings(&ctx, None, &self.decide());
        let wrong = |code: &str| ["MaxmemoryUnset", "HeadroomInsufficient"].contains(&code);
        findings.into_iter().find(|finding| wrong(finding.code.as_str())).expect("a finding").remedy
    }
}

#[test]
fn without_a_bound_each_gets_what_the_limit_bears_the_primary_first() {
    let mut world = World::new(Bytes::ZERO);
    assert!(matches!(world.decide().act, Next::Remember(_)), "it is remembered before it is set");
    assert!(world.remedy().starts_with("the operator will set maxmemory to 682 MiB: the limit of 1 GiB bears that"));
    assert_eq!(world.settle(), [vec!["redis-0=682 MiB"], vec!["redis-1=682 MiB", "redis-2=682 MiB"]]);
    let own = world.records[0].maxmemory.as_deref().expect("it is remembered");
    assert_eq!((own.values.as_slice(), own.before, own.members.len()), ([stored(BEARS)].as_slice(), 0, 3));
    // The start value stays a finding, with the line.
    let settings = PlanSettings::default();
    let ctx = Context::of(&world.policy, &world.snapshot, &world.records, NOW, &settings);
    let mut findings = ctx.look.findings(&world.records, None);
    findings.retain(|finding| finding.severity > crate::domain::finding::Severity::Info);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert!(findings[0].evidence.contains("682 MiB on redis-0, redis-1, redis-2 (it was 0)"), "{findings:#?}");
    assert!(findings[0].remedy.contains("\"--maxmemory\", \"682mb\""), "{findings:#?}");
    // An operator would take a change of the StatefulSet back.
    let owner = Owner { kind: "RedisReplication".into(), name: "cache".into(), uid: "o".into() };
    world.snapshot.stateful_sets[0].owner = Some(owner);
    let ctx = Context::of(&world.policy, &world.snapshot, &world.records, NOW, &settings);
    let findings = ctx.look.findings(&world.records, None);
    let drift = findings.iter().find(|finding| finding.code.as_str() == "ConfigDrift").expect("it stays a finding");
    assert!(
        drift.remedy.contains("\"maxmemory 682mb\" of the Redis configuration in RedisReplication cache"),
        "{drift:?}"
    );
}

#[rstest]
#[case::filled_to_the_bound("noeviction", 511, true)]
#[case::fuller("noeviction", 512, false)]
#[case::volatile("volatile-lru", 512, false)]
#[case::any_key_may_go("allkeys-lru", 620, true)]
#[case::that_would_be_less_than_above_used("allkeys-lru", 621, false)]
#[case::unknown("something-new", 512, false)]
fn no_key_goes_by_it(#[case] policy: &str, #[case] used: u64, #[case] set: bool) {
    for before in [Bytes::ZERO, Bytes::mib(1000)] {
        let mut world = World::new(before);
        world.used(Bytes::mib(used), policy);
        let expected = if set { BEARS } else { before };
        if !set {
            assert!(world.remedy().contains("does not set maxmemory to 682 MiB"), "{}", world.remedy());
        }
        world.settle();
        assert_eq!(world.have(), [expected; 3]);
        assert_eq!(world.records.is_empty(), !set);
    }
}

/// That it is remembered is no sign that it was ever set.
#[test]
fn what_grows_between_the_note_and_the_setting_is_left() {
    let mut world = World::new(Bytes::ZERO);
    world.used(Bytes::mib(500), "noeviction");
    let Next::Remember(records) = world.decide().act else { panic!("it is remembered first") };
    world.records = records;
    world.used(Bytes::mib(600), "noeviction");
    assert_eq!(world.settle(), Vec::<Vec<String>>::new());
    assert_eq!(world.have(), [Bytes::ZERO; 3]);
}

/// A limit that people lower is a new matter: the value that was there says nothing of the smaller one.
#[test]
fn a_smaller_limit_is_followed_as_the_first_time() {
    let mut world = World::new(Bytes::ZERO);
    world.used(Bytes::mib(400), "noeviction");
    world.settle();
    (0..3).for_each(|n| world.limit(n, Bytes::mib(768)));
    assert_eq!(world.settle(), Vec::<Vec<String>>::new(), "400 MiB are more than 75 % of 512 MiB");
    world.used(Bytes::mib(384), "noeviction");
    world.settle();
    assert_eq!(world.have(), [Bytes::mib(512); 3]);
}

#[test]
fn the_fullest_member_and_the_strictest_policy_count() {
    let mut world = World::new(Bytes::ZERO);
    world.sample(2).memory.used = Bytes::mib(600);
    world.sample(1).memory.maxmemory_policy = "noeviction".into();
    assert_eq!(world.settle(), Vec::<Vec<String>>::new());
}

#[test]
fn a_member_that_says_nothing_of_its_own_maxmemory_counts_too() {
    let mut world = World::new(Bytes::ZERO);
    world.sample(2).unread.push("maxmemory".into());
    world.sample(2).memory.used = Bytes::mib(900);
    assert_eq!(world.settle(), Vec::<Vec<String>>::new());
}

#[test]
fn the_smallest_limit_counts_and_all_get_the_same() {
    let mut world = World::new(Bytes::ZERO);
    world.limit(2, Bytes::mib(768));
    world.settle();
    assert_eq!(world.have(), [Bytes::mib(512); 3]);
}

#[test]
fn what_fits_is_left_as_people_set_it() {
    let mut world = World::new(Bytes::mib(300));
    world.maxmemory(1, Bytes::mib(682));
    assert_eq!(world.settle(), Vec::<Vec<String>>::new());
    assert_eq!(world.have(), [Bytes::mib(300), BEARS, Bytes::mib(300)]);
}

#[test]
fn a_limit_that_can_be_raised_is_raised_and_nothing_is_set() {
    let mut world = World::new(Bytes::mib(1000));
    world.policy.headroom.resize_pod = true;
    assert_eq!(world.settle().concat().iter().filter(|it| it.contains("limit 1500 MiB")).count(), 3);
    assert_eq!(world.have(), [Bytes::mib(1000); 3]);
    assert_eq!(world.records, []);
}

#[rstest]
#[case::would_restart(|world: &mut World| world.snapshot.targets[1].pod.container.as_mut().unwrap().resize_restarts = true)]
#[case::pod_level(|world: &mut World| world.snapshot.targets[1].pod.pod_level_resources = true)]
#[case::foreign(|world: &mut World| world.snapshot.targets[1].pod.owner.as_mut().unwrap().kind = "InstanceSet".into())]
#[case::no_subresource(|world: &mut World| world.snapshot.resize_supported = false)]
#[case::no_right(|world: &mut World| world.snapshot.rights.resize = Right::Denied)]
#[case::refused(|world: &mut World| refuse(world))]
#[case::node_full(|world: &mut World| pending(world, &ResizeProgress::Deferred("full".into())))]
#[case::never(|world: &mut World| pending(world, &ResizeProgress::Infeasible("too small".into())))]
fn a_limit_that_cannot_be_raised_is_followed(#[case] change: Meddle) {
    let mut world = World::new(Bytes::mib(1000));
    world.policy.headroom.resize_pod = true;
    change(&mut world);
    for n in 0..3 {
        // The others have what they need, so that only this one is judged.
        if world.snapshot.targets[1].pod.resize == ResizeProgress::None && n != 1 {
            world.limit(n, Bytes::mib(1500));
        }
    }
    world.settle();
    assert_eq!(world.have(), [BEARS; 3]);
}

fn refuse(world: &mut World) {
    let refused = |n| RefusedLimit { uid: fixtures::pod_uid(n), text: "exceeded quota".to_owned() };
    world.snapshot.surroundings.refused_limits = (0..3).map(refused).collect();
}

fn pending(world: &mut World, progress: &ResizeProgress) {
    for target in &mut world.snapshot.targets {
        target.pod.container.as_mut().unwrap().spec_limit = Some(Bytes::mib(1500));
        target.pod.resize = progress.clone();
    }
}

#[test]
fn a_resize_that_is_under_way_is_waited_for() {
    let mut world = World::new(Bytes::mib(1000));
    world.policy.headroom.resize_pod = true;
    pending(&mut world, &ResizeProgress::InProgress);
    assert_eq!(world.settle(), Vec::<Vec<String>>::new());
}

#[test]
fn a_resize_that_is_never_written_is_waited_for_no_longer_than_a_step() {
    let mut world = World::new(Bytes::mib(1000));
    world.policy.headroom.resize_pod = true;
    pending(&mut world, &ResizeProgress::InProgress);
    let since = world.snapshot.at - SignedDuration::try_from(world.policy.restart.step_timeout).unwrap();
    let unwritten = |since| (0..3).map(|n| UnwrittenLimit { uid: fixtures::pod_uid(n), since }).collect();
    world.snapshot.surroundings.unwritten = unwritten(since);
    assert_eq!(world.settle(), Vec::<Vec<String>>::new());
    world.snapshot.surroundings.unwritten = unwritten(since - SignedDuration::from_secs(1));
    world.settle();
    assert_eq!(world.have(), [BEARS; 3], "what holds now counts");
}

#[test]
fn the_limit_is_raised_as_far_as_it_may_be_then_maxmemory_is_set() {
    let mut world = World::new(Bytes::mib(1400));
    world.policy.headroom.resize_pod = true;
    world.policy.headroom.maximum_limit = Some(Bytes::mib(1536));
    let looks = world.settle();
    assert_eq!(looks[0], ["redis-0 limit 1.50 GiB", "redis-1 limit 1.50 GiB", "redis-2 limit 1.50 GiB"]);
    assert_eq!(looks[1], ["redis-0=1 GiB"]);
    assert_eq!(world.have(), [Bytes::mib(1024); 3]);
}

#[test]
fn our_value_follows_the_limit_upward_the_replicas_first() {
    let mut world = World::new(Bytes::ZERO);
    world.settle();
    world.limit(0, Bytes::mib(2048));
    world.limit(1, Bytes::mib(2048));
    assert_eq!(world.settle(), Vec::<Vec<String>>::new(), "the smallest counts");
    world.limit(2, Bytes::mib(2048));
    assert_eq!(world.settle(), [vec!["redis-1=1365 MiB", "redis-2=1365 MiB"], vec!["redis-0=1365 MiB"]]);
    // What people set meanwhile is theirs.
    world.maxmemory(0, Bytes::mib(500));
    (0..3).for_each(|n| world.limit(n, Bytes::mib(3072)));
    world.settle();
    assert_eq!(world.have(), [Bytes::mib(500), Bytes::mib(2048), Bytes::mib(2048)]);
}

#[test]
fn it_is_never_raised_above_what_people_had() {
    let mut world = World::new(Bytes::mib(1000));
    world.settle();
    assert_eq!(world.have(), [BEARS; 3]);
    (0..3).for_each(|n| world.limit(n, Bytes::mib(4096)));
    world.settle();
    assert_eq!(world.have(), [Bytes::mib(1000); 3]);
}

// Found by the simulator, seed 2220667: a member got what the others have from people, and theirs was raised with it.
#[test]
fn what_the_others_have_from_people_is_not_raised_with_ours() {
    let mut world = World::new(BEARS);
    world.maxmemory(0, Bytes::ZERO);
    assert_eq!(world.settle(), [["redis-0=682 MiB"]]);
    (0..3).for_each(|n| world.limit(n, Bytes::mib(2048)));
    assert_eq!(world.settle(), Vec::<Vec<String>>::new());
    assert_eq!(world.have(), [BEARS; 3]);
}

#[test]
fn while_a_member_is_away_nothing_is_raised_and_what_has_no_bound_gets_one() {
    let away = |world: &mut World| world.snapshot.targets[2].redis = Observation::Pending;
    let mut world = World::new(Bytes::ZERO);
    world.settle();
    (0..3).for_each(|n| world.limit(n, Bytes::mib(2048)));
    away(&mut world);
    assert_eq!(world.settle(), Vec::<Vec<String>>::new());
    let mut world = World::new(Bytes::ZERO);
    away(&mut world);
    assert_eq!(world.settle(), [vec!["redis-0=682 MiB"], vec!["redis-1=682 MiB"]]);
}

#[rstest]
#[case(681, true)]
#[case(682, false)]
fn a_process_that_starts_without_it_gets_it_again(#[case] used: u64, #[case] set: bool) {
    let mut world = World::new(Bytes::ZERO);
    world.used(Bytes::mib(69), "noeviction");
    world.settle();
    world.used(Bytes::mib(used), "noeviction");
    world.restart(1, Bytes::ZERO);
    assert_eq!(world.settle().concat(), if set { vec!["redis-1=682 MiB"] } else { vec![] });
    assert_eq!(world.records[0].maxmemory.as_deref().unwrap().members.len(), 3);
}

#[test]
fn what_starts_as_it_should_is_mended_and_forgotten() {
    let mut world = World::new(Bytes::ZERO);
    world.settle();
    for n in 0..3 {
        world.restart(n, BEARS);
        world.settle();
    }
    assert_eq!(world.records[0].maxmemory, None);
    (0..3).for_each(|n| world.limit(n, Bytes::mib(2048)));
    assert_eq!(world.settle(), Vec::<Vec<String>>::new(), "it is people's now");
}

#[test]
fn only_the_process_that_is_remembered_is_set() {
    let mut world = World::new(Bytes::ZERO);
    let Next::Remember(records) = world.decide().act else { panic!("it is remembered first") };
    world.records = records;
    (0..3).for_each(|n| world.restart(n, Bytes::ZERO));
    assert!(matches!(world.decide().act, Next::Remember(_)));
}

#[rstest]
#[case::loading(|world: &mut World| world.sample(0).persistence.loading = true)]
#[case::feeding(|world: &mut World| world.sample(0).replication.replicas[0].online = false)]
#[case::not_measured(|world: &mut World| world.sample(0).memory.used = Bytes::ZERO)]
#[case::observe(|world: &mut World| world.policy.mode = Mode::Observe)]
#[case::not_a_remedy(|world: &mut World| world.policy.headroom.set_maxmemory = false)]
#[case::stopped(|world: &mut World| world.snapshot.surroundings.stopped = Some("the flag".into()))]
#[case::claimed(|world: &mut World| world.snapshot.claimed_by_other = vec![(fixtures::set_uid(), "older".into())])]
#[case::two_primaries(|world: &mut World| world.sample(1).replication.role = Role::Primary)]
#[case::no_primary(|world: &mut World| world.sample(0).replication.role = fixtures::replica_role())]
#[case::no_limit(|world: &mut World| {
    let container = world.snapshot.targets[0].pod.container.as_mut().unwrap();
    (container.spec_limit, container.live_limit) = (None, None);
})]
#[case::not_read(|world: &mut World| (0..3).for_each(|n| world.sample(n).unread = vec!["maxmemory".into()]))]
#[case::another_engine(|world: &mut World| (0..3).for_each(|n| world.sample(n).server.engine = Engine::Dragonfly))]
fn nothing_is_set(#[case] change: Meddle) {
    let mut world = World::new(Bytes::ZERO);
    change(&mut world);
    let decision = world.decide();
    let sets = |(effect, _): &(Effect, String)| matches!(effect, Effect::SetMaxmemory { .. });
    assert!(!decision.upkeep.iter().any(sets), "{decision:?}");
    if let Next::Remember(records) = decision.act {
        assert!(records.iter().all(|record| record.maxmemory.is_none()), "{records:?}");
    }
}

#[test]
fn while_its_set_is_remediated_nothing_is_set() {
    let mut world = World::new(Bytes::ZERO);
    world.settle();
    world.restart(1, Bytes::ZERO);
    let settings = PlanSettings::default();
    let (_, fragmented) = fixtures::enforced();
    let begun = Context::of(&world.policy, &fragmented, &[], NOW, &settings);
    let Next::Begin(journal) = decide(&begun, None, false, true).act else { panic!("a restart is due") };
    let ctx = Context::of(&world.policy, &world.snapshot, &world.records, NOW, &settings);
    assert_eq!((due(&ctx, Some(&journal)), remember(&ctx, Some(&journal))), (vec![], None));
    assert!(remember(&ctx, None).is_some());
}

#[test]
fn a_replica_that_syncs_is_left_for_later() {
    let mut world = World::new(Bytes::ZERO);
    let Role::Replica(link) = &mut world.sample(2).replication.role else { panic!("a replica") };
    link.sync_in_progress = true;
    assert_eq!(world.settle().concat(), ["redis-0=682 MiB", "redis-1=682 MiB"]);
}

#[test]
fn who_sets_it_back_again_and_again_is_left_alone() {
    let mut world = World::new(Bytes::ZERO);
    world.snapshot.surroundings.left_alone = vec![LeftAlone {
        pod: fixtures::pod_name(1),
        uid: fixtures::pod_uid(1),
        kept: Kept::Maxmemory,
        value: BEARS.to_string(),
        times: 3,
        undone: Undone::By(None),
        until: NOW,
    }];
    world.settle();
    assert_eq!(world.have(), [BEARS, Bytes::ZERO, BEARS]);
}
