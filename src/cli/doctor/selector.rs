//! The selector that takes exactly the pods of a set: those that exist now, and those that replace them. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::{
    ResourceExt as _,
    core::{Selector, SelectorExt as _},
};

use super::found::{Labels, RedisSet};

/// Labels that are another's on the next pod or after the next release.
const PASSING: &[&str] = &[
    "controller-revision-hash",
    "pod-template-hash",
    "pod-template-generation",
    POD_NAME,
    "apps.kubernetes.io/pod-index",
    "helm.sh/chart",
    "chart",
    "heritage",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
];
/// Labels that say whose a pod is, the best known first.
const TELLING: &[&str] = &[
    "app.kubernetes.io/instance",
    "app.kubernetes.io/name",
    "apps.kubeblocks.io/component-name",
    "app.kubernetes.io/component",
    "release",
    "app",
];
/// Only a StatefulSet's pods have it, each its own value.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// Values of one requirement, as in the CRD.
const MOST_VALUES: usize = 32;

/// One thing that a selector asks for.
#[derive(Clone, Debug, PartialEq)]
enum Term {
    Is(String, String),
    Asks(LabelSelectorRequirement),
}

/// The selector; `None`: no labels tell its pods from others.
pub(super) fn exact(set: &RedisSet) -> Option<LabelSelector> {
    let strangers: Vec<&Labels> = set.strangers.iter().map(|pod| pod.labels()).collect();
    let candidates = candidates(set);
    let mut chosen = begin(set, &candidates);
    loop {
        let taken = |terms: &[Term]| strangers.iter().filter(|labels| takes(&selector(terms), labels)).count();
        let strays = taken(&chosen);
        if strays == 0 && !chosen.is_empty() {
            return Some(selector(&chosen));
        }
        let with = |term: &Term| [chosen.as_slice(), std::slice::from_ref(term)].concat();
        // Of equals the first.
        let best = candidates.iter().filter(|term| !chosen.contains(term)).min_by_key(|term| taken(&with(term)))?;
        if taken(&with(best)) == strays && !chosen.is_empty() {
            return by_name(set);
        }
        chosen.push(best.clone());
    }
}

/// Whether the selector takes a pod with these labels.
pub(super) fn takes(selector: &LabelSelector, labels: &Labels) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}

/// What its controllers themselves select by; where they could not be read, the labels that say whose a pod is.
fn begin(set: &RedisSet, candidates: &[Term]) -> Vec<Term> {
    let of_the_set = set.deployment.and_then(|deployment| deployment.set_label);
    let is_it = |term: &&Term| matches!(term, Term::Is(key, _) if of_the_set == Some(key.as_str()));
    if let Some(term) = candidates.iter().find(is_it) {
        return vec![term.clone()];
    }
    let selected = |term: &&Term| match term {
        Term::Is(key, value) => set.makers.iter().all(|maker| maker.selector.get(key) == Some(value)),
        Term::Asks(_) => false,
    };
    let begin: Vec<Term> = candidates.iter().filter(|_| !set.makers.is_empty()).filter(selected).cloned().collect();
    if !begin.is_empty() {
        return begin;
    }
    let telling = |term: &&Term| matches!(term, Term::Is(key, _) if TELLING.contains(&key.as_str()));
    candidates.iter().filter(telling).cloned().collect()
}

/// Everything that all members fulfil and will fulfil, the most telling first.
fn candidates(set: &RedisSet) -> Vec<Term> {
    let members: Vec<&Labels> = set.members.iter().map(|member| member.pod.labels()).collect();
    let Some(first) = members.first() else { return Vec::new() };
    // What the template does not give was put on the pod by somebody, and is not on the next one.
    let given = |key: &String, value: &String| {
        let templates = set.makers.iter().map(|maker| &maker.template_labels);
        templates.filter(|labels| !labels.is_empty()).any(|labels| labels.get(key) == Some(value))
            || set.makers.iter().all(|maker| maker.template_labels.is_empty())
    };
    let lasts = |key: &String| !PASSING.contains(&key.as_str()) && !set.says_a_role(key);
    let values = |key: &String| members.iter().map(|labels| labels.get(key).cloned()).collect::<Option<Vec<String>>>();
    let (mut same, mut differing) = (Vec::new(), Vec::new());
    for (key, value) in first.iter().filter(|(key, _)| lasts(key)) {
        let Some(mut values) = values(key) else { continue };
        values.sort_unstable();
        values.dedup();
        if values.iter().any(|value| !given(key, value)) {
            continue;
        }
        if values.len() == 1 {
            same.push(Term::Is(key.clone(), value.clone()));
        } else if values.len() <= MOST_VALUES {
            differing.push(asks(key, "In", values));
        }
    }
    same.sort_by_key(|term| match term {
        Term::Is(key, _) => TELLING.iter().position(|it| it == key).unwrap_or(TELLING.len()),
        Term::Asks(_) => TELLING.len(),
    });
    same.extend(differing);
    if members.iter().all(|labels| labels.contains_key(POD_NAME)) {
        same.push(asks(POD_NAME, "Exists", Vec::new()));
    }
    let of_strangers = set.strangers.iter().flat_map(|pod| pod.labels().keys());
    let foreign: std::collections::BTreeSet<&String> =
        of_strangers.filter(|key| lasts(key) && members.iter().all(|labels| !labels.contains_key(*key))).collect();
    same.extend(foreign.into_iter().map(|key| asks(key, "DoesNotExist", Vec::new())));
    same
}

/// The last resort: each pod by its name. A set that is scaled up outgrows it.
fn by_name(set: &RedisSet) -> Option<LabelSelector> {
    let names = set.members.iter().map(|member| member.pod.labels().get(POD_NAME).cloned());
    let names = names.collect::<Option<Vec<String>>>().filter(|names| names.len() <= MOST_VALUES)?;
    Some(selector(&[asks(POD_NAME, "In", names)]))
}

/// Whether the selector names single pods.
pub(super) fn names_pods(selector: &LabelSelector) -> bool {
    selector.match_expressions.iter().flatten().any(|asked| asked.key == POD_NAME && asked.operator == "In")
}

fn asks(key: &str, operator: &str, values: Vec<String>) -> Term {
    let values = (!values.is_empty()).then_some(values);
    Term::Asks(LabelSelectorRequirement { key: key.to_owned(), operator: operator.to_owned(), values })
}

fn selector(terms: &[Term]) -> LabelSelector {
    let mut labels = BTreeMap::new();
    let mut expressions = Vec::new();
    for term in terms {
        match term {
            Term::Is(key, value) => drop(labels.insert(key.clone(), value.clone())),
            Term::Asks(asked) => expressions.push(asked.clone()),
        }
    }
    LabelSelector {
        match_labels: (!labels.is_empty()).then_some(labels),
        match_expressions: (!expressions.is_empty()).then_some(expressions),
    }
}
