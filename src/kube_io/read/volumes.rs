//! What is behind PersistentVolumeClaims: their volumes, and the nodes. An optional right of the chart.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus, PersistentVolume, PersistentVolumeClaim};
use kube::{Api, api::ListParams};

use super::{Cause, MAX_PAGES, PAGE, READ_TIMEOUT, Reader, rights, within};

/// What was read is forgotten after this time.
const KEPT: Duration = Duration::from_secs(600);

/// Claims that exist with their volumes, and every node as far as it is read here.
#[derive(Debug)]
pub struct Behind {
    /// A claim, and its volume if it has one that exists.
    pub claims: Vec<(PersistentVolumeClaim, Option<PersistentVolume>)>,
    /// The nodes of the cluster: names, labels, `unschedulable`, conditions.
    pub nodes: Vec<Node>,
}

/// What came of reading them.
#[derive(Clone, Debug)]
pub enum VolumesRead {
    /// The right is not granted.
    Denied,
    /// No answer, or another refusal; the text says which.
    Failed(String),
    /// Read.
    Read(Arc<Behind>),
}

impl Reader {
    /// What is behind the claims of those names, no older than that. That the right is missing is believed for a minute.
    pub async fn volumes(&self, namespace: &str, claims: &[String], age: Duration) -> VolumesRead {
        let now = self.clock.uptime();
        let key = (namespace.to_owned(), claims.to_vec());
        if let Some((read, at)) = self.with_memory(|memory| memory.volumes.get(&key).cloned())
            && now.saturating_sub(at) < if matches!(read, VolumesRead::Denied) { rights::BELIEVED } else { age }
        {
            return read;
        }
        let read = match self.behind(namespace, claims).await {
            Ok(behind) => VolumesRead::Read(Arc::new(behind)),
            Err(Cause::Forbidden(text)) => {
                tracing::info!(namespace, text, "what is behind the claims may not be read");
                VolumesRead::Denied
            }
            Err(cause) => {
                tracing::warn!(namespace, %cause, "cannot read what is behind the claims");
                VolumesRead::Failed(cause.to_string())
            }
        };
        self.with_memory(|memory| {
            memory.volumes.retain(|_, (_, at)| now.saturating_sub(*at) < KEPT);
            memory.volumes.insert(key, (read.clone(), now));
        });
        read
    }

    async fn behind(&self, namespace: &str, names: &[String]) -> Result<Behind, Cause> {
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let mut claims = Vec::new();
        for name in names {
            let Some(claim) = self.get::<PersistentVolumeClaim>(namespace, name).await? else { continue };
            let bound = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone()).filter(|name| !name.is_empty());
            let volume = match bound {
                Some(name) => within(READ_TIMEOUT, volumes.get_opt(&name)).await?,
                None => None,
            };
            claims.push((claim, volume));
        }
        Ok(Behind { claims, nodes: self.nodes().await? })
    }

    /// Every node, page by page, without what is not read (the images that a node holds are most of it).
    async fn nodes(&self) -> Result<Vec<Node>, Cause> {
        let api: Api<Node> = Api::all(self.client.clone());
        let mut params = ListParams::default().limit(PAGE);
        let mut nodes = Vec::new();
        for _ in 0..MAX_PAGES {
            let page = within(READ_TIMEOUT, api.list(&params)).await?;
            nodes.extend(page.items.into_iter().map(pruned));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(nodes),
            }
        }
        Err(Cause::Refused { code: 413, message: format!("more than {} nodes", nodes.len()) })
    }
}

fn pruned(mut node: Node) -> Node {
    node.metadata.managed_fields = None;
    node.metadata.annotations = None;
    let unschedulable = node.spec.and_then(|spec| spec.unschedulable);
    let conditions = node.status.and_then(|status| status.conditions);
    Node {
        metadata: node.metadata,
        spec: Some(NodeSpec { unschedulable, ..NodeSpec::default() }),
        status: Some(NodeStatus { conditions, ..NodeStatus::default() }),
    }
}
