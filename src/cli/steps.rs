//! The steps of a plan, for people.

use super::layout::paragraph;
use crate::domain::{duration, step::PlannedStep, write_gap::WriteGap};

/// One paragraph for each step, with its number behind the mark.
pub(super) fn list<'a>(out: &mut String, steps: impl Iterator<Item = (char, &'a PlannedStep)>) {
    for (n, (mark, planned)) in steps.enumerate() {
        let number = n + 1;
        let (kind, pod) = (planned.step.kind(), planned.step.pod());
        let first = format!("{mark}{number:>3}  ");
        paragraph(out, &first, "      ", &format!("{kind} {pod}: {}", planned.reason));
    }
}

/// How long writes stop by a plan, and where the number is from.
pub(super) fn gap(out: &mut String, gap: &WriteGap) {
    let time = duration::format(gap.estimate());
    paragraph(out, "writes stop for about ", "     ", &format!("{time} ({})", gap.from));
}
