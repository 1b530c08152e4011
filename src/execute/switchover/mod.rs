//! Drives a switchover: reads roles, labels and endpoints, and carries out the moves that the state machines of
//! [`plan::switchover`](crate::plan::switchover) decide. One call is one journaled step.
//!
//! What a switchover needs beside the two servers is behind [`Surroundings`]: the cluster in [`cluster`], and nothing at
//! all in [`bare`], so that the same driver can be tested and measured on servers alone.

pub mod bare;
mod cluster;
mod guarded;
mod native;
mod watched;

use std::{future::Future, time::Duration};

use super::{Done, ExecuteError, Executor, Fallback, crash::Place};
use crate::{
    clock::Clock,
    domain::{policy::Policy, switchover::SwitchoverMethod},
    kube_io::fence::Fenced,
    plan::{
        effect::{Peer, SwitchoverOrder},
        switchover::{Failure, LabelView, Limits},
    },
    redis_io::Connection,
};
use watched::Watched;

/// What a switchover needs beside the two servers.
pub trait Surroundings: Sync {
    /// Whether this process may still change anything; asked right before every command.
    fn may_change(&self) -> Result<(), Fenced>;
    /// A connection to exactly that process.
    fn connect(&self, peer: &Peer) -> impl Future<Output = Result<Connection, ExecuteError>> + Send;
    /// Whether the pod carries the primary's label now.
    fn labelled(&self, peer: &Peer) -> impl Future<Output = Result<bool, ExecuteError>> + Send;
    /// Sets the pod's role label.
    fn set_role(&self, peer: &Peer, primary: bool) -> impl Future<Output = Result<(), ExecuteError>> + Send;
    /// Whether every Service that clients follow has both pods behind ready endpoints.
    fn overlapping(&self) -> impl Future<Output = bool> + Send;
    /// Whether the pod of that UID exists, is Ready and is not being deleted; `None`: could not be told.
    fn fit(&self, peer: &Peer) -> impl Future<Output = Option<bool>> + Send;
    /// Whether the pod of that UID still exists; `None`: could not be told.
    fn exists(&self, peer: &Peer) -> impl Future<Output = Option<bool>> + Send;
    /// A boundary between two effects was reached: where a test may end the process, or this future.
    fn reached(&self, boundary: Place) -> impl Future<Output = ()> + Send;
}

/// Everything that is looked at once more right before writes are held back, all at once.
const CONFIRM_DEADLINE: Duration = Duration::from_secs(3);
/// A member that does not answer within this time does not answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(1);

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
pub(super) struct Conduct<'a, S> {
    pub(super) around: &'a S,
    pub(super) order: &'a SwitchoverOrder,
    pub(super) clock: Clock,
    pub(super) limits: Limits,
    pub(super) labels: Labels,
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
/// ends by itself; whoever calls again with `resumed` set and the same two processes goes on from there.
pub async fn hand_over<S: Surroundings>(
    around: &S,
    order: &SwitchoverOrder,
    clock: Clock,
    endpoint_sync: Duration,
) -> Result<HandedOver, ExecuteError> {
    let labels = Labels {
        kept: order.keeps_labels,
        from_labelled: around.labelled(&order.from).await?,
        to_labelled: around.labelled(&order.to).await?,
        labelled_at: clock.uptime(),
        overlap_at: None,
    };
    let limits = Limits { pause: order.pause, endpoint_sync };
    let mut conduct = Conduct { around, order, clock, limits, labels };
    let mut from = Watched::new(&order.from, false);
    let mut to = Watched::new(&order.to, order.to_gone);
    match order.method {
        SwitchoverMethod::Guarded => conduct.guarded(&mut from, &mut to).await,
        SwitchoverMethod::Native => conduct.native(&mut from, &mut to).await,
    }
}

impl<S: Surroundings> Conduct<'_, S> {
    fn label_view(&self) -> LabelView {
        let now = self.clock.uptime();
        LabelView {
            kept: self.labels.kept,
            to_labelled: self.labels.to_labelled,
            from_labelled: self.labels.from_labelled,
            since_labelled: now.saturating_sub(self.labels.labelled_at),
            since_overlap: self.labels.overlap_at.map(|at| now.saturating_sub(at)),
        }
    }

    async fn label_candidate(&mut self) -> Result<(), ExecuteError> {
        self.around.set_role(&self.order.to, true).await?;
        self.labels.to_labelled = true;
        self.labels.labelled_at = self.clock.uptime();
        self.around.reached(Place::CandidateLabelled).await;
        Ok(())
    }

    async fn await_overlap(&mut self, after: Duration) -> Result<(), ExecuteError> {
        let before = self.labels.overlap_at;
        self.look_at_overlap().await;
        if before.is_some() || self.labels.overlap_at.is_none() {
            tokio::time::sleep(after.min(Duration::from_millis(200))).await;
        }
        Ok(())
    }

    /// Until the exchange: endpoints that have come may go again.
    async fn look_at_overlap(&mut self) {
        let overlapping = self.around.overlapping().await;
        self.labels.overlap_at =
            if overlapping { self.labels.overlap_at.or_else(|| Some(self.clock.uptime())) } else { None };
    }

    /// Looks once more at everything that must be true, right before writes are held back: nobody waits for us yet.
    /// False: it is not, and the obstacle says what, or the Services no longer have both pods.
    async fn confirm(&mut self, obstacle: &mut Option<Failure>) -> bool {
        let (around, order) = (self.around, self.order);
        let overlapping = async { !self.labels.kept || around.overlapping().await };
        let members = futures::future::join_all(order.others.iter().map(|(peer, _)| async move {
            tokio::time::timeout(ANSWER_DEADLINE, around.connect(peer)).await.is_ok_and(|answer| answer.is_ok())
        }));
        let look = async { tokio::join!(around.fit(&order.from), around.fit(&order.to), members, overlapping) };
        let Ok((from, to, members, overlapping)) = tokio::time::timeout(CONFIRM_DEADLINE, look).await else {
            *obstacle = Some(Failure::NotConfirmed);
            return false;
        };
        *obstacle = match (from, to) {
            (Some(false), _) | (_, Some(false)) => Some(Failure::PodNotFit),
            (None, _) | (_, None) => Some(Failure::NotConfirmed),
            _ if members.contains(&false) => Some(Failure::MemberSilent),
            _ => None,
        };
        if !overlapping {
            self.labels.overlap_at = None;
        }
        obstacle.is_none() && overlapping
    }

    async fn unlabel_old(&mut self) -> Result<(), ExecuteError> {
        self.around.reached(Place::Exchanged).await;
        self.around.set_role(&self.order.from, false).await?;
        self.labels.from_labelled = false;
        self.around.reached(Place::OldUnlabelled).await;
        Ok(())
    }

    /// Gives the candidate its replica label back, and says why it came to that.
    async fn take_back(&mut self, failure: Failure, paused: Option<Duration>) -> ExecuteError {
        match self.around.set_role(&self.order.to, false).await {
            Ok(()) => ExecuteError::Switchover { failure, paused },
            Err(error) => error,
        }
    }
}

impl Executor {
    pub(super) async fn switch_over(&self, policy: &Policy, order: &SwitchoverOrder) -> Result<Done, ExecuteError> {
        let cluster = cluster::Cluster { executor: self, policy, order };
        let HandedOver { method, paused, fallbacks } =
            Box::pin(hand_over(&cluster, order, self.clock, self.endpoint_sync)).await?;
        Ok(Done::SwitchedOver { method, paused, fallbacks })
    }
}
