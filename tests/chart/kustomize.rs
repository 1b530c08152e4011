//! config/, for people without Helm: each overlay makes what the chart makes with the values that lie beside it.

use std::{collections::BTreeMap, fs, process::Command};

use pretty_assertions::assert_eq;
use rstest::rstest;
use serde_json::Value;

use crate::{
    helm::{documents, generate_into, root, text},
    rights::is_for_people,
    strict::{identity, problems},
    tool::program,
};

const CONFIG: &str = "config";
const NAME: &str = "redis-memory-operator";
/// What Helm writes for itself, and nobody else reads.
const OF_HELM: [&str; 2] = ["helm.sh/chart", "app.kubernetes.io/managed-by"];
const HEAD: &str = "# Generated from the chart by `make generate`. Do not edit.\n";

type Objects = BTreeMap<String, Value>;

fn by_name(objects: Vec<Value>) -> Objects {
    objects.into_iter().map(|object| (identity(&object), object)).collect()
}

/// Takes keys out of a map of an object, and the map too when nothing else is in it.
fn without(object: &mut Value, map: &str, keys: &[&str]) {
    let Some(parent) = object.as_object_mut() else { return };
    if let Some(fields) = parent.get_mut(map).and_then(Value::as_object_mut) {
        fields.retain(|key, _| !keys.contains(&key.as_str()));
        if fields.is_empty() {
            parent.remove(map);
        }
    }
}

/// What the chart makes with the values of that overlay, without what is Helm's own.
fn of_chart(overlay: &str) -> Objects {
    let values = root().join(CONFIG).join("overlays").join(overlay).join("values.yaml");
    let mut command = Command::new(program("helm"));
    command.env("KUBECONFIG", "/dev/null").args(["template", "--kube-version", "1.35.0", "--namespace", NAME, NAME]);
    let output = command.arg(root().join("charts").join(NAME)).arg("--values").arg(values).output().unwrap();
    assert!(output.status.success(), "{overlay}: {}", text(&output.stderr));
    let mut objects = documents(&text(&output.stdout));
    objects.retain(|object| object["metadata"]["annotations"]["helm.sh/hook"].is_null());
    for object in &mut objects {
        without(&mut object["metadata"], "labels", &OF_HELM);
        without(&mut object["metadata"], "annotations", &["helm.sh/resource-policy"]);
        if object["kind"] == "Deployment" {
            without(&mut object["spec"]["template"]["metadata"], "labels", &OF_HELM);
        }
    }
    by_name(objects)
}

/// What kustomize makes of it.
fn built(overlay: &str) -> Objects {
    let folder = root().join(CONFIG).join("overlays").join(overlay);
    let output = Command::new(program("kubectl")).arg("kustomize").arg(&folder).output().unwrap();
    assert!(output.status.success(), "{overlay}: {}", text(&output.stderr));
    by_name(documents(&text(&output.stdout)))
}

#[rstest]
#[case("read-only", 11)]
#[case("acting", 19)]
#[case("namespaced", 7)]
#[ignore = "needs helm and kubectl (make test builds them, or set HELM and KUBECTL)"]
fn an_overlay_makes_what_the_chart_makes(#[case] overlay: &str, #[case] count: usize) {
    let (chart, mut found) = (of_chart(overlay), built(overlay));
    // Helm makes it by --create-namespace.
    assert!(found.remove(&format!("Namespace /{NAME}")).is_some());
    assert_eq!(chart, found);
    assert_eq!(found.len(), count, "{:?}", found.keys());
    assert_eq!(found.values().flat_map(problems).collect::<Vec<_>>(), Vec::<String>::new());
}

/// The namespaced one stands for people who may make nothing that belongs to no namespace.
#[test]
#[ignore = "needs helm and kubectl (make test builds them, or set HELM and KUBECTL)"]
fn the_namespaced_overlay_has_no_right_on_the_whole_cluster() {
    let found = built("namespaced");
    let whole: Vec<_> = found.values().filter(|object| object["metadata"]["namespace"].is_null()).collect();
    assert_eq!(whole.iter().map(|object| object["kind"].as_str().unwrap()).collect::<Vec<_>>(), ["Namespace"]);
}

/// Which object stands in which file.
fn files() -> Vec<(&'static str, Objects)> {
    let (read_only, acting, namespaced) = (of_chart("read-only"), of_chart("acting"), of_chart("namespaced"));
    let is_base = |object: &Value| object["metadata"]["namespace"] == NAME;
    let only = |from: &Objects, that: &dyn Fn(&str, &Value) -> bool| -> Objects {
        from.iter()
            .filter(|(name, object)| that(name, object))
            .map(|(name, object)| (name.clone(), object.clone()))
            .collect()
    };
    let is_definition = |object: &Value| object["kind"] == "CustomResourceDefinition";
    vec![
        ("base/objects.yaml", only(&read_only, &|_, object| is_base(object))),
        ("crd/people.yaml", only(&read_only, &|_, object| is_for_people(object))),
        (
            "overlays/read-only/rbac.yaml",
            only(&read_only, &|_, object| !is_base(object) && !is_for_people(object) && !is_definition(object)),
        ),
        ("overlays/acting/rbac.yaml", only(&acting, &|name, _| !read_only.contains_key(name))),
        ("overlays/namespaced/rbac.yaml", only(&namespaced, &|name, _| !read_only.contains_key(name))),
    ]
}

/// With RMO_GENERATE_INTO (`make generate`) they are written there instead of being compared.
#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn the_objects_of_config_are_current() {
    let into = generate_into();
    for (file, objects) in files() {
        assert!(!objects.is_empty(), "{file}");
        let parts = objects.values().map(|object| serde_yaml::to_string(object).unwrap()).collect::<Vec<_>>();
        let page = format!("{HEAD}{}", parts.join("---\n"));
        if let Some(into) = &into {
            fs::write(into.join(CONFIG).join(file), page).unwrap();
        } else {
            let found = fs::read_to_string(root().join(CONFIG).join(file)).unwrap();
            assert_eq!(found, page, "{file}: run `make generate` and commit the result");
        }
    }
}

#[test]
fn the_definition_of_config_is_that_of_crds() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    assert!(
        read("config/crd/redismemorypolicies.yaml") == read("crds/redismemorypolicies.yaml"),
        "run `make generate`"
    );
}
