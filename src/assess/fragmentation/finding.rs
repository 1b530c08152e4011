//! The findings that follow from a verdict.

use super::{Band, Cause, DueReason, EFFICIENCY_LOW, Verdict};
use crate::{
    assess::{View, headroom},
    domain::{
        duration,
        finding::{Finding, FindingCode, Severity},
        pod::Right,
        policy::Mode,
        ratio::Ratio,
        sample::{Memory, Sample},
    },
};

/// What is said where a restart is due and nothing is known to be in its way.
pub const WILL_RESTART: &str = "the operator restarts it, replicas before the primary: see status.plan for the steps";
/// The same in Observe.
pub const WOULD_RESTART: &str =
    "in mode Enforce the operator would restart it, replicas before the primary: see status.plan";

/// An unknown verdict gives no finding: it is neither good nor bad.
pub(in crate::assess) fn findings(view: &View<'_>) -> Vec<Finding> {
    let verdict = view.fragmentation;
    let Some(sample) = view.target.sample() else { return Vec::new() };
    let by_ratio = code(verdict).map(|code| {
        let evidence = evidence(view, verdict, &sample.memory);
        let finding = view.finding(code, evidence, remedy(view, verdict, sample, code));
        if verdict.stays_near_limit { finding.with_severity(Severity::Critical) } else { finding }
    });
    let by_efficiency = verdict.efficiency.filter(|_| verdict.efficiency_low).map(|share| {
        let rss = sample.memory.rss.quantised();
        // In steps of 5 downwards, so that what is below one half never reads as one half.
        let share = share.0 / 5 * 5;
        view.finding(
            FindingCode::MemoryEfficiencyLow,
            format!("about {share} % of RSS {rss} is data, wanted at least {} %", EFFICIENCY_LOW.0),
            efficiency_remedy(verdict),
        )
    });
    by_ratio.into_iter().chain(by_efficiency).collect()
}

fn code(verdict: &Verdict) -> Option<FindingCode> {
    if verdict.restart_due.is_some() {
        return Some(FindingCode::FragmentationRestartDue);
    }
    match verdict.band {
        Band::Restart | Band::Critical => Some(FindingCode::FragmentationCritical),
        Band::Serious => Some(FindingCode::FragmentationSerious),
        Band::Moderate => Some(FindingCode::FragmentationModerate),
        Band::Healthy | Band::Unknown => None,
    }
}

fn evidence(view: &View<'_>, verdict: &Verdict, memory: &Memory) -> String {
    let rule = &view.policy.fragmentation;
    let held = match verdict.band {
        _ if verdict.restart_due == Some(DueReason::Efficiency) => "less than half of RSS is data".to_owned(),
        _ if verdict.restart_due == Some(DueReason::NearLimit) => "RSS above 80 % of the container limit".to_owned(),
        Band::Restart => format!("{} or more", rule.restart),
        Band::Critical => format!("{} or more", rule.critical),
        Band::Serious => format!("{} or more", rule.serious),
        Band::Moderate | Band::Healthy | Band::Unknown => format!("{} or more", rule.moderate),
    };
    // `check` has one look and asks for no time.
    let time =
        if rule.sustained.is_zero() { "now".into() } else { format!("for {}", duration::format(rule.sustained)) };
    let limit = ratio_at_limit(view, memory)
        .map(|end| format!("; the container limit is reached at ratio {}", tenths(end)))
        .unwrap_or_default();
    format!(
        "ratio {}, {held} {time}: RSS about {}, used about {}, waste about {}, {}; a restart should give back about {}{limit}",
        tenths(verdict.ratio),
        memory.rss.quantised(),
        memory.used.quantised(),
        verdict.waste.quantised(),
        cause(verdict),
        verdict.expected_gain.quantised(),
    )
}

/// The ratio at which this much data fills the container's limit, and the kernel kills the process.
fn ratio_at_limit(view: &View<'_>, memory: &Memory) -> Option<Ratio> {
    let limit = view.target.pod.limit()?;
    Ratio::of(limit, memory.used.quantised())
}

/// The ratio from which on the container's limit leaves no room for a save or full sync: a restart that is due only
/// then is refused.
fn ratio_without_room(view: &View<'_>, sample: &Sample) -> Option<Ratio> {
    let limit = view.target.pod.limit()?;
    Ratio::of(limit.saturating_sub(headroom::fork_need(sample).quantised()), sample.memory.used.quantised())
}

fn cause(verdict: &Verdict) -> String {
    match verdict.cause {
        Cause::Fragmented => format!("mostly half-empty slabs (about {})", verdict.fragmented.quantised()),
        Cause::Purgeable => {
            format!("mostly free pages kept by the allocator (about {})", verdict.purgeable.quantised())
        }
        Cause::Other => format!("mostly memory outside the allocator (about {})", verdict.other.quantised()),
        Cause::TotalOnly => "of which the allocator does not tell the cause".into(),
    }
}

/// `2.9`: what [`Ratio::quantised`] leaves of 2.91.
fn tenths(ratio: Ratio) -> String {
    let tenths = ratio.quantised().0 / 10;
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn remedy(view: &View<'_>, verdict: &Verdict, sample: &Sample, code: FindingCode) -> String {
    let rule = &view.policy.fragmentation;
    if let Some(instead) = verdict.cause.instead_of_a_restart() {
        return format!("{instead}; the operator restarts nothing for this");
    }
    if code != FindingCode::FragmentationRestartDue {
        return not_due(view, verdict, sample);
    }
    if !rule.restart_allowed {
        return "restart the replicas one by one, hand the primary role over and restart the old primary; or set spec.fragmentation.remedies to [Restart]".into();
    }
    if let Some(policy) = view.claimed_by() {
        return format!("policy {policy}, which is older, acts for this workload: see its status");
    }
    if view.policy.mode == Mode::Observe {
        return WOULD_RESTART.into();
    }
    if view.policy.suspend {
        return "spec.suspend is set, so no restart is begun: unset it to let the operator act".into();
    }
    if view.around.is_some_and(|around| around.snapshot.rights.evict == Right::Denied) {
        return "the operator lacks the right to evict pods (chart value acting.restart): grant it, or restart the pods yourself, replicas first".into();
    }
    WILL_RESTART.into()
}

/// Why a band above healthy is not cured by a restart yet.
fn not_due(view: &View<'_>, verdict: &Verdict, sample: &Sample) -> String {
    let rule = &view.policy.fragmentation;
    let (restart, minimum) = (rule.restart, rule.minimum_waste);
    if verdict.left_by_eviction {
        return "no restart is due: what it would give back is what the operator let the server evict \
                (headroom.allowEviction), and goes with the next start; to have it earlier, ask for the restart by hand"
            .to_owned();
    }
    if verdict.stays_near_limit {
        return "RSS is above 80 % of the container limit, and a restart would leave it above 70 %, so none is due: raise the \
                limit"
            .to_owned();
    }
    if let Some(end) = ratio_without_room(view, sample).filter(|end| *end < restart && verdict.band != Band::Restart) {
        return format!(
            "no restart is due below ratio {restart}, or until RSS is above 80 % of the container limit and a restart takes \
             it below 70 %; from ratio {} on that limit leaves no room for the save or full sync that one takes: raise the \
             limit, or lower spec.fragmentation.restartPercent",
            tenths(end)
        );
    }
    if verdict.falling {
        "the ratio is falling: wait until it is stable".into()
    } else if verdict.band == Band::Restart {
        format!("a restart would give back less than minimumWaste {minimum}, so none is due")
    } else {
        format!("watch it: from ratio {restart} on a restart is due; activedefrag helps where the build has it")
    }
}

fn efficiency_remedy(verdict: &Verdict) -> &'static str {
    match verdict.restart_due {
        Some(DueReason::Efficiency) => {
            "a restart would lift it above one half, so one is due: see FragmentationRestartDue"
        }
        Some(DueReason::Ratio | DueReason::NearLimit) => {
            "a restart is due for the fragmentation: see FragmentationRestartDue"
        }
        None => {
            "look at client buffers, the replication backlog, tables of small keys and fragmentation: a restart alone \
             would not mend it, or is not due yet"
        }
    }
}
