//! PodDisruptionBudgets as the domain sees them. Pure.

use k8s_openapi::{
    api::{core::v1::Pod, policy::v1::PodDisruptionBudget},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{
    ResourceExt as _,
    core::{Selector, SelectorExt as _},
};

use crate::domain::{budget::DisruptionBudget, names::PodUid};

/// The budgets that select at least one of the pods.
pub(super) fn of<'a, 'b>(
    budgets: impl Iterator<Item = &'b PodDisruptionBudget>,
    pods: &(impl Iterator<Item = &'a Pod> + Clone),
) -> Vec<DisruptionBudget> {
    let covering = budgets.filter_map(|budget| covering(budget, pods.clone()));
    covering.filter(|budget| !budget.pods.is_empty()).collect()
}

fn covering<'a>(budget: &PodDisruptionBudget, pods: impl Iterator<Item = &'a Pod>) -> Option<DisruptionBudget> {
    let spec = budget.spec.as_ref()?;
    // policy/v1: no selector selects nothing, an empty one every pod of the namespace.
    let selector = Selector::try_from(spec.selector.clone()?).ok()?;
    let selected = pods.filter(|pod| selector.matches(pod.labels())).filter_map(Pod::uid);
    let status = budget.status.as_ref();
    let number = |field: Option<i32>| field.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let shown = |value: &IntOrString| match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => crate::kube_io::text::plain(text, 16),
    };
    let rule = match (&spec.min_available, &spec.max_unavailable) {
        (Some(least), _) => format!("minAvailable {}", shown(least)),
        (None, Some(most)) => format!("maxUnavailable {}", shown(most)),
        (None, None) => "no rule".to_owned(),
    };
    Some(DisruptionBudget {
        name: budget.name_any(),
        rule,
        pods: selected.map(PodUid::new).collect(),
        allowed: number(status.map(|status| status.disruptions_allowed)),
        healthy: number(status.map(|status| status.current_healthy)),
        desired: number(status.map(|status| status.desired_healthy)),
        expected: number(status.map(|status| status.expected_pods)),
        observed: status.and_then(|status| status.observed_generation) == budget.metadata.generation,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, app: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": name, "uid": name, "labels": {"app": app}}})).unwrap()
    }

    fn budget(selector: &serde_json::Value, rule: &serde_json::Value) -> PodDisruptionBudget {
        let mut spec = json!({"selector": selector});
        spec.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
        serde_json::from_value(json!({"metadata": {"name": "b", "generation": 2}, "spec": spec, "status":
            {"disruptionsAllowed": 0, "currentHealthy": 3, "desiredHealthy": 3, "expectedPods": 3,
             "observedGeneration": 2}}))
        .unwrap()
    }

    #[test]
    fn a_budget_belongs_to_the_pods_that_its_selector_matches() {
        let pods = [pod("redis-0", "redis"), pod("web-0", "web")];
        let never = budget(&json!({"matchLabels": {"app": "redis"}}), &json!({"maxUnavailable": "0%"}));
        let found = of([never].iter(), &pods.iter());
        assert_eq!((found[0].rule.as_str(), &found[0].pods), ("maxUnavailable 0%", &vec![PodUid::from("redis-0")]));
        assert!(found[0].never_allows() && !found[0].allows_now());
        let all = of([budget(&json!({}), &json!({"minAvailable": 3}))].iter(), &pods.iter());
        assert_eq!(all[0].pods.len(), 2, "an empty selector selects all");
        let other = budget(&json!({"matchLabels": {"app": "cart"}}), &json!({"minAvailable": 3}));
        assert_eq!(of([other].iter(), &pods.iter()), []);
    }
}
