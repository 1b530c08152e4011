//! Effects on pods: eviction, resize, label.

use k8s_openapi::api::{
    core::v1::{LimitRange, Pod, ResourceQuota},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, EvictParams, Preconditions},
};
use redis_memory_operator::{
    domain::{
        bytes::Bytes,
        names::{PodName, PodUid},
        not_given::NotGiven,
        pod::ResizeProgress,
        policy::{AuthorityRule, PortRef, RedisAccess, RoleLabel},
    },
    kube_io::{
        fence::Fence,
        write::{EvictError, PodTarget, WriteError},
    },
    observe::pods,
};
use serde_json::json;

use crate::sandbox::{Sandbox, eventually, live_limit, pod};

const WRONG: &str = "00000000-0000-0000-0000-000000000000";

struct Named {
    name: PodName,
    uid: PodUid,
    version: String,
}

impl Named {
    fn of(pod: &Pod) -> Self {
        Self {
            name: pod.name_any().into(),
            uid: pod.uid().expect("a stored pod").into(),
            version: pod.resource_version().expect("a stored pod"),
        }
    }

    fn target<'a>(&'a self, sandbox: &'a Sandbox) -> PodTarget<'a> {
        PodTarget { namespace: &sandbox.namespace, name: &self.name, uid: &self.uid, resource_version: &self.version }
    }
}

async fn evict(sandbox: &Sandbox, name: &PodName, uid: &PodUid) -> Result<(), EvictError> {
    sandbox.writer.evict(&Fence::always(), &sandbox.namespace, name, uid).await
}

async fn gone(sandbox: &Sandbox, name: &str) {
    let api = sandbox.api::<Pod>();
    eventually("the pod's end", || async { api.get_opt(name).await.ok()?.is_none().then_some(()) }).await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server"]
async fn an_eviction_takes_the_pod_of_that_uid_and_no_other() {
    let sandbox = Sandbox::new("evict").await;
    let pod = Named::of(&sandbox.running_pod("redis-0", "64Mi").await);

    let error = evict(&sandbox, &pod.name, &WRONG.into()).await.expect_err("another UID");
    assert!(matches!(error, EvictError::UidChanged(_)), "{error:?}");
    let now = sandbox.api::<Pod>().get("redis-0").await.expect("the pod is still there");
    assert_eq!((now.metadata.deletion_timestamp, now.metadata.uid.as_deref()), (None, Some(pod.uid.as_str())));

    evict(&sandbox, &pod.name, &pod.uid).await.expect("evicted");
    gone(&sandbox, "redis-0").await;
    let error = evict(&sandbox, &pod.name, &pod.uid).await.expect_err("gone");
    assert!(matches!(error, EvictError::Gone), "{error:?}");
}

/// Why `Writer::evict` does not use `Api::evict`. When this fails, kube sends `deleteOptions`, and it may be used.
#[tokio::test]
#[ignore = "needs a Kubernetes API server"]
async fn the_eviction_of_kube_itself_loses_the_precondition() {
    let sandbox = Sandbox::new("kube-evict").await;
    sandbox.running_pod("redis-0", "64Mi").await;
    let preconditions = Preconditions { uid: Some(WRONG.to_owned()), resource_version: None };
    let delete_options = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let params = EvictParams { delete_options: Some(delete_options), ..EvictParams::default() };
    sandbox.api::<Pod>().evict("redis-0", &params).await.expect("evicted although the UID is another");
    gone(&sandbox, "redis-0").await;
}

async fn budget(sandbox: &Sandbox, name: &str) {
    let object = json!({
        "metadata": { "name": name },
        "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "redis" } } },
    });
    let _: PodDisruptionBudget = sandbox.create(object).await;
    let api = sandbox.api::<PodDisruptionBudget>();
    eventually("the budget has counted the pod", || async {
        let status = api.get(name).await.ok()?.status?;
        (status.current_healthy == 1 && status.expected_pods == 1).then_some(())
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server"]
async fn a_budget_says_not_now_and_two_budgets_say_never() {
    let sandbox = Sandbox::new("budget").await;
    let pod = Named::of(&sandbox.running_pod("redis-0", "64Mi").await);

    budget(&sandbox, "one").await;
    let error = evict(&sandbox, &pod.name, &pod.uid).await.expect_err("no disruption allowed");
    assert!(matches!(error, EvictError::BudgetSaysNo(_)), "{error:?}");

    budget(&sandbox, "two").await;
    let error = evict(&sandbox, &pod.name, &pod.uid).await.expect_err("overlapping budgets");
    assert!(matches!(error, EvictError::BudgetBroken(_)), "{error:?}");

    for name in ["one", "two"] {
        sandbox.api::<PodDisruptionBudget>().delete(name, &DeleteParams::default()).await.expect("deleted");
    }
    evict(&sandbox, &pod.name, &pod.uid).await.expect("evicted when nothing forbids it");
}

fn access() -> RedisAccess {
    RedisAccess {
        container: None,
        port: PortRef::Name("redis".into()),
        authority: AuthorityRule::Operator,
        role_label: RoleLabel { key: "role".into(), primary: "primary".into(), replica: "replica".into() },
        username: None,
        password: None,
        tls: None,
        sentinel: None,
    }
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server"]
async fn a_resize_reaches_the_kernel_without_a_restart() {
    let sandbox = Sandbox::new("resize").await;
    let fence = Fence::always();
    let stored = sandbox.running_pod("redis-0", "64Mi").await;
    let before = pods::pod(&stored, &access());
    let pod = Named::of(&stored);
    let limit = Bytes::mib(96);
    sandbox.writer.resize(&fence, pod.target(&sandbox), "redis", limit, None).await.expect("accepted");

    let stored = sandbox.pod_when("redis-0", |pod| live_limit(pod).as_deref() == Some("96Mi")).await;
    let after = pods::pod(&stored, &access());
    assert_eq!(after.uid, before.uid);
    let (before, after) = (before.container.expect("a container"), after.container.expect("a container"));
    assert_eq!((before.live_limit, after.live_limit), (Some(Bytes::mib(64)), Some(limit)));
    assert_eq!((after.restarts, after.started_at), (0, before.started_at));

    let error = sandbox.writer.resize(&fence, pod.target(&sandbox), "redis", limit, None).await;
    let error = error.expect_err("the version that was read is over");
    assert!(matches!(error, WriteError::Conflict(_)), "{error:?}");

    let current = Named { uid: WRONG.into(), ..Named::of(&stored) };
    let error = sandbox.writer.resize(&fence, current.target(&sandbox), "redis", limit, None).await;
    let error = error.expect_err("another UID");
    assert!(matches!(error, WriteError::UidChanged(_)), "{error:?}");
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server"]
async fn a_guaranteed_pod_is_resized_with_its_request_and_keeps_its_class() {
    let sandbox = Sandbox::new("guaranteed").await;
    let fence = Fence::always();
    let mut object = pod("redis-0", "64Mi");
    let same = json!({ "memory": "64Mi", "cpu": "10m" });
    object["spec"]["containers"][0]["resources"] = json!({ "limits": same, "requests": same });
    let _: Pod = sandbox.create(object).await;
    let stored = sandbox.pod_when("redis-0", |pod| live_limit(pod).is_some()).await;
    assert!(pods::pod(&stored, &access()).guaranteed);

    let pod = Named::of(&stored);
    let limit = Bytes::mib(80);
    let alone = sandbox.writer.resize(&fence, pod.target(&sandbox), "redis", limit, None).await;
    let error = alone.expect_err("the class would change");
    assert!(matches!(error, WriteError::Invalid(_)), "{error:?}");

    sandbox.writer.resize(&fence, pod.target(&sandbox), "redis", limit, Some(limit)).await.expect("accepted");
    let stored = sandbox.pod_when("redis-0", |pod| live_limit(pod).as_deref() == Some("80Mi")).await;
    let after = pods::pod(&stored, &access());
    assert!(after.guaranteed);
    assert_eq!(after.container.expect("a container").spec_request, Some(limit));
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server"]
async fn a_resize_beyond_the_quota_is_forbidden_with_the_numbers() {
    let sandbox = Sandbox::new("quota").await;
    let quota = json!({ "metadata": { "name": "memory" }, "spec": { "hard": { "limits.memory": "128Mi" } } });
    let _: ResourceQuota = sandbox.create(quota).await;
    let api = sandbox.api::<ResourceQuota>();
    eventually("the quota counts", || async { api.get("memory").await.ok()?.status?.used.map(|_| ()) }).await;
    let pod = Named::of(&sandbox.running_pod("redis-0", "64Mi").await);
    let target = pod.target(&sandbox);
    let error = sandbox.writer.resize(&Fence::always(), target, "redis", Bytes::mib(256), None).await;
    let error = error.expect_err("over the quota");
    let text = error.to_string();
    assert!(matches!(error, WriteError::Forbidden(_)) && text.contains("exceeded quota"), "{text}");
    // The words that are read are those of this API server.
    let NotGiven::Quota(quota) = NotGiven::read(&text) else { panic!("{text}") };
    let [lack] = quota.lacks.as_slice() else { panic!("{quota:?}") };
    assert_eq!((quota.name.as_str(), lack.resource.as_str()), ("memory", "limits.memory"));
    assert_eq!((lack.needed, lack.used, lack.hard), (Bytes::mib(192), Bytes::mib(64), Bytes::mib(128)));
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server"]
async fn a_resize_beyond_a_limit_range_is_forbidden_with_the_numbers() {
    let sandbox = Sandbox::new("limit-range").await;
    // Before the first pod: where the LimitRanger knows of none it asks.
    let limits = json!([{ "type": "Container", "max": { "memory": "128Mi" } }]);
    let range = json!({ "metadata": { "name": "memory" }, "spec": { "limits": limits } });
    let _: LimitRange = sandbox.create(range).await;
    let pod = Named::of(&sandbox.running_pod("redis-0", "64Mi").await);
    let target = pod.target(&sandbox);
    let resized = sandbox.writer.resize(&Fence::always(), target, "redis", Bytes::mib(256), None).await;
    let text = resized.expect_err("over the maximum").to_string();
    let (of, most, asked) = ("Container".to_owned(), Bytes::mib(128), Bytes::mib(256));
    assert_eq!(NotGiven::read(&text), NotGiven::LimitRange { of, most, asked }, "{text}");
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server"]
async fn a_resize_that_no_node_can_hold_is_said_to_be_infeasible() {
    let sandbox = Sandbox::new("infeasible").await;
    let pod = Named::of(&sandbox.running_pod("redis-0", "64Mi").await);
    let huge = Bytes(1 << 50);
    let target = pod.target(&sandbox);
    sandbox.writer.resize(&Fence::always(), target, "redis", huge, Some(huge)).await.expect("accepted");
    let said = |pod: &Pod| match pods::pod(pod, &access()).resize {
        ResizeProgress::Infeasible(text) => Some(text),
        _ => None,
    };
    let stored = sandbox.pod_when("redis-0", |pod| said(pod).is_some()).await;
    let text = said(&stored).expect("it was just said");
    let NotGiven::Node { requested, used: None, allocatable } = NotGiven::read(&text) else { panic!("{text}") };
    assert!(requested >= huge && allocatable < huge, "{text}");
    assert_eq!(live_limit(&stored).as_deref(), Some("64Mi"));
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server"]
async fn a_label_is_moved_under_uid_and_version() {
    let sandbox = Sandbox::new("label").await;
    let fence = Fence::always();
    let read = Named::of(&sandbox.running_pod("redis-0", "64Mi").await);
    let set = sandbox.writer.set_label(&fence, read.target(&sandbox), "redismemory.io/role", Some("primary")).await;
    let version = set.expect("labelled");
    let stored = sandbox.api::<Pod>().get("redis-0").await.expect("a pod");
    assert_eq!(stored.resource_version().as_deref(), Some(version.as_str()));
    assert_eq!(stored.labels().get("redismemory.io/role").map(String::as_str), Some("primary"));
    assert_eq!(stored.labels().get("app").map(String::as_str), Some("redis"), "other labels stay");

    let stale = sandbox.writer.set_label(&fence, read.target(&sandbox), "redismemory.io/role", None).await;
    let error = stale.expect_err("changed since it was read");
    assert!(matches!(error, WriteError::Conflict(_)), "{error:?}");

    let other = Named { uid: WRONG.into(), ..Named::of(&stored) };
    let other = sandbox.writer.set_label(&fence, other.target(&sandbox), "redismemory.io/role", None).await;
    let error = other.expect_err("another UID");
    assert!(matches!(error, WriteError::UidChanged(_)), "{error:?}");

    let now = Named::of(&stored);
    sandbox.writer.set_label(&fence, now.target(&sandbox), "redismemory.io/role", None).await.expect("unlabelled");
    let stored = sandbox.api::<Pod>().get("redis-0").await.expect("a pod");
    assert_eq!(stored.labels().get("redismemory.io/role"), None);
}
