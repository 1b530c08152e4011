//! Sets under Sentinel, on real servers and Sentinels: the facts that an exchange of the role rests on. What is done here
//! by hand is what the operator is to do.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of a test are test code")]
#![allow(clippy::print_stdout, reason = "numbers for people")]

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
