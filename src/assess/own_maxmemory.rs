//! `maxmemory` that this operator set: what a start brings back instead is a finding until the template says what is set.

use super::{Assessment, patch};
use crate::{
    domain::{
        bytes::Bytes,
        finding::{Finding, FindingCode},
        journal::{MemberIdentity, OwnMaxmemory, WorkloadRecord},
        quantity,
        sample::Sample,
        snapshot::{Snapshot, Target},
        start::redis_text,
    },
    topology::Shard,
};

/// What the remedy of a finding begins with where the operator is about to set `maxmemory`.
pub const WILL_SET: &str = "the operator will set maxmemory to ";

pub(super) fn findings(look: &Assessment<'_>, records: &[WorkloadRecord]) -> Vec<Finding> {
    look.shards.iter().filter_map(|shard| finding(look, shard, shard.record(records)?.maxmemory.as_deref()?)).collect()
}

/// Whether that member has its `maxmemory` from us.
pub(super) fn is_ours(look: &Assessment<'_>, records: &[WorkloadRecord], target: &Target) -> bool {
    let own = look.shard_of(target).and_then(|shard| shard.record(records)?.maxmemory.as_deref());
    own.is_some_and(|own| has(own, target))
}

/// What that process used and what was resident before the operator let it evict; `None`: it never did, or it is another
/// process by now.
pub(super) fn before_eviction(
    look: &Assessment<'_>,
    records: &[WorkloadRecord],
    target: &Target,
) -> Option<(Bytes, Bytes)> {
    let own = look.shard_of(target)?.record(records)?.maxmemory.as_deref()?;
    let sample = target.sample()?;
    let is_it = |who: &MemberIdentity| who.uid == target.pod.uid && who.run_id == sample.run_id;
    let before = own.before_eviction.iter().find(|before| is_it(&before.identity))?;
    let bytes = |number: i64| u64::try_from(number).ok().map(Bytes);
    Some((bytes(before.used_bytes)?, bytes(before.rss_bytes)?))
}

/// It is one of the processes on which it was set.
fn is_member(own: &OwnMaxmemory, target: &Target, sample: &Sample) -> bool {
    own.members.iter().any(|who| who.uid == target.pod.uid && who.run_id == sample.run_id)
}

fn has(own: &OwnMaxmemory, target: &Target) -> bool {
    let Some(sample) = target.sample() else { return false };
    is_member(own, target, sample)
        && own.values.iter().any(|value| u64::try_from(*value) == Ok(sample.memory.maxmemory.0))
}

fn finding(look: &Assessment<'_>, shard: &Shard<'_>, own: &OwnMaxmemory) -> Option<Finding> {
    let members: Vec<&Target> = shard.members.iter().copied().filter(|target| has(own, target)).collect();
    let value = members.iter().filter_map(|target| Some(target.sample()?.memory.maxmemory)).min()?;
    let pods: Vec<&str> = members.iter().map(|target| target.pod.name.as_str()).collect();
    let before = match u64::try_from(own.before) {
        // What it was lowered by has been given back.
        Ok(before) if Bytes(before) == value => return None,
        Ok(before) if before > 0 => format!("was {}", Bytes(before)),
        _ => "was 0".to_owned(),
    };
    let place = members
        .first()
        .map(|target| in_start(&look.policy.namespace, look.snapshot, target, (value, None)))
        .unwrap_or_default();
    Some(Finding::new(
        FindingCode::ConfigDrift,
        None,
        format!(
            "{}: the operator set maxmemory to {value} on {} (it {before}): the next start of each is without it",
            shard.name,
            pods.join(", ")
        ),
        format!(
            "write it into what the pods start with; {place}; until then the operator sets it again after each start, and the \
             value stays when this policy is deleted"
        ),
    ))
}

/// Where a `maxmemory`, and a limit for it, are written that hold for new pods of that target's set: what that does to pods, and
/// then the command with the very words.
pub fn in_start(
    namespace: &str,
    snapshot: &Snapshot,
    target: &Target,
    (value, limit): (Bytes, Option<Bytes>),
) -> String {
    let container = target.pod.container.as_ref().map(|container| container.name.as_str()).unwrap_or_default();
    let line = redis_text(value);
    let also = limit.map_or_else(String::new, |it| format!("resources.limits.memory {} and ", quantity::format(it)));
    let place = match (patch::kept_in(snapshot, target), patch::edit(namespace, snapshot, target)) {
        // What is changed in a set that something else makes is taken back.
        (None, Some(edit)) => {
            format!(
                "{edit} (container {container}: {also}args \"--maxmemory\", \"{line}\"; or, instead of args, the line \"maxmemory \
                 {line}\" of its configuration file)"
            )
        }
        (kept_in, _) => {
            let kept_in = kept_in.map_or_else(String::new, |it| format!(" in {it}"));
            format!("{also}the line \"maxmemory {line}\" of the Redis configuration{kept_in}")
        }
    };
    match patch::rolling(namespace, snapshot, target) {
        Some(before) => format!("{before}: {place}"),
        None => place,
    }
}
