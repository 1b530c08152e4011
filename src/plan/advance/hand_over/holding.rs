//! Waiting inside a switchover. While it waits, clients go where the labels say: so each wait names the labels that are
//! safe to wait with, and these are set first. No wait of a switchover comes about in any other way.

use std::time::Duration;

use super::super::{Advance, LATER};
use super::Direction;
use crate::{
    domain::{blocked::Blocked, journal::Outcome, snapshot::Target},
    plan::{effect::Effect, next::Next},
};

/// The labels of the two pods that are safe to wait with.
pub(super) enum Labels<'a> {
    /// Nothing has been begun: upkeep keeps them right.
    LeftToUpkeep,
    /// Nobody is known to be the one primary: none is moved on a guess.
    AsTheyAre,
    /// Clients are to meet that one, and not the other.
    Only {
        /// The one that is primary.
        primary: &'a Target,
        /// The one that is not.
        other: &'a Target,
    },
}

impl Advance<'_> {
    /// Waits, with these labels.
    pub(super) fn hold(&self, labels: &Labels<'_>, why: String) -> Next {
        self.set_first(labels).unwrap_or_else(|| self.wait(why))
    }

    /// Waits for that time, with these labels.
    pub(super) fn hold_for(&self, labels: &Labels<'_>, why: String, pause: Duration) -> Next {
        self.set_first(labels).unwrap_or(Next::Wait(why, pause))
    }

    /// Stands at a gate, with these labels.
    pub(super) fn hold_at(&self, labels: &Labels<'_>, blocked: Blocked) -> Next {
        self.set_first(labels).unwrap_or_else(|| Next::Gate(vec![blocked], LATER))
    }

    /// Waits with the old primary as primary: the candidate's label goes back first. When it has waited too long, what an
    /// earlier attempt may have left on its way is undone before the end.
    pub(super) fn hold_as_before(&self, way: &Direction<'_>, new: &Target, why: String) -> Next {
        if self.journal.current.begun_at.is_none() {
            return self.hold(&Labels::LeftToUpkeep, why);
        }
        match self.hold(&Labels::Only { primary: way.from, other: new }, why) {
            Next::End(record) => self.close(way, record.outcome.unwrap_or(Outcome::TimedOut), &record.message),
            next => next,
        }
    }

    /// The first label that is not as it must be while it is waited. The one that clients need comes first.
    pub(super) fn set_first(&self, labels: &Labels<'_>) -> Option<Next> {
        let Labels::Only { primary, other } = *labels else { return None };
        if !self.shard.follow.is_ours() {
            return None;
        }
        let label = &self.ctx.policy.redis.role_label;
        let carries = |target: &Target| target.pod.role_label.as_ref() == Some(&label.primary);
        let (target, value) = match (carries(primary), carries(other)) {
            (false, _) => (primary, &label.primary),
            (true, true) => (other, &label.replica),
            (true, false) => return None,
        };
        let effect = Effect::label(target, label, value.clone());
        Some(Next::Act(Box::new(self.journal.clone()), Box::new(effect)))
    }
}
