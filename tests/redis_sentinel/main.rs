//! Sets under Sentinel, on real servers and Sentinels: the facts that an exchange of the role rests on. What is done here
//! by hand is what the operator is to do.
#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;
mod cut;
mod exchange;
mod exchanges;
mod facts;
mod ours;
mod partition;
mod reading;
mod roads;
mod secured;
mod set;
