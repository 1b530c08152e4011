//! A policy's status as text. Pure.

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Serialize;

use super::progress;
use crate::{
    api::v1alpha1::{Mode, PlanStatus, RedisMemoryPolicy, RedisMemoryPolicyStatus},
    cli::{
        found,
        layout::{line, paragraph, table},
        parts, steps,
    },
    domain::journal::Journal,
};

/// A policy for programs: the resource without what only Kubernetes needs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Machine {
    name: String,
    namespace: String,
    generation: i64,
    mode: Mode,
    suspend: bool,
    status: RedisMemoryPolicyStatus,
}

pub(super) fn machine(policy: &RedisMemoryPolicy) -> Machine {
    Machine {
        name: policy.name_any(),
        namespace: policy.namespace().unwrap_or_default(),
        generation: policy.metadata.generation.unwrap_or_default(),
        mode: policy.spec.mode,
        suspend: policy.spec.suspend,
        status: policy.status.clone().unwrap_or_default(),
    }
}

/// The names of the columns, and a row for each policy.
pub(super) fn list(policies: &[RedisMemoryPolicy]) -> Vec<Vec<String>> {
    let head = ["NAMESPACE", "NAME", "VERDICT", "MODE", "PODS", "FINE", "WORST", "READY", "NOW"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(policies.iter().map(row));
    rows
}

/// The same with what is at stake. The column of sentences stays the last.
pub(super) fn wide(policies: &[RedisMemoryPolicy]) -> Vec<Vec<String>> {
    let mut rows = list(policies);
    let head = ["WASTE", "FREE", "FINDINGS", "PLAN"].map(str::to_owned);
    let more = std::iter::once(head).chain(policies.iter().map(at_stake));
    for (row, more) in rows.iter_mut().zip(more) {
        let last = row.pop();
        row.extend(more.into_iter().chain(last));
    }
    rows
}

/// Waste of all pods, the least room of one, how many findings, and the plan that is due.
fn at_stake(policy: &RedisMemoryPolicy) -> [String; 4] {
    let unknown = || "-".to_owned();
    let status = policy.status.as_ref();
    let verdict = status.and_then(|status| status.verdict.as_ref());
    let waste = status.and_then(|status| status.summary.as_ref()?.waste.clone());
    let free = verdict.and_then(|verdict| verdict.free.clone());
    [
        waste.unwrap_or_else(unknown),
        free.unwrap_or_else(unknown),
        status.map_or_else(unknown, |status| status.findings.len().to_string()),
        status.and_then(|status| status.plan.as_ref()).map_or_else(unknown, |plan| plan.hash.clone()),
    ]
}

fn row(policy: &RedisMemoryPolicy) -> Vec<String> {
    let unknown = || "-".to_owned();
    let status = policy.status.as_ref();
    let summary = status.and_then(|status| status.summary.as_ref());
    vec![
        policy.namespace().unwrap_or_default(),
        policy.name_any(),
        status.and_then(|status| status.verdict.as_ref()).map_or_else(unknown, |verdict| verdict.level.clone()),
        mode(policy).to_owned(),
        summary.map_or_else(unknown, |summary| format!("{}/{}", summary.reachable, summary.targets)),
        summary.map_or_else(unknown, |summary| summary.compliant.to_string()),
        summary.and_then(|summary| summary.worst_fragmentation.clone()).unwrap_or_else(unknown),
        condition(policy, "Ready").map_or_else(unknown, |(status, _, _)| status.to_owned()),
        now(policy),
    ]
}

/// The most important thing about it.
fn now(policy: &RedisMemoryPolicy) -> String {
    let holds = |kind| condition(policy, kind).filter(|(status, ..)| *status == "True");
    if let Some((_, reason, message)) = holds("Stalled") {
        return format!("Stalled: {reason}: {message}");
    }
    if let Some(journal) = policy.status.as_ref().and_then(|status| status.journal.as_ref()) {
        let step =
            journal.planned().map_or_else(|| "finishing".to_owned(), |p| format!("{} {}", p.step.kind(), p.step.pod()));
        return format!("step {} of {}: {step}", journal.cursor + 1, journal.steps.len());
    }
    if let Some((_, reason, _)) = holds("RemediationBlocked") {
        return format!("in the way: {reason}");
    }
    let summary = policy.status.as_ref().and_then(|status| status.summary.as_ref());
    summary.and_then(|summary| summary.last_action.clone()).unwrap_or_else(|| "-".to_owned())
}

fn mode(policy: &RedisMemoryPolicy) -> &'static str {
    match (policy.spec.mode, policy.spec.suspend) {
        (Mode::Observe, _) => "Observe",
        (Mode::Enforce, false) => "Enforce",
        (Mode::Enforce, true) => "Suspended",
    }
}

fn condition<'a>(policy: &'a RedisMemoryPolicy, kind: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let conditions = &policy.status.as_ref()?.conditions;
    let found = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((&found.status, &found.reason, &found.message))
}

/// Everything that the status says.
pub(super) fn full(policy: &RedisMemoryPolicy, now: Timestamp) -> String {
    let mut out = String::new();
    let generation = policy.metadata.generation.unwrap_or_default();
    let (namespace, name) = (policy.namespace().unwrap_or_default(), policy.name_any());
    if let Some(verdict) = policy.status.as_ref().and_then(|status| status.verdict.as_ref()) {
        let (what, parts) = parts::of(&verdict.sentence);
        paragraph(&mut out, &format!("{}  ", verdict.level), "        ", what);
        for (name, text) in parts {
            part(&mut out, name, text);
        }
        line(&mut out, "");
    }
    line(&mut out, &format!("policy {namespace}/{name}, {}, generation {generation}", mode(policy)));
    let Some(status) = &policy.status else {
        line(&mut out, "not evaluated yet: does the operator run, and may it see this namespace?");
        return out;
    };
    if status.observed_generation != policy.metadata.generation {
        let seen = status.observed_generation.map_or_else(|| "none".to_owned(), |generation| generation.to_string());
        line(&mut out, &format!("what follows is of generation {seen}: the operator has not evaluated this one yet"));
    }
    summary(&mut out, status);
    if let Some(answer) = &status.request {
        let at = answer.at.strftime("%Y-%m-%dT%H:%M:%SZ");
        paragraph(&mut out, "last request ", "             ", &format!("{at} {}: {}", answer.outcome, answer.message));
    }
    conditions(&mut out, status);
    if let Some(journal) = &status.journal {
        remediation(&mut out, journal);
        paragraph(&mut out, "     ", "     ", &progress::left(policy, journal, now));
    }
    refusals(&mut out, status);
    heading(&mut out, "FINDINGS");
    found::list(&mut out, &status.findings);
    match &status.plan {
        Some(plan) if status.journal.is_none() => {
            heading(&mut out, &format!("PLAN {} for {}", plan.hash, plan.workload));
            steps::list(&mut out, plan.steps.iter().map(|planned| (' ', planned)));
            members(&mut out, plan);
        }
        _ => {}
    }
    workloads(&mut out, status);
    out
}

/// A part of a verdict's sentence. What the reader is asked to do is broken by the terminal alone: a command that is copied from
/// it is whole.
fn part(out: &mut String, name: &str, text: &str) {
    if name != parts::YOU {
        return paragraph(out, &format!("        {name}: "), "          ", text);
    }
    for (n, step) in parts::steps(text).into_iter().enumerate() {
        let first = if n == 0 { format!("        {name}: ") } else { "          ".to_owned() };
        line(out, &format!("{first}{step}"));
    }
}

fn heading(out: &mut String, text: &str) {
    line(out, "");
    line(out, text);
}

fn summary(out: &mut String, status: &RedisMemoryPolicyStatus) {
    let Some(summary) = &status.summary else { return };
    let (targets, reachable, compliant) = (summary.targets, summary.reachable, summary.compliant);
    line(
        out,
        &format!(
            "pods         {targets} selected, {reachable} answer, {compliant} judged and without a Warning or worse"
        ),
    );
    if let (Some(worst), Some(waste)) = (&summary.worst_fragmentation, &summary.waste) {
        line(out, &format!("memory       worst fragmentation ratio {worst}, waste {waste} in all"));
    }
    if let Some(last) = &summary.last_action {
        paragraph(out, "last action  ", "             ", last);
    }
}

fn conditions(out: &mut String, status: &RedisMemoryPolicyStatus) {
    heading(out, "CONDITIONS");
    let rows: Vec<Vec<String>> = status
        .conditions
        .iter()
        .map(|c| {
            let why = if c.message.is_empty() { c.reason.clone() } else { format!("{}: {}", c.reason, c.message) };
            vec![c.type_.clone(), c.status.clone(), why]
        })
        .collect();
    table(out, &rows);
}

fn remediation(out: &mut String, journal: &Journal) {
    let begun = journal.started_at.strftime("%Y-%m-%dT%H:%M:%SZ");
    heading(out, &format!("REMEDIATION {} of {}, begun {begun}", journal.id, journal.workload_name));
    let cursor = usize::try_from(journal.cursor).unwrap_or(usize::MAX);
    steps::list(
        out,
        journal.steps.iter().enumerate().map(|(n, planned)| match n.cmp(&cursor) {
            std::cmp::Ordering::Less => ('+', planned),
            std::cmp::Ordering::Equal => ('>', planned),
            std::cmp::Ordering::Greater => (' ', planned),
        }),
    );
    line(out, "     (+ done, > under way)");
}

fn refusals(out: &mut String, status: &RedisMemoryPolicyStatus) {
    if status.refusals.is_empty() {
        return;
    }
    heading(out, "IN THE WAY");
    for refusal in &status.refusals {
        line(out, &format!("{}  since {}", refusal.reason, refusal.since.strftime("%Y-%m-%dT%H:%M:%SZ")));
        paragraph(out, "          ", "          ", &refusal.text);
        paragraph(out, "          -> lifted by ", "             ", &refusal.lifted_by);
    }
}

fn members(out: &mut String, plan: &PlanStatus) {
    for member in &plan.members {
        // Why it is restarted begins with that it is.
        let what = if member.restarted { "" } else { ", left alone" };
        paragraph(out, &format!("{} ({}){what}: ", member.pod, member.role), "      ", &member.why);
    }
}

fn workloads(out: &mut String, status: &RedisMemoryPolicyStatus) {
    for record in &status.workloads {
        // What else is remembered is among the findings.
        let Some(outcome) = record.outcome else { continue };
        let ended = record.ended_at.strftime("%Y-%m-%dT%H:%M:%SZ");
        heading(out, &format!("LAST REMEDIATION of {}: {}, ended {ended}", record.name, outcome.as_str()));
        paragraph(out, "", "", &record.message);
        for restart in &record.restarts {
            line(out, &format!("{} restarted {}", restart.pod, restart.at.strftime("%Y-%m-%dT%H:%M:%SZ")));
        }
    }
}
