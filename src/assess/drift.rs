//! Settings that a restart would change: what is live against what the template's arguments start with.
//!
//! What a configuration file says is not seen, so only settings that `command` and `args` name are compared.

use super::{Assessment, own_maxmemory};
use crate::domain::{
    bytes::Bytes,
    finding::{Finding, FindingCode},
    journal::{Journal, Outcome, StartRecord, WorkloadRecord},
    names::PodName,
    pod::StatefulSet,
    policy::Policy,
    sample::Config,
    shard::ShardId,
    snapshot::Target,
    start::redis_bytes,
};

pub(super) fn findings(look: &Assessment<'_>, records: &[WorkloadRecord]) -> Vec<Finding> {
    let of_target = |target| {
        // What we set has its own finding.
        let ours = own_maxmemory::is_ours(look, records, target);
        finding(look.set_of(target)?, target, |name| ours && name == "maxmemory")
    };
    look.snapshot.targets.iter().filter_map(of_target).collect()
}

/// A remediation that could not give a server its settings back, until the spec changes or another one has run.
pub(super) fn of_records(policy: &Policy, records: &[WorkloadRecord]) -> Vec<Finding> {
    let failed = records
        .iter()
        .filter(|record| record.outcome == Some(Outcome::ConfigDrift) && record.generation == policy.generation);
    failed
        .map(|record| {
            Finding::new(
                FindingCode::ConfigDrift,
                None,
                format!("{}: {}", record.name, record.message),
                "set it by hand and write it into the template, then change the spec or wait for the cooldown",
            )
        })
        .collect()
}

/// Settings with which the last replacement of a pod started and that are others now: its next restart brings them
/// back. Said until it came back without them, has another revision, or is set to them. `journal`: the remediation under
/// way, which may have seen more.
pub fn of_starts(look: &Assessment<'_>, records: &[WorkloadRecord], journal: Option<&Journal>) -> Vec<Finding> {
    let seen: Vec<&StartRecord> =
        journal.into_iter().flat_map(|journal| &journal.members).filter_map(|member| member.started.as_ref()).collect();
    let of_set =
        |target: &Target, id: &ShardId| target.pod.owner.as_ref().is_some_and(|owner| id.sets.contains(&owner.uid));
    let under_way = |id: &ShardId, pod: &PodName| {
        journal.is_some_and(|journal| journal.shard.is(id)) && seen.iter().any(|start| start.pod == *pod)
    };
    let mut findings = Vec::new();
    for target in &look.snapshot.targets {
        let name = &target.pod.name;
        let now = journal.filter(|journal| of_set(target, &journal.shard));
        let now = now.and_then(|_| seen.iter().copied().find(|start| start.pod == *name));
        let mut before =
            records.iter().filter(|record| of_set(target, &record.shard) && !under_way(&record.shard, name));
        let before = before.find_map(|record| record.starts.iter().find(|start| start.pod == *name));
        findings.extend(now.or(before).and_then(|start| started_otherwise(look, target, start)));
    }
    findings
}

fn started_otherwise(look: &Assessment<'_>, target: &Target, start: &StartRecord) -> Option<Finding> {
    let config = target.sample()?.config.as_ref().ok()?;
    if target.pod.revision.as_deref().unwrap_or_default() != start.revision {
        return None;
    }
    let container = target.pod.container.as_ref().ok().map(|container| container.name.as_str()).unwrap_or_default();
    let set = look.set_of(target);
    let differing: Vec<String> = start
        .settings
        .iter()
        // What the template says has its own finding.
        .filter(|value| set.is_none_or(|set| set.start_value(container, &value.name).is_none()))
        .filter_map(|value| {
            let live = config.get(&value.name)?;
            (live != value.start)
                .then(|| format!("{} is {}, it started with {}", value.name, shown(&live), shown(&value.start)))
        })
        .collect();
    (!differing.is_empty()).then(|| {
        Finding::new(
            FindingCode::ConfigDrift,
            Some(target.pod.name.clone()),
            format!("when it was last restarted: {}", differing.join("; ")),
            "write the value that is meant into the configuration that the pod starts with (file, script or \
             arguments): the next restart that is not this operator's brings back what it started with",
        )
    })
}

fn finding(set: &StatefulSet, target: &Target, said: impl Fn(&str) -> bool) -> Option<Finding> {
    let config = target.sample()?.config.as_ref().ok()?;
    let container = target.pod.container.as_ref().ok()?;
    let differing: Vec<String> = live(config)
        .into_iter()
        .filter_map(|(name, live, same)| {
            let start = set.start_value(&container.name, name).filter(|_| !said(name))?;
            (!same(start)?).then(|| format!("{name} is {live}, the template starts it with {}", shown(start)))
        })
        .collect();
    (!differing.is_empty()).then(|| {
        Finding::new(
            FindingCode::ConfigDrift,
            Some(target.pod.name.clone()),
            differing.join("; "),
            format!(
                "write the value that is meant into the template of {}, or set it by CONFIG SET: the next restart that \
                 is not this operator's returns to the template's",
                set.name
            ),
        )
    })
}

/// Whether the start value says the same; `None`: it cannot be read.
type Same<'a> = Box<dyn Fn(&str) -> Option<bool> + 'a>;

fn live(config: &Config) -> [(&'static str, String, Same<'_>); 5] {
    let bytes = |live: Bytes| -> Same<'_> { Box::new(move |start| redis_bytes(start).map(|start| start == live)) };
    let text = |live: String| -> Same<'_> { Box::new(move |start| Some(start.eq_ignore_ascii_case(&live))) };
    let appendonly = if config.appendonly { "yes" } else { "no" };
    [
        ("maxmemory", config.maxmemory.to_string(), bytes(config.maxmemory)),
        ("maxmemory-policy", config.maxmemory_policy.clone(), text(config.maxmemory_policy.clone())),
        ("appendonly", appendonly.to_owned(), text(appendonly.to_owned())),
        ("save", shown(&config.save), text(config.save.clone())),
        ("repl-backlog-size", config.repl_backlog_size.to_string(), bytes(config.repl_backlog_size)),
    ]
}

pub(super) fn shown(value: &str) -> String {
    if value.is_empty() { "\"\"".to_owned() } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_that_failed_is_said_until_the_spec_changes() {
        let mut policy = crate::domain::fixtures::policy();
        let record = |outcome| WorkloadRecord {
            outcome: Some(outcome),
            remediation: "r".into(),
            generation: policy.generation,
            message: "maxmemory of redis-1 could not be set to what the pod before had".into(),
            ..WorkloadRecord::new(ShardId::whole("u".into()), "redis".into(), crate::domain::fixtures::NOW)
        };
        let records = [record(Outcome::Succeeded), record(Outcome::ConfigDrift)];
        let found = of_records(&policy, &records);
        assert_eq!(found.len(), 1);
        assert!(found[0].evidence.contains("redis-1"), "{found:?}");
        policy.generation += 1;
        assert_eq!(of_records(&policy, &records), []);
    }
}
