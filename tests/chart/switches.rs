//! What a platform team sets: each switch, and what it makes.

use std::fs;

use pretty_assertions::assert_eq;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    NAME,
    helm::{helm, of_kind, render, root, strings, text},
    strict::identity,
};

fn only<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found = of_kind(objects, kind);
    assert_eq!(found.len(), 1, "{kind}");
    found[0]
}

fn arguments(objects: &[Value]) -> Vec<String> {
    strings(&only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"])
}

const EVERYTHING: &[&str] = &[
    "acting.resize=true,acting.restart=true,acting.roleLabel=true,admission.enabled=true,replicas=2",
    "networkPolicy.enabled=true,metrics.serviceMonitor.enabled=true,dashboards.enabled=true",
    "secretAccess[0].namespace=shop,secretAccess[0].names={redis-auth}",
];

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn watched_namespaces_reach_the_operator_and_the_admission_policy() {
    let flag = |objects: &[Value]| arguments(objects).into_iter().find(|it| it.starts_with("--watch-namespaces"));
    let all = render(&["admission.enabled=true"]);
    assert_eq!(flag(&all), None);
    assert!(only(&all, "ValidatingAdmissionPolicyBinding")["spec"]["matchResources"].is_null());

    let some = render(&["watchNamespaces={shop,cart},admission.enabled=true"]);
    assert_eq!(flag(&some).as_deref(), Some("--watch-namespaces=shop,cart"));
    let of = json!([{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop", "cart"]}]);
    let wanted = json!({"namespaceSelector": {"matchExpressions": of}});
    assert_eq!(only(&some, "ValidatingAdmissionPolicyBinding")["spec"]["matchResources"], wanted);
}

/// The process gets the files, and the monitors ask as it wants to be asked.
#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn metrics_by_tls_reach_the_operator_and_its_monitors() {
    const TLS: &str = "metrics.tls.secretName=metrics-tls,metrics.tls.clients=token";
    let objects = render(&[TLS, "metrics.serviceMonitor.enabled=true"]);
    let args = arguments(&objects);
    let at = args.iter().find_map(|it| it.strip_prefix("--metrics-tls=")).unwrap();
    assert!(args.iter().any(|it| it == "--metrics-clients=token"), "{args:?}");
    let pod = &only(&objects, "Deployment")["spec"]["template"]["spec"];
    let mount = json!([{"name": "metrics-tls", "mountPath": at, "readOnly": true}]);
    assert_eq!(pod["containers"][0]["volumeMounts"], mount);
    assert_eq!(pod["volumes"], json!([{"name": "metrics-tls", "secret": {"secretName": "metrics-tls"}}]));

    let endpoint = &only(&objects, "ServiceMonitor")["spec"]["endpoints"][0];
    assert_eq!(endpoint["scheme"], "https");
    let name = only(&objects, "Service")["metadata"]["name"].as_str().unwrap();
    assert_eq!(endpoint["tlsConfig"]["serverName"], format!("{name}.ops.svc"), "the name of the Service");
    assert_eq!(endpoint["bearerTokenFile"], "/var/run/secrets/kubernetes.io/serviceaccount/token");
    let more = r#"json:metrics.podMonitor.endpoint={"tlsConfig":{"insecureSkipVerify":true},"honorLabels":false}"#;
    let objects = render(&[TLS, "metrics.podMonitor.enabled=true", more]);
    let endpoint = &only(&objects, "PodMonitor")["spec"]["podMetricsEndpoints"][0];
    assert_eq!(endpoint["tlsConfig"]["insecureSkipVerify"], true);
    assert_eq!((&endpoint["honorLabels"], &endpoint["path"]), (&json!(false), &json!("/metrics")));
    assert_eq!(endpoint["bearerTokenFile"], Value::Null, "the Prometheus operator takes no file for pods");
    let plain = render(&["metrics.serviceMonitor.enabled=true"]);
    assert!(!arguments(&plain).iter().any(|it| it.starts_with("--metrics-")));
    let endpoint = json!({"port": "http", "path": "/metrics", "interval": "30s", "honorLabels": true});
    assert_eq!(only(&plain, "ServiceMonitor")["spec"]["endpoints"], json!([endpoint]));
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn common_labels_are_on_every_object_and_take_the_place_of_none() {
    let own = "json:commonLabels={\"team\":\"data\",\"app.kubernetes.io/name\":\"other\"}";
    let (before, after) = (render(EVERYTHING), render(&[EVERYTHING, &[own]].concat()));
    for (before, after) in before.iter().zip(&after) {
        let name = identity(after);
        assert_eq!(after["metadata"]["labels"]["team"], "data", "{name}");
        let labelled = before["metadata"]["labels"]["app.kubernetes.io/name"].is_string();
        let kept = &after["metadata"]["labels"]["app.kubernetes.io/name"];
        assert!(!labelled || kept == "redis-memory-operator", "{name}: {kept}");
    }
    let deployment = &only(&after, "Deployment")["spec"];
    assert_eq!(deployment["template"]["metadata"]["labels"]["team"], "data");
    assert_eq!(deployment["selector"], only(&before, "Deployment")["spec"]["selector"], "it cannot be changed later");
    let pods = render(&[r#"json:podLabels={"a":"b","app.kubernetes.io/name":"other"}"#]);
    let labels = &only(&pods, "Deployment")["spec"]["template"]["metadata"]["labels"];
    assert_eq!((&labels["a"], &labels["app.kubernetes.io/name"]), (&json!("b"), &json!("redis-memory-operator")));
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn more_objects_belong_to_the_release_as_objects_or_as_text() {
    let more = r#"json:extraObjects=[
        {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{ .Release.Name }}-a"}},
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ include \"rmo.fullname\" . }}-b\n"]"#;
    let objects = render(&[more]);
    let names: Vec<_> = of_kind(&objects, "ConfigMap").iter().map(|it| it["metadata"]["name"].clone()).collect();
    assert_eq!(names, ["r-a".to_owned(), format!("{NAME}-b")]);
    assert_eq!(objects.len(), render(&[]).len() + 2);
}

#[rstest]
#[case::as_built(&[], "localhost/redis-memory-operator:0.1.0")]
#[case::registry(&["image.registry=reg.example/team"], "reg.example/team/redis-memory-operator:0.1.0")]
#[case::repository_in_whole(&["image.repository=reg.example/x"], "reg.example/x:0.1.0")]
#[case::both(&["image.registry=reg.example/,image.repository=y/x,image.tag=v2"], "reg.example/y/x:v2")]
#[case::of_a_parent_chart(&["global.imageRegistry=all.example,image.registry=reg.example"], "all.example/redis-memory-operator:0.1.0")]
#[case::by_digest(
    &["image.registry=reg.example,image.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"],
    "reg.example/redis-memory-operator@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn where_the_image_is_from(#[case] settings: &[&str], #[case] wanted: &str) {
    let objects = render(settings);
    let operator = &only(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"];
    let test = &only(&objects, "Pod")["spec"]["containers"][0]["image"];
    assert_eq!((operator, test), (&json!(wanted), &json!(wanted)));
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn the_strategy_and_the_name_service_are_as_asked_for() {
    let usual = render(&[]);
    let deployment = &only(&usual, "Deployment")["spec"];
    assert_eq!(deployment["strategy"], json!({"type": "RollingUpdate"}));
    assert!(deployment["template"]["spec"]["dnsPolicy"].is_null());
    let other = render(&[
        "updateStrategy.rollingUpdate.maxUnavailable=0,updateStrategy.rollingUpdate.maxSurge=50%",
        "dnsPolicy=Default",
    ]);
    let deployment = &only(&other, "Deployment")["spec"];
    assert_eq!(
        deployment["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "50%"}})
    );
    assert_eq!(deployment["template"]["spec"]["dnsPolicy"], "Default");
    assert_eq!(
        only(&render(&["updateStrategy.type=Recreate"]), "Deployment")["spec"]["strategy"],
        json!({"type": "Recreate"})
    );
}

#[rstest]
#[case("ServiceMonitor", "serviceMonitor", "endpoints")]
#[case("PodMonitor", "podMonitor", "podMetricsEndpoints")]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn a_monitor_scrapes_the_operators_pods_at_their_port(
    #[case] kind: &str,
    #[case] value: &str,
    #[case] endpoints: &str,
) {
    assert_eq!(of_kind(&render(&[]), kind).len(), 0, "off unless asked for");
    let on = format!("metrics.{value}.enabled=true,metrics.{value}.interval=7s");
    let objects = render(&[&on, &format!(r#"json:metrics.{value}.labels={{"release":"prometheus"}}"#)]);
    let monitor = only(&objects, kind);
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    let endpoint = json!({"port": "http", "path": "/metrics", "interval": "7s", "honorLabels": true});
    let deployment = &only(&objects, "Deployment")["spec"];
    assert_eq!(monitor["spec"], json!({"selector": deployment["selector"], endpoints: [endpoint]}));
    let ports = deployment["template"]["spec"]["containers"][0]["ports"].as_array().unwrap();
    assert!(ports.iter().any(|port| port["name"] == "http"));
    assert_eq!(only(&objects, "Service")["spec"]["ports"][0]["name"], "http");
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn a_network_policy_lets_scrapers_in_and_health_apart_from_them() {
    assert_eq!(of_kind(&render(&[]), "NetworkPolicy").len(), 0, "off unless asked for");
    let objects = render(&["networkPolicy.enabled=true"]);
    let policy = &only(&objects, "NetworkPolicy")["spec"];
    let wanted = json!({
        "podSelector": only(&objects, "Deployment")["spec"]["selector"],
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": [{"port": "http", "protocol": "TCP"}]}],
    });
    assert_eq!(*policy, wanted, "metrics from everywhere; of health only the node's own kubelet, which always may ask");

    let objects = render(&[
        "networkPolicy.enabled=true",
        r#"json:networkPolicy.metricsFrom=[{"podSelector":{"matchLabels":{"app":"prometheus"}}}]"#,
        r#"json:networkPolicy.healthFrom=[{"ipBlock":{"cidr":"10.0.0.0/8"}}]"#,
        r#"json:networkPolicy.egress=[{"ports":[{"port":53,"protocol":"UDP"}]}]"#,
    ]);
    let policy = &only(&objects, "NetworkPolicy")["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let rule = |port: &str, from: Value| json!({"ports": [{"port": port, "protocol": "TCP"}], "from": [from]});
    let (scrapers, nodes) =
        (json!({"podSelector": {"matchLabels": {"app": "prometheus"}}}), json!({"ipBlock": {"cidr": "10.0.0.0/8"}}));
    assert_eq!(policy["ingress"], json!([rule("http", scrapers), rule("health", nodes)]));
    assert_eq!(policy["egress"], json!([{"ports": [{"port": 53, "protocol": "UDP"}]}]));
}

/// `helm test`: a policy that only looks, and then the operator's own binary, which waits until it was judged.
#[rstest]
#[case::the_whole_cluster(&[], "ops")]
#[case::some_namespaces(&["watchNamespaces={shop,cart}"], "shop")]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn helm_test_asks_for_a_dry_decision(#[case] settings: &[&str], #[case] namespace: &str) {
    let objects = render(settings);
    let (policy, pod) = (only(&objects, "RedisMemoryPolicy"), only(&objects, "Pod"));
    for (order, object) in [("1", policy), ("2", pod)] {
        let annotations = &object["metadata"]["annotations"];
        assert_eq!(
            (&annotations["helm.sh/hook"], &annotations["helm.sh/hook-weight"]),
            (&json!("test"), &json!(order))
        );
    }
    assert_eq!((&policy["metadata"]["namespace"], &policy["spec"]["mode"]), (&json!(namespace), &json!("Observe")));
    let (name, container) = (policy["metadata"]["name"].as_str().unwrap(), &pod["spec"]["containers"][0]);
    let place = format!("--namespace={namespace}");
    assert_eq!(strings(&container["args"]), ["status", name, &place, "--until-done"]);
    assert!(container["command"].is_null(), "the image has no shell");
    // Nothing that the operator's pods are found by, or it would be scraped, and counted as one of them.
    let selector = only(&objects, "Deployment")["spec"]["selector"]["matchLabels"].as_object().unwrap();
    assert!(!selector.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value));
    assert_eq!(pod["spec"]["serviceAccountName"], NAME);
    let operator = &only(&objects, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["spec"]["securityContext"], operator["securityContext"]);
    assert_eq!(container["securityContext"], operator["containers"][0]["securityContext"]);
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn the_binary_knows_the_arguments_of_helm_test() {
    let objects = render(&[]);
    let arguments = strings(&only(&objects, "Pod")["spec"]["containers"][0]["args"]);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_redis-memory-operator"));
    let output = command.args(&arguments).env_clear().env("KUBECONFIG", "/nonexistent").output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("cannot show the status"), "it gets as far as looking for a cluster: {said}");
}

#[rstest]
#[case::the_whole_cluster(&[], &["helm test r --namespace ops\n", "doctor --namespace NAMESPACE", "get redismemorypolicies --all-namespaces",
    "helm upgrade r charts/redis-memory-operator --namespace ops", "kubectl annotate lease r-redis-memory-operator -n ops", "set image.registry"])]
#[case::some_namespaces(&["watchNamespaces={shop,cart},image.registry=reg.example"], &["Only in the namespaces shop, cart",
    "doctor --namespace shop", "get redismemorypolicies --namespace shop"])]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn the_notes_name_the_next_command(#[case] settings: &[&str], #[case] wanted: &[&str]) {
    let output = helm(&["install", "--dry-run=client", "--disable-openapi-validation"], settings);
    let (said, notes) = (text(&output.stderr), text(&output.stdout));
    assert!(output.status.success(), "{said}");
    let notes = notes.split_once("\nNOTES:\n").unwrap().1;
    for words in wanted {
        assert!(notes.contains(words), "no {words:?} in:\n{notes}");
    }
    assert_eq!(notes.contains("no registry serves it"), settings.is_empty());
    assert!(!notes.contains("<no value>") && !notes.contains("{{"), "{notes}");
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn labels_and_annotations_of_the_definition_are_values() {
    let metadata = |settings: &[&str]| only(&render(settings), "CustomResourceDefinition")["metadata"].clone();
    let plain =
        json!({"name": "redismemorypolicies.redismemory.io", "annotations": {"helm.sh/resource-policy": "keep"}});
    assert_eq!(metadata(&[]), plain);
    let more = [r#"json:crds.labels={"a":"b"}"#, r#"json:crds.annotations={"c":"d"}"#];
    let found = metadata(&more);
    assert_eq!(
        (&found["labels"], &found["annotations"]),
        (&json!({"a": "b"}), &json!({"c": "d", "helm.sh/resource-policy": "keep"}))
    );
    let found = metadata(&[&more[..], &["crds.keep=false"]].concat());
    assert_eq!(found["annotations"], json!({"c": "d"}));
}

/// Values of a release before these were there, kept by `--reuse-values`: nothing changes but what is new by itself.
#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn values_of_an_older_release_are_enough() {
    let new = [
        "nodeAccess=null,watchNamespaces=null,aggregateRoles=null,updateStrategy=null,dnsPolicy=null,networkPolicy=null,global=null",
        "dashboards=null,commonLabels=null,extraObjects=null,crds.labels=null,crds.annotations=null,image.registry=null",
        "metrics.podMonitor=null,metrics.prometheusRule=null,metrics.service.ipFamilyPolicy=null,metrics.service.ipFamilies=null,stop=null,budget=null,admission=null",
    ];
    let mut usual = render(&["aggregateRoles=false"]);
    for object in &mut usual {
        if object["kind"] == "Deployment" {
            object["spec"].as_object_mut().unwrap().remove("strategy");
        }
    }
    assert_eq!(render(&new), usual);
}

/// What catalogues show of the chart is about this chart.
#[test]
fn the_charts_metadata_is_about_this_chart() {
    let read = |file: &str| fs::read_to_string(root().join("charts/redis-memory-operator").join(file)).unwrap();
    let chart: Value = serde_yaml::from_str(&read("Chart.yaml")).unwrap();
    assert_eq!(
        (&chart["version"], &chart["appVersion"]),
        (&json!(env!("CARGO_PKG_VERSION")), &json!(env!("CARGO_PKG_VERSION")))
    );
    for field in ["home", "icon", "sources", "maintainers", "keywords", "description"] {
        assert!(!chart[field].is_null(), "{field}");
    }
    assert!(chart["icon"].as_str().unwrap().starts_with("data:image/svg+xml;base64,"), "no server is asked for it");
    let annotation = |name: &str| -> Value {
        let text = chart["annotations"][format!("artifacthub.io/{name}")].as_str().unwrap();
        serde_yaml::from_str(text).unwrap()
    };
    let definition: Value =
        serde_yaml::from_str(&fs::read_to_string(root().join("crds/redismemorypolicies.yaml")).unwrap()).unwrap();
    let crds = annotation("crds");
    let shown = &crds[0];
    assert_eq!(shown["name"], definition["metadata"]["name"]);
    assert_eq!(shown["kind"], definition["spec"]["names"]["kind"]);
    assert_eq!(shown["version"], definition["spec"]["versions"][0]["name"]);
    for example in annotation("crdsExamples").as_array().unwrap() {
        assert_eq!(crate::strict::problems(example), Vec::<String>::new());
    }
    let levels = ["Basic Install", "Seamless Upgrades", "Full Lifecycle", "Deep Insights", "Auto Pilot"];
    assert!(levels.contains(&chart["annotations"]["artifacthub.io/operatorCapabilities"].as_str().unwrap()));
}
