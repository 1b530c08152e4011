//! One decision from one snapshot: findings, what is due, what is in its way, and the next thing to do.

use super::{
    Context, advance,
    begin::{self, Considered},
    clients,
    effect::Effect,
    labels, mark, maxmemory, order, request, resize, rogue_primary,
};
use crate::{
    domain::{blocked::Blocked, journal::Journal, policy::Mode, snapshot::Target, step::Plan},
    plan::next::Next,
};

/// What follows from one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The plan that is due, or under way.
    pub plan: Option<Plan>,
    /// What is in the way of beginning, or of the next step.
    pub blocked: Vec<Blocked>,
    /// What to do now.
    pub act: Next,
    /// Without a remediation under way: everything that is due, what is shown above among it.
    pub due: Vec<Considered>,
    /// Without one: the labels and limits that are set first, each with its reason.
    pub upkeep: Vec<(Effect, String)>,
}

/// Decides. `live`: the snapshot was read for this decision, not from caches; only then is anything changed.
pub fn decide(ctx: &Context<'_>, journal: Option<&Journal>, deleting: bool, live: bool) -> Decision {
    let upkeep = if deleting { Upkeep::default() } else { Upkeep::due(ctx, journal) };
    // Before anything else: what is only seen now must still be known when one of them is gone.
    let remember = if deleting { None } else { mark::due(ctx, journal).or_else(|| maxmemory::remember(ctx, journal)) };
    if let Some(journal) = journal {
        return match remember {
            Some(records) if live => {
                Decision { plan: Some(frozen(journal)), act: Next::Remember(records), ..Decision::default() }
            }
            Some(_) => Decision { plan: Some(frozen(journal)), act: Next::LookLive, ..Decision::default() },
            None => under_way(ctx, journal, deleting, live, upkeep),
        };
    }
    if deleting {
        return Decision::default();
    }
    let due = begin::every(ctx);
    let Considered { plan, blocked, begin } = begin::next(ctx, &due).cloned().unwrap_or_default();
    let blocked = with_the_others(blocked, &due);
    // A limit that the API server refuses is asked for again and again: that keeps nothing else back.
    let first = upkeep.holds_what_was_not_refused(ctx);
    let upkeep = upkeep.all();
    let wanted = plan.is_some()
        && blocked.is_empty()
        && ctx.policy.mode == Mode::Enforce
        && ctx.policy.fragmentation.restart_allowed;
    let act = match (remember, begin, request::refused(ctx, &due)) {
        (Some(_), ..) if !live => Next::LookLive,
        (Some(records), ..) => Next::Remember(records),
        (None, ..) if !upkeep.is_empty() && !live => Next::LookLive,
        (None, ..) if first => Next::Upkeep(upkeep.clone()),
        (None, _, Some(_)) if !live => Next::LookLive,
        (None, _, Some(answer)) => Next::Answer(answer),
        (None, Some(journal), None) if live => Next::Begin(Box::new(journal)),
        (None, ..) if !upkeep.is_empty() => Next::Upkeep(upkeep.clone()),
        (None, ..) if wanted && !live => Next::LookLive,
        (None, ..) => Next::Rest,
    };
    Decision { plan, blocked, act, due, upkeep }
}

/// What is in the way of the set that would be next, and where nothing can begin what is first in the way of each other.
fn with_the_others(mut blocked: Vec<Blocked>, due: &[Considered]) -> Vec<Blocked> {
    if blocked.is_empty() {
        return blocked;
    }
    for first in due.iter().filter_map(|other| other.blocked.first()) {
        if !blocked.contains(first) {
            blocked.push(first.clone());
        }
    }
    blocked
}

fn under_way(ctx: &Context<'_>, journal: &Journal, deleting: bool, live: bool, upkeep: Upkeep) -> Decision {
    let plan = Some(frozen(journal));
    if !live {
        return Decision { plan, act: Next::LookLive, ..Decision::default() };
    }
    if !upkeep.labels.is_empty() {
        return Decision { plan, act: Next::Upkeep(upkeep.all()), ..Decision::default() };
    }
    let next = advance::next(ctx, journal, deleting);
    // What is in the way is in the way also while clients are led.
    let blocked = if let Next::Gate(blocked, _) = &next { blocked.clone() } else { Vec::new() };
    let act = match clients::lead(ctx, journal, next) {
        // Only while the remediation waits: a limit that a quota refuses for ever must not keep it from its end.
        Next::Wait(..) | Next::Gate(..) if !upkeep.limits.is_empty() => Next::Upkeep(upkeep.limits),
        next => next,
    };
    Decision { plan, blocked, act, ..Decision::default() }
}

/// The upkeep is of a pod whose server does not say which process it is.
pub(super) fn nameless(ctx: &Context<'_>, effect: &Effect) -> bool {
    let (Effect::Label { pod, .. } | Effect::Resize { pod, .. }) = effect else { return false };
    let sample = ctx.look.target(pod).and_then(Target::sample);
    sample.is_some_and(|sample| sample.run_id.is_empty())
}

/// The plan that a journal carries out.
fn frozen(journal: &Journal) -> Plan {
    Plan {
        shard: journal.shard.clone(),
        workload_name: journal.workload_name.clone(),
        steps: journal.steps.clone(),
        hash: journal.plan_hash.clone(),
        left: journal.left.clone(),
        leaves_sick: journal.leaves_sick,
        write_gap: journal.write_gap.clone(),
    }
}

/// What is kept right whether a remediation is under way or not, each with its reason.
#[derive(Default)]
struct Upkeep {
    labels: Vec<(Effect, String)>,
    limits: Vec<(Effect, String)>,
}

impl Upkeep {
    /// Pods that the remediation restarts are resized in its own step.
    fn due(ctx: &Context<'_>, journal: Option<&Journal>) -> Self {
        let labels = labels::due(ctx, journal);
        // People who stop everything want nothing changed; labels are what their clients are led by.
        if ctx.snapshot.surroundings.stopped.is_some() {
            return Self { labels, limits: Vec::new() }.of_the_known(ctx);
        }
        let restarted = journal.map(|journal| order::restarted_pods(&journal.steps)).unwrap_or_default();
        let frozen = rogue_primary::frozen_pods(ctx);
        let mut limits = resize::due(ctx, &restarted);
        limits.retain(|(effect, _)| !matches!(effect, Effect::Resize { pod, .. } if frozen.contains(pod)));
        // Limits first: what a limit bears follows it.
        limits.extend(maxmemory::due(ctx, journal));
        Self { labels, limits }.of_the_known(ctx)
    }

    /// A server that does not say which process it is is watched, and nothing is done to its pod.
    fn of_the_known(mut self, ctx: &Context<'_>) -> Self {
        self.labels.retain(|(effect, _)| !nameless(ctx, effect));
        self.limits.retain(|(effect, _)| !nameless(ctx, effect));
        self
    }

    /// There is more to do than to ask again for limits that the API server has lately refused.
    fn holds_what_was_not_refused(&self, ctx: &Context<'_>) -> bool {
        let refused = |effect: &Effect| match effect {
            Effect::Resize { uid, .. } => ctx.snapshot.surroundings.refused_limit(uid).is_some(),
            _ => false,
        };
        self.labels.iter().chain(&self.limits).any(|(effect, _)| !refused(effect))
    }

    /// Labels before limits: clients are waiting for the first.
    fn all(mut self) -> Vec<(Effect, String)> {
        self.labels.append(&mut self.limits);
        self.labels
    }
}
