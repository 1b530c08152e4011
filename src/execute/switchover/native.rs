//! Drives the Native method. It holds two connections, so that from FAILOVER to the moved label nothing has to be
//! opened, and makes no Kubernetes call between demote and promote.

use std::time::Duration;

use super::{Conduct, Framed, HandedOver, watched::Watched};
use crate::{
    domain::{sample::FailoverState, switchover::SwitchoverMethod},
    execute::{
        ExecuteError,
        crash::Place,
        ports::{Acting as _, Ports},
        redis::redis,
    },
    plan::switchover::{
        Failure, SeenRole,
        native::{self, Exchange, View},
    },
};

/// What the driver remembers between looks. Times are uptimes of the process.
#[derive(Default)]
struct Progress {
    failover_at: Option<Duration>,
    took: Option<Duration>,
    sent: bool,
    aborted: bool,
    obstacle: Option<Failure>,
}

impl<P: Ports> Conduct<'_, P> {
    pub(super) async fn native(
        &mut self,
        from: &mut Watched<'_, P::Server>,
        to: &mut Watched<'_, P::Server>,
    ) -> Result<HandedOver, ExecuteError> {
        let mut progress = Progress::default();
        loop {
            let view = self.native_look(from, to, &mut progress).await;
            let paused = || progress.took.or_else(|| view.since_failover.filter(|_| progress.sent));
            match self.frame(native::next(&view, &self.timing), paused()).await? {
                Framed::Waited | Framed::Moved => {}
                Framed::Exchange(Exchange::Send) => self.send_failover(from, &mut progress).await?,
                Framed::Exchange(Exchange::Abort) => self.abort(from, &mut progress).await?,
                Framed::Done => {
                    let method = SwitchoverMethod::Native;
                    return Ok(HandedOver { method, paused: progress.took, fallbacks: Vec::new() });
                }
            }
        }
    }

    /// Reads both roles at the same time and updates what follows from them.
    async fn native_look(
        &self,
        from: &mut Watched<'_, P::Server>,
        to: &mut Watched<'_, P::Server>,
        progress: &mut Progress,
    ) -> View {
        let (old, new) = tokio::join!(self.eyes.read(from), self.eyes.read(to));
        let now = self.eyes.ports.uptime();
        let failover = old.as_ref().map_or(FailoverState::None, |old| old.replication.failover_state);
        if failover != FailoverState::None {
            progress.failover_at.get_or_insert(now);
        }
        let running = progress.failover_at.map(|at| now.saturating_sub(at));
        // Before FAILOVER too a candidate may go: it is not waited for as if it only did not answer.
        let waited = running.unwrap_or_else(|| self.label_view().since_labelled);
        let overdue = waited >= self.timing.pause + native::WATCHDOG_MARGIN;
        let from = self.eyes.role(from, old.as_ref(), now, overdue).await;
        let to = self.eyes.role(to, new.as_ref(), now, overdue).await;
        let exchanged = failover == FailoverState::None && to == SeenRole::Primary && from == SeenRole::Replica;
        if exchanged && progress.sent && progress.took.is_none() {
            progress.took = running;
        }
        View {
            from,
            to,
            failover,
            labels: self.label_view(),
            since_failover: running,
            aborted: progress.aborted,
            may_begin: self.order.begins,
            obstacle: progress.obstacle,
        }
    }

    async fn send_failover(
        &mut self,
        from: &mut Watched<'_, P::Server>,
        progress: &mut Progress,
    ) -> Result<(), ExecuteError> {
        self.eyes.ports.reached(Place::AfterOverlap.into()).await;
        if !self.confirm(&mut progress.obstacle).await {
            return Ok(());
        }
        let order = self.order;
        let (Some(connection), Some(address)) = (from.connection.as_mut(), order.failover_address.as_ref()) else {
            return Err(ExecuteError::Read {
                what: "the roles",
                message: format!("{} does not list {} as a replica", order.from.pod, order.to.pod),
            });
        };
        self.eyes.ports.may_change()?;
        connection.failover_to(address, order.pause).await.map_err(|source| redis("FAILOVER", &order.from, source))?;
        progress.sent = true;
        progress.failover_at = Some(self.eyes.ports.uptime());
        self.eyes.ports.reached(Place::AfterFailoverSent.into()).await;
        Ok(())
    }

    async fn abort(&self, from: &mut Watched<'_, P::Server>, progress: &mut Progress) -> Result<(), ExecuteError> {
        self.eyes.ports.may_change()?;
        if let Some(connection) = from.connection.as_mut() {
            connection.failover_abort().await.map_err(|source| redis("FAILOVER ABORT", from.peer, source))?;
            progress.aborted = true;
        }
        Ok(())
    }
}
