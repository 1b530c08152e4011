//! Drives a switchover: reads roles, labels and endpoints, and carries out the moves that the state machines of
//! [`plan::switchover`](crate::plan::switchover) decide. One call is one journaled step.
//!
//! Everything that it reaches is behind [`Ports`]; [`bare`] has servers and nothing else, so that the same driver can be
//! tested and measured on servers alone.

pub use sentinel::{FailedOver, fail_over};

pub mod bare;
mod guarded;
mod labels;
mod last_look;
mod native;
mod sentinel;
mod watched;

use std::time::Duration;

use super::{Done, ExecuteError, Executor, Fallback, crash::Place, ports::Ports};
use crate::{
    domain::{policy::Policy, switchover::SwitchoverMethod},
    plan::{
        effect::{FailoverOrder, SwitchoverOrder},
        switchover::{Failure, LabelView, Move, Timing},
    },
};
use watched::{Eyes, Watched};

/// The role was handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedOver {
    /// By this method.
    pub method: SwitchoverMethod,
    /// How long writes were held back, as seen from here; `None` when the roles were found exchanged.
    pub paused: Option<Duration>,
    /// Who was told to follow the new primary by an address, because its name did not resolve.
    pub fallbacks: Vec<Fallback>,
}

/// One switchover under way.
pub(super) struct Conduct<'a, P> {
    eyes: Eyes<'a, P>,
    pub(super) order: &'a SwitchoverOrder,
    pub(super) timing: Timing,
    pub(super) labels: Labels,
}

/// What became of a move.
pub(super) enum Framed<X> {
    /// Nothing was done: look again.
    Waited,
    /// A label was moved, or endpoints were looked at.
    Moved,
    /// It belongs to the exchange: the method's own.
    Exchange(X),
    /// The roles are exchanged and the labels say so.
    Done,
}

/// What is known of the labels. Times are uptimes of the process.
pub(super) struct Labels {
    kept: bool,
    from_labelled: bool,
    to_labelled: bool,
    labelled_at: Duration,
    overlap_at: Option<Duration>,
}

/// Hands the primary role over as ordered. Cancelling it (dropping the future) leaves at most a pause that the server
/// ends by itself; the caller that comes again with `resumed` set and the same two processes goes on from there.
pub async fn hand_over<P: Ports>(
    ports: &P,
    policy: &Policy,
    order: &SwitchoverOrder,
    endpoint_sync: Duration,
) -> Result<HandedOver, ExecuteError> {
    let labels = Labels {
        kept: order.keeps_labels,
        from_labelled: false,
        to_labelled: false,
        labelled_at: ports.uptime(),
        overlap_at: None,
    };
    let timing = Timing { pause: order.pause, endpoint_sync };
    let mut conduct = Conduct { eyes: Eyes { ports, policy }, order, timing, labels };
    conduct.labels.from_labelled = conduct.labelled(&order.from).await?;
    conduct.labels.to_labelled = conduct.labelled(&order.to).await?;
    conduct.labels.labelled_at = ports.uptime();
    let mut from = Watched::new(&order.from, false);
    let mut to = Watched::new(&order.to, order.to_gone);
    match order.method {
        SwitchoverMethod::Guarded => conduct.guarded(&mut from, &mut to).await,
        // No order of this kind is made for a Sentinel's: it has an effect of its own.
        SwitchoverMethod::Native | SwitchoverMethod::Sentinel => conduct.native(&mut from, &mut to).await,
    }
}

impl<P: Ports> Conduct<'_, P> {
    fn label_view(&self) -> LabelView {
        let now = self.eyes.ports.uptime();
        LabelView {
            kept: self.labels.kept,
            to_labelled: self.labels.to_labelled,
            from_labelled: self.labels.from_labelled,
            since_labelled: now.saturating_sub(self.labels.labelled_at),
            since_overlap: self.labels.overlap_at.map(|at| now.saturating_sub(at)),
        }
    }

    async fn label_candidate(&mut self) -> Result<(), ExecuteError> {
        self.set_role(&self.order.to, true).await?;
        self.labels.to_labelled = true;
        self.labels.labelled_at = self.eyes.ports.uptime();
        self.eyes.ports.reached(Place::CandidateLabelled.into()).await;
        Ok(())
    }

    async fn await_overlap(&mut self, after: Duration) -> Result<(), ExecuteError> {
        let before = self.labels.overlap_at;
        self.look_at_overlap().await;
        if before.is_some() || self.labels.overlap_at.is_none() {
            self.eyes.ports.sleep(after.min(Duration::from_millis(200))).await;
        }
        Ok(())
    }

    /// Until the exchange: endpoints that have come may go again.
    async fn look_at_overlap(&mut self) {
        let overlapping = self.overlapping().await;
        self.labels.overlap_at =
            if overlapping { self.labels.overlap_at.or_else(|| Some(self.eyes.ports.uptime())) } else { None };
    }

    /// The last look. False: the obstacle says what is in the way, or the Services no longer have both pods.
    async fn confirm(&mut self, obstacle: &mut Option<Failure>) -> bool {
        let (eyes, order) = (&self.eyes, self.order);
        let overlapping = async { !self.labels.kept || self.overlapping().await };
        let others = order.others.iter().map(|(peer, _)| peer);
        let (found, overlapping) = eyes.last_look(&order.from, &[&order.to], others, overlapping).await;
        *obstacle = found;
        if overlapping == Some(false) {
            self.labels.overlap_at = None;
        }
        found.is_none() && overlapping == Some(true)
    }

    /// Carries a move of the frame out, and leaves one of the exchange to its method. `paused`: how long writes have been
    /// held back so far.
    pub(super) async fn frame<X>(
        &mut self,
        next: Move<X>,
        paused: Option<Duration>,
    ) -> Result<Framed<X>, ExecuteError> {
        match next {
            Move::Poll(after) => {
                self.eyes.ports.sleep(after).await;
                return Ok(Framed::Waited);
            }
            Move::LabelCandidate => self.label_candidate().await?,
            Move::AwaitOverlap(after) => self.await_overlap(after).await?,
            Move::UnlabelOld => self.unlabel_old().await?,
            Move::Exchange(exchange) => return Ok(Framed::Exchange(exchange)),
            Move::TakeBack(failure) => return Err(self.take_back(failure, paused).await),
            Move::Failed(failure) => return Err(ExecuteError::Switchover { failure, paused }),
            Move::Done => {
                self.eyes.ports.reached(Place::SwitchoverDone.into()).await;
                return Ok(Framed::Done);
            }
        }
        Ok(Framed::Moved)
    }

    async fn unlabel_old(&mut self) -> Result<(), ExecuteError> {
        self.eyes.ports.reached(Place::Exchanged.into()).await;
        self.set_role(&self.order.from, false).await?;
        self.labels.from_labelled = false;
        self.eyes.ports.reached(Place::OldUnlabelled.into()).await;
        Ok(())
    }

    /// Gives the candidate its replica label back, and says why it came to that.
    async fn take_back(&mut self, failure: Failure, paused: Option<Duration>) -> ExecuteError {
        match self.set_role(&self.order.to, false).await {
            Ok(()) => ExecuteError::Switchover { failure, paused },
            Err(error) => error,
        }
    }
}

impl<P: Ports> Executor<P> {
    pub(super) async fn switch_over(&self, policy: &Policy, order: &SwitchoverOrder) -> Result<Done, ExecuteError> {
        let handed_over = Box::pin(hand_over(&self.ports, policy, order, self.endpoint_sync)).await?;
        let HandedOver { method, paused, fallbacks } = handed_over;
        Ok(Done::SwitchedOver { method, paused, fallbacks })
    }

    pub(super) async fn fail_over(&self, policy: &Policy, order: &FailoverOrder) -> Result<Done, ExecuteError> {
        let FailedOver { to, paused } = Box::pin(fail_over(&self.ports, policy, order)).await?;
        Ok(Done::FailedOver { to, paused })
    }
}
