//! The chart as it is installed: `helm test` proves a dry decision, and an install about one namespace may not even see
//! another's pods.

use crate::prelude::*;

fn may_list_pods(place: &[&str]) -> String {
    let user = format!("--as={}", operator::USER);
    let said = client::kubectl(&[&["auth", "can-i", "list", "pods", &user], place].concat());
    said.stdout.trim().to_owned()
}

#[test]
#[ignore = "needs a cluster: make test"]
fn an_install_about_a_namespace_judges_it_without_a_right_on_the_whole_cluster() {
    let (inside, outside) = (Space::new("inside"), Space::new("outside"));
    let names = format!("watchNamespaces=[\"{}\"]", inside.name);
    let _operator =
        operator::special(&Options { set: vec![names, "acting.restartInPlace=false".to_owned()], crash_image: false });
    // The other one first: whoever saw it would have judged it first.
    let (unseen, seen) = (Policy::apply(&outside, "redis", &[]), Policy::apply(&inside, "redis", &[]));
    seen.await_finding("NoTargets", "");
    assert!(unseen.status().is_null(), "{}", unseen.status());
    assert_eq!(may_list_pods(&["--namespace", &inside.name]), "yes");
    assert_eq!(may_list_pods(&["--namespace", &outside.name]), "no");
    assert_eq!(may_list_pods(&["--all-namespaces"]), "no");
    let selector = format!("app.kubernetes.io/instance={}", operator::NAME);
    let whole =
        client::kubectl(&["get", "clusterroles,clusterrolebindings", "--selector", &selector, "--output", "name"]);
    assert_eq!(whole.or_panic("cluster roles"), "");
    // Its policy lies where the operator looks.
    assert!(operator::helm_test().contains("nothing is due"));
}

#[test]
#[ignore = "needs a cluster: make test"]
fn helm_test_proves_a_dry_decision_and_leaves_nothing() {
    // Alone: others count the pods of the namespace, and one more runs for a while.
    let _operator = operator::special(&Options::default());
    let said = operator::helm_test();
    assert!(said.contains("finding NoTargets") && said.contains("nothing is due"), "{said}");
    let name = format!("{}-test", operator::NAME);
    for kind in ["pod", "redismemorypolicy"] {
        let left = client::kubectl(&["--namespace", operator::NAMESPACE, "get", kind, &name, "--ignore-not-found"]);
        assert_eq!(left.or_panic("looking for what the test left"), "", "{kind}");
    }
}
