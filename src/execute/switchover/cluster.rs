//! The surroundings of a switchover in a cluster: the fence, credentials, role labels and endpoints.

use super::Surroundings;
use crate::{
    domain::{names::PodUid, pod::RoleService},
    execute::{ExecuteError, Executor, crash},
    kube_io::{
        fence::Fenced,
        write::{PodTarget, WriteError},
    },
    observe::pods,
    plan::effect::{Peer, SwitchoverOrder},
    redis_io::Connection,
};

/// A label patch that met another writer is tried again so often.
const LABEL_ATTEMPTS: usize = 8;

pub(super) struct Cluster<'a> {
    pub(super) executor: &'a Executor,
    pub(super) namespace: &'a str,
    pub(super) order: &'a SwitchoverOrder,
}

impl Cluster<'_> {
    async fn live_pod(&self, peer: &Peer) -> Result<Option<k8s_openapi::api::core::v1::Pod>, ExecuteError> {
        let pod = self.executor.reader.pod(self.namespace, &peer.pod).await;
        let pod = pod.map_err(|error| ExecuteError::Read { what: "a pod", message: error.to_string() })?;
        Ok(pod.filter(|pod| pod.metadata.uid.as_deref() == Some(peer.uid.as_str())))
    }
}

impl Surroundings for Cluster<'_> {
    fn may_change(&self) -> Result<(), Fenced> {
        self.executor.fence.check()
    }

    async fn connect(&self, peer: &Peer) -> Result<Connection, ExecuteError> {
        self.executor.connect(self.namespace, peer).await
    }

    async fn labelled(&self, peer: &Peer) -> Result<bool, ExecuteError> {
        let label = &self.order.role_label;
        let value = self.live_pod(peer).await?.and_then(|pod| pod.metadata.labels?.get(&label.key).cloned());
        Ok(value.as_ref() == Some(&label.primary))
    }

    /// Sets the role label on exactly that pod, again when another writer (the kubelet's status) came between. Where
    /// another controller keeps the label, nothing is patched whatever is asked.
    async fn set_role(&self, peer: &Peer, primary: bool) -> Result<(), ExecuteError> {
        if !self.order.keeps_labels {
            return Ok(());
        }
        let label = &self.order.role_label;
        let value = if primary { &label.primary } else { &label.replica };
        let mut last = None;
        for _ in 0..LABEL_ATTEMPTS {
            let Some(pod) = self.live_pod(peer).await? else {
                return Ok(());
            };
            let version = pod.metadata.resource_version.unwrap_or_default();
            let target =
                PodTarget { namespace: self.namespace, name: &peer.pod, uid: &peer.uid, resource_version: &version };
            match self.executor.writer.set_label(&self.executor.fence, target, &label.key, Some(value)).await {
                Ok(_) => return Ok(()),
                Err(WriteError::Conflict(text)) => last = Some(WriteError::Conflict(text)),
                Err(source) => return Err(ExecuteError::Write { what: "labelling", source }),
            }
        }
        match last {
            Some(source) => Err(ExecuteError::Write { what: "labelling", source }),
            None => Ok(()),
        }
    }

    async fn overlapping(&self) -> Result<bool, ExecuteError> {
        let order = self.order;
        let services = self.executor.reader.role_services(self.namespace, &order.role_label.key).await;
        let services =
            services.map_err(|error| ExecuteError::Read { what: "EndpointSlices", message: error.to_string() })?;
        let services: Vec<RoleService> = services
            .iter()
            .filter_map(|(service, slices)| pods::role_service(service, slices, &order.role_label))
            .filter(|service| order.services.contains(&service.name))
            .collect();
        let has = |service: &RoleService, uid: &PodUid| service.ready_pods.contains(uid);
        Ok(!services.is_empty()
            && services.iter().all(|service| has(service, &order.from.uid) && has(service, &order.to.uid)))
    }

    async fn exists(&self, peer: &Peer) -> Option<bool> {
        self.live_pod(peer).await.ok().map(|pod| pod.is_some())
    }

    async fn reached(&self, boundary: &'static str) {
        crash::at(boundary);
    }
}
