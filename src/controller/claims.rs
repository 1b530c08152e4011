//! Of several policies that match a pod, the oldest that enforces acts; the others say so.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt as _,
    core::{Selector, SelectorExt as _},
};

use crate::{
    api::v1alpha1::{Mode, RedisMemoryPolicy},
    domain::names::ControllerUid,
    observe::snapshot::Claim,
};

/// The claims of older policies on the controllers of those pods. Pure.
pub(crate) fn of_others<'a>(
    mine: &RedisMemoryPolicy,
    others: impl Iterator<Item = &'a RedisMemoryPolicy>,
    pods: &[impl AsRef<Pod>],
) -> Vec<Claim> {
    let age = |policy: &RedisMemoryPolicy| (policy.creation_timestamp().map(|time| time.0), policy.name_any());
    let mut older: Vec<&RedisMemoryPolicy> = others
        .filter(|other| other.namespace() == mine.namespace() && other.uid() != mine.uid())
        .filter(|other| other.spec.mode == Mode::Enforce && other.metadata.deletion_timestamp.is_none())
        .filter(|other| age(other) < age(mine))
        .collect();
    older.sort_by_key(|policy| age(policy));
    older.into_iter().filter_map(|other| claim(other, pods)).collect()
}

fn claim(other: &RedisMemoryPolicy, pods: &[impl AsRef<Pod>]) -> Option<Claim> {
    // A selector that cannot be read selects nothing: its policy is stalled and acts for nobody.
    let selector = Selector::try_from(other.spec.selector.clone()).ok()?;
    let mut controllers: Vec<ControllerUid> = pods
        .iter()
        .map(AsRef::as_ref)
        .filter(|pod| selector.matches(pod.labels()))
        .filter_map(|pod| pod.owner_references().iter().find(|owner| owner.controller == Some(true)))
        .map(|owner| ControllerUid::new(owner.uid.clone()))
        .collect();
    controllers.sort();
    controllers.dedup();
    (!controllers.is_empty()).then(|| Claim { policy: other.name_any(), controllers })
}
