//! What of a policy is worth a line when it changes, and when there is nothing left to wait for. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::progress;
use crate::{
    api::v1alpha1::{Mode, RedisMemoryPolicy, RedisMemoryPolicyStatus},
    domain::journal::Outcome,
    report::findings,
};

/// What is said of a policy, by subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    facts: BTreeMap<String, String>,
    /// What is added to a fact when it is said, and is no reason to say it.
    asides: BTreeMap<String, String>,
}

impl Facts {
    /// What the resource says now.
    pub(super) fn of(policy: &RedisMemoryPolicy, now: Timestamp) -> Self {
        let none = RedisMemoryPolicyStatus::default();
        let status = policy.status.as_ref().unwrap_or(&none);
        let mut facts = BTreeMap::new();
        let mode = if policy.spec.mode == Mode::Enforce { "Enforce" } else { "Observe" };
        let suspended = if policy.spec.suspend { ", suspended" } else { "" };
        facts.insert("mode".to_owned(), format!("{mode}{suspended}"));
        if let Some(summary) = &status.summary {
            let worst = summary.worst_fragmentation.as_deref().unwrap_or("unknown");
            let (targets, reachable, compliant) = (summary.targets, summary.reachable, summary.compliant);
            let text = format!("{reachable} of {targets} reachable, {compliant} compliant, worst ratio {worst}");
            facts.insert("targets".to_owned(), text);
        }
        for condition in &status.conditions {
            let mut text = format!("{} {}", condition.status, condition.reason);
            if !condition.message.is_empty() {
                text = format!("{text}: {}", condition.message);
            }
            facts.insert(condition.type_.clone(), text);
        }
        for finding in &findings::each(&status.findings) {
            let about = finding.pod.as_deref().unwrap_or("(policy)");
            let subject = format!("finding {} {about}", finding.code);
            let stale = if finding.stale { ", stale" } else { "" };
            facts.insert(subject, format!("{}{stale}: {}", finding.severity, finding.evidence));
        }
        if let Some(answer) = &status.request {
            facts.insert("request".to_owned(), format!("{}: {}", answer.outcome, answer.message));
        }
        for record in &status.workloads {
            let Some(outcome) = record.outcome else { continue };
            let text = format!("{} {}: {}", record.remediation, outcome.as_str(), record.message);
            facts.insert(format!("remediation of {}", record.name), text);
        }
        let mut asides = BTreeMap::new();
        if let Some(journal) = &status.journal {
            let subject = format!("progress of {}", journal.workload_name);
            asides.insert(subject.clone(), progress::left(policy, journal, now));
            facts.insert(subject, progress::step(journal));
        }
        Self { facts, asides }
    }

    /// One line for each subject that is new, differs or is gone, in a fixed order.
    pub(super) fn news(&self, before: Option<&Self>) -> Vec<String> {
        let none = BTreeMap::new();
        let before = before.map_or(&none, |before| &before.facts);
        let changed = self.facts.iter().filter(|(subject, text)| before.get(*subject) != Some(*text));
        let gone = before.keys().filter(|subject| !self.facts.contains_key(*subject));
        let changed = changed.map(|(subject, text)| {
            let aside = self.asides.get(subject).map_or_else(String::new, |aside| format!("; {aside}"));
            format!("{subject}: {text}{aside}")
        });
        changed.chain(gone.map(|subject| format!("{subject}: does not hold any more"))).collect()
    }
}

/// Whether the watch may end.
#[derive(Clone, Debug, Default)]
pub(super) struct Ending {
    /// The remediation that was seen under way.
    seen: Option<String>,
}

impl Ending {
    /// Whether nothing is left to wait for; if so, whether all is well, and why.
    pub(super) fn look(&mut self, policy: &RedisMemoryPolicy) -> Option<(bool, String)> {
        let none = RedisMemoryPolicyStatus::default();
        let status = policy.status.as_ref().unwrap_or(&none);
        if let Some(journal) = &status.journal {
            self.seen = Some(journal.id.clone());
            return None;
        }
        if let Some(id) = &self.seen {
            let record = status.workloads.iter().find(|record| record.remediation == *id)?;
            let well = record.outcome == Some(Outcome::Succeeded);
            let outcome = record.outcome.map_or("ended", Outcome::as_str);
            return Some((well, format!("done: {outcome}: {}", record.message)));
        }
        if status.observed_generation.is_none() || status.observed_generation != policy.metadata.generation {
            return None;
        }
        let blocked = status.conditions.iter().find(|c| c.type_ == "RemediationBlocked" && c.status == "True");
        let stalled = status.conditions.iter().find(|c| c.type_ == "Stalled" && c.status == "True");
        if let Some(condition) = stalled.or(blocked) {
            let (reason, message) = (&condition.reason, &condition.message);
            return Some((false, format!("nothing is under way: {reason}: {message}")));
        }
        if status.plan.is_some() && policy.spec.mode == Mode::Enforce {
            return None;
        }
        let why = if status.plan.is_none() { "nothing is due" } else { "mode Observe only shows the plan" };
        Some((true, format!("nothing is under way: {why}")))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[allow(clippy::needless_pass_by_value, reason = "a literal at every call")]
    fn policy(mode: &str, status: Value) -> RedisMemoryPolicy {
        serde_json::from_value(json!({
            "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
            "metadata": {"name": "sessions", "namespace": "shop", "generation": 2},
            "spec": {"selector": {"matchLabels": {"app": "redis"}}, "mode": mode},
            "status": status,
        }))
        .unwrap()
    }

    fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": message,
               "lastTransitionTime": "2026-01-02T03:04:05Z"})
    }

    fn journal(id: &str) -> Value {
        json!({"id": id, "planHash": "h", "generation": 2, "workload": "u", "workloadName": "redis",
               "startedAt": "2026-01-02T03:04:05Z", "steps": [{"kind": "Evict", "pod": "redis-1", "reason": "r"}],
               "cursor": 0, "current": {}, "primary": {"pod": "redis-0", "uid": "u0", "runId": "r0"}, "members": []})
    }

    fn record(id: &str, outcome: &str) -> Value {
        json!({"uid": "u", "name": "redis", "outcome": outcome, "remediation": id, "generation": 2,
               "endedAt": "2026-01-02T03:14:05Z", "message": "3 pods restarted", "restarts": []})
    }

    #[test]
    fn each_change_is_one_line() {
        let now = "2026-01-02T03:05:00Z".parse().unwrap();
        let ready = condition("Ready", "True", "Evaluated", "");
        let finding =
            json!({"code": "ForkSlow", "severity": "Warning", "pod": "redis-0", "evidence": "120 ms", "remedy": "r"});
        let first = Facts::of(&policy("Observe", json!({"conditions": [ready], "findings": [finding]})), now);
        assert_eq!(
            first.news(None),
            ["Ready: True Evaluated", "finding ForkSlow redis-0: Warning: 120 ms", "mode: Observe"]
        );
        assert_eq!(first.news(Some(&first)), Vec::<String>::new());
        let second = Facts::of(&policy("Enforce", json!({"conditions": [ready]})), now);
        assert_eq!(second.news(Some(&first)), ["mode: Enforce", "finding ForkSlow redis-0: does not hold any more"]);
    }

    #[test]
    fn the_step_under_way_is_said_once_with_the_time_left() {
        let at = |time: &str| Facts::of(&policy("Enforce", json!({"journal": journal("r1")})), time.parse().unwrap());
        let first = at("2026-01-02T03:05:00Z");
        let said = "progress of redis: step 1 of 1, Evict redis-1: r (0 of 1 pods restarted); nearly done";
        assert_eq!(first.news(None).last().map(String::as_str), Some(said));
        // That time goes by is no news.
        assert_eq!(at("2026-01-02T03:06:00Z").news(Some(&first)), Vec::<String>::new());
    }

    #[rstest]
    #[case::not_evaluated("Enforce", json!({"observedGeneration": 1}), None)]
    #[case::nothing_due("Enforce", json!({"observedGeneration": 2}), Some((true, "nothing is due")))]
    #[case::about_to_begin(
        "Enforce",
        json!({"observedGeneration": 2, "plan": {"workload": "redis", "hash": "h", "steps": []}}),
        None
    )]
    #[case::only_shown(
        "Observe",
        json!({"observedGeneration": 2, "plan": {"workload": "redis", "hash": "h", "steps": []}}),
        Some((true, "Observe"))
    )]
    #[case::in_the_way(
        "Enforce",
        json!({"observedGeneration": 2, "conditions": [condition("RemediationBlocked", "True", "Cooldown", "until")]}),
        Some((false, "Cooldown: until"))
    )]
    #[case::stalled(
        "Enforce",
        json!({"observedGeneration": 2, "conditions": [condition("Stalled", "True", "InvalidSpec", "x")]}),
        Some((false, "InvalidSpec"))
    )]
    fn ends_when_nothing_is_left_to_wait_for(
        #[case] mode: &str,
        #[case] status: Value,
        #[case] expected: Option<(bool, &str)>,
    ) {
        let found = Ending::default().look(&policy(mode, status));
        assert_eq!(found.as_ref().map(|(well, _)| *well), expected.map(|(well, _)| well), "{found:?}");
        if let (Some((_, found)), Some((_, expected))) = (found, expected) {
            assert!(found.contains(expected), "{found}");
        }
    }

    #[rstest]
    #[case("Succeeded", true)]
    #[case("TimedOut", false)]
    fn ends_with_the_remediation_that_was_under_way(#[case] outcome: &str, #[case] well: bool) {
        let mut ending = Ending::default();
        let old = record("older", "Succeeded");
        assert_eq!(ending.look(&policy("Enforce", json!({"journal": journal("r1"), "workloads": [old]}))), None);
        // The record is written with the end; until it is seen the end is not known.
        assert_eq!(ending.look(&policy("Enforce", json!({"workloads": [old]}))), None);
        let ended = ending.look(&policy("Enforce", json!({"workloads": [record("r1", outcome)]})));
        assert_eq!(ended.as_ref().map(|(well, _)| *well), Some(well));
        assert!(ended.unwrap().1.contains("3 pods restarted"));
    }
}
