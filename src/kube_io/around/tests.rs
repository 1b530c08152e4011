//! The watches against a stand-in API server, and what is kept of each object.

use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::*;
use crate::kube_io::testing::{Answer, fake, refusal};

fn none() -> KindFailed {
    Arc::new(|_| {})
}

fn list(items: &Value) -> Answer {
    Answer::Http(200, json!({ "metadata": { "resourceVersion": "5" }, "items": items }))
}

fn answer(uri: &str) -> Answer {
    let named = |name: &str| json!({ "metadata": { "name": name, "namespace": "shop", "uid": name } });
    let resource = uri.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    match resource {
        _ if uri.contains("watch=true") => Answer::Silence,
        "statefulsets" => {
            let mut set = named("redis");
            set["spec"] = json!({ "serviceName": "redis", "selector": {}, "template": {} });
            list(&json!([set]))
        }
        "endpointslices" => {
            let mut slices = [named("writes-1"), named("other-1")];
            for (slice, service) in slices.iter_mut().zip(["writes", "other"]) {
                slice["metadata"]["labels"] = json!({ "kubernetes.io/service-name": service });
                slice["addressType"] = json!("IPv4");
                slice["endpoints"] = json!([]);
            }
            list(&json!(slices))
        }
        "poddisruptionbudgets" => refusal(403, "Forbidden", "not these", &json!([])),
        _ => list(&json!([named(resource)])),
    }
}

#[tokio::test]
async fn what_can_be_watched_is_known_and_the_rest_is_not() {
    let (client, log) = fake(|request| answer(&request.uri));
    let around = Around::new(client, "shop", none());
    assert!(around.services().is_none() && log.len() == 0, "nothing is asked for before it is wanted");
    around.begun().await;
    assert_eq!(around.services().map(|all| all.len()), Some(1));
    assert!(around.stateful_set("redis").flatten().is_some());
    assert!(around.stateful_set("other").is_some_and(|set| set.is_none()), "it is known that there is none");
    let slices = around.endpoint_slices(&["writes".to_owned()]).expect("known");
    assert_eq!(slices.into_keys().collect::<Vec<_>>(), ["writes"]);
    assert!(around.disruption_budgets().is_none(), "a refusal says nothing");
    let asked = log.len();
    around.begun().await;
    assert!(log.len() <= asked + 4, "the watches begin once");
}

#[tokio::test]
async fn a_watch_that_failed_is_not_believed_before_it_works_again() {
    let mut shown: Shown<Service> = Shown { objects: HashMap::new(), listing: HashMap::new(), believed: false };
    let service: Service = serde_json::from_value(json!({ "metadata": { "name": "writes" } })).expect("a Service");
    assert!(!take(&mut shown, Event::Init));
    assert!(!take(&mut shown, Event::InitApply(service.clone())), "a list is not known before its end");
    assert!(take(&mut shown, Event::InitDone) && shown.objects.len() == 1);
    shown.believed = false;
    assert!(!take(&mut shown, Event::Init), "a list that begins has not succeeded");
    assert!(take(&mut shown, Event::InitDone) && shown.objects.is_empty(), "what was not listed is gone");
    assert!(take(&mut shown, Event::Apply(service)));
}

#[test]
fn of_a_set_no_variable_is_kept_that_its_command_does_not_name() {
    let container = json!({
        "name": "redis", "image": "redis", "args": ["--maxmemory", "$(MAX)"], "livenessProbe": { "periodSeconds": 3 },
        "env": [
            { "name": "SIZE", "value": "64" }, { "name": "PASSWORD", "value": "canary" },
            { "name": "MAX", "value": "$(SIZE)mb" },
        ],
    });
    let mut set: StatefulSet = serde_json::from_value(json!({
        "metadata": { "name": "redis", "annotations": { "a": "canary", "redismemory.io/hold": "audit" }, "managedFields": [{}] },
        "spec": { "serviceName": "redis", "selector": {}, "replicas": 3,
            "template": { "metadata": { "labels": { "app": "redis" } }, "spec": { "containers": [container] } } },
        "status": { "replicas": 3, "currentRevision": "r-1" },
    }))
    .expect("a StatefulSet");
    prune_set(&mut set);
    let kept = serde_json::to_value(&set).expect("JSON");
    assert!(!kept.to_string().contains("canary") && !kept.to_string().contains("livenessProbe"), "{kept:#}");
    assert_eq!(kept.pointer("/metadata/annotations"), Some(&json!({ "redismemory.io/hold": "audit" })));
    let env = json!([{ "name": "SIZE", "value": "64" }, { "name": "MAX", "value": "$(SIZE)mb" }]);
    assert_eq!(kept.pointer("/spec/template/spec/containers/0/env"), Some(&env));
    assert_eq!(kept.pointer("/spec/template/metadata/labels/app"), Some(&json!("redis")));
    assert_eq!(kept.pointer("/status/currentRevision"), Some(&json!("r-1")));
}
