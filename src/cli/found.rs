//! Findings as a list for people: those of one code with one remedy are one, with the pods that they are about.

use super::layout::{line, paragraph};
use crate::{
    api::v1alpha1::FindingStatus,
    domain::finding::{Finding, advice},
    report::findings,
};

/// What was found just now, and nobody has stored, as the status would show it; since when is not known.
pub(super) fn of<'a>(found: impl IntoIterator<Item = &'a Finding>) -> Vec<FindingStatus> {
    let one = |finding: &Finding| FindingStatus {
        code: finding.code.as_str().to_owned(),
        severity: finding.severity.to_string(),
        pod: finding.pod.as_ref().map(ToString::to_string),
        pod_uid: None,
        pods: Vec::new(),
        since: None,
        stale: false,
        evidence: finding.evidence.clone(),
        remedy: finding.remedy.clone(),
        remedy_afterwards: finding.afterwards.clone(),
    };
    found.into_iter().map(one).collect()
}

/// One below the other, each with its numbers and what can be done.
pub(super) fn list(out: &mut String, found: &[FindingStatus]) {
    if found.is_empty() {
        line(out, "none");
    }
    for finding in findings::grouped(found) {
        let about = findings::about(&finding);
        let stale = if finding.stale { "  (stale: found earlier, not judged again yet)" } else { "" };
        let since =
            finding.since.map_or_else(String::new, |since| format!("  since {}", since.strftime("%Y-%m-%dT%H:%M:%SZ")));
        line(out, &format!("{:<8}  {}  {about}{since}{stale}", finding.severity, finding.code));
        let of =
            finding.pod.as_ref().filter(|_| finding.pods.len() > 1).map_or_else(String::new, |pod| format!("{pod}: "));
        paragraph(out, "          ", "          ", &format!("{of}{}", finding.evidence));
        paragraph(out, "          -> ", "             ", &advice(&finding.remedy, &finding.remedy_afterwards));
    }
}
