//! Reads: workloads, Services, rights, Secrets, and the cache of pods.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Pod, Secret, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    core::{Expression, Selector},
};
use redis_memory_operator::{
    domain::{
        names::PodUid,
        pod::{Owner, Right, Rights},
        policy::{RoleLabel, SecretKey},
    },
    kube_io::{around::Around, cache::PodCache, read::Reader, secrets::Secrets},
    observe::pods,
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::sandbox::{Sandbox, acting_as, eventually, is_ready, pod, pod_spec};

const PATIENCE: Duration = Duration::from_secs(60);

fn role_label() -> RoleLabel {
    RoleLabel { key: "role".into(), primary: "primary".into(), replica: "replica".into() }
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server"]
async fn a_workload_is_read_with_its_owner_services_and_endpoints() {
    let sandbox = Sandbox::new("workload").await;
    let ns = sandbox.namespace.as_str();
    let set = json!({
        "metadata": { "name": "redis" },
        "spec": {
            "replicas": 1, "serviceName": "redis", "selector": { "matchLabels": { "app": "redis" } },
            "template": { "metadata": { "labels": { "app": "redis", "role": "primary" } }, "spec": pod_spec("64Mi") },
        },
    });
    let set: StatefulSet = sandbox.create(set).await;
    for (name, selector) in [("writes", json!({ "role": "primary" })), ("all", json!({ "app": "redis" }))] {
        let service =
            json!({ "metadata": { "name": name }, "spec": { "selector": selector, "ports": [{ "port": 6379 }] } });
        let _: Service = sandbox.create(service).await;
    }
    let stored = sandbox.pod_when("redis-0", is_ready).await;
    let uid = PodUid::new(stored.uid().expect("a UID"));

    eventually("the endpoint is ready", || async {
        let slices = sandbox.reader.endpoint_slices(ns, "writes").await.expect("EndpointSlices");
        (pods::ready_pods(&slices) == [uid.clone()]).then_some(())
    })
    .await;
    let services = sandbox.reader.services(ns).await.expect("Services");
    let taking = services.iter().filter_map(|service| pods::service(service, [&stored], &role_label()));
    let mut taking: Vec<_> = taking.map(|service| (service.name.clone(), service.takes)).collect();
    taking.sort();
    assert_eq!(taking, [("all".to_owned(), vec!["redis-0".into()]), ("writes".to_owned(), vec!["redis-0".into()])]);

    let read = sandbox.reader.stateful_set(ns, "redis").await.expect("an answer").expect("a StatefulSet");
    let read = pods::stateful_set(&read, &role_label());
    assert_eq!(read.uid.as_str(), set.uid().expect("a UID"));
    assert!(read.observed && read.current_revision == read.update_revision, "{read:?}");
    assert_eq!(read.template_role_label.as_deref(), Some("primary"));
    assert_eq!(stored.labels().get("controller-revision-hash"), Some(&read.current_revision));

    let owner = Owner { kind: "StatefulSet".into(), name: "redis".into(), uid: read.uid };
    assert!(sandbox.reader.owner_exists(ns, &owner).await.expect("an answer"));
    for wrong in [
        Owner { uid: "other".into(), ..owner.clone() },
        Owner { name: "other".into(), ..owner.clone() },
        Owner { kind: "ReplicaSet".into(), ..owner },
    ] {
        assert!(!sandbox.reader.owner_exists(ns, &wrong).await.expect("an answer"), "{wrong:?}");
    }

    let listed = sandbox.reader.pods(ns, "app=redis,role in (primary)").await.expect("pods");
    assert_eq!(listed.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["redis-0"]);
    assert!(sandbox.reader.pod(ns, &"redis-1".into()).await.expect("an answer").is_none());
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server"]
async fn rights_are_what_the_api_server_says() {
    let sandbox = Sandbox::new("rights").await;
    let ns = sandbox.namespace.as_str();
    let all = Rights { evict: Right::Granted, resize: Right::Granted, label: Right::Granted };
    assert_eq!(sandbox.reader.rights(ns).await, all);
    let nobody = Reader::new(acting_as(&format!("system:serviceaccount:{ns}:default")).await, sandbox.clock);
    let none = Rights { evict: Right::Denied, resize: Right::Denied, label: Right::Denied };
    assert_eq!(nobody.rights(ns).await, none);
    assert!(sandbox.reader.resize_supported().await);
    let error = nobody.pods(ns, "app=redis").await.expect_err("no right to list");
    assert!(error.is_forbidden(), "{error:?}");
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server"]
async fn a_secret_is_read_by_key_and_its_failures_are_told_apart() {
    let sandbox = Sandbox::new("secret").await;
    let ns = sandbox.namespace.as_str();
    let secret = json!({ "metadata": { "name": "redis-auth" }, "stringData": { "password": "hunter2" } });
    let _: Secret = sandbox.create(secret).await;
    let wanted = |name: &str, key: &str| SecretKey { name: name.into(), key: key.into() };

    let secrets = Secrets::new(sandbox.client.clone());
    let value = secrets.get(ns, &wanted("redis-auth", "password")).await.expect("a value");
    assert_eq!(value.as_str(), "hunter2");
    let no_key = secrets.get(ns, &wanted("redis-auth", "pasword")).await.expect_err("no such key");
    assert_eq!(no_key.text(), format!("Secret {ns}/redis-auth has no key pasword"));
    let missing = secrets.get(ns, &wanted("other", "password")).await.expect_err("no such Secret");
    assert_eq!(missing.text(), format!("Secret {ns}/other does not exist (its key password is wanted)"));

    let nobody = Secrets::new(acting_as(&format!("system:serviceaccount:{ns}:default")).await);
    let forbidden = nobody.get(ns, &wanted("redis-auth", "password")).await.expect_err("no right");
    assert!(forbidden.text().contains(&format!("secretAccess: [{{namespace: {ns}, names: [redis-auth]}}]")));
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server"]
async fn the_cache_follows_the_selected_pods() {
    let sandbox = Sandbox::new("cache").await;
    let (wake, mut woken) = mpsc::unbounded_channel();
    let wake = Arc::new(move |follower: &str| drop(wake.send(follower.to_owned())));
    let cache = PodCache::watch(sandbox.client.clone(), &sandbox.namespace, Arc::new(|| {}), wake);
    let app = |name: &str| Selector::from(Expression::Equal("app".into(), name.to_owned()));
    cache.follow("redis", "app=redis", || app("redis"));
    cache.follow("all", "app", || Expression::Exists("app".into()).into());
    let names = |follower: &str| {
        let mut names: Vec<_> = cache.seen(follower).pods.iter().map(|pod| pod.name_any()).collect();
        names.sort();
        names
    };
    // Each look follows a wake of somebody: nothing is missed that nobody is woken for.
    let mut until = async |holds: &dyn Fn() -> bool| {
        let look = async {
            while !holds() {
                woken.recv().await.expect("a running watch");
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect("in time");
        std::iter::from_fn(|| woken.try_recv().ok()).for_each(drop);
    };
    until(&|| cache.seen("redis").synced).await;
    assert_eq!(names("redis").len(), 0, "synced, though there is no pod");

    let mut other = pod("other", "64Mi");
    other["metadata"]["labels"]["app"] = json!("else");
    let _: Pod = sandbox.create(other).await;
    sandbox.running_pod("redis-0", "64Mi").await;
    until(&|| cache.seen("redis").pods.first().is_some_and(|pod| is_ready(pod)) && names("all").len() == 2).await;
    assert_eq!((names("redis"), names("all")), (vec!["redis-0".into()], vec!["other".into(), "redis-0".into()]));
    let cached = cache.seen("redis").pods.remove(0);
    assert_eq!(cached.metadata.managed_fields, None, "pruned");
    assert_eq!(cache.seen("redis").failing, None);

    // Who comes later sees what is there already.
    cache.follow("late", "app in (else)", || app("else"));
    until(&|| cache.seen("late").synced).await;
    assert_eq!(names("late"), ["other"]);

    let api = sandbox.api::<Pod>();
    let relabel = json!({ "metadata": { "labels": { "app": "else" } } });
    api.patch("redis-0", &PatchParams::default(), &Patch::Merge(&relabel)).await.expect("relabelled");
    until(&|| names("redis").is_empty() && names("late").len() == 2).await;
    api.delete("redis-0", &DeleteParams::default()).await.expect("deleted");
    until(&|| names("all") == ["other"]).await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server"]
async fn what_lies_around_the_pods_is_known_as_soon_as_it_changes() {
    let sandbox = Sandbox::new("around").await;
    let around = Around::new(sandbox.client.clone(), &sandbox.namespace, Arc::new(|kind| panic!("{kind} fails")));
    around.begun().await;
    assert_eq!(around.services().map(|all| all.len()), Some(0));
    assert!(around.stateful_set("redis").is_some_and(|set| set.is_none()));
    let service = json!({ "metadata": { "name": "writes" }, "spec": { "selector": { "app": "redis" }, "ports": [{ "port": 6379 }] } });
    let _: Service = sandbox.create(service).await;
    let budget = json!({
        "metadata": { "name": "redis" },
        "spec": { "maxUnavailable": 1, "selector": { "matchLabels": { "app": "redis" } } },
    });
    let _: PodDisruptionBudget = sandbox.create(budget).await;
    let stored = sandbox.running_pod("redis-0", "64Mi").await;
    let uid = PodUid::new(stored.uid().expect("a UID"));
    eventually("the Service and its endpoint are known", async || {
        let slices = around.endpoint_slices(&["writes".to_owned()])?;
        let ready = pods::ready_pods(slices.values().flatten().map(AsRef::as_ref));
        (ready == [uid.clone()] && around.services()?.len() == 1 && around.disruption_budgets()?.len() == 1)
            .then_some(())
    })
    .await;
    let live = sandbox.reader.services(&sandbox.namespace).await.expect("Services");
    let read = |service: &Service| pods::service(service, [&stored], &role_label());
    assert_eq!(
        around.services().expect("known").iter().map(|it| read(it)).collect::<Vec<_>>(),
        live.iter().map(read).collect::<Vec<_>>()
    );
}
