//! Values: each does something, the schema knows it, and what means nothing is refused.

use std::collections::BTreeSet;

use pretty_assertions::{assert_eq, assert_ne};
use rstest::rstest;
use serde_json::Value;

use crate::helm::{refusal, render, root};

#[rstest]
#[case::unknown("surprise=1", "surprise")]
#[case::unknown_nested("acting.delete=true", "delete")]
#[case::wrong_type("acting.restart=perhaps", "/acting/restart")]
#[case::a_budget_below_nothing("budget.maximumRemediations=-1", "/budget/maximumRemediations")]
#[case::a_stop_that_is_no_switch("stop=now", "/stop")]
#[case::duration_without_unit("timing.warmUp=5", "/timing/warmUp")]
#[case::duration_of_no_such_form("timing.sampleInterval=soon", "/timing/sampleInterval")]
#[case::no_pause_between_samples("timing.sampleInterval=0s", "/timing/sampleInterval")]
#[case::no_lease("timing.leaseDuration=0m", "/timing/leaseDuration")]
#[case::no_label("roleLabel.keys={}", "/roleLabel/keys")]
#[case::labels_taken_away("roleLabel.keys=null", "/roleLabel")]
#[case::time_taken_away("timing.warmUp=null", "/timing")]
#[case::bad_label("roleLabel.keys={a b}", "/roleLabel/keys/0")]
#[case::secret_without_names("secretAccess[0].namespace=shop", "names")]
#[case::secret_without_namespace("secretAccess[0].names={redis-auth}", "namespace")]
#[case::namespace_twice(
    "secretAccess[0].namespace=a,secretAccess[0].names={b},secretAccess[1].namespace=a,secretAccess[1].names={c}",
    "lists the namespace a twice"
)]
#[case::secret_of_a_namespace_that_is_not_watched(
    "watchNamespaces={a},secretAccess[0].namespace=b,secretAccess[0].names={c}",
    "the namespace b, which is none of watchNamespaces"
)]
#[case::volumes_of_no_namespace(
    "watchNamespaces={a},acting.restartInPlace=true",
    "acting.restartInPlace reads volumes"
)]
#[case::nodes_of_no_namespace("watchNamespaces={a},nodeAccess=true", "nodeAccess reads nodes")]
#[case::a_right_that_is_no_switch("nodeAccess=get", "/nodeAccess")]
#[case::no_namespace("watchNamespaces={A}", "/watchNamespaces/0")]
#[case::every_pod_twice("metrics.podMonitor.enabled=true,metrics.serviceMonitor.enabled=true", "choose one")]
#[case::a_token_in_plain("metrics.tls.clients=token", "metrics.tls.clients needs metrics.tls.secretName")]
#[case::a_token_in_namespaces(
    "watchNamespaces={a},metrics.tls.secretName=t,metrics.tls.clients=token",
    "token needs a right on the whole cluster"
)]
#[case::clients_of_no_kind("metrics.tls.clients=friends", "/metrics/tls/clients")]
#[case::no_such_strategy("updateStrategy.type=Fast", "/updateStrategy/type")]
#[case::names_by_nobody("dnsPolicy=None", "/dnsPolicy")]
#[case::no_family("metrics.service.ipFamilies={IPv5}", "/metrics/service/ipFamilies/0")]
#[case::no_label_of_dashboards("dashboards.label=a b", "/dashboards/label")]
#[case::dashboards_nowhere("dashboards.namespace=A", "/dashboards/namespace")]
#[case::no_peer("json:networkPolicy.metricsFrom=[{\"pods\":{}}]", "/networkPolicy/metricsFrom/0")]
#[case::limit_that_is_none("json:resources={\"limit\":{}}", "/resources")]
#[case::no_quantity("resources.limits.memory=much", "/resources/limits/memory")]
#[case::no_field_of_a_pod("podSecurityContext.runAsUsr=1", "/podSecurityContext")]
#[case::root_by_a_word("json:securityContext={\"runAsUser\":\"root\"}", "/securityContext/runAsUser")]
#[case::a_label_of_a_number("json:commonLabels={\"a\":1}", "/commonLabels/a")]
#[case::an_object_that_is_none("extraObjects={1}", "/extraObjects/0")]
#[case::account_without_name("serviceAccount.create=false", "serviceAccount.name is required")]
#[case::headroom_of_no_policy("admission.percent=5", "/admission/percent")]
#[case::no_amount("admission.minimum=64MB", "/admission/minimum")]
#[case::no_such_action("admission.action=Delete", "/admission/action")]
#[case::digest("image.digest=latest", "/image/digest")]
#[case::budget_that_forbids_every_drain("podDisruptionBudget.maxUnavailable=0", "/podDisruptionBudget/maxUnavailable")]
#[case::grace_too_short("terminationGracePeriodSeconds=1", "/terminationGracePeriodSeconds")]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn values_that_mean_nothing_are_refused(#[case] setting: &str, #[case] named: &str) {
    let message = refusal(&[setting]);
    assert!(message.contains(named), "{setting} is refused without naming {named}: {message}");
}

/// Maps whose fields are Kubernetes' own: the schema lists them, values.yaml only those that the chart sets.
const KUBERNETES: &[&str] = &["resources", "podSecurityContext", "securityContext", "affinity"];
/// Fields of Kubernetes that the schema knows and values.yaml leaves to it.
const LEFT: &[&str] = &["updateStrategy.rollingUpdate"];

/// The path of every value in values.yaml.
fn value_paths() -> BTreeSet<String> {
    fn walk(prefix: &str, value: &Value, into: &mut BTreeSet<String>) {
        for (key, child) in value.as_object().unwrap() {
            let path = format!("{prefix}{key}");
            if child.as_object().is_some_and(|map| !map.is_empty()) && !KUBERNETES.contains(&path.as_str()) {
                walk(&format!("{path}."), child, into);
            } else {
                into.insert(path);
            }
        }
    }
    let file = root().join("charts/redis-memory-operator/values.yaml");
    let values: Value = serde_yaml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut paths = BTreeSet::new();
    walk("", &values, &mut paths);
    paths
}

/// A value that the schema knows and values.yaml does not show (or the other way round) would surprise somebody.
#[test]
fn values_and_schema_name_the_same_things() {
    fn walk(prefix: &str, schema: &Value, into: &mut BTreeSet<String>) {
        // What parent charts hand down is theirs.
        assert!(prefix == "global." || schema["additionalProperties"] == false, "{prefix} accepts anything");
        for (key, child) in schema["properties"].as_object().unwrap() {
            let path = format!("{prefix}{key}");
            if KUBERNETES.contains(&path.as_str()) {
                assert_eq!(child["additionalProperties"], false, "{path} accepts anything");
                into.insert(path);
            } else if child["properties"].is_object() && !LEFT.contains(&path.as_str()) {
                walk(&format!("{path}."), child, into);
            } else if !LEFT.contains(&path.as_str()) {
                into.insert(path);
            }
        }
    }
    let file = root().join("charts/redis-memory-operator/values.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut in_schema = BTreeSet::new();
    walk("", &schema, &mut in_schema);
    assert_eq!(value_paths(), in_schema);
}

/// For each value another one than its default; `with` is what must be on for the value to matter.
pub(crate) const OTHER_VALUES: &[(&str, &str, &str)] = &[
    ("acting.resize", "true", ""),
    ("acting.restart", "true", ""),
    ("acting.restartInPlace", "true", ""),
    ("acting.roleLabel", "true", ""),
    ("roleLabel.keys", "{a.example/role}", "acting.roleLabel=true"),
    ("secretAccess", r#"[{"namespace":"shop","names":["redis-auth"]}]"#, ""),
    ("nodeAccess", "true", ""),
    ("watchNamespaces", "{shop,cart}", ""),
    ("aggregateRoles", "false", ""),
    ("crds.install", "false", ""),
    ("crds.keep", "false", ""),
    ("crds.annotations", r#"{"a":"b"}"#, ""),
    ("crds.labels", r#"{"a":"b"}"#, ""),
    ("global.imageRegistry", "registry.example", ""),
    ("image.registry", "registry.example", ""),
    ("image.repository", "registry.example/x", ""),
    ("image.tag", "9.9.9", ""),
    ("image.digest", "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", ""),
    ("image.pullPolicy", "Always", ""),
    ("imagePullSecrets", r#"[{"name":"pull"}]"#, ""),
    ("admission.enabled", "true", ""),
    ("admission.percent", "75", "admission.enabled=true"),
    ("admission.minimum", "128Mi", "admission.enabled=true"),
    ("admission.action", "Warn", "admission.enabled=true"),
    ("replicas", "2", ""),
    ("updateStrategy.type", "Recreate", ""),
    ("stop", "true", ""),
    ("budget.maximumRemediations", "3", ""),
    ("budget.maximumRestartsPerHour", "9", ""),
    ("podDisruptionBudget.enabled", "false", "replicas=2"),
    ("podDisruptionBudget.maxUnavailable", "50%", "replicas=2"),
    ("spreadReplicas", "false", "replicas=2"),
    ("timing.leaseDuration", "20s", ""),
    ("timing.leaseRenew", "1s", ""),
    ("timing.sampleInterval", "1s", ""),
    ("timing.warmUp", "1s", ""),
    ("timing.proofSettle", "1s", ""),
    ("timing.proofTimeout", "1s", ""),
    ("timing.endpointSync", "1s", ""),
    ("switchover", "native", ""),
    ("log.format", "text", ""),
    ("log.level", "debug", ""),
    ("metrics.service.enabled", "false", ""),
    ("metrics.service.port", "9090", ""),
    ("metrics.service.annotations", r#"{"a":"b"}"#, ""),
    ("metrics.service.ipFamilyPolicy", "PreferDualStack", ""),
    ("metrics.service.ipFamilies", "{IPv6}", ""),
    ("metrics.tls.secretName", "metrics-tls", ""),
    ("metrics.tls.clients", "token", "metrics.tls.secretName=metrics-tls"),
    ("metrics.podMonitor.enabled", "true", ""),
    ("metrics.podMonitor.interval", "5s", "metrics.podMonitor.enabled=true"),
    ("metrics.podMonitor.labels", r#"{"a":"b"}"#, "metrics.podMonitor.enabled=true"),
    ("metrics.podMonitor.endpoint", r#"{"scrapeTimeout":"5s"}"#, "metrics.podMonitor.enabled=true"),
    ("metrics.prometheusRule.enabled", "true", ""),
    ("metrics.prometheusRule.labels", r#"{"a":"b"}"#, "metrics.prometheusRule.enabled=true"),
    ("metrics.prometheusRule.disabled", "{RedisMemoryForkSlow}", "metrics.prometheusRule.enabled=true"),
    ("metrics.prometheusRule.runbookUrl", "https://wiki.example", "metrics.prometheusRule.enabled=true"),
    ("dashboards.enabled", "true", ""),
    ("dashboards.label", "example/board", "dashboards.enabled=true"),
    ("dashboards.labelValue", "yes", "dashboards.enabled=true"),
    ("dashboards.folder", "Redis", "dashboards.enabled=true"),
    ("dashboards.annotations", r#"{"a":"b"}"#, "dashboards.enabled=true"),
    ("dashboards.namespace", "monitoring", "dashboards.enabled=true"),
    ("networkPolicy.enabled", "true", ""),
    ("networkPolicy.metricsFrom", r#"[{"podSelector":{}}]"#, "networkPolicy.enabled=true"),
    ("networkPolicy.healthFrom", r#"[{"podSelector":{}}]"#, "networkPolicy.enabled=true"),
    ("networkPolicy.egress", r#"[{"ports":[{"port":53}]}]"#, "networkPolicy.enabled=true"),
    ("metrics.serviceMonitor.enabled", "true", ""),
    ("metrics.serviceMonitor.interval", "5s", "metrics.serviceMonitor.enabled=true"),
    ("metrics.serviceMonitor.labels", r#"{"a":"b"}"#, "metrics.serviceMonitor.enabled=true"),
    ("metrics.serviceMonitor.endpoint", r#"{"scrapeTimeout":"5s"}"#, "metrics.serviceMonitor.enabled=true"),
    ("serviceAccount.create", "false", "serviceAccount.name=own"),
    ("serviceAccount.name", "own", ""),
    ("serviceAccount.annotations", r#"{"a":"b"}"#, ""),
    ("resources", r#"{"limits":{"memory":"1Gi"}}"#, ""),
    ("podSecurityContext", r#"{"runAsUser":1}"#, ""),
    ("securityContext", r#"{"privileged":true}"#, ""),
    ("terminationGracePeriodSeconds", "60", ""),
    ("dnsPolicy", "Default", ""),
    ("priorityClassName", "high", ""),
    ("nodeSelector", r#"{"a":"b"}"#, ""),
    ("tolerations", r#"[{"operator":"Exists"}]"#, ""),
    ("affinity", r#"{"nodeAffinity":{}}"#, ""),
    ("topologySpreadConstraints", r#"[{"maxSkew":1}]"#, ""),
    ("podAnnotations", r#"{"a":"b"}"#, ""),
    ("podLabels", r#"{"a":"b"}"#, ""),
    ("extraEnv", r#"[{"name":"A","value":"b"}]"#, ""),
    ("extraArgs", r#"["--sample-interval=1s"]"#, ""),
    ("extraVolumes", r#"[{"name":"v","emptyDir":{}}]"#, ""),
    ("extraVolumeMounts", r#"[{"name":"v","mountPath":"/v"}]"#, ""),
    ("nameOverride", "other", ""),
    ("fullnameOverride", "other", ""),
    ("commonLabels", r#"{"a":"b"}"#, ""),
    ("extraObjects", r#"[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"more"}}]"#, ""),
];

/// What must be on for a row of [`OTHER_VALUES`] to matter, and its setting.
pub(crate) fn setting<'a>(path: &str, other: &str, with: &'a str) -> (Vec<&'a str>, String) {
    let is_json = other.starts_with(['[', '{']) && other.contains('"');
    let changed = if is_json { format!("json:{path}={other}") } else { format!("{path}={other}") };
    (with.split(' ').filter(|it| !it.is_empty()).collect(), changed)
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn every_value_does_something() {
    let listed: BTreeSet<String> = OTHER_VALUES.iter().map(|(path, ..)| (*path).to_owned()).collect();
    assert_eq!(value_paths(), listed, "OTHER_VALUES lists each value once");
    for (path, other, with) in OTHER_VALUES {
        let (before, changed) = setting(path, other, with);
        let after = [before.as_slice(), &[changed.as_str()]].concat();
        assert_ne!(render(&before), render(&after), "{path} does nothing");
    }
}
