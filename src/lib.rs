//! An operator that keeps the memory of Redis pods healthy: it watches `RedisMemoryPolicy` resources and the
//! pods that they select, enforces headroom over `maxmemory`, and cures fragmentation by restarts that lose no
//! acknowledged write.
//!
//! One reconcile is `resolve → observe (reads) → judge, plan (pure) → execute (writes) → report (writes)`;
//! ARCHITECTURE.md has the map and the invariants.

pub mod admin;
pub mod api;
pub mod assess;
pub mod cli;
pub mod clock;
pub mod contention;
pub mod controller;
pub mod domain;
pub mod execute;
pub mod kube_io;
pub mod lint;
pub mod metrics;
pub mod observe;
pub mod plan;
pub mod redis_io;
pub mod report;
pub mod topology;
pub mod validate;
