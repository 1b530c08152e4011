//! What is exported of a policy's targets: the verdicts of this reconcile, and where a scrape finds what is measured.

use std::collections::HashSet;

use crate::{
    api::v1alpha1::FindingStatus,
    assess::{headroom, judged::Judged},
    domain::{
        bytes::Bytes,
        journal::WorkloadRecord,
        pod::Container,
        policy::{HeadroomRule, Policy},
        snapshot::{Snapshot, Target},
        step::Plan,
    },
    metrics::{Measured, Source, TargetSeries, WriteGapSeries},
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
    let (rule, sampler) = (policy.headroom.clone(), sampler.clone());
    TargetSeries {
        pod: target.pod.name.to_string(),
        container: container.map(|container| container.name.clone()).unwrap_or_default(),
        container_limit: limit,
        compliant: conditions::compliant(findings, judged, pod),
        stale_findings: u32::try_from(stale).ok().filter(|stale| *stale > 0),
        measured: Source::new(move || measured(&sampler.gauged(&key), &rule, limit)),
    }
}

fn measured(gauged: &Gauged, rule: &HeadroomRule, limit: Option<Bytes>) -> Measured {
    let mut measured = Measured { sample_age: gauged.sample_age, ..Measured::default() };
    let Some(memory) = &gauged.memory else { return measured };
    if memory.is_measured() {
        measured.fragmentation_ratio = Some(memory.ratio);
        measured.fragmentation_bytes = Some(difference(memory.rss, memory.used));
    }
    if memory.maxmemory > Bytes::ZERO {
        let required = headroom::required_limit(rule, memory.maxmemory);
        measured.headroom_required = Some(required.saturating_sub(memory.maxmemory));
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
    use crate::domain::{
        fixtures::{self, NOW},
        names::ControllerUid,
        shard::ShardId,
        write_gap::WriteGap,
    };
    use std::time::Duration;

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
