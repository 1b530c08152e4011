//! The Guarded method as a pure state machine: hold back writes, wait until the candidate has everything, demote, then
//! promote, let the writers go on.
//!
//! What keeps it safe, whichever process dies when:
//!
//! - Never two writers: promote is sent only after the old primary was read as, or confirmed to be, a replica.
//! - Nothing on a guess: right before the pause the driver looks once more whether both pods are as they were and stay,
//!   the Services still have both, and every member answers. What it finds is [`Did::obstacle`].
//! - Nothing left on its way: who takes over, and finds the old primary as primary, first undoes whatever was sent to it
//!   and may lie unread in its socket ([`Exchange::Release`]).
//! - Nothing lost: demote is sent only under a pause that surely still holds and with equal offsets. Before promote the
//!   offsets are compared once more, on the demoted primary: had the pause lapsed unseen, the candidate lacks something,
//!   and the old primary gets its role back.
//! - Never two writers after a failure either: the old primary gets its role back only when the candidate was surely
//!   not promoted, and nobody else was: its history is still its own.
//! - No endless pause: the server ends it by itself.
//!
//! Between demote and promote nothing is asked of Kubernetes while both servers answer.

use std::time::Duration;

use super::{Failure, LabelView, SeenRole, Timing, UNCLEAR_DEADLINE};
use crate::domain::sample::FailoverState;

/// How often offsets are read under the pause: each reading is one round trip, and every millisecond counts.
pub const CATCH_UP_POLL: Duration = Duration::from_millis(1);
/// How often roles are read while somebody does not answer.
pub(super) const POLL: Duration = Duration::from_millis(20);
/// Demote is sent only while the pause has at least this long to live, so that it arrives before the pause ends.
pub const PAUSE_MARGIN: Duration = Duration::from_secs(1);
/// A candidate that is silent for this long between demote and promote is given up. Writers are waiting.
pub const SILENCE: Duration = Duration::from_millis(750);
/// A promotion whose answer was lost is sent again after this long: on a primary it changes nothing.
const RESEND: Duration = Duration::from_millis(250);
/// A candidate that lacks something gets this long to receive it from the demoted primary: from 7.0 on the link is
/// still up. No longer, because a demoted primary that is ahead asks for a full sync, which would drop what it has.
const DRAIN: Duration = Duration::from_millis(200);
/// How long a candidate that is not close enough is waited for before writes are held back.
pub(super) const APPROACH: Duration = Duration::from_secs(10);
/// One whose link is down, or that receives a full sync, is given up after this time.
const UNFIT: Duration = Duration::from_secs(5);

/// One of the two servers, as it was just read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its role.
    pub role: SeenRole,
    /// `master_repl_offset`: on a replica, how far it has applied the stream. Zero when it was not read.
    pub offset: u64,
    /// On a replica: the link is up and no full sync runs.
    pub linked: bool,
    /// `master_replid` is the one that was recorded when the switchover began.
    pub same_history: bool,
}

/// What became of a command that this process sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sent {
    /// It was not sent.
    #[default]
    No,
    /// It was sent, and the answer was lost: it may have been carried out, or may be yet.
    Unanswered,
    /// It was carried out.
    Done,
    /// The server refused it: it was not carried out.
    Refused,
}

/// What this process has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Did {
    /// `CLIENT UNPAUSE` and `REPLICAOF NO ONE` on the old primary, for what an earlier process may have left.
    pub released: bool,
    /// What the last look, right before the pause, found in the way.
    pub obstacle: Option<Failure>,
    /// `CLIENT PAUSE`; how long ago it was sent.
    pub paused: Option<Duration>,
    /// `REPLICAOF candidate` on the old primary.
    pub demoted: Sent,
    /// The answer to it came while the pause surely held: nothing was written in between.
    pub demoted_in_time: bool,
    /// `REPLICAOF NO ONE` on the candidate.
    pub promoted: Sent,
    /// `REPLICAOF NO ONE` on the old primary, and why.
    pub rolled_back: Option<Failure>,
    /// `CLIENT UNPAUSE`, at the end.
    pub unpaused: bool,
    /// The other replicas were told of the new primary.
    pub repointed: bool,
}

/// What was just seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The old primary.
    pub from: Seen,
    /// The candidate.
    pub to: Seen,
    /// `master_failover_state` of the old primary.
    pub failover: FailoverState,
    /// The old primary, being a replica, is configured to follow the candidate.
    pub follows_candidate: bool,
    /// The old primary says that its clients are paused; `None`: it is a version that does not say (Valkey does, from 8.1).
    pub clients_paused: Option<bool>,
    /// The candidate lacks what the primary had a look ago, or more than the policy's `maxReplicationLag`. Just after a full
    /// sync a replica gets nothing until its first acknowledgement, up to a second later (measured on 7.0.15): writers
    /// must not wait for that.
    pub far_behind: bool,
    /// The candidate's pod was being deleted already when this process began to look.
    pub to_going: bool,
    /// Another process answers in the place of one of the two and may be a primary: it has restarted, or people gave it the
    /// role. Nobody is promoted beside it.
    pub usurped: bool,
    /// How long the candidate's link has been down, or its history another one, without a break.
    pub unfit: Duration,
    /// An exchange may be begun. Else what was begun is ended, and nothing more.
    pub may_begin: bool,
    /// The role labels.
    pub labels: LabelView,
    /// The journal says that it was begun before: another process may have done any part of it.
    pub resumed: bool,
    /// What this process has done.
    pub did: Did,
    /// Time since this process last changed anything, or since it began to look.
    pub waited: Duration,
    /// Time since the two roles were first seen as they are now.
    pub stuck: Duration,
}

/// A move of the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// Undo what an earlier process may have left: a pause, and a demotion that is still on its way. On a primary without
    /// a pause it changes nothing.
    Release,
    /// Hold back the writes of the old primary.
    Pause,
    /// Make the old primary a replica of the candidate.
    Demote,
    /// Make the candidate a primary.
    Promote,
    /// Make the old primary a primary again.
    RollBack(Failure),
    /// Let the clients of the old primary go on: they learn at once that it takes no writes.
    Unpause,
    /// Let the other replicas follow the new primary.
    Repoint,
    /// A FAILOVER is under way: the Native machine sees it through.
    LeaveToServer,
}

type Move = super::Move<Exchange>;

/// The next move. First match wins; the order is the protocol.
pub fn next(view: &View, timing: &Timing) -> Move {
    use SeenRole::{Gone, Primary, Replica, Unknown};
    if view.failover != FailoverState::None {
        return Move::Exchange(Exchange::LeaveToServer);
    }
    match (view.from.role, view.to.role) {
        (Primary, Primary) => Move::Failed(Failure::BothPrimary),
        (Primary, to) => still_primary(view, to, timing),
        (Replica | Gone, Primary) => exchanged(view),
        // Silent, it may be a primary as well. Only our own promotion, which came after its demotion, says that it is not.
        (Unknown, Primary) if matches!(view.did.promoted, Sent::Done | Sent::Unanswered) => exchanged(view),
        (Replica, _) if !view.follows_candidate => wait_or_leave(view),
        (Replica, Replica) => both_replicas(view),
        (Replica, Gone) => candidate_gone(view),
        (Replica, Unknown) => candidate_silent(view),
        // The old primary was lost after its demotion, and with nothing that the candidate lacks: what was begun is ended.
        (Gone | Unknown, Replica) if view.did.demoted_in_time && still_holds_it(view) => promote(view),
        // Lost before that, it is an unplanned loss: nobody is promoted by us.
        (Gone | Unknown, _) => wait_or_leave(view),
    }
}

/// The old primary is primary: before demote, or after it got its role back.
fn still_primary(view: &View, to: SeenRole, timing: &Timing) -> Move {
    if let Some(failure) = view.did.rolled_back {
        return end(view, failure);
    }
    if view.did.demoted != Sent::No {
        return match (view.did.demoted, view.did.promoted) {
            (Sent::Unanswered | Sent::Done, _) if view.waited < timing.pause => Move::Poll(POLL),
            // Perhaps the command is still on its way; or it was confirmed, and the server does not say what it is. As
            // nobody else was promoted, its role is given back: on a primary that changes nothing.
            (Sent::Unanswered | Sent::Done, Sent::No) => Move::Exchange(Exchange::RollBack(Failure::NotCaughtUp)),
            _ => end(view, Failure::NotCaughtUp),
        };
    }
    match (view.did.paused, to) {
        (Some(since), SeenRole::Replica) if since.saturating_add(PAUSE_MARGIN) < timing.pause && !view.did.unpaused => {
            let caught_up = view.to.linked && view.to.same_history && view.to.offset == view.from.offset;
            if caught_up { Move::Exchange(Exchange::Demote) } else { Move::Poll(CATCH_UP_POLL) }
        }
        (Some(_), _) => end(view, Failure::NotCaughtUp),
        (None, SeenRole::Replica | SeenRole::Gone) if view.resumed && !view.did.released => {
            Move::Exchange(Exchange::Release)
        }
        (None, SeenRole::Replica) => prepare(view, timing),
        (None, SeenRole::Gone) => view.labels.give_up(Failure::NotCaughtUp),
        (None, _) if view.waited >= APPROACH => view.labels.give_up(Failure::NotCaughtUp),
        (None, _) => Move::Poll(POLL),
    }
}

/// Before the pause: everything that takes time and can be done without holding anybody back.
fn prepare(view: &View, timing: &Timing) -> Move {
    if !view.may_begin {
        return view.labels.give_up(Failure::CalledOff);
    }
    if let Some(obstacle) = view.did.obstacle {
        return view.labels.give_up(obstacle);
    }
    // A candidate that is not fit gets no label, and does not keep it while it becomes so: clients would meet it.
    if view.unfit >= UNFIT {
        return view.labels.give_up(Failure::NotCaughtUp);
    }
    if view.labels.lacks() && !view.unfit.is_zero() {
        return Move::Poll(POLL);
    }
    if let Some(label) = view.labels.before(timing) {
        return label;
    }
    if view.clients_paused == Some(true) {
        return view.labels.give_up(Failure::PausedByOther);
    }
    if !view.to.linked || !view.to.same_history || view.far_behind {
        return if view.waited >= APPROACH { view.labels.give_up(Failure::NotCaughtUp) } else { Move::Poll(POLL) };
    }
    Move::Exchange(Exchange::Pause)
}

/// Nobody takes writes: the old primary is demoted, the candidate is not promoted yet.
fn both_replicas(view: &View) -> Move {
    if let Some(failure) = view.did.rolled_back {
        return again_or_leave(view, Move::Exchange(Exchange::RollBack(failure)));
    }
    // A promotion begins a new history. Another process may have promoted the candidate, whatever that says of its role;
    // and an old primary of another history has followed somebody else who is primary.
    let elsewhere = !view.from.same_history || (view.did.demoted == Sent::No && !view.to.same_history);
    match view.did.promoted {
        Sent::No | Sent::Refused if elsewhere => wait_or_leave(view),
        Sent::Refused => Move::Exchange(Exchange::RollBack(Failure::Refused)),
        Sent::Done | Sent::Unanswered => promote(view),
        // It would take the role with it.
        Sent::No if view.to_going => Move::Exchange(Exchange::RollBack(Failure::CandidateLost)),
        Sent::No if has_everything(view) => Move::Exchange(Exchange::Promote),
        Sent::No if view.waited < DRAIN => Move::Poll(CATCH_UP_POLL),
        Sent::No => Move::Exchange(Exchange::RollBack(Failure::Behind)),
    }
}

/// The candidate holds whatever the demoted primary holds. An offset says so only within one history.
fn has_everything(view: &View) -> bool {
    view.to.same_history && view.from.same_history && view.to.offset >= view.from.offset
}

/// The candidate has followed nobody else since: an old primary that has restarted gives it what it itself holds by then.
fn still_holds_it(view: &View) -> bool {
    view.did.promoted != Sent::No || (view.to.same_history && !view.usurped)
}

fn promote(view: &View) -> Move {
    match view.did.promoted {
        Sent::No => Move::Exchange(Exchange::Promote),
        Sent::Refused => wait_or_leave(view),
        Sent::Done | Sent::Unanswered => again_or_leave(view, Move::Exchange(Exchange::Promote)),
    }
}

/// A promotion, of whichever of the two, is sent again until it is seen: its answer, or it itself, was lost.
fn again_or_leave(view: &View, again: Move) -> Move {
    if view.waited >= RESEND && view.stuck < UNCLEAR_DEADLINE { again } else { wait_or_leave(view) }
}

/// The candidate's pod no longer exists. It was not promoted when we know that nobody sent it, or when the demoted
/// primary never followed a new one and still has the label that is taken off right after a promotion.
fn candidate_gone(view: &View) -> Move {
    let nobody_sent_it = view.did.demoted != Sent::No && view.did.promoted == Sent::No;
    let no_trace = view.did.promoted != Sent::Done && view.from.same_history && view.labels.from_labelled;
    if let Some(failure) = view.did.rolled_back {
        return again_or_leave(view, Move::Exchange(Exchange::RollBack(failure)));
    }
    if !view.usurped && ((nobody_sent_it && view.from.same_history) || no_trace) {
        return Move::Exchange(Exchange::RollBack(Failure::CandidateLost));
    }
    wait_or_leave(view)
}

/// The candidate does not answer. Only who knows that no promotion was sent may give the role back: a command that
/// is on its way could still arrive.
fn candidate_silent(view: &View) -> Move {
    let nobody_sent_it = view.did.demoted != Sent::No && view.did.promoted == Sent::No;
    match view.did.rolled_back {
        Some(failure) => again_or_leave(view, Move::Exchange(Exchange::RollBack(failure))),
        None if nobody_sent_it && view.from.same_history && view.waited >= SILENCE => {
            Move::Exchange(Exchange::RollBack(Failure::CandidateLost))
        }
        None => wait_or_leave(view),
    }
}

/// The candidate is primary. Its clients first: those that were held back, then those of the Service, then its replicas.
fn exchanged(view: &View) -> Move {
    // It says so without having been told. If somebody else promoted it, its history is a new one, and our promotion
    // changes nothing; if it lies, nobody is primary without.
    let untold = view.did.demoted == Sent::Done && view.did.promoted == Sent::No;
    if untold && view.from.role == SeenRole::Replica && has_everything(view) {
        return Move::Exchange(Exchange::Promote);
    }
    if view.from.role == SeenRole::Replica && view.did.paused.is_some() && !view.did.unpaused {
        return Move::Exchange(Exchange::Unpause);
    }
    let repointed = if view.did.repointed { Move::Done } else { Move::Exchange(Exchange::Repoint) };
    view.labels.after().unwrap_or(repointed)
}

/// The old primary is primary and stays it: its writers go on, then the label.
fn end(view: &View, failure: Failure) -> Move {
    if view.did.paused.is_some() && !view.did.unpaused {
        Move::Exchange(Exchange::Unpause)
    } else {
        view.labels.give_up(failure)
    }
}

fn wait_or_leave(view: &View) -> Move {
    if view.stuck >= UNCLEAR_DEADLINE { Move::Failed(Failure::Unclear) } else { Move::Poll(POLL) }
}

#[cfg(test)]
mod tests;
