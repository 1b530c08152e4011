//! From what is stored to what is worked with: the policy under its spec or, while a remediation is under way and the spec
//! cannot be used, under the one with which it was begun. Pure.

use std::sync::Arc;

use super::{in_words, validate};
use crate::{
    api::v1alpha1::{RedisMemoryPolicy, StoredPolicy},
    domain::policy::Policy,
};

/// What is worked with.
#[derive(Debug)]
pub struct Resolved {
    /// The resource, under the spec that is used.
    pub resource: RedisMemoryPolicy,
    /// The same, validated.
    pub policy: Arc<Policy>,
    /// Why its own spec is not used.
    pub problem: Option<Problem>,
}

/// Why a policy is not evaluated as it is written: reason and message of the condition `Stalled`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// In one stable word.
    pub reason: &'static str,
    /// For people.
    pub text: String,
}

impl Problem {
    /// With that reason and message.
    pub fn new(reason: &'static str, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }
}

/// What can be worked with, or why nothing can.
pub fn resolve(stored: &StoredPolicy) -> Result<Resolved, Problem> {
    let unreadable = stored.problem().map(|text| Problem::new("Unreadable", text));
    let Some(resource) = stored.policy() else {
        return Err(unreadable.unwrap_or_else(|| Problem::new("Unreadable", "")));
    };
    let invalid = match validate(resource) {
        Ok(policy) => {
            return Ok(Resolved { resource: resource.clone(), policy: Arc::new(policy), problem: unreadable });
        }
        Err(invalid) => in_words(&invalid),
    };
    let problem = Problem::new("InvalidSpec", invalid);
    let frozen = resource.frozen().and_then(|frozen| Some((validate(&frozen).ok()?, frozen)));
    match frozen {
        Some((policy, resource)) => Ok(Resolved { resource, policy: Arc::new(policy), problem: Some(problem) }),
        None => Err(problem),
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::{Value, json};

    use super::*;

    fn spec(mode: &str, app: &str) -> Value {
        json!({"mode": mode, "selector": {"matchLabels": {"app": app}}})
    }

    fn stored(spec: &Value, frozen: Option<&Value>) -> StoredPolicy {
        let journal = json!({
            "id": "p-1", "planHash": "p", "generation": 1, "workload": "set-1", "workloadName": "redis",
            "startedAt": "2026-01-01T00:00:00Z", "steps": [], "cursor": 0, "current": {}, "members": [],
            "primary": {"pod": "redis-0", "uid": "uid-0", "runId": "a"},
        });
        let mut status = json!({});
        if let Some(frozen) = frozen {
            status = json!({"journal": journal, "frozenSpec": frozen.to_string()});
        }
        let metadata = json!({"name": "sessions", "namespace": "shop", "uid": "u-1", "generation": 2});
        let kind = "RedisMemoryPolicy";
        let object = json!({
            "apiVersion": "redismemory.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec, "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_valid_spec_is_used_whatever_was_frozen() {
        let resolved = resolve(&stored(&spec("Enforce", "redis"), Some(&spec("Observe", "other")))).unwrap();
        assert_eq!(resolved.problem, None);
        assert_eq!(resolved.resource.spec.selector.match_labels.unwrap()["app"], "redis");
    }

    // A typo in the middle of a remediation froze it where it was: a replacement without its limit, a raised backlog.
    #[test]
    fn a_remediation_goes_on_under_the_spec_with_which_it_was_begun() {
        let mut invalid = spec("Enforce", "redis");
        invalid["restart"] =
            json!({"windows": [{"schedule": "0 3 * * *", "duration": "1h", "timeZone": "Europe/Berlinn"}]});
        for (spec_now, reason) in [(invalid, "InvalidSpec"), (spec("Oversee", "redis"), "Unreadable")] {
            let resolved = resolve(&stored(&spec_now, Some(&spec("Enforce", "redis")))).unwrap();
            assert_eq!(resolved.problem.map(|problem| problem.reason), Some(reason));
            assert_eq!(resolved.policy.generation, 2, "which is not the journal's: it ends at its next safe boundary");
            let problem = resolve(&stored(&spec_now, None)).unwrap_err();
            assert_eq!(problem.reason, reason, "without a remediation nothing is evaluated: {}", problem.text);
        }
    }
}
