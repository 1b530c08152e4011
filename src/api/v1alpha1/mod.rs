//! `redismemory.io/v1alpha1`: the resource as it is stored. Serde, schema and CEL; no behaviour.

mod crd;
pub mod rules;
mod spec;
mod status;
mod stored;

pub use crd::crd;
pub use spec::*;
pub use status::*;
pub use stored::StoredPolicy;

/// API group.
pub const GROUP: &str = "redismemory.io";
/// Finalizer that exists only while a remediation is active.
pub const FINALIZER: &str = "redismemory.io/remediation";
