//! Members that differ: each has its own need, and what is one number for all of them fits each.

use pretty_assertions::assert_eq;

use super::*;
use crate::domain::{pod::Right, surroundings::RefusedLimit};

/// redis-1 lacks 204 MiB of its limit and redis-2 512 MiB.
fn unequal() -> (Policy, Snapshot) {
    let mut scene = healthy();
    scene.0 = fixtures::enforced().0;
    for (n, limit, maxmemory) in [(1, 564, 512), (2, 1024, 1024)] {
        let target = &mut scene.1.targets[n];
        target.sample_mut().expect("a sample").memory.maxmemory = Bytes::mib(maxmemory);
        let container = target.pod.container.as_mut().expect("a container");
        (container.spec_limit, container.live_limit) = (Some(Bytes::mib(limit)), Some(Bytes::mib(limit)));
    }
    scene
}

fn refuse(scene: &mut (Policy, Snapshot), texts: &[(u8, &str)]) {
    let refused = |(n, text): &(u8, &str)| RefusedLimit { uid: fixtures::pod_uid(*n), text: (*text).to_owned() };
    scene.1.surroundings.refused_limits = texts.iter().map(refused).collect();
}

type Change = fn(&mut (Policy, Snapshot));

/// What the first one lacks, times their number, is not what they lack.
#[rstest]
#[case::a_quota_by_the_sum(
    |scene: &mut (Policy, Snapshot)| refuse(scene, &[
        (1, "exceeded quota: mem, requested: limits.memory=204Mi, used: limits.memory=3Gi, limited: limits.memory=3Gi"),
        (2, "exceeded quota: mem, requested: limits.memory=512Mi, used: limits.memory=3Gi, limited: limits.memory=3Gi"),
    ]),
    r#"kubectl patch resourcequota mem -n shop --type merge -p '{"spec":{"hard":{"limits.memory":"3788Mi"}}}'"#
)]
#[case::what_is_used_since_counts(
    |scene: &mut (Policy, Snapshot)| refuse(scene, &[
        (1, "exceeded quota: mem, requested: limits.memory=204Mi, used: limits.memory=3Gi, limited: limits.memory=3Gi"),
        (2, "exceeded quota: mem, requested: limits.memory=512Mi, used: limits.memory=3100Mi, limited: limits.memory=3Gi"),
    ]),
    r#"{"spec":{"hard":{"limits.memory":"3816Mi"}}}"#
)]
#[case::a_quota_of_requests(
    |scene: &mut (Policy, Snapshot)| {
        scene.0.headroom.requests = true;
        refuse(scene, &[(
            1, "exceeded quota: mem, requested: requests.memory=204Mi, used: requests.memory=2Gi, limited: requests.memory=2Gi",
        )]);
    },
    r#"{"spec":{"hard":{"requests.memory":"2764Mi"}}}"#
)]
#[case::a_quota_of_both(
    |scene: &mut (Policy, Snapshot)| {
        scene.0.headroom.requests = true;
        refuse(scene, &[(
            1, "exceeded quota: mem, requested: limits.memory=204Mi,requests.memory=204Mi, used: \
                limits.memory=3Gi,requests.memory=2Gi, limited: limits.memory=3Gi,requests.memory=2Gi",
        )]);
    },
    r#"{"spec":{"hard":{"limits.memory":"3788Mi","requests.memory":"2764Mi"}}}' (restarts nothing"#
)]
#[case::one_that_has_asked_already(
    |scene: &mut (Policy, Snapshot)| {
        refuse(scene, &[
            (1, "exceeded quota: mem, requested: limits.memory=204Mi, used: limits.memory=3Gi, limited: limits.memory=3Gi"),
        ]);
        scene.1.targets[2].pod.container.as_mut().expect("a container").spec_limit = Some(Bytes::mib(1536));
    },
    r#"{"spec":{"hard":{"limits.memory":"3276Mi"}}}"#
)]
#[case::a_limit_range_by_the_most(
    |scene: &mut (Policy, Snapshot)| refuse(scene, &[
        (1, "maximum memory usage per Container is 700Mi, but limit is 768Mi"),
    ]),
    "kubectl edit limitrange -n shop (of type Container, max.memory: 1536Mi or more;"
)]
#[case::the_maximum_by_the_most(
    |scene: &mut (Policy, Snapshot)| scene.0.headroom.maximum_limit = Some(Bytes::mib(600)),
    r#"-p '{"spec":{"headroom":{"maximumLimit":"1536Mi"}}}'"#
)]
#[case::each_its_own_limit(
    |scene: &mut (Policy, Snapshot)| scene.1.rights.resize = Right::Denied,
    r#"{"limits":{"memory":"768Mi"}}}]}}' (restarts nothing; for redis-2 1536Mi instead;"#
)]
#[case::one_template_for_all(
    |scene: &mut (Policy, Snapshot)| scene.1.resize_supported = false,
    "kubectl set resources statefulset/redis -n shop -c redis --limits=memory=1536Mi"
)]
fn of_unequal_members_each_has_its_own_need(#[case] change: Change, #[case] command: &str) {
    let mut scene = unequal();
    change(&mut scene);
    let sentence = said(&first(&scene)).sentence.clone();
    assert!(sentence.contains(command), "{sentence}");
}

/// The finding of a pod and the command of its set say the same: what bounds one member has to fit them all.
#[test]
fn what_bounds_a_server_is_one_number_for_its_set() {
    let mut scene = healthy();
    for (target, limit) in scene.1.targets.iter_mut().zip([1024, 768, 2048]) {
        target.sample_mut().expect("a sample").memory.maxmemory = Bytes::ZERO;
        let container = target.pod.container.as_mut().expect("a container");
        (container.spec_limit, container.live_limit) = (Some(Bytes::mib(limit)), Some(Bytes::mib(limit)));
    }
    let status = first(&scene);
    let found: Vec<_> = findings::each(&status.findings).into_iter().filter(|it| it.code == "MaxmemoryUnset").collect();
    assert_eq!(found.len(), 3);
    let remedy = "set maxmemory to at most 512 MiB, for which the limit of 768 MiB";
    assert!(found.iter().all(|finding| finding.remedy.starts_with(remedy)), "{found:#?}");
    assert!(found[0].remedy.ends_with("768 MiB, the least of its set, is enough"), "{found:#?}");
    let sentence = &said(&status).sentence;
    assert!(
        sentence.contains("CONFIG SET maxmemory 512mb (restarts nothing; the same for redis-2, redis-0;"),
        "{sentence}"
    );
    // One member that is fuller than that decides for all, and those whose limit is enough keep it.
    scene.1.targets[0].sample_mut().expect("a sample").memory.used = Bytes::mib(700);
    let status = first(&scene);
    let first = status.findings.iter().find(|it| it.code == "MaxmemoryUnset").expect("it is found");
    assert!(
        first.remedy.contains("to 1313 MiB first, then set maxmemory to 875 MiB: with about 700 MiB used"),
        "{}",
        first.remedy
    );
    let sentence = &said(&status).sentence;
    assert!(sentence.contains(r#""memory":"1313Mi"}}}]}}' (restarts nothing; the same for redis-0;"#), "{sentence}");
    assert!(
        sentence.contains("CONFIG SET maxmemory 875mb (restarts nothing; the same for redis-2, redis-0;"),
        "{sentence}"
    );
}

#[test]
fn of_unequal_members_each_gets_its_own_maxmemory() {
    let mut scene = healthy();
    for (n, mib) in [(1, 79), (2, 81)] {
        let memory = &mut scene.1.targets[n].sample_mut().expect("a sample").memory;
        (memory.maxmemory, memory.maxmemory_policy) = (Bytes::mib(mib), "noeviction".into());
    }
    let sentence = said(&first(&scene)).sentence.clone();
    assert!(sentence.contains("CONFIG SET maxmemory 98mb (restarts nothing; for redis-2 101mb instead;"), "{sentence}");
}
