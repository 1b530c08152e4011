//! A plan has a bound on its steps. What does not fit is left for the next plan, and never a piece of something: a pod
//! is restarted with everything that follows from it, and a role is handed over with every replica that must follow.

use crate::domain::{
    names::PodName,
    step::{Plan, PlannedStep, Step},
};

/// Steps that are planned together or not at all: the restart of one pod, or a whole hand-over with its repointing and
/// the restart of the old primary.
#[derive(Clone, Debug, Default)]
pub(super) struct Unit {
    pub(super) steps: Vec<PlannedStep>,
    /// The pod that it restarts is due by itself, not only restarted with its set.
    pub(super) due: bool,
}

/// The steps that fit, and the pods that are left for the next plan.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut {
    pub(super) steps: Vec<PlannedStep>,
    pub(super) left: Vec<PodName>,
}

/// Puts the pods that are due by themselves first, when not all fit: what is left then is due, and the next plan comes,
/// or it is not due, and need not be restarted. `more`: steps that come beside these.
pub(super) fn most_urgent_first(units: &mut [Unit], more: usize) {
    if units.iter().map(|unit| unit.steps.len()).sum::<usize>().saturating_add(more) > Plan::MAX_STEPS {
        units.sort_by_key(|unit| !unit.due);
    }
}

/// As many whole units as fit, in order. The last step that is kept says what follows.
pub(super) fn fitting(units: Vec<Unit>) -> Cut {
    let mut steps: Vec<PlannedStep> = Vec::new();
    let mut left = Vec::new();
    let mut due_is_left = false;
    for unit in units {
        if left.is_empty() && steps.len().saturating_add(unit.steps.len()) <= Plan::MAX_STEPS {
            steps.extend(unit.steps);
        } else {
            due_is_left |= unit.due;
            left.extend(super::restarted_pods(&unit.steps));
        }
    }
    if !left.is_empty()
        && let Some(last) = steps.iter_mut().rfind(|planned| matches!(planned.step, Step::Prove { .. }))
    {
        last.reason = format!("{}; then this plan ends, and {}", last.reason, rest(left.len(), due_is_left));
    }
    Cut { steps, left }
}

/// What becomes of the pods for which a plan had no room, for people. `due`: one of them is due by itself.
pub fn rest(pods: usize, due: bool) -> String {
    let (pods, follow) =
        if pods == 1 { ("the other pod".to_owned(), "follows") } else { (format!("the other {pods} pods"), "follow") };
    if due { format!("{pods} {follow} in the next plan") } else { format!("{pods} {follow} when one of them is due") }
}
