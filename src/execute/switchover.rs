//! Drives the Native switchover: reads roles, labels and endpoints, and carries out the moves that
//! [`plan::switchover::next`](crate::plan::switchover::next) decides.
//!
//! One call is one journaled step. It holds two connections, so that from FAILOVER to the moved label nothing has to
//! be opened, and makes no Kubernetes call between demote and promote.

use std::time::Duration;

use super::{Done, ExecuteError, Executor, crash, redis::redis};
use crate::{
    domain::{
        names::PodUid,
        pod::RoleService,
        policy::RoleLabel,
        sample::{FailoverState, Replication, Role},
    },
    kube_io::write::{PodTarget, WriteError},
    observe::pods,
    plan::{
        effect::{Peer, SwitchoverOrder},
        switchover::{self, Limits, Move, SeenRole, View},
    },
    redis_io::Connection,
};

/// One reading of `INFO replication`.
const READ_DEADLINE: Duration = Duration::from_millis(500);
/// A label patch that met another writer is tried again so often.
const LABEL_ATTEMPTS: u32 = 8;
/// A label patch that was not confirmed is tried again for so long; then the whole step is looked at anew.
const LABEL_PATIENCE: Duration = Duration::from_secs(10);
/// Pause after the first such patch; the later ones are up to four times as long.
const LABEL_PAUSE: Duration = Duration::from_millis(250);

/// A peer and the connection that is kept to it.
struct Watched<'a> {
    peer: &'a Peer,
    connection: Option<Connection>,
}

impl Watched<'_> {
    /// Its replication state, or `None` when it does not answer as the process that it was.
    async fn read(&mut self, executor: &Executor, namespace: &str) -> Option<Replication> {
        if self.connection.is_none() {
            self.connection = executor.connect(namespace, self.peer).await.ok();
        }
        let reply = self.connection.as_mut()?.replication(READ_DEADLINE).await;
        if reply.is_err() {
            self.connection = None;
        }
        reply.ok()
    }
}

/// What the driver remembers between looks. Times are uptimes of the process.
struct Progress {
    from_labelled: bool,
    to_labelled: bool,
    labelled_at: Duration,
    overlap_at: Option<Duration>,
    failover_at: Option<Duration>,
    failover_took: Option<Duration>,
    sent: bool,
    aborted: bool,
}

impl Executor {
    pub(super) async fn switch_over(&self, namespace: &str, order: &SwitchoverOrder) -> Result<Done, ExecuteError> {
        let limits = Limits { failover_timeout: order.failover_timeout, endpoint_sync: self.endpoint_sync };
        let mut from = Watched { peer: &order.from, connection: None };
        let mut to = Watched { peer: &order.to, connection: None };
        let mut progress = Progress {
            from_labelled: self.labelled(namespace, &order.from, order).await?,
            to_labelled: self.labelled(namespace, &order.to, order).await?,
            labelled_at: self.clock.uptime(),
            overlap_at: None,
            failover_at: None,
            failover_took: None,
            sent: false,
            aborted: false,
        };
        loop {
            let view = self.look(namespace, &mut from, &mut to, &mut progress, &limits).await;
            match switchover::next(&view, &limits) {
                Move::LabelCandidate => {
                    self.set_role(namespace, &order.to, order, true).await?;
                    progress.to_labelled = true;
                    progress.labelled_at = self.clock.uptime();
                    crash::at(crash::Place::CandidateLabelled);
                }
                Move::AwaitOverlap(after) => {
                    if progress.overlap_at.is_none() && self.overlapping(namespace, order).await {
                        progress.overlap_at = Some(self.clock.uptime());
                    } else {
                        tokio::time::sleep(after.min(Duration::from_millis(200))).await;
                    }
                }
                Move::Send => self.send_failover(&mut from, order, &mut progress).await?,
                Move::Poll(after) => tokio::time::sleep(after).await,
                Move::Abort => self.abort(&mut from, &mut progress).await?,
                Move::UnlabelOld => {
                    crash::at(crash::Place::Exchanged);
                    self.set_role(namespace, &order.from, order, false).await?;
                    progress.from_labelled = false;
                    crash::at(crash::Place::OldUnlabelled);
                }
                Move::TakeBack(failure) => {
                    self.set_role(namespace, &order.to, order, false).await?;
                    return Err(ExecuteError::Switchover(failure));
                }
                Move::Failed(failure) => return Err(ExecuteError::Switchover(failure)),
                Move::Done => {
                    crash::at(crash::Place::SwitchoverDone);
                    return Ok(Done::SwitchedOver { failover: progress.failover_took });
                }
            }
        }
    }

    /// Reads both roles at the same time and updates what follows from them.
    async fn look(
        &self,
        namespace: &str,
        from: &mut Watched<'_>,
        to: &mut Watched<'_>,
        progress: &mut Progress,
        limits: &Limits,
    ) -> View {
        let (old, new) = tokio::join!(from.read(self, namespace), to.read(self, namespace));
        let now = self.clock.uptime();
        let failover = old.as_ref().map_or(FailoverState::None, |old| old.failover_state);
        if failover != FailoverState::None {
            progress.failover_at.get_or_insert(now);
        }
        let running = progress.failover_at.map(|at| now.saturating_sub(at));
        let exchanged = failover == FailoverState::None
            && matches!(role(new.as_ref()), SeenRole::Primary)
            && matches!(role(old.as_ref()), SeenRole::Replica);
        if exchanged && progress.sent && progress.failover_took.is_none() {
            progress.failover_took = running;
        }
        let overdue = running.unwrap_or_default() >= limits.failover_timeout + switchover::WATCHDOG_MARGIN;
        View {
            from: self.role_or_gone(namespace, from.peer, old.as_ref(), overdue).await,
            to: self.role_or_gone(namespace, to.peer, new.as_ref(), overdue).await,
            failover,
            to_labelled: progress.to_labelled,
            from_labelled: progress.from_labelled,
            since_labelled: now.saturating_sub(progress.labelled_at),
            since_overlap: progress.overlap_at.map(|at| now.saturating_sub(at)),
            since_failover: running,
            aborted: progress.aborted,
        }
    }

    /// The role that was read. Only a silence that has outlasted the watchdog is taken to the API server: whether the
    /// pod still exists.
    async fn role_or_gone(&self, namespace: &str, peer: &Peer, seen: Option<&Replication>, overdue: bool) -> SeenRole {
        let seen = role(seen);
        if seen != SeenRole::Unknown || !overdue {
            return seen;
        }
        match self.reader.pod(namespace, &peer.pod).await {
            Ok(Some(pod)) if pod.metadata.uid.as_deref() == Some(peer.uid.as_str()) => SeenRole::Unknown,
            Ok(_) => SeenRole::Gone,
            Err(_) => SeenRole::Unknown,
        }
    }

    async fn send_failover(
        &self,
        from: &mut Watched<'_>,
        order: &SwitchoverOrder,
        progress: &mut Progress,
    ) -> Result<(), ExecuteError> {
        crash::at(crash::Place::AfterOverlap);
        let (Some(connection), Some(address)) = (from.connection.as_mut(), order.failover_address.as_ref()) else {
            return Err(ExecuteError::Read {
                what: "the roles",
                message: format!("{} does not list {} as a replica", order.from.pod, order.to.pod),
            });
        };
        self.fence.check()?;
        connection
            .failover_to(address, order.failover_timeout)
            .await
            .map_err(|source| redis("FAILOVER", &order.from, source))?;
        progress.sent = true;
        progress.failover_at = Some(self.clock.uptime());
        crash::at(crash::Place::AfterFailoverSent);
        Ok(())
    }

    async fn abort(&self, from: &mut Watched<'_>, progress: &mut Progress) -> Result<(), ExecuteError> {
        self.fence.check()?;
        if let Some(connection) = from.connection.as_mut() {
            connection.failover_abort().await.map_err(|source| redis("FAILOVER ABORT", from.peer, source))?;
            progress.aborted = true;
        }
        Ok(())
    }

    /// Whether the pod carries the primary's label now.
    async fn labelled(&self, namespace: &str, peer: &Peer, order: &SwitchoverOrder) -> Result<bool, ExecuteError> {
        let pod = self.live_pod(namespace, peer).await?;
        let value = pod.and_then(|pod| pod.metadata.labels?.get(&order.role_label.key).cloned());
        Ok(value.as_ref() == Some(&order.role_label.primary))
    }

    async fn live_pod(
        &self,
        namespace: &str,
        peer: &Peer,
    ) -> Result<Option<k8s_openapi::api::core::v1::Pod>, ExecuteError> {
        let pod = self.reader.pod(namespace, &peer.pod).await;
        let pod = pod.map_err(|error| ExecuteError::Read { what: "a pod", message: error.to_string() })?;
        Ok(pod.filter(|pod| pod.metadata.uid.as_deref() == Some(peer.uid.as_str())))
    }

    /// Sets the role label on exactly that pod: again when another writer (the kubelet's status) came between, and for a
    /// while when the API server does not confirm it. Clients are waiting for the label, and to set it twice is no harm.
    async fn set_role(
        &self,
        namespace: &str,
        peer: &Peer,
        order: &SwitchoverOrder,
        primary: bool,
    ) -> Result<(), ExecuteError> {
        let begun = self.clock.uptime();
        let mut attempt = 0;
        loop {
            let Err(failure) = self.try_role(namespace, peer, &order.role_label, primary).await else {
                return Ok(());
            };
            attempt += 1;
            let patient = self.clock.uptime().saturating_sub(begun) < LABEL_PATIENCE;
            match &failure {
                ExecuteError::Write { source: WriteError::Conflict(_), .. } if attempt < LABEL_ATTEMPTS => {}
                ExecuteError::Write { source: WriteError::Unconfirmed(_), .. } | ExecuteError::Read { .. }
                    if patient =>
                {
                    tokio::time::sleep(LABEL_PAUSE.saturating_mul(attempt.min(4))).await;
                }
                _ => return Err(failure),
            }
        }
    }

    async fn try_role(
        &self,
        namespace: &str,
        peer: &Peer,
        label: &RoleLabel,
        primary: bool,
    ) -> Result<(), ExecuteError> {
        let value = if primary { &label.primary } else { &label.replica };
        let Some(pod) = self.live_pod(namespace, peer).await? else {
            return Ok(());
        };
        let version = pod.metadata.resource_version.unwrap_or_default();
        let target = PodTarget { namespace, name: &peer.pod, uid: &peer.uid, resource_version: &version };
        let set = self.writer.set_label(&self.fence, target, &label.key, Some(value)).await;
        set.map(|_| ()).map_err(|source| ExecuteError::Write { what: "labelling", source })
    }

    /// Whether every Service that clients follow has both pods behind ready endpoints.
    /// What cannot be read is not so yet: the wait has a bound.
    async fn overlapping(&self, namespace: &str, order: &SwitchoverOrder) -> bool {
        let services = match self.reader.role_services(namespace, &order.role_label.key).await {
            Ok(services) => services,
            Err(error) => {
                tracing::debug!(namespace, %error, "the Services cannot be read yet");
                return false;
            }
        };
        let services: Vec<RoleService> = services
            .iter()
            .filter_map(|(service, slices)| pods::role_service(service, slices, &order.role_label))
            .filter(|service| order.services.contains(&service.name))
            .collect();
        let has = |service: &RoleService, uid: &PodUid| service.ready_pods.contains(uid);
        !services.is_empty()
            && services.iter().all(|service| has(service, &order.from.uid) && has(service, &order.to.uid))
    }
}

fn role(seen: Option<&Replication>) -> SeenRole {
    match seen.map(|replication| &replication.role) {
        Some(Role::Primary) => SeenRole::Primary,
        Some(Role::Replica(_)) => SeenRole::Replica,
        None => SeenRole::Unknown,
    }
}
