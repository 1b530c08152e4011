//! Findings that promise nothing which the decision refuses: what `assess` says that the operator will do is held
//! against what was decided.

use std::collections::{HashMap, HashSet};

use super::{
    Context, chain, decide::Decision, effect::Effect, estimate, gates, hold, maxmemory, order, resize, rogue_primary,
};
use crate::{
    assess::{self, fragmentation, roles},
    domain::{
        blocked::BlockReason,
        finding::{Finding, FindingCode},
        journal::Journal,
        names::PodName,
        policy::Mode,
        step::{PlannedStep, Step},
        surroundings::Kept,
    },
    topology::Handover,
};

/// A refusal that is longer than this is not repeated in each finding.
const SHORT: usize = 200;

/// Every finding of that look, with remedies worded from the decision. While a remediation is under way its own status
/// says what is done.
pub fn findings(ctx: &Context<'_>, journal: Option<&Journal>, decision: &Decision) -> Vec<Finding> {
    let mut findings = ctx.look.findings(ctx.records, journal);
    if let Some(journal) = journal {
        for finding in findings.iter_mut().filter(|finding| promises_a_restart(finding)) {
            if let Some(said) = beside(ctx, journal, finding) {
                finding.remedy = said;
            }
        }
        return findings;
    }
    let decided = Decided::of(ctx, decision);
    for finding in &mut findings {
        let Some(pod) = finding.pod.clone() else { continue };
        if let Some(place) = decided.for_new_pods(finding, &pod) {
            finding.afterwards = place;
        }
        if let Some(said) = decided.instead(finding, &pod) {
            finding.remedy = said;
        }
    }
    findings
}

/// What is said of a restart that is due and that the remediation under way is not about.
fn beside(ctx: &Context<'_>, journal: &Journal, finding: &Finding) -> Option<String> {
    let target = ctx.look.target(finding.pod.as_ref()?)?;
    let shard = ctx.look.shard_of(target)?;
    if !shard.id.is(&journal.shard) {
        return Some(after(&journal.workload_name));
    }
    let why = chain::of(shard, target).filter(|_| journal.chained)?;
    Some(beside_a_chain(&why))
}

/// What was decided, by pod.
struct Decided<'a> {
    ctx: &'a Context<'a>,
    decision: &'a Decision,
    /// Whose restart is due and is not begun, each with the reason.
    refused: HashMap<PodName, String>,
    frozen: HashSet<PodName>,
    resized: HashSet<&'a PodName>,
    labelled: HashSet<&'a PodName>,
}

impl<'a> Decided<'a> {
    fn of(ctx: &'a Context<'_>, decision: &'a Decision) -> Self {
        let (mut resized, mut labelled) = (HashSet::new(), HashSet::new());
        for (effect, _) in &decision.upkeep {
            match effect {
                Effect::Resize { pod, .. } => resized.insert(pod),
                Effect::Label { pod, .. } => labelled.insert(pod),
                _ => false,
            };
        }
        let frozen = rogue_primary::frozen_pods(ctx).into_iter().collect();
        Self { ctx, decision, refused: refused_restarts(ctx, decision), frozen, resized, labelled }
    }

    /// What is said instead of the remedy; `None`: the remedy is right.
    fn instead(&self, finding: &Finding, pod: &PodName) -> Option<String> {
        role_leaves(self.ctx, self.decision, finding, pod)
            .or_else(|| self.maxmemory_first(finding, pod))
            .or_else(|| self.refused.get(pod).filter(|_| promises_a_restart(finding)).cloned())
            .or_else(|| self.no_raise(finding, pod))
            .or_else(|| self.no_label(finding, pod))
    }

    /// `maxmemory` is set, or why it is not; and what is left to do then.
    fn maxmemory_first(&self, finding: &Finding, pod: &PodName) -> Option<String> {
        let said = |remedy: &str| maxmemory::said(self.ctx, self.ctx.look.target(pod)?, remedy);
        let then = match finding.code {
            FindingCode::MaxmemoryUnset | FindingCode::HeadroomInsufficient => {
                return said(&finding.remedy).map(|(said, _)| said);
            }
            FindingCode::OomKilled | FindingCode::OomKillLoop => format!("to end it for good: {}", finding.remedy),
            FindingCode::TemplateTooSmall => "the template's limit is enough for that".to_owned(),
            FindingCode::RequestBelowMaxmemory => "the memory request is to be at least that".to_owned(),
            _ => return None,
        };
        let (said, _) = said("").filter(|(_, value)| value.is_some())?;
        Some(format!("{said}; {then}"))
    }

    /// How new pods get the `maxmemory` that is set.
    fn for_new_pods(&self, finding: &Finding, pod: &PodName) -> Option<String> {
        if ![FindingCode::MaxmemoryUnset, FindingCode::TemplateTooSmall].contains(&finding.code) {
            return None;
        }
        let target = self.ctx.look.target(pod)?;
        let (_, value) = maxmemory::said(self.ctx, target, "")?;
        let place = assess::in_start(&self.ctx.policy.namespace, self.ctx.snapshot, target, (value?, None));
        Some(format!("by day, because new pods start without it: {place}"))
    }

    /// Why a limit is not raised that a finding says is raised.
    fn no_raise(&self, finding: &Finding, pod: &PodName) -> Option<String> {
        let stopped = self.ctx.snapshot.surroundings.stopped.as_ref();
        if !finding.remedy.starts_with(assess::WILL_RAISE) || (stopped.is_none() && self.resized.contains(pod)) {
            return None;
        }
        let why = match stopped {
            Some(how) => format!("the whole operator is stopped by {how}"),
            None if self.frozen.contains(pod) => "the roles of its set are not clear".to_owned(),
            None if resize::follows_a_kill(self.ctx, pod) => return None,
            None => "the pod is being deleted, or its server does not say which process it is".to_owned(),
        };
        Some(format!("no limit is raised now: {why}; else the limit is raised in place"))
    }

    /// Why a label is not moved that a finding says is moved.
    fn no_label(&self, finding: &Finding, pod: &PodName) -> Option<String> {
        if !finding.remedy.starts_with(roles::WILL_LABEL) || self.labelled.contains(pod) {
            return None;
        }
        let why = if left_alone(self.ctx, pod, Kept::RoleLabel) {
            "it was set back, or refused, again and again"
        } else {
            "another policy acts for this set, or a member does not answer"
        };
        Some(format!("no label is moved now: {why}"))
    }
}

/// What is said of kills of a primary whose role goes to another member.
fn role_leaves(ctx: &Context<'_>, decision: &Decision, finding: &Finding, pod: &PodName) -> Option<String> {
    if ![FindingCode::OomKilled, FindingCode::OomKillLoop].contains(&finding.code) {
        return None;
    }
    let of_it = |planned: &&PlannedStep| matches!(&planned.step, Step::Switchover { from, .. } if from == pod);
    let (due, planned) = decision.due.iter().find_map(|due| {
        let plan = due.plan.as_ref().filter(|plan| plan.leaves_sick)?;
        Some((due, plan.steps.iter().find(of_it)?))
    })?;
    let to = match &planned.step {
        Step::Switchover { to: Some(to), .. } => format!("{to}, whose limit is enough"),
        _ => "the member that a Sentinel chooses, as the limit of each of them is enough".to_owned(),
    };
    let role = match (due.blocked.first(), ctx.policy.mode) {
        (Some(first), _) => format!("its role is to go to {to}, and waits: {}", first.reason),
        (None, Mode::Observe) => format!("in mode Enforce the operator gives its role to {to}"),
        (None, Mode::Enforce) => format!("the operator gives its role to {to}"),
    };
    Some(format!("{role}; to end it for good: {}", finding.remedy))
}

/// What is said of a restart that is due in another set than the one that is remediated.
fn after(first: &str) -> String {
    format!("a restart is due, and {first} comes first: one set of a policy is remediated at a time")
}

/// What is said of a restart that is due amid a chain, while those at its ends are restarted.
fn beside_a_chain(why: &str) -> String {
    format!("a restart is due and is not begun: {}: {why}", BlockReason::ChainedReplicas)
}

fn left_alone(ctx: &Context<'_>, pod: &PodName, kept: Kept) -> bool {
    ctx.snapshot.surroundings.left_alone.iter().any(|left| left.pod == *pod && left.kept == kept)
}

fn promises_a_restart(finding: &Finding) -> bool {
    finding.code == FindingCode::FragmentationRestartDue
        && [fragmentation::WILL_RESTART, fragmentation::WOULD_RESTART].contains(&finding.remedy.as_str())
}

/// Pods whose restart is due and would not be begun, each with the reason.
fn refused_restarts(ctx: &Context<'_>, decision: &Decision) -> HashMap<PodName, String> {
    let mut refused = HashMap::new();
    for considered in &decision.due {
        let Some(plan) = considered.plan.as_ref() else { continue };
        let Some(shard) = ctx.shard(&plan.shard) else { continue };
        let steps = considered.plan.as_ref().map(|plan| plan.steps.as_slice()).unwrap_or_default();
        let planned = order::restarted_pods(steps);
        let left = considered.plan.as_ref().map(|plan| plan.left.as_slice()).unwrap_or_default();
        let first = considered.blocked.first();
        let held = |pod: &PodName| {
            let target = ctx.look.target(pod)?;
            hold::of(ctx, shard, target).or_else(|| gates::oom_cause_remains(ctx, target))
        };
        let before = decision.plan.as_ref().filter(|plan| plan.shard != shard.id);
        // Several may have one name as yet: the members of a Redis Cluster.
        let members = ctx.look.shards.iter().filter(|shard| shard.id.is(&plan.shard)).flat_map(|shard| &shard.members);
        for member in members {
            let pod = &member.pod.name;
            let why = match (first, before) {
                _ if held(pod).is_some() && !planned.contains(pod) => {
                    format!("a restart is due and is not begun: {}", held(pod).unwrap_or_default())
                }
                (Some(first), _) if first.text.len() <= SHORT => {
                    format!("a restart is due and is not begun: {}: {}", first.reason, first.text)
                }
                (Some(first), _) => {
                    format!("a restart is due and is not begun: {}, see the condition RemediationBlocked", first.reason)
                }
                (None, Some(before)) => after(&before.workload_name),
                (None, None) if left.contains(pod) => "it is restarted by the plan after this one".to_owned(),
                (None, None) if !planned.contains(pod) && chain::of(shard, member).is_some() => {
                    beside_a_chain(&chain::of(shard, member).unwrap_or_default())
                }
                (None, None) if !planned.contains(pod) && estimate::gap_too_long(ctx, shard).is_some() => {
                    let why = estimate::gap_too_long(ctx, shard).unwrap_or_default();
                    format!("the others of its set are restarted and it is not: {why}")
                }
                (None, None) if !planned.contains(pod) && shard.handover() == Handover::Never => {
                    "the others of its set are restarted and it is not: it is the primary, and its role is left to its \
                     Sentinels"
                        .to_owned()
                }
                (None, None) if !planned.contains(pod) => "the others of its set are restarted and it is not: it is \
                    the primary, and nothing can take over from it (spec.restart.allowDowntime, and data that is verified to be on disk)"
                    .to_owned(),
                (None, None) => continue,
            };
            let mode = if ctx.policy.mode == Mode::Observe { "in mode Enforce too: " } else { "" };
            refused.insert(pod.clone(), format!("{mode}{why}"));
        }
    }
    refused
}
