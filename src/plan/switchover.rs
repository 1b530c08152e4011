//! The Native switchover as a pure state machine: what was just seen → the next move. The driver in `execute` only
//! reads and carries moves out, so the measured order of label moves and the rule "ABORT only after reading the
//! target's role" are tested without a server.
//!
//! Order: label the candidate too, wait until the Services have both pods ready and kube-proxy has synced, FAILOVER,
//! label off the old primary at once (measured: a gap of 0.1–0.5 s, against 2–3 s with labels moved after FAILOVER).
//! Between FAILOVER and the roles being clear no Kubernetes call is made.

use std::time::Duration;

use crate::domain::sample::FailoverState;

/// How often roles are read while a FAILOVER is under way.
pub const POLL: Duration = Duration::from_millis(10);
/// A FAILOVER that is not over this long after its own TIMEOUT has hung in `failover-in-progress`, which nothing
/// bounds but ABORT (`updateFailoverStatus` in the server's replication.c has no timeout there).
pub const WATCHDOG_MARGIN: Duration = Duration::from_secs(3);
/// The Services must have both pods within this time after the candidate was labelled.
pub const OVERLAP_DEADLINE: Duration = Duration::from_secs(30);
/// Roles that stay unclear this long after the watchdog leave the switchover to a person; nothing is aborted blindly.
pub const UNCLEAR_DEADLINE: Duration = Duration::from_secs(30);

/// A role, read live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeenRole {
    /// It says primary.
    Primary,
    /// It says replica.
    Replica,
    /// It did not answer, or another process answered.
    Unknown,
    /// The pod of that UID no longer exists, by the API server's word.
    Gone,
}

/// What was just seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The old primary.
    pub from: SeenRole,
    /// The candidate.
    pub to: SeenRole,
    /// `master_failover_state` of the old primary.
    pub failover: FailoverState,
    /// The candidate carries the primary's label.
    pub to_labelled: bool,
    /// The old primary carries the primary's label.
    pub from_labelled: bool,
    /// Time since the candidate was labelled or found labelled.
    pub since_labelled: Duration,
    /// Time since every Service was first seen with both pods ready; `None`: not seen.
    pub since_overlap: Option<Duration>,
    /// Time since FAILOVER was sent by this process, or since one was found under way; `None`: neither.
    pub since_failover: Option<Duration>,
    /// ABORT was sent.
    pub aborted: bool,
}

/// The next move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// Give the candidate the primary's label too.
    LabelCandidate,
    /// Look at the Services' endpoints again after this time.
    AwaitOverlap(Duration),
    /// Send FAILOVER.
    Send,
    /// Read the roles again after this time.
    Poll(Duration),
    /// Send FAILOVER ABORT: the target was read as a replica, or its pod is gone.
    Abort,
    /// Give the old primary the replica's label.
    UnlabelOld,
    /// Give the candidate its replica label back.
    TakeBack(Failure),
    /// The roles are exchanged and the labels say so.
    Done,
    /// It ended without exchange, and the labels are as before.
    Failed(Failure),
}

/// Why a switchover ended without exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The candidate did not catch up within FAILOVER's TIMEOUT; the server went back by itself.
    NotCaughtUp,
    /// FAILOVER hung and was aborted.
    Hung,
    /// The Services never had both pods.
    NoOverlap,
    /// Both say primary: nothing is touched, labels included.
    BothPrimary,
    /// The roles could not be read for too long: nothing is touched.
    Unclear,
}

impl Failure {
    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotCaughtUp => "the candidate did not catch up in time; the old primary went on as primary",
            Self::Hung => "FAILOVER hung and was aborted; the old primary went on as primary",
            Self::NoOverlap => "the Services did not show the candidate as ready within 30 s",
            Self::BothPrimary => "both pods say that they are primary; nothing was touched",
            Self::Unclear => "the roles could not be read; nothing was touched",
        }
    }

    /// Whether the old primary is primary as before, so that the candidate's label goes back.
    const fn restores(self) -> bool {
        matches!(self, Self::NotCaughtUp | Self::Hung | Self::NoOverlap)
    }
}

/// Times of one switchover.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// FAILOVER's TIMEOUT.
    pub failover_timeout: Duration,
    /// How long after the overlap kube-proxy surely has synced (2 s: one minimum sync period and a margin).
    pub endpoint_sync: Duration,
}

/// The next move. First match wins; the order is the protocol.
pub fn next(view: &View, limits: &Limits) -> Move {
    use SeenRole::{Gone, Primary, Replica, Unknown};
    let under_way = view.failover != FailoverState::None;
    let watchdog = limits.failover_timeout + WATCHDOG_MARGIN;
    let running = view.since_failover.unwrap_or_default();
    match (view.from, view.to) {
        // The server is still at it. Only a target that was read as no primary, or is gone, allows an ABORT.
        (_, to) if under_way => match to {
            Replica | Gone if running >= watchdog => Move::Abort,
            Unknown if running >= watchdog + UNCLEAR_DEADLINE => Move::Failed(Failure::Unclear),
            Primary | Replica | Gone | Unknown => Move::Poll(POLL),
        },
        // The role is handed over. Whatever process did it, the labels follow.
        (Replica | Gone | Unknown, Primary) if view.from_labelled && view.from != Gone => Move::UnlabelOld,
        (Replica | Gone | Unknown, Primary) if !view.to_labelled => Move::LabelCandidate,
        (Replica | Gone | Unknown, Primary) => Move::Done,
        (Primary, Primary) => Move::Failed(Failure::BothPrimary),
        // Not handed over, and not at it.
        (Primary, Replica | Gone | Unknown) if view.since_failover.is_some() => {
            give_up(view, if view.aborted { Failure::Hung } else { Failure::NotCaughtUp })
        }
        (Primary, Replica) if !view.to_labelled => Move::LabelCandidate,
        (Primary, Replica) => match view.since_overlap {
            Some(since) if since >= limits.endpoint_sync => Move::Send,
            Some(since) => Move::AwaitOverlap(limits.endpoint_sync.saturating_sub(since)),
            None if view.since_labelled >= OVERLAP_DEADLINE => give_up(view, Failure::NoOverlap),
            None => Move::AwaitOverlap(Duration::from_millis(200)),
        },
        (Primary, Gone) => give_up(view, Failure::NotCaughtUp),
        // Nobody is primary for a moment, or somebody does not answer.
        (Primary | Replica | Unknown | Gone, Unknown | Gone | Replica) => {
            let waited = view.since_failover.unwrap_or(view.since_labelled);
            if waited >= watchdog + UNCLEAR_DEADLINE { Move::Failed(Failure::Unclear) } else { Move::Poll(POLL * 5) }
        }
    }
}

fn give_up(view: &View, failure: Failure) -> Move {
    if view.to_labelled && failure.restores() { Move::TakeBack(failure) } else { Move::Failed(failure) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const LIMITS: Limits = Limits { failover_timeout: Duration::from_secs(3), endpoint_sync: Duration::from_secs(2) };

    fn start() -> View {
        View {
            from: SeenRole::Primary,
            to: SeenRole::Replica,
            failover: FailoverState::None,
            to_labelled: false,
            from_labelled: true,
            since_labelled: Duration::ZERO,
            since_overlap: None,
            since_failover: None,
            aborted: false,
        }
    }

    #[test]
    fn the_undisturbed_order() {
        let mut view = start();
        assert_eq!(next(&view, &LIMITS), Move::LabelCandidate);
        view.to_labelled = true;
        assert!(matches!(next(&view, &LIMITS), Move::AwaitOverlap(_)));
        view.since_overlap = Some(Duration::ZERO);
        assert_eq!(next(&view, &LIMITS), Move::AwaitOverlap(Duration::from_secs(2)));
        view.since_overlap = Some(Duration::from_secs(2));
        assert_eq!(next(&view, &LIMITS), Move::Send);
        view.since_failover = Some(Duration::ZERO);
        view.failover = FailoverState::WaitingForSync;
        assert_eq!(next(&view, &LIMITS), Move::Poll(POLL));
        view.from = SeenRole::Replica;
        view.failover = FailoverState::InProgress;
        assert_eq!(next(&view, &LIMITS), Move::Poll(POLL));
        view.to = SeenRole::Primary;
        view.failover = FailoverState::None;
        assert_eq!(next(&view, &LIMITS), Move::UnlabelOld);
        view.from_labelled = false;
        assert_eq!(next(&view, &LIMITS), Move::Done);
    }

    #[rstest]
    #[case::target_read_as_replica(SeenRole::Replica, true)]
    #[case::target_pod_gone(SeenRole::Gone, true)]
    #[case::target_already_primary(SeenRole::Primary, false)]
    #[case::target_does_not_answer(SeenRole::Unknown, false)]
    fn aborts_a_hung_failover_only_when_the_target_is_no_primary(#[case] to: SeenRole, #[case] aborts: bool) {
        let view = View {
            from: SeenRole::Replica,
            to,
            failover: FailoverState::InProgress,
            to_labelled: true,
            since_failover: Some(Duration::from_secs(6)),
            ..start()
        };
        assert_eq!(next(&view, &LIMITS) == Move::Abort, aborts);
    }

    #[test]
    fn does_not_abort_before_the_watchdog() {
        let view = View {
            failover: FailoverState::WaitingForSync,
            to_labelled: true,
            since_failover: Some(Duration::from_millis(5_999)),
            ..start()
        };
        assert_eq!(next(&view, &LIMITS), Move::Poll(POLL));
    }

    #[test]
    fn a_failover_that_went_back_takes_the_label_back_and_is_not_sent_twice() {
        let mut view = View {
            to_labelled: true,
            since_overlap: Some(Duration::from_secs(9)),
            since_failover: Some(Duration::from_secs(4)),
            ..start()
        };
        assert_eq!(next(&view, &LIMITS), Move::TakeBack(Failure::NotCaughtUp));
        view.to_labelled = false;
        assert_eq!(next(&view, &LIMITS), Move::Failed(Failure::NotCaughtUp));
    }

    #[test]
    fn two_primaries_freeze_everything() {
        let view = View { to: SeenRole::Primary, to_labelled: true, ..start() };
        assert_eq!(next(&view, &LIMITS), Move::Failed(Failure::BothPrimary));
    }

    #[test]
    fn a_takeover_after_the_exchange_only_moves_labels() {
        let view = View { from: SeenRole::Replica, to: SeenRole::Primary, to_labelled: true, ..start() };
        assert_eq!(next(&view, &LIMITS), Move::UnlabelOld);
    }

    #[test]
    fn services_that_never_follow_end_it_before_failover() {
        let view = View { to_labelled: true, since_labelled: OVERLAP_DEADLINE, ..start() };
        assert_eq!(next(&view, &LIMITS), Move::TakeBack(Failure::NoOverlap));
    }
}
