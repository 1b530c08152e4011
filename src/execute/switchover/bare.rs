//! Servers alone: a switchover without Kubernetes. For tests and measurements.

use std::{net::IpAddr, sync::Arc};

use futures::future::BoxFuture;
use k8s_openapi::{
    api::{
        core::v1::{Pod, PodCondition, PodStatus},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    clock::{Clock, Clocked},
    domain::{
        bytes::Bytes,
        names::{PodName, PodUid},
        policy::{Policy, RoleLabel},
    },
    execute::{
        ExecuteError,
        crash::Boundary,
        live,
        ports::{Cluster, Ports, Redis},
    },
    kube_io::{
        error::KubeError,
        fence::Fenced,
        write::{EvictError, PodTarget, WriteError},
    },
    plan::effect::{Peer, SentinelPeer},
    redis_io::{Connection, Credentials},
};

/// Called at each boundary; the switchover goes on when it is done.
pub type Hook = Arc<dyn Fn(Boundary) -> BoxFuture<'static, ()> + Send + Sync>;

/// Servers that all take these credentials; no Services, no lease. Every pod exists for ever and is well; nothing is
/// written to any.
#[derive(Clone)]
pub struct Bare {
    /// What every server takes; `None`: no AUTH is sent.
    pub credentials: Option<Credentials>,
    /// What every Sentinel takes; `None`: no AUTH is sent.
    pub sentinels: Option<Credentials>,
    /// The clock.
    pub clock: Clock,
    /// Every pod carries this label with the primary's value, as where another controller keeps it and has not moved it.
    pub label: RoleLabel,
    /// What happens at the boundaries; `None`: nothing.
    pub hook: Option<Hook>,
}

impl Bare {
    /// Servers that take everybody.
    pub const fn new(clock: Clock, label: RoleLabel) -> Self {
        Self { credentials: None, sentinels: None, clock, label, hook: None }
    }
}

impl Clocked for Bare {
    fn clock(&self) -> &Clock {
        &self.clock
    }
}

impl Cluster for Bare {
    fn may_change(&self) -> Result<(), Fenced> {
        Ok(())
    }

    async fn live_pod(&self, _namespace: &str, name: &PodName, uid: &PodUid) -> Result<Option<Pod>, KubeError> {
        let ready = PodCondition { type_: "Ready".into(), status: "True".into(), ..PodCondition::default() };
        Ok(Some(Pod {
            metadata: ObjectMeta {
                name: Some(name.to_string()),
                uid: Some(uid.to_string()),
                labels: Some([(self.label.key.clone(), self.label.primary.clone())].into()),
                ..ObjectMeta::default()
            },
            status: Some(PodStatus { conditions: Some(vec![ready]), ..PodStatus::default() }),
            ..Pod::default()
        }))
    }

    async fn endpoint_slices(&self, _namespace: &str, _service: &str) -> Result<Vec<EndpointSlice>, KubeError> {
        Ok(Vec::new())
    }

    async fn evict(&self, _namespace: &str, _name: &PodName, _uid: &PodUid) -> Result<(), EvictError> {
        Err(EvictError::Gone)
    }

    async fn resize(
        &self,
        _pod: PodTarget<'_>,
        _container: &str,
        _limit: Bytes,
        _request: Option<Bytes>,
    ) -> Result<(), WriteError> {
        Err(WriteError::Gone("there are no pods".into()))
    }

    async fn set_label(&self, _pod: PodTarget<'_>, _key: &str, _value: &str) -> Result<(), WriteError> {
        Err(WriteError::Gone("there are no pods".into()))
    }
}

impl Redis for Bare {
    type Server = Connection;
    type Sentinel = Connection;

    async fn connect_sentinel(&self, _policy: &Policy, peer: &SentinelPeer) -> Result<Connection, ExecuteError> {
        live::open_sentinel(peer, self.sentinels.as_ref()).await
    }

    async fn connect(&self, _policy: &Policy, peer: &Peer) -> Result<Connection, ExecuteError> {
        live::open(peer, self.credentials.as_ref()).await
    }

    async fn resolve(&self, name: &str, port: u16) -> Vec<IpAddr> {
        live::look_up(name, port).await
    }
}

impl Ports for Bare {
    async fn reached(&self, boundary: Boundary) {
        if let Some(hook) = &self.hook {
            hook(boundary).await;
        }
    }
}
