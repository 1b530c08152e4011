//! Observe changes nothing, and its plan is what Enforce then does. The chart's alert says that a restart is due, and no
//! longer when it is done; its dashboards show all of it.

use serde_json::{Value, json};

use crate::{
    prelude::*,
    support::{alerts::Alerts, panels, policy::Step, watch::Event},
};

/// The alert that is about a plan.
const DUE: &str = "RedisMemoryRestartDue";

/// What of an object only its owner or a person changes.
fn fixed_part(object: &Value) -> Value {
    let metadata = &object["metadata"];
    json!({
        "spec": object["spec"],
        "labels": metadata["labels"],
        "annotations": metadata["annotations"],
        "generation": metadata["generation"],
        "uid": metadata["uid"],
        "finalizers": metadata["finalizers"],
    })
}

/// The managers that wrote to an object, other than the kubelet and the controller manager by their status.
fn other_managers(object: &Value) -> Vec<String> {
    let fields = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let keepers = ["kubelet", "kube-controller-manager"];
    let others = fields.iter().filter(|entry| !keepers.iter().any(|keeper| entry["manager"] == *keeper));
    others.map(|entry| format!("{} {} {}", entry["manager"], entry["subresource"], entry["time"])).collect()
}

fn state(set: &Redis<'_>) -> Vec<Value> {
    let mut objects = set.pod_objects();
    objects.push(set.space.get(&["statefulset", &set.name, "--show-managed-fields"]));
    objects.push(set.space.get(&["poddisruptionbudget", &set.name, "--show-managed-fields"]));
    objects
}

/// Pods with their managed fields.
fn managers(set: &Redis<'_>) -> Vec<Vec<String>> {
    let selector = format!("app={}", set.name);
    let pods = set.space.get(&["pods", "--selector", &selector, "--show-managed-fields"]);
    pods["items"].as_array().unwrap().iter().map(other_managers).collect()
}

/// What the steps do to pods, as a watch sees it.
fn visible(steps: &[Step]) -> Vec<Event> {
    let event = |step: &Step| match step.kind.as_str() {
        "Evict" => Some(Event::Restart(step.pod.clone())),
        "Switchover" => Some(Event::Switchover(step.pod.clone())),
        _ => None,
    };
    steps.iter().filter_map(event).collect()
}

#[test]
#[ignore = "needs a cluster: make test"]
fn observe_changes_nothing_and_its_plan_is_what_enforce_does() {
    let _operator = operator::usual();
    let space = Space::new("observe");
    // Too little headroom as well: there would be limits to raise.
    let set = Redis::deploy(&space, "redis", 3, &[("MAXMEMORY", "512mb"), ("LIMIT", "564Mi")]);
    set.label_roles();
    // One label is missing: there would be a label to set.
    space.must(&["label", "pod", "redis-2", "redismemory.io/role-"]);
    set.fragment(SMALL_KEYS);
    let alerts = Alerts::watch();
    let (before, writers, configs) = (state(&set), managers(&set), set.configs());

    let policy = Policy::apply(&space, "redis", &[("MODE", "Observe"), ("WASTE", SMALL_WASTE)]);
    let planned = policy.await_plan();
    policy.await_finding("HeadroomInsufficient", "redis-0");
    policy.await_finding("RoleLabelMissing", "redis-2");
    if let Some(alerts) = &alerts {
        alerts.await_firing(DUE, &space.name, "redis");
    }
    throughout(10, || {});
    let after = state(&set);
    assert_eq!(
        after.iter().map(fixed_part).collect::<Vec<_>>(),
        before.iter().map(fixed_part).collect::<Vec<_>>(),
        "pods, StatefulSet and budget are as they were"
    );
    for (before, after) in before.iter().zip(&after) {
        let versions = (&before["metadata"]["resourceVersion"], &after["metadata"]["resourceVersion"]);
        let kind = after["kind"].as_str().unwrap_or("Pod");
        assert!(kind == "Pod" || versions.0 == versions.1, "{kind} was written: {versions:?}");
    }
    assert_eq!(managers(&set), writers, "only kubelet and controller manager wrote to the pods");
    assert_eq!(set.configs(), configs, "no setting was changed");
    let metadata = policy.object()["metadata"].clone();
    assert!(metadata["finalizers"].is_null(), "{metadata}");

    // Now the same in earnest. The label and the limits, which are upkeep and no steps, are settled by the operator.
    let still_planned = policy.await_plan();
    assert_eq!(strip(&still_planned), strip(&planned), "the plan is stable");
    if let Some(alerts) = &alerts {
        // For the dashboards: until now nothing was in the way.
        policy.patch_spec(&json!({"suspend": true}));
        policy.await_blocked("Suspended");
        alerts.await_shown("redis_memory_policy_refusals", &space.name, "redis");
    }
    let watch = PodWatch::of(&set);
    policy.patch_spec(&json!({"mode": "Enforce", "suspend": false}));
    let done = policy.await_journal();
    assert_eq!(strip(&done), strip(&planned), "what Enforce does is what Observe said, with the same reasons");
    policy.await_success(240);
    if let Some(alerts) = &alerts {
        alerts.await_resolved(DUE, &space.name, "redis", ("redis_memory_policy_plan_due", "== 0"));
        panels::have_shown(alerts, &space.name, "redis", &["redis-0", "redis-1", "redis-2"]);
    }
    assert_eq!(watch.events(), visible(&planned), "and it happened in this order");
    let notes = policy.event_notes();
    for step in planned.iter().filter(|step| step.kind == "Evict" || step.kind == "Switchover") {
        assert!(notes.iter().any(|note| note.contains(&step.reason)), "no event says {:?}: {notes:#?}", step.reason);
    }
    assert_eq!(set.container_restarts(), 0);
}

/// Kind, pod and reason.
fn strip(steps: &[Step]) -> Vec<(String, String, Option<String>, String)> {
    steps.iter().map(|s| (s.kind.clone(), s.pod.clone(), s.to.clone(), s.reason.clone())).collect()
}
