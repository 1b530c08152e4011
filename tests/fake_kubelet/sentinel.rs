//! Pods that run a Sentinel: it watches the set of the namespace, under the name "demo".

use std::{net::SocketAddr, path::Path, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::{
    LOOK, State,
    address::Address,
    node::{gone, show_running},
    process::{PORT, RedisProcess, ask, field},
};

/// Where Sentinels listen.
const SENTINEL_PORT: u16 = 26379;
/// Short times, so that a whole remediation takes seconds.
const SETTINGS: &[(&str, &str)] = &[("down-after-milliseconds", "5000"), ("failover-timeout", "5000")];
/// Twice `failover-timeout`, and then some: nobody acts on a set whose Sentinels were started since.
const CALM_SECONDS: u64 = 11;

/// Whether that pod is one of them.
pub(super) fn is_one(pod: &Pod) -> bool {
    pod.labels().get("app").is_some_and(|app| app == "sentinel")
}

pub(super) async fn look(state: &Arc<State>, pod: Pod) {
    if pod.metadata.deletion_timestamp.is_some() {
        state.sentinels().remove(&pod.uid().unwrap_or_default());
        return gone(state, &pod).await;
    }
    if state.claim(&pod) {
        tokio::spawn(start(Arc::clone(state), pod));
    }
}

async fn start(state: Arc<State>, pod: Pod) {
    let primary = loop {
        let mut primaries = Vec::new();
        for running in state.all_running() {
            if running.process.role().await.as_deref() == Some("master") {
                primaries.push(running.ip.to_string());
            }
        }
        if let [primary] = primaries.as_slice() {
            break primary.clone();
        }
        tokio::time::sleep(LOOK).await;
    };
    let uid = pod.uid().unwrap_or_default();
    let address = Arc::new(Address::next());
    let process = run(&state.server, &state.directory_of(&pod.name_any(), &uid), Arc::clone(&address), &primary);
    state.sentinels().insert(uid.clone(), Arc::new(process));
    show_running(&state, &pod, address.0, "sentinel", "redis").await;
}

/// Whether that Sentinel knows two replicas and all three Sentinels, and has watched long enough to be believed.
pub(super) async fn is_calm(sentinel: &RedisProcess) -> bool {
    let address = SocketAddr::new(sentinel.ip().into(), SENTINEL_PORT);
    let Some(info) = ask(address, &["INFO"]).await else { return false };
    let uptime: Option<u64> = field(&info, "uptime_in_seconds").and_then(|seconds| seconds.parse().ok());
    info.contains("status=ok") && info.contains("slaves=2,sentinels=3") && uptime.is_some_and(|up| up >= CALM_SECONDS)
}

fn run(server: &Path, directory: &Path, address: Arc<Address>, primary: &str) -> RedisProcess {
    let file = directory.join("sentinel.conf");
    std::fs::write(&file, "").expect("a file");
    let (ip, port) = (address.0.to_string(), SENTINEL_PORT.to_string());
    let mut words = vec![file.display().to_string(), "--sentinel".to_owned()];
    words.extend(["--port", &port, "--bind", &ip, "--protected-mode", "no"].map(str::to_owned));
    words.extend(["--sentinel", "monitor", "demo", primary, &PORT.to_string(), "2"].map(str::to_owned));
    // As with the servers: the source of a connection would be the address that is connected to.
    words.extend(["--sentinel", "announce-ip", &ip].map(str::to_owned));
    for (name, value) in SETTINGS {
        words.extend(["--sentinel", name, "demo", value].map(str::to_owned));
    }
    RedisProcess::run(server, &words, address)
}
