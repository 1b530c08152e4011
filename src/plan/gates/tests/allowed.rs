//! What is no reason to refuse, one test each.

use pretty_assertions::assert_eq;

use super::*;
use crate::{domain::oom::Kill, plan::effect::Peer};

fn reasons(world: &World) -> Vec<BlockReason> {
    world.consider().blocked.iter().map(|blocked| blocked.reason).collect()
}

/// What it was killed for is another by now.
#[test]
fn a_pod_that_was_killed_and_has_what_it_needs_is_restarted() {
    let mut world = World::good();
    world.bound(Bytes::mib(100));
    world.killed(1, Cause::Headroom, None);
    world.killed(2, Cause::Loading, Some(Bytes::mib(200)));
    assert_eq!(reasons(&world), []);
    // What another pod of that name was killed for is not its cause.
    world.bound(Bytes::mib(300));
    for kills in &mut world.snapshot.surroundings.kills {
        kills.pod_uid = "before".to_owned().into();
    }
    assert_eq!(reasons(&world), []);
}

#[test]
fn a_replica_that_connected_over_the_other_family_is_a_member() {
    let mut world = World::good();
    world.sample(0).replication.replicas[0].address = fixtures::second_address(1);
    world.sample(0).replication.replicas[1].address.host = "::ffff:10.0.0.12".into();
    world.follow(2, "2001:0db8::10");
    assert_eq!(world.consider().blocked, Vec::new());
}

/// Clients and this operator at 6380 over TLS, replication at 6379: `tls-replication no` is the default.
#[test]
fn a_port_for_tls_beside_the_plain_one_is_the_same_member() {
    let mut world = World::good();
    for target in &mut world.snapshot.targets {
        let container = target.pod.container.as_mut().unwrap();
        (container.port, container.declared_ports) = (6380, vec![6380]);
    }
    assert_eq!(world.consider().blocked, Vec::new());
    let peer = Peer::of(&world.snapshot.targets[1]).unwrap();
    assert_eq!((peer.address.port(), peer.node()), (6380, fixtures::address(1)), "replicas follow the plain port");
    world.every_sample(|sample| {
        let config = sample.config.as_mut().unwrap();
        (config.serving.tls_port, config.tls_replication) = (Some(6380), true);
    });
    assert_eq!(Peer::of(&world.snapshot.targets[1]).unwrap().node().port, 6380);
}

/// Default grace period, default save points, a save of 11 s.
#[test]
fn a_grace_period_matters_only_where_the_evicted_pod_must_save() {
    let slow = |world: &mut World| {
        for target in &mut world.snapshot.targets {
            target.pod.grace_period = Duration::from_secs(30);
        }
        world.every_sample(|sample| {
            sample.persistence.last_save_took = Duration::from_secs(11);
            sample.config.as_mut().unwrap().save = "3600 1 300 100 60 10000".into();
        });
    };
    let (mut set, mut alone) = (World::good(), World::alone());
    slow(&mut set);
    slow(&mut alone);
    assert_eq!(reasons(&set), []);
    assert_eq!(reasons(&alone), [BlockReason::GracePeriodTooShort]);
}

/// Every member lacks the commands of both methods.
fn without_commands_of_a_switchover(world: &mut World) {
    let lacking = ["client|pause", "client|unpause", "failover", "replicaof", "bgsave", "bgrewriteaof"];
    let of = |n| (pod_name(n), lacking.map(str::to_owned).to_vec());
    world.snapshot.redis_rights = RedisRights::Known((0..3).map(of).collect());
}

#[test]
fn rights_are_asked_for_the_steps_that_are_planned() {
    let mut world = World::good();
    world.policy.redis.authority = AuthorityRule::Auto;
    without_commands_of_a_switchover(&mut world);
    assert_eq!(reasons(&world), [], "only the replicas are restarted");
    world.policy.redis.authority = AuthorityRule::Operator;
    let blocked = world.consider().blocked;
    assert_eq!(blocked.len(), 1);
    assert!(blocked[0].text.contains("switchover method"), "{}", blocked[0].text);
    world.policy.redis.authority = AuthorityRule::Auto;
    world.snapshot.redis_rights = RedisRights::Known(vec![(pod_name(1), vec!["config|set".into()])]);
    let text = &world.consider().blocked[0].text;
    assert!(text.starts_with("the Redis user may not run config|set on redis-1; extend its ACL"), "{text}");
}

/// The template gives what the pods have, which is less than the policy wants.
#[test]
fn a_plan_that_leaves_the_limit_alone_needs_no_right_to_resize() {
    let mut world = World::good();
    let limit = Bytes::mib(600);
    world.snapshot.rights.resize = Right::Denied;
    world.snapshot.stateful_sets[0].template_limits = vec![("redis".into(), Some(limit))];
    for target in &mut world.snapshot.targets {
        let container = target.pod.container.as_mut().unwrap();
        (container.spec_limit, container.live_limit) = (Some(limit), Some(limit));
    }
    assert_eq!(reasons(&world), []);
    // What the pod has and its replacement would not: that must be given back.
    for target in &mut world.snapshot.targets {
        let container = target.pod.container.as_mut().unwrap();
        (container.spec_limit, container.live_limit) = (Some(Bytes::mib(700)), Some(Bytes::mib(700)));
    }
    assert_eq!(reasons(&world), [BlockReason::PermissionMissing]);
}

#[test]
fn credentials_of_replication_matter_only_where_a_role_moves_and_are_named() {
    let mut world = World::good();
    world.sample(1).config.as_mut().unwrap().primary_auth = Some("cafe".into());
    let text = &world.consider().blocked[0].text;
    assert!(text.starts_with("masterauth is set on redis-1 and not on redis-0"), "{text}");
    world.every_sample(|sample| sample.config.as_mut().unwrap().primary_auth = Some("cafe".into()));
    world.sample(2).config.as_mut().unwrap().primary_user = Some("beef".into());
    let text = &world.consider().blocked[0].text;
    assert!(text.starts_with("masteruser is set on redis-2 and not on redis-0"), "{text}");
    world.sample(0).config.as_mut().unwrap().primary_user = Some("dead".into());
    let text = &world.consider().blocked[0].text;
    assert!(text.starts_with("masteruser is set on redis-0 and not on redis-1"), "{text}");
    assert!(!text.contains("dead") && !text.contains("cafe"));
    world.policy.redis.authority = AuthorityRule::Auto;
    assert_eq!(reasons(&world), [], "the primary stays the primary");
}

#[test]
fn a_save_that_failed_long_ago_where_none_is_due_is_no_failing_persistence() {
    let mut world = World::good();
    let failed = &mut world.sample(2).persistence;
    (failed.status_ok, failed.only_save_failed) = (false, true);
    assert_eq!(reasons(&world), []);
    world.sample(2).config.as_mut().unwrap().save = "3600 1".into();
    let text = &world.consider().blocked[0].text;
    assert_eq!(
        text,
        "the last save of redis-2 failed; see its log and its disk: when they are well, one BGSAVE says so"
    );
}

/// It may never end (a cycle that is too small), and a ratio that it brings down is not due.
#[test]
fn active_defragmentation_is_not_waited_for() {
    let mut world = World::good();
    world.every_sample(|sample| sample.memory.active_defrag_running = true);
    assert_eq!(reasons(&world), []);
}

/// Of a set in which nothing is due, for people who ask before it is.
#[test]
fn what_would_be_in_the_way_is_known_before_anything_is_due() {
    let in_the_way = |world: &World| -> Vec<Blocked> {
        let settings = World::settings();
        let ctx = Context::of(&world.policy, &world.snapshot, &world.records, NOW, &settings);
        let shards = ctx.look.shards.iter();
        shards.flat_map(|shard| begin::in_the_way_of_all(&ctx, shard)).collect()
    };
    let mut world = World::good();
    (0..3).for_each(|n| world.clean(n));
    assert_eq!((world.consider(), in_the_way(&world)), (Considered::default(), Vec::new()));
    world.snapshot.services.clear();
    let reasons: Vec<BlockReason> = in_the_way(&world).into_iter().map(|blocked| blocked.reason).collect();
    assert_eq!(reasons, [BlockReason::NoRoleService]);
    let owner = Owner { kind: "RedisFailover".into(), name: "games".into(), uid: "cr".into() };
    world.snapshot.stateful_sets[0].owner = Some(owner);
    let [ruling] = in_the_way(&world).try_into().expect("one reason makes the others moot");
    assert_eq!(ruling.reason, BlockReason::ForeignOwner);
    assert!(ruling.text.contains("RedisFailover games (spotahome redis-operator)"), "{}", ruling.text);
}

#[test]
fn a_start_after_the_kernel_killed_it_is_none_that_a_cooldown_is_for() {
    let mut world = World::good();
    let container = world.snapshot.targets[1].pod.container.as_mut().unwrap();
    container.started_at = Some(fixtures::seconds_ago(3600));
    assert_eq!(reasons(&world), [BlockReason::Cooldown]);
    let container = world.snapshot.targets[1].pod.container.as_mut().unwrap();
    container.killed = Some(Kill { started_at: None, at: fixtures::seconds_ago(3602) });
    assert_eq!(reasons(&world), []);
}
