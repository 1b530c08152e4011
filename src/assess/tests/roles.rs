//! Primaries, members and role labels.

use pretty_assertions::assert_eq;

use super::*;

#[test]
fn sentinels_that_do_not_agree() {
    let agreed = case(|c| c.snapshot.sentinels = fixtures::sentinels(&c.snapshot));
    assert_eq!(codes(&agreed), []);
    let findings = case(|c| {
        c.snapshot.sentinels = fixtures::sentinels(&c.snapshot);
        c.snapshot.sentinels[1].said = Err(ProbeFailure::TimedOut("no answer within 1 s".into()));
        c.snapshot.sentinels[2].said.as_mut().unwrap().tilt = true;
    });
    assert_eq!(
        only(&findings, SentinelDegraded).evidence,
        "redis: the Sentinel in redis-1 gives no answer (no answer within 1 s); the Sentinel in redis-2 is in TILT mode and \
         acts on nothing"
    );
}

#[test]
fn no_primary() {
    let orphaned = |c: &mut Case| {
        c.sample(0).replication.role = fixtures::replica_role();
        c.sample(0).replication.replicas.clear();
    };
    let findings = case(orphaned);
    assert_eq!(codes(&findings), [NoPrimary]);
    assert_eq!(
        findings[0].evidence,
        "redis: redis-0, redis-1, redis-2 are replicas and no member is primary (redis-0: 333334 keys, offset 1000000, history aaaaaaaa, \
         follows redis-0; redis-1: 333334 keys, offset 1000000, history aaaaaaaa, follows redis-0; redis-2: 333334 keys, \
         offset 1000000, history aaaaaaaa, follows redis-0)"
    );
    let under_sentinel = case(|c| {
        orphaned(c);
        c.sample(1).sentinel_seen = Some(true);
    });
    let remedy = &only(&under_sentinel, NoPrimary).remedy;
    assert!(remedy.starts_with("wait: Sentinel decides") && !remedy.contains("REPLICAOF"), "{remedy}");
    let owned = case(|c| {
        orphaned(c);
        let uid = "o".into();
        c.snapshot.stateful_sets[0].owner =
            Some(crate::domain::pod::Owner { kind: "RedisFailover".into(), name: "shop".into(), uid });
    });
    assert!(only(&owned, NoPrimary).remedy.starts_with("wait: RedisFailover shop decides"));
    let one_is_missing = case(|c| {
        orphaned(c);
        c.snapshot.stateful_sets[0].replicas = 4;
    });
    assert!(only(&one_is_missing, NoPrimary).remedy.starts_with("wait for the pods that are missing (3 of 4"));
    let unknown = case(|c| c.fail(0, ProbeFailure::TimedOut("no answer in 1s".into())));
    assert_eq!(codes(&unknown), [Unreachable], "the unknown member may be the primary");
}

#[test]
fn a_set_whose_primary_pod_is_gone_has_no_primary_and_no_stranger() {
    let findings = case(|c| {
        c.snapshot.targets.remove(0);
        for n in 0..2 {
            if let Role::Replica(link) = &mut c.sample(n).replication.role {
                link.link_up = false;
            }
        }
    });
    assert_eq!(codes(&findings), [NoPrimary]);
}

#[test]
fn two_primaries() {
    let findings = case(|c| {
        c.sample(2).replication.role = Role::Primary;
        c.sample(0).replication.replicas.pop();
    });
    assert_eq!(codes(&findings), [TwoPrimaries], "labels are not judged while it is unclear who is primary");
    assert_eq!(
        findings[0].evidence,
        "redis: redis-0, redis-2 each say that they are primary (redis-0: 333334 keys, offset 1000000, history aaaaaaaa; redis-1: 333334 keys, \
         offset 1000000, history aaaaaaaa, follows redis-0; redis-2: 333334 keys, offset 1000000, history aaaaaaaa); how that came \
         is not known"
    );
}

#[test]
fn servers_that_each_stand_alone_are_no_two_primaries_unless_one_is_meant() {
    let alone = |authority: AuthorityRule| {
        case(move |c| {
            c.policy.redis.authority = authority;
            for n in 0..3 {
                c.sample(n).replication.role = Role::Primary;
                c.sample(n).replication.replicas.clear();
            }
        })
    };
    assert_eq!(alone(AuthorityRule::Auto), []);
    assert_eq!(codes(&alone(AuthorityRule::Operator)), [TwoPrimaries]);
    assert_eq!(codes(&alone(AuthorityRule::Label)), [TwoPrimaries]);
    let one_has_a_replica = case(|c| {
        c.policy.redis.authority = AuthorityRule::Auto;
        for n in 0..3 {
            c.sample(n).replication.role = Role::Primary;
            c.sample(n).replication.replicas.clear();
        }
        c.snapshot.targets.remove(2);
        c.sample(1).replication.replicas = vec![fixtures::replica_line(2)];
    });
    assert_eq!(codes(&one_has_a_replica), [TwoPrimaries, MemberOutsideSelector]);
}

#[test]
fn primaries_of_a_cluster_are_no_two_primaries() {
    let findings = case(|c| {
        for n in 0..3 {
            let sample = c.sample(n);
            sample.server.cluster_enabled = true;
            sample.replication.role = Role::Primary;
            sample.replication.replicas.clear();
        }
    });
    assert_eq!(findings, []);
}

#[test]
fn role_label_missing() {
    use AuthorityRule::{Auto, Label, Operator};
    use Mode::{Enforce, Observe};
    let labelled = |authority: AuthorityRule, mode: Mode, right: Right, value: Option<&'static str>| {
        case(move |c| {
            (c.policy.redis.authority, c.policy.mode, c.snapshot.rights.label) = (authority, mode, right);
            c.snapshot.targets[1].pod.role_label = value.map(Into::into);
        })
    };
    assert_eq!(labelled(Operator, Enforce, Right::Granted, Some("replica")), []);
    assert_eq!(labelled(Auto, Enforce, Right::Granted, None), []);
    let missing = labelled(Operator, Enforce, Right::Granted, None);
    assert_eq!(codes(&missing), [RoleLabelMissing]);
    assert_eq!(missing[0].evidence, "label redismemory.io/role is missing, should be replica");
    assert!(missing[0].remedy.starts_with("the operator sets it"));
    let wrong = labelled(Operator, Observe, Right::Granted, Some("primary"));
    assert_eq!(wrong[0].evidence, "label redismemory.io/role is primary, should be replica");
    assert!(wrong[0].remedy.starts_with("in mode Enforce"));
    let denied = labelled(Operator, Enforce, Right::Denied, None);
    assert_eq!(codes(&denied), [RoleLabelMissing, PermissionMissing]);
    assert!(denied[0].remedy.contains("acting.roleLabel"));
    assert!(labelled(Label, Enforce, Right::Unknown, None)[0].remedy.starts_with("the controller that keeps"));
}

#[test]
fn labels_are_not_judged_while_roles_move_or_a_sentinel_tells_clients() {
    let unlabelled = |change: Change| {
        case(|c| {
            c.snapshot.targets[1].pod.role_label = None;
            change(c);
        })
    };
    assert_eq!(unlabelled(|c| c.sample(0).replication.failover_state = FailoverState::InProgress), []);
    assert_eq!(unlabelled(|c| c.sample(0).sentinel_seen = Some(true)), []);
    assert_eq!(unlabelled(|c| c.snapshot.targets[1].pod.terminating = true), []);
    assert_eq!(codes(&unlabelled(|_| {})), [RoleLabelMissing]);
}

#[test]
fn a_role_label_in_the_template_is_a_finding_of_its_own() {
    let findings = case(|c| c.snapshot.stateful_sets[0].template_role_label = Some("replica".into()));
    assert_eq!(codes(&findings), [RoleLabelMissing]);
    assert_eq!(findings[0].pod, None);
    assert_eq!(findings[0].evidence, "the pod template of StatefulSet redis sets redismemory.io/role to replica");
    let label = case(|c| {
        c.policy.redis.authority = AuthorityRule::Label;
        c.snapshot.stateful_sets[0].template_role_label = Some("replica".into());
    });
    assert_eq!(label, [], "another controller's affair");
}

#[test]
fn member_outside_selector() {
    let findings = case(|c| {
        c.snapshot.targets.pop();
    });
    assert_eq!(codes(&findings), [MemberOutsideSelector]);
    assert_eq!(findings[0].evidence, "redis replicates with 10.0.0.12:6379, not selected by this policy");
    let primary_unselected = case(|c| {
        c.snapshot.targets.remove(0);
    });
    assert_eq!(codes(&primary_unselected), [MemberOutsideSelector], "there is a primary, only not a selected one");
}
