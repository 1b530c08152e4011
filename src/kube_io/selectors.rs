//! Many label selectors at once: which of them match a pod, and one query that covers all of them. Pure.
//!
//! Mostly a selector asks for a label of one value that few others ask for (`app.kubernetes.io/instance=…`). It is found by
//! that label, so that a pod is compared with the selectors that may match it and not with all.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use kube::core::{Expression, Selector, SelectorExt as _};

/// The values that a query may list; the API server matches each object against each.
const MOST_VALUES: usize = 32;

/// A selector in the form of a query: its name here, too.
pub type Query = Arc<str>;
type Labels = BTreeMap<String, String>;

/// Finds the selectors that match.
#[derive(Debug, Default)]
pub struct Selectors {
    all: BTreeMap<Query, Selector>,
    /// Those that need one of these values of a label, by key and value: each selector under one key.
    by_label: HashMap<String, HashMap<String, Vec<Query>>>,
    /// Those that need no label of a certain value: they are compared with every pod.
    others: Vec<Query>,
}

impl Selectors {
    /// Of these, each named by its query.
    pub fn of(all: BTreeMap<Query, Selector>) -> Self {
        let mut asked: HashMap<(String, String), usize> = HashMap::new();
        for selector in all.values() {
            for (key, values) in needed(selector) {
                for value in values {
                    *asked.entry((key.clone(), value)).or_default() += 1;
                }
            }
        }
        let asked =
            |key: &str, value: &str| asked.get(&(key.to_owned(), value.to_owned())).copied().unwrap_or_default();
        let mut found = Self::default();
        for (query, selector) in &all {
            // The label that the fewest ask for.
            let rarest = needed(selector)
                .into_iter()
                .min_by_key(|(key, values)| values.iter().map(|value| asked(key, value)).sum::<usize>());
            let Some((key, values)) = rarest else {
                found.others.push(Arc::clone(query));
                continue;
            };
            let of_key = found.by_label.entry(key).or_default();
            for value in values {
                of_key.entry(value).or_default().push(Arc::clone(query));
            }
        }
        Self { all, ..found }
    }

    /// The selectors that match, by name.
    pub fn matching(&self, labels: &Labels) -> BTreeSet<Query> {
        let of_label = |(key, value): (&String, &String)| self.by_label.get(key)?.get(value);
        let may_match = labels.iter().filter_map(of_label).flatten().chain(&self.others);
        may_match.filter(|query| self.all.get(*query).is_some_and(|it| it.matches(labels))).cloned().collect()
    }

    /// One query that matches whatever any of them matches, and as little else as one can say: a query is a conjunction, so
    /// it names one label that all of them need. Empty: everything.
    pub fn cover(&self) -> String {
        let values = common(self.all.values().map(needed)).into_iter();
        let few = |values: &BTreeSet<String>| (1..=MOST_VALUES).contains(&values.len());
        let narrow = values.filter(|(_, values)| few(values)).min_by_key(|(_, values)| values.len());
        if let Some((key, values)) = narrow {
            let values: Vec<String> = values.into_iter().collect();
            return match values.as_slice() {
                [only] => format!("{key}={only}"),
                several => format!("{key} in ({})", several.join(",")),
            };
        }
        common(self.all.values().map(present)).into_keys().next().unwrap_or_default()
    }
}

/// The keys of which a selector needs one of certain values, and these.
fn needed(selector: &Selector) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for expression in selector.clone() {
        let (key, values) = match expression {
            Expression::Equal(key, value) => (key, BTreeSet::from([value])),
            Expression::In(key, values) => (key, values),
            _ => continue,
        };
        match found.get_mut(&key) {
            // Both are needed.
            Some(known) => known.retain(|value| values.contains(value)),
            None => drop(found.insert(key, values)),
        }
    }
    found
}

/// The keys that a selector needs, of whatever value.
fn present(selector: &Selector) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = needed(selector);
    for expression in selector.clone() {
        if let Expression::Exists(key) = expression {
            found.entry(key).or_default();
        }
    }
    found
}

/// The keys that all have, each with all its values.
fn common(mut all: impl Iterator<Item = BTreeMap<String, BTreeSet<String>>>) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = all.next().unwrap_or_default();
    for mut one in all {
        found.retain(|key, _| one.contains_key(key));
        for (key, values) in &mut found {
            values.extend(one.remove(key).unwrap_or_default());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
    use pretty_assertions::assert_eq;
    use proptest::prelude::*;

    use super::*;

    fn selector(labels: &[(&str, &str)]) -> (Query, Selector) {
        let selector: Selector = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        (selector.to_string().into(), selector)
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_pod_is_compared_with_the_few_that_may_match() {
        let all = (0..1000).map(|n| selector(&[("app", "redis"), ("instance", &format!("shop-{n}"))]));
        let selectors = Selectors::of(all.collect());
        assert_eq!(selectors.by_label.keys().collect::<Vec<_>>(), ["instance"]);
        assert!(selectors.by_label["instance"].values().all(|here| here.len() == 1));
        let found = selectors.matching(&labels(&[("app", "redis"), ("instance", "shop-7"), ("role", "primary")]));
        assert_eq!(found.iter().map(|query| &**query).collect::<Vec<_>>(), ["app=redis,instance=shop-7"]);
        assert_eq!(selectors.cover(), "app=redis");
    }

    #[test]
    fn the_query_covers_what_it_can() {
        let cover = |all: &[(Query, Selector)]| Selectors::of(all.iter().cloned().collect()).cover();
        assert_eq!(cover(&[selector(&[("app", "a")]), selector(&[("app", "b"), ("x", "y")])]), "app in (a,b)");
        assert_eq!(cover(&[selector(&[("app", "a")]), selector(&[("x", "y")])]), "", "no label in common");
        let many: Vec<_> = (0..=MOST_VALUES).map(|n| selector(&[("app", &format!("a-{n}"))])).collect();
        assert_eq!(cover(&many), "app", "too many values: whatever has the label");
        let there = (Query::from("app"), Selector::from(Expression::Exists("app".into())));
        assert_eq!(cover(&[there, selector(&[("app", "a")])]), "app");
    }

    /// Kubernetes' meaning read a second time, from its documentation: every requirement must hold, and a label that is not
    /// there is in no set.
    fn holds(selector: &LabelSelector, labels: &Labels) -> bool {
        let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
        equal
            && selector.match_expressions.iter().flatten().all(|one| {
                let value = labels.get(&one.key);
                let listed = value.is_some_and(|value| one.values.iter().flatten().any(|it| it == value));
                match one.operator.as_str() {
                    "In" => listed,
                    "NotIn" => !listed,
                    "Exists" => value.is_some(),
                    _ => value.is_none(),
                }
            })
    }

    fn word() -> impl Strategy<Value = String> {
        proptest::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned)
    }

    fn requirement() -> impl Strategy<Value = LabelSelectorRequirement> {
        let operator = proptest::sample::select(vec!["In", "NotIn", "Exists", "DoesNotExist"]);
        (word(), operator, proptest::collection::vec(word(), 1..3)).prop_map(|(key, operator, values)| {
            let listed = matches!(operator, "In" | "NotIn");
            LabelSelectorRequirement { key, operator: operator.to_owned(), values: listed.then_some(values) }
        })
    }

    fn any_selector() -> impl Strategy<Value = LabelSelector> {
        let labels = proptest::collection::btree_map(word(), word(), 0..3);
        (labels, proptest::collection::vec(requirement(), 0..3)).prop_map(|(labels, expressions)| LabelSelector {
            match_labels: Some(labels),
            match_expressions: Some(expressions),
        })
    }

    proptest! {
        #[test]
        fn those_match_that_kubernetes_says_and_the_cover_has_them(
            all in proptest::collection::vec(any_selector(), 1..6),
            pod in proptest::collection::btree_map(word(), word(), 0..4),
        ) {
            let named: Vec<_> = all.iter().map(|one| Selector::try_from(one.clone()).unwrap()).collect();
            let names: Vec<Query> = named.iter().map(|one| Query::from(one.to_string())).collect();
            let selectors = Selectors::of(names.iter().cloned().zip(named).collect());
            let expected: BTreeSet<Query> =
                names.iter().zip(&all).filter(|(_, one)| holds(one, &pod)).map(|(name, _)| Arc::clone(name)).collect();
            prop_assert_eq!(&selectors.matching(&pod), &expected);
            let cover = selectors.cover();
            let is = |key: &str, value: &str| pod.get(key).is_some_and(|it| it == value);
            let covered = match (cover.split_once(" in ("), cover.split_once('=')) {
                (Some((key, values)), _) => values.trim_end_matches(')').split(',').any(|value| is(key, value)),
                (None, Some((key, value))) => is(key, value),
                (None, None) => cover.is_empty() || pod.contains_key(&cover),
            };
            prop_assert!(covered || expected.is_empty(), "{cover} leaves {expected:?} out");
        }
    }
}
