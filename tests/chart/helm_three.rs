//! Helm 3 renders what Helm 4 does: people upgrade their Helm when it suits them.

use std::collections::BTreeMap;

use pretty_assertions::assert_eq;
use serde_json::Value;

use crate::{
    chart_values::combinations,
    helm::{render, rendered_by},
    long::is_long,
    strict::identity,
};

fn by_name(objects: Vec<Value>) -> BTreeMap<String, Value> {
    objects.into_iter().map(|object| (identity(&object), object)).collect()
}

#[test]
#[ignore = "needs helm 3 (tests/cluster/tools helm3 builds it, or set HELM3); only with RMO_LONG=1"]
fn helm_3_renders_what_helm_4_does() {
    if is_long() {
        for settings in combinations() {
            assert_eq!(by_name(rendered_by("helm3", &settings)), by_name(render(&settings)), "{settings:?}");
        }
    }
}
