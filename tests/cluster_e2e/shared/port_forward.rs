//! `--port-forward` from outside of the pods' network: the same verdicts as from inside, by the rights that docs/cli.md names.

use serde_json::{Value, json};

use crate::{prelude::*, support::outside::Outside};

/// Our program in the cluster's network, where the pods' own addresses lead to them.
fn inside(arguments: &[&str]) -> String {
    let mut command = client::script("tests/cluster/in-netns");
    command.arg(env!("CARGO_BIN_EXE_redis-memory-operator")).args(arguments);
    client::run(command).or_panic("asking from inside")
}

/// A person of that namespace who may look at what docs/cli.md names; with `forwarding` also reach ports of pods.
fn let_look(space: &Space, forwarding: bool) {
    let mut rules = vec![
        json!({"apiGroups": ["redismemory.io"], "resources": ["redismemorypolicies"], "verbs": ["get", "list"]}),
        json!({"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get", "list"]}),
        json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list"]}),
        json!({"apiGroups": ["apps"], "resources": ["statefulsets", "replicasets"], "verbs": ["get"]}),
    ];
    if forwarding {
        rules.push(json!({"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get", "create"]}));
    }
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "look"}, "rules": rules});
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "look"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "look"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "somebody"}],
    });
    space.apply(&role.to_string());
    space.apply(&binding.to_string());
}

/// A text without its numbers: what is measured differs from one look to the next.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        let of_a_number = |it: char| it.is_ascii_digit() || it == '.';
        if !of_a_number(character) {
            out.push(character);
        } else if !out.ends_with('#') {
            out.push('#');
        }
    }
    out
}

/// What a plan says, and how many servers it has asked.
fn plan(text: &str) -> (String, u64) {
    let mut told: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
    told["observedAt"].take();
    (without_numbers(&told.to_string()), told["answered"].as_u64().unwrap_or_default())
}

#[test]
#[ignore = "needs a cluster: make test"]
fn through_the_api_server_the_verdicts_are_those_from_inside() {
    if client::setting("USE_EXISTING_CLUSTER") == "1" {
        println!("skipped: on an existing cluster there is no place inside of its pods' network");
        return;
    }
    let _operator = operator::usual();
    let space = Space::new("outside");
    let set = Redis::deploy(&space, "redis", 2, &[("MAXMEMORY", "100mb"), ("LIMIT", "128Mi")]);
    set.label_roles();
    let policy = Policy::apply(&space, "redis", &[]);
    policy.await_finding("HeadroomInsufficient", "redis-0");
    let outside = Outside::open();
    let ask = |arguments: &[&str]| outside.run(&[arguments, &["-n", &space.name, "--as", "somebody"]].concat());
    let (of_policy, through) = (["plan", "redis", "-o", "json"], ["plan", "redis", "-o", "json", "--port-forward"]);

    // It is outside: no address of a pod leads anywhere; and nobody goes the other way who may not.
    let_look(&space, false);
    for arguments in [&of_policy[..], &through] {
        let told = eventually("the new rights are known", 30, || {
            let said = ask(arguments);
            if said.stderr.contains("forbidden") { Err(said.stderr) } else { Ok(said.stdout) }
        });
        assert_eq!(plan(&told).1, 0, "{arguments:?}: {told}");
    }
    let_look(&space, true);
    eventually("the same plan from both sides", 60, || {
        let (direct, forwarded) = (inside(&[&of_policy[..], &["-n", &space.name]].concat()), ask(&through));
        let (direct, forwarded) = (plan(&direct), plan(&forwarded.or_panic("plan --port-forward")));
        require(direct == forwarded && direct.1 == 2, || format!("from inside {direct:?}\nthrough it {forwarded:?}"))
    });
    let (direct, _) = plan(&inside(&[&of_policy[..], &["-n", &space.name]].concat()));
    assert!(direct.contains("HeadroomInsufficient"), "{direct}");
    eventually("doctor says the same on both sides", 60, || {
        let direct = without_numbers(&inside(&["doctor", "-n", &space.name]));
        let forwarded = without_numbers(&ask(&["doctor", "--port-forward"]).or_panic("doctor --port-forward"));
        require(direct == forwarded && direct.contains("answered"), || {
            format!("from inside {direct}\nthrough it {forwarded}")
        })
    });
}
