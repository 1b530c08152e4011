//! The Helm chart: rights, security context, switches. Most tests render it, and so need helm:
//! `make test` builds it, or set HELM to a helm 4 (or 3.16 and newer).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of a test are test code")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use pretty_assertions::assert_eq;
use redis_memory_operator::kube_io::rights::{RIGHTS, Role};
use rstest::rstest;
use serde::Deserialize;
use serde_json::{Value, json};

const NAME: &str = "r-redis-memory-operator";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `$HELM`, else the one that the test cluster's tool set builds.
#[allow(clippy::disallowed_methods, reason = "a test's own setting")]
fn helm_program() -> PathBuf {
    if let Ok(path) = std::env::var("HELM") {
        return path.into();
    }
    let tools = root().join("tests/cluster/tools");
    let built = Command::new(&tools).arg("helm").output().unwrap();
    assert!(built.status.success(), "set HELM; tests/cluster/tools helm: {}", text(&built.stderr));
    text(&built.stdout).split_whitespace().last().unwrap().into()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs helm on the chart as release `r` in namespace `ops`, without any cluster. Settings are `path=value`, or
/// `json:path=value` for lists and maps.
fn helm(verb: &[&str], settings: &[&str]) -> Output {
    let mut command = Command::new(helm_program());
    command.env("KUBECONFIG", "/dev/null").args(verb).arg("r").arg(root().join("charts/redis-memory-operator"));
    command.args(["--namespace", "ops"]);
    for setting in settings {
        match setting.strip_prefix("json:") {
            Some(setting) => command.args(["--set-json", setting]),
            None => command.args(["--set", setting]),
        };
    }
    command.output().unwrap()
}

fn render(settings: &[&str]) -> Vec<Value> {
    let output = helm(&["template", "--kube-version", "1.35.0"], settings);
    assert!(output.status.success(), "helm template {settings:?}: {}", text(&output.stderr));
    serde_yaml::Deserializer::from_str(&text(&output.stdout))
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|object| !object.is_null())
        .collect()
}

fn refusal(settings: &[&str]) -> String {
    let output = helm(&["template"], settings);
    assert!(!output.status.success(), "helm accepted {settings:?}");
    text(&output.stderr)
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().map_or_else(Vec::new, |items| items.iter().map(|item| item.as_str().unwrap().to_owned()).collect())
}

/// Every right in the given objects, one line each: `ClusterRole NAME: GROUP/RESOURCE [of NAMES] VERB`.
fn rights(objects: &[Value]) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for role in objects.iter().filter(|object| object["kind"] == "ClusterRole" || object["kind"] == "Role") {
        let place = role["metadata"]["namespace"].as_str().map_or_else(String::new, |it| format!(" in {it}"));
        let role_name =
            format!("{} {}{place}", role["kind"].as_str().unwrap(), role["metadata"]["name"].as_str().unwrap());
        for rule in role["rules"].as_array().unwrap() {
            let names = strings(&rule["resourceNames"]);
            let only = if names.is_empty() { String::new() } else { format!(" of {}", names.join(",")) };
            for group in strings(&rule["apiGroups"]) {
                for resource in strings(&rule["resources"]) {
                    for verb in strings(&rule["verbs"]) {
                        lines.insert(format!("{role_name}: {group}/{resource}{only} {verb}"));
                    }
                }
            }
        }
    }
    lines
}

/// Rights that the operator must never have, whatever is switched on.
fn forbidden(rights: &BTreeSet<String>) -> Vec<&String> {
    let never = |line: &str| {
        let right = line.split_once(": ").unwrap().1;
        let verb = right.rsplit(' ').next().unwrap();
        right.contains('*')
            || ["delete", "deletecollection", "impersonate", "bind", "escalate"].contains(&verb)
            || ["pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers"]
                .iter()
                .any(|resource| right.contains(resource))
            || (right.contains("/secrets") && !right.contains("/secrets of "))
            || (right.contains("/secrets") && verb != "get")
            || (line.starts_with("ClusterRole") && right.contains("/secrets"))
            || (right.starts_with("/pods ") && ["create", "update"].contains(&verb))
    };
    rights.iter().filter(|line| never(line)).collect()
}

/// The rights of the requests in `kube_io` that those roles of the chart give, as lines of [`rights`].
fn table(roles: &[Role]) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for right in RIGHTS.iter().filter(|right| roles.contains(&right.role)) {
        let role = match right.role {
            Role::Base => format!("ClusterRole {NAME}"),
            Role::Leader => format!("Role {NAME}-leader in ops"),
            Role::Resize => format!("ClusterRole {NAME}-resize"),
            Role::Restart => format!("ClusterRole {NAME}-restart"),
            Role::InPlace => format!("ClusterRole {NAME}-in-place"),
            Role::RoleLabel => format!("ClusterRole {NAME}-role-label"),
            Role::Secrets => format!("Role {NAME}-secrets in shop"),
        };
        let only = match right.role {
            _ if !right.by_name => String::new(),
            Role::Secrets => " of redis-auth".to_owned(),
            _ => format!(" of {NAME}"),
        };
        for verb in right.verbs {
            lines.insert(format!("{role}: {}/{}{only} {verb}", right.group, right.resource));
        }
    }
    lines
}

#[rstest]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn rights_equal_the_table_for_each_combination_of_switches(
    #[values(false, true)] resize: bool,
    #[values(false, true)] restart: bool,
    #[values(false, true)] in_place: bool,
    #[values(false, true)] role_label: bool,
) {
    let mut roles = vec![Role::Base, Role::Leader, Role::Secrets];
    for (on, role) in
        [(resize, Role::Resize), (restart, Role::Restart), (in_place, Role::InPlace), (role_label, Role::RoleLabel)]
    {
        if on {
            roles.push(role);
        }
    }
    let settings = [
        format!("acting.resize={resize}"),
        format!("acting.restart={restart}"),
        format!("acting.restartInPlace={in_place}"),
        format!("acting.roleLabel={role_label}"),
        "secretAccess[0].namespace=shop,secretAccess[0].names={redis-auth}".to_owned(),
    ];
    let objects = render(&settings.iter().map(String::as_str).collect::<Vec<_>>());

    let rendered = rights(&objects);
    assert_eq!(table(&roles), rendered, "the chart gives what kube_io asks for, and nothing else");
    assert_eq!(Vec::<&String>::new(), forbidden(&rendered));
    let narrowing = usize::from(role_label);
    assert_eq!(narrowing, of_kind(&objects, "ValidatingAdmissionPolicy").len());
    assert_eq!(narrowing, of_kind(&objects, "ValidatingAdmissionPolicyBinding").len());
}

#[rstest]
#[case("ClusterRole x: /pods delete")]
#[case("ClusterRole x: /pods *")]
#[case("ClusterRole x: */pods get")]
#[case("ClusterRole x: /pods/exec create")]
#[case("ClusterRole x: /pods update")]
#[case("ClusterRole x: /secrets get")]
#[case("ClusterRole x: /secrets of a get")]
#[case("Role x in ops: /secrets get")]
#[case("Role x in ops: /secrets of a list")]
#[case("ClusterRole x: rbac.authorization.k8s.io/clusterroles bind")]
fn forbidden_rights_are_seen(#[case] line: &str) {
    let rights = BTreeSet::from([line.to_owned()]);
    assert_eq!(1, forbidden(&rights).len(), "{line}");
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn every_role_is_bound_to_the_operator_and_to_nobody_else() {
    let objects = render(&[
        "acting.resize=true,acting.restart=true,acting.restartInPlace=true,acting.roleLabel=true",
        "secretAccess[0].namespace=shop,secretAccess[0].names={redis-auth}",
    ]);
    let mut roles = BTreeSet::new();
    let mut bound = BTreeSet::new();
    for object in &objects {
        let kind = object["kind"].as_str().unwrap();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        if kind == "Role" || kind == "ClusterRole" {
            roles.insert((kind.to_owned(), namespace, object["metadata"]["name"].as_str().unwrap().to_owned()));
        } else if let Some(bound_kind) = kind.strip_suffix("Binding").filter(|it| it.ends_with("Role")) {
            let to = &object["roleRef"];
            assert_eq!(to["kind"], bound_kind);
            assert_eq!(
                object["subjects"],
                json!([{"kind": "ServiceAccount", "name": NAME, "namespace": "ops"}]),
                "{kind} {}",
                object["metadata"]["name"]
            );
            bound.insert((bound_kind.to_owned(), namespace, to["name"].as_str().unwrap().to_owned()));
        }
    }
    assert_eq!(roles, bound);
    assert_eq!(7, roles.len(), "base, leader, four acting roles, one for Secrets: {roles:?}");
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn secrets_are_read_only_where_they_are_listed_and_by_name() {
    assert!(!rights(&render(&[])).iter().any(|right| right.contains("secrets")));

    let objects = render(&[
        "secretAccess[0].namespace=shop,secretAccess[0].names={redis-auth,redis-other}",
        "secretAccess[1].namespace=cart,secretAccess[1].names={auth}",
    ]);
    let secrets: Vec<_> = rights(&objects).into_iter().filter(|right| right.contains("secrets ")).collect();
    assert_eq!(
        secrets,
        [
            format!("Role {NAME}-secrets in cart: /secrets of auth get"),
            format!("Role {NAME}-secrets in shop: /secrets of redis-auth,redis-other get"),
        ]
    );
}

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
#[case::account_without_name("serviceAccount.create=false", "serviceAccount.name is required")]
#[case::digest("image.digest=latest", "/image/digest")]
#[case::budget_that_forbids_every_drain("podDisruptionBudget.maxUnavailable=0", "/podDisruptionBudget/maxUnavailable")]
#[case::grace_too_short("terminationGracePeriodSeconds=1", "/terminationGracePeriodSeconds")]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn values_that_mean_nothing_are_refused(#[case] setting: &str, #[case] named: &str) {
    let message = refusal(&[setting]);
    assert!(message.contains(named), "{setting} is refused without naming {named}: {message}");
}

fn operator_arguments(objects: &[Value]) -> Vec<String> {
    strings(&of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["args"])
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn the_binary_knows_every_flag_and_variable_that_the_chart_sets() {
    let objects = render(&[]);
    let help = Command::new(env!("CARGO_BIN_EXE_redis-memory-operator")).args(["run", "--help"]).output().unwrap();
    let help = text(&help.stdout);
    let arguments = operator_arguments(&objects);
    assert_eq!(arguments[0], "run");
    for argument in &arguments[1..] {
        let flag = argument.split('=').next().unwrap();
        assert!(help.contains(&format!("{flag} ")), "no flag {flag} in:\n{help}");
    }
    let container = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0];
    for variable in container["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        assert!(help.contains(name), "no variable {name} in:\n{help}");
    }
}

/// Starts the operator with these arguments and no cluster to find: it gets as far as looking for one.
fn starts(arguments: &[String]) {
    let output = Command::new(env!("CARGO_BIN_EXE_redis-memory-operator"))
        .args(arguments)
        .env_clear()
        .envs([("RMO_IDENTITY", "pod"), ("RMO_LEASE_NAMESPACE", "ops"), ("KUBECONFIG", "/nonexistent")])
        .output()
        .unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    assert!(said.contains("cannot go on") && said.contains("kubeconfig"), "{arguments:?}: {said}");
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn the_operator_starts_with_the_arguments_of_every_value() {
    starts(&operator_arguments(&render(&[])));
    for (path, other, with) in OTHER_VALUES {
        let (before, changed) = setting(path, other, with);
        starts(&operator_arguments(&render(&[before.as_slice(), &[changed.as_str()]].concat())));
    }
    // A flag of the chart's own, given again.
    starts(&operator_arguments(&render(&[r#"json:extraArgs=["--listen=127.0.0.1:0","--log-level=warn"]"#])));
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn times_reach_the_operator_and_more_arguments_come_last() {
    let objects = render(&["timing.warmUp=3s,timing.endpointSync=1500ms", "extraArgs={--sample-interval=1s}"]);
    let arguments = operator_arguments(&objects);
    assert!(arguments.contains(&"--warm-up=3s".to_owned()), "{arguments:?}");
    assert!(arguments.contains(&"--endpoint-sync=1500ms".to_owned()), "{arguments:?}");
    assert_eq!(arguments.last().unwrap(), "--sample-interval=1s");
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn stop_and_budgets_reach_the_operator() {
    let of = |settings: &[&str]| -> Vec<String> {
        let arguments = operator_arguments(&render(settings)).into_iter();
        arguments.filter(|flag| flag.contains("maximum") || flag.contains("stop")).collect()
    };
    assert_eq!(of(&[]), ["--maximum-remediations=1"]);
    // Values of an older release, kept by --reuse-values.
    assert_eq!(of(&["budget=null", "stop=null"]), ["--maximum-remediations=1"]);
    let all = of(&["budget.maximumRemediations=0,budget.maximumRestartsPerHour=12,stop=true"]);
    assert_eq!(all, ["--maximum-remediations=0", "--maximum-restarts-per-hour=12", "--stop"]);
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
    let output = helm(&["install", "--dry-run=client", "--disable-openapi-validation"], &["acting.restart=true"]);
    let notes = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(notes.contains("(acting.restart)     yes"), "{notes}");
    assert!(notes.contains("(acting.resize)    no"), "{notes}");
    assert!(notes.contains("acting.restart without acting.roleLabel"), "{notes}");
}

/// Free-form maps that values.yaml fills in: the schema lists none of their keys.
const FREE_FORM: &[&str] = &["resources", "podSecurityContext", "securityContext"];

/// The path of every value in values.yaml.
fn value_paths() -> BTreeSet<String> {
    fn walk(prefix: &str, value: &Value, into: &mut BTreeSet<String>) {
        for (key, child) in value.as_object().unwrap() {
            let path = format!("{prefix}{key}");
            if child.as_object().is_some_and(|map| !map.is_empty()) && !FREE_FORM.contains(&path.as_str()) {
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
        assert_eq!(schema["additionalProperties"], false, "{prefix} accepts anything");
        for (key, child) in schema["properties"].as_object().unwrap() {
            let path = format!("{prefix}{key}");
            if child["properties"].is_object() {
                walk(&format!("{path}."), child, into);
            } else if path != "global" {
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
const OTHER_VALUES: &[(&str, &str, &str)] = &[
    ("acting.resize", "true", ""),
    ("acting.restart", "true", ""),
    ("acting.restartInPlace", "true", ""),
    ("acting.roleLabel", "true", ""),
    ("roleLabel.keys", "{a.example/role}", "acting.roleLabel=true"),
    ("secretAccess", r#"[{"namespace":"shop","names":["redis-auth"]}]"#, ""),
    ("crds.install", "false", ""),
    ("crds.keep", "false", ""),
    ("image.repository", "registry.example/x", ""),
    ("image.tag", "9.9.9", ""),
    ("image.digest", "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", ""),
    ("image.pullPolicy", "Always", ""),
    ("imagePullSecrets", r#"[{"name":"pull"}]"#, ""),
    ("replicas", "2", ""),
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
    ("metrics.serviceMonitor.enabled", "true", ""),
    ("metrics.serviceMonitor.interval", "5s", "metrics.serviceMonitor.enabled=true"),
    ("metrics.serviceMonitor.labels", r#"{"a":"b"}"#, "metrics.serviceMonitor.enabled=true"),
    ("serviceAccount.create", "false", "serviceAccount.name=own"),
    ("serviceAccount.name", "own", ""),
    ("serviceAccount.annotations", r#"{"a":"b"}"#, ""),
    ("resources", r#"{"limits":{"memory":"1Gi"}}"#, ""),
    ("podSecurityContext", r#"{"runAsUser":1}"#, ""),
    ("securityContext", r#"{"privileged":true}"#, ""),
    ("terminationGracePeriodSeconds", "60", ""),
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
];

/// What must be on for a row of [`OTHER_VALUES`] to matter, and its setting.
fn setting<'a>(path: &str, other: &str, with: &'a str) -> (Vec<&'a str>, String) {
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
