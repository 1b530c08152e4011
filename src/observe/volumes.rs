//! Claims, volumes and nodes as the domain sees them. Pure.

use k8s_openapi::api::core::v1::{
    Node, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume, PersistentVolumeClaim,
};
use kube::ResourceExt as _;

use crate::{
    domain::{
        quantity,
        volume::{ClaimVolume, Closed, ClosedNode, Volumes},
    },
    kube_io::read::{Behind, VolumesRead},
};

/// Nodes that take no pod are named, up to this number.
const NAMED: usize = 4;

/// What was read, as the domain has it.
pub(super) fn all(read: &VolumesRead) -> Volumes {
    match read {
        VolumesRead::Denied => Volumes::Denied,
        VolumesRead::Failed(text) => Volumes::Unreadable(text.clone()),
        VolumesRead::Read(behind) => {
            let Behind { claims, nodes } = behind.as_ref();
            Volumes::Known(claims.iter().map(|(claim, volume)| of(claim, volume.as_ref(), nodes)).collect())
        }
    }
}

/// A claim without a volume can be used nowhere yet.
fn of(claim: &PersistentVolumeClaim, volume: Option<&PersistentVolume>, nodes: &[Node]) -> ClaimVolume {
    let capacity = claim.status.as_ref().and_then(|status| status.capacity.as_ref()?.get("storage"));
    let spec = volume.and_then(|volume| volume.spec.as_ref());
    let affinity = spec.and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
    let fits = |node: &&Node| match affinity {
        Some(required) => required.node_selector_terms.iter().any(|term| term_holds(term, node)),
        None => spec.is_some(),
    };
    let mut fitting: Vec<&Node> = nodes.iter().filter(fits).collect();
    fitting.sort_by_key(|node| node.name_any());
    let open = fitting.iter().find(|node| closed(node).is_none()).map(|node| node.name_any());
    let shut = fitting.iter().filter_map(|node| Some(ClosedNode { name: node.name_any(), why: closed(node)? }));
    ClaimVolume {
        claim: claim.name_any(),
        capacity: capacity.and_then(|amount| quantity::parse(&amount.0).ok()),
        tied: affinity.is_some(),
        open,
        closed: shut.take(NAMED).collect(),
    }
}

fn closed(node: &Node) -> Option<Closed> {
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        return Some(Closed::Cordoned);
    }
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
    (!ready.any(|condition| condition.status == "True")).then_some(Closed::NotReady)
}

/// As the scheduler reads it: every requirement, and a term without any holds nowhere.
fn term_holds(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let label = |one: &NodeSelectorRequirement| holds(one, node.labels().get(&one.key).map(String::as_str));
    let name = node.name_any();
    // Only the name can be selected by.
    let field = |one: &NodeSelectorRequirement| one.key == "metadata.name" && holds(one, Some(&name));
    (!labels.is_empty() || !fields.is_empty()) && labels.iter().all(label) && fields.iter().all(field)
}

/// An operator that is not known holds nowhere.
fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|one| one == value));
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    let (own, bound) = (number(value), number(values.first().map(String::as_str)));
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => own.zip(bound).is_some_and(|(own, bound)| own > bound),
        "Lt" => own.zip(bound).is_some_and(|(own, bound)| own < bound),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::bytes::Bytes;

    fn node(name: &str, cordoned: bool, ready: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "generation": "7"}},
            "spec": {"unschedulable": cordoned},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    fn behind(affinity: &Value, nodes: &[Node]) -> ClaimVolume {
        let claim = json!({"metadata": {"name": "data-redis-0"}, "status": {"capacity": {"storage": "1Gi"}}});
        let volume = json!({"metadata": {"name": "pv"}, "spec": {"nodeAffinity": affinity}});
        let volume: PersistentVolume = serde_json::from_value(volume).unwrap();
        of(&serde_json::from_value(claim).unwrap(), Some(&volume), nodes)
    }

    fn tied_to(key: &str, operator: &str, values: &[&str]) -> Value {
        let one = json!({"key": key, "operator": operator, "values": values});
        json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [one]}]}})
    }

    #[test]
    fn a_local_volume_is_on_its_node_alone() {
        let nodes = [node("a", true, "True"), node("b", false, "True"), node("c", false, "Unknown")];
        let local = |name| behind(&tied_to("kubernetes.io/hostname", "In", &[name]), &nodes);
        let on_a = local("a");
        assert_eq!((on_a.capacity, on_a.tied, on_a.open), (Some(Bytes::mib(1024)), true, None));
        assert_eq!(on_a.closed, [ClosedNode { name: "a".into(), why: Closed::Cordoned }]);
        assert_eq!(local("b").open.as_deref(), Some("b"));
        assert_eq!(local("c").closed, [ClosedNode { name: "c".into(), why: Closed::NotReady }]);
        assert_eq!((local("gone").open, local("gone").closed), (None, Vec::new()));
    }

    #[test]
    fn a_volume_of_the_network_is_wherever_a_node_takes_pods() {
        let found = behind(&Value::Null, &[node("a", true, "True"), node("b", false, "True")]);
        assert_eq!((found.tied, found.open.as_deref()), (false, Some("b")));
        assert_eq!(behind(&Value::Null, &[node("a", true, "True")]).open, None);
    }

    #[test]
    fn a_claim_without_a_volume_is_nowhere() {
        let claim = serde_json::from_value(json!({"metadata": {"name": "data-redis-0"}})).unwrap();
        let found = of(&claim, None, &[node("a", false, "True")]);
        assert_eq!((found.capacity, found.open), (None, None));
    }

    #[rstest]
    #[case("generation", "Gt", &["6"], true)]
    #[case("generation", "Lt", &["7"], false)]
    #[case("generation", "Exists", &[], true)]
    #[case("generation", "DoesNotExist", &[], false)]
    #[case("zone", "NotIn", &["x"], true)]
    #[case("zone", "In", &["x"], false)]
    #[case("generation", "Roughly", &["7"], false)]
    fn affinities_are_read_as_the_scheduler_does(
        #[case] key: &str,
        #[case] operator: &str,
        #[case] values: &[&str],
        #[case] fits: bool,
    ) {
        assert_eq!(behind(&tied_to(key, operator, values), &[node("a", false, "True")]).open.is_some(), fits);
    }
}
