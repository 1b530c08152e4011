//! How much memory nodes give to pods, where that may be read: seldom, for it hardly ever changes.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use k8s_openapi::api::{authorization::v1::ResourceAttributes, core::v1::Node as KubeNode};
use kube::Api;

use super::{Cause, READ_TIMEOUT, Reader, within};
use crate::domain::{bytes::Bytes, names::NodeName, node::Node, node::Others, pod::Right, quantity};

/// What a node gives is believed for this long, and …
const BELIEVED: Duration = Duration::from_secs(600);
/// … for this long for each node that is known, so that all of them together cost three requests a minute.
const BELIEVED_EACH: Duration = Duration::from_secs(20);
/// How long an answer about the right is believed: it is given, or taken away, with the chart.
const RIGHT_BELIEVED: Duration = Duration::from_secs(600);
/// After a node could not be read, or the right not be asked for, nothing is asked for this long.
const AFTER_A_FAILURE: Duration = Duration::from_secs(60);

/// What is remembered of nodes. All times are of the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    right: Option<(Right, Duration)>,
    failed: Option<Duration>,
    /// What each gives, if it says so, and when it was read.
    known: HashMap<NodeName, (Option<Bytes>, Duration)>,
}

impl Nodes {
    fn believed(&self) -> Duration {
        BELIEVED.max(BELIEVED_EACH.saturating_mul(u32::try_from(self.known.len()).unwrap_or(u32::MAX)))
    }

    /// Whether nothing is asked now, because it lately failed.
    fn rests(&self, now: Duration) -> bool {
        self.failed.is_some_and(|failed| now.saturating_sub(failed) < AFTER_A_FAILURE)
    }

    /// Those of them that are not known, or no longer believed.
    fn unknown(&self, names: &BTreeSet<NodeName>, now: Duration) -> Vec<NodeName> {
        let believed = self.believed();
        let known =
            |name: &&NodeName| self.known.get(*name).is_some_and(|(_, read)| now.saturating_sub(*read) < believed);
        names.iter().filter(|name| !known(name)).cloned().collect()
    }

    /// What that node gives. Nodes that nobody asks about any more are forgotten.
    fn read(&mut self, name: NodeName, gives: Option<Bytes>, now: Duration) {
        let kept = self.believed().saturating_mul(3);
        self.known.retain(|_, (_, read)| now.saturating_sub(*read) < kept);
        self.known.insert(name, (gives, now));
    }
}

impl Reader {
    /// Those nodes with what they give to pods; none where they may not be read. It never fails: of a node that cannot be read
    /// that is not known. Nothing is asked again and again: a node is read when it is first asked about, the right every ten
    /// minutes.
    pub async fn node_memory(&self, names: &BTreeSet<NodeName>) -> Vec<Node> {
        let now = self.clock.uptime();
        if names.is_empty() || self.with_memory(|memory| memory.nodes.rests(now)) {
            return self.remembered_node_memory(names);
        }
        if self.may_read_nodes(now).await == Right::Granted {
            for name in self.with_memory(|memory| memory.nodes.unknown(names, now)) {
                if !self.read_node(name, now).await {
                    break;
                }
            }
        }
        self.remembered_node_memory(names)
    }

    /// The same as it was last read: nothing is asked. What is done does not wait for it.
    pub fn remembered_node_memory(&self, names: &BTreeSet<NodeName>) -> Vec<Node> {
        self.with_memory(|memory| {
            let nodes = &memory.nodes;
            if matches!(nodes.right, Some((Right::Denied, _))) {
                return Vec::new();
            }
            let gives = |name: &NodeName| nodes.known.get(name).and_then(|(gives, _)| *gives);
            let node =
                |name: &NodeName| Node { name: name.clone(), allocatable: gives(name), others: Others::default() };
            names.iter().map(node).collect()
        })
    }

    /// Asked instead of tried: a refusal would stand in the API server's audit log again and again.
    async fn may_read_nodes(&self, now: Duration) -> Right {
        let remembered = self.with_memory(|memory| memory.nodes.right);
        if let Some((right, asked)) = remembered
            && now.saturating_sub(asked) < RIGHT_BELIEVED
        {
            return right;
        }
        let word = |text: &str| Some(text.to_owned());
        let attributes =
            ResourceAttributes { verb: word("get"), resource: word("nodes"), ..ResourceAttributes::default() };
        let right = self.may(attributes).await;
        self.with_memory(|memory| match right {
            Right::Unknown => memory.nodes.failed = Some(now),
            Right::Granted | Right::Denied => memory.nodes.right = Some((right, now)),
        });
        right
    }

    /// Whether another one may be asked for.
    async fn read_node(&self, name: NodeName, now: Duration) -> bool {
        let api: Api<KubeNode> = Api::all(self.client.clone());
        match within(READ_TIMEOUT, api.get_opt(name.as_str())).await {
            Ok(node) => {
                let gives = node.as_ref().and_then(gives);
                self.with_memory(|memory| memory.nodes.read(name, gives, now));
                true
            }
            Err(cause) => {
                let forbidden = matches!(cause, Cause::Forbidden(_));
                tracing::warn!(node = %name, %cause, "cannot read the node");
                self.with_memory(|memory| {
                    memory.nodes.failed = Some(now);
                    if forbidden {
                        memory.nodes.right = Some((Right::Denied, now));
                    }
                });
                false
            }
        }
    }
}

/// `status.allocatable.memory`. A virtual node may say nothing, or 0, which is no amount either.
fn gives(node: &KubeNode) -> Option<Bytes> {
    let amount = node.status.as_ref()?.allocatable.as_ref()?.get("memory")?;
    quantity::parse(&amount.0).ok().filter(|memory| *memory > Bytes::ZERO)
}

#[cfg(test)]
mod tests;
