//! How far a remediation under way has come, and how long it still takes. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    domain::{
        duration,
        journal::Journal,
        step::{PlannedStep, Step},
    },
    plan::{PlanSettings, estimate, time_left},
};

/// "step 2 of 3, AwaitReplica redis-1: it must have caught up (1 of 2 pods restarted)".
pub(super) fn step(journal: &Journal) -> String {
    let evictions =
        |steps: &[PlannedStep]| steps.iter().filter(|planned| matches!(planned.step, Step::Evict { .. })).count();
    let (all, left) = (evictions(&journal.steps), evictions(journal.left()));
    let pods = format!("{} of {all} pods restarted", all.saturating_sub(left));
    match journal.planned() {
        None => format!("every step is taken ({pods})"),
        Some(planned) => format!(
            "step {} of {}, {} {}: {} ({pods})",
            journal.cursor + 1,
            journal.steps.len(),
            planned.step.kind(),
            planned.step.pod(),
            planned.reason
        ),
    }
}

/// "about 4 min left; this step times out at 2026-01-02T03:34:05Z". It changes with every look.
pub(super) fn left(policy: &RedisMemoryPolicy, journal: &Journal, now: Timestamp) -> String {
    let time = time_left::left(journal, now, &PlanSettings::default());
    let about = if time < Duration::from_secs(5) {
        "nearly done".to_owned()
    } else {
        format!("about {} left", estimate::shown(time))
    };
    let timeout = duration::parse(&policy.spec.restart.step_timeout).ok();
    let times_out = journal.current.begun_at.zip(timeout).and_then(|(begun, timeout)| begun.checked_add(timeout).ok());
    match times_out {
        None => about,
        Some(at) => format!("{about}; this step times out at {}", at.strftime("%Y-%m-%dT%H:%M:%SZ")),
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;

    #[test]
    fn progress_has_the_step_the_pods_and_the_time() {
        let step_of = |kind: &str, pod: &str| json!({"kind": kind, "pod": pod, "reason": "why"});
        let policy: RedisMemoryPolicy = serde_json::from_value(json!({
            "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
            "metadata": {"name": "sessions", "namespace": "shop"}, "spec": {"selector": {"matchLabels": {"app": "redis"}}},
            "status": {"journal": {"id": "r1", "planHash": "h", "generation": 2, "workload": "u", "workloadName": "redis",
                "startedAt": "2026-01-02T03:04:05Z", "cursor": 1,
                "steps": [step_of("Evict", "redis-1"), step_of("Prove", "redis-1"), step_of("Evict", "redis-0")],
                "current": {"begunAt": "2026-01-02T03:05:00Z"},
                "primary": {"pod": "redis-0", "uid": "u0", "runId": "r0"}, "members": []}},
        }))
        .unwrap();
        let mut journal = policy.status.as_ref().unwrap().journal.clone().unwrap();
        assert_eq!(step(&journal), "step 2 of 3, Verify redis-1: why (1 of 2 pods restarted)");
        let now = "2026-01-02T03:05:30Z".parse().unwrap();
        assert_eq!(left(&policy, &journal, now), "about 90 s left; this step times out at 2026-01-02T03:35:00Z");
        journal.cursor = 3;
        journal.current.begun_at = None;
        assert_eq!(step(&journal), "every step is taken (2 of 2 pods restarted)");
        assert_eq!(left(&policy, &journal, now), "nearly done");
    }
}
