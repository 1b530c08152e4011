//! Which of the longest tests a run takes: each has the operator for itself for minutes, so an everyday run takes one, every
//! commit another, and `RMO_LONG=1` all.

use crate::long::{by_commit, commit, is_long};

/// Those that take turns.
const ALL: [&str; 5] = ["restarted", "outage", "installs", "free-slot", "nothing-written"];
/// How many of them an everyday run takes.
const A_RUN: usize = 1;

/// Whether that one is run now.
pub(super) fn takes(name: &str) -> bool {
    assert!(ALL.contains(&name), "{name} is none of {ALL:?}");
    let taken = by_commit(&commit(), &ALL, A_RUN);
    let is = is_long() || taken.contains(&name);
    if !is {
        println!("{name}: left out; this run takes {}, and with RMO_LONG=1 all", taken.join(", "));
    }
    is
}
