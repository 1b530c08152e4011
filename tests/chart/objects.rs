//! What is rendered: the definition, the pod, replicas, the admission policy, the monitor, the notes.

use std::process::Command;

use pretty_assertions::assert_eq;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    NAME,
    helm::{documents, helm, of_kind, refusal, render, root, text},
};

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn the_definition_is_installed_and_kept_as_the_values_say() {
    let keep = |objects: &[Value]| {
        of_kind(objects, "CustomResourceDefinition")
            .first()
            .map(|crd| crd["metadata"]["annotations"]["helm.sh/resource-policy"].clone())
    };
    assert_eq!(Some(json!("keep")), keep(&render(&[])));
    assert_eq!(Some(Value::Null), keep(&render(&["crds.keep=false"])));
    assert_eq!(None, keep(&render(&["crds.install=false"])));
    // Helm never upgrades what is in a chart's own crds/ folder.
    assert!(!root().join("charts/redis-memory-operator/crds").exists());
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn the_pod_is_restricted() {
    let objects = render(&[]);
    let deployment = of_kind(&objects, "Deployment")[0];
    assert_eq!(deployment["spec"]["replicas"], 1);
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(
        pod["securityContext"],
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}),
        "the user is the image's, or the platform's"
    );
    let container = &pod["containers"][0];
    assert_eq!(
        container["securityContext"],
        json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}})
    );
    assert!(container["resources"]["limits"]["memory"].is_string());
    assert!(pod["volumes"].is_null(), "nothing is mounted but the token");
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod[field].is_null(), "{field}");
    }
    assert_eq!(of_kind(&objects, "ServiceAccount")[0]["automountServiceAccountToken"], false);
    assert_eq!(container["livenessProbe"]["httpGet"], json!({"path": "/livez", "port": "health"}));
    assert_eq!(container["readinessProbe"]["httpGet"], json!({"path": "/readyz", "port": "health"}));
}

/// What keeps several replicas apart and drains them one at a time; nothing of it for a single one, whose budget
/// would only stand in the way of a drain.
#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn several_replicas_are_spread_and_drained_one_at_a_time() {
    let alone = render(&[]);
    assert_eq!(of_kind(&alone, "PodDisruptionBudget").len(), 0);
    let pod = &of_kind(&alone, "Deployment")[0]["spec"]["template"]["spec"];
    assert!(pod["affinity"].is_null() && pod["topologySpreadConstraints"].is_null());

    let two = render(&["replicas=2"]);
    let deployment = &of_kind(&two, "Deployment")[0]["spec"];
    let selector = &deployment["selector"]["matchLabels"];
    let budget = &of_kind(&two, "PodDisruptionBudget")[0]["spec"];
    assert_eq!((&budget["maxUnavailable"], &budget["selector"]["matchLabels"]), (&json!(1), selector));
    let pod = &deployment["template"]["spec"];
    let apart = json!({
        "weight": 100,
        "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": selector}},
    });
    let wanted = json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [apart]}});
    assert_eq!(pod["affinity"], wanted, "preferred: a second replica on a single node is better than none");
    let zones = json!([{
        "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector},
    }]);
    assert_eq!(pod["topologySpreadConstraints"], zones);

    let own = render(&["replicas=2", r#"json:affinity={"nodeAffinity":{"a":"b"}}"#]);
    let pod = &of_kind(&own, "Deployment")[0]["spec"]["template"]["spec"];
    assert_eq!(pod["affinity"], json!({"nodeAffinity": {"a": "b"}}), "a person's own takes its place");
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn the_admission_policy_is_about_the_operator_and_the_listed_labels_only() {
    let objects = render(&["acting.roleLabel=true", "roleLabel.keys={a.example/role,b}", "serviceAccount.name=who"]);
    let spec = &of_kind(&objects, "ValidatingAdmissionPolicy")[0]["spec"];
    assert_eq!(spec["failurePolicy"], "Fail");
    assert_eq!(
        spec["matchConditions"][0]["expression"],
        r#"request.userInfo.username == "system:serviceaccount:ops:who""#
    );
    assert_eq!(spec["variables"][0], json!({"name": "allowed", "expression": r#"["a.example/role","b"]"#}));
    let binding = &of_kind(&objects, "ValidatingAdmissionPolicyBinding")[0]["spec"];
    assert_eq!(*binding, json!({"policyName": format!("{NAME}-role-label"), "validationActions": ["Deny"]}));
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn the_monitor_is_off_unless_asked_for() {
    assert_eq!(0, of_kind(&render(&[]), "ServiceMonitor").len());
    assert_eq!(1, of_kind(&render(&["metrics.serviceMonitor.enabled=true"]), "ServiceMonitor").len());
    let message = refusal(&["metrics.serviceMonitor.enabled=true,metrics.service.enabled=false"]);
    assert!(message.contains("metrics.service.enabled"), "{message}");
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn the_notes_say_what_is_switched_on() {
    let output = helm(
        &["install", "--dry-run=client", "--disable-openapi-validation"],
        &["acting.restart=true,nodeAccess=true"],
    );
    let notes = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(notes.contains("(acting.restart)     yes"), "{notes}");
    assert!(notes.contains("(acting.resize)    no"), "{notes}");
    assert!(notes.contains("(nodeAccess)        yes"), "{notes}");
    assert!(notes.contains("acting.restart without acting.roleLabel"), "{notes}");
}

/// The policy about headroom is one text: what the chart renders is what `admission` prints.
#[rstest]
#[case::as_it_is("admission.enabled=true", &[])]
#[case::by_values(
    "admission.enabled=true,admission.percent=75,admission.minimum=128Mi,admission.action=Warn",
    &["--percent", "75", "--minimum", "128Mi", "--action", "warn"]
)]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn the_headroom_policy_is_what_the_command_line_prints(#[case] values: &str, #[case] flags: &[&str]) {
    let name = format!("{NAME}-headroom");
    let mut command = Command::new(env!("CARGO_BIN_EXE_redis-memory-operator"));
    let printed = command.args(["admission", "--name", &name]).args(flags).output().unwrap();
    let printed = documents(&text(&printed.stdout));
    let rendered = render(&[values]);
    assert_eq!(printed.len(), 2);
    for object in &printed {
        let kind = object["kind"].as_str().unwrap();
        let mut same = of_kind(&rendered, kind)[0].clone();
        let labels = same["metadata"].as_object_mut().unwrap().remove("labels");
        assert!(labels.is_some(), "the chart's objects have its labels");
        assert_eq!(same, *object, "{kind}");
    }
    assert_eq!(of_kind(&render(&[]), "ValidatingAdmissionPolicy").len(), 0, "off by default");
}
