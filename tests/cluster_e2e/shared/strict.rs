//! What the chart makes with each combination of its switches is taken by a real API server, field by field, and its pods in a
//! namespace with the Pod Security Standard `restricted`.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::{Value, json};

#[allow(unreachable_pub, reason = "each test file uses its own part")]
#[path = "../../common/chart_values.rs"]
mod chart_values;

use crate::prelude::*;
use chart_values::{combinations, option};

/// Definitions of the Prometheus operator are not in this cluster: tests/chart/strict.rs looks at the fields.
const NOT_HERE: &str = "monitoring.coreos.com/v1";

fn rendered(settings: &[&str]) -> Vec<Value> {
    let mut command = client::script("tests/cluster/helm");
    command.args(["template", "--kube-version", "1.35.0", "r"]).arg(client::path("charts/redis-memory-operator"));
    command.args(settings.iter().flat_map(|setting| option(setting)));
    let text = client::run(command).or_panic("helm template");
    let documents = serde_yaml::Deserializer::from_str(&text);
    documents.map(|it| Value::deserialize(it).unwrap()).filter(|it| !it.is_null()).collect()
}

/// Every object that differs from all others, in this namespace where it has one; and for a Deployment the pod that it makes.
fn objects(namespace: &str) -> Vec<Value> {
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    for mut object in combinations().iter().flat_map(|settings| rendered(settings)) {
        if object["apiVersion"] == NOT_HERE {
            continue;
        }
        if object["metadata"]["namespace"].is_string() {
            object["metadata"]["namespace"] = json!(namespace);
        }
        // Which families there are is the cluster's: the test cluster has one, and refuses the other's name.
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("ipFamilies");
        }
        if object["kind"] == "Deployment" {
            let mut pod = object["spec"]["template"].clone();
            (pod["apiVersion"], pod["kind"]) = (json!("v1"), json!("Pod"));
            (pod["metadata"]["name"], pod["metadata"]["namespace"]) = (json!("of-the-deployment"), json!(namespace));
            found.insert(pod.to_string(), pod);
        }
        found.insert(object.to_string(), object);
    }
    found.into_values().collect()
}

/// What the API server says to objects that it stores nowhere.
fn dry_run(objects: &[Value]) -> Result<String, String> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let server_side = ["apply", "--server-side", "--force-conflicts", "--dry-run=server"];
    let strict = ["--validate=strict", "--filename", "-"];
    client::kubectl_with(&[server_side.as_slice(), &strict].concat(), &list.to_string()).into_result()
}

#[test]
#[ignore = "needs a cluster: make test"]
fn the_api_server_takes_each_combination_of_switches_strictly() {
    // The definition is there, of which the policy of `helm test` is one.
    let _operator = operator::idle();
    let space = Space::new("strict");
    space.must(&["label", "namespace", &space.name, "pod-security.kubernetes.io/enforce=restricted"]);
    // The account that pods name has to be there.
    space.must(&["create", "serviceaccount", "r-redis-memory-operator"]);
    let objects = objects(&space.name);
    let pods = objects.iter().filter(|object| object["kind"] == "Pod").count();
    println!("{} objects of {} combinations, {pods} pods among them", objects.len(), combinations().len());
    assert!(objects.len() > 60 && pods > 8, "{}, {pods}", objects.len());
    let said = dry_run(&objects).unwrap_or_else(|error| panic!("{error}"));
    let taken = said.lines().filter(|line| line.ends_with("(server dry run)")).count();
    assert_eq!(taken, objects.len(), "{said}");

    // It is strict: a field that it does not know, and a pod with too many rights, are refused.
    let of_kind = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap().clone();
    let mut unknown = of_kind("Service");
    unknown["spec"]["prots"] = json!([]);
    assert!(dry_run(&[unknown]).is_err_and(|error| error.contains("prots")));
    let mut pod = of_kind("Pod");
    pod["spec"]["hostNetwork"] = json!(true);
    assert!(dry_run(&[pod]).is_err_and(|error| error.contains("restricted")));
}
