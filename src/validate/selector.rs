//! The label selector: its rules, and its form in a query.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::{
    Problems,
    syntax::{is_label_key, is_label_value},
};
use crate::api::v1alpha1::{RedisMemoryPolicySpec, rules};

/// Most labels and most requirements, as in the CRD.
const MOST: usize = 16;
/// Most values of one requirement, as in the CRD.
const MOST_VALUES: usize = 32;

/// The selector of the policy itself.
pub(super) fn check_own(spec: &RedisMemoryPolicySpec, problems: &mut Problems) {
    let selector = &spec.selector;
    check(selector, "spec.selector", problems);
    let role = spec.redis.role_label.key.as_str();
    let moves = labels(selector).contains_key(role) || expressions(selector).iter().any(|e| e.key == role);
    problems.unless(!moves, "spec", rules::SELECTOR_WITHOUT_ROLE);
}

/// A selector that stands at `field`.
pub(super) fn check(selector: &LabelSelector, field: &str, problems: &mut Problems) {
    let (labels, expressions) = (labels(selector), expressions(selector));
    problems.unless(labels.len() + expressions.len() > 0, field, rules::SELECTOR_NOT_EMPTY);
    if labels.len() > MOST || expressions.len() > MOST {
        problems.say(field, format!("has more than {MOST} labels or requirements; name fewer"));
    }
    problems.unless(labels.keys().all(|key| is_label_key(key)), field, rules::SELECTOR_KEYS);
    for value in labels.values() {
        value_is_sound(value, &format!("{field}.matchLabels"), problems);
    }
    for (n, requirement) in expressions.iter().enumerate() {
        check_requirement(requirement, &format!("{field}.matchExpressions[{n}]"), problems);
    }
}

fn check_requirement(requirement: &LabelSelectorRequirement, field: &str, problems: &mut Problems) {
    problems.unless(is_label_key(&requirement.key), &format!("{field}.key"), rules::LABEL_KEY);
    let values = values(requirement);
    if values.len() > MOST_VALUES {
        problems.say(&format!("{field}.values"), format!("has more than {MOST_VALUES} values; name fewer"));
    }
    for value in values {
        value_is_sound(value, &format!("{field}.values"), problems);
    }
    match requirement.operator.as_str() {
        "In" | "NotIn" => problems.unless(!values.is_empty(), field, rules::SELECTOR_VALUES),
        "Exists" | "DoesNotExist" => problems.unless(values.is_empty(), field, rules::SELECTOR_VALUES),
        _ => problems.say(&format!("{field}.operator"), "is unknown; write In, NotIn, Exists or DoesNotExist"),
    }
}

/// Unlike the role's values, a value to compare with may be empty.
fn value_is_sound(value: &str, field: &str, problems: &mut Problems) {
    problems.unless(value.is_empty() || is_label_value(value), field, rules::LABEL_VALUE);
}

fn labels(selector: &LabelSelector) -> &BTreeMap<String, String> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    selector.match_labels.as_ref().unwrap_or(&NONE)
}

fn expressions(selector: &LabelSelector) -> &[LabelSelectorRequirement] {
    selector.match_expressions.as_deref().unwrap_or_default()
}

fn values(requirement: &LabelSelectorRequirement) -> &[String] {
    requirement.values.as_deref().unwrap_or_default()
}

/// The selector as the API server takes it in a query: `app=redis,tier in (a,b),!legacy`.
///
/// Only of a selector that was validated: an unknown operator would be left out, and so select more.
pub fn selector_string(selector: &LabelSelector) -> String {
    let labels = labels(selector).iter().map(|(key, value)| format!("{key}={value}"));
    let expressions = expressions(selector).iter().filter_map(|e| {
        let (key, values) = (&e.key, values(e).join(","));
        match e.operator.as_str() {
            "In" => Some(format!("{key} in ({values})")),
            "NotIn" => Some(format!("{key} notin ({values})")),
            "Exists" => Some(key.clone()),
            "DoesNotExist" => Some(format!("!{key}")),
            _ => None,
        }
    });
    labels.chain(expressions).collect::<Vec<_>>().join(",")
}
