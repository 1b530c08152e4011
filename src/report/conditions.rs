//! The conditions of a policy. Pure.

use std::fmt::Write as _;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::findings::{self, each, grouped};
use crate::{
    api::v1alpha1::{FindingStatus, VerdictStatus},
    assess::judged::Judged,
    domain::{
        blocked::{BlockReason, Blocked},
        finding::{FindingCode as Code, Severity},
        journal::{Journal, Outcome, WorkloadRecord},
        step::Plan,
    },
};

/// What the conditions are made from.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Everything that is found, and what was found earlier and could not be judged again; the worst first.
    pub findings: &'a [FindingStatus],
    /// What could be judged.
    pub judged: &'a Judged,
    /// What is in the way.
    pub blocked: &'a [Blocked],
    /// The restarts that are due.
    pub due: Option<&'a Plan>,
    /// The remediation under way.
    pub journal: Option<&'a Journal>,
    /// What is remembered of each workload.
    pub records: &'a [WorkloadRecord],
    /// What is said first.
    pub verdict: &'a VerdictStatus,
}

/// Status, reason and message of one condition.
type Said = (Option<bool>, String, String);

/// Whether, and by what, a remediation is kept from its next step.
pub const BLOCKED: &str = "RemediationBlocked";
/// The longest message that we write.
const MESSAGE_CAP: usize = 1024;

/// All conditions of an evaluated policy. `lastTransitionTime` moves only when the status does.
pub fn evaluated(known: &Known<'_>, previous: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
    // `kubectl describe` shows this first, and the verdict last.
    let VerdictStatus { level, brief, .. } = known.verdict;
    let ready = format!("evaluated: {level}: {brief} (in full: .status.verdict)");
    let all = [
        ("Ready", said(Some(true), "Evaluated", ready)),
        ("Reconciling", said(Some(false), "Evaluated", "")),
        ("Stalled", said(Some(false), "Evaluated", "")),
        ("HeadroomSufficient", no_finding(known, HEADROOM, "Sufficient")),
        ("FragmentationWithinBounds", no_finding(known, FRAGMENTATION, "WithinBounds")),
        ("ConfigurationSafe", no_finding(known, CONFIGURATION, "Safe")),
        ("Remediating", remediating(known)),
        (BLOCKED, blocked(known)),
    ];
    all.into_iter().map(|(kind, said)| condition(kind, said, previous, generation, now)).collect()
}

/// The conditions of a policy that cannot be evaluated: what was found before (`findings`, all stale) still counts, and
/// the rest is unknown now.
pub fn stalled(
    reason: &str,
    message: &str,
    findings: &[FindingStatus],
    previous: &[Condition],
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let judged = |codes| worst(findings, codes).unwrap_or_else(|| said(None, reason, "not evaluated"));
    let all = [
        ("Ready", said(Some(false), reason, message)),
        ("Reconciling", said(Some(false), reason, "")),
        ("Stalled", said(Some(true), reason, message)),
        ("HeadroomSufficient", judged(HEADROOM)),
        ("FragmentationWithinBounds", judged(FRAGMENTATION)),
        ("ConfigurationSafe", judged(CONFIGURATION)),
    ];
    all.into_iter().map(|(kind, said)| condition(kind, said, previous, generation, now)).collect()
}

/// Says of one condition something else than was said.
pub fn replace(
    conditions: &mut Vec<Condition>,
    kind: &str,
    (holds, reason, message): (bool, &str, &str),
    generation: i64,
    now: Timestamp,
) {
    let new = condition(kind, said(Some(holds), reason, message), conditions, generation, now);
    match conditions.iter_mut().find(|condition| condition.type_ == kind) {
        Some(condition) => *condition = new,
        None => conditions.push(new),
    }
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

/// False when a finding of one of these codes exists, also one that is carried from before; the worst one is the
/// reason. True only when every pod was judged for every one of them.
fn no_finding(known: &Known<'_>, codes: &[Code], good: &str) -> Said {
    if let Some(bad) = worst(known.findings, codes) {
        return bad;
    }
    match codes.iter().find_map(|code| known.judged.missing(*code)) {
        None => said(Some(true), good, "every pod was judged, and none has a finding about it"),
        Some(Some(pod)) => {
            said(None, "NotEnoughReadings", format!("{pod} has not been judged yet: it is neither well nor not"))
        }
        Some(None) if known.judged.is_nothing() => said(None, "NoSample", "there is no target to judge"),
        Some(None) => said(None, "NotEnoughReadings", "not every member has said its role yet"),
    }
}

/// What the worst finding of these codes says.
fn worst(findings: &[FindingStatus], codes: &[Code]) -> Option<Said> {
    let among = |finding: &&FindingStatus| codes.iter().any(|code| code.as_str() == finding.code);
    let hits: Vec<FindingStatus> = findings.iter().filter(among).cloned().collect();
    let groups = grouped(&each(&hits));
    let worst = groups.first()?;
    let rest = match groups.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more of these findings)"),
    };
    Some(said(Some(false), &worst.code, format!("{}{rest}", text(worst))))
}

fn text(finding: &FindingStatus) -> String {
    let stale = if finding.stale { " (found earlier, not judged again yet)" } else { "" };
    match (&finding.pod, finding.pods.len()) {
        (Some(pod), 2..) => format!("{}, {pod}: {}{stale}", findings::about(finding), finding.evidence),
        (Some(pod), _) => format!("{pod}: {}{stale}", finding.evidence),
        (None, _) => format!("{}{stale}", finding.evidence),
    }
}

/// What keeps HeadroomSufficient from being True.
const HEADROOM: &[Code] =
    &[Code::OomKillLoop, Code::OomKilled, Code::MaxmemoryUnset, Code::HeadroomInsufficient, Code::LimitMissing];

/// What keeps FragmentationWithinBounds from being True.
const FRAGMENTATION: &[Code] = &[
    Code::FragmentationRestartDue,
    Code::FragmentationCritical,
    Code::FragmentationSerious,
    Code::MemoryEfficiencyLow,
];

/// What keeps ConfigurationSafe from being True.
const CONFIGURATION: &[Code] = &[
    Code::TwoPrimaries,
    Code::PrimaryEmpty,
    Code::NoPrimary,
    Code::EvictionPolicyUnsafe,
    Code::TemplateTooSmall,
    Code::RoleLabelMissing,
    Code::MemberOutsideSelector,
    Code::ContainerUnknown,
    Code::PermissionMissing,
];

fn remediating(known: &Known<'_>) -> Said {
    let Some(journal) = known.journal else {
        return stopped(known).unwrap_or_else(|| said(Some(false), "Idle", "no pod is being restarted"));
    };
    let total = journal.steps.len();
    let Some(planned) = journal.planned() else {
        return said(Some(true), "Finishing", format!("all {total} steps of {} are taken", journal.id));
    };
    let step = journal.cursor + 1;
    let mut what =
        format!("step {step} of {total}: {} {}: {}", planned.step.kind(), planned.step.pod(), planned.reason);
    if let Some(switchover) = &journal.current.switchover {
        let back = if switchover.back { "handing the role back; " } else { "" };
        let _ = write!(what, "; {back}method {}: {}", switchover.method.as_str(), switchover.why);
    }
    if let Some(failure) = &journal.current.failure {
        let _ = write!(what, "; attempt {} failed: {failure}; it is tried again", journal.current.attempt.max(1));
    }
    said(Some(true), &format!("{:?}", planned.step.kind()), what)
}

/// A remediation that has paused or given up, and of which something is still to be done: what it waits for now.
fn stopped(known: &Known<'_>) -> Option<Said> {
    let plan = known.due?;
    let last = known.records.iter().find(|record| record.shard.is(&plan.shard))?;
    let outcome = last.outcome?;
    let verb = match outcome {
        Outcome::Paused => "paused",
        Outcome::GaveUp => "gave up",
        _ => return None,
    };
    let now = known.blocked.first();
    let now =
        now.map_or_else(|| "nothing; it is begun anew".to_owned(), |first| format!("{}: {}", first.reason, first.text));
    let at = last.ended_at.strftime("%Y-%m-%dT%H:%M:%SZ");
    let text = format!("{} {verb} at {at} ({}); in the way of the rest now: {now}", last.name, last.message);
    Some(said(Some(false), outcome.as_str(), text))
}

/// What these conditions say is in the way.
pub fn in_the_way(conditions: &[Condition]) -> Option<Blocked> {
    let said = conditions.iter().find(|it| it.type_ == BLOCKED && it.status == "True")?;
    Some(Blocked::new(BlockReason::named(&said.reason)?, said.message.clone()))
}

fn blocked(known: &Known<'_>) -> Said {
    match known.blocked {
        [] if known.due.is_some() || known.journal.is_some() => {
            said(Some(false), "NothingInTheWay", "the restarts go on")
        }
        [] => said(Some(false), "NothingDue", "no restart is due"),
        [first, rest @ ..] => {
            let mut message = first.text.clone();
            for other in rest {
                let _ = write!(message, "; {}: {}", other.reason, other.text);
            }
            said(Some(true), first.reason.as_str(), message)
        }
    }
}

/// Whether that pod is well: not when something worse than Info concerns it, also from before; `None` as long as it is
/// not judged for all of that.
pub fn compliant(known: &[FindingStatus], judged: &Judged, pod: &str) -> Option<bool> {
    let bad = |finding: &FindingStatus| {
        Severity::named(&finding.severity) >= Severity::Warning && finding.pod.as_deref() == Some(pod)
    };
    if known.iter().any(bad) {
        return Some(false);
    }
    judged.fully(pod).then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::NOW;
    use rstest::rstest;

    #[rstest]
    #[case(true, "DisruptionBudget", Some(BlockReason::DisruptionBudget))]
    #[case(false, "NothingInTheWay", None)]
    #[case(true, "NoReasonOfOurs", None)]
    fn what_is_in_the_way_is_read_as_it_was_said(
        #[case] holds: bool,
        #[case] reason: &str,
        #[case] read: Option<BlockReason>,
    ) {
        let mut conditions = Vec::new();
        replace(&mut conditions, BLOCKED, (holds, reason, "no disruption is allowed"), 1, NOW);
        let expected = read.map(|reason| Blocked::new(reason, "no disruption is allowed".to_owned()));
        assert_eq!(in_the_way(&conditions), expected);
    }
}
