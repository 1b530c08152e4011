//! One test a refusal: a set that could be remediated, with one thing broken.

use std::time::Duration;

use rstest::rstest;

use crate::{
    domain::{
        blocked::{BlockReason, Blocked},
        bytes::Bytes,
        fixtures::{self, NOW, pod_name, seconds_ago},
        journal::{Outcome, RestartRecord, WorkloadRecord},
        names::NodeAddress,
        oom::Cause,
        pod::{Owner, ResizeProgress, Right},
        policy::{AuthorityRule, Mode, Policy},
        ratio::Ratio,
        sample::{ConfigUnreadable, Engine, FailoverState, ReplicaLine, Role, Sample, Version},
        snapshot::{Observation, ProbeFailure, RedisRights, Snapshot},
        surroundings::{RefusedLimit, UnwrittenLimit},
    },
    plan::{
        Context, PlanSettings,
        begin::{self, Considered},
    },
};

mod allowed;
mod killed;

/// Everything that a decision is made from, and may be broken.
pub(super) struct World {
    pub(super) policy: Policy,
    pub(super) snapshot: Snapshot,
    pub(super) records: Vec<WorkloadRecord>,
}

impl World {
    pub(super) fn settings() -> PlanSettings {
        PlanSettings::default()
    }

    pub(super) fn good() -> Self {
        let (policy, snapshot) = fixtures::enforced();
        Self { policy, snapshot, records: Vec::new() }
    }

    fn alone() -> Self {
        let (policy, snapshot) = fixtures::standalone();
        Self { policy, snapshot, records: Vec::new() }
    }

    /// Member N is not worth a restart.
    fn clean(&mut self, n: usize) {
        let memory = &mut self.sample(n).memory;
        (memory.rss, memory.ratio) = (Bytes::mib(80), Ratio(115));
        self.snapshot.targets[n].history.clear();
    }

    fn follow(&mut self, n: usize, host: &str) {
        if let Role::Replica(link) = &mut self.sample(n).replication.role {
            link.primary.host = host.into();
        }
    }

    pub(super) fn consider(&self) -> Considered {
        let settings = Self::settings();
        let Self { policy, snapshot, records } = self;
        begin::consider(&Context::of(policy, snapshot, records, NOW, &settings))
    }

    pub(super) fn sample(&mut self, n: usize) -> &mut Sample {
        self.snapshot.targets[n].sample_mut().expect("the fixture has a sample")
    }

    fn every_sample(&mut self, mut change: impl FnMut(&mut Sample)) {
        for n in 0..self.snapshot.targets.len() {
            change(self.sample(n));
        }
    }
}

fn two_pods(world: &mut World) {
    world.snapshot.targets.truncate(2);
    world.sample(0).replication.replicas.truncate(1);
    world.snapshot.stateful_sets[0].replicas = 2;
}

pub(super) fn record(outcome: Outcome) -> WorkloadRecord {
    WorkloadRecord {
        outcome: Some(outcome),
        remediation: "r".into(),
        generation: fixtures::policy().generation,
        message: "redis-1 was restarted, but nothing came back".into(),
        ..WorkloadRecord::new(fixtures::shard_id(), "redis".into(), seconds_ago(60))
    }
}

#[test]
fn the_unbroken_set_may_begin() {
    let considered = World::good().consider();
    assert_eq!(considered.blocked, Vec::new());
    assert!(considered.begin.is_some());
}

#[test]
fn under_label_another_controllers_words_for_a_replica_do_not_matter() {
    let mut world = World::good();
    world.policy.redis.authority = AuthorityRule::Label;
    world.snapshot.targets[1].pod.role_label = None;
    world.snapshot.targets[2].pod.role_label = Some("slave".into());
    world.snapshot.rights.label = Right::Denied;
    assert_eq!(world.consider().blocked, Vec::new());
}

#[test]
fn rights_of_one_method_are_enough() {
    for own in ["failover", "client|pause", "client|unpause"] {
        let mut world = World::good();
        world.snapshot.redis_rights = RedisRights::Known(vec![(pod_name(0), vec![own.into()])]);
        assert_eq!(world.consider().blocked, Vec::new(), "without {own}");
    }
}

#[test]
fn observe_plans_the_same_and_begins_nothing() {
    let mut world = World::good();
    let enforced = world.consider().plan;
    world.policy.mode = Mode::Observe;
    let observed = world.consider();
    assert_eq!(observed.plan, enforced);
    assert_eq!(observed.begin, None);
}

#[test]
fn nothing_is_begun_before_the_redis_rights_are_known() {
    let mut world = World::good();
    world.snapshot.redis_rights = RedisRights::Unknown;
    assert_eq!(world.consider().begin, None);
}

#[test]
fn a_member_that_could_not_be_asked_for_its_rights_is_said_and_counts_for_its_own_set_only() {
    let mut world = World::good();
    world.snapshot.unasked = vec!["cart-0".into()];
    assert!(world.consider().begin.is_some());
    world.snapshot.unasked = vec![pod_name(2)];
    let considered = world.consider();
    assert_eq!(considered.begin, None);
    assert_eq!(considered.blocked[0].reason, BlockReason::PermissionMissing);
    assert!(considered.blocked[0].text.contains("redis-2"), "{}", considered.blocked[0].text);
}

#[rstest]
#[case(BlockReason::Suspended, |w: &mut World| w.policy.suspend = true)]
#[case::policy(BlockReason::Held, |w: &mut World| w.snapshot.surroundings.hold = Some("audit".into()))]
#[case::set(BlockReason::Held, |w: &mut World| w.snapshot.stateful_sets[0].hold = Some(String::new()))]
#[case(BlockReason::WriteGapTooLong, |w: &mut World| {
    w.policy.restart.maximum_write_gap = Duration::ZERO;
    w.clean(1);
    w.clean(2);
})]
#[case(BlockReason::ClaimedByOlderPolicy, |w: &mut World| {
    w.snapshot.claimed_by_other.push((fixtures::set_uid(), "older".into()));
})]
#[case(BlockReason::MemberUnknown, |w: &mut World| {
    w.snapshot.targets[2].redis = Observation::Failed(ProbeFailure::TimedOut("no answer within 1 s".into()));
})]
#[case(BlockReason::ClusterMode, |w: &mut World| w.every_sample(|s| s.server.cluster_enabled = true))]
#[case(BlockReason::SentinelSeen, |w: &mut World| w.sample(0).sentinel_seen = Some(true))]
#[case(BlockReason::SentinelUnknown, |w: &mut World| w.sample(1).sentinel_seen = None)]
#[case::too_old(BlockReason::ServerUnsupported, |w: &mut World| {
    w.every_sample(|s| s.server.version = Version { major: 6, minor: 0, patch: 16 });
})]
#[case::another_engine(BlockReason::ServerUnsupported, |w: &mut World| {
    w.every_sample(|s| s.server.engine = Engine::KeyDb);
})]
#[case::alone(BlockReason::DowntimeNotAllowed, |w: &mut World| {
    w.snapshot.targets.truncate(1);
    w.sample(0).replication.replicas.clear();
    w.snapshot.stateful_sets[0].replicas = 1;
})]
#[case::fixed_by_its_arguments(BlockReason::DowntimeNotAllowed, |w: &mut World| {
    w.policy.redis.authority = AuthorityRule::Auto;
    w.clean(1);
    w.clean(2);
})]
#[case::two_pods(BlockReason::TooFewReplicas, two_pods)]
#[case::more_are_wanted(BlockReason::TooFewReplicas, |w: &mut World| w.policy.restart.minimum_synced_replicas = 2)]
#[case::no_consent(BlockReason::DowntimeNotAllowed, |w: &mut World| {
    *w = World::alone();
    w.policy.restart.allow_downtime = false;
})]
#[case::nothing_is_written(BlockReason::PersistenceNotProven, |w: &mut World| {
    *w = World::alone();
    w.sample(0).config.as_mut().unwrap().appendonly = false;
})]
#[case::empty_dir(BlockReason::PersistenceNotProven, |w: &mut World| {
    *w = World::alone();
    w.snapshot.targets[0].pod.container.as_mut().unwrap().mounts = fixtures::container().mounts;
})]
#[case::no_room_for_the_fork(BlockReason::FullSyncHeadroom, |w: &mut World| {
    *w = World::alone();
    w.snapshot.targets[0].pod.container.as_mut().unwrap().live_limit = Some(Bytes::mib(205));
})]
#[case::alone_and_killed_too_early(BlockReason::GracePeriodTooShort, |w: &mut World| {
    *w = World::alone();
    w.snapshot.targets[0].pod.grace_period = Duration::from_secs(10);
})]
#[case::alone_and_may_not_save(BlockReason::PermissionMissing, |w: &mut World| {
    *w = World::alone();
    w.snapshot.redis_rights = RedisRights::Known(vec![(pod_name(0), vec!["bgrewriteaof".into()])]);
})]
#[case::by_address(BlockReason::ReplicaFollowsNoMember, |w: &mut World| {
    w.policy.redis.authority = AuthorityRule::Auto;
    w.policy.restart.allow_downtime = true;
    w.snapshot.targets.iter_mut().for_each(fixtures::on_claim);
    w.follow(1, &fixtures::address(0).host);
})]
#[case::by_service(BlockReason::ReplicaFollowsNoMember, |w: &mut World| w.follow(1, "redis-primary.shop.svc"))]
#[case::middle_only(BlockReason::ChainedReplicas, |w: &mut World| {
    w.clean(2);
    w.sample(1).replication.replicas.push(fixtures::replica_line(2));
    if let Role::Replica(link) = &mut w.sample(2).replication.role {
        link.primary = fixtures::stable_address(1);
    }
})]
#[case(BlockReason::TwoPrimaries, |w: &mut World| w.sample(1).replication.role = Role::Primary)]
#[case(BlockReason::MemberOutsideSelector, |w: &mut World| {
    let stranger = NodeAddress { host: "10.0.0.99".into(), port: 6379 };
    w.sample(0).replication.replicas.push(ReplicaLine { address: stranger, ..fixtures::replica_line(1) });
})]
#[case::fewer_selected(BlockReason::SetIncomplete, |w: &mut World| w.snapshot.stateful_sets[0].replicas = 5)]
#[case::of_a_deployment(BlockReason::DeploymentPod, |w: &mut World| {
    for target in &mut w.snapshot.targets {
        if let Some(owner) = &mut target.pod.owner {
            owner.kind = "ReplicaSet".into();
        }
    }
})]
#[case(BlockReason::ForeignOwner, |w: &mut World| {
    w.snapshot.stateful_sets[0].owner = Some(Owner { kind: "Redis".into(), name: "r".into(), uid: "u".to_owned().into() });
})]
#[case(BlockReason::RoleLabelInTemplate, |w: &mut World| {
    w.snapshot.stateful_sets[0].template_role_label = Some("replica".into());
})]
#[case(BlockReason::NoRoleService, |w: &mut World| w.snapshot.services.clear())]
#[case::under_label(BlockReason::NoRoleService, |w: &mut World| {
    w.policy.redis.authority = AuthorityRule::Label;
    w.snapshot.services.clear();
})]
#[case::purgeable(BlockReason::CauseNotCurable, |w: &mut World| w.every_sample(|s| {
    s.memory.allocator_rss = Bytes::mib(120);
    s.memory.allocator_frag = Bytes::mib(5);
}))]
#[case::other(BlockReason::CauseNotCurable, |w: &mut World| w.every_sample(|s| {
    s.memory.rss_overhead = Bytes::mib(120);
    s.memory.allocator_frag = Bytes::mib(5);
}))]
#[case::killed_for_its_limit(BlockReason::OomCauseRemains, |w: &mut World| {
    w.bound(Bytes::mib(900));
    (0..3).for_each(|n| w.killed(n, Cause::Headroom, None));
})]
#[case::killed_without_bound(BlockReason::OomCauseRemains, |w: &mut World| {
    w.bound(Bytes::ZERO);
    (0..3).for_each(|n| w.killed(n, Cause::NoMaxmemory, None));
})]
#[case::killed_while_it_loaded(BlockReason::OomCauseRemains, |w: &mut World| {
    w.bound(Bytes::mib(100));
    let limit = w.snapshot.targets[1].pod.limit();
    (0..3).for_each(|n| w.killed(n, Cause::Loading, limit));
})]
#[case(BlockReason::RemediationIneffective, |w: &mut World| w.records.push(record(Outcome::Ineffective)))]
#[case(BlockReason::RemediationFailed, |w: &mut World| w.records.push(record(Outcome::SwitchoverFailed)))]
#[case(BlockReason::LabelDidNotFollow, |w: &mut World| w.records.push(record(Outcome::LabelDidNotFollow)))]
#[case::no_right_to_evict(BlockReason::PermissionMissing, |w: &mut World| w.snapshot.rights.evict = Right::Denied)]
#[case::no_right_to_label(BlockReason::PermissionMissing, |w: &mut World| w.snapshot.rights.label = Right::Denied)]
#[case::no_right_in_redis(BlockReason::PermissionMissing, |w: &mut World| {
    w.snapshot.redis_rights = RedisRights::Known(vec![(pod_name(0), vec!["replicaof".into()])]);
})]
#[case::no_right_to_either_method(BlockReason::PermissionMissing, |w: &mut World| {
    w.snapshot.redis_rights = RedisRights::Known(vec![(pod_name(0), vec!["failover".into(), "client|pause".into()])]);
})]
#[case(BlockReason::ConfigUnreadable, |w: &mut World| w.sample(1).config = Err(ConfigUnreadable("NOPERM".into())))]
#[case::version(BlockReason::MembersDiffer, |w: &mut World| w.sample(1).server.version.patch += 1)]
#[case::maxmemory(BlockReason::MembersDiffer, |w: &mut World| {
    w.sample(2).config.as_mut().unwrap().maxmemory = Bytes::mib(600);
})]
#[case::masterauth(BlockReason::MembersDiffer, |w: &mut World| {
    w.sample(0).config.as_mut().unwrap().primary_auth = Some("cafe".into());
})]
#[case::not_measured(BlockReason::MemberUnknown, |w: &mut World| w.sample(1).unread = vec!["used_memory_rss".into()])]
#[case::no_run_id(BlockReason::MemberUnknown, |w: &mut World| {
    (w.sample(1).run_id, w.sample(1).unread) = ("".into(), vec!["run_id".into()]);
})]
#[case::no_role(BlockReason::MemberUnknown, |w: &mut World| {
    (w.sample(1).replication.role, w.sample(1).unread) = (Role::Unknown, vec!["role".into()]);
})]
#[case::not_ready(BlockReason::MemberNotReady, |w: &mut World| w.snapshot.targets[1].pod.ready = false)]
#[case::terminating(BlockReason::MemberNotReady, |w: &mut World| w.snapshot.targets[1].pod.terminating = true)]
#[case::loading(BlockReason::MemberBusy, |w: &mut World| w.sample(1).persistence.loading = true)]
#[case::saving(BlockReason::MemberBusy, |w: &mut World| w.sample(0).persistence.child_running = true)]
#[case::rewriting(BlockReason::MemberBusy, |w: &mut World| w.sample(0).persistence.rewrite_scheduled = true)]
#[case::failing_over(BlockReason::MemberBusy, |w: &mut World| {
    w.sample(0).replication.failover_state = FailoverState::WaitingForSync;
})]
#[case::resizing_without_end(BlockReason::ResizeRefused, |w: &mut World| {
    w.snapshot.targets[1].pod.resize = ResizeProgress::InProgress;
    let since = seconds_ago(24 * 3600);
    w.snapshot.surroundings.unwritten = vec![UnwrittenLimit { uid: fixtures::pod_uid(1), since }];
})]
#[case::limit_refused(BlockReason::ResizeRefused, |w: &mut World| {
    let container = w.snapshot.targets[1].pod.container.as_mut().unwrap();
    (container.spec_limit, container.live_limit) = (Some(Bytes::mib(600)), Some(Bytes::mib(600)));
    let text = "exceeded quota: mem".to_owned();
    w.snapshot.surroundings.refused_limits = vec![RefusedLimit { uid: fixtures::pod_uid(1), text }];
})]
#[case::resizing(BlockReason::MemberBusy, |w: &mut World| {
    w.snapshot.targets[0].pod.resize = ResizeProgress::InProgress;
})]
#[case(BlockReason::PersistenceFailing, |w: &mut World| w.sample(2).persistence.status_ok = false)]
#[case::link_down(BlockReason::ReplicaNotSynced, |w: &mut World| {
    if let Role::Replica(link) = &mut w.sample(1).replication.role {
        link.link_up = false;
    }
})]
#[case::behind(BlockReason::ReplicaNotSynced, |w: &mut World| {
    let offset = w.sample(0).replication.offset;
    w.sample(0).replication.replicas[0].offset = 0;
    w.sample(0).replication.offset = offset + (8 << 20);
    w.sample(0).replication.replicas[1].offset = offset + (8 << 20);
})]
#[case::writable(BlockReason::ReplicaNotSynced, |w: &mut World| {
    if let Role::Replica(link) = &mut w.sample(1).replication.role {
        link.read_only = false;
    }
})]
#[case(BlockReason::RoleLabelWrong, |w: &mut World| w.snapshot.targets[1].pod.role_label = None)]
#[case::primary_unlabelled_under_label(BlockReason::RoleLabelWrong, |w: &mut World| {
    w.policy.redis.authority = AuthorityRule::Label;
    w.snapshot.targets[0].pod.role_label = None;
})]
#[case::replica_called_primary_under_label(BlockReason::RoleLabelWrong, |w: &mut World| {
    w.policy.redis.authority = AuthorityRule::Label;
    w.snapshot.targets[2].pod.role_label = Some("primary".into());
})]
#[case(BlockReason::FullSyncHeadroom, |w: &mut World| {
    w.snapshot.targets[0].pod.container.as_mut().unwrap().live_limit = Some(Bytes::mib(205));
})]
#[case(BlockReason::MinReplicasToWrite, |w: &mut World| w.every_sample(|s| {
    s.config.as_mut().unwrap().min_replicas_to_write = 2;
}))]
#[case::other_revision(BlockReason::EvictionWouldRollOut, |w: &mut World| {
    w.snapshot.stateful_sets[0].update_revision = "redis-next".into();
})]
#[case::not_observed(BlockReason::EvictionWouldRollOut, |w: &mut World| w.snapshot.stateful_sets[0].observed = false)]
#[case(BlockReason::TemplateTooSmall, |w: &mut World| {
    for (_, limit) in &mut w.snapshot.stateful_sets[0].template_limits {
        *limit = Some(Bytes::mib(64));
    }
})]
#[case::container_is_young(BlockReason::Cooldown, |w: &mut World| {
    w.snapshot.targets[1].pod.container.as_mut().unwrap().started_at = Some(seconds_ago(3600));
})]
#[case::its_process_is_young(BlockReason::Cooldown, |w: &mut World| {
    w.sample(1).server.uptime = Duration::from_secs(3600);
})]
#[case::we_restarted_it(BlockReason::Cooldown, |w: &mut World| {
    let restarts = vec![RestartRecord { pod: pod_name(1), at: seconds_ago(3600) }];
    w.records.push(WorkloadRecord { restarts, ..record(Outcome::Succeeded) });
})]
fn refuses(#[case] reason: BlockReason, #[case] break_it: fn(&mut World)) {
    let mut world = World::good();
    break_it(&mut world);
    let considered = world.consider();
    let reasons: Vec<BlockReason> = considered.blocked.iter().map(|blocked| blocked.reason).collect();
    assert!(reasons.contains(&reason), "{reason} is not among {reasons:?}");
    assert_eq!(considered.begin, None);
    let text = considered.blocked.iter().find(|blocked| blocked.reason == reason).map(|blocked| blocked.text.clone());
    assert!(text.is_some_and(|text| text.len() > 10), "a refusal says why");
}

#[test]
fn with_consent_and_proof_a_primary_alone_may_begin() {
    let considered = World::alone().consider();
    assert_eq!(considered.blocked, Vec::new());
    let kinds: Vec<String> =
        considered.begin.unwrap().steps.iter().map(|planned| format!("{:?}", planned.step.kind())).collect();
    assert_eq!(kinds, ["Persist", "Evict", "AwaitPrimary", "RestoreSettings", "Prove"]);
}

#[test]
fn replicas_of_a_static_set_are_restarted_and_its_primary_is_not() {
    let mut world = World::good();
    world.policy.redis.authority = AuthorityRule::Auto;
    let journal = world.consider().begin.unwrap();
    let evicted = crate::plan::order::restarted_pods(&journal.steps);
    assert_eq!(evicted, [pod_name(1), pod_name(2)]);
}

#[test]
fn the_plan_says_what_is_at_stake() {
    let mut world = World::good();
    two_pods(&mut world);
    world.policy.restart.minimum_synced_replicas = 0;
    let reasons = |world: &World| {
        let steps = world.consider().begin.unwrap().steps;
        steps.iter().map(|planned| planned.reason.clone()).collect::<Vec<_>>().join("\n")
    };
    assert!(reasons(&world).contains("the only copy"), "{}", reasons(&world));
    assert!(reasons(&World::alone()).contains("WRITES STOP"));
    assert!(reasons(&World::good()).contains("full sync is expected"));
    assert!(!reasons(&World::good()).contains("the only copy"));
}

#[test]
fn commands_that_the_plan_does_not_send_need_not_be_allowed() {
    let mut world = World::good();
    world.snapshot.redis_rights = RedisRights::Known(vec![(pod_name(0), vec!["bgsave".into()])]);
    assert_eq!(world.consider().blocked, Vec::new());
    let mut world = World::alone();
    world.snapshot.redis_rights = RedisRights::Known(vec![(pod_name(0), vec!["failover".into()])]);
    assert_eq!(world.consider().blocked, Vec::new());
}

#[test]
fn a_failed_or_useless_remediation_is_tried_again_after_the_spec_changed() {
    let failed = [Outcome::Ineffective, Outcome::SwitchoverFailed, Outcome::LabelDidNotFollow, Outcome::ConfigDrift];
    for outcome in failed {
        let mut world = World::good();
        world.records.push(record(outcome));
        world.policy.generation += 1;
        assert_eq!(world.consider().blocked, Vec::new(), "{outcome:?}");
    }
}

#[test]
fn a_partition_decides_which_revision_a_replacement_gets() {
    let mut world = World::good();
    world.snapshot.stateful_sets[0].update_revision = "redis-next".into();
    world.snapshot.stateful_sets[0].partition = 3;
    assert_eq!(world.consider().blocked, Vec::new(), "ordinals below the partition keep the current revision");
    world.snapshot.stateful_sets[0].on_delete = true;
    assert_eq!(world.consider().blocked[0].reason, BlockReason::EvictionWouldRollOut, "OnDelete gives the new one");
}

#[rstest]
#[case(ResizeProgress::Infeasible("Node didn't have enough capacity: memory".into()))]
#[case(ResizeProgress::Deferred("no room now".into()))]
#[case(ResizeProgress::Error("cgroup".into()))]
fn what_the_kubelet_puts_off_or_fails_to_do_is_not_being_done(#[case] resize: ResizeProgress) {
    let mut world = World::good();
    world.snapshot.targets[1].pod.resize = resize;
    assert_eq!(world.consider().blocked, Vec::new());
}

#[test]
fn a_pod_that_is_not_ready_is_explained_by_its_own_conditions() {
    let mut world = World::good();
    world.snapshot.targets[1].pod.ready = false;
    world.snapshot.targets[1].pod.trouble =
        Some("Unschedulable: 0/3 nodes are available: 3 Insufficient memory.".into());
    let blocked = world.consider().blocked;
    let not_ready = blocked.iter().find(|blocked| blocked.reason == BlockReason::MemberNotReady).unwrap();
    assert!(not_ready.text.contains("3 Insufficient memory"), "{}", not_ready.text);
    world.snapshot.targets[1].redis = Observation::Pending;
    let blocked = world.consider().blocked;
    let unknown = blocked.iter().find(|blocked| blocked.reason == BlockReason::MemberUnknown).unwrap();
    assert!(unknown.text.contains("3 Insufficient memory"), "{}", unknown.text);
}

#[test]
fn a_server_that_does_not_say_which_process_it_is_is_watched_only() {
    let mut world = World::good();
    let container = world.snapshot.targets[1].pod.container.as_mut().unwrap();
    (container.spec_limit, container.live_limit) = (Some(Bytes::mib(600)), Some(Bytes::mib(600)));
    world.snapshot.targets[1].pod.role_label = None;
    let settings = PlanSettings::default();
    let acts = |world: &World| {
        let World { policy, snapshot, records } = world;
        let ctx = Context::of(policy, snapshot, records, NOW, &settings);
        crate::plan::decide::decide(&ctx, None, false, true).act
    };
    let crate::plan::next::Next::Upkeep(due) = acts(&world) else { panic!("a limit and a label are due") };
    assert_eq!(due.len(), 2, "{due:?}");
    world.sample(1).run_id = "".into();
    world.sample(1).unread = vec!["run_id".into()];
    assert_eq!(acts(&world), crate::plan::next::Next::Rest);
}
