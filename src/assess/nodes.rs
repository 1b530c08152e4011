//! Nodes on which the limits of the selected Redis are more than the node can give: when it runs out of memory its kernel
//! kills one, although each limit is right.

use crate::domain::{
    bytes::Bytes,
    finding::{Finding, FindingCode},
    names::PodName,
    node::{Node, is_limited, may_take},
    ratio::Ratio,
    snapshot::{Snapshot, Target},
};

use super::roles::{list, names};

/// What all selected Redis of a node may take is at most this much, in percent of what it gives to pods: the rest is for
/// whatever else runs there, which is not counted.
const MOST: Ratio = Ratio(80);

/// About each pod on such a node, in the same words.
pub(super) fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    snapshot.nodes.iter().flat_map(|node| of(snapshot, node)).collect()
}

/// Why nothing is found of that code, whether it holds or not; `None`: it would be.
pub fn unseen(code: &str, snapshot: &Snapshot) -> Option<&'static str> {
    let is_placed = |target: &Target| target.pod.node.is_some();
    let hidden = snapshot.nodes.is_empty() && snapshot.targets.iter().any(is_placed);
    (hidden && code == FindingCode::NodeOvercommitted.as_str())
        .then_some("the operator may not read nodes any more (chart value nodeAccess)")
}

fn of(snapshot: &Snapshot, node: &Node) -> Vec<Finding> {
    let is_here = |target: &&Target| target.pod.node.as_ref() == Some(&node.name);
    let counted = |target| may_take(target).map(|takes| (target, takes));
    let mut own: Vec<(&Target, Bytes)> = snapshot.targets.iter().filter(is_here).filter_map(counted).collect();
    own.sort_by_key(|(target, _)| &target.pod.name);
    let take = own.iter().map(|(_, takes)| *takes).sum::<Bytes>() + node.others.take;
    let Some(allocatable) = node.allocatable.filter(|allocatable| is_too_much(take, *allocatable)) else {
        return Vec::new();
    };
    let own: Vec<&Target> = own.into_iter().map(|(target, _)| target).collect();
    let (evidence, remedy) = (evidence(node, &own, take, allocatable), remedy(snapshot, node, &own));
    let finding = |pod: &PodName| Finding::new(FindingCode::NodeOvercommitted, Some(pod.clone()), &*evidence, &*remedy);
    own.iter().map(|target| finding(&target.pod.name)).collect()
}

/// Exactly, whatever the numbers.
fn is_too_much(take: Bytes, allocatable: Bytes) -> bool {
    u128::from(take.0) * 100 > u128::from(allocatable.0) * u128::from(MOST.0)
}

/// Of the pods of other policies, which may be in namespaces that the reader may not see, only how many there are.
fn evidence(node: &Node, own: &[&Target], take: Bytes, allocatable: Bytes) -> String {
    let others = match node.others.pods {
        0 => String::new(),
        1 => ", and 1 pod of another policy,".to_owned(),
        pods => format!(", and {pods} pods of other policies,"),
    };
    // Rounded up: what is more than 80 % does not read as 80 %.
    let percent = (u128::from(take.0) * 100).div_ceil(u128::from(allocatable.0.max(1)));
    let unlimited: Vec<&Target> = own.iter().copied().filter(|target| !is_limited(target)).collect();
    let without = if unlimited.is_empty() {
        String::new()
    } else {
        format!("; counted by maxmemory or RSS, whichever is more, for want of a limit: {}", names(&unlimited))
    };
    let by_limits = match own.len().saturating_add(node.others.pods) {
        counted if counted == unlimited.len() => "",
        1 => " by its limit",
        _ => " by their limits",
    };
    format!(
        "on node {} {}{others} may take {take}{by_limits}, {percent} % of the {allocatable} that it gives to pods{without}",
        node.name,
        names(own)
    )
}

/// It names the node, so that findings about several nodes are not taken for one.
fn remedy(snapshot: &Snapshot, node: &Node, own: &[&Target]) -> String {
    let mut makers: Vec<String> = own.iter().filter_map(|target| maker(snapshot, target)).collect();
    makers.sort_unstable();
    makers.dedup();
    let of_makers = if makers.is_empty() { String::new() } else { format!(" of {}", list(&makers)) };
    let what = "when a node runs out of memory its kernel kills Redis, however right each limit is";
    if own.len() == 1 && node.others.pods == 0 {
        return format!(
            "give the pod{of_makers} a larger node than {}, or a smaller maxmemory and then a smaller limit; {what}",
            node.name
        );
    }
    format!(
        "spread the Redis of node {} over more nodes: podAntiAffinity or topologySpreadConstraints over kubernetes.io/hostname \
         in the template{of_makers} (a change rolls its pods), and memory requests as large as the limits, which the \
         scheduler adds up; or larger nodes, or smaller limits where maxmemory allows; {what}",
        node.name
    )
}

/// What makes the pod, as "StatefulSet redis".
fn maker(snapshot: &Snapshot, target: &Target) -> Option<String> {
    let owner = target.pod.owner.as_ref()?;
    Some(match snapshot.deployment(&owner.uid) {
        Some(deployment) => format!("Deployment {}", deployment.name),
        None => format!("{} {}", owner.kind, owner.name),
    })
}

#[cfg(test)]
mod tests;
