//! Members that claim to be primary, on real redis-server processes. What is seen is real; decisions are the planner's, and
//! the one effect that may follow is carried out by the executor.
#![cfg(test)]

mod claimants;
mod clients;
#[path = "../common/mod.rs"]
mod common;
mod set;
mod start_role;
