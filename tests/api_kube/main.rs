//! Reads, writes, leadership and the pod cache on a real API server with a real kubelet: what a stand-in can only
//! pretend, above all preconditions, conflicts and disruption budgets.
#![cfg(test)]

mod pods;
mod policies;
mod reading;
mod sandbox;
mod scrapers;
mod terms;
