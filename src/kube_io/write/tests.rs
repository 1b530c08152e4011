//! What is sent, and what the API server's answers become. tests/api_kube asks the real one.

use std::{sync::LazyLock, time::Duration};

use pretty_assertions::assert_eq;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::{
    domain::event::EventType,
    kube_io::{
        fence::Term,
        testing::{Answer, Log, fake, refusal},
    },
};

static POD: LazyLock<PodName> = LazyLock::new(|| "redis-1".into());
static UID: LazyLock<PodUid> = LazyLock::new(|| "uid-1".into());

fn target() -> PodTarget<'static> {
    PodTarget { namespace: "shop", name: &POD, uid: &UID, resource_version: "7" }
}

fn writer(answer: impl Fn() -> Answer + Send + Sync + 'static) -> (Writer, Log) {
    let (client, log) = fake(move |_| answer());
    (Writer::new(client, Clock::start(), "operator-0"), log)
}

async fn evict(writer: &Writer, fence: &Fence) -> Result<(), EvictError> {
    Writer::evict(writer, fence, "shop", &POD, &UID).await
}

fn pod() -> Answer {
    let meta = json!({ "name": "redis-1", "namespace": "shop", "resourceVersion": "8" });
    Answer::Http(200, json!({ "apiVersion": "v1", "kind": "Pod", "metadata": meta }))
}

fn policy(finalizers: &[&str]) -> Answer {
    let meta = json!({ "name": "sessions", "namespace": "shop", "resourceVersion": "7", "finalizers": finalizers });
    let spec = json!({ "selector": { "matchLabels": { "app": "redis" } } });
    let body = json!({
        "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy", "metadata": meta, "spec": spec,
    });
    Answer::Http(200, body)
}

fn success() -> Answer {
    Answer::Http(201, json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 }))
}

#[tokio::test]
async fn an_eviction_carries_the_uid_where_the_api_server_reads_it() {
    let (writer, log) = writer(success);
    evict(&writer, &Fence::always()).await.expect("evicted");
    let sent = log.only();
    assert_eq!((sent.method.as_str(), sent.uri.as_str()), ("POST", "/api/v1/namespaces/shop/pods/redis-1/eviction?"));
    assert_eq!(
        sent.body,
        json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": { "name": "redis-1", "namespace": "shop" },
            "deleteOptions": { "preconditions": { "uid": "uid-1" } },
        })
    );
}

#[rstest]
#[case(
    429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.",
    json!([{ "reason": "DisruptionBudget", "message": "The disruption budget redis needs 3 healthy pods" }]),
    "BudgetSaysNo"
)]
#[case(429, "TooManyRequests", "too many requests, please try again later", json!([]), "Other")]
#[case(
    500, "InternalError",
    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
    json!([]), "BudgetBroken"
)]
#[case(500, "InternalError", "etcdserver: leader changed", json!([]), "Other")]
#[case(404, "NotFound", "pods \"redis-1\" not found", json!([]), "Gone")]
#[case(
    409, "Conflict",
    "Operation cannot be fulfilled on Pod \"redis-1\": the UID in the precondition (a) does not match the UID in record (b). \
     The object might have been deleted and then recreated",
    json!([]), "UidChanged"
)]
#[case(409, "Conflict", "Operation cannot be fulfilled: the object has been modified", json!([]), "Other")]
#[case(403, "Forbidden", "pods \"redis-1\" is forbidden: cannot create resource \"pods/eviction\"", json!([]), "Forbidden")]
#[tokio::test]
async fn refusals_of_an_eviction(
    #[case] code: u16,
    #[case] reason: &'static str,
    #[case] message: &'static str,
    #[case] causes: Value,
    #[case] want: &str,
) {
    let (writer, log) = writer(move || refusal(code, reason, message, &causes));
    let error = evict(&writer, &Fence::always()).await.expect_err("refused");
    assert_eq!(error.reason(), want, "{error}");
    if want != "Gone" {
        assert!(error.to_string().contains(message), "{error}");
    }
    // A refusal is never repeated here: kube's own retry is not in the way either (see `client`).
    assert_eq!(log.len(), 1);
}

#[tokio::test]
async fn a_resize_names_container_uid_and_version() {
    let (writer, log) = writer(pod);
    let limit = Bytes::mib(1536);
    writer.resize(&Fence::always(), target(), "redis", limit, None).await.expect("resized");
    writer.resize(&Fence::always(), target(), "redis", Bytes(1), Some(Bytes(1))).await.expect("resized");
    let sent = log.all();
    assert_eq!(
        (sent[0].method.as_str(), sent[0].uri.as_str(), sent[0].content_type.as_str()),
        (
            "PATCH",
            "/api/v1/namespaces/shop/pods/redis-1/resize?&fieldManager=redis-memory-operator",
            "application/strategic-merge-patch+json"
        )
    );
    let body = |resources| {
        json!({
            "metadata": { "uid": "uid-1", "resourceVersion": "7" },
            "spec": { "containers": [{ "name": "redis", "resources": resources }] },
        })
    };
    assert_eq!(sent[0].body, body(json!({ "limits": { "memory": "1536Mi" } })));
    assert_eq!(sent[1].body, body(json!({ "limits": { "memory": "1" }, "requests": { "memory": "1" } })));
}

#[tokio::test]
async fn a_label_patch_is_exactly_that_label() {
    let (writer, log) = writer(pod);
    let key = "redismemory.io/role";
    let version = writer.set_label(&Fence::always(), target(), key, Some("primary")).await.expect("labelled");
    assert_eq!(version, "8");
    writer.set_label(&Fence::always(), target(), key, None).await.expect("unlabelled");
    let sent = log.all();
    assert_eq!(sent[0].content_type, "application/merge-patch+json");
    let body = |value| json!({ "metadata": { "uid": "uid-1", "resourceVersion": "7", "labels": { key: value } } });
    assert_eq!(sent[0].body, body(json!("primary")));
    assert_eq!(sent[1].body, body(Value::Null));
}

#[tokio::test]
async fn each_part_of_our_own_status_has_its_manager_and_is_forced() {
    let (writer, log) = writer(|| policy(&[]));
    let fence = Fence::always();
    let part = json!({ "observedGeneration": 1 });
    writer.apply_status(&fence, "shop", "sessions", "7", part.clone()).await.expect("applied");
    writer.apply_journal(&fence, "shop", "sessions", "7", part.clone()).await.expect("applied");
    let sent = log.all();
    let path = "/apis/redismemory.io/v1alpha1/namespaces/shop/redismemorypolicies/sessions/status?";
    assert_eq!(sent[0].uri, format!("{path}&force=true&fieldManager=redis-memory-operator"));
    assert_eq!(sent[1].uri, format!("{path}&force=true&fieldManager=redis-memory-operator-journal"));
    let body = json!({
        "apiVersion": "redismemory.io/v1alpha1",
        "kind": "RedisMemoryPolicy",
        "metadata": { "name": "sessions", "resourceVersion": "7" },
        "status": part,
    });
    for request in sent {
        assert_eq!((request.content_type.as_str(), &request.body), ("application/apply-patch+yaml", &body));
    }
}

#[rstest]
#[case(403, "Forbidden", "pods \"redis-1\" is forbidden: exceeded quota: mem", json!([]), "Forbidden")]
#[case(404, "NotFound", "pods \"redis-1\" not found", json!([]), "Gone")]
#[case(409, "Conflict", "the object has been modified; please apply your changes to the latest", json!([]), "Conflict")]
#[case(
    409, "Conflict", "Apply failed with 1 conflict: conflict with \"someone\"",
    json!([{ "reason": "FieldManagerConflict", "field": ".status.summary" }]), "FieldConflict"
)]
#[case(409, "Conflict", "Precondition failed: UID in precondition: a, UID in object meta: b", json!([]), "UidChanged")]
#[case(
    422, "Invalid", "Pod \"redis-1\" is invalid: metadata.uid: field is immutable",
    json!([{ "reason": "FieldValueInvalid", "field": "metadata.uid" }]), "UidChanged"
)]
#[case(422, "Invalid", "Pod \"redis-1\" is invalid: spec", json!([{ "field": "spec" }]), "Invalid")]
#[case(400, "BadRequest", "cannot decode", json!([]), "Invalid")]
#[case(429, "TooManyRequests", "please try again later", json!([]), "Unconfirmed")]
#[case(503, "ServiceUnavailable", "apiserver is shutting down", json!([]), "Unconfirmed")]
#[tokio::test]
async fn refusals_of_a_write(
    #[case] code: u16,
    #[case] reason: &'static str,
    #[case] message: &'static str,
    #[case] causes: Value,
    #[case] want: &str,
) {
    let (writer, log) = writer(move || refusal(code, reason, message, &causes));
    let error = writer.set_label(&Fence::always(), target(), "role", None).await.expect_err("refused");
    assert_eq!(error.reason(), want, "{error}");
    assert!(error.to_string().contains(message), "{error}");
    assert_eq!(error.outcome_unknown(), want == "Unconfirmed");
    assert_eq!(log.len(), 1);
}

/// An operator that is newer than the definition: what is wrong, and the command that mends it.
#[rstest]
#[case::a_field(
    500, "failed to create typed patch object (shop/sessions; redismemory.io/v1alpha1, Kind=RedisMemoryPolicy): \
          .status.workloads[0].maxmemory.end: field not declared in schema",
    json!([]), ".status.workloads[0].maxmemory.end: not declared"
)]
#[case::several_fields(
    400, "failed to create typed patch object (shop/sessions; redismemory.io/v1alpha1, Kind=RedisMemoryPolicy): errors:\n  \
          .status.summary.waste: field not declared in schema\n  .status.new: field not declared in schema",
    json!([]), ".status.summary.waste: not declared"
)]
#[case::a_value(
    422, "RedisMemoryPolicy \"sessions\" is invalid: status.journal.steps[0].step: Unsupported value",
    json!([{ "reason": "FieldValueNotSupported", "field": "status.journal.steps[0].step", "message": "Unsupported value: \"Dance\"" }]),
    "status.journal.steps[0].step: Unsupported value: \"Dance\""
)]
#[tokio::test]
async fn a_definition_that_does_not_take_what_is_written_is_named(
    #[case] code: u16,
    #[case] message: &'static str,
    #[case] causes: Value,
    #[case] what: &str,
) {
    let (writer, _) = writer(move || refusal(code, "", message, &causes));
    let error = writer.apply_journal(&Fence::always(), "shop", "sessions", "7", json!({})).await.expect_err("refused");
    assert_eq!(error.reason(), "OtherDefinition", "{error}");
    let text = error.to_string();
    assert!(
        text.contains(what) && text.contains("redis-memory-operator crd | kubectl apply --server-side -f -"),
        "{text}"
    );
    assert!(!error.outcome_unknown());
}

#[tokio::test]
async fn a_spec_that_is_invalid_is_no_other_definition() {
    let causes = json!([{ "reason": "FieldValueInvalid", "field": "spec.selector", "message": "empty" }]);
    let (writer, _) = writer(move || refusal(422, "Invalid", "spec.selector: empty", &causes));
    let error = writer.apply_status(&Fence::always(), "shop", "sessions", "7", json!({})).await.expect_err("refused");
    assert_eq!(error.reason(), "Invalid");
}

#[rstest]
#[case::added(&["else/one"], true, Some(json!(["else/one", FINALIZER])))]
#[case::there_already(&[FINALIZER, "else/one"], true, None)]
#[case::removed(&["else/one", FINALIZER, "else/two"], false, Some(json!(["else/one", "else/two"])))]
#[case::gone_already(&["else/one"], false, None)]
#[tokio::test]
async fn the_finalizers_of_others_stay(
    #[case] before: &'static [&'static str],
    #[case] present: bool,
    #[case] want: Option<Value>,
) {
    let (writer, log) = writer(move || policy(before));
    writer.set_finalizer(&Fence::always(), "shop", "sessions", "7", present).await.expect("written or already so");
    let patch = log.all().get(1).map(|request| request.body.clone());
    assert_eq!(patch, want.map(|list| json!({ "metadata": { "resourceVersion": "7", "finalizers": list } })));
}

#[tokio::test]
async fn a_finalizer_is_not_set_on_another_version_than_was_read() {
    let (writer, log) = writer(|| policy(&[]));
    let error = writer.set_finalizer(&Fence::always(), "shop", "sessions", "6", true).await.expect_err("stale");
    assert_eq!(error.reason(), "Conflict");
    assert_eq!(log.len(), 1, "it was only read");
}

/// One of each write.
async fn every_write(writer: &Writer, fence: &Fence) -> Vec<&'static str> {
    let about = EventTarget::object(k8s_openapi::api::core::v1::ObjectReference::default());
    let note = EventNote { type_: EventType::Normal, reason: "R".into(), action: "A".into(), note: "N".into() };
    let mut reasons = vec![evict(writer, fence).await.expect_err("fenced").reason()];
    let others = [
        writer.resize(fence, target(), "redis", Bytes(1), None).await.err(),
        writer.set_label(fence, target(), "role", None).await.err(),
        writer.apply_status(fence, "shop", "sessions", "7", json!({})).await.err(),
        writer.apply_journal(fence, "shop", "sessions", "7", json!({})).await.err(),
        writer.set_finalizer(fence, "shop", "sessions", "7", true).await.err(),
        writer.event(fence, &about, &note).await.err(),
    ];
    reasons.extend(others.iter().map(|error| error.as_ref().expect("fenced").reason()));
    reasons
}

#[tokio::test]
async fn without_the_lease_nothing_is_sent() {
    let (writer, log) = writer(success);
    assert_eq!(every_write(&writer, &Fence::never(Clock::start())).await, ["Fenced"; 7]);
    assert_eq!(log.all(), []);
}

#[tokio::test]
async fn no_write_outlasts_the_lease() {
    let (writer, _log) = writer(|| Answer::Silence);
    let clock = Clock::start();
    // 50 ms until the deadline, then a margin of 50 ms: the next process may lead after 100 ms.
    let term = Term { deadline: clock.uptime() + Duration::from_millis(50), margin: Duration::from_millis(50) };
    let (_renewals, term) = watch::channel(Some(term));
    let fence = Fence::of(clock, term);
    let error = writer.set_label(&fence, target(), "role", None).await.expect_err("no answer");
    assert!(error.outcome_unknown(), "{error}");
    assert!(clock.uptime() < Duration::from_secs(1), "waited for the whole write timeout");
}

#[tokio::test]
async fn an_event_goes_to_the_namespace_of_its_subject() {
    let (writer, log) = writer(|| Answer::Http(201, json!({ "metadata": {}, "eventTime": null })));
    let Answer::Http(_, stored) = policy(&[]) else { unreachable!() };
    let stored: RedisMemoryPolicy = serde_json::from_value(stored).expect("a policy");
    let about = EventTarget::policy(&stored).with_pod(&POD, &UID);
    let note = EventNote {
        type_: EventType::Warning,
        reason: "RemediationBlocked".into(),
        action: "Evict".into(),
        note: "waits".into(),
    };
    writer.event(&Fence::always(), &about, &note).await.expect("written");
    let sent = log.only();
    assert_eq!(sent.uri, "/apis/events.k8s.io/v1/namespaces/shop/events?");
    assert_eq!(
        sent.body["regarding"],
        json!({ "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy", "name": "sessions", "namespace": "shop" })
    );
    assert_eq!(sent.body["related"]["uid"], "uid-1");
    assert_eq!(sent.body["reportingInstance"], "operator-0");
}

#[rstest]
#[case(Bytes(0), "0")]
#[case(Bytes(MIB), "1Mi")]
#[case(Bytes(MIB + 1), "1048577")]
#[case(Bytes(3 << 30), "3072Mi")]
fn quantities_are_exact(#[case] amount: Bytes, #[case] want: &str) {
    assert_eq!(quantity(amount), want);
}
