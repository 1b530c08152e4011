//! What the pods of all policies may take of each node, kept from look to look: each policy is told what the others have on
//! its nodes. Nothing is read for it, and nothing is kept while nodes may not be read.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::domain::{
    bytes::Bytes,
    names::{NodeName, PodUid},
    node::{Others, may_take},
    pod::Pod,
    snapshot::{Snapshot, Target},
};

/// A process that has begun to keep this looks at each policy within this time.
const GATHERED: Duration = Duration::from_secs(300);

/// What each policy selects on each node. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct OnNodes(Arc<Mutex<Ledger>>);

#[derive(Debug, Default)]
struct Ledger {
    /// By node, and by the UID of the policy: its pods and what they may take.
    nodes: HashMap<NodeName, HashMap<String, Vec<(PodUid, Bytes)>>>,
    /// Uptime at which the first policy was seen.
    since: Option<Duration>,
}

/// The nodes of those pods.
pub(super) fn of(pods: &[Pod]) -> BTreeSet<NodeName> {
    pods.iter().filter_map(|pod| pod.node.clone()).collect()
}

impl OnNodes {
    /// Keeps what that policy's snapshot shows, and adds to its nodes what the others have there. `uptime`: of the monotonic
    /// clock.
    pub fn look(&self, policy: &str, snapshot: &mut Snapshot, uptime: Duration) {
        let mut ledger = self.ledger();
        ledger.forget(policy);
        if snapshot.nodes.is_empty() {
            return;
        }
        let since = *ledger.since.get_or_insert(uptime);
        let incomplete = uptime.saturating_sub(since) < GATHERED;
        for target in &snapshot.targets {
            if let (Some(node), Some(takes)) = (&target.pod.node, may_take(target)) {
                let of_policy = ledger.nodes.entry(node.clone()).or_default().entry(policy.to_owned()).or_default();
                of_policy.push((target.pod.uid.clone(), takes));
            }
        }
        let own: BTreeSet<&PodUid> = snapshot.targets.iter().map(|Target { pod, .. }| &pod.uid).collect();
        for node in &mut snapshot.nodes {
            let others = ledger.without(&node.name, &own);
            node.others = Others { pods: others.len(), take: others.into_values().sum(), incomplete };
        }
    }

    /// That policy is not looked at any more.
    pub fn forget(&self, policy: &str) {
        self.ledger().forget(policy);
    }

    /// Forgets the policies that do not exist any more.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.ledger().retain(exists);
    }

    /// A poisoned lock only means that a thread died elsewhere: the ledger is always whole.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn forget(&mut self, policy: &str) {
        self.retain(|uid| uid != policy);
    }

    fn retain(&mut self, stays: impl Fn(&str) -> bool) {
        self.nodes.retain(|_, policies| {
            policies.retain(|uid, _| stays(uid));
            !policies.is_empty()
        });
    }

    /// The pods on that node that are none of these, each once: where two policies see one pod differently, the more that it
    /// may take.
    fn without(&self, node: &NodeName, own: &BTreeSet<&PodUid>) -> BTreeMap<PodUid, Bytes> {
        let mut others = BTreeMap::new();
        for (pod, takes) in self.nodes.get(node).into_iter().flat_map(HashMap::values).flatten() {
            if !own.contains(pod) {
                let most = others.entry(pod.clone()).or_insert(*takes);
                *most = (*most).max(*takes);
            }
        }
        others
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;
    use crate::domain::{fixtures, node::Node};

    fn on(node: &str) -> Node {
        Node { name: node.into(), allocatable: Some(Bytes::mib(8192)), others: Others::default() }
    }

    /// Three pods of 1 GiB each on node `a`, as a policy sees them whose pods have that prefix in their UIDs.
    fn three(prefix: &str) -> Snapshot {
        let mut snapshot = fixtures::three_pods();
        for target in &mut snapshot.targets {
            target.pod.node = Some("a".into());
            target.pod.uid = PodUid::new(format!("{prefix}-{}", target.pod.name));
        }
        snapshot.nodes = vec![on("a")];
        snapshot
    }

    const LATER: Duration = GATHERED;

    fn others(ledger: &OnNodes, policy: &str, mut snapshot: Snapshot) -> Vec<Others> {
        ledger.look(policy, &mut snapshot, LATER);
        snapshot.nodes.iter().map(|node| node.others).collect()
    }

    fn begun() -> OnNodes {
        let ledger = OnNodes::default();
        ledger.look("p-0", &mut three("zero"), Duration::ZERO);
        ledger.forget("p-0");
        ledger
    }

    const fn of_others(pods: usize, mib: u64) -> Others {
        Others { pods, take: Bytes::mib(mib), incomplete: false }
    }

    #[test]
    fn each_policy_is_told_of_the_others_pods_and_not_of_its_own() {
        let ledger = begun();
        assert_eq!(others(&ledger, "p-1", three("x")), [Others::default()]);
        assert_eq!(others(&ledger, "p-2", three("y")), [of_others(3, 3072)]);
        assert_eq!(others(&ledger, "p-1", three("x")), [of_others(3, 3072)], "its own of before are not counted");
        let elsewhere = Snapshot { nodes: vec![on("a"), on("b")], ..three("z") };
        assert_eq!(others(&ledger, "p-3", elsewhere), [of_others(6, 6144), Others::default()]);
    }

    #[test]
    fn a_pod_that_several_policies_select_is_counted_once() {
        let ledger = begun();
        others(&ledger, "p-1", three("x"));
        assert_eq!(others(&ledger, "p-2", three("x")), [Others::default()], "all of them are its own too");
        let mut larger = three("x");
        larger.targets[0].pod.container.as_mut().unwrap().live_limit = Some(Bytes::mib(2048));
        others(&ledger, "p-2", larger);
        assert_eq!(others(&ledger, "p-3", three("y")), [of_others(3, 4096)], "by the more that was seen");
    }

    #[test]
    fn what_is_gone_is_not_counted() {
        let ledger = begun();
        others(&ledger, "p-1", three("x"));
        let mut fewer = three("x");
        fewer.targets[0].pod.node = Some("b".into());
        fewer.targets[1].pod.node = None;
        others(&ledger, "p-1", fewer);
        assert_eq!(others(&ledger, "p-2", three("y")), [of_others(1, 1024)]);
        ledger.forget("p-1");
        assert_eq!(others(&ledger, "p-2", three("y")), [Others::default()]);
        assert_eq!(others(&ledger, "p-3", three("z")), [of_others(3, 3072)]);
        ledger.retain(|uid| uid == "p-3");
        assert_eq!(others(&ledger, "p-1", three("x")), [of_others(3, 3072)]);
    }

    #[test]
    fn a_process_that_has_just_begun_may_not_know_all() {
        let ledger = OnNodes::default();
        let incomplete = |uptime| {
            let mut snapshot = three("x");
            ledger.look("p-1", &mut snapshot, uptime);
            snapshot.nodes[0].others.incomplete
        };
        let at = Duration::from_secs;
        assert_eq!([at(1000), at(1299), at(1300)].map(incomplete), [true, true, false]);
    }

    #[test]
    fn without_nodes_nothing_is_kept() {
        let ledger = OnNodes::default();
        let mut snapshot = Snapshot { nodes: Vec::new(), ..three("x") };
        ledger.look("p-1", &mut snapshot, LATER);
        assert!(snapshot.nodes.is_empty() && ledger.ledger().nodes.is_empty() && ledger.ledger().since.is_none());
    }
}
