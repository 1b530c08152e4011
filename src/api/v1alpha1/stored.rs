//! A policy as it is stored, also one that this version cannot read: whose spec has a value of a newer version, say. It
//! must not stop the others, nor be out of reach itself: it can be deleted, and a remediation that is under way goes on
//! under the spec that it was begun with.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use super::{RedisMemoryPolicy, RedisMemoryPolicySpec, RedisMemoryPolicyStatus};

/// What is said of a policy that cannot be read, at most.
const PROBLEM_CAP: usize = 500;

/// A stored policy, readable or not.
#[derive(Clone, Debug)]
pub struct StoredPolicy {
    /// Of one that cannot be read at all; else it is the policy's.
    metadata: ObjectMeta,
    policy: Option<RedisMemoryPolicy>,
    problem: Option<String>,
    /// Of one that cannot be read, as far as it can.
    status: Option<RedisMemoryPolicyStatus>,
    remediated: bool,
}

impl StoredPolicy {
    /// The policy; where its spec cannot be read, under the spec with which its remediation was begun. `None`: it cannot
    /// be read at all.
    pub const fn policy(&self) -> Option<&RedisMemoryPolicy> {
        self.policy.as_ref()
    }

    /// Why the spec (or the status) cannot be read.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Whether a remediation is recorded, readable or not.
    pub const fn is_remediated(&self) -> bool {
        self.remediated
    }

    /// The policy, and where its own spec cannot be read, under that one.
    pub fn under(self, spec: &RedisMemoryPolicySpec) -> RedisMemoryPolicy {
        let Self { metadata, policy, status, .. } = self;
        policy.unwrap_or_else(|| RedisMemoryPolicy { metadata, spec: spec.clone(), status })
    }

    /// One that is gone: nothing is known of it but its name.
    pub const fn gone(metadata: ObjectMeta) -> Self {
        Self { metadata, policy: None, problem: None, status: None, remediated: false }
    }

    fn of(mut stored: Value) -> Result<Self, serde_json::Error> {
        // Nothing here reads who manages which field, and it is the greater part of most objects.
        if let Some(metadata) = stored.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        let stored = &stored;
        let remediated = stored.pointer("/status/journal").is_some_and(|journal| !journal.is_null());
        match RedisMemoryPolicy::deserialize(stored) {
            Ok(policy) => Ok(policy.into()),
            Err(error) => Ok(Self {
                metadata: ObjectMeta::deserialize(&stored["metadata"])?,
                policy: remediated.then(|| frozen(stored)).flatten(),
                problem: Some(error.to_string().chars().take(PROBLEM_CAP).collect()),
                status: RedisMemoryPolicyStatus::deserialize(&stored["status"]).ok(),
                remediated,
            }),
        }
    }
}

/// The same under the spec that is kept beside the journal.
fn frozen(stored: &Value) -> Option<RedisMemoryPolicy> {
    let text = stored.pointer("/status/frozenSpec")?.as_str()?;
    let mut stored = stored.clone();
    *stored.get_mut("spec")? = serde_json::from_str(text).ok()?;
    RedisMemoryPolicy::deserialize(stored).ok()
}

impl RedisMemoryPolicy {
    /// The same under the spec with which the remediation was begun; `None`: none is under way, or it was begun by a
    /// version that kept no spec.
    #[must_use]
    pub fn frozen(&self) -> Option<Self> {
        let status = self.status.as_ref()?;
        status.journal.as_ref()?;
        let spec = serde_json::from_str(status.frozen_spec.as_deref()?).ok()?;
        Some(Self { spec, ..self.clone() })
    }
}

/// One that can be read.
impl From<RedisMemoryPolicy> for StoredPolicy {
    fn from(policy: RedisMemoryPolicy) -> Self {
        Self {
            metadata: policy.metadata.clone(),
            remediated: policy.status.as_ref().is_some_and(|status| status.journal.is_some()),
            policy: Some(policy),
            problem: None,
            status: None,
        }
    }
}

impl<'de> Deserialize<'de> for StoredPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Resource for StoredPolicy {
    type DynamicType = ();
    type Scope = <RedisMemoryPolicy as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        RedisMemoryPolicy::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        RedisMemoryPolicy::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        RedisMemoryPolicy::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        RedisMemoryPolicy::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.policy.as_ref().map_or(&self.metadata, |policy| &policy.metadata)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.policy.as_mut().map_or(&mut self.metadata, |policy| &mut policy.metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use serde_json::json;

    fn stored(mode: &str, status: &Value) -> StoredPolicy {
        let object = json!({
            "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
            "metadata": {"name": "sessions", "namespace": "shop", "uid": "u-1", "finalizers": ["redismemory.io/remediation"]},
            "spec": {"mode": mode, "selector": {"matchLabels": {"app": "redis"}}}, "status": status,
        });
        serde_json::from_value(object).expect("whatever the spec says")
    }

    #[test]
    fn what_can_be_read_is_as_it_is() {
        let stored = stored("Enforce", &json!({}));
        assert_eq!((stored.problem(), stored.is_remediated()), (None, false));
        assert_eq!(stored.policy().and_then(|policy| policy.metadata.uid.clone()).as_deref(), Some("u-1"));
    }

    // A newer version's value under an older operator: it had no status, and its finalizer was never taken away.
    #[test]
    fn what_cannot_be_read_has_its_metadata_and_a_reason() {
        let stored = stored("Oversee", &json!({"observedGeneration": 3}));
        assert!(stored.policy().is_none());
        assert!(stored.problem().is_some_and(|text| text.contains("Oversee")), "{:?}", stored.problem());
        assert_eq!(stored.meta().finalizers.as_ref().map(Vec::len), Some(1));
        let spec = serde_json::from_value(json!({"selector": {"matchLabels": {"app": "other"}}})).unwrap();
        let under = stored.under(&spec);
        assert_eq!(under.status.and_then(|status| status.observed_generation), Some(3));
    }

    #[test]
    fn a_journal_that_cannot_be_read_is_still_known_to_be_there() {
        assert!(stored("Enforce", &json!({"journal": {"newer": true}})).is_remediated());
    }
}
