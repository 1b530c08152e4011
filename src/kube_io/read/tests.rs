//! What is asked, how often, and what answers become. tests/kube_live.rs asks the real API server.

use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use pretty_assertions::assert_eq;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::{
    domain::pod::{Right, Rights},
    kube_io::testing::{Answer, Log, Recorded, fake, refusal},
};

fn reader(handler: impl Fn(&Recorded) -> Answer + Send + Sync + 'static) -> (Reader, Log) {
    let (client, log) = fake(handler);
    (Reader::new(client, Clock::start()), log)
}

fn not_found() -> Answer {
    refusal(404, "NotFound", "not found", &json!([]))
}

#[tokio::test]
async fn a_list_is_read_to_its_last_page() {
    let (reader, log) = reader(|request| {
        let (name, token) = if request.uri.contains("continue=next") { ("b", "") } else { ("a", "next") };
        let items = json!([{ "metadata": { "name": name } }]);
        Answer::Http(200, json!({ "metadata": { "continue": token, "resourceVersion": "1" }, "items": items }))
    });
    let pods = reader.pods("shop", "app=redis,tier in (a,b)").await.expect("pods");
    let names: Vec<_> = pods.into_iter().filter_map(|pod| pod.metadata.name).collect();
    assert_eq!(names, ["a", "b"]);
    let uri = &log.all()[0].uri;
    assert!(uri.contains("limit=500") && uri.contains("labelSelector=app%3Dredis%2Ctier+in+%28a%2Cb%29"), "{uri}");
    assert!(!uri.contains("resourceVersion"), "read from a cache of the API server: {uri}");
}

#[tokio::test]
async fn an_endless_list_is_given_up() {
    let page = json!({ "metadata": { "continue": "more" }, "items": [{ "metadata": { "name": "a" } }] });
    let (reader, log) = reader(move |_| Answer::Http(200, page.clone()));
    let error = reader.pods("shop", "app=redis").await.expect_err("too many");
    assert_eq!(error.to_string(), "cannot list the pods: more than 20 objects match (HTTP 413)");
    assert_eq!(log.len(), MAX_PAGES);
}

#[tokio::test]
async fn what_is_missing_is_none_and_what_is_forbidden_says_so() {
    let (reader, _) = reader(|request| {
        if request.uri.contains("statefulsets") {
            refusal(403, "Forbidden", "statefulsets.apps \"redis\" is forbidden", &json!([]))
        } else {
            not_found()
        }
    });
    assert!(reader.policy("shop", "sessions").await.expect("an answer").is_none());
    assert!(reader.pod("shop", &"redis-0".into()).await.expect("an answer").is_none());
    let error = reader.stateful_set("shop", "redis").await.expect_err("forbidden");
    assert!(error.is_forbidden());
    assert_eq!(error.reason(), "GetStatefulSet");
    assert_eq!(error.to_string(), "cannot read the StatefulSet: statefulsets.apps \"redis\" is forbidden");
}

#[tokio::test]
async fn a_broken_policy_is_there_and_says_what_is_wrong() {
    let broken = json!({ "metadata": { "name": "sessions" }, "spec": { "selector": 5 } });
    let (reader, _) = reader(move |_| Answer::Http(200, broken.clone()));
    let stored = reader.policy("shop", "sessions").await.expect("an answer").expect("a policy");
    assert!(stored.policy().is_none() && stored.problem().is_some(), "{stored:?}");
}

#[rstest]
#[case("StatefulSet", "u-1", true)]
#[case("ReplicaSet", "u-1", true)]
#[case::replaced("StatefulSet", "u-0", false)]
#[case::no_uid("StatefulSet", "", false)]
#[case::not_a_workload("RedisCluster", "u-1", false)]
#[tokio::test]
async fn an_owner_is_proven_by_kind_and_uid(#[case] kind: &str, #[case] uid: &str, #[case] want: bool) {
    let found = json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": { "name": "redis", "uid": "u-1" },
    });
    let (reader, log) = reader(move |_| Answer::Http(200, found.clone()));
    let owner = Owner { kind: kind.into(), name: "redis".into(), uid: ControllerUid::new(uid) };
    assert_eq!(reader.owner_exists("shop", &owner).await.expect("an answer"), want);
    assert_eq!(log.len(), usize::from(kind != "RedisCluster"));
}

#[tokio::test]
async fn an_owner_that_is_gone_is_not_proven_and_one_that_cannot_be_read_is_an_error() {
    let owner = Owner { kind: "StatefulSet".into(), name: "redis".into(), uid: ControllerUid::new("u-1") };
    let (gone, _) = reader(|_| not_found());
    assert!(!gone.owner_exists("shop", &owner).await.expect("an answer"));
    let (down, _) = reader(|_| refusal(500, "InternalError", "etcd", &json!([])));
    assert_eq!(down.owner_exists("shop", &owner).await.expect_err("no answer").reason(), "GetOwner");
}

/// While nothing is to be done a ReplicaSet is asked for once, and no value of its variables is kept.
#[tokio::test]
async fn a_replica_set_is_remembered_without_what_nobody_reads() {
    let env = json!([{"name": "REDIS_PASSWORD", "value": "hunter2"}]);
    let spec = json!({"selector": {}, "template": {"spec": {"containers": [{"name": "redis", "env": env}]}}});
    let set = json!({"metadata": {"name": "cache-77f", "uid": "u-1"}, "spec": spec});
    let (reader, log) = reader(move |_| Answer::Http(200, set.clone()));
    let owner = Owner { kind: "ReplicaSet".into(), name: "cache-77f".into(), uid: ControllerUid::new("u-1") };
    for _ in 0..2 {
        let set = reader.replica_set_lately("shop", &owner).await.expect("an answer").expect("a ReplicaSet");
        assert!(set.metadata.uid.as_deref() == Some("u-1") && !format!("{set:?}").contains("hunter2"), "{set:?}");
    }
    assert_eq!(log.len(), 1);
    let _live = reader.replica_set("shop", "cache-77f").await.expect("an answer");
    assert_eq!(log.len(), 2, "before anything is done it is read anew");
}

#[tokio::test]
async fn the_endpoints_of_a_service_are_asked_for_by_its_name() {
    let (reader, log) = reader(|_| {
        let slice = json!({ "metadata": { "name": "writes-x" }, "addressType": "IPv4", "endpoints": [] });
        Answer::Http(200, json!({ "metadata": {}, "items": [slice] }))
    });
    assert_eq!(reader.endpoint_slices("shop", "writes").await.expect("slices").len(), 1);
    let asked = &log.all()[0].uri;
    assert!(asked.contains("labelSelector=kubernetes.io%2Fservice-name%3Dwrites"), "{asked}");
}

/// Grants what `granted` says of (verb, subresource).
fn review(request: &Recorded, granted: fn(&str, Option<&str>) -> bool) -> Answer {
    assert_eq!((&request.method, request.uri.starts_with("/apis/authorization.k8s.io/v1/")), (&Method::POST, true));
    let asked = &request.body["spec"]["resourceAttributes"];
    assert_eq!((&asked["namespace"], &asked["resource"]), (&json!("shop"), &json!("pods")));
    let allowed = granted(asked["verb"].as_str().expect("a verb"), asked["subresource"].as_str());
    let mut answer = request.body.clone();
    answer["status"] = json!({ "allowed": allowed });
    Answer::Http(201, answer)
}

#[tokio::test]
async fn rights_are_asked_for_one_by_one_and_remembered() {
    let (reader, log) = reader(|request| {
        review(request, |verb, sub| matches!((verb, sub), ("create", Some("eviction")) | ("patch", None)))
    });
    let want = Rights { evict: Right::Granted, resize: Right::Denied, label: Right::Granted };
    assert_eq!(reader.rights("shop").await, want);
    assert_eq!(reader.clone().rights("shop").await, want);
    assert_eq!(log.len(), 3, "asked once");
}

#[tokio::test]
async fn a_question_that_fails_is_unknown_and_asked_again() {
    static DOWN: AtomicBool = AtomicBool::new(true);
    let (reader, _) = reader(|request| {
        if DOWN.load(Ordering::Relaxed) && request.body["spec"]["resourceAttributes"]["verb"] == "create" {
            return refusal(500, "InternalError", "webhook", &json!([]));
        }
        review(request, |_, _| true)
    });
    assert_eq!(reader.rights("shop").await.evict, Right::Unknown);
    DOWN.store(false, Ordering::Relaxed);
    assert_eq!(reader.rights("shop").await.evict, Right::Granted);
}

#[tokio::test]
async fn an_authorizer_that_could_not_say_has_not_refused() {
    let (reader, _) = reader(|request| {
        let mut answer = request.body.clone();
        answer["status"] = json!({ "allowed": false, "evaluationError": "webhook timed out" });
        Answer::Http(201, answer)
    });
    assert_eq!(reader.rights("shop").await, Rights::default());
}

#[rstest]
#[case(json!(["pods", "pods/resize", "pods/eviction"]), true)]
#[case(json!(["pods", "pods/eviction"]), false)]
#[tokio::test]
async fn resize_is_known_by_discovery_and_asked_once(#[case] names: Value, #[case] want: bool) {
    let (reader, log) = reader(move |_| {
        let resources: Vec<Value> = names
            .as_array()
            .expect("names")
            .iter()
            .map(|name| json!({ "name": name, "singularName": "", "namespaced": true, "kind": "Pod", "verbs": [] }))
            .collect();
        Answer::Http(200, json!({ "groupVersion": "v1", "resources": resources }))
    });
    assert_eq!(reader.resize_supported().await, want);
    assert_eq!(reader.resize_supported().await, want);
    assert_eq!(log.len(), 1);
}

#[tokio::test]
async fn without_discovery_nothing_is_resized() {
    let (reader, log) = reader(|_| refusal(503, "ServiceUnavailable", "later", &json!([])));
    assert!(!reader.resize_supported().await);
    assert!(!reader.resize_supported().await);
    assert_eq!(log.len(), 2, "a failure is not remembered");
}

/// The API server's answers about claim `data-redis-0`, its volume and the nodes.
fn behind(request: &Recorded) -> Answer {
    let object = match request.uri.split('?').next().unwrap_or_default() {
        "/api/v1/namespaces/shop/persistentvolumeclaims/data-redis-0" => {
            json!({ "metadata": { "name": "data-redis-0" }, "spec": { "volumeName": "pv-1" } })
        }
        "/api/v1/persistentvolumes/pv-1" => json!({ "metadata": { "name": "pv-1" } }),
        "/api/v1/nodes" => json!({ "metadata": {}, "items": [{
            "metadata": { "name": "a" }, "spec": { "unschedulable": true }, "status": { "images": [{ "names": ["x"] }] },
        }] }),
        _ => return not_found(),
    };
    Answer::Http(200, object)
}

#[tokio::test]
async fn what_is_behind_claims_is_read_and_remembered_for_as_long_as_is_said() {
    let (reader, log) = reader(behind);
    let names = ["data-redis-0".to_owned(), "gone".to_owned()];
    let hour = Duration::from_secs(3600);
    let VolumesRead::Read(found) = reader.volumes("shop", &names, hour).await else { panic!("not read") };
    assert_eq!(found.claims.len(), 1, "one that is gone is left out");
    assert!(found.claims[0].1.is_some());
    assert_eq!(found.nodes[0].spec.as_ref().and_then(|spec| spec.unschedulable), Some(true));
    assert_eq!(found.nodes[0].status.as_ref().and_then(|status| status.images.clone()), None, "not kept");
    assert!(matches!(reader.volumes("shop", &names, hour).await, VolumesRead::Read(_)));
    assert_eq!(log.len(), 4, "read once");
    let _again = reader.volumes("shop", &names, Duration::ZERO).await;
    assert_eq!(log.len(), 8, "a decision reads again");
}

#[tokio::test]
async fn a_right_to_volumes_that_is_not_granted_is_asked_for_once_a_minute() {
    let (reader, log) = reader(|_| refusal(403, "Forbidden", "no", &json!([])));
    for _ in 0..3 {
        let read = reader.volumes("shop", &["data-redis-0".to_owned()], Duration::ZERO).await;
        assert!(matches!(read, VolumesRead::Denied), "{read:?}");
    }
    assert_eq!(log.len(), 1);
}

#[tokio::test]
async fn disruption_budgets_are_remembered_for_as_long_as_is_said() {
    let (reader, log) =
        reader(|_| Answer::Http(200, json!({ "metadata": {}, "items": [{ "metadata": { "name": "b" } }] })));
    let hour = Duration::from_secs(3600);
    for (age, requests) in [(hour, 1), (hour, 1), (Duration::ZERO, 2), (hour, 2)] {
        let found = reader.disruption_budgets("shop", age).await.expect("readable");
        assert_eq!((found.len(), log.len()), (1, requests), "{age:?}");
    }
}
