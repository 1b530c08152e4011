//! Watches and the reconcile pipeline: what is put together here decides nothing by itself.

mod announced;
pub mod backoff;
mod gone;
mod journal;
mod listing;
pub mod memory;
mod observed;
pub mod outside;
mod ownership;
mod perform;
pub mod ports;
mod reconcile;
pub mod reconciler;
mod registry;
mod roster;
pub mod run;
pub mod scope;
mod series;
mod tell;
#[cfg(test)]
mod tests;
pub mod turn;
mod wakes;
