//! How a report is made: policies with what the operator wrote, and what one look at their pods showed. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    lately, right_size,
    value::{Counts, PlanPart, PodPart, Point, PolicyPart, Report, RightSizing, SetPart, Sum, Sums, Totals},
    words,
};
use crate::{
    api::v1alpha1::{FindingStatus, PlanStatus, RedisMemoryPolicy, RedisMemoryPolicyStatus, SetSummary},
    assess::{
        Member,
        fragmentation::{self, Cause},
        headroom::HeadroomVerdict,
    },
    cli::{
        found,
        judgement::Judgement,
        snapshot_file::{SnapshotFile, SnapshotFileError},
    },
    domain::{
        bytes::Bytes,
        pod::Container,
        policy::Policy,
        sample::{Memory, Role},
        snapshot::Target,
        step::Step,
    },
    report::{
        self, findings,
        sets::{self, SetSeen, Writes},
    },
};

/// A policy, and what was seen of its pods.
pub(super) struct Looked {
    pub(super) resource: RedisMemoryPolicy,
    /// Why nobody looked, else.
    pub(super) seen: Result<SnapshotFile, String>,
    /// What a reader must know to weigh it.
    pub(super) notes: Vec<String>,
}

impl Looked {
    /// A snapshot, with the status that the operator would write of it: there is no other.
    pub(super) fn of_file(file: SnapshotFile) -> Result<Self, SnapshotFileError> {
        let policy = file.policy()?;
        let mut resource = file.policy.resource();
        resource.status = Some(status_of(&policy, &file));
        let notes = file.shows.iter().cloned().collect();
        Ok(Self { resource, seen: Ok(file), notes })
    }
}

fn judgement<'a>(policy: &'a Policy, file: &'a SnapshotFile) -> Judgement<'a> {
    Judgement::of(policy, &file.snapshot, &file.workloads, file.journal.as_ref(), &file.settings())
}

/// What the operator would write of that snapshot.
fn status_of(policy: &Policy, file: &SnapshotFile) -> RedisMemoryPolicyStatus {
    let remembered = RedisMemoryPolicyStatus {
        workloads: file.workloads.clone(),
        journal: file.journal.clone(),
        ..RedisMemoryPolicyStatus::default()
    };
    let judgement = judgement(policy, file);
    let judged = crate::assess::judged::Judged::of(&judgement.look);
    let found = findings::shown(&judgement.findings, &judged, &file.snapshot, &remembered);
    let input = report::Input {
        policy,
        generation: policy.generation,
        snapshot: &file.snapshot,
        sets: &sets::of(&judgement.look),
        findings: &found,
        judged: &judged,
        kills: &judgement.look.kills,
        plan: judgement.decision.plan.as_ref(),
        blocked: &judgement.decision.blocked,
        journal: file.journal.as_ref(),
        records: &file.workloads,
        now: file.snapshot.at,
    };
    let written = report::status(&input, &remembered);
    RedisMemoryPolicyStatus { workloads: remembered.workloads, journal: remembered.journal, ..written }
}

impl Report {
    /// The report of these policies.
    pub(super) fn of(scope: String, made_at: Timestamp, notes: Vec<String>, looked: &[Looked]) -> Self {
        let policies: Vec<PolicyPart> = looked.iter().map(part).collect();
        Self { scope, made_at, notes, totals: totals(&policies), policies }
    }
}

fn totals(policies: &[PolicyPart]) -> Totals {
    let mut verdicts: BTreeMap<String, usize> = BTreeMap::new();
    for policy in policies {
        *verdicts.entry(policy.level().to_owned()).or_default() += 1;
    }
    let sets = || policies.iter().flat_map(|policy| &policy.sets).filter(|set| set.size > 0);
    let pods = || sets().flat_map(|set| &set.pods);
    Totals {
        policies: policies.len(),
        verdicts,
        sets: sets().count(),
        pods: pods().count(),
        answered: pods().filter(|pod| pod.silent.is_none()).count(),
        memory: sets().fold(Sums::default(), |sums, set| sums.and(set.memory)),
        right_sizing_saves: Sum::of(sets().map(|set| set.right_sizing.saves_bytes)),
    }
}

fn part(looked: &Looked) -> PolicyPart {
    let resource = &looked.resource;
    let mut notes = looked.notes.clone();
    let none = RedisMemoryPolicyStatus::default();
    let status = resource.status.as_ref().unwrap_or(&none);
    if resource.status.is_none() {
        notes.push("not evaluated yet: does the operator run, and may it see this namespace?".to_owned());
    } else if status.observed_generation != resource.metadata.generation {
        let seen = status.observed_generation.map_or_else(|| "none".to_owned(), |seen| seen.to_string());
        notes.push(format!("what the operator says is of generation {seen}: it has not evaluated this one yet"));
    }
    let seen = looked.seen.as_ref().map_err(Clone::clone).and_then(|file| {
        let policy = file.policy().map_err(|error| error.to_string())?;
        Ok((file, policy))
    });
    let judgement = seen.as_ref().ok().map(|(file, policy)| judgement(policy, file));
    if let Err(why) = &seen {
        notes.push(why.clone());
    }
    let findings = match &judgement {
        Some(judgement) if resource.status.is_none() => {
            notes.push("the findings are those of one look from here, judged at once".to_owned());
            findings::grouped(&found::of(&judgement.findings))
        }
        _ => status.findings.clone(),
    };
    let each = findings::each(&findings);
    let sets = match &judgement {
        Some(judgement) => seen_sets(judgement, status, &each),
        None => stored_sets(status),
    };
    let elsewhere = each.iter().filter(|found| !sets.iter().any(|set| is_of(found, &set.pods)));
    let (lately, older) = lately::of(status);
    PolicyPart {
        namespace: resource.namespace().unwrap_or_default(),
        name: resource.name_any(),
        mode: resource.spec.mode,
        suspend: resource.spec.suspend,
        notes,
        evaluated: resource.status.is_some(),
        verdict: status.verdict.clone(),
        summary: status.summary.clone(),
        findings_elsewhere: Counts::of(elsewhere),
        findings,
        refusals: status.refusals.clone(),
        plan: status.plan.as_ref().map(plan),
        sets,
        lately,
        older,
    }
}

fn plan(plan: &PlanStatus) -> PlanPart {
    let restarted = plan.steps.iter().filter_map(|planned| match &planned.step {
        Step::Evict { pod } => Some(pod.to_string()),
        _ => None,
    });
    PlanPart {
        workload: plan.workload.clone(),
        steps: plan.steps.len(),
        restarts: restarted.collect(),
        write_gap_milliseconds: plan.write_gap.as_ref().map(|gap| gap.estimated_milliseconds),
    }
}

fn is_of(found: &FindingStatus, pods: &[PodPart]) -> bool {
    pods.iter().any(|pod| found.pod.as_deref() == Some(pod.pod.as_str()))
}

/// The sets that the operator knows of, where their pods were not looked at.
fn stored_sets(status: &RedisMemoryPolicyStatus) -> Vec<SetPart> {
    let sets = status.summary.iter().flat_map(|summary| &summary.sets);
    sets.map(|set| unseen(set, gone(set).unwrap_or_else(|| "its pods were not looked at".to_owned()))).collect()
}

fn gone(set: &SetSummary) -> Option<String> {
    Some(format!("it has had no pod since {}", words::time(set.gone_since?)))
}

/// A set of which only its stored summary is known.
fn unseen(set: &SetSummary, note: String) -> SetPart {
    let size = usize::try_from(set.pods).unwrap_or(0);
    let unknown = Sum { bytes: None, known: 0, of: size };
    SetPart {
        name: set.name.clone(),
        size,
        primaries: set.last_primary.iter().cloned().collect(),
        writes: words::UNKNOWN.to_owned(),
        memory: Sums { limit: unknown, used: unknown, rss: unknown, waste: unknown, restart_gains: unknown },
        worst_ratio_percent: None,
        findings: None,
        right_sizing: RightSizing { limit_bytes: None, saves_bytes: None, why: format!("not known yet: {note}") },
        pods: Vec::new(),
        note: Some(note),
    }
}

/// The sets that the look showed, and those that the operator knows to be gone.
fn seen_sets(judgement: &Judgement<'_>, status: &RedisMemoryPolicyStatus, each: &[FindingStatus]) -> Vec<SetPart> {
    let seen = sets::of(&judgement.look);
    let mut parts: Vec<SetPart> = seen.iter().map(|set| seen_set(judgement, set, each)).collect();
    let known = status.summary.iter().flat_map(|summary| &summary.sets);
    let others = known.filter(|set| !seen.iter().any(|seen| seen.name == set.name));
    parts.extend(others.filter_map(|set| Some(unseen(set, gone(set)?))));
    parts
}

fn seen_set(judgement: &Judgement<'_>, set: &SetSeen, each: &[FindingStatus]) -> SetPart {
    let targets = set.pods.iter().filter_map(|pod| judgement.look.target(pod));
    let members: Vec<&Member<'_>> = targets.filter_map(|target| judgement.look.member(target)).collect();
    let pods: Vec<PodPart> = members.iter().map(|member| pod(member)).collect();
    let silent = pods.iter().filter(|pod| pod.silent.is_some()).count();
    let samples = members.iter().filter_map(|member| member.target.sample());
    SetPart {
        name: set.name.clone(),
        note: (silent > 0).then(|| format!("{} answered, {silent} did not", pods.len() - silent)),
        size: pods.len(),
        primaries: set.primaries.iter().map(ToString::to_string).collect(),
        writes: writes(&set.writes),
        memory: Sums::of(&pods),
        worst_ratio_percent: report::worst_ratio(samples).map(|ratio| ratio.0),
        findings: Some(Counts::of(each.iter().filter(|found| is_of(found, &pods)))),
        right_sizing: right_size::of(&members),
        pods,
    }
}

fn writes(writes: &Writes) -> String {
    match writes {
        Writes::GoOn => "go on".to_owned(),
        Writes::Pause(why) => format!("pause: {why}"),
        Writes::Stopped(why) => format!("have STOPPED: {why}"),
        Writes::Split(why) => format!("go apart: {why}"),
        Writes::Unknown(why) => format!("unknown: {why}"),
    }
}

fn pod(member: &Member<'_>) -> PodPart {
    let target = member.target;
    let sample = target.sample();
    let memory = sample.map(|sample| &sample.memory);
    let measured = memory.filter(|memory| memory.is_measured());
    let container = target.pod.container.as_ref().ok();
    let limit = container.and_then(Container::limit);
    let needed = match member.headroom {
        HeadroomVerdict::Sufficient { need, .. }
        | HeadroomVerdict::Insufficient { need, .. }
        | HeadroomVerdict::NotMeasured { need, .. } => Some(need.0),
        HeadroomVerdict::NoLimit | HeadroomVerdict::Unbounded | HeadroomVerdict::Unknown => None,
    };
    PodPart {
        pod: target.pod.name.to_string(),
        role: match sample.map(|sample| &sample.replication.role) {
            Some(Role::Primary) => "primary",
            Some(Role::Replica(_)) => "replica",
            Some(Role::Unknown) | None => words::UNKNOWN,
        },
        silent: sample.is_none().then(|| target.why_silent()),
        limited: container.map(|_| limit.is_some()),
        limit_bytes: limit.map(|limit| limit.0),
        needed_bytes: needed,
        maxmemory_bytes: sample.filter(|sample| !sample.is_unread("maxmemory")).map(|sample| sample.memory.maxmemory.0),
        used_bytes: memory.map(|memory| memory.used.0).filter(|used| *used > 0),
        rss_bytes: memory.map(|memory| memory.rss.0).filter(|rss| *rss > 0),
        waste_bytes: measured.map(|memory| memory.waste().0),
        free_bytes: measured.and_then(|memory| Some(limit?.saturating_sub(memory.rss).0)),
        ratio_percent: measured.map(|memory| memory.ratio.0).filter(|ratio| *ratio > 0),
        cause: measured.and_then(|memory| cause(member, memory)),
        restart_gains_bytes: measured.map(|memory| fragmentation::expected_gain(memory).0),
        uptime_seconds: sample.map(|sample| sample.server.uptime.as_secs()),
        history: history(target),
    }
}

/// What most of the waste is, where there is any and the server tells it apart.
fn cause(member: &Member<'_>, memory: &Memory) -> Option<&'static str> {
    let cause = match member.fragmentation.cause {
        Cause::Purgeable => "purgeable",
        Cause::Fragmented => "fragmented",
        Cause::Other => "outside the allocator",
        Cause::TotalOnly => return None,
    };
    (memory.waste() > Bytes::ZERO).then_some(cause)
}

/// The readings of the process that runs now. One alone is no history.
fn history(target: &Target) -> Vec<Point> {
    let Some(sample) = target.sample() else { return Vec::new() };
    let own = target.history.iter().filter(|reading| reading.run_id == sample.run_id);
    let measured = own.filter(|reading| reading.used > Bytes::ZERO && reading.rss > Bytes::ZERO);
    let points: Vec<Point> = measured
        .map(|reading| Point { at: reading.at, used_bytes: reading.used.0, rss_bytes: reading.rss.0 })
        .collect();
    if points.len() < 2 { Vec::new() } else { points }
}
