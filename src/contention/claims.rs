//! Of several policies that match a pod, the oldest that enforces acts; the others say so. A policy in the middle of a
//! remediation keeps its workload until the journal is cleared, whatever its spec says meanwhile.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt as _,
    core::{Selector, SelectorExt as _},
};

use crate::{
    api::v1alpha1::{Mode, RedisMemoryPolicy},
    domain::{names::ControllerUid, surroundings::Claim},
};

/// The claims of other policies on the controllers of those pods: what they remediate, and what older ones match, but
/// for what this one remediates. Pure.
pub fn of_others<'a>(
    mine: &RedisMemoryPolicy,
    others: impl Iterator<Item = &'a RedisMemoryPolicy>,
    pods: &[impl AsRef<Pod>],
) -> Vec<Claim> {
    let others: Vec<&RedisMemoryPolicy> =
        others.filter(|other| other.namespace() == mine.namespace() && other.uid() != mine.uid()).collect();
    let under_way = others.iter().filter_map(|other| {
        let journal = other.status.as_ref()?.journal.as_ref()?;
        Some(Claim { policy: other.name_any(), controllers: journal.shard.sets.clone() })
    });
    let age = |policy: &RedisMemoryPolicy| (policy.creation_timestamp().map(|time| time.0), policy.name_any());
    let mut older: Vec<&RedisMemoryPolicy> = others
        .iter()
        .copied()
        .filter(|other| other.spec.mode == Mode::Enforce && other.metadata.deletion_timestamp.is_none())
        .filter(|other| age(other) < age(mine))
        .collect();
    older.sort_by_key(|policy| age(policy));
    // An older one that begins to enforce meanwhile waits: labels and limits of a set are kept by the policy that restarts it.
    let journal = mine.status.as_ref().and_then(|status| status.journal.as_ref());
    let busy = journal.map(|journal| journal.shard.sets.as_slice()).unwrap_or_default();
    let older = older.into_iter().filter_map(|other| claim(other, pods)).filter_map(|mut claim| {
        claim.controllers.retain(|uid| !busy.contains(uid));
        (!claim.controllers.is_empty()).then_some(claim)
    });
    under_way.chain(older).collect()
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

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::{Value, json};

    use super::*;
    use crate::{domain::fixtures, plan};

    fn policy(name: &str, created: &str, mode: &str) -> RedisMemoryPolicy {
        serde_json::from_value(json!({
            "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
            "metadata": {"name": name, "namespace": "shop", "uid": name, "creationTimestamp": created},
            "spec": {"mode": mode, "selector": {"matchLabels": {"app": "redis"}}},
        }))
        .unwrap()
    }

    fn pod() -> Pod {
        let owner: Value = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "redis", "controller": true,
            "uid": fixtures::set_uid().as_str(),
        });
        serde_json::from_value(json!({"metadata": {"labels": {"app": "redis"}, "ownerReferences": [owner]}})).unwrap()
    }

    fn remediating(mut policy: RedisMemoryPolicy) -> RedisMemoryPolicy {
        let (rule, snapshot) = fixtures::enforced();
        let settings = plan::PlanSettings::default();
        let now = fixtures::NOW;
        let ctx = plan::Context::of(&rule, &snapshot, &[], now, &settings);
        let journal = plan::begin::consider(&ctx).begin;
        policy.status = Some(crate::api::v1alpha1::RedisMemoryPolicyStatus { journal, ..Default::default() });
        policy
    }

    fn owners(mine: &RedisMemoryPolicy, other: &RedisMemoryPolicy) -> Vec<String> {
        of_others(mine, [mine, other].into_iter(), &[std::sync::Arc::new(pod())])
            .into_iter()
            .map(|claim| claim.policy)
            .collect()
    }

    #[test]
    fn the_oldest_that_enforces_owns_a_workload() {
        let old = policy("old", "2026-01-01T00:00:00Z", "Enforce");
        let young = policy("young", "2026-02-01T00:00:00Z", "Enforce");
        assert_eq!(owners(&young, &old), ["old"]);
        assert_eq!(owners(&old, &young), Vec::<String>::new());
        assert_eq!(owners(&young, &policy("old", "2026-01-01T00:00:00Z", "Observe")), Vec::<String>::new());
    }

    // Found by the simulator: the older policy was set to Observe in the middle of its remediation, and the younger began.
    #[test]
    fn who_remediates_owns_the_workload_until_it_has_ended() {
        let old = remediating(policy("old", "2026-01-01T00:00:00Z", "Observe"));
        let young = policy("young", "2026-02-01T00:00:00Z", "Enforce");
        assert_eq!(owners(&young, &old), ["old"]);
        let (old, young) = (policy("old", "2026-01-01T00:00:00Z", "Enforce"), remediating(young));
        assert_eq!(owners(&old, &young), ["young"]);
        // Found by the simulator, too: each of the two left the labels to the other, and the remediation waited for them.
        assert_eq!(owners(&young, &old), Vec::<String>::new(), "and keeps what belongs to it right");
    }
}
