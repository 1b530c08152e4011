//! The conditions of a policy. Pure.

use std::fmt::Write as _;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::domain::{
    finding::{Finding, FindingCode, Severity},
    journal::Journal,
};
use crate::plan::blocked::Blocked;

/// What the conditions are made from.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// Everything that was found.
    pub findings: &'a [Finding],
    /// Targets of which a sample exists.
    pub sampled: usize,
    /// What is in the way.
    pub blocked: &'a [Blocked],
    /// A restart is due.
    pub due: bool,
    /// The remediation under way.
    pub journal: Option<&'a Journal>,
}

/// Status, reason and message of one condition.
type Said = (Option<bool>, String, String);

/// The longest message that we write.
const MESSAGE_CAP: usize = 1024;

/// All conditions of an evaluated policy. `lastTransitionTime` moves only when the status does.
pub fn evaluated(judged: &Judged<'_>, previous: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
    let all = [
        ("Ready", said(Some(true), "Evaluated", "this generation of the policy has been evaluated")),
        ("Reconciling", said(Some(false), "Evaluated", "")),
        ("Stalled", said(Some(false), "Evaluated", "")),
        ("HeadroomSufficient", headroom(judged)),
        ("FragmentationWithinBounds", fragmentation(judged)),
        ("ConfigurationSafe", configuration(judged)),
        ("Remediating", remediating(judged)),
        ("RemediationBlocked", blocked(judged)),
    ];
    all.into_iter().map(|(kind, said)| condition(kind, said, previous, generation, now)).collect()
}

/// The conditions of a policy that cannot be evaluated; what was judged before is unknown now.
pub fn stalled(reason: &str, message: &str, previous: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
    let unknown = || said(None, reason, "not evaluated");
    let all = [
        ("Ready", said(Some(false), reason, message)),
        ("Reconciling", said(Some(false), reason, "")),
        ("Stalled", said(Some(true), reason, message)),
        ("HeadroomSufficient", unknown()),
        ("FragmentationWithinBounds", unknown()),
        ("ConfigurationSafe", unknown()),
    ];
    all.into_iter().map(|(kind, said)| condition(kind, said, previous, generation, now)).collect()
}

fn said(status: Option<bool>, reason: &str, message: impl Into<String>) -> Said {
    (status, reason.to_owned(), message.into())
}

fn condition(kind: &str, said: Said, previous: &[Condition], generation: i64, now: Timestamp) -> Condition {
    let (status, reason, mut message) = said;
    message.truncate(message.floor_char_boundary(MESSAGE_CAP));
    let status = match status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let since = previous.iter().find(|before| before.type_ == kind && before.status == status);
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason,
        message,
        observed_generation: Some(generation),
        last_transition_time: since.map_or(Time(now), |before| before.last_transition_time.clone()),
    }
}

/// False when a finding of one of these codes exists; the worst one is the reason.
fn no_finding(judged: &Judged<'_>, codes: &[FindingCode], good: &str) -> Said {
    let mut hits = judged.findings.iter().filter(|finding| codes.contains(&finding.code));
    if let Some(worst) = hits.next() {
        let more = hits.count();
        let rest = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        return said(Some(false), worst.code.as_str(), format!("{}{rest}", text(worst)));
    }
    if judged.sampled == 0 {
        return said(None, "NoSample", "no target has been sampled");
    }
    said(Some(true), good, "")
}

fn text(finding: &Finding) -> String {
    match &finding.pod {
        Some(pod) => format!("{pod}: {}", finding.evidence),
        None => finding.evidence.clone(),
    }
}

fn headroom(judged: &Judged<'_>) -> Said {
    use FindingCode::{HeadroomInsufficient, LimitMissing, MaxmemoryUnset};
    no_finding(judged, &[MaxmemoryUnset, HeadroomInsufficient, LimitMissing], "Sufficient")
}

fn fragmentation(judged: &Judged<'_>) -> Said {
    use FindingCode::{FragmentationCritical, FragmentationRestartDue, FragmentationSerious, MemoryEfficiencyLow};
    let codes = [FragmentationRestartDue, FragmentationCritical, FragmentationSerious, MemoryEfficiencyLow];
    no_finding(judged, &codes, "WithinBounds")
}

fn configuration(judged: &Judged<'_>) -> Said {
    use FindingCode::{
        ContainerUnknown, EvictionPolicyUnsafe, MemberOutsideSelector, NoPrimary, PermissionMissing, PrimaryEmpty,
        RoleLabelMissing, TemplateTooSmall, TwoPrimaries,
    };
    let codes = [
        TwoPrimaries,
        PrimaryEmpty,
        NoPrimary,
        EvictionPolicyUnsafe,
        TemplateTooSmall,
        RoleLabelMissing,
        MemberOutsideSelector,
        ContainerUnknown,
        PermissionMissing,
    ];
    no_finding(judged, &codes, "Safe")
}

fn remediating(judged: &Judged<'_>) -> Said {
    let Some(journal) = judged.journal else {
        return said(Some(false), "Idle", "");
    };
    let total = journal.steps.len();
    let Some(planned) = journal.planned() else {
        return said(Some(true), "Finishing", format!("all {total} steps of {} are taken", journal.id));
    };
    let step = journal.cursor + 1;
    let mut what =
        format!("step {step} of {total}: {:?} {}: {}", planned.step.kind(), planned.step.pod(), planned.reason);
    if let Some(switchover) = &journal.current.switchover {
        let back = if switchover.back { "handing the role back; " } else { "" };
        let _ = write!(what, "; {back}method {}: {}", switchover.method.as_str(), switchover.why);
    }
    said(Some(true), &format!("{:?}", planned.step.kind()), what)
}

fn blocked(judged: &Judged<'_>) -> Said {
    match judged.blocked {
        [] if judged.due || judged.journal.is_some() => said(Some(false), "NothingInTheWay", ""),
        [] => said(Some(false), "NothingDue", ""),
        [first, rest @ ..] => {
            let mut message = first.text.clone();
            for other in rest {
                let _ = write!(message, "; {}: {}", other.reason, other.text);
            }
            said(Some(true), first.reason.as_str(), message)
        }
    }
}

/// True when nothing worse than Info concerns that pod.
pub fn compliant(findings: &[Finding], pod: &str) -> bool {
    !findings.iter().any(|finding| {
        finding.severity >= Severity::Warning && finding.pod.as_ref().is_some_and(|name| name.as_str() == pod)
    })
}
