//! The resource, by version.

pub mod v1alpha1;
