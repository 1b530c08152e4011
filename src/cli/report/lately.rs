//! What happened, as far as the status remembers it: remediations, restarts, kills, requests, sets that went. Pure.

use super::value::Event;
use crate::{
    api::v1alpha1::RedisMemoryPolicyStatus,
    domain::{
        duration,
        journal::{Journal, WorkloadRecord},
        oom::PodKills,
        write_gap::WriteGap,
    },
};

/// Events of a policy that are shown.
const MOST: usize = 40;

/// The newest first, and how many older ones are left out.
pub(super) fn of(status: &RedisMemoryPolicyStatus) -> (Vec<Event>, usize) {
    let mut events: Vec<Event> = status.journal.iter().map(under_way).collect();
    events.extend(status.workloads.iter().flat_map(ended));
    events.extend(status.oom_kills.iter().map(killed));
    events.extend(status.request.iter().map(|answer| Event {
        at: answer.at,
        about: "what was asked for by hand".to_owned(),
        what: format!("{}: {}", answer.outcome, answer.message),
    }));
    let sets = status.summary.iter().flat_map(|summary| &summary.sets);
    events.extend(sets.filter_map(|set| {
        let what = "has had no pod since then".to_owned();
        Some(Event { at: set.gone_since?, about: set.name.clone(), what })
    }));
    events.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.about.cmp(&b.about)).then_with(|| a.what.cmp(&b.what)));
    let older = events.len().saturating_sub(MOST);
    events.truncate(MOST);
    (events, older)
}

fn under_way(journal: &Journal) -> Event {
    let steps = journal.steps.len();
    let what = match journal.planned() {
        Some(planned) => {
            let (kind, pod, step) = (planned.step.kind(), planned.step.pod(), journal.cursor.saturating_add(1));
            format!("a remediation began; step {step} of {steps} is under way: {kind} {pod}")
        }
        None => format!("a remediation began; its {steps} steps are done, and it is about to end"),
    };
    Event { at: journal.started_at, about: journal.workload_name.clone(), what }
}

/// How the last remediation ended, and the restarts of ours.
fn ended(record: &WorkloadRecord) -> impl Iterator<Item = Event> + '_ {
    let end = record.outcome.map(|outcome| {
        let gap = record.write_gap.as_ref().and_then(WriteGap::measured);
        let gap = gap.map_or_else(String::new, |gap| format!("; writes stopped for {}", duration::format(gap)));
        let what = format!("a remediation ended: {}: {}{gap}", outcome.as_str(), record.message);
        Event { at: record.ended_at, about: record.name.clone(), what }
    });
    let restarts = record.restarts.iter().map(|restart| Event {
        at: restart.at,
        about: restart.pod.to_string(),
        what: "restarted by the operator".to_owned(),
    });
    end.into_iter().chain(restarts)
}

fn killed(kills: &PodKills) -> Event {
    let times = match kills.times {
        1 => String::new(),
        times => format!(" {times} times since {}, the last time", super::words::time(kills.first_at)),
    };
    let what = format!("killed by the kernel for want of memory{times}: {} ({})", kills.cause, kills.evidence);
    Event { at: kills.last_at, about: kills.pod.to_string(), what }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;

    fn said(status: serde_json::Value) -> (Vec<String>, usize) {
        let (events, older) = of(&serde_json::from_value(status).unwrap());
        (
            events.iter().map(|it| format!("{} {}: {}", super::super::words::time(it.at), it.about, it.what)).collect(),
            older,
        )
    }

    #[test]
    fn everything_that_is_remembered_is_told_in_its_order() {
        let (told, older) = said(json!({
            "summary": {"targets": 1, "reachable": 1, "compliant": 1,
                "sets": [{"name": "cart", "pods": 0, "goneSince": "2026-01-01T00:00:00Z"}, {"name": "redis", "pods": 1}]},
            "request": {"id": "1", "outcome": "Refused", "message": "Held: by anna", "at": "2026-01-02T01:00:00Z"},
            "oomKills": [{"pod": "redis-2", "podUid": "u", "firstAt": "2026-01-01T03:00:00Z", "times": 3,
                "lastAt": "2026-01-02T02:00:00Z", "cause": "Fork", "evidence": "RSS 900 MiB of 1 GiB"}],
            "workloads": [
                {"uid": "a", "name": "redis", "outcome": "Succeeded", "remediation": "r", "generation": 1,
                 "endedAt": "2026-01-02T03:14:05Z", "message": "1 pod restarted",
                 "writeGap": {"estimatedMilliseconds": 20, "from": "x", "measuredMilliseconds": 12},
                 "restarts": [{"pod": "redis-1", "at": "2026-01-02T03:05:05Z"}]},
                {"uid": "b", "name": "quiet", "remediation": "", "generation": 1, "endedAt": "2026-01-02T03:14:05Z",
                 "message": "", "restarts": []}],
        }));
        assert_eq!(
            told,
            [
                "2026-01-02T03:14:05Z redis: a remediation ended: Succeeded: 1 pod restarted; writes stopped for 12ms",
                "2026-01-02T03:05:05Z redis-1: restarted by the operator",
                "2026-01-02T02:00:00Z redis-2: killed by the kernel for want of memory 3 times since 2026-01-01T03:00:00Z, the \
                 last time: while a child saved or rewrote: what is written meanwhile is in memory twice \
                 (RSS 900 MiB of 1 GiB)",
                "2026-01-02T01:00:00Z what was asked for by hand: Refused: Held: by anna",
                "2026-01-01T00:00:00Z cart: has had no pod since then",
            ]
        );
        assert_eq!(older, 0);
    }

    #[test]
    fn of_many_the_newest_are_kept_and_the_rest_is_counted() {
        let restarts: Vec<_> =
            (0..60).map(|n| json!({"pod": "redis-1", "at": format!("2026-01-02T03:{n:02}:00Z")})).collect();
        let (told, older) =
            said(json!({"workloads": [{"uid": "a", "name": "redis", "remediation": "", "generation": 1,
            "endedAt": "2026-01-02T03:14:05Z", "message": "", "restarts": restarts}]}));
        assert_eq!((told.len(), older), (MOST, 60 - MOST));
        assert!(told[0].starts_with("2026-01-02T03:59:00Z"), "{told:?}");
    }

    #[test]
    fn nothing_is_invented() {
        assert_eq!(said(json!({})), (Vec::new(), 0));
    }
}
