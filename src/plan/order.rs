//! Which pods are restarted, in which order, and who becomes the primary.

mod cut;

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

pub use self::cut::rest;
use self::cut::{Cut, Unit};
use super::{
    Context,
    backlog::{self, Resync},
    candidate, chain, estimate, gates, hold, in_place, request, resize, sick,
    switchover::choice::announced,
};
use crate::{
    assess::{
        fragmentation::{self, DueReason, Verdict},
        start_roles::{self, StartsAlone},
    },
    domain::{
        bytes::Bytes,
        names::PodName,
        request::Ask,
        snapshot::Target,
        step::{Plan, PlannedStep, Step},
    },
    topology::{Handover, Shard},
};

/// Bytes of the longest reason that the schema takes.
const LONGEST_REASON: usize = 512;

/// A member that is to be restarted.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// The member.
    pub target: &'a Target,
    /// Its fragmentation, judged now.
    pub verdict: Verdict,
    /// What its restart is expected to give back.
    pub gain: Bytes,
    /// Who asks for its restart, and why.
    pub asked: Option<String>,
}

/// The members that a remediation would restart: when any member's restart is due, every member whose own expected
/// gain reaches `minimumWaste`. Empty: nothing is due. Nobody is kept waiting for a member that people hold, that is
/// amid a chain of replicas, or that the kernel kills; when only such are left, the gates say so. For what is wrong amid a chain nobody else is
/// restarted. A person who asks by hand names the members instead.
pub fn restarts<'a>(ctx: &Context<'_>, shard: &Shard<'a>) -> Vec<Candidate<'a>> {
    let asked = request::of(ctx, shard);
    let mut candidates = every_member(ctx, shard);
    let due = |candidate: &Candidate<'_>| {
        if asked.is_some() {
            candidate.asked.is_some()
        } else {
            candidate.gain >= ctx.policy.fragmentation.minimum_waste
        }
    };
    for candidate in &mut candidates {
        candidate.asked = asked.filter(|ask| request::restarts(ask, shard, candidate.target)).map(Ask::cause);
    }
    if asked.is_none() && !candidates.iter().any(|candidate| candidate.verdict.restart_due.is_some()) {
        return Vec::new();
    }
    let alone = |target: &Target| {
        hold::of(ctx, shard, target).is_some()
            || chain::of(shard, target).is_some()
            || gates::oom_cause_remains(ctx, target).is_some()
    };
    let (left, free): (Vec<_>, Vec<_>) =
        candidates.into_iter().filter(due).partition(|candidate| alone(candidate.target));
    let wanted = |candidate: &Candidate<'_>| candidate.asked.is_some() || candidate.verdict.restart_due.is_some();
    let only_beside = shard.has_ends() && !free.iter().any(wanted);
    if free.is_empty() || only_beside { left } else { free }
}

/// Every member that could be looked at, whatever its restart would give back.
fn every_member<'a>(ctx: &Context<'_>, shard: &Shard<'a>) -> Vec<Candidate<'a>> {
    let members = shard.members.iter().filter_map(|target| {
        let gain = fragmentation::expected_gain(&target.sample()?.memory);
        let verdict = ctx.look.member(target)?.fragmentation.clone();
        Some(Candidate { target, verdict, gain, asked: None })
    });
    members.collect()
}

/// The plan that restarts every member, due or not.
pub fn whole(ctx: &Context<'_>, shard: &Shard<'_>) -> Plan {
    frozen(ctx, shard, &every_member(ctx, shard), None)
}

/// The frozen plan for a workload, or `None` when nothing is due. Without exactly one primary the order is not known
/// and the gates say so; the plan then lists no steps.
pub fn plan(ctx: &Context<'_>, shard: &Shard<'_>) -> Option<Plan> {
    let asked = request::of(ctx, shard).is_some();
    // Each further kill stops writes: the role leaves before anybody is restarted, whatever keeps that from being done.
    if let Some(steps) = sick::steps(ctx, shard).filter(|_| !asked) {
        return Some(Plan { leaves_sick: true, ..of_steps(ctx, shard, steps, Vec::new()) });
    }
    let restarts = restarts(ctx, shard);
    let owed = role_owed(ctx, shard);
    (!restarts.is_empty() || owed.is_some() || asked).then(|| frozen(ctx, shard, &restarts, owed))
}

fn frozen(ctx: &Context<'_>, shard: &Shard<'_>, restarts: &[Candidate<'_>], owed: Option<StartsAlone<'_>>) -> Plan {
    let Cut { mut steps, left } = match shard.primary() {
        Some(primary) => cut::fitting(units(ctx, shard, primary, restarts)),
        None => Cut::default(),
    };
    let moves = steps.iter().any(|planned| matches!(planned.step, Step::Switchover { .. }));
    if let Some(ask) = request::of(ctx, shard).filter(|_| restarts.is_empty()) {
        steps = request::switchover(ctx, shard, ask);
    } else if let (Some(start), Some(primary), false) = (owed, shard.primary(), moves) {
        hand_back(ctx, shard, primary, &start, &mut steps);
    }
    of_steps(ctx, shard, prove_replicas_together(steps), left)
}

fn of_steps(ctx: &Context<'_>, shard: &Shard<'_>, steps: Vec<PlannedStep>, left: Vec<PodName>) -> Plan {
    let write_gap = estimate::write_gap(ctx, shard, &steps);
    Plan { left, write_gap, ..with_steps(shard, steps) }
}

/// Something is due, and no step of it can be taken.
pub fn without_steps(shard: &Shard<'_>) -> Plan {
    with_steps(shard, Vec::new())
}

/// The plan of these steps that does nothing else.
fn with_steps(shard: &Shard<'_>, steps: Vec<PlannedStep>) -> Plan {
    Plan {
        shard: shard.id.clone(),
        workload_name: shard.name.clone(),
        hash: hash(shard, &steps),
        steps,
        left: Vec::new(),
        leaves_sick: false,
        write_gap: None,
    }
}

/// What is done, in order, in pieces that are done wholly or not at all.
fn units(ctx: &Context<'_>, shard: &Shard<'_>, primary: &Target, restarts: &[Candidate<'_>]) -> Vec<Unit> {
    let (old, replicas): (Vec<_>, Vec<_>) =
        restarts.iter().partition(|candidate| candidate.target.pod.uid == primary.pod.uid);
    let mut backlog = Vec::new();
    let fed = |of: &&&Candidate<'_>| shard.feeder(of.target).is_none_or(|feeder| feeder.pod.uid == primary.pod.uid);
    raise_backlog(ctx, primary, &replicas.iter().filter(fed).copied().collect::<Vec<_>>(), &mut backlog);
    let mut units: Vec<Unit> = replicas
        .iter()
        .map(|candidate| {
            let mut steps = Vec::new();
            let feeder = shard.feeder(candidate.target).unwrap_or(primary);
            restart(ctx, candidate, &Returns::AsReplicaOf(feeder, shard.replicas.len() == 1), &mut steps);
            Unit { steps, due: candidate.verdict.restart_due.is_some() }
        })
        .collect();
    cut::most_urgent_first(&mut units, backlog.len());
    if let Some(first) = units.first_mut() {
        first.steps.splice(0..0, backlog);
    }
    let Some(old) = old.first() else { return units };
    let mut steps = Vec::new();
    match shard.handover() {
        // Replicas are not kept waiting for a primary that may not be restarted; when they are done, it is refused.
        Handover::InPlace if replicas.is_empty() || in_place::allowed(ctx, shard, primary) => {
            steps.push(persist(old.target));
            restart(ctx, old, &Returns::AsPrimary, &mut steps);
        }
        Handover::BySentinel if replicas.is_empty() || estimate::gap_too_long(ctx, shard).is_none() => {
            relieve_by_sentinel(ctx, shard, old, &mut steps);
        }
        // Nor for one whose hand-over would hold writes back for longer than people consent to.
        Handover::Switchover if replicas.is_empty() || estimate::gap_too_long(ctx, shard).is_none() => {
            relieve(ctx, shard, primary, (old, restarts), &mut steps);
        }
        Handover::Switchover | Handover::BySentinel | Handover::InPlace | Handover::Never => {}
    }
    if !steps.is_empty() {
        units.push(Unit { steps, due: old.verdict.restart_due.is_some() });
    }
    units
}

/// Hands the role over, restarts the old primary, and gives the role back where that pod alone starts with it.
fn relieve(
    ctx: &Context<'_>,
    shard: &Shard<'_>,
    primary: &Target,
    (old, restarts): (&Candidate<'_>, &[Candidate<'_>]),
    steps: &mut Vec<PlannedStep>,
) {
    let alone = start_roles::alone_by_record(shard, ctx.records);
    let Some(next) = next_primary(ctx, shard, primary, restarts, alone.as_ref(), &|_| true) else { return };
    hand_over(ctx, shard, old, next, steps);
    raise_backlog(ctx, next, &[old], steps);
    restart(ctx, old, &Returns::AsReplicaOf(next, shard.replicas.len() == 1), steps);
    if let Some(start) = alone.filter(|start| start.target.pod.uid == primary.pod.uid) {
        hand_back(ctx, shard, next, &start, steps);
    }
}

/// Has the Sentinels take the role away, and restarts the old primary. Whom they choose they also have the others follow; for
/// the words about its return any replica will do.
fn relieve_by_sentinel(ctx: &Context<'_>, shard: &Shard<'_>, old: &Candidate<'_>, steps: &mut Vec<PlannedStep>) {
    let Some(next) = candidate::for_sentinels(shard).into_iter().chain(shard.replicas.iter().copied()).next() else {
        return;
    };
    let cause = format!("{} is primary and must be restarted too", old.target.pod.name);
    steps.push(by_sentinel(old.target, &cause));
    let begun = steps.len();
    restart(ctx, old, &Returns::AsReplicaOf(next, shard.replicas.len() == 1), steps);
    if let Some(PlannedStep { reason, .. }) = steps.get_mut(begun) {
        reason.push_str(&gates::ways_in_words(ctx, shard));
        reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
    }
}

/// Has a Sentinel give the role of that primary to another member.
pub(super) fn by_sentinel(from: &Target, cause: &str) -> PlannedStep {
    let reason = format!(
        "{cause}; a Sentinel is told to fail over, under a pause of writes, and chooses who takes over: every replica that it \
         may choose is fit, and has everything by then"
    );
    PlannedStep { step: Step::Switchover { from: from.pod.name.clone(), to: None }, reason }
}

/// What a restarted pod is when it is back.
enum Returns<'a> {
    /// A replica of this member; true: the only one.
    AsReplicaOf(&'a Target, bool),
    /// The primary that it was.
    AsPrimary,
}

/// The step that raises the backlog of that primary, if one of the restarted would otherwise need a full sync and can do
/// without.
fn raise_backlog(ctx: &Context<'_>, primary: &Target, restarted: &[&Candidate<'_>], steps: &mut Vec<PlannedStep>) {
    let sizes = restarted.iter().filter_map(|candidate| match backlog::expected(ctx, primary, candidate.target) {
        Resync::PartialWith(size) => Some(size),
        Resync::Full(_) | Resync::Partial => None,
    });
    if let Some(size) = sizes.max() {
        steps.push(PlannedStep {
            step: Step::RaiseBacklog { pod: primary.pod.name.clone(), size },
            reason: format!(
                "what is written while a replica restarts must fit, so that it needs no full sync; set back to {} at the end",
                primary.sample().map(|sample| sample.replication.backlog_size).unwrap_or_default()
            ),
        });
    }
}

fn persist(primary: &Target) -> PlannedStep {
    let config = primary.sample().and_then(|sample| sample.config.as_ref().ok());
    let reason = if config.is_some_and(|config| config.appendonly) {
        "it loads its own AOF when it starts, and a replay of the old one would fragment its memory again: the AOF is \
         rewritten right before"
    } else {
        "what it holds must be on disk before it is evicted: it is saved right before"
    };
    PlannedStep { step: Step::Persist { pod: primary.pod.name.clone() }, reason: reason.to_owned() }
}

/// The best replica of those that are `wanted` to become primary: one that nobody holds, one that may before one that may not
/// (the gates say why), the
/// one that starts as a primary before any other, for there the role can stay, one that is not restarted (it is clean)
/// before one that is, then by `replica-priority`, the lowest first; ties by name.
pub(super) fn next_primary<'a>(
    ctx: &Context<'_>,
    shard: &Shard<'a>,
    primary: &Target,
    restarts: &[Candidate<'_>],
    alone: Option<&StartsAlone<'_>>,
    wanted: &dyn Fn(&Target) -> bool,
) -> Option<&'a Target> {
    let restarted = |target: &Target| restarts.iter().any(|candidate| candidate.target.pod.uid == target.pod.uid);
    let elsewhere = |target: &Target| alone.is_none_or(|start| start.target.pod.uid != target.pod.uid);
    shard.replicas.iter().copied().filter(|target| wanted(target)).min_by_key(|target| {
        let fit = candidate::is_fit(ctx.snapshot, primary, target);
        let (priority, name) = (candidate::priority(target), target.pod.name.clone());
        let held = hold::of(ctx, shard, target).is_some();
        let killed = ctx.look.kills_of(target).is_some();
        (held, priority == 0, !fit, killed, elsewhere(target), restarted(target), priority, name)
    })
}

/// The replica that the role must go back to: it alone starts as a primary, and a switchover of ours took the role away.
fn role_owed<'a>(ctx: &Context<'_>, shard: &Shard<'a>) -> Option<StartsAlone<'a>> {
    let start = start_roles::alone_by_record(shard, ctx.records)?;
    let is_replica = shard.replicas.iter().any(|replica| replica.pod.uid == start.target.pod.uid);
    (shard.handover() == Handover::Switchover && is_replica && start_roles::owed(shard, ctx.records)).then_some(start)
}

/// Hands the role back to the pod that starts with it: it is clean by now, and a restart of any member by anybody then
/// finds the set as its start makes it.
fn hand_back(
    ctx: &Context<'_>,
    shard: &Shard<'_>,
    from: &Target,
    start: &StartsAlone<'_>,
    steps: &mut Vec<PlannedStep>,
) {
    // It is planned in one piece, like every hand-over; where there is no room for it, a plan of its own follows.
    if steps.len().saturating_add(shard.members.len()) > Plan::MAX_STEPS {
        return;
    }
    let (away, back) = (&from.pod.name, &start.target.pod.name);
    let reason = format!(
        "RoleAgainstStart: {back} alone starts as a primary ({}), so a restart of {away} would leave nobody primary and one \
         of {back} would make a second: the role goes back to {back}",
        start.how
    );
    steps.extend(move_role(ctx, shard, from, start.target, &reason));
}

/// Moves the role without any restart: what follows `from` follows `to` then, `from` itself too.
pub(super) fn move_role(
    ctx: &Context<'_>,
    shard: &Shard<'_>,
    from: &Target,
    to: &Target,
    reason: &str,
) -> Vec<PlannedStep> {
    let (from, to) = (from.pod.name.clone(), to.pod.name.clone());
    let mut steps = vec![PlannedStep {
        step: Step::Switchover { from: from.clone(), to: Some(to.clone()) },
        reason: format!("{reason}; {}", announced(ctx.settings.switchover)),
    }];
    for member in shard.members.iter().filter(|member| member.pod.name != from && member.pod.name != to) {
        steps.push(PlannedStep {
            step: Step::Repoint { pod: member.pod.name.clone(), to: to.clone() },
            reason: format!("it follows {from}, which gives the role to {to}"),
        });
    }
    // No restart follows that would have it follow as it starts.
    let reason = format!("it must follow {to} by its name: an address goes with the pod");
    steps.push(PlannedStep { step: Step::Repoint { pod: from, to }, reason });
    steps
}

fn restart(ctx: &Context<'_>, candidate: &Candidate<'_>, returns: &Returns<'_>, steps: &mut Vec<PlannedStep>) {
    let Candidate { target, gain, .. } = candidate;
    let pod = target.pod.name.clone();
    let gain = gain.quantised();
    let meanwhile = match returns {
        Returns::AsReplicaOf(_, false) => "",
        Returns::AsReplicaOf(_, true) => "; meanwhile the primary is the only copy of the data",
        Returns::AsPrimary => {
            "; nothing can take over from it: WRITES STOP from its eviction until it has loaded its data again"
        }
    };
    let reason = format!("{}{meanwhile}", why(ctx, candidate));
    steps.push(PlannedStep { step: Step::Evict { pod: pod.clone() }, reason });
    if let Some((step, reason)) = resize::replacement_step(ctx, target) {
        steps.push(PlannedStep { step, reason });
    }
    let mut push = |step, reason: String| steps.push(PlannedStep { step, reason });
    let (step, reason) = match returns {
        Returns::AsReplicaOf(primary, _) => {
            let sync = match backlog::expected(ctx, primary, target) {
                Resync::Full(why) => format!("a full sync is expected: {why}"),
                Resync::Partial | Resync::PartialWith(_) => "a partial resync is expected".to_owned(),
            };
            let must = "it must be loaded, connected and caught up before another member is touched";
            (Step::AwaitReplica { pod: pod.clone() }, format!("{must}; {sync}"))
        }
        Returns::AsPrimary => (
            Step::AwaitPrimary { pod: pod.clone() },
            "it must be primary again with about the keys that it had, and its replicas connected".to_owned(),
        ),
    };
    push(step, reason);
    push(
        Step::RestoreSettings { pod: pod.clone() },
        "a new pod starts with its template's settings; what was changed at run time is applied again".to_owned(),
    );
    push(
        Step::Prove { pod },
        format!("its waste must be gone, or at least half of the expected {gain} must have come back"),
    );
}

/// Why a pod is restarted, with quantised numbers.
fn why(ctx: &Context<'_>, candidate: &Candidate<'_>) -> String {
    let Candidate { verdict, asked, .. } = candidate;
    if let Some(asked) = asked {
        return asked.clone();
    }
    let gain = candidate.gain.quantised();
    let ratio = verdict.ratio.quantised();
    let threshold = ctx.policy.fragmentation.restart;
    match verdict.restart_due {
        Some(DueReason::Ratio) => {
            format!("fragmentation {ratio} is at or above {threshold}; a restart gives back about {gain}")
        }
        Some(DueReason::Efficiency) => {
            format!("less than half of its resident memory is data; a restart gives back about {gain}")
        }
        Some(DueReason::NearLimit) => {
            let limit = candidate.target.pod.limit().unwrap_or_default();
            format!("at fragmentation {ratio} RSS is near the limit of {limit}; a restart gives back about {gain}")
        }
        None => format!(
            "fragmentation {ratio} would be no reason by itself, but another member of its set has to be restarted; a restart gives back about {gain} here"
        ),
    }
}

fn hand_over(ctx: &Context<'_>, shard: &Shard<'_>, old: &Candidate<'_>, next: &Target, steps: &mut Vec<PlannedStep>) {
    let (from, to) = (old.target.pod.name.clone(), next.pod.name.clone());
    steps.push(PlannedStep {
        step: Step::Switchover { from: from.clone(), to: Some(to.clone()) },
        reason: format!(
            "{from} is primary and must be restarted too; {to} then wastes little and is in sync; {}",
            announced(ctx.settings.switchover)
        ),
    });
    for replica in shard.replicas.iter().filter(|replica| replica.pod.name != to) {
        steps.push(PlannedStep {
            step: Step::Repoint { pod: replica.pod.name.clone(), to: to.clone() },
            reason: format!("it follows {from}, which is restarted next"),
        });
    }
}

/// Moves the proofs of the replicas behind the last replica's settings: they settle at the same time, and nothing is
/// handed over before all of them hold. The old primary's proof stays last.
fn prove_replicas_together(steps: Vec<PlannedStep>) -> Vec<PlannedStep> {
    let of_the_primary = |planned: &PlannedStep| matches!(planned.step, Step::Switchover { .. } | Step::Persist { .. });
    let first_part = steps.iter().position(of_the_primary).unwrap_or(steps.len());
    let mut steps = steps;
    let rest = steps.split_off(first_part);
    let (proofs, mut ordered): (Vec<_>, Vec<_>) =
        steps.into_iter().partition(|planned| matches!(planned.step, Step::Prove { .. }));
    ordered.extend(proofs);
    ordered.extend(rest);
    ordered
}

/// The names of the pods that a plan restarts, in order.
pub fn restarted_pods(steps: &[PlannedStep]) -> Vec<PodName> {
    let evictions = steps.iter().filter(|planned| matches!(planned.step, Step::Evict { .. }));
    evictions.map(|planned| planned.step.pod().clone()).collect()
}

/// Names a plan: reasons are left out, so that the noise of a number does not make another plan of it. The UIDs of the
/// pods are in, so that the same steps on other pods are another plan: an approval must not outlive what it was given
/// for.
pub(super) fn hash(shard: &Shard<'_>, steps: &[PlannedStep]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(shard.id.to_string());
    for member in &shard.members {
        hasher.update(format!("\n{} {}", member.pod.name, member.pod.uid));
    }
    // Whether and how far a backlog is raised follows from the rate of writes, and disturbs nobody.
    let steps = steps.iter().filter(|planned| !matches!(planned.step, Step::RaiseBacklog { .. }));
    for planned in steps {
        match &planned.step {
            // As earlier versions write it: an approval outlives an update of the operator.
            Step::Switchover { from, to: Some(to) } => {
                hasher.update(format!("\nSwitchover {{ from: {from:?}, to: {to:?} }}"));
            }
            step => hasher.update(format!("\n{step:?}")),
        }
    }
    hasher.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
