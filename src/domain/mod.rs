//! Value types that every stage shares: what was seen, what was judged, what will be done.
//!
//! Nothing here performs I/O, reads a clock or knows a client. Besides `std` and `jiff` only the derive
//! macros of `serde` and `schemars` are used, because the journal and the plan are stored in the status.

pub mod acl;
pub mod addresses;
pub mod blocked;
pub mod budget;
pub mod bytes;
pub mod cron;
pub mod duration;
pub mod event;
pub mod finding;
#[doc(hidden)]
pub mod fixtures;
pub mod journal;
pub mod lineage;
pub mod lookups;
pub mod names;
pub mod node;
pub mod not_given;
pub mod oom;
pub mod peaks;
pub mod pod;
pub mod policy;
pub mod proxy;
pub mod purpose;
pub mod quantity;
pub mod ratio;
pub mod recognition;
pub mod request;
pub mod sample;
pub mod sentinel;
pub mod serving;
pub mod shard;
pub mod snapshot;
pub mod start;
pub mod step;
pub mod surroundings;
pub mod switchover;
pub mod tls;
pub mod volume;
pub mod window;
pub mod write_gap;
mod written;
