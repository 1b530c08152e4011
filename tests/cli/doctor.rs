//! `doctor` beside the deployments of `deployments/`, each with the kinds, names, labels and ports of the chart or operator
//! that its first line names, alone and all of them in one namespace.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{
    Selector, SelectorExt as _,
    cel::{Validator, compile_schema},
};
use redis_memory_operator::{
    api::v1alpha1::{self, RedisMemoryPolicy},
    validate::validate,
};
use rstest::rstest;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{Ran, binary, command, fake_api::FakeApi, finish};

const FILES: &[(&str, &str)] = &[
    ("bitnami-static", include_str!("deployments/bitnami-static.yaml")),
    ("bitnami-sentinel", include_str!("deployments/bitnami-sentinel.yaml")),
    ("pod-zero", include_str!("deployments/pod-zero.yaml")),
    ("redis-ha", include_str!("deployments/redis-ha.yaml")),
    ("groundhog2k", include_str!("deployments/groundhog2k.yaml")),
    ("cloudpirates-proxy", include_str!("deployments/cloudpirates-proxy.yaml")),
    ("operators", include_str!("deployments/operators.yaml")),
    ("own", include_str!("deployments/own.yaml")),
];

/// Which pods each policy has to select.
const SETS: &[(&str, &str)] = &[
    ("argo-redis-ha-server", "argo-redis-ha-server-0 argo-redis-ha-server-1 argo-redis-ha-server-2"),
    ("baskets-redis-master", "baskets-redis-master-0"),
    ("bids-redis", "bids-redis-0 bids-redis-1"),
    ("cart-valkey", "cart-valkey-0 cart-valkey-1 cart-valkey-2"),
    ("chat-redis-node", "chat-redis-node-0 chat-redis-node-1 chat-redis-node-2"),
    ("feed-redis", "feed-redis-0 feed-redis-1 feed-redis-2"),
    ("flags-redis", "flags-redis-77f-0"),
    ("games", "rfr-games-0 rfr-games-1"),
    ("left", "left-0"),
    ("mail-redis", "mail-redis-0 mail-redis-1 mail-redis-2"),
    ("maps", "maps-follower-0 maps-follower-1 maps-follower-2 maps-leader-0 maps-leader-1 maps-leader-2"),
    ("news-valkey", "news-valkey-0 news-valkey-1 news-valkey-2"),
    ("orders-redis", "orders-redis-master-0 orders-redis-replicas-0 orders-redis-replicas-1 orders-redis-replicas-2"),
    ("quotes-redis", "quotes-redis-0 quotes-redis-1"),
    ("ranks", "ranks-0 ranks-1"),
    ("right", "right-0 right-1"),
    ("sessions", "sessions-0 sessions-1 sessions-2"),
    ("stock", "stock-0 stock-1"),
    ("tiles", "valkey-tiles-0-0-0 valkey-tiles-0-1-0"),
];

fn documents(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text);
    let read = documents.map(|document| {
        let mut value = serde_yaml::Value::deserialize(document).unwrap();
        value.apply_merge().unwrap();
        serde_json::to_value(value).unwrap()
    });
    read.collect()
}

fn items(list: &Value) -> Vec<Value> {
    list["items"].as_array().unwrap().clone()
}

/// A namespace with what these documents make, as the controllers of Kubernetes would make it.
#[derive(Default)]
struct Shop {
    pods: BTreeMap<String, Value>,
    services: Vec<Value>,
    controllers: Vec<(String, Value)>,
}

impl Shop {
    fn of(files: &[&str]) -> Self {
        let mut shop = Self::default();
        for mut object in files.iter().flat_map(|file| documents(file)).flat_map(|list| items(&list)) {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            object["metadata"]["namespace"] = json!("shop");
            match object["kind"].as_str().unwrap() {
                "Service" => shop.services.push(object),
                "Pod" => shop.pod(&name, &object["metadata"], object.get("spec")),
                "StatefulSet" => shop.stateful_set(&name, object),
                "Deployment" => shop.deployment(&name, &object),
                kind => panic!("{kind} is not known here"),
            }
        }
        shop
    }

    /// A pod; or more labels for one that a controller has made.
    fn pod(&mut self, name: &str, meta: &Value, spec: Option<&Value>) {
        if let Some(made) = self.pods.get_mut(name) {
            for (key, value) in meta["labels"].as_object().unwrap() {
                made["metadata"]["labels"][key] = value.clone();
            }
            return;
        }
        let n = self.pods.len();
        let mut meta = meta.clone();
        for (field, value) in [("name", name), ("namespace", "shop"), ("uid", name), ("resourceVersion", "1")] {
            meta[field] = json!(value);
        }
        let statuses: Vec<Value> = spec.unwrap()["containers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|container| {
                json!({"name": container["name"], "ready": true, "restartCount": 0, "image": "", "imageID": "",
                   "resources": container.get("resources").cloned().unwrap_or_else(|| json!({})),
                   "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}}})
            })
            .collect();
        // An address of the loopback at which nothing listens.
        let status = json!({"phase": "Running", "podIP": format!("127.9.8.{}", n + 1), "containerStatuses": statuses,
                            "conditions": [{"type": "Ready", "status": "True"}]});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status});
        self.pods.insert(name.to_owned(), pod);
    }

    fn stateful_set(&mut self, name: &str, mut set: Value) {
        set["apiVersion"] = json!("apps/v1");
        (set["metadata"]["uid"], set["metadata"]["generation"]) = (json!(format!("set-{name}")), json!(1));
        set["status"] = json!({"replicas": set["spec"]["replicas"], "observedGeneration": 1, "currentRevision": "r1",
                               "updateRevision": "r1"});
        for n in 0..set["spec"]["replicas"].as_u64().unwrap() {
            let pod = format!("{name}-{n}");
            let mut meta = set["spec"]["template"]["metadata"].clone();
            meta["labels"]["statefulset.kubernetes.io/pod-name"] = json!(pod);
            meta["labels"]["apps.kubernetes.io/pod-index"] = json!(n.to_string());
            meta["labels"]["controller-revision-hash"] = json!("r1");
            meta["ownerReferences"] = owned("StatefulSet", name, &format!("set-{name}"));
            self.pod(&pod, &meta, Some(&set["spec"]["template"]["spec"].clone()));
        }
        self.controllers.push((format!("statefulsets/{name}"), set));
    }

    fn deployment(&mut self, name: &str, deployment: &Value) {
        let set = format!("{name}-77f");
        let mut spec = deployment["spec"].clone();
        spec["selector"]["matchLabels"]["pod-template-hash"] = json!("77f");
        spec["template"]["metadata"]["labels"]["pod-template-hash"] = json!("77f");
        for n in 0..spec["replicas"].as_u64().unwrap() {
            let mut meta = spec["template"]["metadata"].clone();
            meta["ownerReferences"] = owned("ReplicaSet", &set, &format!("set-{set}"));
            self.pod(&format!("{set}-{n}"), &meta, Some(&spec["template"]["spec"].clone()));
        }
        let meta = json!({"name": set, "namespace": "shop", "uid": format!("set-{set}"),
                          "ownerReferences": owned("Deployment", name, &format!("deployment-{name}"))});
        let made = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": meta, "spec": spec});
        self.controllers.push((format!("replicasets/{set}"), made));
    }

    fn serve(&self, policies: &[Value]) -> FakeApi {
        let api = FakeApi::start();
        let list = |kind: &str, items: Vec<Value>| json!({"apiVersion": "v1", "kind": kind, "metadata": {"resourceVersion": "1"}, "items": items});
        api.set("/api/v1/namespaces/shop/pods", list("PodList", self.pods.values().cloned().collect()));
        api.set("/api/v1/namespaces/shop/services", list("ServiceList", self.services.clone()));
        let policies = json!({"apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicyList",
                              "metadata": {"resourceVersion": "1"}, "items": policies});
        api.set("/apis/redismemory.io/v1alpha1/namespaces/shop/redismemorypolicies", policies);
        for (path, object) in &self.controllers {
            api.set(&format!("/apis/apps/v1/namespaces/shop/{path}"), object.clone());
        }
        // A Service that follows a role is looked at with its endpoints.
        let slices =
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSliceList", "metadata": {}, "items": []});
        api.set("/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices", slices);
        api
    }

    /// The pods that the selector takes.
    fn taken(&self, selector: &LabelSelector) -> String {
        let selector = Selector::try_from(selector.clone()).unwrap();
        let takes = |pod: &Value| {
            let labels: BTreeMap<String, String> =
                serde_json::from_value(pod["metadata"]["labels"].clone()).unwrap_or_default();
            selector.matches(&labels)
        };
        let names = self.pods.iter().filter(|(_, pod)| takes(pod)).map(|(name, _)| name.as_str());
        names.collect::<Vec<_>>().join(" ")
    }
}

#[allow(clippy::needless_pass_by_value, reason = "literals")]
fn owned(kind: &str, name: &str, uid: &str) -> Value {
    json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}])
}

fn doctor(api: &FakeApi, arguments: &[&str]) -> Ran {
    let mut command = command(binary());
    command.env("KUBECONFIG", api.kubeconfig()).arg("doctor").args(arguments);
    finish(command, "")
}

/// Every document is a policy that `validate` and the definition take.
fn policies(yaml: &str) -> Vec<RedisMemoryPolicy> {
    let crd = serde_json::to_value(v1alpha1::crd()).unwrap();
    let schema = compile_schema(crd.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap());
    let all = documents(yaml).into_iter().map(|document| {
        let ruled = Validator::new().validate_compiled(&schema, &document, None);
        ruled.unwrap_or_else(|errors| panic!("{document}: {errors:?}"));
        let policy: RedisMemoryPolicy = serde_json::from_value(document).unwrap();
        validate(&policy).unwrap_or_else(|problems| panic!("{problems:?}"));
        policy
    });
    all.collect()
}

#[rstest]
#[case("bitnami-static")]
#[case("bitnami-sentinel")]
#[case("pod-zero")]
#[case("redis-ha")]
#[case("groundhog2k")]
#[case("cloudpirates-proxy")]
#[case("operators")]
#[case("own")]
fn a_deployment_is_told_as_it_is(#[case] name: &str) {
    let (_, file) = FILES.iter().find(|(of, _)| *of == name).unwrap();
    let ran = doctor(&Shop::of(&[file]).serve(&[]), &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    insta::assert_snapshot!(format!("doctor_{name}"), ran.out);
}

/// Where a login is wanted its lines are those that `acl` prints for the way in which this set is restarted; else nobody
/// is told to make users.
#[rstest]
#[case::fixed("bitnami-static", &["--role", "observe"], true)]
#[case::sentinel("bitnami-sentinel", &["--role", "act", "--switchover", "sentinel"], true)]
#[case::of_the_sentinels("bitnami-sentinel", &["--role", "sentinel"], true)]
#[case::never_restarted("operators", &["--role", "observe"], true)]
#[case::never_restarted_and_so_nothing_to_act("operators", &["--role", "act", "--switchover", "guarded"], false)]
#[case::no_login("groundhog2k", &["--role", "act", "--switchover", "sentinel"], false)]
fn the_users_that_it_wants_are_printed(#[case] name: &str, #[case] arguments: &[&str], #[case] printed: bool) {
    let (_, file) = FILES.iter().find(|(of, _)| *of == name).unwrap();
    let told = doctor(&Shop::of(&[file]).serve(&[]), &[]).out;
    let mut acl = command(binary());
    acl.arg("acl").args(arguments);
    let wanted = finish(acl, "").out;
    assert!(wanted.starts_with("ACL SETUSER "), "{wanted}");
    let has = told.lines().any(|line| line.trim() == wanted.trim());
    assert_eq!(has, printed, "{wanted} in {told}");
}

/// No role is moved there: no right that only a moved role needs is asked for.
#[test]
fn a_fixed_primary_needs_no_right_to_move_it() {
    let told = doctor(&Shop::of(&[FILES[0].1]).serve(&[]), &[]).out;
    let acts: Vec<&str> = told.lines().filter(|line| line.contains("ACL SETUSER memory-operator")).collect();
    assert!(!acts.is_empty(), "{told}");
    for line in acts {
        assert!(line.contains("+bgsave") && line.contains("+config|set"), "{line}");
        assert!(!line.contains("replicaof") && !line.contains("failover") && !line.contains("pause"), "{line}");
    }
}

#[test]
fn each_policy_takes_exactly_its_set_beside_all_the_others() {
    let files: Vec<&str> = FILES.iter().map(|(_, file)| *file).collect();
    let shop = Shop::of(&files);
    let ran = doctor(&shop.serve(&[]), &["-o", "yaml"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let printed = policies(&ran.out);
    assert!(printed.iter().all(|policy| policy.spec.mode == v1alpha1::Mode::Observe));
    let taken: Vec<(String, String)> = printed
        .iter()
        .map(|policy| (policy.metadata.name.clone().unwrap(), shop.taken(&policy.spec.selector)))
        .collect();
    let expected: Vec<(String, String)> =
        SETS.iter().map(|(name, pods)| ((*name).to_owned(), (*pods).to_owned())).collect();
    pretty_assertions::assert_eq!(taken, expected);
}

/// Consents are comments: with all of them given the document is still a policy.
#[test]
fn the_consents_can_be_given_as_they_stand() {
    let files: Vec<&str> = FILES.iter().map(|(_, file)| *file).collect();
    let ran = doctor(&Shop::of(&files).serve(&[]), &["-o", "yaml"]);
    let consented = ran.out.replace("mode: Observe", "mode: Enforce").replace("\n  # restart:", "\n  restart:");
    let consented = consented.replace("\n  #   ", "\n    ");
    let given = policies(&consented);
    let restarts =
        |allowed: fn(&v1alpha1::Restart) -> bool| given.iter().filter(|it| allowed(&it.spec.restart)).count();
    assert!(given.iter().all(|policy| policy.spec.mode == v1alpha1::Mode::Enforce));
    assert_eq!(restarts(|restart| restart.allow_downtime), 6);
    assert_eq!(restarts(|restart| restart.minimum_synced_replicas == 0), 3);
}

#[test]
fn a_set_that_has_a_policy_gets_no_second_one_and_no_name_twice() {
    let shop = Shop::of(&[FILES[0].1]);
    let existing = |name: &str, instance: &str| {
        json!({"apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
               "metadata": {"name": name, "namespace": "shop", "uid": name},
               "spec": {"selector": {"matchLabels": {"app.kubernetes.io/instance": instance}}}})
    };
    // The name of the set without a policy is taken by a policy for something else.
    let api = shop.serve(&[existing("mine", "orders"), existing("baskets-redis-master", "elsewhere")]);
    let printed = policies(&doctor(&api, &["-o", "yaml"]).out);
    let names: Vec<_> = printed.iter().map(|policy| policy.metadata.name.clone().unwrap()).collect();
    assert_eq!(names, ["baskets-redis-master-2"]);
    let told = doctor(&api, &[]).out;
    assert!(told.contains("Policy mine watches it already: kubectl redis-memory plan mine -n shop"), "{told}");
}

#[test]
fn nothing_found_and_nothing_to_ask_are_said() {
    let ran = doctor(&Shop::default().serve(&[]), &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("namespace shop: no pod runs a Redis server"), "{}", ran.out);
    let ran = doctor(&FakeApi::start(), &[]);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    assert!(ran.err.contains("cannot look: "), "{}", ran.err);
}

/// Meanwhile two ReplicaSets have pods.
#[test]
fn a_deployment_that_is_rolled_out_is_one_set() {
    let mut shop = Shop::of(&[FILES.iter().find(|(name, _)| *name == "groundhog2k").unwrap().1]);
    let new = |old: &Value| serde_json::from_str::<Value>(&old.to_string().replace("77f", "88e")).unwrap();
    let pod = new(&shop.pods["flags-redis-77f-0"]);
    shop.pods.insert("flags-redis-88e-0".to_owned(), pod);
    let (path, set) = shop.controllers.iter().find(|(path, _)| path.starts_with("replicasets/")).unwrap();
    let made = (path.replace("77f", "88e"), new(set));
    shop.controllers.push(made);
    let told = doctor(&shop.serve(&[]), &[]).out;
    assert!(told.contains("flags-redis-77f-0, flags-redis-88e-0, made by Deployment flags-redis\n"), "{told}");
    assert!(!told.contains("fixed primary"), "{told}");
}
