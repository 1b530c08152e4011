//! Each obstacle with its words, and what is none.

use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;
use crate::domain::{
    fixtures::{self, NOW},
    surroundings::{Kept, RefusedLimit, Undone, UnwrittenLimit},
};

/// What may keep a limit of 1536 MiB from `redis-1`, which has 1 GiB; nothing does.
struct World {
    policy: Policy,
    snapshot: Snapshot,
}

const NEED: Bytes = Bytes::mib(1536);

impl World {
    fn new() -> Self {
        let (policy, snapshot) = fixtures::enforced();
        Self { policy, snapshot }
    }

    fn container(&mut self) -> &mut Container {
        self.snapshot.targets[1].pod.container.as_mut().unwrap()
    }

    fn judge(&self) -> Option<Obstacle<'_>> {
        let target = &self.snapshot.targets[1];
        judge(&self.policy, Some(&self.snapshot), target, target.pod.container.as_ref().unwrap(), NEED)
    }

    fn asked(&mut self, resize: ResizeProgress) {
        self.container().spec_limit = Some(NEED);
        self.snapshot.targets[1].pod.resize = resize;
    }

    fn unwritten(&mut self, for_seconds: i64) {
        let since = NOW - SignedDuration::from_secs(for_seconds);
        self.snapshot.surroundings.unwritten = vec![UnwrittenLimit { uid: fixtures::pod_uid(1), since }];
    }

    fn refused(&mut self, n: u8, text: &str) {
        self.snapshot.surroundings.refused_limits = vec![RefusedLimit { uid: fixtures::pod_uid(n), text: text.into() }];
    }

    fn left_alone(&mut self, value: Bytes) {
        self.snapshot.surroundings.left_alone = vec![LeftAlone {
            pod: fixtures::pod_name(1),
            uid: fixtures::pod_uid(1),
            kept: Kept::Limit,
            value: value.to_string(),
            times: 3,
            undone: Undone::By(Some("vpa".into())),
            until: NOW,
        }];
    }
}

type Change = fn(&mut World);

/// The reason with its numbers, and what the finding says.
#[rstest]
#[case::no_remedy(|w: &mut World| w.policy.headroom.resize_pod = false, "ResizePod is not among spec.headroom.remedies", "TEMPLATE, or add ResizePod")]
#[case::maximum(|w: &mut World| w.policy.headroom.maximum_limit = Some(Bytes::mib(1200)), "spec.headroom.maximumLimit is 1200 MiB", "is below the 1.50 GiB needed")]
#[case::restarts(|w: &mut World| w.container().resize_restarts = true, "a resize would restart Redis (resizePolicy)", "restart Redis: TEMPLATE")]
#[case::pod_level(|w: &mut World| w.snapshot.targets[1].pod.pod_level_resources = true, "pod-level resources", "raise them too, and TEMPLATE")]
#[case::foreign(|w: &mut World| w.snapshot.targets[1].pod.owner.as_mut().unwrap().kind = "InstanceSet".into(), "InstanceSet redis owns the pod", "template says: TEMPLATE")]
#[case::old_cluster(|w: &mut World| w.snapshot.resize_supported = false, "this API server cannot resize pods", "1.33 and newer can): TEMPLATE")]
#[case::claimed(|w: &mut World| w.snapshot.claimed_by_other = vec![(fixtures::set_uid(), "older".into())], "policy older, which is older, acts", "change it there")]
#[case::not_written(|w: &mut World| w.asked(ResizeProgress::InProgress), "has not written it yet, and 1 GiB hold", "1 GiB hold until the cgroup is written")]
#[case::not_written_within_the_time(
    |w: &mut World| { w.asked(ResizeProgress::InProgress); w.unwritten(1800); },
    "has not written it yet, and 1 GiB hold", "the kubelet is raising the limit"
)]
#[case::not_written_for_too_long(
    |w: &mut World| { w.asked(ResizeProgress::InProgress); w.unwritten(1801); },
    "the kubelet has not written it since 2026-01-02T02:34:04Z, and 1 GiB hold",
    "since 2026-01-02T02:34:04Z, and 1 GiB hold: see what the pod's events and its node say (a kubelet before 1.33 never does it), \
     or TEMPLATE"
)]
#[case::never_begun(
    |w: &mut World| { w.asked(ResizeProgress::None); w.unwritten(4000); },
    "the kubelet has not written it since", "a limit of 1.50 GiB is asked for, and the kubelet has not written it"
)]
#[case::what_the_node_says_comes_first(
    |w: &mut World| { w.asked(ResizeProgress::Deferred("full".into())); w.unwritten(4000); },
    "no room for a higher one now: full", "the kubelet will try again"
)]
#[case::node_full(
    |w: &mut World| w.asked(ResizeProgress::Deferred("Node didn't have enough resource: memory, requested: 1610612736, used: 3221225472, capacity: 4294967296".into())),
    "no room for a higher one now: the node has 4 GiB for pods, others request 3 GiB of it, 1 GiB are free, and the pod needs 1.50 GiB",
    "the kubelet will try again: the node has 4 GiB"
)]
#[case::node_small(
    |w: &mut World| w.asked(ResizeProgress::Infeasible("Node didn't have enough capacity: memory, requested: 1610612736, capacity: 1073741824".into())),
    "never hold a higher one: the node has 1 GiB for pods in all, and the pod needs 1.50 GiB",
    "move the pod to a larger one: the node has 1 GiB"
)]
#[case::kubelet_fails(|w: &mut World| w.asked(ResizeProgress::Error("cgroup".into())), "fails to set a higher one: cgroup", "fails to set it: cgroup")]
#[case::no_right(|w: &mut World| w.snapshot.rights.resize = Right::Denied, "may not patch pods/resize", "grant it, or TEMPLATE")]
#[case::quota_of_two_resources(
    |w: &mut World| w.refused(1, "exceeded quota: mem, requested: limits.memory=512Mi,requests.memory=256Mi, used: \
                                  limits.memory=3Gi,requests.memory=2Gi, limited: limits.memory=3Gi,requests.memory=2Gi"),
    "the API server refuses a higher one: quota mem allows 3 GiB of limits.memory, 3 GiB of it are used, and 512 MiB more are \
     needed; and 2 GiB of requests.memory, 2 GiB of it are used, and 256 MiB more are needed",
    "raise quota mem to 3.50 GiB of limits.memory and 2.25 GiB of requests.memory for this pod, or free that much"
)]
#[case::quota(
    |w: &mut World| w.refused(1, "exceeded quota: mem, requested: limits.memory=512Mi, used: limits.memory=3Gi, limited: limits.memory=3Gi"),
    "the API server refuses a higher one: quota mem allows 3 GiB of limits.memory, 3 GiB of it are used, and 512 MiB more are needed",
    "raise quota mem to 3.50 GiB for this pod, or free that much"
)]
#[case::limit_range(
    |w: &mut World| w.refused(1, "maximum memory usage per Container is 1Gi, but limit is 1536Mi"),
    "a LimitRange allows at most 1 GiB of memory for a Container, and 1.50 GiB are asked for",
    "raise the maximum of the LimitRange to 1.50 GiB"
)]
#[case::refused(|w: &mut World| w.refused(1, "a webhook says no"), "refuses a higher one: a webhook says no", "let the operator make the change: the operator tries again")]
#[case::refused_by_an_earlier_version(|w: &mut World| w.refused(1, ""), "the API server refuses a higher one", "refuses the limit of 1.50 GiB; let")]
#[case::left_alone(|w: &mut World| w.left_alone(NEED), "it was set back, or refused, again and again", "no limit is raised before 2026-01-02T03:04:05Z")]
fn each_obstacle_is_its_own_reason(#[case] change: Change, #[case] why: &str, #[case] remedy: &str) {
    let mut world = World::new();
    assert_eq!(world.judge(), None);
    change(&mut world);
    let obstacle = world.judge().expect("an obstacle");
    assert!(obstacle.why().contains(why), "{}", obstacle.why());
    let said = obstacle.remedy(NEED, "TEMPLATE");
    assert!(said.contains(remedy), "{said}");
    assert_eq!(obstacle.is_under_way(), matches!(obstacle, Obstacle::NotWritten(_)));
}

#[rstest]
#[case::another_pod_was_refused(|w: &mut World| w.refused(2, "exceeded quota"))]
#[case::another_value_was_set_back(|w: &mut World| w.left_alone(Bytes::mib(1400)))]
#[case::it_may_be_as_much(|w: &mut World| w.policy.headroom.maximum_limit = Some(NEED))]
#[case::another_set_is_claimed(|w: &mut World| w.snapshot.claimed_by_other = vec![("another".into(), "older".into())])]
fn what_concerns_others_is_no_obstacle(#[case] change: Change) {
    let mut world = World::new();
    change(&mut world);
    assert_eq!(world.judge(), None);
}

/// What was refused before it was asked for by somebody else says nothing of what the kubelet does with it.
#[test]
fn what_is_asked_for_is_the_kubelets() {
    let mut world = World::new();
    world.refused(1, "exceeded quota");
    world.left_alone(NEED);
    world.snapshot.rights.resize = Right::Denied;
    world.asked(ResizeProgress::None);
    assert_eq!(world.judge(), Some(Obstacle::NotWritten(Some(Bytes::mib(1024)))));
}

/// What keeps the operator from it keeps no person from it.
#[test]
fn what_is_the_policys_is_not_the_pods() {
    let mut world = World::new();
    world.policy.headroom.resize_pod = false;
    world.snapshot.rights.resize = Right::Denied;
    let target = &world.snapshot.targets[1];
    assert_eq!(of_the_pod(Some(&world.snapshot), target, target.pod.container.as_ref().unwrap()), None);
}
