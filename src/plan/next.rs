//! What to do next: the one thing that a decision comes to.

use std::time::Duration;

use super::effect::Effect;
use crate::domain::{
    blocked::Blocked,
    journal::{Journal, WorkloadRecord},
    request::AnsweredRequest,
};

/// How soon to look again at what may last: a gate, a server that does not answer, a Sentinel's list of members. A Sentinel
/// asks its primary for its replicas as often, and others greet it every two seconds.
pub(super) const LATER: Duration = Duration::from_secs(10);

/// What to do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Next {
    /// Nothing: look again at the usual time.
    #[default]
    Rest,
    /// Something could be done, but only a live snapshot may say so: observe live and decide again.
    LookLive,
    /// Write these records: two primaries leave a mark, or one goes.
    Remember(Vec<WorkloadRecord>),
    /// Upkeep: labels and limits, each with its reason.
    Upkeep(Vec<(Effect, String)>),
    /// Write this answer to what a person asked for: nothing is done about it.
    Answer(AnsweredRequest),
    /// Begin a remediation with this journal.
    Begin(Box<Journal>),
    /// Look again after this time; the text says what is waited for.
    Wait(String, Duration),
    /// The remediation under way stands at gates that do not hold: look again after this time.
    Gate(Vec<Blocked>, Duration),
    /// Write the journal, then look again at once.
    Record(Box<Journal>),
    /// Write the journal, then carry the effect out, then look again at once.
    Act(Box<Journal>, Box<Effect>),
    /// Write the record, clear the journal.
    End(Box<WorkloadRecord>),
}

impl Next {
    /// Something beside the step at which that journal stands: it says nothing of what is in the way of the step.
    pub fn is_beside(&self, journal: &Journal) -> bool {
        match self {
            Self::Upkeep(_) | Self::Remember(_) => true,
            Self::Record(next) => next.cursor == journal.cursor,
            Self::Act(_, effect) => matches!(**effect, Effect::CloseClients { .. }),
            Self::Rest
            | Self::LookLive
            | Self::Answer(_)
            | Self::Begin(_)
            | Self::Wait(..)
            | Self::Gate(..)
            | Self::End(_) => false,
        }
    }
}
