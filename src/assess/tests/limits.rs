//! Limits, requests, templates and headroom.

use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;

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
    let tiny = case(|c| {
        c.sample(0).memory.maxmemory = Bytes::ZERO;
        c.limit(0, 64);
    });
    assert_eq!(
        only(&tiny, MaxmemoryUnset).remedy,
        "raise the limit of 64 MiB to 151 MiB first, then set maxmemory to 87 MiB: with about 69 MiB used, a maxmemory that fits \
         would evict data or refuse writes at once"
    );
}

#[test]
fn headroom_insufficient_fires_just_below_what_is_needed() {
    assert_eq!(case(|c| (0..3).for_each(|n| c.limit(n, 768))), []);
    assert_eq!(codes(&case(|c| c.limit(1, 768))), [MembersDiffer], "enough, but not alike");
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
    assert!(finding.evidence.contains("needed 1112 MiB") && finding.evidence.contains("at least 600 MiB above it"));
}

#[rstest]
#[case(|c: &mut Case| c.policy.headroom.resize_pod = false, "add ResizePod")]
#[case(|c: &mut Case| c.policy.headroom.maximum_limit = Some(Bytes::mib(767)), "maximumLimit 767 MiB is below the 768 MiB needed")]
#[case(|c: &mut Case| c.policy.headroom.maximum_limit = Some(Bytes::mib(768)), "will raise the limit to 768 MiB")]
#[case(|c: &mut Case| c.container(1).resize_restarts = true, "that would restart Redis")]
#[case(|c: &mut Case| c.snapshot.targets[1].pod.pod_level_resources = true, "pod-level resources")]
#[case(|c: &mut Case| c.snapshot.resize_supported = false, "cannot resize pods")]
#[case(|c: &mut Case| c.snapshot.claimed_by_other = vec![(fixtures::set_uid(), "older".into())], "policy older, which is older")]
#[case(|c: &mut Case| c.policy.mode = Mode::Observe, "in mode Enforce the operator would raise the limit to 768 MiB")]
#[case(|c: &mut Case| c.snapshot.rights.resize = Right::Denied, "lacks the right to patch pods/resize")]
#[case(|c: &mut Case| c.snapshot.rights.resize = Right::Unknown, "once it knows that it may")]
#[case(|c: &mut Case| c.container(1).spec_limit = Some(Bytes::mib(768)), "the kubelet is raising the limit")]
#[case(|c: &mut Case| { c.container(1).spec_limit = Some(Bytes::mib(768)); c.snapshot.targets[1].pod.resize = ResizeProgress::Deferred("no room".into()); }, "will try again: no room")]
#[case(|c: &mut Case| { c.container(1).spec_limit = Some(Bytes::mib(768)); c.snapshot.targets[1].pod.resize = ResizeProgress::Infeasible("too big".into()); }, "larger one: too big")]
#[case(|c: &mut Case| { c.container(1).spec_limit = Some(Bytes::mib(768)); c.snapshot.targets[1].pod.resize = ResizeProgress::Error("cgroup".into()); }, "fails to set it: cgroup")]
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
    assert!(findings[0].remedy.contains("gives 1 GiB already"), "{}", findings[0].remedy);
    let findings = case(|c| {
        (c.container(2).live_limit, c.container(2).spec_limit) = (None, None);
        c.snapshot.stateful_sets[0].template_limits.clear();
    });
    assert!(findings[0].remedy.contains("limit to 768 MiB in the pod template"), "{}", findings[0].remedy);
    assert_eq!(case(|c| c.container(2).live_limit = None), [], "spec has one, and nothing else is known");
}

#[test]
fn request_below_maxmemory() {
    assert_eq!(case(|c| c.container(0).spec_request = Some(Bytes::mib(512))), []);
    let findings = case(|c| c.container(0).spec_request = Some(Bytes::mib(511)));
    assert_eq!(codes(&findings), [RequestBelowMaxmemory]);
    let exact = "kubectl set resources statefulset/redis -n shop -c redis --requests=memory=512Mi (where a chart";
    assert!(findings[0].remedy.contains(exact), "{}", findings[0].remedy);
    assert_eq!(case(|c| c.container(0).spec_request = None), [], "without a request the API server copies the limit");
}

#[test]
fn one_template_is_for_the_member_with_the_largest_maxmemory() {
    let findings = case(|c| {
        c.container(0).spec_request = Some(Bytes::mib(100));
        c.sample(1).memory.maxmemory = Bytes::mib(600);
    });
    let found = findings.iter().find(|finding| finding.code == RequestBelowMaxmemory && finding.pod == pod(0));
    let remedy = &found.expect("its request is below its own").remedy;
    assert!(remedy.contains("--requests=memory=600Mi ("), "{remedy}");
}

/// No request is above its limit, and a Guaranteed pod stays one.
#[rstest]
#[case(false, "--limits=memory=768Mi --requests=memory=512Mi")]
#[case(true, "--limits=memory=768Mi --requests=memory=768Mi")]
fn a_request_comes_with_the_limit_that_it_needs(#[case] guaranteed: bool, #[case] says: &str) {
    let findings = case(|c| {
        c.limit(0, 500);
        c.container(0).spec_request = Some(Bytes::mib(500));
        c.snapshot.targets[0].pod.guaranteed = guaranteed;
    });
    let remedy = &only(&findings, RequestBelowMaxmemory).remedy;
    assert!(remedy.contains(says), "{remedy}");
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

/// A Deployment's pod is judged by the template of its ReplicaSet; of another Deployment's nothing is taken.
#[test]
fn the_template_of_a_deployment_is_judged_too() {
    let template = |limit| {
        case(|c| {
            c.snapshot.stateful_sets.clear();
            for target in &mut c.snapshot.targets {
                target.pod.owner.as_mut().unwrap().kind = "ReplicaSet".into();
            }
            let made = |uid, name: &str, limit| Deployment {
                uid,
                name: name.into(),
                template_limits: vec![("redis".into(), Some(Bytes::mib(limit)))],
                limit_at: None,
            };
            c.snapshot.deployments =
                vec![made("another".into(), "another", 1), made(fixtures::set_uid(), "cache", limit)];
        })
    };
    assert!(!codes(&template(768)).contains(&TemplateTooSmall));
    let findings = template(767);
    let finding = findings.iter().find(|finding| finding.code == TemplateTooSmall).unwrap();
    assert_eq!(
        finding.evidence,
        "the template of Deployment cache gives 767 MiB, needed 768 MiB for maxmemory 512 MiB"
    );
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

#[test]
fn rss_near_limit() {
    let rss = |mib: u64| case(move |c| c.sample(0).memory.rss = Bytes::mib(mib));
    assert_eq!(rss(819), []);
    assert_eq!(codes(&rss(820)), [RssNearLimit]);
    assert!(!rss(820)[0].remedy.contains("or lower maxmemory"), "it evicts data and gives nothing back");
}

/// The usual limit of 1.5 x maxmemory: a cache that is full and healthy stands at 80 to 86 % of it.
#[rstest]
#[case(1190, None)]
#[case(1200, Some(Severity::Warning))]
#[case(1290, Some(Severity::Warning))]
#[case(1349, Some(Severity::Warning))]
#[case(1350, Some(Severity::Critical))]
fn a_full_healthy_cache_is_not_critical(#[case] rss: u64, #[case] severity: Option<Severity>) {
    let findings = case(|c| {
        for n in 0..3 {
            let memory = &mut c.sample(n).memory;
            (memory.used, memory.maxmemory, memory.rss) = (Bytes::mib(1000), Bytes::mib(1000), Bytes::mib(rss));
            memory.maxmemory_policy = "allkeys-lru".into();
            let container = c.container(n);
            (container.live_limit, container.spec_limit) = (Some(Bytes::mib(1500)), Some(Bytes::mib(1500)));
            container.spec_request = Some(Bytes::mib(1500));
        }
        c.snapshot.stateful_sets.clear();
    });
    let near = findings.iter().find(|finding| finding.code == RssNearLimit);
    assert_eq!(near.map(|finding| finding.severity), severity);
}

#[test]
fn a_limit_that_is_a_little_too_small_does_not_read_as_enough() {
    let findings = case(|c| {
        c.sample(1).memory.maxmemory = Bytes::mib(1024);
        c.limit(1, 1535);
        c.snapshot.stateful_sets.clear();
    });
    let finding = only(&findings, HeadroomInsufficient);
    assert!(finding.evidence.starts_with("limit 1535Mi, needed 1536Mi:"), "{}", finding.evidence);
}

#[test]
fn a_template_at_the_floor_can_load_the_data() {
    let remedy = |less: u64| {
        let findings = case(|c| {
            let floor = headroom::template_floor(&c.sample(0).memory);
            c.snapshot.stateful_sets[0].template_limits = vec![("redis".into(), Some(Bytes(floor.0 - less)))];
        });
        findings[0].remedy.clone()
    };
    assert!(remedy(0).contains("resized before"), "{}", remedy(0));
    assert!(remedy(1).contains("none is evicted"), "{}", remedy(1));
}
