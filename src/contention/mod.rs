//! Contention: who else wants what a policy wants, and who gets it. Other policies select the same pods ([`claims`]), other
//! remediations need the same budget ([`cluster_budget`]), another install may be at work ([`installs`]), and others
//! set back what this operator keeps right ([`reverts`]). Pure but for two locks; time is an argument.

pub mod claims;
pub mod cluster_budget;
pub mod installs;
pub mod reverts;
