//! Proxies in front of a set, as Kubernetes shows them: which Services lead to one, and where its pods serve writers.

use k8s_openapi::{
    api::core::v1::{Pod as K8sPod, Service as K8sService, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::pods;
use crate::domain::{names::PodName, proxy::Proxy, recognition};

/// The proxy behind a Service, if it is one of the release of some of these pods, or runs in them: whose they are. It was not
/// asked.
pub(super) fn proxy<'a>(service: &K8sService, pods: impl IntoIterator<Item = &'a K8sPod>) -> Option<Proxy> {
    let selector = service.spec.as_ref()?.selector.as_ref()?;
    let is_selected =
        |pod: &K8sPod| !selector.is_empty() && selector.iter().all(|(key, value)| pods::has(pod, key, value));
    let is_behind = |pod: &&K8sPod| {
        recognition::fronts(selector, pod.metadata.labels.as_ref()) || is_selected(pod) && leads_to_one(service, pod)
    };
    let fronted = pods.into_iter().filter(is_behind);
    let mut fronts: Vec<PodName> = fronted.filter_map(|pod| pod.metadata.name.clone()).map(PodName::new).collect();
    fronts.sort_unstable();
    let service = service.metadata.name.clone().unwrap_or_default();
    (!fronts.is_empty()).then_some(Proxy { service, fronts, through: None })
}

/// A port of the Service is one that an HAProxy in that pod declares, beside its server.
pub fn leads_to_one(service: &K8sService, pod: &K8sPod) -> bool {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let mut numbers = ports.filter_map(|port| target(port, pod));
    // By its name, for images are not kept; kube-rbac-proxy, istio-proxy and their like serve no writers.
    numbers.any(|number| pods::container_of_port(pod, number).is_some_and(|name| name.contains("haproxy")))
}

/// The port of that pod to which that port of a Service leads.
fn target(port: &ServicePort, pod: &K8sPod) -> Option<u16> {
    match &port.target_port {
        None => u16::try_from(port.port).ok(),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(name)) => pods::named_port(pod, name),
    }
}

/// The pods that a Service selects, in the form of a query.
pub(super) fn query(service: &K8sService) -> String {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// The port at which that pod serves those who come by the Service, at its only port, or else at one that is a port of the
/// servers, too (the others may lead to replicas, or to the proxy's own statistics). The error says in words what is missing.
pub(super) fn port(service: &K8sService, pod: &K8sPod, of_servers: &[u16]) -> Result<u16, String> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let tcp: Vec<&ServicePort> = ports.filter(|port| port.protocol.as_deref().is_none_or(|it| it == "TCP")).collect();
    let is_theirs = |number: i32| u16::try_from(number).is_ok_and(|number| of_servers.contains(&number));
    let found = match tcp.as_slice() {
        [one] => *one,
        several => *several.iter().find(|port| is_theirs(port.port)).ok_or_else(|| {
            let theirs = of_servers.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            format!("its Service has {} ports, and none of them is the servers' own ({theirs})", several.len())
        })?,
    };
    target(found, pod).ok_or_else(|| "the pod has no port of the name that its Service leads to".to_owned())
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn service(selector: &str, ports: &Value) -> K8sService {
        let object = json!({ "metadata": { "name": "front" }, "spec": { "selector": map(selector), "ports": ports } });
        serde_json::from_value(object).expect("a Service")
    }

    fn map(text: &str) -> Value {
        text.split(' ')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), json!(value)))
            .collect()
    }

    #[rstest]
    #[case::redis_ha("app=redis-ha-haproxy release=argo", "app=redis-ha release=argo", true)]
    #[case::another_release("app=redis-ha-haproxy release=argo", "app=redis-ha release=cart", false)]
    #[case::of_nobody("app=redis-ha-haproxy", "app=redis-ha release=argo", false)]
    #[case::no_proxy("app=redis-ha release=argo", "app=redis-ha release=argo", false)]
    fn a_proxy_of_the_release_is_seen(#[case] selector: &str, #[case] labels: &str, #[case] want: bool) {
        let member = json!({ "metadata": { "name": "redis-0", "labels": map(labels) } });
        let member: K8sPod = serde_json::from_value(member).expect("a Pod");
        let fronts = want.then(|| Proxy { service: "front".into(), fronts: vec!["redis-0".into()], through: None });
        assert_eq!(proxy(&service(selector, &json!([])), [&member]), fronts);
    }

    #[rstest]
    #[case::to_the_proxy(json!([{"port": 6379, "targetPort": "haproxy"}]), true)]
    #[case::by_number(json!([{"port": 6379, "targetPort": 6380}]), true)]
    #[case::to_the_server(json!([{"port": 6379, "targetPort": "valkey"}]), false)]
    #[case::to_another_kind_of_proxy(json!([{"port": 9121}]), false)]
    #[case::to_nothing_that_is_declared(json!([{"port": 6379, "targetPort": 9}]), false)]
    fn a_proxy_in_the_pods_is_seen(#[case] ports: Value, #[case] want: bool) {
        let pod = json!({
            "metadata": { "name": "valkey-0", "labels": map("app=valkey") },
            "spec": { "containers": [
                { "name": "valkey", "image": "valkey/valkey:9", "ports": [{"name": "valkey", "containerPort": 6379}] },
                { "name": "haproxy", "image": "haproxy:3", "ports": [{"name": "haproxy", "containerPort": 6380}] },
                { "name": "kube-rbac-proxy", "image": "kube-rbac-proxy", "ports": [{"containerPort": 9121}] },
            ] },
        });
        let pod: K8sPod = serde_json::from_value(pod).expect("a Pod");
        assert_eq!(proxy(&service("app=valkey", &ports), [&pod]).is_some(), want);
        assert_eq!(proxy(&service("app=cart", &ports), [&pod]), None, "it takes other pods");
    }

    #[rstest]
    #[case::the_chart(json!([{"port": 6379, "targetPort": "redis"}]), Ok(7379))]
    #[case::with_one_for_readers(json!([{"port": 6380, "targetPort": 6380}, {"port": 6379, "targetPort": "redis"}]), Ok(7379))]
    #[case::only_one_whatever_its_number(json!([{"port": 16379, "targetPort": 6379}]), Ok(6379))]
    #[case::no_target(json!([{"port": 6379}]), Ok(6379))]
    #[case::of_another_protocol(json!([{"port": 6379, "protocol": "UDP"}, {"port": 1, "targetPort": 2}]), Ok(2))]
    #[case::a_name_that_is_not_there(json!([{"port": 6379, "targetPort": "valkey"}]), Err("no port of the name"))]
    #[case::none_of_several(json!([{"port": 80}, {"port": 81}]), Err("has 2 ports, and none of them is the servers' own (6379)"))]
    #[case::none_at_all(json!([]), Err("has 0 ports"))]
    fn writers_come_at_the_port_of_the_servers(#[case] ports: Value, #[case] want: Result<u16, &str>) {
        let ports_of_pod = json!([{"name": "probe", "containerPort": 8888}, {"name": "redis", "containerPort": 7379}]);
        let pod = json!({ "spec": { "containers": [{ "name": "haproxy", "ports": ports_of_pod }] } });
        let pod: K8sPod = serde_json::from_value(pod).expect("a Pod");
        match (port(&service("app=x", &ports), &pod, &[6379]), want) {
            (Ok(found), Ok(want)) => assert_eq!(found, want),
            (Err(why), Err(want)) => assert!(why.contains(want), "{why}"),
            (found, want) => panic!("{found:?}, not {want:?}"),
        }
    }
}
