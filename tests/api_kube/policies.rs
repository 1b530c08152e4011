//! What is written to a policy: status and journal by two field managers, the finalizer, events.

use k8s_openapi::api::events::v1::Event;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use redis_memory_operator::{
    api::v1alpha1::{FINALIZER, RedisMemoryPolicy, StoredPolicy},
    domain::event::{EventNote, EventType},
    kube_io::{event::EventTarget, fence::Fence, write::WriteError},
};
use serde_json::json;

use crate::sandbox::{Definition, Sandbox, eventually};

const NAME: &str = "sessions";

fn version(policy: &RedisMemoryPolicy) -> String {
    policy.resource_version().expect("a stored policy")
}

/// One test, because the definition is one for the whole cluster.
#[tokio::test]
#[ignore = "needs a Kubernetes API server"]
async fn a_policy_is_written_under_its_version_and_without_force() {
    let _definition = Definition::ensure().await;
    let sandbox = Sandbox::new("policy").await;
    let api = sandbox.api::<RedisMemoryPolicy>();
    let object = json!({ "metadata": { "name": NAME }, "spec": { "selector": { "matchLabels": { "app": "redis" } } } });
    // The API server serves a new definition a moment after it is established.
    let object: RedisMemoryPolicy = serde_json::from_value(with_kind(object)).expect("a policy");
    eventually("the policy is accepted", || async { api.create(&PostParams::default(), &object).await.ok() }).await;

    Box::pin(status_and_journal_do_not_touch_each_other(&sandbox)).await;
    Box::pin(a_stale_version_is_a_conflict(&sandbox)).await;
    what_another_manager_wrote_into_our_status_is_taken_back(&sandbox).await;
    events_are_written_beside_it(&sandbox).await;
    Box::pin(the_finalizer_comes_and_goes_alone(&sandbox)).await;
}

fn with_kind(mut object: serde_json::Value) -> serde_json::Value {
    object["apiVersion"] = json!("redismemory.io/v1alpha1");
    object["kind"] = json!("RedisMemoryPolicy");
    object
}

fn readable(stored: &StoredPolicy) -> RedisMemoryPolicy {
    stored.policy().expect("it can be read").clone()
}

async fn stored(sandbox: &Sandbox) -> RedisMemoryPolicy {
    let stored = sandbox.reader.policy(&sandbox.namespace, NAME).await.expect("an answer").expect("a policy");
    readable(&stored)
}

async fn status_and_journal_do_not_touch_each_other(sandbox: &Sandbox) {
    let (fence, ns) = (Fence::always(), &sandbox.namespace);
    let policy = stored(sandbox).await;
    let status = json!({ "observedGeneration": 1, "summary": { "targets": 3, "reachable": 3, "compliant": 1 } });
    let policy =
        readable(&sandbox.writer.apply_status(&fence, ns, NAME, &version(&policy), status).await.expect("applied"));

    let journal = json!({ "workloads": [{
        "uid": "set-1", "name": "redis", "outcome": "Succeeded", "remediation": "r-1",
        "endedAt": "2026-01-02T03:04:05Z", "generation": 1, "message": "done", "restarts": [],
    }] });
    let policy =
        readable(&sandbox.writer.apply_journal(&fence, ns, NAME, &version(&policy), journal).await.expect("applied"));
    let both = policy.status.clone().expect("a status");
    assert_eq!((both.observed_generation, both.workloads.len()), (Some(1), 1));

    // Each applies its whole set: what is left out is removed, but only of its own.
    let status = json!({ "observedGeneration": 1 });
    let policy =
        readable(&sandbox.writer.apply_status(&fence, ns, NAME, &version(&policy), status).await.expect("applied"));
    let both = policy.status.clone().expect("a status");
    assert_eq!((both.summary, both.workloads.len()), (None, 1));

    let policy =
        readable(&sandbox.writer.apply_journal(&fence, ns, NAME, &version(&policy), json!({})).await.expect("applied"));
    let both = policy.status.expect("a status");
    assert_eq!((both.observed_generation, both.workloads.len()), (Some(1), 0));
}

async fn a_stale_version_is_a_conflict(sandbox: &Sandbox) {
    let (fence, ns) = (Fence::always(), &sandbox.namespace);
    let old = version(&stored(sandbox).await);
    let status = json!({ "observedGeneration": 2 });
    sandbox.writer.apply_status(&fence, ns, NAME, &old, status.clone()).await.expect("applied");
    for result in [
        sandbox.writer.apply_status(&fence, ns, NAME, &old, json!({ "observedGeneration": 3 })).await,
        sandbox.writer.apply_journal(&fence, ns, NAME, &old, json!({ "journal": null })).await,
        sandbox.writer.set_finalizer(&fence, ns, NAME, &old, true).await,
    ] {
        let error = result.expect_err("stale");
        assert!(matches!(error, WriteError::Conflict(_)), "{error:?}");
    }
    // The same again writes nothing: at rest the version stays.
    let before = version(&stored(sandbox).await);
    let policy = readable(&sandbox.writer.apply_status(&fence, ns, NAME, &before, status).await.expect("applied"));
    assert_eq!(version(&policy), before);
}

async fn what_another_manager_wrote_into_our_status_is_taken_back(sandbox: &Sandbox) {
    let (fence, ns) = (Fence::always(), &sandbox.namespace);
    let theirs = with_kind(json!({ "status": { "summary": { "targets": 1, "reachable": 1, "compliant": 1 } } }));
    let params = PatchParams::apply("somebody-else");
    let api = sandbox.api::<RedisMemoryPolicy>();
    let policy = api.patch_status(NAME, &params, &Patch::Apply(&theirs)).await.expect("applied");
    let ours = json!({ "observedGeneration": 2, "summary": { "targets": 3, "reachable": 1, "compliant": 1 } });
    sandbox.writer.apply_status(&fence, ns, NAME, &version(&policy), ours).await.expect("it is ours");
    let summary = stored(sandbox).await.status.and_then(|status| status.summary).expect("our summary");
    assert_eq!(summary.targets, 3);
}

async fn events_are_written_beside_it(sandbox: &Sandbox) {
    let about = EventTarget::policy(&stored(sandbox).await).with_pod(&"redis-0".into(), &"uid-0".into());
    // The API server allows less than 1024 bytes; this is cut, and its line break is gone.
    let sentence = format!("RemediationBlocked:\nthe budget says no {}", "ä".repeat(900));
    for note in [sentence.clone(), sentence, "another reason, same words otherwise".into()] {
        let event =
            EventNote { type_: EventType::Warning, reason: "RemediationBlocked".into(), action: "Evict".into(), note };
        sandbox.writer.event(&Fence::always(), &about, &event).await.expect("written");
    }
    let events = sandbox.api::<Event>().list(&kube::api::ListParams::default()).await.expect("events").items;
    let ours: Vec<_> = events
        .iter()
        .filter(|event| event.regarding.as_ref().is_some_and(|object| object.name.as_deref() == Some(NAME)))
        .collect();
    assert_eq!(ours.len(), 3, "none is folded into another: {ours:#?}");
    assert!(ours.iter().any(|event| event.note.as_deref() == Some("another reason, same words otherwise")));
    let long = ours.iter().filter_map(|event| event.note.as_deref()).find(|note| note.contains("budget"));
    assert!(long.expect("the long note").starts_with("RemediationBlocked: the budget says no ä"));
    let related = ours[0].related.as_ref().expect("a pod");
    assert_eq!((related.kind.as_deref(), related.name.as_deref()), (Some("Pod"), Some("redis-0")));
}

async fn the_finalizer_comes_and_goes_alone(sandbox: &Sandbox) {
    let (fence, ns) = (Fence::always(), &sandbox.namespace);
    let api = sandbox.api::<RedisMemoryPolicy>();
    let theirs = json!({ "metadata": { "finalizers": ["example.com/theirs"] } });
    let policy = api.patch(NAME, &PatchParams::default(), &Patch::Merge(&theirs)).await.expect("patched");
    let policy = readable(&sandbox.writer.set_finalizer(&fence, ns, NAME, &version(&policy), true).await.expect("set"));
    assert_eq!(policy.finalizers(), ["example.com/theirs", FINALIZER]);
    let again =
        readable(&sandbox.writer.set_finalizer(&fence, ns, NAME, &version(&policy), true).await.expect("there"));
    assert_eq!(version(&again), version(&policy), "nothing was written");

    api.delete(NAME, &DeleteParams::default()).await.expect("deletion begins");
    let policy = stored(sandbox).await;
    assert!(policy.metadata.deletion_timestamp.is_some());
    // A policy that is being deleted still takes its journal.
    let journal = sandbox.writer.apply_journal(&fence, ns, NAME, &version(&policy), json!({})).await;
    let policy = readable(&journal.expect("applied"));
    let policy =
        readable(&sandbox.writer.set_finalizer(&fence, ns, NAME, &version(&policy), false).await.expect("removed"));
    assert_eq!(policy.finalizers(), ["example.com/theirs"]);

    let none = json!({ "metadata": { "finalizers": null } });
    api.patch(NAME, &PatchParams::default(), &Patch::Merge(&none)).await.expect("patched");
    assert!(sandbox.reader.policy(ns, NAME).await.expect("an answer").is_none());
    let late = sandbox.writer.apply_status(&fence, ns, NAME, &version(&policy), json!({})).await;
    let error = late.expect_err("deleted");
    assert!(matches!(error, WriteError::Gone(_) | WriteError::Conflict(_)), "{error:?}");
}
