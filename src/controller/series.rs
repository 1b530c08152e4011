//! What is exported of a policy's targets. Pure.

use super::conditions;
use crate::{
    api::v1alpha1::FindingStatus,
    assess::{headroom, judged::Judged},
    domain::{
        bytes::Bytes,
        pod::Container,
        policy::Policy,
        snapshot::{Snapshot, Target},
    },
    metrics::TargetSeries,
};

/// The series of every target. What is not known has no value.
pub(super) fn of(
    policy: &Policy,
    snapshot: &Snapshot,
    findings: &[FindingStatus],
    judged: &Judged,
) -> Vec<TargetSeries> {
    snapshot.targets.iter().map(|target| series(policy, target, findings, judged)).collect()
}

fn series(policy: &Policy, target: &Target, findings: &[FindingStatus], judged: &Judged) -> TargetSeries {
    let pod = target.pod.name.as_str();
    let stale = findings.iter().filter(|finding| finding.stale && finding.pod.as_deref() == Some(pod)).count();
    let container = target.pod.container.as_ref().ok();
    let limit = container.and_then(Container::limit);
    let mut series = TargetSeries {
        pod: target.pod.name.to_string(),
        container: container.map(|container| container.name.clone()).unwrap_or_default(),
        container_limit: limit,
        compliant: conditions::compliant(findings, judged, pod),
        stale_findings: u32::try_from(stale).ok().filter(|stale| *stale > 0),
        ..TargetSeries::default()
    };
    let Some(sample) = target.sample() else { return series };
    let memory = &sample.memory;
    if memory.is_measured() {
        series.fragmentation_ratio = Some(memory.ratio);
        series.fragmentation_bytes = Some(difference(memory.rss, memory.used));
    }
    series.sampled_at = Some(sample.at);
    if memory.maxmemory > Bytes::ZERO {
        let required = headroom::required_limit(&policy.headroom, memory.maxmemory);
        series.headroom_required = Some(required.saturating_sub(memory.maxmemory));
        series.headroom = limit.map(|limit| difference(limit, memory.maxmemory));
    }
    series
}

fn difference(left: Bytes, right: Bytes) -> i64 {
    let wide = i128::from(left.0) - i128::from(right.0);
    i64::try_from(wide).unwrap_or(if wide < 0 { i64::MIN } else { i64::MAX })
}
