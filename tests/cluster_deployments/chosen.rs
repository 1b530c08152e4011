//! Which deployments are run: each takes minutes, so an everyday run takes three, and every commit others.

use std::env;

use super::{
    deployments::{ALL, Deployment},
    long::{by_commit, commit, is_long},
    support::client,
};

/// How many of them an everyday run takes.
const A_RUN: usize = 3;

/// Whether this one is run now: those that `RMO_DEPLOYMENTS` names, else all with `RMO_LONG=1`, else three by the commit.
#[allow(clippy::disallowed_methods, reason = "the choice of a run comes from its environment")]
pub(crate) fn is_chosen(deployment: &Deployment) -> bool {
    if client::setting("USE_EXISTING_CLUSTER") == "1" {
        println!(
            "{}: skipped: its volumes are directories of this machine, and doctor asks pods by address",
            deployment.name
        );
        return false;
    }
    let names: Vec<&str> = ALL.iter().map(|deployment| deployment.name).collect();
    let chosen: Vec<String> = match env::var("RMO_DEPLOYMENTS") {
        Ok(listed) => listed.split([' ', ',']).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        Err(_) if is_long() => return true,
        Err(_) => by_commit(&commit(), &names, A_RUN).into_iter().map(str::to_owned).collect(),
    };
    let unknown: Vec<&String> = chosen.iter().filter(|name| !names.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "RMO_DEPLOYMENTS names none of {names:?}: {unknown:?}");
    let is = chosen.iter().any(|name| name == deployment.name);
    if !is {
        println!("{}: left out; this run takes {}", deployment.name, chosen.join(", "));
    }
    is
}

#[test]
fn each_commit_takes_three_and_all_are_taken_by_some() {
    let names = ["a", "b", "c", "d", "e"];
    assert_eq!(by_commit("4", &names, A_RUN), ["e", "a", "b"]);
    assert_eq!(by_commit("", &names, A_RUN), ["a", "b", "c"], "outside of a checkout");
    let taken: std::collections::BTreeSet<&str> =
        (0..50).flat_map(|n| by_commit(&format!("{n:x}00f"), &names, A_RUN)).collect();
    assert_eq!(taken.len(), names.len());
}
