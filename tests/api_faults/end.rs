//! The end that every remediation must come to, whatever happened on the way.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{ResourceExt as _, api::ListParams};
use pretty_assertions::assert_eq;

use crate::{
    common::writer::{self, Writer},
    world::{SET, World, eventually, is_ready},
};

/// FAILOVER's own bound of 3 s, the watchdog's margin of 3 s, and what a busy machine adds.
const PAUSE_BOUND: Duration = Duration::from_secs(7);

/// What is left after a remediation, without what differs from run to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    outcome: String,
    primary: Option<String>,
    /// How often each pod was started, the first time included.
    starts: BTreeMap<String, usize>,
    /// Label, readiness, memory limit, `maxmemory`, whom it follows.
    pods: BTreeMap<String, [String; 5]>,
    /// Pods behind the Service.
    endpoints: Vec<String>,
    /// Restarts that the status remembers.
    restarts: Vec<String>,
}

impl End {
    /// Each pod once, in the order of the main job, everything as before but the primary.
    pub(crate) fn undisturbed() -> Self {
        let pods = || ["redis-0", "redis-1", "redis-2"].map(str::to_owned);
        let of = |pod: &str| {
            let primary = pod == "redis-1";
            let role = if primary { "primary" } else { "replica" };
            let follows = if primary { "nobody" } else { "redis-1" };
            [role, "Ready", "144Mi", "83886080", follows].map(str::to_owned)
        };
        Self {
            outcome: "Succeeded".into(),
            primary: Some("redis-1".into()),
            starts: pods().into_iter().map(|pod| (pod, 2)).collect(),
            pods: pods().into_iter().map(|pod| (pod.clone(), of(&pod))).collect(),
            endpoints: vec!["redis-1".into()],
            restarts: pods().to_vec(),
        }
    }

    async fn of(world: &World, outcome: String) -> Self {
        let mut starts = BTreeMap::new();
        for started in world.node.started() {
            *starts.entry(started.pod).or_insert(0) += 1;
        }
        let mut pods = BTreeMap::new();
        for pod in world.pods().await {
            let name = pod.name_any();
            let described = Self::describe(world, &pod).await;
            pods.insert(name, described);
        }
        let policy = world.policy().await.unwrap_or_default();
        let restarts = policy.pointer("/status/workloads/0/restarts").and_then(|it| it.as_array()).cloned();
        let mut restarts: Vec<String> =
            restarts.into_iter().flatten().filter_map(|it| Some(it["pod"].as_str()?.to_owned())).collect();
        restarts.sort();
        let endpoints = endpoints(world).await;
        Self { outcome, primary: world.node.primary().await, starts, pods, endpoints, restarts }
    }

    async fn describe(world: &World, pod: &k8s_openapi::api::core::v1::Pod) -> [String; 5] {
        let label = pod.labels().get("redismemory.io/role").cloned().unwrap_or_default();
        let ready = if is_ready(pod) { "Ready" } else { "not Ready" }.to_owned();
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
        let limit = container
            .and_then(|container| container.resources.as_ref()?.limits.as_ref()?.get("memory").cloned())
            .map_or_else(String::new, |quantity| quantity.0);
        let running = world.node.of(&pod.name_any());
        let (mut maxmemory, mut follows) = (String::new(), "nobody".to_owned());
        if let Some(running) = running {
            maxmemory = running.process.setting("maxmemory").await.unwrap_or_default();
            let info = running.process.info("replication").await.unwrap_or_default();
            if let Some(host) = info.lines().find_map(|line| line.trim_end().strip_prefix("master_host:")) {
                let of = |ip: &str| world.node.running().into_iter().find(|it| it.ip.to_string() == ip);
                follows = of(host).map_or_else(|| host.to_owned(), |running| running.pod);
            }
        }
        [label, ready, limit, maxmemory, follows]
    }
}

async fn endpoints(world: &World) -> Vec<String> {
    let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={SET}"));
    let slices = world.api::<EndpointSlice>().list(&of_service).await.map(|list| list.items).unwrap_or_default();
    let mut names: Vec<String> = slices
        .into_iter()
        .flat_map(|slice| slice.endpoints)
        .filter(|end| end.conditions.as_ref().and_then(|it| it.ready) != Some(false))
        .filter_map(|end| end.target_ref?.name)
        .collect();
    names.sort();
    names
}

/// Waits for the end of the remediation, and asserts that it is the undisturbed one: every pod once, no acknowledged
/// write lost, no write blocked beyond its bound.
pub(crate) async fn assert_undisturbed(world: &World, writer: Writer) {
    let outcome = eventually("the end of the remediation", async || world.outcome().await).await;
    let wanted = End::undisturbed();
    let mut last = None;
    // Labels and limits are upkeep, and EndpointSlices a controller's: they follow within seconds.
    let settled = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let end = End::of(world, outcome.clone()).await;
            let done = end == wanted;
            last = Some(end);
            if done {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    if settled.await.is_err() {
        assert_eq!(last, Some(wanted));
    }
    assert_nothing_lost(world, writer).await;
}

/// No acknowledged write is missing on any member, and no server blocked writes for longer than it may.
pub(crate) async fn assert_nothing_lost(world: &World, writer: Writer) {
    let acknowledged = writer.stop().await;
    assert!(acknowledged.count > 100, "the writer wrote: {acknowledged:?}");
    let primary = world.node.primary().await.expect("one primary");
    let primary = world.node.of(&primary).expect("it runs");
    assert_eq!(writer::lost(primary.process.address(), acknowledged.count).await, 0, "acknowledged writes are lost");
    let pauses = world.node.pauses();
    assert!(pauses.writes > 100, "{pauses:?}");
    assert!(pauses.longest_write < PAUSE_BOUND, "a server blocked a write for too long: {pauses:?}");
    assert!(pauses.longest_paused_reason < PAUSE_BOUND, "a server paused writes for too long: {pauses:?}");
    println!(
        "{}: {} writes acknowledged, longest gap {} ms, longest write that a server blocked {} ms, paused for {} ms{}",
        world.namespace,
        acknowledged.count,
        acknowledged.gap.as_millis(),
        pauses.longest_write.as_millis(),
        pauses.longest_paused_reason.as_millis(),
        if pauses.reason_known { "" } else { " (it cannot say)" }
    );
}
