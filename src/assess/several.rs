//! After two primaries: who is the only one now, and whether it holds what clients were told is stored.

use crate::{
    domain::{
        finding::{Finding, FindingCode},
        journal::WorkloadRecord,
        lineage::SeveralPrimaries,
        policy::Policy,
        snapshot::Target,
    },
    topology::Shard,
};

/// By this annotation on the policy a person says that the primary that there is now is the right one.
pub const ACCEPT_ANNOTATION: &str = "redismemory.io/accept-primary";

/// The mark that two primaries left in the record of that workload.
pub fn mark<'a>(shard: &Shard<'_>, records: &'a [WorkloadRecord]) -> Option<&'a SeveralPrimaries> {
    shard.record(records)?.several_primaries.as_ref()
}

/// The mark, and the one primary that there is now, when that one does not hold the recorded history: no label follows
/// it and nothing is done, until a person has said that it is right.
pub fn unsettled<'a, 'b>(
    shard: &Shard<'a>,
    records: &'b [WorkloadRecord],
) -> Option<(&'b SeveralPrimaries, &'a Target)> {
    let mark = mark(shard, records)?;
    let primary = shard.primary()?;
    (!mark.continued_by(primary)).then_some((mark, primary))
}

/// The value of the annotation that accepts that primary: an acceptance of another one, or of an earlier case, is none.
pub fn acceptance(mark: &SeveralPrimaries, primary: &Target) -> String {
    format!("{}.{}", primary.pod.name, mark.seen_at.as_second())
}

/// Who is who, and what a person can do.
pub fn text(policy: &Policy, mark: &SeveralPrimaries, primary: &Target) -> String {
    let history: String =
        primary.sample().map(|sample| sample.replication.replid.chars().take(8).collect()).unwrap_or_default();
    format!(
        "several members were primaries at {}: {}. {} is the only one now ({} keys, history {history}), and what it holds \
         does not continue the recorded history: no role label follows it and nothing is done. Save what the others hold \
         and compare; if it is right: kubectl annotate --overwrite rmp {} -n {} {ACCEPT_ANNOTATION}={}",
        mark.seen_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        mark.who_is_who(),
        primary.pod.name,
        primary.sample().map_or(0, |sample| sample.keys),
        policy.name,
        policy.namespace,
        acceptance(mark, primary)
    )
}

pub(super) fn finding(policy: &Policy, shard: &Shard<'_>, records: &[WorkloadRecord]) -> Option<Finding> {
    let (mark, primary) = unsettled(shard, records)?;
    Some(Finding::new(
        FindingCode::TwoPrimaries,
        None,
        format!(
            "{}: several members were primaries: {}; {} is the only one now, and what it holds does not continue \
             the recorded history",
            shard.name,
            mark.who_is_who(),
            primary.pod.name
        ),
        format!(
            "save what the others hold and compare; nothing is done here and no role label moves until {} is primary \
             again, or a person accepts {}: kubectl annotate --overwrite rmp {} -n {} {ACCEPT_ANNOTATION}={}",
            mark.recorded.as_ref().map_or("the right one", |it| it.identity.pod.as_str()),
            primary.pod.name,
            policy.name,
            policy.namespace,
            acceptance(mark, primary)
        ),
    ))
}
