//! The ways in which people run Redis, each on a real Kubernetes with real servers, Sentinels and proxies: the policy that
//! `doctor` prints is applied as it stands, with the consents that it names, and cures the set under the deployment's own
//! clients.
//!
//! The manifests are in `tests/deployments`, one file a deployment; [`deployments`] says what is expected of each. Of all of
//! them `make test` runs three, by the commit, and `make test-long` every one ([`chosen`]). What was seen is written to
//! `target/deployments`, from which `scripts/deployments` makes docs/deployments.md.
#![cfg(test)]

mod chosen;
mod deployments;
mod doctor;
#[path = "../common/long.rs"]
mod long;
mod losses;
mod record;
mod run;
mod set;
#[allow(dead_code, reason = "the other tests on the cluster use the rest")]
#[path = "../cluster_e2e/support/mod.rs"]
mod support;
mod wishes;
