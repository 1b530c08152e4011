//! Two primaries: the one case in which one is demoted, and each way of missing it by one fact.

use std::time::Duration;

use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;
use crate::{
    assess::AssessSettings,
    domain::{
        fixtures::{self, NOW},
        journal::CurrentStep,
        names::{PodUid, RunId},
        policy::{AuthorityRule, Policy},
        sample::{ReplicaLink, Sample},
        snapshot::Snapshot,
        switchover::SwitchoverChoice,
    },
    plan::{PlanSettings, advance, begin, decide},
};
use crate::{domain::sample::FailoverState, plan::next::Next};

/// redis-1 has taken the role over from redis-0, which was evicted and is back as a primary.
struct World {
    policy: Policy,
    snapshot: Snapshot,
    journal: Journal,
}

const SETTINGS: PlanSettings = PlanSettings {
    assess: AssessSettings { warm_up: Duration::from_secs(300), sample_interval: Duration::from_secs(15) },
    proof_settle: Duration::from_secs(60),
    proof_timeout: Duration::from_secs(300),
    switchover: SwitchoverChoice::Auto,
};

impl World {
    fn new() -> Self {
        let (policy, snapshot) = fixtures::enforced();
        let ctx = Context::of(&policy, &snapshot, &[], NOW, &SETTINGS);
        let mut journal = begin::consider(&ctx).begin.expect("nothing is in the way");
        let old = fixtures::pod_name(0);
        let at = journal.steps.iter().position(|planned| planned.step == Step::AwaitReplica { pod: old.clone() });
        journal.cursor = u32::try_from(at.expect("the old primary comes back")).unwrap();
        journal.current = CurrentStep { begun_at: Some(NOW), ..CurrentStep::default() };
        let mut world = Self { policy, snapshot, journal };
        world.journal.primary = begin::identity(&world.snapshot.targets[1]).unwrap();
        let new = world.sample(1);
        new.replication.role = Role::Primary;
        new.replication.replicas = vec![fixtures::replica_line(2)];
        let third = world.sample(2);
        third.replication.role = Role::Replica(ReplicaLink {
            primary: fixtures::stable_address(1),
            link_up: true,
            sync_in_progress: false,
            read_only: true,
        });
        world.snapshot.targets[0].pod.uid = PodUid::from("back");
        world.snapshot.targets[0].pod.role_label = None;
        let back = world.sample(0);
        back.pod_uid = PodUid::from("back");
        back.run_id = RunId::from("b".repeat(40).as_str());
        back.keys = 0;
        back.replication.replicas.clear();
        back.replication.replid = "b".repeat(40);
        world
    }

    fn sample(&mut self, n: usize) -> &mut Sample {
        self.snapshot.targets[n].sample_mut().expect("the fixture has a sample")
    }

    fn ctx(&self) -> Context<'_> {
        Context::of(&self.policy, &self.snapshot, &[], NOW, &SETTINGS)
    }

    fn next(&self) -> Next {
        advance::next(&self.ctx(), &self.journal, false)
    }
}

#[test]
fn the_old_primary_that_we_evicted_is_demoted() {
    let Next::Act(journal, effect) = World::new().next() else { panic!("nothing is done") };
    assert_eq!(journal.current.attempt, 1, "it is in the journal before it is done");
    let Effect::Demote { peer, by_name, to } = *effect else { panic!("{effect:?}") };
    assert_eq!((peer.pod, to.pod), (fixtures::pod_name(0), fixtures::pod_name(1)));
    assert_eq!((peer.uid, peer.run_id), (PodUid::from("back"), RunId::from("b".repeat(40).as_str())));
    assert_eq!(to.run_id, fixtures::run_id(1));
    assert_eq!(by_name.map(|name| name.sent), Some(fixtures::stable_address(1)), "as redis-2 follows it");
}

// The review's case: by our own eviction there were two writers behind one Service, for ever.
#[test]
fn so_it_is_where_another_controller_keeps_the_label() {
    let mut world = World::new();
    world.policy.redis.authority = AuthorityRule::Label;
    let Next::Act(journal, effect) = world.next() else { panic!("nothing is done") };
    assert!(matches!(*effect, Effect::Demote { .. }), "{effect:?}");
    let returned = journal.member(&fixtures::pod_name(0)).and_then(|record| record.returned_as);
    assert_eq!(
        returned,
        Some(crate::domain::journal::StartRole::Primary),
        "what it came back as is proof of its start"
    );
}

// Found by the simulator: somebody else, or an earlier remediation, had given the role to the recorded primary. Frozen, the
// set was one failure away from the loss of everything.
#[test]
fn so_is_the_pod_that_had_given_the_role_to_the_recorded_primary() {
    let mut world = World::new();
    world.journal.steps.retain(|planned| !matches!(planned.step, Step::Switchover { .. } | Step::Repoint { .. }));
    let old = fixtures::pod_name(0);
    let at = world.journal.steps.iter().position(|planned| planned.step == Step::AwaitReplica { pod: old.clone() });
    world.journal.cursor = u32::try_from(at.expect("it comes back")).unwrap();
    let next = world.next();
    assert!(matches!(&next, Next::Act(_, effect) if matches!(**effect, Effect::Demote { .. })), "{next:?}");
}

fn to_the_switchover(w: &mut World) {
    let at = w.journal.steps.iter().position(|planned| matches!(planned.step, Step::Switchover { .. }));
    w.journal.cursor = u32::try_from(at.unwrap()).unwrap();
    w.journal.current = CurrentStep::default();
}

/// The old primary is not evicted yet: its container has restarted, and started as a primary.
fn before_its_eviction(w: &mut World) {
    let uid = fixtures::pod_uid(0);
    w.snapshot.targets[0].pod.uid = uid.clone();
    w.sample(0).pod_uid = uid;
    let at = w.journal.steps.iter().position(|planned| planned.step == Step::Evict { pod: fixtures::pod_name(0) });
    w.journal.cursor = u32::try_from(at.unwrap()).unwrap();
    w.journal.current = CurrentStep { waiting_since: Some(NOW), ..CurrentStep::default() };
}

// Found by reading: the set was frozen, with two writers where another controller labels each pod that says that it is primary.
#[rstest]
#[case::ours(AuthorityRule::Operator)]
#[case::anothers(AuthorityRule::Label)]
fn so_it_is_where_its_container_restarts_before_its_eviction(#[case] authority: AuthorityRule) {
    let mut world = World::new();
    before_its_eviction(&mut world);
    world.policy.redis.authority = authority;
    let Next::Act(journal, effect) = world.next() else { panic!("nothing is done") };
    let Effect::Demote { peer, to, .. } = *effect else { panic!("{effect:?}") };
    assert_eq!((peer.pod, peer.uid, to.pod), (fixtures::pod_name(0), fixtures::pod_uid(0), fixtures::pod_name(1)));
    let returned = journal.member(&fixtures::pod_name(0)).and_then(|record| record.returned_as);
    assert_eq!(returned, Some(crate::domain::journal::StartRole::Primary));
}

/// One fact less than the permitted case: everything is frozen.
#[rstest]
#[case::no_switchover_yet(to_the_switchover, "more than one")]
#[case::the_switchover_was_another_way(|w: &mut World| {
    for planned in &mut w.journal.steps {
        if let Step::Switchover { to, .. } = &mut planned.step { *to = Some(fixtures::pod_name(2)); }
    }
}, "was handed over to redis-2")]
#[case::not_evicted_by_us(|w: &mut World| {
    let of = |step: &Step| *step == Step::Evict { pod: fixtures::pod_name(0) };
    w.journal.steps.retain(|planned| !of(&planned.step));
    w.journal.cursor -= 1;
}, "was not evicted by us")]
// Somebody has made it a primary again.
#[case::the_very_process_that_was_primary(|w: &mut World| {
    before_its_eviction(w);
    w.sample(0).run_id = fixtures::run_id(0);
}, "was not evicted by us")]
#[case::a_restart_of_who_gave_no_role(|w: &mut World| {
    before_its_eviction(w);
    for planned in &mut w.journal.steps {
        if let Step::Switchover { from, .. } = &mut planned.step { *from = fixtures::pod_name(2); }
    }
}, "nor did it give it the role and restart")]
#[case::it_restarted_as_a_replica(|w: &mut World| {
    before_its_eviction(w);
    let returned = w.journal.members.iter_mut().find(|record| record.identity.pod == fixtures::pod_name(0));
    returned.unwrap().returned_as = Some(crate::domain::journal::StartRole::Replica);
}, "came back as a replica")]
#[case::a_third_claims_it_too(|w: &mut World| w.sample(2).replication.role = Role::Primary, "more than two")]
#[case::another_claims_it(|w: &mut World| {
    w.sample(0).replication.role = fixtures::replica_role();
    w.sample(2).replication.role = Role::Primary;
}, "was not evicted by us")]
#[case::the_new_primary_restarted(|w: &mut World| w.sample(1).run_id = RunId::from("c".repeat(40).as_str()), "not the process")]
#[case::the_new_primary_was_replaced(|w: &mut World| {
    w.snapshot.targets[1].pod.uid = PodUid::from("other");
    w.sample(1).pod_uid = PodUid::from("other");
}, "not the process")]
#[case::the_new_primary_is_empty(|w: &mut World| w.sample(1).keys = 0, "holds no key")]
#[case::a_failover_runs(|w: &mut World| w.sample(1).replication.failover_state = FailoverState::WaitingForSync, "a failover")]
#[case::roles_are_anothers(|w: &mut World| w.policy.redis.authority = AuthorityRule::Auto, "not this operator's")]
#[case::evicted_before_the_role_went(|w: &mut World| {
    let evicted = w.journal.steps.iter().position(|planned| matches!(&planned.step, Step::Evict { pod } if *pod == fixtures::pod_name(0)));
    let evict = w.journal.steps.remove(evicted.unwrap());
    w.journal.steps.insert(0, evict);
}, "was not evicted by us")]
// Found by seed 23287: somebody had given it the role, and the recorded primary only said that it still was one.
#[case::it_came_back_as_a_replica(|w: &mut World| {
    let returned = w.journal.members.iter_mut().find(|record| record.identity.pod == fixtures::pod_name(0));
    returned.unwrap().returned_as = Some(crate::domain::journal::StartRole::Replica);
}, "came back as a replica")]
#[case::a_sentinel_watches(|w: &mut World| w.sample(1).sentinel_seen = Some(true), "not this operator's")]
fn every_other_case_is_frozen(#[case] change: fn(&mut World), #[case] says: &str) {
    let mut world = World::new();
    change(&mut world);
    let ctx = world.ctx();
    let [shard] = ctx.look.shards.as_slice() else { panic!("one shard") };
    if says != "more than one" {
        let RoguePrimary::Frozen(blocked) = judge(&ctx, shard, &world.journal) else { panic!("not frozen") };
        assert_eq!(blocked.reason, BlockReason::TwoPrimaries);
        assert!(blocked.text.contains(says), "{}", blocked.text);
    }
    match world.next() {
        Next::Gate(blocked, _) => assert_eq!(blocked[0].reason, BlockReason::TwoPrimaries),
        // At a boundary the plan that does not hold any more may be given up: that touches nothing.
        Next::End(_) => assert_eq!(says, "more than one"),
        other => panic!("{other:?}"),
    }
    assert_eq!(upkeep(&mut world), Vec::<Effect>::new());
}

/// What upkeep would do when limits and labels are wrong.
fn upkeep(world: &mut World) -> Vec<Effect> {
    for target in &mut world.snapshot.targets {
        target.pod.container.as_mut().unwrap().spec_limit = Some(crate::domain::bytes::Bytes::mib(600));
        target.pod.role_label = None;
    }
    let mut act = decide::decide(&world.ctx(), None, false, true).act;
    // Two primaries are remembered before anything else.
    if let Next::Remember(records) = act {
        act = decide::decide(&Context { records: &records, ..world.ctx() }, None, false, true).act;
    }
    match act {
        Next::Upkeep(effects) => effects.into_iter().map(|(effect, _)| effect).collect(),
        Next::Rest => Vec::new(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn upkeep_works_where_nothing_is_frozen() {
    let (policy, snapshot) = fixtures::enforced();
    let mut world = World { policy, snapshot, journal: World::new().journal };
    assert_eq!(upkeep(&mut world).len(), 6, "three labels, three limits: the test above can fail");
}

#[test]
fn an_empty_primary_freezes_everything() {
    let mut world = World::new();
    // The old primary is back as a replica; the new one has lost its data.
    world.sample(0).replication.role = fixtures::replica_role();
    world.sample(1).keys = 0;
    world.sample(1).replication.replid = "e".repeat(40);
    let Next::Gate(blocked, _) = world.next() else { panic!("not frozen") };
    assert_eq!(blocked[0].reason, BlockReason::PrimaryEmpty);
    assert!(blocked[0].text.contains("redis-1 holds no key and redis-2 still holds"), "{}", blocked[0].text);
    assert_eq!(upkeep(&mut world), Vec::<Effect>::new());
    // Nor is anything begun, or gone on with at another step.
    let considered = begin::consider(&world.ctx());
    assert!(considered.begin.is_none() && considered.blocked.iter().any(|b| b.reason == BlockReason::PrimaryEmpty));
    for cursor in 0..world.journal.steps.len() {
        world.journal.cursor = u32::try_from(cursor).unwrap();
        world.journal.current = CurrentStep { begun_at: Some(NOW), attempt: 1, ..CurrentStep::default() };
        let next = world.next();
        assert!(!matches!(next, Next::Act(..) | Next::Record(_)), "step {cursor}: {next:?}");
    }
}
