//! Watches, the reconcile pipeline, error policy, status and events.

mod claims;
pub mod conditions;
mod journal;
mod judge;
mod ledger;
mod perform;
pub mod reconcile;
mod registry;
pub mod report;
pub mod run;
mod series;
pub mod shared;
pub mod transitions;
