//! Waiting, and its end: a remediation holds its slot of the cluster's budget no longer than something is half done or
//! about to go on.
//!
//! - For people or time (an approval, a window, suspend, a stop) nothing is waited for with the slot: with nothing half
//!   done the remediation ends as `Paused`, and what is left is a plan of its own.
//! - A set that is built otherwise (a Sentinel that appears) does not pass by itself: it ends as `GaveUp` at once.
//! - Any other obstacle has `stepTimeout`, then it ends as `GaveUp`. What the gates see before a remediation begins is
//!   begun anew when it has gone; what they cannot see is tried again after an hour.

use jiff::SignedDuration;

use super::{Advance, end};
use crate::{
    domain::{
        blocked::{BlockReason, Waits},
        journal::{CurrentStep, Journal, Outcome},
        pod::StatefulSet,
        step::Step,
    },
    plan::{begin, next::Next},
};

/// Hours after which an obstacle that shows only when a remediation is under way is tried again.
const RETRY_HOURS: i64 = 1;

impl Advance<'_> {
    /// What a look came to, unless it has waited long enough.
    pub(super) fn no_longer_than_allowed(&self, next: Next) -> Next {
        let begun = self.journal.current.begun_at.is_some();
        match next {
            // Both pods of a switchover that was begun are left to it: its labels and roles are half done.
            Next::Gate(..) if begun && matches!(self.journal.step(), Some(Step::Switchover { .. })) => next,
            Next::Gate(ref blocked, _) => {
                let Some(first) = blocked.first() else { return next };
                // Data was lost: that stays said, and nothing is touched, until a person takes note. It holds no slot.
                if first.reason == BlockReason::PrimaryEmpty {
                    return next;
                }
                let text = format!("{}: {}", first.reason, first.text);
                if self.at_boundary(false) {
                    let of = |kind| blocked.iter().find(|one| one.reason.waits() == kind);
                    if let Some(structural) = of(Waits::ForAnotherSet) {
                        let text = format!("{}: {}", structural.reason, structural.text);
                        return self.give_up(Some(structural.reason), &text);
                    }
                    if blocked.iter().all(|one| one.reason.waits() == Waits::ForPeopleOrTime) {
                        return self.pause(first.reason, &first.text);
                    }
                }
                self.within_step_timeout(Some(first.reason), &text, next)
            }
            // With its effect begun a step times out by itself.
            Next::Wait(ref why, _) if !begun => {
                let why = why.clone();
                self.within_step_timeout(None, &why, next)
            }
            next => next,
        }
    }

    /// `next`, as long as `stepTimeout` is not over; the first look at a gate writes down since when it is waited.
    fn within_step_timeout(&self, reason: Option<BlockReason>, why: &str, next: Next) -> Next {
        let CurrentStep { begun_at, waiting_since, .. } = &self.journal.current;
        let limit = self.ctx.policy.restart.step_timeout;
        match begun_at.or(*waiting_since) {
            None => {
                let mut journal = self.journal.clone();
                journal.current.waiting_since = Some(self.ctx.now);
                Next::Record(Box::new(journal))
            }
            Some(since) if self.ctx.since(since) > limit => {
                self.give_up(reason, &format!("after {} s: {why}", limit.as_secs()))
            }
            Some(_) => next,
        }
    }

    /// Ends the remediation because people or time are waited for; what is left waits for them without a slot.
    pub(super) fn pause(&self, reason: BlockReason, why: &str) -> Next {
        self.end(Outcome::Paused, &format!("{reason}: {why}; {}", self.left_over()))
    }

    /// Ends the remediation at an obstacle. `reason`: the gate that it is, if one sees it.
    pub(super) fn give_up(&self, reason: Option<BlockReason>, why: &str) -> Next {
        let next = self.end(Outcome::GaveUp, &format!("{why}; {}", self.left_over()));
        let Next::End(mut record) = next else { return next };
        let refused = begin::refusals(self.ctx, self.shard);
        if !reason.is_some_and(|reason| refused.contains(&reason)) {
            record.retry_at = self.ctx.now.checked_add(SignedDuration::from_hours(RETRY_HOURS)).ok();
        }
        Next::End(record)
    }

    /// An effect that is refused again and again for longer than `stepTimeout` is given up.
    pub(super) fn refused_too_long(&self, what: &str) -> Option<Next> {
        let limit = self.ctx.policy.restart.step_timeout;
        let begun = self.journal.current.begun_at.filter(|begun| self.ctx.since(*begun) > limit)?;
        let waited = self.ctx.since(begun).as_secs();
        let why = self.journal.current.failure.as_ref().map(|failure| format!(": {failure}")).unwrap_or_default();
        Some(self.give_up(None, &format!("{what} did not come about within {waited} s{why}")))
    }

    /// "1 of 3 pods restarted, redis-2 and redis-0 left": what the next plan finds.
    pub(super) fn left_over(&self) -> String {
        let evictions = |steps: &[crate::domain::step::PlannedStep]| -> Vec<String> {
            let evicted = steps.iter().filter(|planned| matches!(planned.step, Step::Evict { .. }));
            evicted.map(|planned| planned.step.pod().to_string()).collect()
        };
        let all = evictions(&self.journal.steps).len();
        let remain = evictions(self.journal.left());
        let left = if remain.is_empty() { String::new() } else { format!(", {} left", remain.join(", ")) };
        format!("{} of {all} pods restarted{left}", all - remain.len())
    }

    /// A member of the plan that does not exist and will not: its set wants fewer pods than the plan was made for.
    pub(super) fn scaled_away(&self, pod: &crate::domain::names::PodName) -> bool {
        let sets = &self.journal.shard.sets;
        let of_pod = |set: &&StatefulSet| sets.contains(&set.uid) && set.names(pod);
        let fewer = self.ctx.snapshot.stateful_sets.iter().find(of_pod).is_some_and(|set| {
            let members = self.journal.members.iter().filter(|member| set.names(&member.identity.pod)).count();
            usize::try_from(set.replicas).is_ok_and(|wanted| wanted < members)
        });
        fewer && self.target(pod).is_none()
    }

    /// A step that waits for a pod that was scaled away ends the remediation.
    pub(super) fn waits_for_nobody(&self) -> Option<Next> {
        let pod = self.journal.step()?.replacement()?;
        self.scaled_away(pod).then(|| {
            let text = format!("{pod} was scaled away; a new plan is made from what is now true");
            end(self.ctx, self.journal, Outcome::Superseded, &text)
        })
    }

    /// A replica that was repointed and follows another one again (it restarted, and its start arguments name the old
    /// primary): the journal, back at its Repoint. Nothing after the Repoints has been done yet.
    pub(super) fn back_to_repoint(&self) -> Option<Next> {
        /// More often is somebody's will, or a start script's: then the gates say what is wrong.
        const MOST: u32 = 3;
        if !self.at_boundary(false) || !matches!(self.journal.step()?, Step::Evict { .. } | Step::RaiseBacklog { .. }) {
            return None;
        }
        let before = self.journal.done();
        let block = before.iter().rposition(|planned| matches!(planned.step, Step::Switchover { .. }))? + 1;
        let untouched = before
            .get(block..)?
            .iter()
            .all(|planned| matches!(planned.step, Step::Repoint { .. } | Step::RaiseBacklog { .. }));
        let (at, pod) = before.iter().enumerate().skip(block).find_map(|(n, planned)| match &planned.step {
            Step::Repoint { pod, to } if self.strayed(pod, to) => Some((n, pod)),
            _ => None,
        })?;
        let mut journal: Journal = self.journal.clone();
        let record = journal.members.iter_mut().find(|record| record.identity.pod == *pod)?;
        if !untouched || record.repointed_again >= MOST {
            return None;
        }
        record.repointed_again = record.repointed_again.saturating_add(1);
        journal.cursor = u32::try_from(at).ok()?;
        journal.current = CurrentStep { begun_at: Some(self.ctx.now), ..CurrentStep::default() };
        Some(Next::Record(Box::new(journal)))
    }

    fn strayed(&self, pod: &crate::domain::names::PodName, to: &crate::domain::names::PodName) -> bool {
        use crate::{domain::sample::Role, plan::replica};
        let Some(primary) = self.shard.primary().filter(|primary| primary.pod.name == *to) else { return false };
        let link = self.target(pod).and_then(|target| match &target.sample()?.replication.role {
            Role::Replica(link) => Some(link),
            Role::Primary | Role::Unknown => None,
        });
        link.is_some_and(|link| !replica::follows(self.shard, primary, &link.primary))
    }
}
