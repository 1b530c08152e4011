//! How long a remediation under way still takes, by its journal alone: what a person who watches it is told. Rather too long than
//! too short, as [`super::estimate`] is, whose rates these are.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    PlanSettings,
    estimate::{REPLACEMENT, REPOINT, SWITCHOVER, assumed, padded},
};
use crate::domain::{
    bytes::Bytes,
    journal::Journal,
    names::PodName,
    step::{Lasts, PlannedStep},
};

/// A setting that is applied, a limit that is raised: one answer each.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The time for what is left of it at `now`, without the waiting for people, windows and obstacles.
pub fn left(journal: &Journal, now: Timestamp, settings: &PlanSettings) -> Duration {
    let mut steps = journal.left().iter().map(|planned| of(journal, planned, settings));
    // Of the step under way so much has passed; one that takes longer than was thought is nearly done.
    let passed = journal.current.begun_at.map(|begun| now.duration_since(begun));
    let passed = passed.and_then(|passed| Duration::try_from(passed).ok()).unwrap_or_default();
    let current = steps.next().unwrap_or_default().saturating_sub(passed);
    steps.fold(current, Duration::saturating_add)
}

fn of(journal: &Journal, planned: &PlannedStep, settings: &PlanSettings) -> Duration {
    let moving = held(journal, planned.step.pod());
    match planned.step.kind().lasts() {
        Lasts::InTheNext => Duration::ZERO,
        Lasts::AtOnce => AT_ONCE,
        Lasts::FullSync => padded(REPLACEMENT.saturating_add(moving.saturating_mul(3))),
        Lasts::Load => padded(REPLACEMENT.saturating_add(moving)),
        Lasts::Save => padded(moving),
        // The samples of a proof take about as long as the settling.
        Lasts::Proof => settings.proof_settle.saturating_mul(2),
        Lasts::HandOver => SWITCHOVER,
        Lasts::Follow => REPOINT,
    }
}

/// Time to move what that member held.
fn held(journal: &Journal, pod: &PodName) -> Duration {
    let used = journal.member(pod).map(|member| member.used_bytes).unwrap_or_default();
    assumed(Bytes(u64::try_from(used).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::domain::bytes::MIB;

    /// One replica of 500 MiB, then the primary's role.
    fn journal(cursor: u32, begun: Option<&str>) -> Journal {
        let step = |kind: &str| json!({"kind": kind, "pod": "redis-1", "reason": "r"});
        let mut switchover = step("Switchover");
        switchover["to"] = json!("redis-0");
        let settings = json!({"maxmemory": 0, "maxmemoryPolicy": "noeviction", "appendonly": false, "save": "",
            "replBacklogSize": 0});
        let member = json!({"pod": "redis-1", "uid": "u1", "runId": "r1", "usedBytes": 500 * MIB, "rssBytes": 0,
            "expectedGainBytes": 0, "settings": settings});
        serde_json::from_value(json!({
            "id": "r1", "planHash": "h", "generation": 2, "workload": "u", "workloadName": "redis",
            "startedAt": "2026-01-02T03:04:05Z", "cursor": cursor,
            "steps": [step("Evict"), step("AwaitReplica"), step("RestoreSettings"), step("Prove"), switchover],
            "current": begun.map_or_else(|| json!({}), |begun| json!({ "begunAt": begun })),
            "primary": {"pod": "redis-0", "uid": "u0", "runId": "r0"}, "members": [member],
        }))
        .unwrap()
    }

    // A wait of (30 + 3 x 10) x 1.5 = 90 s, 2 s for the settings, a proof of 120 s, a switchover of 15 s.
    #[rstest]
    #[case::at_the_start(0, None, 227)]
    #[case::a_while_into_the_wait(1, Some("2026-01-02T03:09:30Z"), 197)]
    #[case::longer_than_was_thought(1, Some("2026-01-02T03:00:00Z"), 137)]
    #[case::by_a_clock_ahead(1, Some("2026-01-02T03:30:00Z"), 227)]
    #[case::the_switchover(4, None, 15)]
    #[case::done(5, None, 0)]
    fn the_time_of_what_is_left(#[case] cursor: u32, #[case] begun: Option<&str>, #[case] seconds: u64) {
        let now = "2026-01-02T03:10:00Z".parse().unwrap();
        let found = left(&journal(cursor, begun), now, &PlanSettings::default());
        assert_eq!(found, Duration::from_secs(seconds));
    }
}
