//! Counters whose labels are closed lists begin at zero, all of them: a series that appears with 1 has no increase for
//! Prometheus, and the first failure of a kind would be seen by nobody.

use super::{
    CONTROLLER, ControllerLabel, KindLabel, Metrics, ReasonLabel, ReconcileLabels, ReconcileResult, RemediationLabels,
    SwitchoverLabels, SwitchoverOutcome,
};
use crate::domain::{journal::Outcome, snapshot::ProbeFailure, switchover::SwitchoverMethod};

/// What is counted of a whole remediation, by its outcome.
pub(super) const REMEDIATION: &str = "Remediation";
/// What comes of a step.
pub(super) const RESULTS: [&str; 2] = ["Done", "Failed"];
/// What is listed and watched.
pub(super) const KINDS: [&str; 6] =
    ["RedisMemoryPolicy", "Pod", "StatefulSet", "Service", "EndpointSlice", "PodDisruptionBudget"];

impl Metrics {
    /// Answers of the API server are not among them: their codes are no closed list. Of histograms only that of reconciles is: the
    /// others have no label, or are counted beside it.
    pub(super) fn begin_at_zero(&self) {
        for reason in ProbeFailure::reasons() {
            let _zero = self.probe_errors.get_or_create(&ReasonLabel { reason });
        }
        for kind in KINDS {
            let _zero = self.watch_errors.get_or_create(&KindLabel { kind });
        }
        for result in Outcome::ALL.map(Outcome::as_str) {
            let _zero = self.remediations.get_or_create(&RemediationLabels { action: REMEDIATION, result });
        }
        for outcome in SwitchoverOutcome::ALL.map(SwitchoverOutcome::as_str) {
            for method in SwitchoverMethod::ALL.map(SwitchoverMethod::as_str) {
                let _zero = self.switchovers.get_or_create(&SwitchoverLabels { method, outcome });
            }
        }
        let controller = CONTROLLER;
        for result in ReconcileResult::ALL.map(ReconcileResult::as_str) {
            let _zero = self.reconciles.get_or_create(&ReconcileLabels { controller, result });
        }
        let _zero = self.reconcile_errors.get_or_create(&ControllerLabel { controller });
        let _zero = self.reconcile_time.get_or_create(&ControllerLabel { controller });
    }

    /// Steps of these actions, too: whoever takes them knows their names.
    pub fn steps_begin_at_zero(&self, actions: &[&'static str]) {
        for (action, result) in actions.iter().flat_map(|action| RESULTS.map(|result| (*action, result))) {
            let _zero = self.remediations.get_or_create(&RemediationLabels { action, result });
        }
    }
}
