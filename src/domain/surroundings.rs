//! What lies around a policy and bears on its restarts: what people said, what runs elsewhere in the cluster, and how
//! much of it answers.

use serde::{Deserialize, Serialize};

use super::names::ControllerUid;

/// What lies around a policy at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Surroundings {
    /// People have stopped the whole operator: by what, for a text.
    pub stopped: Option<String>,
    /// The plan hash that the policy's annotation approves.
    pub approved: Option<String>,
    /// The primary that the policy's annotation accepts after there were several.
    pub accepted: Option<String>,
    /// Remediations of other policies that are under way.
    pub elsewhere: Vec<Elsewhere>,
    /// Remediations that may be under way at once (`--maximum-remediations`).
    pub maximum_remediations: u32,
    /// Pods that were restarted within the last hour, over all policies, by our record.
    pub restarts_last_hour: u32,
    /// At most so many (`--maximum-restarts-per-hour`); `None`: no bound.
    pub maximum_restarts_per_hour: Option<u32>,
    /// How many Redis servers answer.
    pub reach: Reach,
}

/// A remediation of another policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Elsewhere {
    /// The policy as "namespace/name".
    pub policy: String,
    /// What it restarts.
    pub workload: ControllerUid,
}

/// How many Redis servers of all policies answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reach {
    /// Servers that have been probed.
    pub endpoints: usize,
    /// Those that could not be reached, or did not answer in time.
    pub unreachable: usize,
}

impl Surroundings {
    /// Nothing around bears on the policy: a snapshot file leaves it out.
    pub fn are_quiet(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Surroundings {
    /// Nothing else runs, nobody has said anything, one remediation at once.
    fn default() -> Self {
        Self {
            stopped: None,
            approved: None,
            accepted: None,
            elsewhere: Vec::new(),
            maximum_remediations: 1,
            restarts_last_hour: 0,
            maximum_restarts_per_hour: None,
            reach: Reach::default(),
        }
    }
}
