//! Sets in which a replica follows another replica: those that nobody follows are restarted, one by one; the others are left
//! alone, no role is moved and nobody is made to follow another.

use pretty_assertions::assert_eq;
use rstest::rstest;

use redis_memory_operator::{
    api::v1alpha1::RedisMemoryPolicyStatus,
    assess::judged::Judged,
    domain::{
        policy::AuthorityRule,
        request::{Ask, Wanted},
        step::PlannedStep,
    },
    plan::{gates, promise},
    report,
    validate::request,
};

use super::{obstacles::until_it_ends, *};

/// Who follows whom, by ordinal: every replica of the set.
type Links<'a> = &'a [(usize, usize)];

const CHAIN: Links<'static> = &[(1, 0), (2, 1)];
const TWO_ENDS: Links<'static> = &[(1, 0), (2, 1), (3, 1)];

fn small(n: usize) -> u8 {
    u8::try_from(n).expect("small")
}

impl World {
    /// A set whose members follow each other so, each of them due for a restart.
    fn linked(links: Links<'_>) -> Self {
        let mut world = Self::new();
        world.policy.restart.minimum_synced_replicas = 1;
        for n in 3..=links.len() {
            let mut target = fixtures::target(small(n));
            target.pod.role_label = Some("replica".into());
            world.snapshot.services.iter_mut().for_each(|service| service.takes.push(target.pod.name.clone()));
            world.snapshot.targets.push(target);
        }
        world.snapshot.stateful_sets[0].replicas = u32::try_from(links.len() + 1).expect("small");
        world.link(links);
        world
    }

    /// What the servers say of it.
    fn link(&mut self, links: Links<'_>) {
        for n in 0..self.snapshot.targets.len() {
            let followers = links.iter().filter(|(_, above)| *above == n);
            let listed = followers.map(|(below, _)| fixtures::replica_line(small(*below))).collect();
            let above = links.iter().find(|(below, _)| *below == n).map(|(_, above)| small(*above));
            let replication = &mut self.sample(n).replication;
            replication.replicas = listed;
            if let (Some(above), Role::Replica(link)) = (above, &mut replication.role) {
                link.primary = fixtures::stable_address(above);
            }
        }
    }

    fn link_of(&mut self, n: usize) -> &mut ReplicaLink {
        match &mut self.sample(n).replication.role {
            Role::Replica(link) => link,
            Role::Primary | Role::Unknown => panic!("{n} is no replica"),
        }
    }

    fn clean(&mut self, n: usize) {
        let memory = &mut self.sample(n).memory;
        (memory.rss, memory.ratio) = (Bytes::mib(80), Ratio(115));
        self.snapshot.targets[n].history.clear();
    }

    /// Reason and text of what is in the way first.
    fn refused(&self) -> (BlockReason, String) {
        let considered = begin::consider(&self.ctx());
        assert_eq!(considered.begin, None);
        let first = considered.blocked.first().expect("something is in the way");
        (first.reason, first.text.clone())
    }

    fn evicted(&self) -> Vec<&str> {
        assert!(self.done.iter().all(|(kind, _)| *kind == "Evict"), "nothing but evictions: {:?}", self.done);
        self.done.iter().map(|(_, pod)| pod.as_str()).collect()
    }

    fn planned(&self) -> Vec<String> {
        let steps: Vec<PlannedStep> = self.begin().steps;
        steps.iter().filter(|it| it.step.kind() == StepKind::Evict).map(|it| it.step.pod().to_string()).collect()
    }
}

#[rstest]
#[case::chain(CHAIN, &["redis-2"])]
#[case::two_ends(TWO_ENDS, &["redis-2", "redis-3"])]
#[case::long(&[(1, 0), (2, 1), (3, 2)], &["redis-3"])]
#[case::one_beside(&[(1, 0), (2, 1), (3, 0)], &["redis-2", "redis-3"])]
fn its_ends_are_restarted_and_nobody_else(#[case] links: Links<'_>, #[case] ends: &[&str]) {
    let mut world = World::linked(links);
    let journal = world.begin();
    let record = until_it_ends(&mut world, journal, |world, _| world.link(links));
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(world.evicted(), ends);
    world.records = vec![record];
    let (reason, text) = world.refused();
    assert_eq!(reason, BlockReason::ChainedReplicas);
    assert!(text.contains("and the primary redis-0 are left alone, and no role is moved; let every replica"), "{text}");
}

#[test]
fn the_plan_says_whom_it_leaves_alone_and_why() {
    let world = World::linked(CHAIN);
    let said = |journal: Option<&Journal>| {
        let decision = decide::decide(&world.ctx(), journal, false, true);
        assert_eq!(decision.blocked, Vec::new());
        let mut of_pods = promise::findings(&world.ctx(), journal, &decision);
        of_pods.retain(|finding| finding.code.as_str() == "FragmentationRestartDue");
        of_pods.into_iter().map(|finding| finding.remedy).collect::<Vec<_>>()
    };
    let journal = world.begin();
    for remedies in [said(None), said(Some(&journal))] {
        let alone = "a restart is due and is not begun: ChainedReplicas: a replica follows another replica: redis-1 and the \
                     primary redis-0 are left alone, and no role is moved; let every replica follow the primary";
        assert_eq!(remedies[..2], [alone, alone]);
        assert!(!remedies[2].contains("ChainedReplicas"), "{}", remedies[2]);
    }
}

/// What the rest waits for is said before the plan, while it runs and after it.
#[test]
fn the_verdict_says_what_a_person_does_about_the_rest() {
    let mut world = World::linked(TWO_ENDS);
    let told = |world: &World, journal: Option<&Journal>| {
        let ctx = world.ctx();
        let decision = decide::decide(&ctx, journal, false, true);
        let found = promise::findings(&ctx, journal, &decision);
        let (judged, none) = (Judged::of(&ctx.look), RedisMemoryPolicyStatus::default());
        let input = report::Input {
            policy: &world.policy,
            generation: 1,
            snapshot: &world.snapshot,
            sets: &report::sets::of(&ctx.look),
            findings: &report::findings::shown(&found, &judged, &world.snapshot, &none),
            judged: &judged,
            kills: &[],
            plan: decision.plan.as_ref(),
            blocked: &decision.blocked,
            journal,
            records: &world.records,
            now: world.now,
        };
        report::status(&input, &none).verdict.unwrap().sentence
    };
    let command = "You: when it suits: kubectl exec -it redis-2 -n shop -c redis -- redis-cli -p 6379 REPLICAOF \
                   redis-0.redis.shop.svc.cluster.local 6379 (restarts nothing, at worst a full sync; the same for redis-3; write \
                   it into what they start with too: until every replica follows the primary, redis-1 and redis-0 are not restarted)";
    let journal = world.begin();
    for sentence in [told(&world, None), told(&world, Some(&journal))] {
        assert!(sentence.ends_with(command), "{sentence}");
    }
    world.records = vec![until_it_ends(&mut world, journal, |world, _| world.link(TWO_ENDS))];
    let sentence = told(&world, None);
    assert!(sentence.ends_with(command), "{sentence}");
}

/// Its start script, or a person, leads it to the primary: the chain is gone with that, and the next plan is of the whole set.
#[test]
fn an_end_that_comes_back_behind_the_primary_is_fine_too() {
    let mut world = World::linked(CHAIN);
    let journal = world.begin();
    let record = until_it_ends(&mut world, journal, |world, journal| {
        world.link(if journal.evicted(&fixtures::pod_name(2)) { &[(1, 0), (2, 0)] } else { CHAIN });
    });
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(world.evicted(), ["redis-2"]);
    world.records = vec![record];
    world.done.clear();
    let journal = world.begin();
    assert!(!journal.chained);
    world.walk(journal, None);
    let whole: Vec<_> = world.done.iter().map(|(kind, pod)| (*kind, pod.as_str())).collect();
    assert_eq!(whole, [("Evict", "redis-1"), ("Switchover", "redis-2"), ("Repoint", "redis-1"), ("Evict", "redis-0")]);
}

/// Half of it comes back behind another replica: where it was before does not matter, nor is it led away.
#[test]
fn an_end_that_comes_back_behind_another_replica_stays_there() {
    let mut world = World::linked(&[(1, 0), (2, 1), (3, 0)]);
    let journal = world.begin();
    let record = until_it_ends(&mut world, journal, |world, journal| {
        let back = journal.evicted(&fixtures::pod_name(3));
        world.link(if back { &[(1, 0), (2, 1), (3, 1)] } else { &[(1, 0), (2, 1), (3, 0)] });
    });
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(world.evicted(), ["redis-2", "redis-3"]);
}

/// An end has caught up when it has what the replica has that it follows. Before the next is evicted that one must have caught
/// up, too.
#[test]
fn a_broken_link_above_keeps_the_next_end_and_not_the_proof_of_the_last() {
    let mut world = World::linked(TWO_ENDS);
    let journal = world.begin();
    let mut looks = 0;
    let record = until_it_ends(&mut world, journal, |world, journal| {
        world.link(TWO_ENDS);
        let (evicts, three) = (StepKind::Evict, fixtures::pod_name(3));
        let waits = journal.step().is_some_and(|step| step.kind() == evicts && *step.pod() == three);
        looks += usize::from(waits);
        let broken = journal.evicted(&fixtures::pod_name(2)) && looks < 9;
        world.link_of(1).link_up = !broken;
        if waits && broken {
            assert_eq!(world.evicted(), ["redis-2"]);
            let ctx = world.ctx();
            let scene = gates::Scene::new(&ctx, &ctx.look.shards[0], "", &journal.steps, gates::Phase::Evict(three));
            let blocked = gates::check(&scene);
            assert_eq!(blocked.iter().map(|it| it.reason).collect::<Vec<_>>(), [BlockReason::ReplicaNotSynced]);
            assert!(blocked[0].text.contains("redis-1's link to its primary is down"), "{}", blocked[0].text);
        }
    });
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!((looks > 8, world.evicted()), (true, vec!["redis-2", "redis-3"]));
}

#[test]
fn an_end_that_lacks_what_the_middle_has_is_waited_for() {
    let mut world = World::linked(CHAIN);
    let journal = world.begin();
    let record = until_it_ends(&mut world, journal, |world, journal| {
        world.link(CHAIN);
        if journal.evicted(&fixtures::pod_name(2)) {
            world.sample(1).replication.replicas[0].offset = 0;
            world.sample(1).replication.offset = 100 << 20;
        }
    });
    assert_eq!(record.outcome, Some(Outcome::TimedOut), "{}", record.message);
    assert!(record.message.contains("redis-2 is 100 MiB behind its primary"), "{}", record.message);
}

#[test]
fn what_is_wrong_in_the_middle_restarts_nobody_at_the_ends() {
    let mut world = World::linked(CHAIN);
    world.clean(2);
    let (reason, text) = world.refused();
    assert_eq!(reason, BlockReason::ChainedReplicas, "{text}");
    // Worth a restart, if one were due anyhow.
    let mut world = World::linked(CHAIN);
    world.snapshot.targets[2].history.clear();
    assert_eq!(world.refused().0, BlockReason::ChainedReplicas);
}

/// A plan that restarts replicas only, and before its first eviction one of them is made to follow the other.
#[test]
fn a_middle_that_appears_under_way_is_not_evicted() {
    let mut world = World::new();
    world.policy.redis.authority = AuthorityRule::Auto;
    let journal = world.begin();
    assert_eq!(world.planned(), ["redis-1", "redis-2"]);
    world.link(CHAIN);
    let record = until_it_ends(&mut world, journal, |world, _| world.link(CHAIN));
    assert_eq!(record.outcome, Some(Outcome::GaveUp));
    assert!(record.message.contains("ChainedReplicas"), "{}", record.message);
    assert_eq!(world.done, []);
}

#[test]
fn a_plan_that_moves_the_role_waits_for_a_chain_to_go() {
    let mut world = World::new();
    let journal = world.reach(|step| step.kind() == StepKind::Switchover);
    let record = until_it_ends(&mut world, journal, |world, _| world.link(CHAIN));
    assert_eq!(record.outcome, Some(Outcome::GaveUp), "{}", record.message);
    assert_eq!(world.evicted(), ["redis-1", "redis-2"]);
}

#[test]
fn the_room_for_a_full_sync_is_that_of_the_one_that_is_followed() {
    let mut world = World::linked(CHAIN);
    world.snapshot.targets[1].pod.container.as_mut().unwrap().live_limit = Some(Bytes::mib(205));
    let (reason, text) = world.refused();
    assert_eq!(reason, BlockReason::FullSyncHeadroom);
    assert!(text.starts_with("redis-1 has "), "{text}");
}

/// Only those that follow the primary count for its `min-replicas-to-write`.
#[rstest]
#[case::behind_the_middle(CHAIN, 1, true)]
#[case::one_beside(&[(1, 0), (2, 1), (3, 0)], 2, false)]
#[case::one_beside_and_one_enough(&[(1, 0), (2, 1), (3, 0)], 1, true)]
fn writes_go_on(#[case] links: Links<'_>, #[case] needed: u32, #[case] begins: bool) {
    let mut world = World::linked(links);
    for n in 0..=links.len() {
        world.sample(n).config.as_mut().unwrap().min_replicas_to_write = needed;
    }
    let blocked: Vec<_> = begin::consider(&world.ctx()).blocked.iter().map(|it| it.reason).collect();
    assert_eq!(blocked, if begins { vec![] } else { vec![BlockReason::MinReplicasToWrite] });
}

#[rstest]
#[case::middle(Wanted::Restart { name: "redis-1".into() })]
#[case::primary(Wanted::Restart { name: "redis-0".into() })]
#[case::role(Wanted::Switchover { set: "redis".into(), to: None })]
fn nor_does_anybody_get_the_middle_or_the_role_by_asking(#[case] wanted: Wanted) {
    let mut world = World::linked(CHAIN);
    let ask = Ask { wanted, by: "alice".into(), at: world.now, reason: "kernel update".into() };
    world.snapshot.surroundings.request = Some(request::request(&request::written(&ask)));
    let Next::Answer(answer) = decide::decide(&world.ctx(), None, false, true).act else { panic!("no answer") };
    assert!(answer.message.contains("let every replica follow the primary"), "{}", answer.message);
}

#[test]
fn under_sentinel_nobody_is_restarted_in_a_chain() {
    let mut world = sentinels::watched();
    world.link(CHAIN);
    let reasons: Vec<_> = begin::consider(&world.ctx()).blocked.iter().map(|it| it.reason).collect();
    assert!(reasons.contains(&BlockReason::ChainedReplicas), "{reasons:?}");
}
