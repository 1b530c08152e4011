//! Platforms on which the tests have no cluster: what is rendered fits their rules. None of it was run there.

use pretty_assertions::assert_eq;
use rstest::rstest;
use serde_json::{Value, json};

use crate::helm::{of_kind, render};

/// Everything off, and everything on that adds to a pod.
const SETTINGS: [&[&str]; 2] = [&[], &["replicas=2,acting.resize=true,acting.restart=true,acting.roleLabel=true"]];

/// The pods that an install makes: the operator's, and that of `helm test`.
fn pods(settings: &[&str]) -> Vec<Value> {
    let objects = render(settings);
    let operator = of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"].clone();
    let test = of_kind(&objects, "Pod")[0]["spec"].clone();
    vec![operator, test]
}

fn containers(pod: &Value) -> &Vec<Value> {
    assert!(pod["initContainers"].is_null());
    pod["containers"].as_array().unwrap()
}

/// OpenShift's SCC `restricted-v2` gives each namespace a range of users, and refuses a pod that names another.
#[rstest]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn openshift_no_user_or_group_is_fixed_where_one_is_assigned(#[values(0, 1)] settings: usize) {
    for pod in pods(SETTINGS[settings]) {
        let contexts = containers(&pod).iter().map(|it| &it["securityContext"]).chain([&pod["securityContext"]]);
        for context in contexts {
            for field in ["runAsUser", "runAsGroup", "fsGroup", "supplementalGroups", "seLinuxOptions"] {
                assert!(context[field].is_null(), "{field}: {context}");
            }
        }
        assert_eq!(pod["securityContext"]["seccompProfile"], json!({"type": "RuntimeDefault"}));
    }
    // Elsewhere a value names one.
    for pod in pods(&["podSecurityContext.runAsUser=65532,podSecurityContext.runAsGroup=65532"]) {
        assert_eq!(pod["securityContext"]["runAsUser"], 65532);
    }
}

/// The Pod Security Standard `restricted`, field by field, of which Autopilot's rules for pods are a part.
#[rstest]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn pod_security_and_autopilot_nothing_of_the_node_is_asked_for(#[values(0, 1)] settings: usize) {
    for pod in pods(SETTINGS[settings]) {
        for field in ["hostNetwork", "hostPID", "hostIPC", "hostUsers", "volumes", "nodeName"] {
            assert!(pod[field].is_null(), "{field}");
        }
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        for container in containers(&pod) {
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false);
            assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
            assert!(context["privileged"].is_null() && context["procMount"].is_null());
            let ports = container["ports"].as_array().into_iter().flatten();
            assert!(ports.into_iter().all(|port| port["hostPort"].is_null()));
            // Autopilot bills what is requested, and writes requests where there are none.
            for resource in ["cpu", "memory"] {
                assert!(container["resources"]["requests"][resource].is_string(), "{resource}");
            }
        }
    }
}

/// The values that the chart's README names for Autopilot reach the pods, so that nothing is left for it to write.
#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn autopilot_the_least_sizes_are_a_value() {
    for pod in pods(&["resources.requests.memory=52Mi"]) {
        for container in containers(&pod) {
            assert_eq!(container["resources"]["requests"], json!({"cpu": "50m", "memory": "52Mi"}));
        }
    }
}

#[rstest]
#[case::the_clusters_default(&[], json!({}))]
#[case::ipv4(&["metrics.service.ipFamilyPolicy=SingleStack,metrics.service.ipFamilies={IPv4}"],
    json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}))]
#[case::ipv6(&["metrics.service.ipFamilies={IPv6}"], json!({"ipFamilies": ["IPv6"]}))]
#[case::dual_stack(&["metrics.service.ipFamilyPolicy=PreferDualStack,metrics.service.ipFamilies={IPv6,IPv4}"],
    json!({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"]}))]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn families_of_addresses(#[case] settings: &[&str], #[case] wanted: Value) {
    let objects = render(settings);
    let service = of_kind(&objects, "Service")[0]["spec"].as_object().unwrap();
    let families = service.iter().filter(|(field, _)| field.starts_with("ipFamil"));
    assert_eq!(families.map(|(k, v)| (k.clone(), v.clone())).collect::<Value>(), wanted);
    // Whichever it is, the operator listens on both: src/admin/listen.rs has the test.
    let arguments = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["args"];
    for argument in ["--listen=[::]:8080", "--health-listen=[::]:8081"] {
        assert!(arguments.as_array().unwrap().contains(&json!(argument)), "{arguments}");
    }
}
