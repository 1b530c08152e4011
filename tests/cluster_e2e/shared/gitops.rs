//! A tool that applies what is in Git again and again (Argo CD, Flux) and the operator do not fight: neither undoes what the
//! other has done, and the tool sees no drift.

use serde_json::Value;

use crate::prelude::*;

/// Seconds of applying: longer than three raises that are set back take to be noticed (LimitReverted).
const AGAIN: u64 = 20;

/// `kubectl VERB` as Argo CD does it, on the server and by force, with what is in Git.
fn tool(space: &Space, verb: &str, git: &str) -> client::Said {
    let here = ["--namespace", &space.name, verb];
    let force = ["--server-side", "--force-conflicts", "--field-manager=argocd-controller", "--filename", "-"];
    client::kubectl_with(&[here.as_slice(), &force].concat(), git)
}

/// What of the objects in Git has a generation.
fn generations(space: &Space) -> Vec<Value> {
    let kinds = ["statefulset/redis", "redismemorypolicy/redis", "poddisruptionbudget/redis"];
    kinds.iter().map(|kind| space.get(&[kind])["metadata"]["generation"].clone()).collect()
}

#[test]
#[ignore = "needs a cluster: make test"]
fn what_is_applied_again_and_again_shows_no_drift_and_takes_nothing_back() {
    let _operator = operator::usual();
    let space = Space::new("gitops");
    let set = Redis { space: &space, name: "redis".to_owned(), replicas: 3 };
    // maxmemory 256 MiB with 50 % needs 384 MiB.
    let words = [("NAME", "redis"), ("MAXMEMORY", "256mb"), ("LIMIT", "282Mi"), ("REQUEST", "64Mi")];
    let git =
        [space.render("redis.yaml", &words), space.render("policy.yaml", &[("NAME", "redis"), ("MODE", "Enforce")])]
            .join("\n---\n");
    tool(&space, "apply", &git).or_panic("the first sync");
    space.must(&["rollout", "status", "statefulset/redis", "--timeout=180s"]);
    set.label_roles();
    let policy = Policy::existing(&space, "redis");
    policy.await_condition("HeadroomSufficient", "True", "Sufficient", 90);

    let (uids, before) = (set.uids(), generations(&space));
    throughout(AGAIN, || {
        tool(&space, "apply", &git).or_panic("a sync");
        let drift = tool(&space, "diff", &git);
        assert!(drift.success, "the tool sees drift: {}{}", drift.stdout, drift.stderr);
    });
    assert_eq!(generations(&space), before, "nothing that is in Git was changed by anybody");
    assert_eq!(set.uids(), uids, "no pod was replaced");
    for pod in set.pods() {
        eventually(&format!("the cgroup limit of {pod}"), 5, || {
            let limit = set.cgroup_limit(&pod);
            require(limit == 384 * MIB, || format!("{} MiB", limit / MIB))
        });
    }
    let fought: Vec<_> = policy.findings().into_iter().filter(|finding| finding.code.ends_with("Reverted")).collect();
    assert!(fought.is_empty(), "{fought:?}");
    policy.await_condition("Ready", "True", "Evaluated", 5);

    // That the tool would see it: what a person changes by hand is drift, and the next sync takes it back.
    policy.patch_spec(&serde_json::json!({"suspend": true}));
    let patched = tool(&space, "diff", &git);
    assert!(patched.success, "a field that Git does not have is nobody's drift: {}", patched.stdout);
    policy.patch_spec(&serde_json::json!({"mode": "Observe"}));
    assert_eq!(tool(&space, "diff", &git).code, Some(1), "a field that Git has is drift");
    tool(&space, "apply", &git).or_panic("the last sync");
    assert_eq!(policy.object()["spec"]["mode"], "Enforce");
}
