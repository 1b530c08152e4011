//! The promises of the operator, each shown on a real Kubernetes with real Redis pods.
//!
//! Everything goes through `kubectl` and `helm`, so that the tests run on any cluster (`USE_EXISTING_CLUSTER=1`). Each
//! test has a namespace of its own, which goes when the test ends, also by a panic.
//!
//! The tests of [`shared`] use one operator and may run beside each other. Those of [`solo`] install it in another way
//! and wait until no other test uses it: [`support::operator`] sees to that.
#![cfg(test)]

#[path = "../common/long.rs"]
mod long;
mod prelude;
mod shared;
mod solo;
mod support;
