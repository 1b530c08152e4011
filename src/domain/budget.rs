//! PodDisruptionBudgets as far as they bear on the selected pods: what they allow now, and what they can ever allow.

use serde::{Deserialize, Serialize};

use super::names::PodUid;

/// A PodDisruptionBudget that selects at least one of the policy's pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DisruptionBudget {
    /// Name.
    pub name: String,
    /// Its rule as it is written: "minAvailable 1", "maxUnavailable 0".
    pub rule: String,
    /// The selected pods of the policy that it covers too.
    pub pods: Vec<PodUid>,
    /// `status.disruptionsAllowed`: evictions that it allows now.
    pub allowed: u32,
    /// `status.currentHealthy`.
    pub healthy: u32,
    /// `status.desiredHealthy`: pods that must stay healthy.
    pub desired: u32,
    /// `status.expectedPods`: pods that it counts.
    pub expected: u32,
    /// The status is of this generation of its spec.
    pub observed: bool,
}

impl DisruptionBudget {
    /// With every pod healthy it allows nothing either: `maxUnavailable: 0`, `minAvailable: 100%`, `minAvailable: 1` of
    /// one pod.
    pub const fn never_allows(&self) -> bool {
        self.observed && self.expected > 0 && self.desired >= self.expected
    }

    /// It allows an eviction now.
    pub const fn allows_now(&self) -> bool {
        self.observed && self.allowed > 0
    }
}
