//! A test per finding code: it fires, and just does not.

use std::time::Duration;

use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;
use crate::domain::{
    bytes::Bytes,
    finding::FindingCode::{self as Code, *},
    fixtures::{self, policy, three_pods},
    names::PodName,
    pod::{ContainerProblem, ResizeProgress, Right},
    policy::{AuthorityRule, Mode},
    ratio::Ratio,
    sample::{ConfigUnreadable, FailoverState, Role, Sample},
    snapshot::{Observation, ProbeFailure, RedisRights},
};

/// A policy and a snapshot to break one thing in.
struct Case {
    policy: Policy,
    snapshot: Snapshot,
}

fn case(change: impl FnOnce(&mut Case)) -> Vec<Finding> {
    let mut case = Case { policy: policy(), snapshot: healthy() };
    change(&mut case);
    assess(&case.policy, &case.snapshot, &AssessSettings::default())
}

/// The fixture without its fragmentation.
fn healthy() -> Snapshot {
    let mut snapshot = three_pods();
    for target in &mut snapshot.targets {
        target.history.iter_mut().for_each(|r| {
            r.ratio = Ratio(110);
            r.rss = Bytes::mib(76);
        });
        if let Observation::Seen(sample) = &mut target.redis {
            sample.memory.ratio = Ratio(110);
            sample.memory.rss = Bytes::mib(76);
        }
    }
    snapshot
}

impl Case {
    fn sample(&mut self, n: usize) -> &mut Sample {
        match &mut self.snapshot.targets[n].redis {
            Observation::Seen(sample) => sample,
            other => panic!("target {n} has no sample: {other:?}"),
        }
    }

    fn container(&mut self, n: usize) -> &mut crate::domain::pod::Container {
        self.snapshot.targets[n].pod.container.as_mut().unwrap()
    }

    fn limit(&mut self, n: usize, mib: u64) {
        let container = self.container(n);
        container.spec_limit = Some(Bytes::mib(mib));
        container.live_limit = Some(Bytes::mib(mib));
    }

    fn fail(&mut self, n: usize, failure: ProbeFailure) {
        self.snapshot.targets[n].redis = Observation::Failed(failure);
    }

    fn fragmented(&mut self) {
        self.snapshot = three_pods();
    }

    fn ratio(&mut self, n: usize, percent: u32) {
        for reading in &mut self.snapshot.targets[n].history {
            reading.ratio = Ratio(percent);
            reading.rss = Bytes::mib(201);
        }
        let memory = &mut self.sample(n).memory;
        (memory.ratio, memory.rss) = (Ratio(percent), Bytes::mib(201));
    }
}

fn codes(findings: &[Finding]) -> Vec<Code> {
    findings.iter().map(|f| f.code).collect()
}

/// The one finding of that code.
fn only(findings: &[Finding], code: Code) -> &Finding {
    let mut of_code = findings.iter().filter(|f| f.code == code);
    match (of_code.next(), of_code.next()) {
        (Some(finding), None) => finding,
        other => panic!("expected one {code}, got {other:?} in {findings:#?}"),
    }
}

fn pod(n: u8) -> Option<PodName> {
    Some(fixtures::pod_name(n))
}

#[test]
fn a_healthy_workload_has_no_finding() {
    assert_eq!(case(|_| {}), []);
}

#[test]
fn findings_are_sorted_worst_first_then_by_code_then_by_pod() {
    let findings = case(|c| {
        c.sample(2).memory.maxmemory = Bytes::ZERO;
        c.sample(1).memory.maxmemory = Bytes::ZERO;
        c.limit(0, 600);
        c.container(0).spec_request = Some(Bytes::mib(100));
        c.sample(0).latest_fork = Duration::from_millis(11);
    });
    let order: Vec<_> = findings.iter().map(|f| (f.code, f.pod.clone())).collect();
    assert_eq!(
        order,
        [
            (MaxmemoryUnset, pod(1)),
            (MaxmemoryUnset, pod(2)),
            (HeadroomInsufficient, pod(0)),
            (ForkSlow, pod(0)),
            (RequestBelowMaxmemory, pod(0)),
        ]
    );
}

#[test]
fn no_targets() {
    let findings = case(|c| c.snapshot.targets.clear());
    assert_eq!(codes(&findings), [NoTargets]);
    assert_eq!(findings[0].pod, None);
}

#[test]
fn maxmemory_unset() {
    let findings = case(|c| c.sample(0).memory.maxmemory = Bytes::ZERO);
    assert_eq!(codes(&findings), [MaxmemoryUnset]);
    // 1024 / 1.5
    assert!(findings[0].remedy.contains("at most 682 MiB"), "{}", findings[0].remedy);
    let unlimited = case(|c| {
        c.sample(0).memory.maxmemory = Bytes::ZERO;
        (c.container(0).live_limit, c.container(0).spec_limit) = (None, None);
    });
    assert_eq!(codes(&unlimited), [MaxmemoryUnset, LimitMissing]);
}

#[test]
fn headroom_insufficient_fires_just_below_what_is_needed() {
    assert_eq!(case(|c| c.limit(1, 768)), []);
    let findings = case(|c| c.limit(1, 767));
    assert_eq!(codes(&findings), [HeadroomInsufficient]);
    assert_eq!(findings[0].pod, pod(1));
    assert_eq!(
        findings[0].evidence,
        "limit 767 MiB, needed 768 MiB: maxmemory is 512 MiB and the policy wants 50 % above it"
    );
    assert_eq!(findings[0].remedy, "the operator will raise the limit to 768 MiB in place, without a restart");
}

#[test]
fn headroom_names_the_minimum_when_that_is_what_counts() {
    let findings = case(|c| {
        c.policy.headroom.minimum = Bytes::mib(600);
    });
    let finding = &findings[0];
    assert_eq!(finding.code, HeadroomInsufficient);
    assert!(finding.evidence.contains("needed 1.08 GiB") && finding.evidence.contains("at least 600 MiB above it"));
}

type Change = fn(&mut Case);

#[rstest]
#[case(|c: &mut Case| c.policy.headroom.resize_pod = false, "add ResizePod")]
#[case(|c: &mut Case| c.policy.headroom.maximum_limit = Some(Bytes::mib(767)), "maximumLimit 767 MiB is below the 768 MiB needed")]
#[case(|c: &mut Case| c.policy.headroom.maximum_limit = Some(Bytes::mib(768)), "will raise the limit to 768 MiB")]
#[case(|c: &mut Case| c.container(1).resize_restarts = true, "that would restart Redis")]
#[case(|c: &mut Case| c.snapshot.targets[1].pod.pod_level_resources = true, "pod-level resources")]
#[case(|c: &mut Case| c.snapshot.resize_supported = false, "cannot resize pods")]
#[case(|c: &mut Case| c.snapshot.claimed_by_other = vec![(fixtures::workload_uid(), "older".into())], "policy older, which is older")]
#[case(|c: &mut Case| c.policy.mode = Mode::Observe, "in mode Enforce the operator would raise the limit to 768 MiB")]
#[case(|c: &mut Case| c.snapshot.rights.resize = Right::Denied, "lacks the right to patch pods/resize")]
#[case(|c: &mut Case| c.snapshot.rights.resize = Right::Unknown, "once it knows that it may")]
#[case(|c: &mut Case| c.container(1).spec_limit = Some(Bytes::mib(768)), "the kubelet is raising the limit")]
#[case(|c: &mut Case| { c.container(1).spec_limit = Some(Bytes::mib(768)); c.snapshot.targets[1].pod.resize = ResizeProgress::Deferred("no room".into()); }, "will try again: no room")]
#[case(|c: &mut Case| { c.container(1).spec_limit = Some(Bytes::mib(768)); c.snapshot.targets[1].pod.resize = ResizeProgress::Infeasible("too big".into()); }, "larger one: too big")]
fn the_remedy_of_headroom_says_what_is_done_or_what_is_in_the_way(#[case] change: Change, #[case] says: &str) {
    let findings = case(|c| {
        c.limit(1, 600);
        change(c);
    });
    let remedy = &only(&findings, HeadroomInsufficient).remedy;
    assert!(remedy.contains(says), "{remedy:?} does not say {says:?}");
}

#[test]
fn limit_missing() {
    let findings = case(|c| (c.container(2).live_limit, c.container(2).spec_limit) = (None, None));
    assert_eq!(codes(&findings), [LimitMissing]);
    assert!(findings[0].remedy.contains("at least 768 MiB"));
    assert_eq!(case(|c| c.container(2).live_limit = None), [], "spec has one, and nothing else is known");
}

#[test]
fn request_below_maxmemory() {
    assert_eq!(case(|c| c.container(0).spec_request = Some(Bytes::mib(512))), []);
    let findings = case(|c| c.container(0).spec_request = Some(Bytes::mib(511)));
    assert_eq!(codes(&findings), [RequestBelowMaxmemory]);
    assert_eq!(case(|c| c.container(0).spec_request = None), [], "without a request the API server copies the limit");
}

#[test]
fn template_too_small() {
    let template = |mib: Option<u64>| {
        case(move |c| c.snapshot.stateful_sets[0].template_limits = vec![("redis".into(), mib.map(Bytes::mib))])
    };
    assert_eq!(template(Some(768)), []);
    assert_eq!(template(None), [], "no limit is no small limit");
    let findings = template(Some(767));
    assert_eq!(codes(&findings), [TemplateTooSmall, TemplateTooSmall, TemplateTooSmall], "one a pod");
    assert!(findings[0].remedy.contains("resized before it has loaded"), "{}", findings[0].remedy);
    // 1.10 x 69 + 12 + 3.5 % of 512 and 40 KiB of clients: 105.9 MiB
    assert!(template(Some(106))[0].remedy.contains("resized before"));
    assert!(template(Some(105))[0].remedy.contains("none is evicted"));
    let other = case(|c| c.snapshot.stateful_sets[0].template_limits = vec![("sidecar".into(), Some(Bytes::mib(1)))]);
    assert_eq!(other, [], "a sidecar's limit says nothing");
}

#[test]
fn resize_would_restart() {
    let findings = case(|c| {
        c.limit(1, 600);
        c.container(1).resize_restarts = true;
    });
    assert_eq!(codes(&findings), [HeadroomInsufficient, ResizeWouldRestart]);
    assert_eq!(case(|c| c.container(1).resize_restarts = true), [], "nothing has to be resized");
    let report_only = case(|c| {
        c.policy.headroom.resize_pod = false;
        c.limit(1, 600);
        c.container(1).resize_restarts = true;
    });
    assert_eq!(codes(&report_only), [HeadroomInsufficient], "nothing would be resized");
}

#[rstest]
#[case(129, None)]
#[case(130, Some(FragmentationModerate))]
#[case(150, Some(FragmentationSerious))]
#[case(200, Some(FragmentationCritical))]
#[case(250, Some(FragmentationRestartDue))]
fn fragmentation_bands(#[case] percent: u32, #[case] code: Option<Code>) {
    let findings = case(|c| c.ratio(1, percent));
    assert_eq!(codes(&findings), Vec::from_iter(code));
}

#[test]
fn the_evidence_of_fragmentation_is_quantised() {
    let findings = case(|c| c.ratio(1, 291));
    assert_eq!(
        findings[0].evidence,
        "ratio 2.9 for 10m or longer: RSS about 200 MiB, used about 69 MiB, waste about 130 MiB, mostly half-empty \
         slabs (about 120 MiB); a restart should give back about 110 MiB"
    );
    let noise = case(|c| {
        c.ratio(1, 293);
        for reading in &mut c.snapshot.targets[1].history {
            reading.rss = reading.rss + Bytes(700_000);
            reading.used = reading.used + Bytes(100_000);
        }
    });
    assert_eq!(noise, findings);
}

#[rstest]
#[case(|_: &mut Case| {}, "the operator restarts the replicas")]
#[case(|c: &mut Case| c.policy.mode = Mode::Observe, "in mode Enforce the operator would restart")]
#[case(|c: &mut Case| c.policy.suspend = true, "spec.suspend is set")]
#[case(|c: &mut Case| c.policy.fragmentation.restart_allowed = false, "set spec.fragmentation.remedies to [Restart]")]
#[case(|c: &mut Case| c.snapshot.rights.evict = Right::Denied, "lacks the right to evict")]
#[case(|c: &mut Case| c.snapshot.claimed_by_other = vec![(fixtures::workload_uid(), "older".into())], "policy older, which is older")]
#[case(|c: &mut Case| c.sample(0).memory.allocator_rss = Bytes::mib(150), "MEMORY PURGE")]
#[case(|c: &mut Case| c.sample(0).memory.rss_overhead = Bytes::mib(150), "restart need not help")]
fn the_remedy_of_fragmentation_says_what_follows(#[case] change: Change, #[case] says: &str) {
    let findings = case(|c| {
        c.fragmented();
        change(c);
    });
    let finding = findings.iter().find(|f| f.code == FragmentationRestartDue && f.pod == pod(0)).unwrap();
    assert!(finding.remedy.contains(says), "{:?} does not say {says:?}", finding.remedy);
}

#[test]
fn fragmentation_that_is_not_due_says_why() {
    let falling = case(|c| {
        c.ratio(1, 400);
        c.snapshot.targets[1].history.last_mut().unwrap().ratio = Ratio(300);
    });
    assert!(only(&falling, FragmentationCritical).remedy.contains("is falling"));
    let small = case(|c| {
        c.ratio(1, 250);
        for reading in &mut c.snapshot.targets[1].history {
            reading.rss = Bytes::mib(187);
        }
    });
    assert!(only(&small, FragmentationCritical).remedy.contains("less than minimumWaste 100 MiB"));
    let serious = case(|c| c.ratio(1, 160));
    assert!(only(&serious, FragmentationSerious).remedy.contains("from ratio 2.50 on a restart is due"));
}

#[test]
fn memory_efficiency_low() {
    let with_dataset = |mib: u64| {
        case(move |c| {
            for reading in &mut c.snapshot.targets[0].history {
                (reading.used, reading.rss) = (Bytes::mib(300), Bytes::mib(340));
            }
            let memory = &mut c.sample(0).memory;
            (memory.used, memory.rss, memory.dataset) = (Bytes::mib(300), Bytes::mib(340), Bytes::mib(mib));
        })
    };
    assert_eq!(with_dataset(170), []);
    let findings = with_dataset(166);
    assert_eq!(codes(&findings), [MemoryEfficiencyLow]);
    assert!(findings[0].remedy.contains("a restart alone would not mend it"));
}

#[rstest]
#[case("volatile-lru", 74, None)]
#[case("volatile-lru", 75, Some(UtilizationWarning))]
#[case("noeviction", 84, Some(UtilizationWarning))]
#[case("noeviction", 85, Some(UtilizationCritical))]
#[case("allkeys-lru", 99, None)]
#[case("allkeys-random", 99, None)]
fn utilization(#[case] policy: &str, #[case] percent: u64, #[case] code: Option<Code>) {
    let findings = case(|c| {
        c.limit(0, 4096);
        let memory = &mut c.sample(0).memory;
        memory.maxmemory_policy = policy.into();
        memory.maxmemory = Bytes::mib(1000);
        memory.used = Bytes::mib(10 * percent);
    });
    let found: Vec<Code> =
        codes(&findings).into_iter().filter(|code| [UtilizationWarning, UtilizationCritical].contains(code)).collect();
    assert_eq!(found, Vec::from_iter(code));
}

#[test]
fn rss_near_limit() {
    let rss = |mib: u64| case(move |c| c.sample(0).memory.rss = Bytes::mib(mib));
    assert_eq!(rss(819), []);
    assert_eq!(codes(&rss(820)), [RssNearLimit]);
}

#[test]
fn fork_slow() {
    assert_eq!(case(|c| c.sample(0).latest_fork = Duration::from_millis(10)), []);
    let findings = case(|c| c.sample(0).latest_fork = Duration::from_micros(10_001));
    assert_eq!(codes(&findings), [ForkSlow]);
    let noisy = case(|c| c.sample(0).latest_fork = Duration::from_millis(1234));
    assert!(noisy[0].evidence.contains("about 1200 ms"), "{}", noisy[0].evidence);
}

#[test]
fn eviction_policy_unsafe() {
    let allow = |allowed: &[&str]| {
        let allowed: Vec<String> = allowed.iter().map(|p| (*p).to_owned()).collect();
        case(move |c| c.policy.eviction_allowed = allowed)
    };
    assert_eq!(allow(&[]), []);
    assert_eq!(allow(&["noeviction", "allkeys-lru"]), []);
    let findings = allow(&["allkeys-lfu", "volatile-ttl"]);
    assert_eq!(codes(&findings), [EvictionPolicyUnsafe; 3]);
    assert_eq!(findings[0].evidence, "maxmemory-policy is allkeys-lru, allowed: allkeys-lfu, volatile-ttl");
}

#[test]
fn what_a_server_writes_as_its_policy_is_not_repeated_unfiltered() {
    let findings = case(|c| {
        c.policy.eviction_allowed = vec!["noeviction".into()];
        c.sample(0).memory.maxmemory_policy = "<script>\u{1b}[31m EVIL".into();
    });
    let finding = findings.iter().find(|f| f.pod == pod(0)).unwrap();
    assert!(finding.evidence.starts_with("maxmemory-policy is scriptm,"), "{}", finding.evidence);
}

#[test]
fn no_primary() {
    let orphaned = |c: &mut Case| {
        c.sample(0).replication.role = fixtures::replica_role();
        c.sample(0).replication.replicas.clear();
    };
    let findings = case(orphaned);
    assert_eq!(codes(&findings), [NoPrimary]);
    assert_eq!(findings[0].evidence, "redis: redis-0, redis-1, redis-2 are replicas and no member is primary");
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
    assert_eq!(findings[0].evidence, "redis: redis-0, redis-2 all say that they are primary");
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
    let labelled = |authority: AuthorityRule, mode: Mode, right: Right, value: Option<&'static str>| {
        case(move |c| {
            (c.policy.redis.authority, c.policy.mode, c.snapshot.rights.label) = (authority, mode, right);
            c.snapshot.targets[1].pod.role_label = value.map(Into::into);
        })
    };
    use AuthorityRule::{Auto, Label, Operator};
    use Mode::{Enforce, Observe};
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

#[test]
fn container_unknown() {
    let findings = case(|c| {
        c.snapshot.targets[1].pod.container = Err(ContainerProblem("no container declares port 6379".into()));
        c.snapshot.targets[1].redis = Observation::Pending;
    });
    assert_eq!(codes(&findings), [ContainerUnknown]);
    assert_eq!(findings[0].evidence, "no container declares port 6379");
}

#[rstest]
#[case(ProbeFailure::Unreachable("connection refused".into()), Unreachable, "network policies")]
#[case(ProbeFailure::TimedOut("no answer in 1s".into()), Unreachable, "in time")]
#[case(ProbeFailure::NotRedis("it speaks HTTP".into()), Unreachable, "no Redis")]
#[case(ProbeFailure::ReplyTooLarge("more than 1 MiB".into()), Unreachable, "so much")]
#[case(ProbeFailure::Refused("-BUSY".into()), Unreachable, "refuses INFO")]
#[case(ProbeFailure::Refused("-NOPERM this user has no permissions".into()), PermissionMissing, "config|get")]
#[case(ProbeFailure::AuthenticationFailed("WRONGPASS".into()), AuthenticationFailed, "passwordSecret")]
#[case(ProbeFailure::SecretUnavailable("no key password".into()), AuthenticationFailed, "secretAccess")]
#[case(ProbeFailure::OwnerUnproven("no controller".into()), AuthenticationFailed, "existing controller")]
fn a_probe_that_failed_says_how(#[case] failure: ProbeFailure, #[case] code: Code, #[case] says: &str) {
    let text = failure.text().to_owned();
    let findings = case(|c| c.fail(1, failure));
    assert_eq!(codes(&findings), [code], "and nothing is judged that was not seen");
    assert_eq!(findings[0].evidence, text);
    assert!(findings[0].remedy.contains(says), "{}", findings[0].remedy);
}

#[test]
fn a_pod_that_was_not_probed_yet_gives_nothing() {
    assert_eq!(case(|c| c.snapshot.targets[1].redis = Observation::Pending), []);
}

#[test]
fn a_selected_sentinel_is_no_data_server() {
    let findings = case(|c| {
        c.sample(2).server.is_sentinel = true;
        c.sample(2).memory.maxmemory = Bytes::ZERO;
        c.sample(0).replication.replicas.pop();
    });
    assert_eq!(codes(&findings), [Unreachable]);
    assert!(findings[0].evidence.contains("Sentinel"));
}

#[test]
fn permission_missing_only_for_what_the_remedies_need() {
    let denied = |change: Change| {
        let findings = case(|c| {
            c.snapshot.rights.evict = Right::Denied;
            c.snapshot.rights.resize = Right::Denied;
            c.snapshot.rights.label = Right::Denied;
            change(c);
        });
        assert!(codes(&findings).iter().all(|c| *c == PermissionMissing), "{findings:#?}");
        findings.into_iter().map(|f| f.evidence).collect::<Vec<_>>()
    };
    let all = [
        "the operator may not create pods/eviction in namespace shop",
        "the operator may not patch pods in namespace shop",
        "the operator may not patch pods/resize in namespace shop",
    ];
    assert_eq!(denied(|_| {}), all);
    assert_eq!(denied(|c| c.policy.mode = Mode::Observe), [""; 0]);
    assert_eq!(denied(|c| c.policy.redis.authority = AuthorityRule::Auto), [all[0], all[2]]);
    assert_eq!(denied(|c| c.policy.headroom.resize_pod = false), all[..2]);
    assert_eq!(denied(|c| c.policy.fragmentation.restart_allowed = false), all[1..]);
    assert_eq!(denied(|c| c.snapshot.resize_supported = false), all[..2]);
    assert_eq!(denied(|c| c.snapshot.rights = Default::default()), [""; 0], "not asked is not missing");
}

#[test]
fn permission_missing_in_redis() {
    let lacking = |restarts: bool| {
        case(move |c| {
            c.policy.fragmentation.restart_allowed = restarts;
            c.snapshot.redis_rights = RedisRights::Known(vec![
                (fixtures::pod_name(0), vec![]),
                (fixtures::pod_name(1), vec!["failover".into(), "replicaof".into()]),
            ]);
        })
    };
    let findings = lacking(true);
    assert_eq!(codes(&findings), [PermissionMissing]);
    assert_eq!(findings[0].evidence, "the Redis user may not run failover, replicaof");
    assert_eq!(lacking(false), []);
}

#[test]
fn a_config_that_cannot_be_read_is_a_missing_right_where_settings_would_be_restored() {
    let unreadable = |change: Change| {
        case(|c| {
            c.sample(1).config = Err(ConfigUnreadable("unknown command".into()));
            change(c);
        })
    };
    let findings = unreadable(|_| {});
    assert_eq!(codes(&findings), [PermissionMissing]);
    assert_eq!(findings[0].evidence, "CONFIG GET cannot be read: unknown command");
    assert_eq!(unreadable(|c| c.policy.mode = Mode::Observe), []);
    assert_eq!(unreadable(|c| c.policy.fragmentation.restart_allowed = false), []);
}

#[test]
fn one_target_by_itself_is_judged_without_its_surroundings() {
    let snapshot = three_pods();
    let mut policy = policy();
    policy.fragmentation.sustained = Duration::ZERO;
    let settings = AssessSettings::default();
    let findings = target::assess_target(&policy, &snapshot.targets[1], fixtures::NOW, &settings);
    assert_eq!(codes(&findings), [FragmentationRestartDue]);
}

/// The status keeps 512 characters of each.
#[test]
fn every_text_fits_the_status() {
    let long = "x".repeat(400);
    let findings = case(|c| {
        c.fragmented();
        c.limit(1, 600);
        c.container(1).spec_limit = Some(Bytes::mib(768));
        c.snapshot.targets[1].pod.resize = ResizeProgress::Deferred(long);
        c.snapshot.stateful_sets[0].template_limits = vec![("redis".into(), Some(Bytes::mib(50)))];
        c.snapshot.targets[2].pod.role_label = None;
    });
    assert!(findings.len() >= 8);
    for finding in findings {
        assert!(finding.evidence.chars().count() <= 512 && finding.remedy.chars().count() <= 512, "{finding:?}");
        assert!(!finding.evidence.is_empty() && !finding.remedy.is_empty(), "{finding:?}");
    }
}
