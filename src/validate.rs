//! Raw spec to validated [`Policy`]: the same rules as the CRD's CEL, run again.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::{api::v1alpha1::RedisMemoryPolicy, domain::policy::Policy};

/// One thing that is wrong with a spec. Never holds the value of a Secret: the spec has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Path of the field, for example `spec.headroom.percent`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Everything that is wrong with the resource, or the policy that it states.
pub fn validate(_resource: &RedisMemoryPolicy) -> Result<Policy, Vec<Invalid>> {
    Err(Vec::new())
}

/// The selector as the API server takes it in a query: `app=redis,tier in (a,b),!legacy`.
pub fn selector_string(_selector: &LabelSelector) -> String {
    String::new()
}
