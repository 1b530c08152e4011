//! A password from a Secret that the chart lets the operator read: missing, wrong, right; and never in any text.

use serde_json::json;

use crate::prelude::*;

const PASSWORD: &str = "correct-horse-battery";
const WRONG: &str = "wrong-donkey-accumulator";

fn secret(space: &Space, key: &str, value: &str) {
    let yaml = space.kubectl(&[
        "create",
        "secret",
        "generic",
        "redis-auth",
        &format!("--from-literal={key}={value}"),
        "--dry-run=client",
        "--output=yaml",
    ]);
    space.apply(&yaml.or_panic("a Secret"));
}

/// A Redis of a Deployment under the same labels, which knows no such user: its owner is looked up like any other.
fn beside(space: &Space) {
    let container = json!({
        "name": "redis", "image": client::setting("RMO_IMAGE_REDIS"),
        "imagePullPolicy": client::setting("RMO_IMAGE_PULL_POLICY"),
        "command": ["redis-server", "--protected-mode", "no"],
        "ports": [{"name": "redis", "containerPort": 6379}],
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "beside"},
        "spec": {
            "selector": {"matchLabels": {"tier": "beside"}},
            "template": {
                "metadata": {"labels": {"app": "redis", "tier": "beside"}},
                "spec": {"automountServiceAccountToken": false, "containers": [container]},
            },
        },
    });
    space.apply(&deployment.to_string());
    space.must(&["rollout", "status", "deployment/beside", "--timeout=60s"]);
}

#[test]
#[ignore = "needs a cluster: make test"]
fn a_secret_that_is_missing_lacks_its_key_or_is_wrong_is_named_and_a_right_one_is_taken_up() {
    let space = Space::new("secrets");
    let access = format!(r#"secretAccess=[{{"namespace":"{}","names":["redis-auth"]}}]"#, space.name);
    let _operator = operator::special(&Options { set: vec![access], crash_image: false });
    let set = Redis::deploy(&space, "redis", 1, &[]);
    set.cli("redis-0", &["ACL", "SETUSER", "operator", "on", &format!(">{PASSWORD}"), "~*", "&*", "+@all"]).unwrap();
    beside(&space);
    let redis = ", username: operator, passwordSecret: {name: redis-auth, key: password}";
    let policy = Policy::apply(&space, "redis", &[("MODE", "Enforce"), ("REDIS", redis)]);

    let text = await_text(&policy, "redis-auth");
    println!("missing: {text}");
    secret(&space, "other", PASSWORD);
    let text = await_text(&policy, "no key");
    println!("without its key: {text}");
    secret(&space, "password", WRONG);
    let text = await_text(&policy, "WRONGPASS");
    println!("wrong: {text}");
    secret(&space, "password", PASSWORD);
    eventually("the right password is taken up", 120, || {
        let status = policy.status();
        require(status["summary"]["reachable"] == 1, || status.to_string())
    });

    let told = [
        policy.object().to_string(),
        policy.event_notes().join("\n"),
        client::kubectl(&["--namespace", operator::NAMESPACE, "logs", &format!("deployment/{}", operator::NAME)])
            .stdout,
    ];
    assert!(told.iter().all(|text| !text.is_empty()), "nothing was read");
    for text in told {
        assert!(!text.contains(PASSWORD) && !text.contains(WRONG), "a password is in:\n{text}");
    }
}

/// Waits until the finding about the password says this.
fn await_text(policy: &Policy<'_>, part: &str) -> String {
    eventually(&format!("AuthenticationFailed with {part}"), 120, || {
        let found = policy.await_finding("AuthenticationFailed", "redis-0");
        require(found.evidence.contains(part), || found.evidence.clone())?;
        Ok(found.evidence)
    })
}
