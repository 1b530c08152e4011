//! The role labels during a switchover, and the pods and endpoints that follow them.

use std::time::Duration;

use super::Conduct;
use crate::{
    execute::{ExecuteError, ports::Ports},
    kube_io::write::{PodTarget, WriteError},
    observe::pods,
    plan::effect::Peer,
};

/// Attempts of a label patch that met another writer.
const LABEL_ATTEMPTS: u32 = 8;
/// How long a label patch that was not confirmed is tried again; then the whole step is looked at anew.
const LABEL_PATIENCE: Duration = Duration::from_secs(10);
/// Pause after the first such patch; the later ones are up to four times as long.
const LABEL_PAUSE: Duration = Duration::from_millis(250);

impl<P: Ports> Conduct<'_, P> {
    async fn try_role(&self, peer: &Peer, primary: bool) -> Result<(), ExecuteError> {
        let label = &self.order.role_label;
        let value = if primary { &label.primary } else { &label.replica };
        let Some(pod) = self.eyes.live_pod(peer).await? else {
            return Ok(());
        };
        let version = pod.metadata.resource_version.unwrap_or_default();
        let target = PodTarget {
            namespace: &self.eyes.policy.namespace,
            name: &peer.pod,
            uid: &peer.uid,
            resource_version: &version,
        };
        let set = self.eyes.ports.set_label(target, &label.key, value).await;
        set.map_err(|source| ExecuteError::Write { what: "labelling", source })
    }

    /// Whether the pod carries the primary's label now.
    pub(super) async fn labelled(&self, peer: &Peer) -> Result<bool, ExecuteError> {
        let label = &self.order.role_label;
        let value = self.eyes.live_pod(peer).await?.and_then(|pod| pod.metadata.labels?.get(&label.key).cloned());
        Ok(value.as_ref() == Some(&label.primary))
    }

    /// Sets the role label on exactly that pod: again when another writer (the kubelet's status) came between, and for a
    /// while when the API server does not confirm it. Clients are waiting for the label, and to set it twice is no harm.
    /// Where another controller keeps the label, nothing is patched whatever is asked.
    pub(super) async fn set_role(&self, peer: &Peer, primary: bool) -> Result<(), ExecuteError> {
        if !self.order.keeps_labels {
            return Ok(());
        }
        let begun = self.eyes.ports.uptime();
        let mut attempt = 0;
        loop {
            let Err(failure) = self.try_role(peer, primary).await else {
                return Ok(());
            };
            attempt += 1;
            let patient = self.eyes.ports.uptime().saturating_sub(begun) < LABEL_PATIENCE;
            match &failure {
                ExecuteError::Write { source: WriteError::Conflict(_), .. } if attempt < LABEL_ATTEMPTS => {}
                ExecuteError::Write { source: WriteError::Unconfirmed(_), .. } | ExecuteError::Read { .. }
                    if patient =>
                {
                    self.eyes.ports.sleep(LABEL_PAUSE.saturating_mul(attempt.min(4))).await;
                }
                _ => return Err(failure),
            }
        }
    }

    /// Whether every Service that clients follow has both pods behind ready endpoints. What cannot be read is not so yet:
    /// the wait has a bound.
    pub(super) async fn overlapping(&self) -> bool {
        let (order, namespace) = (self.order, &self.eyes.policy.namespace);
        for service in &order.services {
            let ready = match self.eyes.ports.endpoint_slices(namespace, service).await {
                Ok(slices) => pods::ready_pods(&slices),
                Err(error) => {
                    tracing::debug!(namespace, service, %error, "its endpoints cannot be read yet");
                    return false;
                }
            };
            if !ready.contains(&order.from.uid) || !ready.contains(&order.to.uid) {
                return false;
            }
        }
        !order.services.is_empty()
    }
}
