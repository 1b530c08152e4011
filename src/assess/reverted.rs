//! What somebody else sets back, or refuses, so often that it is left alone.

use crate::domain::{
    finding::{Finding, FindingCode},
    snapshot::Snapshot,
    surroundings::{Kept, LeftAlone, Undone},
};

pub(super) fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    let there = |left: &&LeftAlone| snapshot.targets.iter().any(|target| target.pod.uid == left.uid);
    snapshot.surroundings.left_alone.iter().filter(there).map(finding).collect()
}

fn finding(left: &LeftAlone) -> Finding {
    let (code, what) = match left.kept {
        Kept::RoleLabel => (FindingCode::LabelReverted, "the role label"),
        Kept::Limit => (FindingCode::LimitReverted, "the memory limit"),
    };
    let (evidence, remedy) = match &left.undone {
        Undone::By(by) => {
            let (who, other) = by.as_ref().map_or_else(
                || ("somebody whom the pod does not name".to_owned(), "what sets it back".to_owned()),
                |by| (format!("`{by}`"), format!("`{by}`")),
            );
            (
                format!(
                    "{what} was set to {} {} times within 10 minutes, and set back by {who}",
                    left.value, left.times
                ),
                format!("let one of the two keep {what}: take the pod out of {other}, or out of the policy's remedies"),
            )
        }
        Undone::Refused(text) => (
            format!("the API server refused {} times to set {what} to {}: {text}", left.times, left.value),
            "let the operator make the change, or make it yourself".to_owned(),
        ),
    };
    let until = left.until.strftime("%Y-%m-%dT%H:%M:%SZ");
    Finding::new(code, Some(left.pod.clone()), evidence, format!("{remedy}; it is left alone until {until}"))
}
