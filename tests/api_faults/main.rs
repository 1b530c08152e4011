//! The operator as a process of its own, with crash points, lost replies, refusals and rivals, on a real API server with
//! its real controllers. Pods run on a node of the test's own (`tests/fake_kubelet`), so a remediation takes seconds.
//!
//! Built with the feature `crash-points`, and run inside the test cluster's network: scripts/test does both.
//! `RMO_LONG=1` runs what is too long for every day: every crash point alone, every fault for a whole minute.
#![cfg(test)]

#[path = "../common/api_server.rs"]
mod api_server;
#[path = "../common/mod.rs"]
mod common;
#[path = "../fake_kubelet/mod.rs"]
mod fake_kubelet;
#[path = "../fault_proxy/mod.rs"]
mod fault_proxy;
#[path = "../common/metrics.rs"]
mod metrics;

mod crash_points;
mod end;
mod faults;
mod leaders;
mod operator;
mod rest;
mod shape;
mod surroundings;
mod world;
