//! Gates: conditions that must hold before a remediation is begun and again, live, before each disruptive step.
//!
//! Each gate is a named pure function. The list below is the policy: its order is the order in which refusals
//! are shown, structure first (what we do not handle), then state (what will pass), then time and budgets.

mod budget;
mod capacity;
mod copies;
mod history;
mod kills;
mod proxies;
mod rights;
mod sentinel;
mod services;
mod state;
mod structure;
mod time;
mod volume;

pub use self::{history::last_start, kills::oom_cause_remains, time::APPROVE_ANNOTATION};
pub(super) use self::{proxies::words as ways_in_words, time::next_window};
use jiff::Timestamp;

use super::{Context, forget, order, records, request};
use crate::{
    domain::{
        blocked::Blocked,
        journal::{Journal, StartRecord},
        names::PodName,
        snapshot::Target,
        step::{self, PlannedStep, Step},
    },
    topology::Shard,
};

/// What the gates look at.
#[derive(Clone, Debug)]
pub struct Scene<'a> {
    /// Policy, snapshot, records, now.
    pub ctx: &'a Context<'a>,
    /// The workload.
    pub shard: &'a Shard<'a>,
    /// Hash of the plan.
    pub plan_hash: &'a str,
    /// The pods that are, or were, to be restarted.
    pub restarting: Vec<PodName>,
    /// The primary, if the plan restarts it as the primary that it is.
    pub in_place: Option<PodName>,
    /// The plan hands the role over.
    pub hands_over: bool,
    /// Who gives the role to whom by the plan, in order; but for what a Sentinel decides.
    pub hand_overs: Vec<(PodName, PodName)>,
    /// Its steps.
    pub steps: Vec<PlannedStep>,
    /// Which step is about to be taken.
    pub phase: Phase,
    /// How replacements of the set's pods were seen to start.
    pub starts: Vec<StartRecord>,
    /// A person asked for it, and no threshold.
    pub asked: bool,
    /// The role leaves a primary that the kernel kills for its limit.
    pub sick: bool,
    /// A Sentinel was made to forget by it: what all of them say of time begins with that.
    pub forgot: bool,
    /// Services of the proxies that led to the primary before its role was given away.
    pub ways: Vec<String>,
    /// Since when the step is under way or waited for.
    pub since: Option<Timestamp>,
}

/// Which step is about to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The remediation is about to begin: all of it must be possible.
    Preflight,
    /// This pod is about to be evicted.
    Evict(PodName),
    /// This primary is about to write its data out, right before its eviction.
    Persist(PodName),
    /// The primary role is about to be handed over.
    Switchover,
}

impl<'a> Scene<'a> {
    /// What the gates look at before a step of that plan.
    pub fn new(
        ctx: &'a Context<'a>,
        shard: &'a Shard<'a>,
        plan_hash: &'a str,
        steps: &[PlannedStep],
        phase: Phase,
    ) -> Self {
        let in_place = steps.iter().find_map(|planned| match &planned.step {
            Step::Persist { pod } => Some(pod.clone()),
            _ => None,
        });
        let hand_overs: Vec<_> = steps
            .iter()
            .filter_map(|planned| match &planned.step {
                Step::Switchover { from, to } => Some((from.clone(), to.clone()?)),
                _ => None,
            })
            .collect();
        let hands_over = steps.iter().any(|planned| matches!(planned.step, Step::Switchover { .. }));
        let restarting = order::restarted_pods(steps);
        let starts = records::remembered(ctx, shard);
        Self {
            ctx,
            shard,
            plan_hash,
            restarting,
            in_place,
            hands_over,
            hand_overs,
            steps: steps.to_vec(),
            phase,
            starts,
            asked: request::of(ctx, shard).is_some(),
            sick: false,
            forgot: false,
            ways: Vec::new(),
            since: None,
        }
    }

    /// The same in that remediation, which may have seen more.
    #[must_use]
    pub fn during(self, journal: &Journal) -> Self {
        let before = self.ctx.record(&journal.shard);
        let (starts, asked) = (records::starts(before, journal), journal.request.is_some());
        let (ways, current) = (journal.proxies.clone(), &journal.current);
        let since = current.begun_at.or(current.waiting_since);
        Self { starts, asked, sick: journal.leaves_sick, forgot: forget::has_forgotten(journal), ways, since, ..self }
    }

    /// The primary that is restarted in place, when the step at hand is about it.
    fn in_place_now(&self) -> Option<&'a Target> {
        let pod = self.in_place.as_ref()?;
        let about_it = match &self.phase {
            Phase::Preflight => true,
            Phase::Evict(other) | Phase::Persist(other) => other == pod,
            Phase::Switchover => false,
        };
        self.shard.members.iter().copied().find(|target| about_it && target.pod.name == *pod)
    }

    /// The plan does nothing but hand the role back to the pod that starts with it: no pod is restarted, and waiting for
    /// a window or a cooldown would only leave the set with a role that any restart undoes.
    pub fn only_hands_back(&self) -> bool {
        self.only_moves_the_role() && !self.asked && !self.sick
    }

    /// The plan moves the role and restarts nobody.
    pub fn only_moves_the_role(&self) -> bool {
        step::only_move_the_role(&self.steps)
    }

    /// The steps from the first on that disturbs.
    fn disturbing(&self) -> &[PlannedStep] {
        self.steps
            .iter()
            .position(|planned| planned.step.kind().disturbs())
            .and_then(|first| self.steps.get(first..))
            .unwrap_or_default()
    }

    /// The first thing that the plan disturbs is the primary.
    fn begins_with_primary(&self) -> bool {
        match self.disturbing().first().map(|planned| &planned.step) {
            Some(Step::Evict { pod }) => self.shard.lead.all().iter().any(|primary| primary.pod.name == *pod),
            first => first.is_some(),
        }
    }

    /// A Sentinel has given the role of that pod to another member, because we told it to.
    fn moved_by_sentinel(&self, pod: &PodName) -> bool {
        let moved = |planned: &PlannedStep| matches!(&planned.step, Step::Switchover { from, to: None } if from == pod);
        self.phase != Phase::Preflight && self.steps.iter().any(moved)
    }

    /// The members about to be restarted: in a step only the one that it is about.
    fn restarted_now(&self) -> impl Iterator<Item = &'a Target> + '_ {
        self.shard.members.iter().copied().filter(move |target| match &self.phase {
            Phase::Preflight => self.restarting.contains(&target.pod.name),
            Phase::Evict(pod) | Phase::Persist(pod) => target.pod.name == *pod,
            Phase::Switchover => false,
        })
    }
}

type Gate = fn(&Scene<'_>) -> Option<Blocked>;

/// When a gate is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Before a remediation is begun, and again on live values before each eviction and before the switchover.
    Always,
    /// Only before a remediation is begun: what was decided then stands.
    Beginning,
}

use When::{Always, Beginning};

/// Every gate, in the order in which refusals are shown.
const GATES: &[(When, Gate)] = &[
    (Beginning, time::not_stopped),
    (Beginning, time::suspended),
    (Always, time::not_held),
    (Always, budget::no_global_fault),
    (Beginning, budget::claimed),
    (Always, state::members_known),
    (Always, structure::kind),
    (Always, sentinel::role_is_theirs),
    (Beginning, structure::server_supported),
    (Always, copies::downtime_allowed),
    (Beginning, copies::write_gap),
    (Always, copies::enough_copies),
    (Always, structure::chained),
    (Beginning, copies::follows_a_member),
    (Always, state::one_primary),
    (Always, state::primary_holds_data),
    (Always, structure::inside_selector),
    (Always, structure::stateful_sets),
    (Always, structure::whole_sets),
    (Beginning, structure::fits_a_plan),
    (Always, structure::foreign_owner),
    (Always, structure::template_role_label),
    (Always, services::clients_follow),
    (Always, services::clients_have_followed),
    (Always, proxies::have_followed),
    (Always, services::takes_every_member),
    (Always, services::role_service),
    (Beginning, structure::can_be_done),
    (Beginning, structure::cause_curable),
    (Always, kills::cause_mended),
    (Beginning, history::not_ineffective),
    (Beginning, history::not_failed),
    (Beginning, history::not_given_up),
    (Always, rights::kubernetes_rights),
    (Beginning, rights::redis_rights),
    (Always, state::config_readable),
    (Always, state::members_equal),
    (Always, copies::candidate_fit),
    (Always, sentinel::ready),
    (Always, sentinel::forget),
    (Always, state::members_ready),
    (Always, state::members_idle),
    (Always, state::resizes_end),
    (Beginning, state::limits_given),
    (Always, state::persistence_ok),
    (Always, state::replicas_synced),
    (Always, copies::persistence_proven),
    (Always, state::role_labels_right),
    (Always, capacity::full_sync_headroom),
    (Always, capacity::min_replicas_to_write),
    (Always, capacity::grace_period),
    (Always, capacity::same_revision),
    (Always, capacity::template_holds_data),
    (Always, volume::volume_known),
    (Always, volume::volume_reachable),
    (Always, volume::rewrite_room),
    (Always, budget::disruption_allowed),
    (Beginning, history::cooldown),
    (Beginning, time::window_open),
    (Beginning, time::fits_window),
    (Beginning, budget::restarts_per_day),
    (Beginning, budget::one_a_workload),
    (Beginning, budget::remediations_at_once),
    (Always, budget::restarts_per_hour),
    // Last: people are asked when nothing else is in the way.
    (Always, time::approved),
];

/// Every gate that does not hold, in order; only the ruling one, where one makes the others moot. Empty: go.
pub fn check(scene: &Scene<'_>) -> Vec<Blocked> {
    let beginning = scene.phase == Phase::Preflight;
    let due = GATES.iter().filter(|(when, _)| beginning || *when == Always);
    let blocked: Vec<Blocked> = due.filter_map(|(_, gate)| gate(scene)).collect();
    match blocked.iter().find(|blocked| blocked.rules) {
        Some(ruling) => vec![ruling.clone()],
        None => blocked,
    }
}

/// "redis-0, redis-1": the names, for a text.
fn names<'a>(targets: impl IntoIterator<Item = &'a Target>) -> String {
    targets.into_iter().map(|target| target.pod.name.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
