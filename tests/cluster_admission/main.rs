//! What admission refuses on a real API server: of our own changes all but the role label ([`role_label`]), of other people's
//! workloads those whose Redis has too small a limit ([`headroom`]).
#![cfg(test)]

mod headroom;
mod role_label;
#[allow(dead_code, reason = "the other tests on the cluster use the rest")]
#[path = "../cluster_e2e/support/mod.rs"]
mod support;
