//! The right to patch pods is narrowed to the role label by the admission policy of the chart.

use crate::prelude::*;

#[test]
#[ignore = "needs a cluster: make test"]
fn the_operator_may_set_the_role_label_and_nothing_else_of_a_pod() {
    let _operator = operator::usual();
    let space = Space::new("label");
    let _set = Redis::deploy(&space, "redis", 1, &[]);
    let patch = |patch: &str| {
        space.kubectl(&["patch", "pod", "redis-0", "--as", operator::USER, "--type=merge", "--patch", patch])
    };
    patch(r#"{"metadata":{"labels":{"redismemory.io/role":"primary"}}}"#).or_panic("setting the role label");
    patch(r#"{"metadata":{"labels":{"redismemory.io/role":null}}}"#).or_panic("taking the role label off");
    for refused in [
        r#"{"spec":{"containers":[{"name":"redis","image":"localhost/other:1"}]}}"#,
        r#"{"metadata":{"labels":{"app":"other"}}}"#,
        r#"{"metadata":{"annotations":{"a":"b"}}}"#,
        r#"{"metadata":{"labels":{"redismemory.io/role":"primary","app":"other"}}}"#,
        r#"{"metadata":{"finalizers":["example.com/stay"]}}"#,
    ] {
        // A strategic merge for the image: the list of containers is merged by name.
        let kind = if refused.contains("containers") { "strategic" } else { "merge" };
        let said =
            space.kubectl(&["patch", "pod", "redis-0", "--as", operator::USER, "--type", kind, "--patch", refused]);
        assert!(!said.success, "allowed: {refused}");
        assert!(said.stderr.contains("ValidatingAdmissionPolicy"), "{refused}: {}", said.stderr);
    }
    for (verb, thing) in [("delete", "pods"), ("create", "pods/exec"), ("list", "secrets"), ("get", "secrets")] {
        let said = space.kubectl(&["auth", "can-i", verb, thing, "--as", operator::USER]);
        assert_eq!(said.stdout.trim(), "no", "{verb} {thing}");
    }
}
