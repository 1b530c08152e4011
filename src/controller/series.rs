//! What is exported of a policy's targets: the verdicts of this reconcile, and where a scrape finds what is measured.

use std::collections::HashSet;

use crate::{
    api::v1alpha1::{FindingStatus, RedisMemoryPolicyStatus},
    assess::{headroom::Demand, judged::Judged},
    domain::{
        blocked::BlockReason,
        bytes::Bytes,
        finding::{FindingCode, Severity},
        journal::{Journal, WorkloadRecord},
        names::PodName,
        pod::Container,
        policy::Policy,
        snapshot::{Snapshot, Target},
        step::Plan,
    },
    metrics::{Measured, PolicySeries, Source, TargetSeries, WriteGapSeries},
    observe::sampler::{Gauged, SamplerHandle, TargetKey},
    report::conditions,
};

/// The series of every target. What is not known has no value.
pub(super) fn of(
    policy: &Policy,
    snapshot: &Snapshot,
    findings: &[FindingStatus],
    judged: &Judged,
    sampler: &SamplerHandle,
) -> Vec<TargetSeries> {
    snapshot.targets.iter().map(|target| series(policy, target, findings, judged, sampler)).collect()
}

/// What is exported of a policy beside its pods, from the status as it is told and every finding of this look: the stored
/// ones are bounded and grouped. Codes and reasons of another version of this program are left out.
pub(super) fn of_policy(
    status: &RedisMemoryPolicyStatus,
    findings: &[FindingStatus],
    records: &[WorkloadRecord],
) -> PolicySeries {
    let mut series = PolicySeries {
        level: status.verdict.as_ref().map(|verdict| verdict.level.clone()).unwrap_or_default(),
        plan: status.plan.as_ref().map(|plan| plan.steps.iter().map(|planned| planned.step.kind()).collect()),
        ..PolicySeries::default()
    };
    for finding in findings {
        let Some(code) = FindingCode::named(&finding.code) else { continue };
        let pods = u32::try_from(finding.pods.len()).unwrap_or(u32::MAX).max(1);
        let found = series.findings.entry((code, Severity::named(&finding.severity))).or_default();
        *found = found.saturating_add(pods);
    }
    for refusal in &status.refusals {
        let Some(reason) = BlockReason::named(&refusal.reason) else { continue };
        let since = series.refusals.entry(reason).or_insert(refusal.since);
        *since = (*since).min(refusal.since);
    }
    // A set that was made anew under its name has two records, the newest first: one series.
    for record in records {
        if let Some(outcome) = record.outcome {
            series.last.entry(record.name.clone()).or_insert((outcome, record.ended_at));
        }
    }
    series
}

/// What the proofs of a remediation measured since the journal before: resident memory that restarts gave back, in bytes.
pub(super) fn reclaimed(before: Option<&Journal>, now: &Journal) -> u64 {
    let proven = |journal: &Journal, pod: &PodName| journal.member(pod).and_then(|member| member.rss_after_bytes);
    let given = now.members.iter().filter_map(|member| {
        let after = member.rss_after_bytes?;
        let known = before.and_then(|before| proven(before, &member.identity.pod));
        known.is_none().then(|| u64::try_from(member.rss_bytes.saturating_sub(after)).unwrap_or(0))
    });
    given.fold(0, u64::saturating_add)
}

/// How long writes stop at hand-overs: of the plan that is due or under way, and as it was last for each workload.
pub(super) fn write_gaps(plan: Option<&Plan>, records: &[WorkloadRecord]) -> Vec<WriteGapSeries> {
    let planned = plan.and_then(|plan| Some((plan.workload_name.as_str(), plan.write_gap.as_ref()?)));
    let remembered = |name: &str| records.iter().find(|record| record.name == name)?.write_gap.as_ref();
    let others = records.iter().filter_map(|record| Some((record.name.as_str(), record.write_gap.as_ref()?)));
    // A set that was made anew under its name has two records, the newest first: one series.
    let mut named = HashSet::new();
    let gaps = planned.into_iter().chain(others).filter(|(name, _)| named.insert(*name));
    gaps.map(|(name, gap)| WriteGapSeries {
        workload: name.to_owned(),
        estimated: gap.estimate(),
        measured: gap.measured().or_else(|| remembered(name)?.measured()),
    })
    .collect()
}

fn series(
    policy: &Policy,
    target: &Target,
    findings: &[FindingStatus],
    judged: &Judged,
    sampler: &SamplerHandle,
) -> TargetSeries {
    let pod = target.pod.name.as_str();
    let stale = findings.iter().filter(|finding| finding.stale && finding.pod.as_deref() == Some(pod)).count();
    let container = target.pod.container.as_ref().ok();
    let limit = container.and_then(Container::limit);
    let key = TargetKey { policy_uid: policy.uid.clone(), pod_uid: target.pod.uid.clone() };
    let (demand, sampler) = (judged.demand(pod).copied(), sampler.clone());
    TargetSeries {
        pod: target.pod.name.to_string(),
        container: container.map(|container| container.name.clone()).unwrap_or_default(),
        container_limit: limit,
        compliant: conditions::compliant(findings, judged, pod),
        stale_findings: u32::try_from(stale).ok().filter(|stale| *stale > 0),
        measured: Source::new(move || measured(&sampler.gauged(&key), demand, limit)),
    }
}

fn measured(gauged: &Gauged, demand: Option<Demand>, limit: Option<Bytes>) -> Measured {
    let mut measured = Measured { sample_age: gauged.sample_age, ..Measured::default() };
    measured.latest_fork = gauged.latest_fork.filter(|time| !time.is_zero());
    let Some(memory) = &gauged.memory else { return measured };
    measured.maxmemory = Some(memory.maxmemory);
    if memory.is_measured() {
        (measured.used, measured.resident) = (Some(memory.used), Some(memory.rss));
        measured.fragmentation_ratio = Some(memory.ratio);
        measured.fragmentation_bytes = Some(difference(memory.rss, memory.used));
    }
    if memory.maxmemory > Bytes::ZERO {
        // What may turn out not to be needed is not required yet: an alert compares the two.
        let required = demand.map(|demand| demand.surely(memory.maxmemory).round_up_mib());
        measured.headroom_required = required.map(|required| required.saturating_sub(memory.maxmemory));
        measured.headroom = limit.map(|limit| difference(limit, memory.maxmemory));
    }
    measured
}

fn difference(left: Bytes, right: Bytes) -> i64 {
    let wide = i128::from(left.0) - i128::from(right.0);
    i64::try_from(wide).unwrap_or(if wide < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::v1alpha1::RefusalStatus,
        domain::{
            fixtures::{self, NOW},
            journal::Outcome,
            names::ControllerUid,
            shard::ShardId,
            write_gap::WriteGap,
        },
        metrics::{Metrics, PolicyKey},
        plan::PlanSettings,
    };
    use std::time::Duration;

    /// Each pod of a finding counts, what is about the policy is one, and words of another version make no series.
    #[test]
    fn a_policy_is_counted_from_what_is_told() {
        let finding = |code: &str, severity: &str, pods: &[&str]| FindingStatus {
            code: code.to_owned(),
            severity: severity.to_owned(),
            pod: pods.first().map(|pod| (*pod).to_owned()),
            pod_uid: None,
            pods: pods.iter().map(|pod| (*pod).to_owned()).collect(),
            since: None,
            stale: false,
            evidence: String::new(),
            remedy: String::new(),
            remedy_afterwards: String::new(),
        };
        let findings = [
            finding("RssNearLimit", "Warning", &["redis-0", "redis-1"]),
            finding("RssNearLimit", "Warning", &["redis-2"]),
            finding("RssNearLimit", "Critical", &["redis-3"]),
            finding("NoTargets", "Info", &[]),
            finding("OfTheNextVersion", "Warning", &["redis-0"]),
        ];
        let refusal = |reason: &str, since| RefusalStatus {
            reason: reason.to_owned(),
            since,
            text: String::new(),
            lifted_by: String::new(),
        };
        let earlier = NOW - jiff::SignedDuration::from_hours(3);
        let status = RedisMemoryPolicyStatus {
            refusals: vec![refusal("Cooldown", NOW), refusal("Cooldown", earlier), refusal("OfTheNextVersion", NOW)],
            ..RedisMemoryPolicyStatus::default()
        };
        let ended = |outcome| WorkloadRecord {
            outcome: Some(outcome),
            ..WorkloadRecord::new(fixtures::shard_id(), "redis".to_owned(), NOW)
        };
        let never = WorkloadRecord::new(fixtures::shard_id(), "other".to_owned(), NOW);
        let series = of_policy(&status, &findings, &[ended(Outcome::TimedOut), ended(Outcome::Succeeded), never]);
        let rss = FindingCode::RssNearLimit;
        let found = [
            ((rss, Severity::Warning), 3),
            ((rss, Severity::Critical), 1),
            ((FindingCode::NoTargets, Severity::Info), 1),
        ];
        assert_eq!(series.findings, found.into());
        assert_eq!(series.refusals, [(BlockReason::Cooldown, earlier)].into());
        assert_eq!(series.last, [("redis".to_owned(), (Outcome::TimedOut, NOW))].into());
        assert_eq!((series.level.as_str(), series.plan), ("", None));
    }

    /// A level that the schema knows and the metrics do not would be a policy without a verdict.
    #[test]
    fn every_level_of_the_schema_has_its_series() {
        let text = include_str!("../../crds/redismemorypolicies.yaml");
        let definition: serde_json::Value = serde_yaml::from_str(text).expect("the definition");
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let verdict = &schema["properties"]["status"]["properties"]["verdict"];
        let levels = verdict["properties"]["level"]["enum"].as_array().expect("levels");
        let metrics = Metrics::new("operator");
        metrics.show_targets(true);
        for level in levels {
            let series =
                PolicySeries { level: level.as_str().unwrap_or_default().to_owned(), ..PolicySeries::default() };
            metrics.publish_policy(&PolicyKey::new("shop", "sessions"), series);
            let page = metrics.render().expect("a page");
            let shown: Vec<&str> =
                page.lines().filter(|line| line.starts_with("redis_memory_policy_verdict{")).collect();
            assert_eq!(shown.len(), levels.len());
            assert!(shown.iter().any(|line| line.ends_with(&format!("level={level}}} 1.0"))), "{level}: {shown:?}");
        }
    }

    #[test]
    fn what_a_proof_measured_is_counted_once() {
        let (policy, snapshot) = fixtures::enforced();
        let settings = PlanSettings::default();
        let ctx = crate::plan::Context::of(&policy, &snapshot, &[], NOW, &settings);
        let before = crate::plan::begin::consider(&ctx).begin.expect("a remediation begins");
        assert_eq!(reclaimed(None, &before), 0);
        let mut proven = before.clone();
        let [first, second, ..] = proven.members.as_mut_slice() else { panic!("members") };
        first.rss_after_bytes = Some(first.rss_bytes - 1000);
        // It grew: nothing was given back.
        second.rss_after_bytes = Some(second.rss_bytes + 50);
        assert_eq!(reclaimed(Some(&before), &proven), 1000);
        assert_eq!(reclaimed(Some(&proven), &proven), 0);
    }

    /// Twice the same labels is an error that costs the whole scrape.
    #[test]
    fn a_set_that_was_made_anew_under_its_name_has_one_series() {
        let record = |shard, seconds| WorkloadRecord {
            write_gap: Some(WriteGap::estimated(Duration::from_secs(seconds), "measured")),
            ..WorkloadRecord::new(shard, "redis".to_owned(), NOW)
        };
        let before = ShardId { sets: vec![ControllerUid::new("before")], shard: None };
        let series = write_gaps(None, &[record(fixtures::shard_id(), 1), record(before, 2)]);
        let estimated: Vec<u64> = series.iter().map(|one| one.estimated.as_secs()).collect();
        assert_eq!(estimated, [1], "of the newest");
    }
}
