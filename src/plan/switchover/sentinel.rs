//! The Sentinel method: pings quiet, writes held back, every replica equal, writes refused, then a Sentinel is told to fail
//! over; when a majority of them name the new primary, the old one is told to follow it.
//!
//! What it rests on is measured: docs/adr/0019-the-exchange-under-sentinel.md. Once every replica has everything, whom the
//! Sentinel chooses costs no write. From the refusal on the order of ends does not matter: a primary that nobody attends
//! to any more acknowledges nothing, until it is demoted or a successor lets it.

use std::time::Duration;

use super::{
    Failure, SeenRole, UNCLEAR_DEADLINE,
    guarded::{APPROACH, CATCH_UP_POLL, PAUSE_MARGIN, POLL, Sent},
};

/// How long writes are held back from the refusal on. Until the old primary follows, the Sentinels' greetings (PUBLISH) are
/// held back too: one that reaches the replicas and not the new primary costs them a full sync.
const LONG_PAUSE: Duration = Duration::from_secs(10);
/// The pause ends this long before a Sentinel could take the primary for dead because of it.
const BEFORE_DEAD: Duration = Duration::from_secs(1);
/// Writes are refused, and a replica still lacks something: it gets this long.
const DRAIN: Duration = Duration::from_millis(500);
/// Writes are refused for no longer than this before a Sentinel is told: what was asked right before holds no longer then.
/// Usually it takes some milliseconds.
const TELL_WITHIN: Duration = Duration::from_secs(2);
/// A replica that catches up at least this often holds writers back for no longer: the pause bears twice as much.
pub const CATCHES_UP: Duration = Duration::from_secs(1);
/// A moment in which every replica has everything costs writers least. It is waited for for this long, and then replicas
/// that catch up each at its own time ([`CATCHES_UP`]) will do: of several that read in turns none may ever come.
const AT_ONCE: Duration = Duration::from_secs(5);
/// A failover whose command was answered shows at once in the flags of that Sentinel; one whose answer was lost may take
/// this long to arrive.
const ARRIVES: Duration = Duration::from_secs(3);

/// How long the Sentinels' greetings are held back at most, counted from the first pause: a pause of `down-after-milliseconds`
/// would make a Sentinel take the primary for dead and begin a failover of its own beside the one that it was told, which may
/// choose another. What ends the pause costs at most full syncs: writes are refused meanwhile.
pub fn longest_pause(down_after: Duration) -> Duration {
    LONG_PAUSE.min(down_after.saturating_sub(BEFORE_DEAD))
}

/// Whom the Sentinels name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Named {
    /// Fewer than a majority answer, or they do not agree.
    #[default]
    Undecided,
    /// A majority names the old primary.
    Old,
    /// A majority names the same other member, and that one says that it is primary.
    New,
}

/// What this process has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Did {
    /// What the last look, right before, found in the way.
    pub obstacle: Option<Failure>,
    /// The settings and the pause that an earlier process may have left were undone.
    pub released: bool,
    /// Pings are quiet.
    pub quieted: bool,
    /// `CLIENT PAUSE`; how long ago it was first sent.
    pub paused: Option<Duration>,
    /// Writes are refused, and the pause was made longer; how long ago.
    pub refused: Option<Duration>,
    /// `SENTINEL FAILOVER … COORDINATED`.
    pub coordinated: Sent,
    /// `SENTINEL FAILOVER`.
    pub told: Sent,
    /// `REPLICAOF` on the old primary.
    pub demoted: Sent,
    /// The settings are what they were.
    pub set_back: bool,
    /// `CLIENT UNPAUSE`, at the end.
    pub unpaused: bool,
}

/// What was just seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The old primary's role.
    pub from: SeenRole,
    /// Whom the Sentinels name.
    pub named: Named,
    /// Whoever may carry a failover out by our doing answered just now: the one that was told; where another process told one,
    /// every one that is known, for which of them is not written down.
    pub heard: bool,
    /// As many of them answered just now as a failover takes.
    pub enough: bool,
    /// One of them carries a failover out; or the old primary does, by the `FAILOVER` that people or a Sentinel asked for.
    pub failing_over: bool,
    /// Another member says that it is primary, whomever the Sentinels name.
    pub other_primary: bool,
    /// Every replica is linked, of the same history, and has what the primary had a look ago.
    pub near: bool,
    /// Every replica is linked and of the same history, and had what the primary had a look before, within [`CATCHES_UP`].
    pub catches_up: bool,
    /// Every replica has everything that the old primary has.
    pub equal: bool,
    /// Its clients are paused; `None`: it is a version that does not say.
    pub clients_paused: Option<bool>,
    /// An exchange may be begun. Else what was begun is ended, and nothing more.
    pub may_begin: bool,
    /// The journal says that it was begun before: another process may have done any part of it.
    pub resumed: bool,
    /// `COORDINATED` is tried first.
    pub coordinated: bool,
    /// Too much time has passed since it was begun: no Sentinel carries it out any more, not even one that does not answer.
    pub over: bool,
    /// What this process has done.
    pub did: Did,
    /// Time since this process last changed anything, or since it began to look.
    pub waited: Duration,
    /// Time since roles, names and failovers were first seen as they are now.
    pub stuck: Duration,
}

/// The next move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Read everything again after this time.
    Poll(Duration),
    /// Undo what an earlier process may have left: settings, and a pause.
    Release,
    /// Have a Sentinel fail over by the servers' own FAILOVER, where it knows how.
    TellCoordinated,
    /// Keep pings away.
    Quiet,
    /// Hold back the writes of the old primary.
    Pause,
    /// Refuse them, and hold back the Sentinels' greetings for longer.
    Refuse,
    /// Have a Sentinel fail over.
    Tell,
    /// Make the old primary follow whom the Sentinels name.
    Demote,
    /// Let its clients go on.
    Unpause,
    /// Set its settings back.
    SetBack,
    /// The role is handed over, and nothing of ours is left on the old primary.
    Done,
    /// It ended without exchange.
    Failed(Failure),
}

/// The next move. First match wins; the order is the protocol.
pub fn next(view: &View, pause: Duration) -> Move {
    use SeenRole::{Gone, Primary, Replica};
    match (view.from, view.named) {
        (Primary, Named::New) => demote(view),
        (Replica | Gone, Named::New) => exchanged(view),
        (Primary, Named::Old) if told(view) => told_and_primary(view),
        (Primary, Named::Old) if !view.other_primary && !view.failing_over => before(view, pause),
        // None was told, so that nothing of ours goes on whatever the silent ones do.
        (Primary, Named::Undecided) if refused_in_vain(view) && !view.other_primary && !view.failing_over => {
            give_up(view, Failure::SentinelsSilent)
        }
        // Nobody says that it goes on, and it would have ended by now: writes are not refused for ever.
        (Primary, Named::Undecided) if view.over && !view.other_primary && !view.failing_over => {
            give_up(view, Failure::NotFailedOver)
        }
        _ => wait_or_leave(view),
    }
}

/// A Sentinel may carry a failover out by our doing.
const fn told(view: &View) -> bool {
    let by_us = !matches!((view.did.told, view.did.coordinated), (Sent::No | Sent::Refused, Sent::No | Sent::Refused));
    by_us || (view.resumed && !view.did.released)
}

/// It was told to, or perhaps by an earlier process, and the old primary is what everybody takes it for. While a failover
/// goes on, nothing is taken back: a primary that would be let in again could acknowledge what the next one lacks.
fn told_and_primary(view: &View) -> Move {
    let sent_lately = matches!(view.did.told, Sent::Unanswered) || matches!(view.did.coordinated, Sent::Unanswered);
    if view.failing_over || view.other_primary || !(view.heard || view.over) {
        return wait_or_leave(view);
    }
    if sent_lately && view.waited < ARRIVES {
        return Move::Poll(POLL);
    }
    if by_earlier(view) { Move::Release } else { give_up(view, Failure::NotFailedOver) }
}

const fn by_earlier(view: &View) -> bool {
    view.resumed && !view.did.released && matches!((view.did.told, view.did.coordinated), (Sent::No, Sent::No))
}

/// Writes are refused, nobody has been told, and it is too late to tell.
fn refused_in_vain(view: &View) -> bool {
    !told(view) && view.did.refused.is_some_and(|since| since >= TELL_WITHIN)
}

/// Nobody was told to fail over.
fn before(view: &View, pause: Duration) -> Move {
    if !view.may_begin {
        return give_up(view, Failure::CalledOff);
    }
    if let Some(obstacle) = view.did.obstacle {
        return give_up(view, obstacle);
    }
    if matches!(view.did.told, Sent::Refused) {
        return give_up(view, Failure::SentinelRefused);
    }
    match (view.did.paused, view.did.refused) {
        (_, Some(since)) if view.equal && view.enough && since < TELL_WITHIN => Move::Tell,
        (_, Some(since)) if since < DRAIN || (!view.enough && since < TELL_WITHIN) => Move::Poll(CATCH_UP_POLL),
        (Some(since), None) if since.saturating_add(PAUSE_MARGIN) < pause => {
            if view.equal && view.enough {
                Move::Refuse
            } else {
                Move::Poll(CATCH_UP_POLL)
            }
        }
        (Some(_), _) | (_, Some(_)) => give_up(view, missing(view)),
        (None, None) => approach(view),
    }
}

/// What is waited for before one is told.
const fn missing(view: &View) -> Failure {
    if view.enough { Failure::NotCaughtUp } else { Failure::SentinelsSilent }
}

/// Before writes are held back: everything that takes time.
fn approach(view: &View) -> Move {
    if view.clients_paused == Some(true) {
        return give_up(view, Failure::PausedByOther);
    }
    let near = view.near || (view.catches_up && view.waited >= AT_ONCE);
    if !near || !view.enough {
        return if view.waited >= APPROACH { give_up(view, missing(view)) } else { Move::Poll(POLL) };
    }
    if view.coordinated && view.did.coordinated == Sent::No {
        return Move::TellCoordinated;
    }
    if view.did.quieted { Move::Pause } else { Move::Quiet }
}

/// The Sentinels have switched, and the old primary does not know yet.
fn demote(view: &View) -> Move {
    match view.did.demoted {
        Sent::Refused => wait_or_leave(view),
        Sent::Done | Sent::Unanswered if view.waited < ARRIVES => Move::Poll(POLL),
        Sent::No | Sent::Done | Sent::Unanswered => Move::Demote,
    }
}

/// The Sentinels have switched and the old primary is none. Its clients first: they learn at once that it takes no writes.
fn exchanged(view: &View) -> Move {
    if view.from == SeenRole::Gone {
        return Move::Done;
    }
    let left = view.resumed && !view.did.released;
    if (view.did.paused.is_some() || left) && !view.did.unpaused {
        return Move::Unpause;
    }
    let changed = view.did.quieted || view.did.refused.is_some() || left;
    if changed && !view.did.set_back { Move::SetBack } else { Move::Done }
}

/// The old primary stays primary: those that were held back go on, then it takes writes again. Not the other way round: were
/// we to die in between, writes would be let in under a pause that may make a Sentinel take the primary for dead, and when it
/// lapses two servers would take them.
fn give_up(view: &View, failure: Failure) -> Move {
    let left = view.resumed && !view.did.released;
    if (view.did.paused.is_some() || left) && !view.did.unpaused {
        Move::Unpause
    } else if (view.did.quieted || view.did.refused.is_some() || left) && !view.did.set_back {
        Move::SetBack
    } else {
        Move::Failed(failure)
    }
}

fn wait_or_leave(view: &View) -> Move {
    if view.stuck >= UNCLEAR_DEADLINE { Move::Failed(Failure::Unclear) } else { Move::Poll(POLL) }
}

#[cfg(test)]
mod tests;
