//! Rights: the chart gives what the code asks for, and to nobody else.

use std::collections::BTreeSet;

use pretty_assertions::assert_eq;
use redis_memory_operator::kube_io::rights::{RIGHTS, Role};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    NAME,
    helm::{of_kind, render, strings},
};

/// Scrapers send a token.
const TOKENS: &str = "metrics.tls.secretName=metrics-tls,metrics.tls.clients=token";

/// A role that the chart binds to nobody: Kubernetes adds it to its own roles for people, or people bind whoever scrapes to it.
pub(crate) fn is_for_people(role: &Value) -> bool {
    if role["metadata"]["name"].as_str().is_some_and(|name| name.ends_with("-metrics-reader")) {
        return true;
    }
    let labels = role["metadata"]["labels"].as_object().into_iter().flatten();
    labels.into_iter().any(|(key, _)| key.starts_with("rbac.authorization.k8s.io/aggregate-to-"))
}

fn roles(objects: &[Value]) -> impl Iterator<Item = &Value> {
    let is_role = |object: &&Value| object["kind"] == "ClusterRole" || object["kind"] == "Role";
    objects.iter().filter(is_role).filter(|role| !is_for_people(role))
}

/// Every right in the given objects, one line each: `ClusterRole NAME: GROUP/RESOURCE [of NAMES] VERB`.
fn rights(objects: &[Value]) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for role in roles(objects) {
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

/// The rights of the requests in `kube_io` that those roles of the chart give, as lines of [`rights`]; in those namespaces,
/// or without any in the whole cluster.
fn table(roles: &[Role], namespaces: &[&str]) -> BTreeSet<String> {
    if let [first, rest @ ..] = namespaces
        && !rest.is_empty()
    {
        return table(roles, &[first]).union(&table(roles, rest)).cloned().collect();
    }
    let wherever = |suffix: &str| match namespaces {
        [] => format!("ClusterRole {NAME}{suffix}"),
        [namespace, ..] => format!("Role {NAME}{suffix} in {namespace}"),
    };
    let mut lines = BTreeSet::new();
    for right in RIGHTS.iter().filter(|right| roles.contains(&right.role)) {
        let role = match right.role {
            Role::Base => wherever(""),
            Role::Leader => format!("Role {NAME}-leader in ops"),
            Role::Resize => wherever("-resize"),
            Role::Restart => wherever("-restart"),
            Role::InPlace => wherever("-in-place"),
            Role::RoleLabel => wherever("-role-label"),
            Role::Nodes => wherever("-nodes"),
            Role::Secrets => format!("Role {NAME}-secrets in shop"),
            Role::Metrics => format!("ClusterRole {NAME}-metrics-review"),
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
    #[values(false, true)] nodes: bool,
) {
    let mut roles = vec![Role::Base, Role::Leader, Role::Secrets];
    let switches = [
        (resize, Role::Resize),
        (restart, Role::Restart),
        (in_place, Role::InPlace),
        (role_label, Role::RoleLabel),
        (nodes, Role::Nodes),
    ];
    for (on, role) in switches {
        if on {
            roles.push(role);
        }
    }
    let settings = [
        format!("acting.resize={resize}"),
        format!("acting.restart={restart}"),
        format!("acting.restartInPlace={in_place}"),
        format!("acting.roleLabel={role_label}"),
        format!("nodeAccess={nodes}"),
        "secretAccess[0].namespace=shop,secretAccess[0].names={redis-auth}".to_owned(),
    ];
    let objects = render(&settings.iter().map(String::as_str).collect::<Vec<_>>());

    let rendered = rights(&objects);
    assert_eq!(table(&roles, &[]), rendered, "the chart gives what kube_io asks for, and nothing else");
    assert_eq!(Vec::<&String>::new(), forbidden(&rendered));
    let narrowing = usize::from(role_label);
    assert_eq!(narrowing, of_kind(&objects, "ValidatingAdmissionPolicy").len());
    assert_eq!(narrowing, of_kind(&objects, "ValidatingAdmissionPolicyBinding").len());
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn about_tokens_is_asked_only_where_scrapers_send_them_and_they_get_the_one_path() {
    let (before, with) = (render(&[]), render(&[TOKENS]));
    let more: BTreeSet<_> = rights(&with).difference(&rights(&before)).cloned().collect();
    assert_eq!(more, table(&[Role::Metrics], &[]));
    assert_eq!(
        rights(&before),
        rights(&render(&["metrics.tls.secretName=metrics-tls,metrics.tls.clients=certificate"]))
    );
    let reader = with.iter().find(|object| object["metadata"]["name"] == format!("{NAME}-metrics-reader")).unwrap();
    assert_eq!(reader["rules"], json!([{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]));
}

/// Role (what follows the release's name), resource and verb.
type Given = (String, String, String);

/// The table of SECURITY.md.
fn page() -> BTreeSet<Given> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/SECURITY.md")).unwrap();
    let table = page.split("| resource | verbs | role, and when it is there |").nth(1).unwrap();
    let mut given = BTreeSet::new();
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [resources, verbs, role] = cells.as_slice() else { panic!("{row}") };
        let named = role.strip_prefix("`…").and_then(|rest| rest.split_once('`')).map(|(suffix, _)| suffix);
        let role = named.unwrap_or_else(|| if *role == "base" { "" } else { panic!("no role: {row}") });
        // What stands in parentheses, or after "of", says which objects.
        let verbs = verbs.split(" (").next().unwrap().split([',', ';']);
        for verb in verbs.filter_map(|part| part.split_whitespace().next()).filter(|word| *word != "by") {
            let each = resources.split(", ").map(|resource| resource.split('`').nth(1).unwrap());
            given.extend(each.map(|resource| (role.to_owned(), resource.to_owned(), verb.to_owned())));
        }
    }
    given
}

#[test]
fn the_page_for_people_has_every_right_that_the_code_asks_for() {
    let suffix = |role| match role {
        Role::Base => "",
        Role::Leader => "-leader",
        Role::Resize => "-resize",
        Role::Restart => "-restart",
        Role::InPlace => "-in-place",
        Role::RoleLabel => "-role-label",
        Role::Nodes => "-nodes",
        Role::Secrets => "-secrets",
        Role::Metrics => "-metrics-review",
    };
    let of = |right: &redis_memory_operator::kube_io::rights::Right| {
        let (role, resource) = (suffix(right.role).to_owned(), right.resource.to_owned());
        right.verbs.iter().map(move |verb| (role.clone(), resource.clone(), (*verb).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(page(), RIGHTS.iter().flat_map(of).collect());
}

#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn the_page_for_people_has_every_right_that_the_chart_gives() {
    let objects = render(&[
        "acting.resize=true,acting.restart=true,acting.restartInPlace=true,acting.roleLabel=true,nodeAccess=true",
        "secretAccess[0].namespace=shop,secretAccess[0].names={redis-auth}",
        TOKENS,
    ]);
    let given = |line: &String| -> Given {
        let (role, right) = line.split_once(": ").unwrap();
        let role = role.split(' ').nth(1).unwrap().strip_prefix(NAME).unwrap();
        let resource = right.split(' ').next().unwrap().split_once('/').unwrap().1;
        (role.to_owned(), resource.to_owned(), right.rsplit(' ').next().unwrap().to_owned())
    };
    assert_eq!(page(), rights(&objects).iter().map(given).collect());
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
        "acting.resize=true,acting.restart=true,acting.restartInPlace=true,acting.roleLabel=true,nodeAccess=true",
        "secretAccess[0].namespace=shop,secretAccess[0].names={redis-auth}",
        TOKENS,
    ]);
    let mut roles = BTreeSet::new();
    let mut bound = BTreeSet::new();
    for object in &objects {
        let kind = object["kind"].as_str().unwrap();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        if (kind == "Role" || kind == "ClusterRole") && !is_for_people(object) {
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
    assert_eq!(9, roles.len(), "base, leader, four acting roles, nodes, Secrets, tokens: {roles:?}");
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

/// With `watchNamespaces` the operator has the same rights in each of them, and none on the whole cluster.
#[rstest]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn in_namespaces_there_are_roles_and_no_right_on_the_whole_cluster(
    #[values(false, true)] resize: bool,
    #[values(false, true)] restart: bool,
    #[values(false, true)] role_label: bool,
) {
    let mut roles = vec![Role::Base, Role::Leader, Role::Secrets];
    for (on, role) in [(resize, Role::Resize), (restart, Role::Restart), (role_label, Role::RoleLabel)] {
        roles.extend(on.then_some(role));
    }
    let acting = format!("acting.resize={resize},acting.restart={restart},acting.roleLabel={role_label}");
    let secrets = "secretAccess[0].namespace=shop,secretAccess[0].names={redis-auth}";
    let objects = render(&["watchNamespaces={shop,cart},crds.install=false", &acting, secrets]);
    assert_eq!(table(&roles, &["shop", "cart"]), rights(&objects));
    let whole: BTreeSet<_> = objects
        .iter()
        .filter(|object| object["metadata"]["namespace"].is_null())
        .map(|object| object["kind"].as_str().unwrap())
        .collect();
    // What narrows the patch of a pod is no right, and belongs to no namespace.
    let narrowing = BTreeSet::from(["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]);
    assert_eq!(whole, if role_label { narrowing } else { BTreeSet::new() });
    for binding in of_kind(&objects, "RoleBinding") {
        assert_eq!(binding["subjects"], json!([{"kind": "ServiceAccount", "name": NAME, "namespace": "ops"}]));
    }
}

/// Rights of people: each of Kubernetes' own roles gets its verbs of the policies, and none of anything else.
#[test]
#[ignore = "needs helm (make test builds it, or set HELM)"]
fn people_get_the_policies_by_the_roles_that_they_have() {
    let objects = render(&[]);
    let given = |to: &str| -> BTreeSet<String> {
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{to}");
        let given = objects.iter().filter(|object| object["metadata"]["labels"][&label] == "true");
        let rules = given.flat_map(|role| role["rules"].as_array().unwrap());
        rules
            .flat_map(|rule| {
                assert_eq!(rule["apiGroups"], json!(["redismemory.io"]));
                assert_eq!(rule["resources"], json!(["redismemorypolicies"]));
                strings(&rule["verbs"])
            })
            .collect()
    };
    let verbs = |text: &str| text.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(given("view"), verbs("get list watch"));
    assert_eq!(given("edit"), verbs("get list watch create update patch delete"));
    assert_eq!(given("admin"), verbs("get list watch create update patch delete deletecollection"));
    for without in ["aggregateRoles=false", "watchNamespaces={shop}"] {
        assert!(!render(&[without]).iter().any(is_for_people), "{without}");
    }
}
