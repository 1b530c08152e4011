//! The end that every remediation must come to, whatever happened on the way.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{ResourceExt as _, api::ListParams};
use pretty_assertions::assert_eq;

use crate::{
    common::writer::{self, Writer},
    fake_kubelet,
    shape::{SENTINELS, Shape},
    world::{REPLICAS, SET, World, eventually, is_ready},
};

/// FAILOVER's own bound of 3 s, the watchdog's margin of 3 s, and what a busy machine adds.
const PAUSE_BOUND: Duration = Duration::from_secs(7);

/// A member as it is left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) label: String,
    pub(crate) ready: bool,
    pub(crate) limit: String,
    pub(crate) maxmemory: String,
    pub(crate) backlog: String,
    /// The pod, or nobody.
    pub(crate) follows: String,
}

/// What is left after a remediation, without what differs from run to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    outcome: String,
    primary: Option<String>,
    /// How often each pod was started, the first time included.
    pub(crate) starts: BTreeMap<String, usize>,
    members: BTreeMap<String, Member>,
    /// Pods behind the Service.
    endpoints: Vec<String>,
    /// Restarts that the status remembers.
    restarts: Vec<String>,
}

impl End {
    /// Each pod once, in the order of the main job, everything as before but, where it moves, the primary.
    pub(crate) fn undisturbed(shape: Shape) -> Self {
        Self::led_by(shape, usize::from(!shape.in_place()))
    }

    /// The same, where somebody else chooses the primary.
    pub(crate) fn led_by(shape: Shape, primary: usize) -> Self {
        let members = shape.end(primary);
        let primary = members.iter().find(|(_, member)| member.follows == "nobody").map(|(pod, _)| pod.clone());
        Self {
            outcome: "Succeeded".into(),
            starts: members.keys().map(|pod| (pod.clone(), 2)).collect(),
            endpoints: if shape.under_sentinel() {
                (0..REPLICAS).map(|n| format!("{SENTINELS}-{n}")).collect()
            } else {
                primary.iter().cloned().collect()
            },
            restarts: members.keys().cloned().collect(),
            primary,
            members,
        }
    }

    /// Nobody was restarted, and no remediation was begun.
    pub(crate) fn untouched(shape: Shape) -> Self {
        let end = Self::led_by(shape, 0);
        let starts = end.members.keys().map(|pod| (pod.clone(), 1)).collect();
        Self { outcome: String::new(), starts, restarts: Vec::new(), ..end }
    }

    async fn of(world: &World, outcome: String) -> Self {
        let mut starts = BTreeMap::new();
        for started in world.node.started().into_iter().filter(|it| it.pod.starts_with(SET)) {
            *starts.entry(started.pod).or_insert(0) += 1;
        }
        let mut members = BTreeMap::new();
        for pod in world.pods().await {
            members.insert(pod.name_any(), Self::describe(world, &pod).await);
        }
        let policy = world.policy().await.unwrap_or_default();
        let restarts = policy.pointer("/status/workloads/0/restarts").and_then(|it| it.as_array()).cloned();
        let mut restarts: Vec<String> =
            restarts.into_iter().flatten().filter_map(|it| Some(it["pod"].as_str()?.to_owned())).collect();
        restarts.sort();
        let endpoints = endpoints(world).await;
        Self { outcome, primary: world.node.primary().await, starts, members, endpoints, restarts }
    }

    async fn describe(world: &World, pod: &k8s_openapi::api::core::v1::Pod) -> Member {
        let label = pod.labels().get("redismemory.io/role").cloned().unwrap_or_default();
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
        let limit = container
            .and_then(|container| container.resources.as_ref()?.limits.as_ref()?.get("memory").cloned())
            .map_or_else(String::new, |quantity| quantity.0);
        let running = world.node.of(&pod.name_any());
        let (mut maxmemory, mut backlog, mut follows) = (String::new(), String::new(), "nobody".to_owned());
        if let Some(running) = running {
            maxmemory = running.process.setting("maxmemory").await.unwrap_or_default();
            backlog = running.process.setting("repl-backlog-size").await.unwrap_or_default();
            let info = running.process.info("replication").await.unwrap_or_default();
            if let Some(host) = info.lines().find_map(|line| line.trim_end().strip_prefix("master_host:")) {
                let named = |running: &fake_kubelet::Running| host.starts_with(&format!("{}.", running.pod));
                let of = |ip: &str| world.node.running().into_iter().find(|it| it.ip.to_string() == ip || named(it));
                follows = of(host).map_or_else(|| host.to_owned(), |running| running.pod);
            }
        }
        Member { label, ready: is_ready(pod), limit, maxmemory, backlog, follows }
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
    let wanted = if world.shape.under_sentinel() {
        eventually("the end of the remediation", async || world.outcome().await).await;
        let primary = eventually("one primary", async || world.node.primary().await).await;
        let number = primary.rsplit_once('-').and_then(|(_, number)| number.parse().ok());
        End::led_by(world.shape, number.filter(|n| *n > 0).expect("another than the first"))
    } else {
        End::undisturbed(world.shape)
    };
    assert_ends_as(world, writer, wanted).await;
}

/// The same with another end.
pub(crate) async fn assert_ends_as(world: &World, writer: Writer, wanted: End) {
    let outcome = eventually("the end of the remediation", async || world.outcome().await).await;
    assert_settles_as(world, writer, outcome, wanted).await;
}

/// The set is, or is soon, as after such a remediation.
pub(crate) async fn assert_settles_as(world: &World, writer: Writer, outcome: String, wanted: End) {
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
