//! Whom a value is left on, and what is said of it.

use pretty_assertions::assert_eq;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

/// A policy with one set, whose pods are named so, and what the operator set on them.
fn policy(set: &str, uids: &str, pods: &[&str], (held, before): (i64, i64)) -> Guarded {
    let members: Vec<Value> =
        pods.iter().map(|pod| json!({"pod": pod, "uid": format!("u-{pod}"), "runId": "a".repeat(40)})).collect();
    let own = json!({"values": [held], "end": held, "held": held, "before": before, "at": "2026-01-02T03:04:05Z", "members": members});
    let record = json!({
        "uid": uids, "name": set, "remediation": "", "endedAt": "2026-01-02T03:04:05Z", "generation": 1, "message": "",
        "restarts": [], "maxmemory": own,
    });
    serde_json::from_value(json!({
        "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
        "metadata": {"name": "sessions", "namespace": "shop", "uid": "u-1"},
        "spec": {"selector": {"matchLabels": {"app": "redis"}}}, "status": {"workloads": [record]},
    }))
    .expect("a policy")
}

const PODS: [&str; 2] = ["redis-1", "redis-0"];
const MIB: i64 = 1 << 20;

#[test]
fn it_is_said_with_pods_and_value() {
    let left = of(&policy("redis", "set", &PODS, (682 * MIB, 0)));
    assert_eq!(
        left.iter().map(|one| one.note().note).collect::<Vec<_>>(),
        [
            "RedisMemoryPolicy sessions is deleted, and maxmemory stays 682 MiB as the operator set it (there was none before). After a \
          restart nobody sets it again: write it into what the pods start with, or set another by CONFIG SET maxmemory. It is on \
          redis-0, redis-1"
        ]
    );
    let left = of(&policy("redis", "set", &PODS, (682 * MIB, 900 * MIB)));
    assert!(left[0].note().note.contains("(it was 900 MiB before)"), "{}", left[0].note().note);
}

#[rstest]
#[case::nothing_has_it_yet(&PODS, (0, 0))]
#[case::by_hand(&PODS, (-1, 0))]
#[case::it_was_given_back(&PODS, (900 * MIB, 900 * MIB))]
#[case::on_nobody(&[], (682 * MIB, 0))]
fn nothing_of_ours_is_left(#[case] pods: &[&str], #[case] held_and_before: (i64, i64)) {
    assert_eq!(of(&policy("redis", "set", pods, held_and_before)), []);
}

#[rstest]
#[case::a_set("redis", "set", &PODS, "StatefulSet redis set")]
#[case::a_deployment("cache-5d9f", "rs", &["cache-5d9f-x2x4z"], "Pod cache-5d9f-x2x4z u-cache-5d9f-x2x4z")]
#[case::several_sets("redis", "a+b", &PODS, "Pod redis-0 u-redis-0")]
#[case::named_otherwise("redis", "set", &["redis-main-0"], "Pod redis-main-0 u-redis-main-0")]
fn it_is_said_of_what_outlives_the_policy(
    #[case] set: &str,
    #[case] uids: &str,
    #[case] pods: &[&str],
    #[case] expected: &str,
) {
    let about = of(&policy(set, uids, pods, (682 * MIB, 0))).remove(0).about();
    let text = format!("{about:?}");
    let words: Vec<String> = expected.split(' ').map(|word| format!("Some({word:?})")).collect();
    assert!(words.iter().all(|word| text.contains(word)), "{text} is not about {expected}");
}
