//! A test per finding code: it fires, and just does not.

mod eviction;
mod judged;
mod limits;
mod properties;
mod roles;

use std::time::Duration;

use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;
use crate::domain::{
    bytes::Bytes,
    finding::{
        FindingCode::{self as Code, *},
        Severity,
    },
    fixtures::{self, policy, three_pods},
    lookups::Lookups,
    names::PodName,
    pod::{ContainerProblem, Deployment, ResizeProgress, Right},
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
    Assessment::of(&case.policy, &case.snapshot, &AssessSettings::default()).findings(&[], None)
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
        self.snapshot.targets[n].sample_mut().expect("the fixture has a sample")
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

#[allow(clippy::unnecessary_wraps, reason = "compared with the pod of a finding, which may be none")]
fn pod(n: u8) -> Option<PodName> {
    Some(fixtures::pod_name(n))
}

type Change = fn(&mut Case);
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
#[case(ProbeFailure::Tls(crate::domain::tls::TlsProblem::NotSpoken, "plain".into()), TlsFailed, "tls-port")]
#[case(ProbeFailure::HostNetwork("redis-0 is on it".into()), Unreachable, "hostNetwork: false")]
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
    assert_eq!(
        denied(|c| c.snapshot.rights = crate::domain::pod::Rights::default()),
        [""; 0],
        "not asked is not missing"
    );
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
    // The Guarded method does without FAILOVER.
    assert_eq!(findings[0].evidence, "the Redis user may not run replicaof");
    assert_eq!(lacking(false), []);
}

/// Where clients follow no label the primary is restarted in place.
#[test]
fn a_right_that_only_moves_a_role_is_not_missed_where_none_is_moved() {
    let lacking = |commands: &[&str]| {
        let commands: Vec<String> = commands.iter().map(|command| (*command).to_owned()).collect();
        let findings = case(move |c| {
            c.policy.redis.authority = AuthorityRule::Auto;
            c.snapshot.redis_rights = RedisRights::Known(vec![(fixtures::pod_name(1), commands)]);
        });
        findings.into_iter().filter(|it| it.code == PermissionMissing).map(|it| it.evidence).collect::<Vec<_>>()
    };
    assert_eq!(lacking(&["failover", "replicaof", "client|pause", "client|unpause"]), [""; 0]);
    assert_eq!(lacking(&["replicaof", "config|set"]), ["the Redis user may not run config|set"]);
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
    let findings = target::Alone::of(&policy, &snapshot.targets[1], fixtures::NOW, &settings).findings;
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
        assert!(finding.evidence.chars().count() <= 512 && finding.remedy.chars().count() <= 1024, "{finding:?}");
        assert!(finding.afterwards.chars().count() <= 1024, "{finding:?}");
        assert!(!finding.evidence.is_empty() && !finding.remedy.is_empty(), "{finding:?}");
    }
}
