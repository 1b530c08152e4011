//! Writing journal, workload records and the finalizer: always whole, always against the version that was read.

use kube::ResourceExt as _;
use serde_json::json;

use crate::{
    api::v1alpha1::{FINALIZER, RedisMemoryPolicy},
    domain::journal::{Journal, WorkloadRecord},
    kube_io::{
        fence::Fence,
        write::{WriteError, Writer},
    },
};

/// The status keeps this many workload records; the oldest make room.
const MAX_RECORDS: usize = 100;

/// Writes journal and records; returns the resource as it is then.
pub(super) async fn write(
    writer: &Writer,
    fence: &Fence,
    resource: &RedisMemoryPolicy,
    journal: Option<&Journal>,
    records: &[WorkloadRecord],
) -> Result<RedisMemoryPolicy, WriteError> {
    let mut part = serde_json::Map::new();
    if let Some(journal) = journal {
        part.insert("journal".to_owned(), json!(journal));
    }
    if !records.is_empty() {
        part.insert("workloads".to_owned(), json!(records));
    }
    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    let version = resource.resource_version().unwrap_or_default();
    writer.apply_journal(fence, &namespace, &name, &version, part.into()).await
}

/// Adds or removes the finalizer; returns the resource as it is then.
pub(super) async fn finalizer(
    writer: &Writer,
    fence: &Fence,
    resource: RedisMemoryPolicy,
    present: bool,
) -> Result<RedisMemoryPolicy, WriteError> {
    if resource.finalizers().iter().any(|finalizer| finalizer == FINALIZER) == present {
        return Ok(resource);
    }
    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    let version = resource.resource_version().unwrap_or_default();
    writer.set_finalizer(fence, &namespace, &name, &version, present).await
}

/// The records with this one in place of the workload's earlier one.
pub(super) fn with_record(records: &[WorkloadRecord], new: WorkloadRecord) -> Vec<WorkloadRecord> {
    let mut kept: Vec<WorkloadRecord> = records.iter().filter(|record| record.uid != new.uid).cloned().collect();
    kept.sort_by_key(|record| std::cmp::Reverse(record.ended_at));
    kept.truncate(MAX_RECORDS - 1);
    kept.push(new);
    kept
}
