//! Handing the primary role over, as pure state machines: what was just seen → the next move. The drivers in `execute`
//! only read and carry moves out, so the order of moves is tested without a server.
//!
//! Two methods of ours, one frame. Where we keep the role label, the candidate gets the primary's label first, then the
//! Services must have both pods ready and kube-proxy must have synced; only then the roles are exchanged, and the label
//! comes off the old primary at once (measured: a gap below 0.5 s, against 2–3 s with labels moved afterwards). How the
//! roles are exchanged is the method: [`guarded`] or [`native`]; [`choice`] says which. Under Sentinel no label of ours
//! leads clients: [`sentinel`] has no frame.

pub mod choice;
pub mod guarded;
pub mod native;
pub mod sentinel;

use std::time::Duration;

/// Writes are held back for at most this long (invariant S8): FAILOVER's own bound, and the life of CLIENT PAUSE. Under
/// Sentinel they are refused after it.
pub const PAUSE: Duration = Duration::from_secs(3);
/// The Services must have both pods within this time after the candidate was labelled.
pub const OVERLAP_DEADLINE: Duration = Duration::from_secs(30);
/// Roles that stay unclear for this long leave the switchover to a person; nothing is done blindly.
pub const UNCLEAR_DEADLINE: Duration = Duration::from_secs(30);
/// How often the Services are looked at while they follow the label.
const OVERLAP_POLL: Duration = Duration::from_millis(200);

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

/// Times of one switchover.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Writes are held back for at most this long: FAILOVER's TIMEOUT, and the life of `CLIENT PAUSE`.
    pub pause: Duration,
    /// How long after the overlap kube-proxy surely has synced (2 s: one minimum sync period and a margin).
    pub endpoint_sync: Duration,
}

/// The role labels of the two pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelView {
    /// We keep them (authority Operator). Else another controller does, and none is moved here.
    pub kept: bool,
    /// The candidate carries the primary's label.
    pub to_labelled: bool,
    /// The old primary carries the primary's label.
    pub from_labelled: bool,
    /// Time since the candidate was labelled or found labelled.
    pub since_labelled: Duration,
    /// Time since every Service was first seen with both pods ready; `None`: not seen.
    pub since_overlap: Option<Duration>,
}

/// Times and labels that the tests of the methods begin with: nothing has been moved.
#[cfg(test)]
mod fixtures {
    use super::{Duration, LabelView, Timing};

    pub(super) const TIMING: Timing = Timing { pause: super::PAUSE, endpoint_sync: Duration::from_secs(2) };
    pub(super) const UNMOVED: LabelView = LabelView {
        kept: true,
        to_labelled: false,
        from_labelled: true,
        since_labelled: Duration::ZERO,
        since_overlap: None,
    };
}

/// The next move of a switchover: one of the frame of label moves that all methods share, or one of a method's own
/// exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move<X> {
    /// Give the candidate the primary's label too.
    LabelCandidate,
    /// Look at the Services' endpoints again after this time.
    AwaitOverlap(Duration),
    /// Read the roles again after this time.
    Poll(Duration),
    /// A move of the exchange.
    Exchange(X),
    /// Give the old primary the replica's label.
    UnlabelOld,
    /// Give the candidate its replica label back.
    TakeBack(Failure),
    /// The roles are exchanged and the labels say so.
    Done,
    /// It ended without exchange, and the labels are as before.
    Failed(Failure),
}

impl LabelView {
    /// What comes before the exchange; `None`: both pods get connections, or the label is another controller's.
    fn before<X>(&self, timing: &Timing) -> Option<Move<X>> {
        if !self.kept {
            return None;
        }
        if !self.to_labelled {
            return Some(Move::LabelCandidate);
        }
        match self.since_overlap {
            Some(since) if since >= timing.endpoint_sync => None,
            Some(since) => Some(Move::AwaitOverlap(timing.endpoint_sync.saturating_sub(since))),
            None if self.since_labelled >= OVERLAP_DEADLINE => Some(self.give_up(Failure::NoOverlap)),
            None => Some(Move::AwaitOverlap(OVERLAP_POLL)),
        }
    }

    /// What comes after the exchange; `None`: the labels say who is primary.
    const fn after<X>(&self) -> Option<Move<X>> {
        match (self.kept, self.from_labelled, self.to_labelled) {
            (true, true, _) => Some(Move::UnlabelOld),
            (true, false, false) => Some(Move::LabelCandidate),
            _ => None,
        }
    }

    /// The old primary is primary as before: the candidate's label goes back first, if it has one.
    const fn give_up<X>(&self, failure: Failure) -> Move<X> {
        if self.kept && self.to_labelled && failure.restores() {
            Move::TakeBack(failure)
        } else {
            Move::Failed(failure)
        }
    }

    /// The candidate has no label of the primary's yet, and is to get it.
    const fn lacks(&self) -> bool {
        self.kept && !self.to_labelled
    }
}

/// Why a switchover ended without exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The candidate did not catch up within the pause.
    NotCaughtUp,
    /// FAILOVER hung and was aborted.
    Hung,
    /// The Services never had both pods.
    NoOverlap,
    /// Somebody else holds back the clients of the primary.
    PausedByOther,
    /// The candidate was lost between demotion and promotion; the old primary was made primary again.
    CandidateLost,
    /// The candidate lacks writes that the demoted primary has; the old primary was made primary again.
    Behind,
    /// The candidate refused the role; the old primary was made primary again.
    Refused,
    /// Both say primary: nothing is touched, labels included.
    BothPrimary,
    /// The roles could not be read, or a failover by others went on, for too long: nothing more is done.
    Unclear,
    /// Right before writes were to be held back one of the two pods was being deleted, not Ready, or another one.
    PodNotFit,
    /// Right before writes were to be held back a member did not answer, or another process of it did.
    MemberSilent,
    /// Right before writes were to be held back a member that could take over used more than its `maxmemory`.
    Full,
    /// What must be true right before writes are held back could not be read in time.
    NotConfirmed,
    /// It was only to be ended, and nothing of it had been done.
    CalledOff,
    /// The Sentinel refused to fail over.
    SentinelRefused,
    /// Before any was told to fail over fewer of the Sentinels answered than a failover takes.
    SentinelsSilent,
    /// A Sentinel was told to fail over, and no other member became primary.
    NotFailedOver,
}

impl Failure {
    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotCaughtUp => {
                "the member that was to take over did not catch up in time; the old primary went on as primary"
            }
            Self::Hung => "FAILOVER hung and was aborted; the old primary went on as primary",
            Self::NoOverlap => "the Services did not show the candidate as ready within 30 s",
            Self::PausedByOther => "somebody else has paused the clients of the primary (CLIENT PAUSE)",
            Self::CandidateLost => "the candidate was lost before its promotion; the old primary is primary again",
            Self::Behind => "the candidate lacked writes that the old primary has; the old primary is primary again",
            Self::Refused => "the candidate refused the role; the old primary is primary again",
            Self::BothPrimary => "both pods say that they are primary; nothing was touched",
            Self::Unclear => {
                "the roles could not be read, or a failover by others went on, for too long; nothing more is done until that ends"
            }
            Self::PodNotFit => {
                "one of the two pods is being deleted, is not Ready or was replaced; no write was held back"
            }
            Self::MemberSilent => "a member does not answer, or its Redis has restarted; no write was held back",
            Self::Full => {
                "the member that was to take over uses more than its maxmemory by now, and would evict keys or refuse writes; no \
                 write was held back"
            }
            Self::NotConfirmed => "pods and endpoints could not be read in time; no write was held back",
            Self::SentinelRefused => "the Sentinel refused to fail over; the primary goes on",
            Self::SentinelsSilent => {
                "the Sentinels fell silent before one of them was told to fail over; the primary goes on"
            }
            Self::NotFailedOver => "no other member became primary, and no failover goes on; the primary goes on",
            Self::CalledOff => "it was called off; the old primary is primary",
        }
    }

    /// Whether the old primary is primary as before, so that the candidate's label goes back, and nothing that was sent
    /// for the switchover can still change that.
    pub const fn restores(self) -> bool {
        !matches!(self, Self::BothPrimary | Self::Unclear)
    }
}
