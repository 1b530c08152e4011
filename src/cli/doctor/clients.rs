//! How clients find a set's primary, by the Services in front of it and the containers in its pods. Pure.

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;

use super::found::{Labels, Member, Namespace, RedisSet, has_all};
use crate::{
    domain::recognition::{self, OF_A_RELEASE, Shape},
    observe::{pods, proxies},
};

/// Labels that Kubernetes gives to each pod of a StatefulSet, and to no two the same.
const OF_ONE_POD: [&str; 2] = ["statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"];

/// A Service that takes pods of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) service: String,
    /// The whole selector, for a text.
    selector: String,
    pub(super) leads: Leads,
}

/// Where a Service leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leads {
    /// To the pod that a label says has that role.
    Role {
        /// The label.
        key: String,
        /// Its value.
        value: String,
    },
    /// To that one, whatever its role.
    Pod(String),
    /// To these, and never to the others.
    Some(Vec<String>),
    /// To every pod.
    Every,
    /// To the HAProxy in every pod, which leads to the primary.
    Proxies,
}

/// The Services in front of the set, by name.
pub(super) fn ways(namespace: &Namespace, set: &RedisSet) -> Vec<Way> {
    let mut ways: Vec<Way> = namespace.services.iter().filter_map(|service| way(set, service)).collect();
    ways.sort_by(|a, b| a.service.cmp(&b.service));
    ways
}

fn way(set: &RedisSet, service: &Service) -> Option<Way> {
    let selector = pods::selector(service)?;
    let taken: Vec<String> =
        set.members.iter().filter(|member| has_all(member.pod.labels(), selector)).map(Member::name).collect();
    let role = selector.iter().find(|(key, value)| {
        let rest: Labels = selector.iter().filter(|(it, _)| it != key).map(|(k, v)| (k.clone(), v.clone())).collect();
        moves(set, key, value) && set.members.iter().all(|member| has_all(member.pod.labels(), &rest))
    });
    let leads = match (role, taken.as_slice()) {
        (Some((key, value)), _) => Leads::Role { key: key.clone(), value: value.clone() },
        (None, []) => return None,
        (None, [pod]) if OF_ONE_POD.iter().any(|key| selector.contains_key(*key)) => Leads::Pod(pod.clone()),
        (None, taken) if taken.len() == set.members.len() => {
            let proxied = set.members.iter().all(|member| proxies::leads_to_one(service, &member.pod));
            if proxied { Leads::Proxies } else { Leads::Every }
        }
        (None, _) => Leads::Some(taken),
    };
    let selector = selector.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ");
    Some(Way { service: service.name_any(), selector, leads })
}

/// The label moves with the role: it says one by its name, or by its words, and no template gives it.
fn moves(set: &RedisSet, key: &str, value: &str) -> bool {
    let read = set.makers.iter().all(|maker| !maker.template_labels.is_empty());
    let given = set.makers.iter().any(|maker| maker.template_labels.contains_key(key));
    set.says_a_role(key) || (read && !given && recognition::reads_as_a_role(key, value))
}

/// How the primary of the set is found.
pub(super) fn shape(set: &RedisSet, ways: &[Way]) -> Shape {
    let one_for_each = ways.iter().filter(|way| matches!(way.leads, Leads::Pod(_))).count() >= set.members.len();
    let leads = |wanted: fn(&Leads) -> bool| ways.iter().any(|way| wanted(&way.leads));
    let wanted: usize = set.makers.iter().map(|maker| maker.replicas).sum();
    if let Some(shape) = set.deployment.and_then(|deployment| deployment.shape) {
        shape
    } else if set.clustered() {
        Shape::Cluster
    } else if set.members.iter().any(|member| member.has_sentinel) || !set.sentinels.is_empty() {
        Shape::Sentinel
    } else if set.members.len() == 1 && wanted <= 1 {
        Shape::Standalone
    } else if leads(|leads| matches!(leads, Leads::Role { value, .. } if recognition::reads_as_primary(value))) {
        Shape::RoleLabel
    } else if set.makers.len() > 1 {
        Shape::FixedPrimary
    } else if leads(|leads| matches!(leads, Leads::Pod(_))) && !one_for_each {
        Shape::PinnedPod
    } else if set.deployment.is_some_and(|deployment| deployment.role_label.is_some()) {
        Shape::RoleLabel
    } else {
        Shape::Untold
    }
}

/// What clients go by, in sentences.
pub(super) fn said(set: &RedisSet, ways: &[Way], shape: Shape) -> Vec<String> {
    let mut said = Vec::new();
    let (its, others) = (&set.sentinels, &set.other_sentinels);
    match shape {
        Shape::Sentinel if set.members.iter().any(|member| member.has_sentinel) => {
            said.push("they ask the Sentinels in the set's own pods".to_owned());
        }
        Shape::Sentinel if its.is_empty() => said.push("they ask Sentinels".to_owned()),
        Shape::Sentinel => said.push(format!("they ask the Sentinels {}", its.join(", "))),
        Shape::Cluster => said.push("they ask any node, and are redirected".to_owned()),
        _ if !others.is_empty() => said.push(format!(
            "there are Sentinels in this namespace ({}); whether they watch this set, only its Redis says",
            others.join(", ")
        )),
        _ => {}
    }
    let apart = proxies_apart(set);
    if !apart.is_empty() {
        said.push(format!("through the proxies {}", apart.join(", ")));
    }
    let single: Vec<&Way> = ways.iter().filter(|way| matches!(way.leads, Leads::Pod(_))).collect();
    let one_for_each = single.len() >= set.members.len() && set.members.len() > 1;
    if one_for_each {
        let names: Vec<&str> = single.iter().map(|way| way.service.as_str()).collect();
        said.push(format!("a Service for each pod: {}", names.join(", ")));
    }
    let others = ways.iter().filter(|way| !(one_for_each && matches!(way.leads, Leads::Pod(_))));
    said.extend(others.map(|way| {
        let Way { service, selector, leads } = way;
        match leads {
            Leads::Role { key, value } => format!("Service {service} follows the role: {key}={value}"),
            Leads::Pod(pod) => format!("Service {service} holds them to {pod}, whatever its role ({selector})"),
            Leads::Some(pods) => format!("Service {service} holds them to {} ({selector})", pods.join(", ")),
            Leads::Every => format!("Service {service} takes every pod"),
            Leads::Proxies => {
                format!(
                    "Service {service} leads to the HAProxy in every pod, and that to the primary, by its own checks"
                )
            }
        }
    }));
    if said.is_empty() {
        said.push("no Service takes its pods".to_owned());
    }
    said
}

/// Pods of a proxy of the same release, which are none of the set's own.
fn proxies_apart(set: &RedisSet) -> Vec<String> {
    let own = set.members.first().map(|member| member.pod.labels());
    let same = |pod: &Pod| {
        OF_A_RELEASE
            .iter()
            .any(|key| own.and_then(|own| own.get(*key)).is_some_and(|own| pod.labels().get(*key) == Some(own)))
    };
    let is_proxy = |pod: &Pod| {
        pod.spec.iter().flat_map(|spec| &spec.containers).any(|container| {
            let image = container.image.as_deref().unwrap_or_default().rsplit('/').next().unwrap_or_default();
            container.name.contains("proxy") || image.contains("proxy")
        })
    };
    set.strangers.iter().filter(|pod| same(pod) && is_proxy(pod)).map(|pod| pod.name_any()).collect()
}
