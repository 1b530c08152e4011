//! The Native method as a pure state machine. `FAILOVER TO … TIMEOUT` exchanges the roles inside the servers, also when
//! we die; what is decided here is when it is sent, and that ABORT is sent only after the target's role was read.
//!
//! Between FAILOVER and the roles being clear no Kubernetes call is made.

use std::time::Duration;

use super::{Failure, LabelView, Move, SeenRole, Timing, UNCLEAR_DEADLINE};
use crate::domain::sample::FailoverState;

/// How often roles are read while a FAILOVER is under way.
pub const POLL: Duration = Duration::from_millis(10);
/// A FAILOVER that is not over this long after its own TIMEOUT has hung in `failover-in-progress`, which nothing
/// bounds but ABORT (`updateFailoverStatus` in the server's replication.c has no timeout there).
pub const WATCHDOG_MARGIN: Duration = Duration::from_secs(3);

/// What was just seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The old primary.
    pub from: SeenRole,
    /// The candidate.
    pub to: SeenRole,
    /// `master_failover_state` of the old primary.
    pub failover: FailoverState,
    /// The role labels.
    pub labels: LabelView,
    /// Time since FAILOVER was sent by this process, or since one was found under way; `None`: neither.
    pub since_failover: Option<Duration>,
    /// ABORT was sent.
    pub aborted: bool,
    /// An exchange may be begun. Else what was begun is ended, and nothing more.
    pub may_begin: bool,
    /// What the last look, right before FAILOVER, found in the way.
    pub obstacle: Option<Failure>,
}

/// A move of the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// Send FAILOVER.
    Send,
    /// Send FAILOVER ABORT: the target was read as a replica, or its pod is gone.
    Abort,
}

/// The next move. First match wins; the order is the protocol.
pub fn next(view: &View, timing: &Timing) -> Move<Exchange> {
    use SeenRole::{Gone, Primary, Replica, Unknown};
    let under_way = view.failover != FailoverState::None;
    let watchdog = timing.pause + WATCHDOG_MARGIN;
    let running = view.since_failover.unwrap_or_default();
    match (view.from, view.to) {
        // The server is still at it. Only a target that was read as no primary, or is gone, allows an ABORT.
        (_, to) if under_way => match to {
            Replica | Gone if running >= watchdog => Move::Exchange(Exchange::Abort),
            Unknown if running >= watchdog + UNCLEAR_DEADLINE => Move::Failed(Failure::Unclear),
            Primary | Replica | Gone | Unknown => Move::Poll(POLL),
        },
        // The role is handed over. Whatever process did it, the labels follow.
        (Replica | Gone | Unknown, Primary) => view.labels.after().unwrap_or(Move::Done),
        (Primary, Primary) => Move::Failed(Failure::BothPrimary),
        // Not handed over, and not at it.
        (Primary, Replica | Gone | Unknown) if view.since_failover.is_some() => {
            view.labels.give_up(if view.aborted { Failure::Hung } else { Failure::NotCaughtUp })
        }
        (Primary, Replica) if !view.may_begin => view.labels.give_up(Failure::CalledOff),
        (Primary, Replica) if view.obstacle.is_some() => view.labels.give_up(view.obstacle.unwrap_or(Failure::Unclear)),
        (Primary, Replica) => view.labels.before(timing).unwrap_or(Move::Exchange(Exchange::Send)),
        (Primary, Gone) => view.labels.give_up(Failure::NotCaughtUp),
        // Nobody is primary for a moment, or somebody does not answer.
        (Primary | Replica | Unknown | Gone, Unknown | Gone | Replica) => {
            let waited = view.since_failover.unwrap_or(view.labels.since_labelled);
            if waited >= watchdog + UNCLEAR_DEADLINE { Move::Failed(Failure::Unclear) } else { Move::Poll(POLL * 5) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::switchover::{
        OVERLAP_DEADLINE,
        fixtures::{TIMING, UNMOVED},
    };
    use rstest::rstest;

    fn start() -> View {
        View {
            from: SeenRole::Primary,
            to: SeenRole::Replica,
            failover: FailoverState::None,
            labels: UNMOVED,
            since_failover: None,
            aborted: false,
            may_begin: true,
            obstacle: None,
        }
    }

    fn labelled() -> LabelView {
        LabelView { to_labelled: true, ..UNMOVED }
    }

    #[test]
    fn the_undisturbed_order() {
        let mut view = start();
        assert_eq!(next(&view, &TIMING), Move::LabelCandidate);
        view.labels.to_labelled = true;
        assert!(matches!(next(&view, &TIMING), Move::AwaitOverlap(_)));
        view.labels.since_overlap = Some(Duration::ZERO);
        assert_eq!(next(&view, &TIMING), Move::AwaitOverlap(Duration::from_secs(2)));
        view.labels.since_overlap = Some(Duration::from_secs(2));
        assert_eq!(next(&view, &TIMING), Move::Exchange(Exchange::Send));
        view.since_failover = Some(Duration::ZERO);
        view.failover = FailoverState::WaitingForSync;
        assert_eq!(next(&view, &TIMING), Move::Poll(POLL));
        view.from = SeenRole::Replica;
        view.failover = FailoverState::InProgress;
        assert_eq!(next(&view, &TIMING), Move::Poll(POLL));
        view.to = SeenRole::Primary;
        view.failover = FailoverState::None;
        assert_eq!(next(&view, &TIMING), Move::UnlabelOld);
        view.labels.from_labelled = false;
        assert_eq!(next(&view, &TIMING), Move::Done);
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
            labels: labelled(),
            since_failover: Some(Duration::from_secs(6)),
            ..start()
        };
        assert_eq!(next(&view, &TIMING) == Move::Exchange(Exchange::Abort), aborts);
    }

    #[test]
    fn does_not_abort_before_the_watchdog() {
        let view = View {
            failover: FailoverState::WaitingForSync,
            labels: labelled(),
            since_failover: Some(Duration::from_millis(5_999)),
            ..start()
        };
        assert_eq!(next(&view, &TIMING), Move::Poll(POLL));
    }

    #[test]
    fn a_failover_that_went_back_takes_the_label_back_and_is_not_sent_twice() {
        let mut view = View {
            labels: LabelView { since_overlap: Some(Duration::from_secs(9)), ..labelled() },
            since_failover: Some(Duration::from_secs(4)),
            ..start()
        };
        assert_eq!(next(&view, &TIMING), Move::TakeBack(Failure::NotCaughtUp));
        view.labels.to_labelled = false;
        assert_eq!(next(&view, &TIMING), Move::Failed(Failure::NotCaughtUp));
    }

    #[test]
    fn two_primaries_freeze_everything() {
        let view = View { to: SeenRole::Primary, labels: labelled(), ..start() };
        assert_eq!(next(&view, &TIMING), Move::Failed(Failure::BothPrimary));
    }

    #[test]
    fn a_takeover_after_the_exchange_only_moves_labels() {
        let view = View { from: SeenRole::Replica, to: SeenRole::Primary, labels: labelled(), ..start() };
        assert_eq!(next(&view, &TIMING), Move::UnlabelOld);
    }

    #[test]
    fn services_that_never_follow_end_it_before_failover() {
        let view = View { labels: LabelView { since_labelled: OVERLAP_DEADLINE, ..labelled() }, ..start() };
        assert_eq!(next(&view, &TIMING), Move::TakeBack(Failure::NoOverlap));
    }
}
