//! Writing journal, workload records and the finalizer: always whole, always against the version that was read.

use kube::ResourceExt as _;
use serde_json::json;

use super::{
    ports::{Policies, PolicyVersion, World},
    reconciler::Reconciler,
};
use crate::{
    api::v1alpha1::{FINALIZER, RedisMemoryPolicy},
    clock::Time as _,
    domain::{
        journal::{Journal, JournalOwner, WorkloadRecord},
        request::AnsweredRequest,
    },
    kube_io::write::WriteError,
};

/// The status keeps this many workload records; the oldest make room.
const MAX_RECORDS: usize = 100;

/// A spec that is longer is not kept beside the journal: the bound of its field.
const MAX_SPEC: usize = 32_768;

/// Writes journal and records, the journal with its heartbeat; returns the resource as it is then. What was answered last
/// stays.
pub(super) async fn write<W: World>(
    reconciler: &Reconciler<W>,
    resource: &RedisMemoryPolicy,
    journal: Option<&Journal>,
    records: &[WorkloadRecord],
) -> Result<RedisMemoryPolicy, WriteError> {
    let answered = resource.status.as_ref().and_then(|status| status.request.as_ref());
    write_answered(reconciler, resource, journal, records, answered).await
}

/// The same, with the answer to a request.
pub(super) async fn write_answered<W: World>(
    reconciler: &Reconciler<W>,
    resource: &RedisMemoryPolicy,
    journal: Option<&Journal>,
    records: &[WorkloadRecord],
    answered: Option<&AnsweredRequest>,
) -> Result<RedisMemoryPolicy, WriteError> {
    let ports = &reconciler.executor.ports;
    let uid = resource.uid().unwrap_or_default();
    let mut part = serde_json::Map::new();
    if let Some(journal) = journal {
        let owner =
            JournalOwner { install: reconciler.install.clone(), policy_uid: uid.clone(), renewed_at: ports.now() };
        part.insert("journal".to_owned(), json!(Journal { owner: Some(owner), ..journal.clone() }));
        if let Some(spec) = frozen_spec(resource, journal) {
            part.insert("frozenSpec".to_owned(), json!(spec));
        }
    }
    if !records.is_empty() {
        part.insert("workloads".to_owned(), json!(records));
    }
    if let Some(answered) = answered {
        part.insert("request".to_owned(), json!(answered));
    }
    let of = PolicyVersion::of(&resource.metadata);
    let written = ports.apply_journal(of, part.into()).await?.under(&resource.spec);
    reconciler.memory.beat(&uid, ports.uptime());
    reconciler.memory.made(&uid, written.resource_version());
    Ok(written)
}

/// The spec with which the remediation was begun: as it was kept, or as it is now if the journal was made from it.
fn frozen_spec(resource: &RedisMemoryPolicy, journal: &Journal) -> Option<String> {
    let status = resource.status.as_ref().filter(|status| status.journal.is_some());
    if let Some(kept) = status.and_then(|status| status.frozen_spec.clone()) {
        return Some(kept);
    }
    let made_from_it = resource.metadata.generation.unwrap_or_default() == journal.generation;
    let spec = serde_json::to_string(&resource.spec).ok().filter(|spec| spec.len() <= MAX_SPEC);
    spec.filter(|_| made_from_it)
}

/// Whether two journals say the same: a heartbeat in between is no difference.
pub(super) fn same(one: &Journal, other: &Journal) -> bool {
    let bare = |journal: &Journal| Journal { owner: None, ..journal.clone() };
    bare(one) == bare(other)
}

/// Adds or removes the finalizer; returns the resource as it is then.
pub(super) async fn finalizer<P: Policies>(
    ports: &P,
    resource: RedisMemoryPolicy,
    present: bool,
) -> Result<RedisMemoryPolicy, WriteError> {
    if resource.finalizers().iter().any(|finalizer| finalizer == FINALIZER) == present {
        return Ok(resource);
    }
    let written = ports.set_finalizer(PolicyVersion::of(&resource.metadata), present).await?;
    Ok(written.under(&resource.spec))
}

/// The records with this one in place of the workload's earlier one.
pub(super) fn with_record(records: &[WorkloadRecord], new: WorkloadRecord) -> Vec<WorkloadRecord> {
    let mut kept: Vec<WorkloadRecord> = records.iter().filter(|record| !record.shard.is(&new.shard)).cloned().collect();
    kept.push(new);
    bounded(kept)
}

/// The records that are kept: the newest, and before them those that must not be forgotten.
pub(super) fn bounded(mut records: Vec<WorkloadRecord>) -> Vec<WorkloadRecord> {
    records.sort_by_key(|record| std::cmp::Reverse((record.several_primaries.is_some(), record.ended_at)));
    records.truncate(MAX_RECORDS);
    records
}
