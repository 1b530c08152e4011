//! Gates: conditions that must hold before a remediation is begun and again, live, before each disruptive step.
//!
//! Each gate is a named pure function. The lists below are the policy: their order is the order in which refusals
//! are shown, structure first (what we do not handle), then state (what will pass), then pace.

mod capacity;
mod pace;
mod state;
mod structure;

use super::{Context, authority::Authority, blocked::Blocked};
use crate::{
    assess::topology::Workload,
    domain::{names::PodName, snapshot::Target},
};

/// What the gates look at.
#[derive(Clone, Debug)]
pub struct Scene<'a> {
    /// Policy, snapshot, records, now.
    pub ctx: Context<'a>,
    /// The workload.
    pub workload: &'a Workload<'a>,
    /// Who decides its roles.
    pub authority: Authority,
    /// The pods that are, or were, to be restarted.
    pub restarting: Vec<PodName>,
    /// Which step is about to be taken.
    pub phase: Phase,
}

/// Which step is about to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The remediation is about to begin: all of it must be possible.
    Preflight,
    /// This pod is about to be evicted.
    Evict(PodName),
    /// The primary role is about to be handed over.
    Switchover,
}

impl<'a> Scene<'a> {
    /// The one primary, if there is exactly one.
    pub fn primary(&self) -> Option<&'a Target> {
        match self.workload.primaries.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The members about to be restarted: in a step only the one that it is about.
    fn restarted_now(&self) -> impl Iterator<Item = &'a Target> + '_ {
        self.workload.members.iter().copied().filter(move |target| match &self.phase {
            Phase::Preflight => self.restarting.contains(&target.pod.name),
            Phase::Evict(pod) => target.pod.name == *pod,
            Phase::Switchover => false,
        })
    }
}

type Gate = fn(&Scene<'_>) -> Option<Blocked>;

/// Before a remediation is begun.
const PREFLIGHT: &[Gate] = &[
    pace::suspended,
    pace::claimed,
    state::members_known,
    structure::cluster_mode,
    structure::sentinel,
    structure::server_supported,
    structure::standalone,
    structure::two_pod_set,
    structure::authority_held,
    structure::chained,
    state::one_primary,
    structure::inside_selector,
    structure::one_stateful_set,
    structure::foreign_owner,
    structure::template_role_label,
    structure::role_service,
    structure::cause_curable,
    pace::not_ineffective,
    pace::not_failed,
    pace::kubernetes_rights,
    pace::redis_rights,
    state::config_readable,
    state::members_equal,
    state::members_ready,
    state::members_idle,
    state::persistence_ok,
    state::replicas_synced,
    state::role_labels_right,
    capacity::full_sync_headroom,
    capacity::min_replicas_to_write,
    capacity::grace_period,
    capacity::same_revision,
    capacity::template_holds_data,
    pace::cooldown,
];

/// Before each eviction and before the switchover, on live values.
const STEP: &[Gate] = &[
    state::members_known,
    structure::cluster_mode,
    structure::sentinel,
    state::one_primary,
    structure::inside_selector,
    structure::one_stateful_set,
    structure::foreign_owner,
    structure::template_role_label,
    structure::role_service,
    pace::kubernetes_rights,
    state::config_readable,
    state::members_equal,
    state::members_ready,
    state::members_idle,
    state::persistence_ok,
    state::replicas_synced,
    state::role_labels_right,
    capacity::full_sync_headroom,
    capacity::min_replicas_to_write,
    capacity::grace_period,
    capacity::same_revision,
    capacity::template_holds_data,
];

/// Every gate that does not hold, in order. Empty: go.
pub fn check(scene: &Scene<'_>) -> Vec<Blocked> {
    let gates = if scene.phase == Phase::Preflight { PREFLIGHT } else { STEP };
    gates.iter().filter_map(|gate| gate(scene)).collect()
}

/// "redis-0, redis-1": the names, for a text.
fn names<'a>(targets: impl IntoIterator<Item = &'a Target>) -> String {
    targets.into_iter().map(|target| target.pod.name.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
