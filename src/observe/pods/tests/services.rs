//! Services: which pods they take, and which are behind them.

use pretty_assertions::assert_eq;

use super::*;

fn slice(endpoints: &Value) -> EndpointSlice {
    let value = json!({ "metadata": {}, "addressType": "IPv4", "endpoints": endpoints });
    serde_json::from_value(value).expect("a slice")
}

fn endpoint(uid: &str, conditions: &Value) -> Value {
    json!({ "addresses": ["10.0.0.1"], "conditions": conditions, "targetRef": { "kind": "Pod", "uid": uid } })
}

fn k8s_service(selector: &Value) -> K8sService {
    serde_json::from_value(json!({ "metadata": { "name": "writes" }, "spec": { "selector": selector } }))
        .expect("a Service")
}

#[test]
fn the_pods_behind_ready_endpoints_are_listed_once() {
    let slices = [
        slice(&json!([
            endpoint("b", &json!({ "ready": true })),
            endpoint("not", &json!({ "ready": false })),
            endpoint("a", &json!({})),
            { "addresses": ["10.9.9.9"] },
            { "addresses": ["10.9.9.9"], "targetRef": { "kind": "Node", "uid": "n" } },
        ])),
        slice(&json!([endpoint("b", &json!({ "ready": true }))])),
    ];
    assert_eq!(ready_pods(&slices), ["a".into(), "b".into()]);
}

#[test]
fn a_service_takes_the_pods_that_have_all_that_it_selects_but_the_role() {
    let labelled = |name: &str, labels: &Value| -> K8sPod {
        serde_json::from_value(json!({ "metadata": { "name": name, "labels": labels } })).expect("a pod")
    };
    let pods = [
        labelled("b", &json!({ "app": "redis", "zone": "b", ROLE: "replica" })),
        labelled("a", &json!({ "app": "redis", "zone": "a" })),
        labelled("cart", &json!({ "app": "cart", "zone": "a", ROLE: "primary" })),
        labelled("bare", &Value::Null),
    ];
    let takes = |selector: &Value| {
        let found = service(&k8s_service(selector), &pods, &role_label());
        found.map(|service| service.takes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    };
    let some = |names: &str| Some(names.to_owned());
    assert_eq!(takes(&json!({ ROLE: "primary", "app": "redis" })), some("a b"));
    assert_eq!(takes(&json!({ "app": "redis", "zone": "a" })), some("a"));
    assert_eq!(takes(&json!({ "zone": "a" })), some("a cart"));
    assert_eq!(takes(&json!({ ROLE: "primary" })), some("a b bare cart"));
    assert_eq!(takes(&json!({ ROLE: "primary", "app": "other" })), None);
    assert_eq!(takes(&json!({})), None);
    assert_eq!(service(&K8sService::default(), &pods, &role_label()), None);
    let mut external = k8s_service(&json!({ "app": "redis" }));
    external.spec.as_mut().expect("a spec").type_ = Some("ExternalName".into());
    assert_eq!(service(&external, &pods, &role_label()), None);
    let found = service(&k8s_service(&json!({ ROLE: "primary", "app": "redis" })), &pods, &role_label()).expect("one");
    assert_eq!((found.name.as_str(), found.role.as_deref()), ("writes", Some("primary")));
}
