//! One look at a remediation under way: the journal and a live snapshot → the next thing to do.
//!
//! Every step is idempotent: what is already true is not done again, so a restarted operator simply looks.

mod closing;
mod failover;
mod hand_over;
mod in_place;
mod steps;
mod waiting;

use std::time::Duration;

use super::{
    Context, backlog, carry,
    effect::Effect,
    forget,
    gates::{self, Phase, Scene},
    hold,
    next::{LATER, Next},
    order, records, request,
    rogue_primary::{self, RoguePrimary},
    sick, temporary,
};
use crate::{
    assess::start_roles,
    domain::{
        blocked::{BlockReason, Blocked},
        journal::{CurrentStep, Journal, MemberRecord, Outcome, StartRole, WorkloadRecord},
        names::{self, PodName},
        policy::Mode,
        sample::Role,
        snapshot::Target,
        step::{Begins, Ends, Step},
    },
    topology::{Lead, Shard},
};

/// How soon to look again while something comes up.
const SOON: Duration = Duration::from_secs(1);
/// What was answered well and cannot be seen is made again at least this often.
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);

/// One advance. Before the remediation ends, however it ends, what was changed for its time only is set back.
pub fn next(ctx: &Context<'_>, journal: &Journal, deleting: bool) -> Next {
    match look(ctx, journal, deleting) {
        Next::End(record) => match carry::take_back(ctx, journal, record) {
            Next::End(record) => match temporary::set_back(ctx, journal, record) {
                Next::End(record) => match backlog::set_back(ctx, journal, record) {
                    Next::End(record) => forget::before_end(ctx, journal, record),
                    next => next,
                },
                next => next,
            },
            next => next,
        },
        next => next,
    }
}

fn look(ctx: &Context<'_>, journal: &Journal, deleting: bool) -> Next {
    let nobody = Shard::nobody(journal.shard.clone(), journal.workload_name.clone(), ctx.policy);
    let Some(shard) = ctx.shard(&journal.shard).or_else(|| in_place::away(journal).then_some(&nobody)) else {
        return end(ctx, journal, Outcome::Superseded, "the selector no longer finds a member of the set");
    };
    let Some(planned) = journal.planned() else {
        return end(ctx, journal, Outcome::Succeeded, &format!("{}{}", summary(journal), left(ctx, journal, shard)));
    };
    let advance = Advance { ctx, journal, shard };
    if let Some(stop) = advance.interrupted(deleting).or_else(|| advance.waits_for_nobody()) {
        return stop;
    }
    let first = advance.restarted_as_replica().or_else(|| advance.rogue()).or_else(|| advance.back_to_repoint());
    let first = first.or_else(|| temporary::came_back(ctx, journal)).or_else(|| forget::due(ctx, journal, shard));
    if let Some(next) = first {
        return advance.no_longer_than_allowed(next);
    }
    advance.no_longer_than_allowed(advance.step(&planned.step))
}

/// A remediation under way, and what is seen of its shard.
struct Advance<'a> {
    ctx: &'a Context<'a>,
    journal: &'a Journal,
    shard: &'a Shard<'a>,
}

impl<'a> Advance<'a> {
    fn target(&self, pod: &PodName) -> Option<&'a Target> {
        self.ctx.snapshot.target(pod)
    }

    /// A member by the journal, or of one of the controllers that the set had when the remediation began. One member of
    /// another set that follows one of this set, or says so, joins the two in what is seen, and each holds other data.
    fn is_of_the_set(&self, target: &Target) -> bool {
        let owner = target.pod.owner.as_ref();
        owner.is_some_and(|owner| self.journal.shard.sets.contains(&owner.uid))
            || self.journal.member(&target.pod.name).is_some()
    }

    fn end(&self, outcome: Outcome, message: &str) -> Next {
        end(self.ctx, self.journal, outcome, message)
    }

    /// The role was to leave a primary that is killed for its limit, and need not any more.
    fn is_well(&self) -> Option<Next> {
        let over = self.journal.leaves_sick && sick::is_over(self.ctx, self.shard, &self.journal.steps);
        let text = "the limit is enough by now, the kills were taken note of, no other limit is enough any more, or who was to take over \
                    was killed too";
        over.then(|| self.end(Outcome::Superseded, text))
    }

    /// What ends the remediation at a safe boundary: a stop by a person, or a world that is no longer the plan's.
    fn interrupted(&self, deleting: bool) -> Option<Next> {
        let policy = self.ctx.policy;
        if !self.at_boundary(deleting) {
            return None;
        }
        if deleting {
            return Some(self.end(Outcome::Stopped, "the policy is being deleted"));
        }
        if let Some(how) = &self.ctx.snapshot.surroundings.stopped {
            let text = format!("the whole operator is stopped by {how}");
            return Some(self.pause(BlockReason::ClusterStopped, &text));
        }
        if policy.mode == Mode::Observe || !policy.fragmentation.restart_allowed {
            return Some(self.end(Outcome::Stopped, "the policy no longer allows restarts"));
        }
        if policy.suspend {
            return Some(self.pause(BlockReason::Suspended, "spec.suspend is true"));
        }
        if let Some(held) = hold::in_the_way(self.ctx, self.shard, self.journal.left()) {
            return Some(self.pause(BlockReason::Held, &held));
        }
        if policy.generation != self.journal.generation {
            return Some(self.end(Outcome::Superseded, "the spec changed; a new plan is made"));
        }
        if let Some(changed) = self.changed_member() {
            let text = format!("{changed}; a new plan is made from what is now true");
            return Some(self.end(Outcome::Superseded, &text));
        }
        self.window_closed()
    }

    /// A second primary, or one without data.
    fn rogue(&self) -> Option<Next> {
        match rogue_primary::judge(self.ctx, self.shard, self.journal) {
            RoguePrimary::Clear => None,
            RoguePrimary::Demote(effect) if self.may_try_again() => {
                let mut journal = self.intend();
                if let Effect::Demote { peer, .. } = &*effect
                    && let Some(record) = journal.members.iter_mut().find(|record| record.identity.pod == peer.pod)
                {
                    record.returned_as = Some(StartRole::Primary);
                }
                Some(Next::Act(Box::new(journal), effect))
            }
            RoguePrimary::Demote(_) => {
                Some(self.wait("a second primary was told to follow and does not yet".to_owned()))
            }
            RoguePrimary::Frozen(blocked) => Some(Next::Gate(vec![blocked], LATER)),
        }
    }

    /// A pod that gave its role away and whose container has restarted before its eviction, back as a replica: that is written down,
    /// for a person or a controller that makes it a primary later is not undone.
    fn restarted_as_replica(&self) -> Option<Next> {
        let restarted = |record: &&MemberRecord| {
            let MemberRecord { identity, returned_as: None, .. } = record else { return false };
            let target = self.target(&identity.pod).filter(|target| target.pod.uid == identity.uid);
            let sample = target.and_then(Target::sample);
            self.journal.gave_the_role(&identity.pod)
                && sample.is_some_and(|sample| {
                    sample.run_id != identity.run_id && matches!(sample.replication.role, Role::Replica(_))
                })
        };
        let pod = &self.journal.members.iter().find(restarted)?.identity.pod;
        let mut journal = self.journal.clone();
        journal.members.iter_mut().find(|record| record.identity.pod == *pod)?.returned_as = Some(StartRole::Replica);
        Some(Next::Record(Box::new(journal)))
    }

    /// Nothing of ours is half done here. On deletion waiting is given up too: the set heals without us.
    fn at_boundary(&self, deleting: bool) -> bool {
        let Some(step) = self.journal.step() else { return true };
        match step.kind().ends() {
            Ends::Always => true,
            Ends::BeforeEffect => self.journal.current.begun_at.is_none() || self.still_untouched(step),
            Ends::OnDeletion => deleting,
            Ends::Never => false,
        }
    }

    /// The eviction was asked for and refused: the pod is there as it was.
    fn still_untouched(&self, step: &Step) -> bool {
        let Step::Evict { pod } = step else { return false };
        let record = self.journal.member(pod);
        self.target(pod).is_some_and(|target| {
            record.is_some_and(|record| record.identity.uid == target.pod.uid) && !target.pod.terminating
        })
    }

    /// A member, or the primary, that is not what the journal says, in words.
    fn changed_member(&self) -> Option<String> {
        for target in &self.shard.members {
            let Some(record) = self.journal.member(&target.pod.name) else {
                return Some(format!("{} has joined the set", target.pod.name));
            };
            let being_evicted = self.journal.evicted(&target.pod.name) || self.journal.evicting(&target.pod.name);
            if target.pod.uid != record.identity.uid && !being_evicted {
                return Some(format!("{} was replaced by somebody else", target.pod.name));
            }
        }
        if let Some(gone) = self.journal.members.iter().find(|record| self.is_gone(record)) {
            return Some(format!("{} is gone", gone.identity.pod));
        }
        let primary = &self.journal.primary;
        match self.shard.primary() {
            Some(live) if live.pod.uid != primary.uid => {
                Some(format!("{} is primary now, not {}", live.pod.name, primary.pod))
            }
            // The same pod with another process: it restarted, and what it holds must be judged anew.
            Some(live) if live.sample().is_some_and(|sample| sample.run_id != primary.run_id) => {
                Some(format!("the Redis of {} has restarted", live.pod.name))
            }
            _ => None,
        }
    }

    /// Its pod does not exist, and no eviction of ours explains that.
    fn is_gone(&self, record: &MemberRecord) -> bool {
        let pod = &record.identity.pod;
        let coming = self.journal.evicting(pod) || (self.journal.evicted(pod) && record.caught_up_at.is_none());
        self.target(pod).is_none() && !coming
    }

    fn gates(&self, phase: Phase) -> Result<(), Next> {
        // What was approved is the plan as it began, or what is left of it: that is the plan of the next remediation.
        let left = order::hash(self.shard, self.journal.left());
        let begun = self.ctx.snapshot.surroundings.approved.as_ref() == Some(&self.journal.plan_hash);
        let hash = if begun { &self.journal.plan_hash } else { &left };
        let scene = Scene::new(self.ctx, self.shard, hash, &self.journal.steps, phase).during(self.journal);
        let blocked = gates::check(&scene);
        if blocked.is_empty() { Ok(()) } else { Err(Next::Gate(blocked, LATER)) }
    }

    /// None or two primaries: everything is frozen, and the refusal says which.
    fn no_single_primary(&self) -> Next {
        let (reason, what) = if self.shard.lead == Lead::Nobody {
            (BlockReason::NoPrimary, "no member says that it is primary")
        } else {
            (BlockReason::TwoPrimaries, "more than one member says that it is primary")
        };
        Next::Gate(vec![Blocked::new(reason, format!("{what}: nothing is done until exactly one does"))], LATER)
    }

    /// Waits, unless the step has taken too long.
    fn wait(&self, why: String) -> Next {
        // At a gate nothing has begun: nothing can time out, and nothing comes up within seconds by our doing.
        let Some(begun) = self.journal.current.begun_at else {
            return Next::Wait(why, LATER);
        };
        let limit = self.ctx.policy.restart.step_timeout;
        if self.ctx.since(begun) > limit {
            return self.end(Outcome::TimedOut, &format!("after {} s: {why}", limit.as_secs()));
        }
        // A change of pod or Redis wakes us. What changes without a sign is looked at after 1, 2, 4 and 8 s and then
        // every ten, so that what never comes makes no hot loop: nor does a beginning that lies ahead, by the clock of
        // another node, and comes nearer.
        let since = self.ctx.now.duration_since(begun);
        let pause = if since.is_negative() { LATER } else { since.unsigned_abs().clamp(SOON, LATER) };
        Next::Wait(why, pause)
    }

    /// An effect that was answered well and cannot be seen is made again 1, 2, 4, 8 … s after the time before, and then
    /// once a minute: a server that says yes to everything makes no hot loop, nor do attempts that were held up catch up.
    fn may_try_again(&self) -> bool {
        let current = &self.journal.current;
        let doubled = 1_u32.checked_shl(current.attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = if current.attempt == 0 { Duration::ZERO } else { SOON.saturating_mul(doubled).min(AGAIN_AT_MOST) };
        let tried = current.tried_at.or(current.begun_at);
        // Whichever clock is ahead.
        tried.is_none_or(|tried| self.ctx.now.duration_since(tried).unsigned_abs() >= pause)
    }

    /// The journal with the effect of the present step intended once more.
    fn intend(&self) -> Journal {
        let mut journal = self.journal.clone();
        journal.current.begun_at = journal.current.begun_at.or(Some(self.ctx.now));
        journal.current.attempt = journal.current.attempt.saturating_add(1);
        journal.current.tried_at = Some(self.ctx.now);
        journal
    }

    /// The journal with the cursor on the next step. A step that only waits begins at once.
    fn proceed(&self) -> Journal {
        let mut journal = self.journal.clone();
        journal.cursor = journal.cursor.saturating_add(1);
        let gated = journal.step().is_none_or(|step| step.kind().begins() == Begins::AtGates);
        journal.current = CurrentStep { begun_at: (!gated).then_some(self.ctx.now), ..CurrentStep::default() };
        journal
    }

    /// Whether that pod alone starts as a primary, by what is known now: what came back in this remediation included.
    fn starts_alone(&self, pod: &PodName) -> bool {
        let before = self.ctx.record(&self.journal.shard);
        let proven = start_as_primary(before, self.journal);
        let alone = start_roles::alone(self.shard, &proven);
        alone.is_some_and(|start| start.target.pod.name == *pod)
    }

    /// The journal with nothing left to do.
    fn finish(&self) -> Journal {
        let mut journal = self.journal.clone();
        journal.cursor = u32::try_from(journal.steps.len()).unwrap_or(u32::MAX);
        journal.current = CurrentStep { begun_at: Some(self.ctx.now), ..CurrentStep::default() };
        journal
    }
}

/// The pods that start as primaries although another is one, by the last return of each.
fn start_as_primary(before: Option<&WorkloadRecord>, journal: &Journal) -> Vec<PodName> {
    let mut pods = before.map(|record| record.starts_as_primary.clone()).unwrap_or_default();
    for member in &journal.members {
        let Some(role) = member.returned_as else { continue };
        pods.retain(|pod| *pod != member.identity.pod);
        if role == StartRole::Primary {
            pods.push(member.identity.pod.clone());
        }
    }
    // One that is no member any more says nothing.
    pods.retain(|pod| journal.member(pod).is_some());
    pods
}

/// Ends the remediation: what is remembered of the workload.
fn end(ctx: &Context<'_>, journal: &Journal, outcome: Outcome, message: &str) -> Next {
    let before = ctx.record(&journal.shard);
    let restarts = records::restarts(ctx, before, journal);
    let starts = records::starts(before, journal);
    let mut message = message.to_owned();
    message.truncate(message.floor_char_boundary(512));
    let made_before = before.and_then(|record| record.primary.clone());
    let primary = if exchanged(journal) { Some(journal.primary.clone()) } else { made_before };
    Next::End(Box::new(WorkloadRecord {
        shard: journal.shard.clone(),
        name: journal.workload_name.clone(),
        outcome: Some(outcome),
        remediation: journal.id.clone(),
        ended_at: ctx.now,
        generation: ctx.policy.generation,
        message,
        primary,
        starts_as_primary: start_as_primary(before, journal),
        several_primaries: before.and_then(|record| record.several_primaries.clone()),
        retry_at: None,
        write_gap: journal
            .write_gap
            .clone()
            // A label that did not follow gives no time in which it does.
            .filter(|gap| gap.measured_milliseconds.is_some() && outcome != Outcome::LabelDidNotFollow)
            .or_else(|| before.and_then(|record| record.write_gap.clone())),
        restarts,
        starts,
        maxmemory: before.and_then(|record| record.maxmemory.clone()),
        started_at: Some(journal.started_at),
        earlier: records::earlier(before, journal),
    }))
}

/// "; the other 3 pods follow in the next plan": what a plan that had no room for all pods leaves.
fn left(ctx: &Context<'_>, journal: &Journal, shard: &Shard<'_>) -> String {
    if journal.request.is_some() {
        return not_restarted(ctx, journal, shard);
    }
    if journal.left.is_empty() {
        return String::new();
    }
    let due = !order::restarts(ctx, shard).is_empty();
    let names = journal.left.iter().map(PodName::as_str).collect::<Vec<_>>().join(", ");
    format!("; {}: {names}", order::rest(journal.left.len(), due))
}

/// "; not restarted: redis-0": of the pods whose restart was asked for those that the plan left out.
fn not_restarted(ctx: &Context<'_>, journal: &Journal, shard: &Shard<'_>) -> String {
    let ask = request::of(ctx, shard).filter(|_| request::id_of(ctx, shard) == journal.request);
    let asked = |member: &&&Target| ask.is_some_and(|ask| request::restarts(ask, shard, member));
    let members = shard.members.iter().filter(asked).map(|member| &member.pod.name);
    let left: Vec<&str> = members.filter(|pod| !journal.evicted(pod)).map(PodName::as_str).collect();
    if left.is_empty() {
        return String::new();
    }
    format!("; not restarted: {} (ask for it by name to learn why)", left.join(", "))
}

/// Whether a switchover of this remediation lies behind the cursor.
fn exchanged(journal: &Journal) -> bool {
    journal.done().iter().any(|planned| matches!(planned.step, Step::Switchover { .. }))
}

/// "3 pods restarted, 366 MiB came back": what a finished remediation did.
fn summary(journal: &Journal) -> String {
    let proven =
        || journal.members.iter().filter_map(|record| Some((record, record.rss_bytes - record.rss_after_bytes?)));
    let pods = proven().filter(|(record, _)| journal.evicted(&record.identity.pod)).count();
    let bytes = proven().fold(0_i64, |sum, (_, reclaimed)| sum.saturating_add(reclaimed.max(0)));
    if pods == 0 && exchanged(journal) && (journal.request.is_some() || journal.leaves_sick) {
        return format!("{} has the primary role", journal.primary.pod);
    }
    if pods == 0 && exchanged(journal) {
        return format!("the primary role is back at {}", journal.primary.pod);
    }
    let bytes = crate::domain::bytes::Bytes(u64::try_from(bytes).unwrap_or(0));
    format!("{} restarted, {} came back", names::pods(pods), bytes.quantised())
}
