//! Who decides which member is the primary, and how clients follow.

use crate::{
    assess::topology::Workload,
    domain::policy::{AuthorityRule, Policy},
};

/// The role authority of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// `cluster_enabled`: nodes.conf and redirects.
    Cluster,
    /// A Sentinel is connected to a member, or was within the last hour.
    Sentinel,
    /// Another controller keeps the role label.
    Label,
    /// This operator keeps the role label.
    Operator,
    /// None of these: start arguments fix the primary, or clients are pinned to a pod.
    Static,
}

/// The authority of a workload. What the servers show wins over what the policy says: a label moved by us means
/// nothing to a client that asks a Sentinel.
pub fn of(policy: &Policy, workload: &Workload<'_>) -> Authority {
    let samples = || workload.members.iter().filter_map(|target| target.sample());
    if samples().any(|sample| sample.server.cluster_enabled) {
        return Authority::Cluster;
    }
    if workload.sentinel_before.is_some() || samples().any(|sample| sample.sentinel_seen == Some(true)) {
        return Authority::Sentinel;
    }
    match policy.redis.authority {
        AuthorityRule::Auto => Authority::Static,
        AuthorityRule::Label => Authority::Label,
        AuthorityRule::Operator => Authority::Operator,
    }
}
