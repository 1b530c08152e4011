//! Watches, the reconcile pipeline, error policy, status and events.

pub mod carry;
pub(crate) mod claims;
pub mod conditions;
mod gone;
mod journal;
pub mod judge;
pub mod ledger;
mod listing;
pub mod memory;
pub mod outside;
mod ownership;
pub mod pace;
mod perform;
pub mod ports;
pub mod reconcile;
mod registry;
pub mod report;
mod resolve;
pub mod reverts;
mod roster;
pub mod run;
mod series;
pub mod shared;
#[cfg(test)]
mod tests;
pub mod transitions;
pub mod turn;
mod wakes;
