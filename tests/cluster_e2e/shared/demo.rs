//! The main job, as `make demo` shows it, with the alert about it, and the write gap.

use std::{
    process::Stdio,
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

use crate::{prelude::*, support::alerts::Alerts};

/// The alert of the chart that is about this.
const FRAGMENTED: &str = "RedisMemoryFragmentation";

/// Both use the namespace of the demo.
static DEMO: Mutex<()> = Mutex::new(());

/// Runs a script of the demo; what it says is shown.
fn run(script: &str, result: &str) -> bool {
    let mut command = client::script(script);
    command.env("RMO_DEMO_RESULT", result).env("RMO_DEMO_IMAGES_READY", "1");
    command.stdin(Stdio::null()).status().unwrap().success()
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[test]
#[ignore = "needs a cluster: make test"]
fn a_fragmented_redis_is_cured_and_no_acknowledged_write_is_lost() {
    // First, for who waits for it does not work the node.
    let _alone = DEMO.lock().unwrap_or_else(PoisonError::into_inner);
    let _operator = operator::usual();
    let alerts = Alerts::watch();
    let dir = tempfile::tempdir().unwrap();
    let result = dir.path().join("result.json");
    let kept = run("tests/demo/run", result.to_str().unwrap());
    let text = std::fs::read_to_string(&result).expect("the demo came to its end");
    let seen: Value = serde_json::from_str(&text).unwrap();
    assert!(kept, "{seen}");

    // The demo judges itself; these are the promises again, from its numbers.
    let pods = seen["pods"].as_array().unwrap();
    assert_eq!(pods.len(), 3);
    for pod in pods {
        let ratio = numbers(&pod["ratio"]);
        assert!(ratio[0] > 2.5 && ratio[1] < 1.5, "{pod}");
        assert_eq!(pod["uid_changes"], 1, "{pod}");
    }
    let order = &seen["order"];
    assert!(
        *order == serde_json::json!(["restart redis-1", "restart redis-2", "switchover redis-0", "restart redis-0"])
            || *order
                == serde_json::json!(["restart redis-2", "restart redis-1", "switchover redis-0", "restart redis-0"]),
        "{order}"
    );
    assert!(seen["writer"]["acknowledged"].as_u64().unwrap() >= 10_000, "{seen}");
    assert_eq!(seen["writer"]["checked"], seen["writer"]["acknowledged"], "{seen}");
    assert_eq!(seen["writer"]["lost"], 0, "{seen}");
    assert_eq!(seen["record"]["outcome"], "Succeeded", "{seen}");

    if let Some(alerts) = alerts {
        assert_eq!(alerts.fired(FRAGMENTED, "rmo-demo", "redis"), ["redis-0", "redis-1", "redis-2"]);
        let cured = ("redis_memory_policy_fragmentation_ratio", "< 1.5");
        alerts.await_resolved(FRAGMENTED, "rmo-demo", "redis", cured);
    }
}

#[test]
#[ignore = "needs a cluster: make test"]
fn writes_stand_still_for_little_longer_than_failover_itself() {
    // First, for who waits for it does not work the node.
    let _alone = DEMO.lock().unwrap_or_else(PoisonError::into_inner);
    let _operator = operator::measuring();
    assert!(run("tests/demo/write-gap", ""), "a gap was too long, or a write was lost: see above");
}
