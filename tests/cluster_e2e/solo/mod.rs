//! Promises that need the operator installed in another way than usual. Each of these tests has it for itself.

mod acting_rights;
mod chart;
mod crash;
mod installs;
mod nodes;
mod outage;
mod secrets;
mod slots;
mod turns;
