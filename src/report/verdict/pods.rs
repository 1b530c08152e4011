//! Commands that bring pods back, or make room for them.

use super::{
    super::{Input, sets},
    ruling,
};
use crate::domain::{pod::StatefulSet, snapshot::Target};

/// Lets the policy match its pods again.
pub(super) fn select(input: &Input<'_>) -> String {
    let (name, namespace) = (&input.policy.name, &input.policy.namespace);
    let wanted = |set: &&StatefulSet| set.replicas > 0 && sets::without(input.snapshot, &set.name).is_some();
    let gone = input.snapshot.stateful_sets.iter().find(wanted);
    let made = match gone {
        Some(set) => format!("if not: {}", events_of(input, set)),
        None => format!(
            "if not: kubectl get events -n {namespace} --sort-by=.lastTimestamp (says for an hour who removed them), and apply their \
             chart or manifest again"
        ),
    };
    let pods = gone.map_or_else(|| "the Redis pods".to_owned(), |set| format!("{}-0 …", set.name));
    format!(
        "kubectl get pods -n {namespace} --show-labels; if {pods} are there, their labels are others: kubectl edit rmp {name} -n \
         {namespace} (write those into spec.selector; it restarts nothing); {made}"
    )
}

/// One more pod for the set that is to be restarted.
pub(super) fn one_more(input: &Input<'_>) -> Option<String> {
    let plan = input.plan?;
    let set = input.snapshot.stateful_sets.iter().find(|set| set.name == plan.workload_name)?;
    Some(format!(
        "kubectl scale statefulset/{} -n {} --replicas={} (where new pods start as replicas)",
        set.name,
        input.policy.namespace,
        set.replicas.saturating_add(1)
    ))
}

/// Why pods are not there.
pub(super) fn missing(input: &Input<'_>) -> String {
    let namespace = &input.policy.namespace;
    if let Some(target) = ruling::not_running(input).next() {
        let name = &target.pod.name;
        let look = format!("kubectl describe pod {name} -n {namespace}");
        if ruling::is_in_hand(input.findings, name) {
            return format!(
                "nothing now: with what the operator does {name} starts by itself; where it does not: {look}"
            );
        }
        return format!(
            "{look} (its events say what it lacks); where no node has room for it: {}; it then starts by itself",
            make_room(target)
        );
    }
    match sets::short(input).next() {
        Some((set, _)) => events_of(input, set),
        None => format!(
            "kubectl get statefulsets,deployments,pods -n {namespace} (removed on purpose: it is forgotten in a day; else apply its \
             chart or manifest again)"
        ),
    }
}

fn events_of(input: &Input<'_>, set: &StatefulSet) -> String {
    let namespace = &input.policy.namespace;
    format!(
        "kubectl describe statefulset {} -n {namespace} (its events say why a pod is not made: quota, node, admission; of \"exceeded \
         quota: NAME\": kubectl edit resourcequota NAME -n {namespace})",
        set.name
    )
}

/// Room on a node for what that pod needs: on its own, where it has one.
pub(super) fn make_room(target: &Target) -> String {
    match &target.pod.node {
        Some(node) => format!(
            "kubectl describe node {node} (what its pods request), kubectl cordon {node}, kubectl delete pod NAME -n NAMESPACE (of one \
             that may run elsewhere and is no Redis), and when it does, kubectl uncordon {node}"
        ),
        None => "add a node, or kubectl get pods -A -o wide (what runs where), and scale down what is not needed: kubectl scale \
                 deployment NAME -n NAMESPACE --replicas=N"
            .to_owned(),
    }
}
