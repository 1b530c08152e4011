//! Each object is one that Kubernetes knows: its type is read and written again, and no field is lost.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::{
        admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
        apps::v1::Deployment,
        core::v1::{ConfigMap, Pod, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use pretty_assertions::assert_eq;
use redis_memory_operator::{api::v1alpha1::RedisMemoryPolicy, validate::validate};
use rstest::rstest;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{chart_values, helm::render};

/// What was written and is not there after its type has read and written it.
fn lost(path: &str, before: &Value, after: Option<&Value>, found: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(fields), Some(after)) => {
            fields.iter().for_each(|(name, value)| lost(&format!("{path}.{name}"), value, after.get(name), found));
        }
        (Value::Array(items), Some(after)) => {
            items.iter().enumerate().for_each(|(n, item)| lost(&format!("{path}[{n}]"), item, after.get(n), found));
        }
        // Quantities are texts, and times too: a type may write what it has read in another form, but never drop it.
        (before, after) if after == Some(before) => {}
        (before, after) => found.push(format!("{path}: {before} became {after:?}")),
    }
}

fn again<T: Serialize + DeserializeOwned>(object: &Value) -> Result<Value, String> {
    let typed: T = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(typed).map_err(|error| error.to_string())
}

/// No field but these.
fn known(fields: &Value, names: &[&str]) -> Result<(), String> {
    let mut all = fields.as_object().into_iter().flatten().map(|(name, _)| name);
    let unknown = all.find(|it| !names.contains(&it.as_str()));
    unknown.map_or(Ok(()), |name| Err(format!("no field {name}")))
}

/// The fields that the Prometheus operator's definitions have and that are used here. Its types are in no crate of ours.
fn monitor(object: &Value, endpoints: &str) -> Result<Value, String> {
    known(object, &["apiVersion", "kind", "metadata", "spec"])?;
    known(&object["spec"], &["selector", endpoints])?;
    known(&object["spec"]["selector"], &["matchLabels"])?;
    for endpoint in object["spec"][endpoints].as_array().ok_or("no endpoints")? {
        known(endpoint, &["port", "path", "interval", "honorLabels", "scheme", "tlsConfig", "bearerTokenFile"])?;
        known(&endpoint["tlsConfig"], &["ca", "cert", "keySecret", "serverName", "insecureSkipVerify"])?;
    }
    Ok(object.clone())
}

/// The same of its rules.
fn rule(object: &Value) -> Result<Value, String> {
    known(object, &["apiVersion", "kind", "metadata", "spec"])?;
    known(&object["spec"], &["groups"])?;
    for group in object["spec"]["groups"].as_array().ok_or("no groups")? {
        known(group, &["name", "rules"])?;
        for rule in group["rules"].as_array().ok_or("no rules")? {
            known(rule, &["alert", "expr", "for", "labels", "annotations"])?;
            let texts = ["labels", "annotations"].map(|map| rule[map].as_object());
            if !texts.iter().all(|map| map.is_some_and(|map| map.values().all(Value::is_string))) {
                return Err(format!("{}: labels and annotations are texts", rule["alert"]));
            }
        }
    }
    Ok(object.clone())
}

fn policy(object: &Value) -> Result<Value, String> {
    let policy: RedisMemoryPolicy = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    validate(&policy).map_err(|problems| format!("{problems:?}"))?;
    serde_json::to_value(policy).map_err(|error| error.to_string())
}

/// What is wrong with an object.
pub(crate) fn problems(object: &Value) -> Vec<String> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let name = format!("{kind} {}", object["metadata"]["name"]);
    let read = match (object["apiVersion"].as_str().unwrap_or_default(), kind) {
        ("v1", "ServiceAccount") => again::<ServiceAccount>(object),
        ("v1", "Service") => again::<Service>(object),
        ("v1", "ConfigMap") => again::<ConfigMap>(object),
        ("v1", "Pod") => again::<Pod>(object),
        ("apps/v1", "Deployment") => again::<Deployment>(object),
        ("policy/v1", "PodDisruptionBudget") => again::<PodDisruptionBudget>(object),
        ("networking.k8s.io/v1", "NetworkPolicy") => again::<NetworkPolicy>(object),
        ("rbac.authorization.k8s.io/v1", "Role") => again::<Role>(object),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => again::<RoleBinding>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => again::<ClusterRole>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => again::<ClusterRoleBinding>(object),
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy") => again::<ValidatingAdmissionPolicy>(object),
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding") => {
            again::<ValidatingAdmissionPolicyBinding>(object)
        }
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition") => again::<CustomResourceDefinition>(object),
        ("redismemory.io/v1alpha1", "RedisMemoryPolicy") => policy(object),
        ("monitoring.coreos.com/v1", "ServiceMonitor") => monitor(object, "endpoints"),
        ("monitoring.coreos.com/v1", "PrometheusRule") => rule(object),
        ("monitoring.coreos.com/v1", "PodMonitor") => monitor(object, "podMetricsEndpoints"),
        (version, kind) => Err(format!("{version} {kind} is not known to this test")),
    };
    let mut found = Vec::new();
    match read {
        Ok(after) => lost(&name, object, Some(&numbers(after, object)), &mut found),
        Err(error) => found.push(format!("{name}: {error}")),
    }
    found
}

/// The bounds of a schema are floats in the Kubernetes types: 10.0 is 10.
fn numbers(after: Value, before: &Value) -> Value {
    match (after, before) {
        (Value::Object(fields), before) => fields
            .into_iter()
            .map(|(name, value)| {
                let value = numbers(value, &before[&name]);
                (name, value)
            })
            .collect(),
        (Value::Array(items), Value::Array(before)) => {
            let none = Value::Null;
            items.into_iter().enumerate().map(|(n, item)| numbers(item, before.get(n).unwrap_or(&none))).collect()
        }
        (Value::Number(number), Value::Number(before)) if number.as_f64() == before.as_f64() => before.clone().into(),
        (after, _) => after,
    }
}

/// Kind, namespace and name of an object.
pub(crate) fn identity(object: &Value) -> String {
    let word = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    format!("{} {}/{}", word("/kind"), word("/metadata/namespace"), word("/metadata/name"))
}

#[rstest]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn each_object_of_each_combination_of_switches_is_one_that_kubernetes_knows(
    #[values(0, 1)] place: usize,
    #[values(0, 1)] acting: usize,
    #[values(0, 1)] admission: usize,
    #[values(0, 1, 2)] monitor: usize,
    #[values(0, 1, 2)] crds: usize,
) {
    let (place, acting) = (chart_values::PLACES[place], chart_values::ACTING[acting]);
    let (admission, monitor) = (chart_values::ADMISSION[admission], chart_values::MONITORS[monitor]);
    let settings = chart_values::settings([place, acting, admission, monitor, chart_values::CRDS[crds]]);
    let objects = render(&settings);
    let found: Vec<String> = objects.iter().flat_map(problems).collect();
    assert_eq!(Vec::<String>::new(), found, "{settings:?}");
    let names: BTreeSet<String> = objects.iter().map(identity).collect();
    assert_eq!(names.len(), objects.len(), "no object is there twice: {settings:?}");
}

#[rstest]
#[case(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": []}}), "spec.prots")]
#[case(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"ports": 1}}), "invalid type")]
#[case(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}), "not known")]
#[case(json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {}, "spec": {"groups": [{"name": "x", "rules": [{"alrt": "x"}]}]}}), "alrt")]
#[case(json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {}, "spec": {"endpoints": []}}), "endpoints")]
fn what_kubernetes_does_not_know_is_seen(#[case] object: Value, #[case] said: &str) {
    let found = problems(&object);
    assert!(found.iter().any(|problem| problem.contains(said)), "{found:?}");
}
