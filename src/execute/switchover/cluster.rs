//! The surroundings of a switchover in a cluster: the fence, credentials, role labels and endpoints.

use std::time::Duration;

use super::Surroundings;
use crate::{
    domain::policy::Policy,
    execute::{
        ExecuteError, Executor,
        crash::{self, Place},
    },
    kube_io::{
        fence::Fenced,
        write::{PodTarget, WriteError},
    },
    observe::pods,
    plan::effect::{Peer, SwitchoverOrder},
    redis_io::Connection,
};

/// A label patch that met another writer is tried again so often.
const LABEL_ATTEMPTS: u32 = 8;
/// A label patch that was not confirmed is tried again for so long; then the whole step is looked at anew.
const LABEL_PATIENCE: Duration = Duration::from_secs(10);
/// Pause after the first such patch; the later ones are up to four times as long.
const LABEL_PAUSE: Duration = Duration::from_millis(250);

pub(super) struct Cluster<'a> {
    pub(super) executor: &'a Executor,
    pub(super) policy: &'a Policy,
    pub(super) order: &'a SwitchoverOrder,
}

impl Cluster<'_> {
    async fn live_pod(&self, peer: &Peer) -> Result<Option<k8s_openapi::api::core::v1::Pod>, ExecuteError> {
        let pod = self.executor.reader.pod(&self.policy.namespace, &peer.pod).await;
        let pod = pod.map_err(|error| ExecuteError::Read { what: "a pod", message: error.to_string() })?;
        Ok(pod.filter(|pod| pod.metadata.uid.as_deref() == Some(peer.uid.as_str())))
    }

    async fn try_role(&self, peer: &Peer, primary: bool) -> Result<(), ExecuteError> {
        let label = &self.order.role_label;
        let value = if primary { &label.primary } else { &label.replica };
        let Some(pod) = self.live_pod(peer).await? else {
            return Ok(());
        };
        let version = pod.metadata.resource_version.unwrap_or_default();
        let target = PodTarget {
            namespace: &self.policy.namespace,
            name: &peer.pod,
            uid: &peer.uid,
            resource_version: &version,
        };
        let set = self.executor.writer.set_label(&self.executor.fence, target, &label.key, Some(value)).await;
        set.map(|_| ()).map_err(|source| ExecuteError::Write { what: "labelling", source })
    }
}

impl Surroundings for Cluster<'_> {
    fn may_change(&self) -> Result<(), Fenced> {
        self.executor.fence.check()
    }

    async fn connect(&self, peer: &Peer) -> Result<Connection, ExecuteError> {
        self.executor.connect(self.policy, peer).await
    }

    async fn labelled(&self, peer: &Peer) -> Result<bool, ExecuteError> {
        let label = &self.order.role_label;
        let value = self.live_pod(peer).await?.and_then(|pod| pod.metadata.labels?.get(&label.key).cloned());
        Ok(value.as_ref() == Some(&label.primary))
    }

    /// Sets the role label on exactly that pod: again when another writer (the kubelet's status) came between, and for a
    /// while when the API server does not confirm it. Clients are waiting for the label, and to set it twice is no harm.
    /// Where another controller keeps the label, nothing is patched whatever is asked.
    async fn set_role(&self, peer: &Peer, primary: bool) -> Result<(), ExecuteError> {
        if !self.order.keeps_labels {
            return Ok(());
        }
        let begun = self.executor.clock.uptime();
        let mut attempt = 0;
        loop {
            let Err(failure) = self.try_role(peer, primary).await else {
                return Ok(());
            };
            attempt += 1;
            let patient = self.executor.clock.uptime().saturating_sub(begun) < LABEL_PATIENCE;
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

    /// What cannot be read is not so yet: the wait has a bound.
    async fn overlapping(&self) -> bool {
        let order = self.order;
        for service in &order.services {
            let ready = match self.executor.reader.endpoint_slices(&self.policy.namespace, service).await {
                Ok(slices) => pods::ready_pods(&slices),
                Err(error) => {
                    tracing::debug!(namespace = self.policy.namespace, service, %error, "its endpoints cannot be read yet");
                    return false;
                }
            };
            if !ready.contains(&order.from.uid) || !ready.contains(&order.to.uid) {
                return false;
            }
        }
        !order.services.is_empty()
    }

    async fn fit(&self, peer: &Peer) -> Option<bool> {
        let pod = self.live_pod(peer).await.ok()?;
        Some(pod.is_some_and(|pod| pods::stays(&pod)))
    }

    async fn exists(&self, peer: &Peer) -> Option<bool> {
        self.live_pod(peer).await.ok().map(|pod| pod.is_some())
    }

    async fn reached(&self, boundary: Place) {
        crash::at(boundary);
    }
}
