//! What the chart's dashboards have shown of a set while it was cured: every query of both, asked of a real Prometheus for all
//! of that time. (tests/chart/dashboards_data.rs asks them about numbers that are known.)

use std::collections::{BTreeMap, BTreeSet};

use super::{
    alerts::Alerts,
    boards::{BOARDS, chosen, dashboard, queries, variables},
    eventually, require,
};

/// Board and place of a query.
type Place = (String, String);
/// The same, and why it is here.
type Named = (&'static str, &'static str, &'static str);

/// What a set has nothing of that is judged, held up by a person, and cured at the first attempt.
const NOTHING: &[Named] = &[(
    "fleet",
    "Fragmentation ratio / {{namespace}}/{{policy}}",
    "the panel leaves out pods that waste less than 100 MiB, and those of the test waste less",
)];

/// What shows only what is above zero, and may have nothing to show. Its numbers are there in any case, and are asked for.
const ABOVE_ZERO: &[Named] = &[
    ("fleet", "Watches that failed / {{kind}}", "of the whole operator: a test beside this one may take rights away"),
    ("fleet", "Probe errors / {{reason}}", "a pod may go between two probes"),
];

/// What may be there and may not.
const PERHAPS: &[Named] = &[(
    "set",
    "Pods / K",
    "whether findings are from before is over as soon as the new pod is judged, perhaps at once",
)];

/// Panics with the queries that have found nothing since these alerts watch, and with those of [`NOTHING`] that have found
/// something.
pub(crate) fn have_shown(alerts: &Alerts, namespace: &str, policy: &str, pods: &[&str]) {
    let choice = [("namespace", namespace), ("policy", policy), ("pod", ".*")];
    let asked = asked(&choice);
    let excused = &named(NOTHING) | &named(PERHAPS);
    let mut silent = BTreeSet::new();
    // The policy's status may say that all is done a scrape before Prometheus knows.
    eventually("every query of the dashboards that nothing excuses has found data", 30, || {
        silent = alerts.found(&asked).into_iter().filter(|(_, found)| !found).map(|(place, _)| place).collect();
        let unknown: Vec<_> = silent.difference(&excused).collect();
        require(unknown.is_empty(), || format!("none at {unknown:#?}"))
    });
    let wrong: Vec<_> = named(NOTHING).difference(&silent).cloned().collect();
    assert!(wrong.is_empty(), "these queries are said to find no data here, and have found some: {wrong:#?}");
    println!("the dashboards: {} queries, {} of them without data as it must be", asked.len(), silent.len());

    for board in BOARDS {
        for (name, selector, label) in variables(&dashboard(board)) {
            let values = alerts.label_values(&label, &chosen(&selector, &choice));
            let wanted = match name.as_str() {
                "namespace" => vec![namespace],
                "policy" => vec![policy],
                "pod" => pods.to_vec(),
                other => panic!("{other} is checked by nobody"),
            };
            // Of namespaces there are others, of tests beside this one.
            let missing: Vec<_> = wanted.iter().filter(|it| !values.iter().any(|value| value == *it)).collect();
            assert!(missing.is_empty(), "{board}, ${name}: no {missing:?} in {values:?}");
        }
    }
}

/// Every query, for that choice, by board and place.
fn asked(choice: &[(&str, &str)]) -> BTreeMap<Place, String> {
    let mut asked = BTreeMap::new();
    for board in BOARDS {
        for (place, expr) in queries(&dashboard(board)) {
            asked.insert((board.to_owned(), place), chosen(&expr, choice));
        }
    }
    for place in named(ABOVE_ZERO) {
        let expr = asked.get_mut(&place).unwrap_or_else(|| panic!("no dashboard has {place:?}"));
        *expr = expr.strip_suffix(" > 0").unwrap_or_else(|| panic!("{place:?} leaves no zeros out")).to_owned();
    }
    for place in &named(NOTHING) | &named(PERHAPS) {
        assert!(asked.contains_key(&place), "no dashboard has {place:?}");
    }
    assert!(asked.len() > 60, "the queries were not found");
    asked
}

fn named(list: &[Named]) -> BTreeSet<Place> {
    list.iter().map(|(board, place, _)| ((*board).to_owned(), (*place).to_owned())).collect()
}
