//! Pods that run HAProxy in front of the set of the namespace: it leads clients to the server that says that it is primary, by
//! checks of its own.

use std::{path::Path, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::{
    State,
    address::Address,
    node::{gone, show_running},
    process::{PORT, RedisProcess},
};

/// Whether that pod is one of them.
pub(super) fn is_one(pod: &Pod) -> bool {
    pod.labels().get("app").is_some_and(|app| app == "haproxy")
}

pub(super) async fn look(state: &Arc<State>, pod: Pod) {
    if pod.metadata.deletion_timestamp.is_some() {
        state.proxies().remove(&pod.uid().unwrap_or_default());
        return gone(state, &pod).await;
    }
    if state.claim(&pod) {
        start(state, &pod).await;
    }
}

/// In front of everybody who runs now: they must keep their addresses.
async fn start(state: &Arc<State>, pod: &Pod) {
    let uid = pod.uid().unwrap_or_default();
    let address = Arc::new(Address::next());
    let servers: Vec<String> = state.all_running().iter().map(|running| running.ip.to_string()).collect();
    let process = run(&state.directory_of(&pod.name_any(), &uid), Arc::clone(&address), &servers);
    state.proxies().insert(uid.clone(), Arc::new(process));
    show_running(state, pod, address.0, "haproxy", "haproxy").await;
}

fn run(directory: &Path, address: Arc<Address>, servers: &[String]) -> RedisProcess {
    let ip = address.0;
    let mut lines: Vec<String> = [
        "defaults",
        "  mode tcp",
        "  timeout connect 4s",
        "  timeout client 330s",
        "  timeout server 330s",
        "  timeout check 2s",
        "listen writers",
    ]
    .map(str::to_owned)
    .to_vec();
    lines.push(format!("  bind {ip}:{PORT}"));
    lines.extend(["  option tcp-check", "  tcp-check send info\\ replication\\r\\n"].map(str::to_owned));
    lines.push("  tcp-check expect string role:master".to_owned());
    let server = |(n, server): (usize, &String)| format!("  server R{n} {server}:{PORT} check inter 1s fall 1 rise 1");
    lines.extend(servers.iter().enumerate().map(server));
    let file = directory.join("haproxy.cfg");
    std::fs::write(&file, lines.join("\n") + "\n").expect("a file");
    RedisProcess::run(Path::new("haproxy"), &["-db".to_owned(), "-f".to_owned(), file.display().to_string()], address)
}
