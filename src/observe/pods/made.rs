//! Where the limit of what makes pods is written, by what is seen of it.

use k8s_openapi::{
    api::core::v1::{Container as K8sContainer, Pod as K8sPod, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{lasting, owner};
use crate::domain::{
    pod::Owner,
    recognition::{
        self,
        limit_at::{self, LimitAt, Made},
    },
};

/// Of a pod whose controller is none of Kubernetes' own: there is no set to be seen.
pub(super) fn pod(pod: &K8sPod) -> Option<LimitAt> {
    let owner = owner(&pod.metadata).filter(recognition::is_foreign)?;
    limit_at::limit_at(&Made {
        owner: Some(&owner),
        annotations: None,
        labels: pod.metadata.labels.as_ref(),
        containers: &names(&pod.spec.as_ref().map(lasting).unwrap_or_default()),
    })
}

/// Of a StatefulSet or ReplicaSet.
pub(super) fn set(
    meta: &ObjectMeta,
    owner: Option<&Owner>,
    template: Option<&PodTemplateSpec>,
    containers: &[&K8sContainer],
) -> Option<LimitAt> {
    let of_pods = template.and_then(|template| template.metadata.as_ref());
    limit_at::limit_at(&Made {
        owner,
        annotations: meta.annotations.as_ref(),
        labels: of_pods.and_then(|meta| meta.labels.as_ref()),
        containers: &names(containers),
    })
}

fn names<'a>(containers: &[&'a K8sContainer]) -> Vec<&'a str> {
    containers.iter().map(|container| container.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use crate::{
        domain::{fixtures, recognition::limit_at::LimitAt},
        kube_io::{around, cache},
        observe::pods,
    };

    /// What the caches keep is enough to know it.
    #[test]
    fn the_release_of_a_set_is_known_from_a_cache_too() {
        let labels = json!({"app.kubernetes.io/name": "redis", "app.kubernetes.io/component": "replica"});
        let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "redis"}]}});
        let meta =
            json!({"name": "cache-replicas", "annotations": {"meta.helm.sh/release-name": "cache", "other": "x"}});
        let expected = Some(LimitAt::Value {
            chart: "Bitnami chart".into(),
            release: "cache".into(),
            path: Some("replica.resources".into()),
        });
        let object = json!({"metadata": meta, "spec": {"selector": {}, "serviceName": "", "template": template}});
        let mut set = serde_json::from_value(object.clone()).unwrap();
        around::prune_set(&mut set);
        assert_eq!(pods::stateful_set(&set, &fixtures::policy().redis.role_label).limit_at, expected);
        let mut set = serde_json::from_value(object).unwrap();
        around::prune_replica_set(&mut set);
        assert_eq!(pods::deployment(&set).limit_at, expected);
    }

    #[test]
    fn the_resource_of_a_pod_is_known_from_a_cache_too() {
        let owner = |kind: &str| json!([{"apiVersion": "x", "kind": kind, "name": "cache-redis", "uid": "u", "controller": true}]);
        let pod = |kind: &str| {
            let meta = json!({"name": "cache-redis-0", "labels": {"app.kubernetes.io/instance": "cache"}, "ownerReferences": owner(kind)});
            let spec = json!({"containers": [{"name": "redis", "ports": [{"containerPort": 6379}]}]});
            let mut pod = serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap();
            cache::prune(&mut pod);
            pods::pod(&pod, &fixtures::policy().redis).limit_at
        };
        let Some(LimitAt::Resource { kind, name, .. }) = pod("InstanceSet") else { panic!("{:?}", pod("InstanceSet")) };
        assert_eq!((kind.as_str(), name.as_str()), ("Cluster", "cache"));
        assert_eq!(pod("StatefulSet"), None, "the set says it");
    }
}
