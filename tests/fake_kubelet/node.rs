//! The kubelet's part of the conversation with the API server.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Node, Pod},
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::{Value, json};

use super::{
    Keeps, LOOK, Running, State, haproxy,
    process::{self, Place, RedisProcess},
    sentinel,
    watcher::measure,
};

/// The node lifecycle controller gives a node 40 s.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Makes the node: tainted, so that nobody else's pods come here.
pub(super) async fn register(state: &State) {
    let nodes: Api<Node> = Api::all(state.client.clone());
    let node = json!({
        "metadata": { "name": state.node, "labels": { "kubernetes.io/hostname": state.node } },
        "spec": { "taints": [{ "key": "redismemory.io/fake", "effect": "NoSchedule" }] },
    });
    let node: Node = serde_json::from_value(node).expect("a Node");
    nodes.create(&PostParams::default(), &node).await.expect("a new node");
    let now = now(state);
    let status = json!({ "status": {
        "capacity": { "cpu": "8", "memory": "32Gi", "pods": "110" },
        "allocatable": { "cpu": "8", "memory": "32Gi", "pods": "110" },
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "a kubelet of the tests",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        }],
    }});
    nodes.patch_status(&state.node, &PatchParams::default(), &Patch::Merge(&status)).await.expect("a node's status");
    renew(state).await;
}

async fn renew(state: &State) {
    let leases: Api<Lease> = Api::namespaced(state.client.clone(), "kube-node-lease");
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": state.node },
        "spec": {
            "holderIdentity": state.node, "leaseDurationSeconds": 40, "renewTime": MicroTime(state.clock.now()),
        },
    });
    let params = PatchParams::apply("fake-kubelet").force();
    let _the_next_will_do = leases.patch(&state.node, &params, &Patch::Apply(&lease)).await;
}

pub(super) async fn keep_alive(state: Arc<State>) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        renew(&state).await;
    }
}

pub(super) async fn watch(state: Arc<State>) {
    let config = watcher::Config::default().fields(&format!("spec.nodeName={}", state.node)).page_size(50);
    let mut events = watcher::watcher(state.pods(), config).default_backoff().applied_objects().boxed();
    while let Some(event) = events.next().await {
        if let Ok(pod) = event {
            look(&state, pod).await;
        }
    }
}

async fn look(state: &Arc<State>, pod: Pod) {
    if haproxy::is_one(&pod) {
        return haproxy::look(state, pod).await;
    }
    if sentinel::is_one(&pod) {
        return sentinel::look(state, pod).await;
    }
    let uid = pod.uid().unwrap_or_default();
    let known = state.running().get(&uid).cloned();
    match known {
        None if pod.metadata.deletion_timestamp.is_some() => gone(state, &pod).await,
        None if state.claim(&pod) => drop(tokio::spawn(start(Arc::clone(state), pod))),
        None => {}
        Some(running) if pod.metadata.deletion_timestamp.is_some() && running.stopping => {}
        Some(running) if pod.metadata.deletion_timestamp.is_some() => {
            if let Some(running) = state.running().get_mut(&uid) {
                running.stopping = true;
            }
            tokio::spawn(stop(Arc::clone(state), pod, running));
        }
        Some(running) => show(state, &pod, &running).await,
    }
}

/// What the start script of a careful person does: a replica of the one that is primary, or of the one that it names; a
/// primary only as the first pod of a set of which none runs.
async fn start(state: Arc<State>, pod: Pod) {
    let first = pod.name_any().ends_with("-0");
    let named = state.keeps == Keeps::DataAndName;
    let primary = loop {
        if named {
            // As its arguments say, whether the primary is there or not.
            break (!first).then(|| first_of(&state, &pod));
        }
        if first && state.keeps == Keeps::NothingAndFirstLeads {
            break None;
        }
        if let Some(above) = state.above(&pod.name_any()) {
            break Some(above);
        }
        let others = state.all_running();
        let mut primary = None;
        for other in &others {
            if other.process.role().await.as_deref() == Some("master") {
                primary = Some(other.ip.to_string());
            }
        }
        if primary.is_some() || (first && others.is_empty()) {
            break primary;
        }
        tokio::time::sleep(LOOK).await;
    };
    let (name, uid) = (pod.name_any(), pod.uid().unwrap_or_default());
    let address = state.address_of(&name);
    if named && first {
        state.publish(&first_of(&state, &pod), address.0);
    }
    let place = Place { address, directory: &state.directory_of(&name, &uid), hosts: named.then(|| state.hosts()) };
    let process = Arc::new(RedisProcess::start(&state.server, &state.options, place, primary));
    while process.role().await.is_none() {
        assert!(!process.ended(), "redis-server of {} has ended", pod.name_any());
        tokio::time::sleep(LOOK / 4).await;
    }
    let running =
        Running { pod: name, uid: uid.clone(), ip: process.ip(), process, stopping: false, shown: String::new() };
    state.running().insert(uid, running.clone());
    tokio::spawn(measure(Arc::clone(&state), running.clone()));
    // It may have been deleted while it started.
    match state.pods().get_opt(&running.pod).await {
        Ok(Some(pod)) if pod.metadata.deletion_timestamp.is_none() => show(&state, &pod, &running).await,
        Ok(Some(pod)) if pod.uid().as_deref() == Some(&running.uid) => {
            if let Some(running) = state.running().get_mut(&running.uid) {
                running.stopping = true;
            }
            stop(state, pod, running).await;
        }
        _ => {}
    }
}

/// The stable name of the first pod of that pod's set.
fn first_of(state: &State, pod: &Pod) -> String {
    let subdomain = pod.spec.as_ref().and_then(|spec| spec.subdomain.clone()).unwrap_or_default();
    let name = pod.name_any();
    let set = name.rsplit_once('-').map_or(name.as_str(), |(set, _)| set);
    format!("{set}-0.{subdomain}.{}.svc", state.namespace)
}

async fn stop(state: Arc<State>, pod: Pod, running: Running) {
    let grace = pod.metadata.deletion_grace_period_seconds.and_then(|it| u64::try_from(it).ok()).unwrap_or(30);
    running.process.stop(Duration::from_secs(grace)).await;
    state.running().remove(&running.uid);
    gone(&state, &pod).await;
}

/// Confirms that nothing of the pod runs any more.
pub(super) async fn gone(state: &State, pod: &Pod) {
    let preconditions = Preconditions { uid: pod.uid(), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default().grace_period(0) };
    while let Err(error) = state.pods().delete(&pod.name_any(), &params).await {
        if matches!(&error, kube::Error::Api(status) if matches!(status.code, 404 | 409)) {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Readiness, as a probe each 200 ms would find it.
pub(super) async fn show_readiness(state: Arc<State>) {
    loop {
        tokio::time::sleep(LOOK).await;
        for running in state.all_running() {
            let info = running.process.info("everything").await.unwrap_or_default();
            let ready = is_ready(&info);
            if running.shown.starts_with(if ready { "true" } else { "false" }) {
                continue;
            }
            if let Ok(Some(pod)) = state.pods().get_opt(&running.pod).await
                && pod.uid().as_deref() == Some(&running.uid)
            {
                show_as(&state, &pod, &running, ready).await;
            }
        }
    }
}

fn is_ready(info: &str) -> bool {
    let field = |name| process::field(info, name);
    field("loading") == Some("0") && (field("role") == Some("master") || field("master_link_status") == Some("up"))
}

async fn show(state: &State, pod: &Pod, running: &Running) {
    let info = running.process.info("everything").await.unwrap_or_default();
    show_as(state, pod, running, is_ready(&info)).await;
}

/// Writes the pod's status when it says something new: readiness, address, and the limits that were asked for, which
/// this kubelet grants at once.
async fn show_as(state: &State, pod: &Pod, running: &Running, ready: bool) {
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first()).expect("a container");
    let resources = serde_json::to_value(&container.resources).expect("resources");
    let shown = format!("{ready} {resources}");
    if state.running().get(&running.uid).is_none_or(|known| known.shown == shown) {
        return;
    }
    let status = status(state, pod, running, ready, &container.name, &resources);
    let params = PatchParams { field_manager: Some("fake-kubelet".into()), ..PatchParams::default() };
    let patch = json!({ "metadata": { "uid": running.uid }, "status": status });
    if state.pods().patch_status(&running.pod, &params, &Patch::Merge(&patch)).await.is_ok()
        && let Some(known) = state.running().get_mut(&running.uid)
    {
        known.shown = shown;
    }
}

fn status(state: &State, pod: &Pod, running: &Running, ready: bool, container: &str, resources: &Value) -> Value {
    let now = now(state);
    let before = pod.status.as_ref().and_then(|status| status.start_time.clone());
    let started = before.map_or_else(|| now.clone(), |time| json!(time));
    let condition = |name: &str, holds: bool| {
        json!({
            "type": name, "status": if holds { "True" } else { "False" }, "lastTransitionTime": now,
        })
    };
    json!({
        "phase": "Running", "podIP": running.ip, "podIPs": [{ "ip": running.ip }], "startTime": started,
        "conditions": [
            condition("PodScheduled", true), condition("Initialized", true),
            condition("ContainersReady", ready), condition("Ready", ready),
        ],
        "containerStatuses": [{
            "name": container, "image": "redis", "imageID": "redis", "containerID": format!("fake://{}", running.uid),
            "ready": ready, "started": true, "restartCount": 0, "state": { "running": { "startedAt": started } },
            "resources": resources, "allocatedResources": resources["requests"],
        }],
    })
}

/// Says of a pod that does not run Redis that it runs, at that address, and is ready.
pub(super) async fn show_running(state: &State, pod: &Pod, ip: Ipv4Addr, container: &str, image: &str) {
    let (uid, started) = (pod.uid().unwrap_or_default(), now(state));
    let ready = json!([{ "type": "Ready", "status": "True", "lastTransitionTime": started }]);
    let container = json!([{
        "name": container, "image": image, "imageID": image, "containerID": format!("fake://{uid}"), "ready": true,
        "started": true, "restartCount": 0, "state": { "running": { "startedAt": started } },
    }]);
    let status = json!({
        "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }], "conditions": ready, "containerStatuses": container,
    });
    let patch = json!({ "metadata": { "uid": uid }, "status": status });
    let patched = state.pods().patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await;
    patched.expect("the status of a pod that runs");
}

fn now(state: &State) -> Value {
    let seconds = jiff::Timestamp::from_second(state.clock.now().as_second()).expect("in range");
    json!(seconds.to_string())
}
