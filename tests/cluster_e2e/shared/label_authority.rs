//! Another controller keeps the role label, and does not do its work: the role goes back, and nothing else is touched.

use crate::prelude::*;

#[test]
#[ignore = "needs a cluster: make test"]
fn a_label_that_nobody_moves_sends_the_role_back() {
    let _operator = operator::usual();
    let space = Space::new("label");
    let set = Redis::deploy(&space, "redis", 3, &[]);
    // Once, by hand: this is all that the "other controller" ever does.
    set.label_roles();
    let writer = set.writer(200);
    set.fragment(SMALL_KEYS);
    let (before, primary) = (set.uids(), set.primary());
    let words = [("MODE", "Enforce"), ("AUTHORITY", "Label"), ("WASTE", SMALL_WASTE)];
    let policy = Policy::apply(&space, "redis", &words);
    let (outcome, message) = policy.await_outcome(300);
    assert_eq!(outcome, "LabelDidNotFollow", "{message}");
    assert_eq!(set.primary(), primary, "the role is back: {message}");
    assert_eq!(set.uids()[&primary], before[&primary], "the old primary was not restarted");
    for pod in set.pod_objects() {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let label = pod["metadata"]["labels"]["redismemory.io/role"].as_str();
        assert_eq!(label == Some("primary"), name == primary, "{name} carries {label:?}: the operator moves none");
    }
    set.assert_writable();
    // What is said until it is tried again, a second later, is for the tests of the gates: another set may have the slot by then.
    assert!(message.contains("did not follow to"), "{message}");
    writer.assert_nothing_lost();
}
