//! Watches, the reconcile pipeline, error policy, status and events.

pub mod carry;
pub(crate) mod claims;
pub mod conditions;
mod journal;
pub mod judge;
mod ledger;
mod pace;
mod perform;
pub mod reconcile;
mod registry;
pub mod report;
pub mod run;
mod series;
pub mod shared;
pub mod transitions;
