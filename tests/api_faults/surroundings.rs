//! What lies around the operator and is not a fault of a request: an API server that is away, policies that go or cannot
//! be evaluated, another install, and somebody who writes into its status.

use std::time::Duration;

use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use redis_memory_operator::api::v1alpha1::RedisMemoryPolicy;
use serde_json::{Value, json};

use crate::{
    end::{End, assert_ends_as, assert_undisturbed},
    fake_kubelet::patient_ask,
    fault_proxy::{Fault, Kind, Times},
    operator::{Operator, Options},
    shape::Shape,
    world::{PROXY, SET, World, eventually},
};

/// Longer than the term of leadership that is used here.
const OUTAGE: Duration = Duration::from_secs(20);
/// Deletions are through by then.
const DELETED_WITHIN: Duration = Duration::from_secs(30);

async fn series(operator: &Operator) -> Vec<String> {
    let page = operator.metrics().await.unwrap_or_default();
    page.lines().filter(|line| line.contains(&format!("policy=\"{SET}\""))).map(str::to_owned).collect()
}

fn oldest_sample(series: &[String]) -> f64 {
    let ages = series.iter().filter(|line| line.starts_with("redis_memory_policy_sample_age_seconds"));
    ages.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).fold(0.0, f64::max)
}

/// Pods that are asked for their memory.
async fn sampled(operator: &Operator) -> usize {
    series(operator).await.iter().filter(|line| line.contains("sample_age_seconds")).count()
}

async fn watched(operator: &Operator) {
    eventually("series of every pod", async || (sampled(operator).await == 3).then_some(())).await;
}

async fn condition(world: &World, kind: &str) -> Option<Value> {
    let policy = world.policy().await?;
    policy["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind).cloned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn the_api_server_is_away() {
    let world = World::new("away").await;
    let operator = Operator::start(&world, Options::default()).await;
    world.apply_policy().await;
    watched(&operator).await;
    operator.proxy.inject(|_| true, Fault::Blackhole, Times::Always);
    eventually("the end of the term", async || (!operator.leads().await).then_some(())).await;
    let since = operator.proxy.now();
    while operator.proxy.now() < since + OUTAGE {
        let series = series(&operator).await;
        assert!(series.iter().any(|line| line.contains("fragmentation_ratio")), "series go on: {series:#?}");
        assert!(oldest_sample(&series) < 5.0, "probing goes on: {series:#?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let writer = world.writer().await;
    operator.proxy.heal();
    assert_undisturbed(&world, writer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn the_last_policy_goes() {
    let world = World::new("last").await;
    let operator = Operator::start(&world, Options::default()).await;
    operator.proxy.inject(
        |call| call.kind == Kind::Finalizer,
        Fault::Answer { code: 500, retry_after: None },
        Times::Always,
    );
    world.apply_policy().await;
    watched(&operator).await;
    operator.proxy.heal();
    world.api::<RedisMemoryPolicy>().delete(SET, &DeleteParams::default()).await.expect("it is deleted");
    eventually("nothing is exported any more", async || series(&operator).await.is_empty().then_some(())).await;
}

async fn change_spec(world: &World, spec: Value) {
    let policies: Api<RedisMemoryPolicy> = world.api();
    let patch = Patch::Merge(json!({ "spec": spec }));
    policies.patch(SET, &PatchParams::default(), &patch).await.expect("the API server takes it");
}

/// A time zone with a typo passes the API server.
fn typo() -> Value {
    json!({ "restart": { "windows": [{ "schedule": "0 3 * * *", "duration": "1h", "timeZone": "Europe/Berlinn" }] } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn a_typo_in_the_middle_neither_freezes_a_remediation_nor_a_deletion() {
    let world = World::new("typo").await;
    let operator = Operator::start(&world, Options::default()).await;
    world.apply_policy().await;
    eventually("a step under way", async || (world.step().await? == "AwaitReplica").then_some(())).await;
    change_spec(&world, typo()).await;
    let outcome = eventually("the end at a safe boundary", async || world.outcome().await).await;
    assert_eq!(outcome, "Superseded");
    let stalled = eventually("it is said", async || {
        condition(&world, "Stalled").await.filter(|condition| condition["status"] == "True")
    })
    .await;
    assert_eq!(stalled["reason"], "InvalidSpec", "{stalled}");
    // It was said while the remediation ran on under its old spec: what was watched for that is let go behind its end. That it is
    // not evaluated stays in the metrics.
    eventually("nothing is watched for it", async || (sampled(&operator).await == 0).then_some(())).await;
    let said = series(&operator).await;
    assert!(said.iter().any(|line| line.contains("level=\"Unknown\"} 1")), "{said:#?}");
    let since = operator.proxy.now();
    world.api::<RedisMemoryPolicy>().delete(SET, &DeleteParams::default()).await.expect("it is deleted");
    eventually("the end of the policy", async || world.policy().await.is_none().then_some(())).await;
    assert!(operator.proxy.now() < since + DELETED_WITHIN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn two_installs() {
    let world = World::new("installs").await;
    let first = Operator::start(&world, Options::default()).await;
    let writer = world.writer().await;
    world.apply_policy().await;
    eventually("a step under way", async || (world.step().await? == "AwaitReplica").then_some(())).await;
    let extra = ["--lease-name", "another"].map(str::to_owned).to_vec();
    let second = Operator::start(&world, Options { identity: "operator-b", extra, ..Options::default() }).await;
    eventually("a second leader", async || second.leads().await.then_some(())).await;
    assert_undisturbed(&world, writer).await;
    let sent = second.proxy.seen().into_iter().filter(|seen| seen.call.kind.is_change());
    let acted: Vec<_> =
        sent.filter(|seen| !matches!(seen.call.kind, Kind::Status | Kind::Event | Kind::LeaseWrite)).collect();
    assert!(acted.is_empty(), "the second install changed something: {acted:?}");
    drop(first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn somebody_writes_into_the_status() {
    let world = World::new("status").await;
    let _operator = Operator::start(&world, Options::default()).await;
    change_after(&world).await;
    eventually("our status again", async || {
        (world.policy().await?["status"]["summary"]["targets"] == json!(3)).then_some(())
    })
    .await;
}

/// A status that somebody set by hand, in the first moment.
async fn change_after(world: &World) {
    world.apply_policy().await;
    let policies: Api<RedisMemoryPolicy> = world.api();
    eventually("a status", async || condition(world, "Ready").await).await;
    let theirs = Patch::Merge(json!({ "status": { "summary": { "targets": 99, "reachable": 99, "compliant": 99 } } }));
    policies.patch_status(SET, &PatchParams::default(), &theirs).await.expect("anybody with the right may");
}

/// While there is a chain only its end is restarted, and when that is clean nobody is. Without the chain the others are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn of_a_chain_of_replicas_the_end_is_restarted() {
    let world = World::new("chained").await;
    let at = |pod: &str| world.node.of(pod).expect("it runs");
    let follow = async |above: &str| {
        // A start that decides so too: put there afterwards it would be too late where a next plan has begun without a chain.
        world.node.chain("redis-2", (above != "redis-0").then_some(above));
        let ip = at(above).ip.to_string();
        let follow = ["REPLICAOF", &ip, "6379"];
        patient_ask(at("redis-2").process.address(), &follow).await.expect("REPLICAOF");
        let says = format!("master_host:{ip}\r\nmaster_port:6379\r\nmaster_link_status:up");
        eventually("the link of the last", async || {
            at("redis-2").process.info("replication").await.filter(|info| info.contains(&says)).map(drop)
        })
        .await;
    };
    follow("redis-1").await;
    let _operator = Operator::start(&world, Options::default()).await;
    let writer = world.writer().await;
    world.apply_policy().await;
    let restarted = || world.node.started().split_off(3).into_iter().map(|it| it.pod).collect::<Vec<_>>();
    let before = at("redis-2").uid;
    eventually("the restart of the end", async || world.node.of("redis-2").filter(|it| it.uid != before)).await;
    let outcome = eventually("the end of the remediation", async || world.outcome().await).await;
    assert_eq!(outcome, "Succeeded");
    let refused = eventually("the refusal", async || {
        condition(&world, "RemediationBlocked").await.filter(|condition| condition["status"] == "True")
    })
    .await;
    assert_eq!(refused["reason"], "ChainedReplicas", "{refused}");
    assert_eq!(restarted(), ["redis-2"], "nobody else was restarted");
    follow("redis-0").await;
    eventually("the restart of the others", async || (restarted().len() == 3).then_some(())).await;
    assert_eq!(restarted(), ["redis-2", "redis-1", "redis-0"]);
    // The clean one of the replicas has the role.
    assert_ends_as(&world, writer, End::led_by(world.shape, 2)).await;
}

/// Writers come through HAProxy, which stands still when a Sentinel moves the role: the old primary stays until it leads to the
/// new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn a_proxy_notices_late_who_is_primary() {
    let world = World::with("proxy", Shape::Watched, "redis-server".into()).await;
    world.proxy().await;
    let _operator = Operator::start(&world, Options::default()).await;
    let writer = world.writer().await;
    world.apply_policy().await;
    let way = eventually("the proxy in the journal", async || {
        world.policy().await?.pointer("/status/journal/proxies/0").cloned()
    })
    .await;
    assert_eq!(way, PROXY);
    let proxy = world.node.proxies().into_iter().next().expect("there is one");
    proxy.signal("STOP");
    let refused = eventually("the wait for the proxy", async || {
        let blocked = condition(&world, "RemediationBlocked").await?;
        (blocked["reason"] == "ClientsPinned").then(|| blocked["message"].as_str().unwrap_or_default().to_owned())
    })
    .await;
    assert!(refused.contains("the proxy behind Service proxy leads its clients to nobody"), "{refused}");
    let primary = world.node.primary().await.expect("one primary");
    assert_ne!(primary, "redis-0", "the role has moved");
    let starts = world.node.started().into_iter().filter(|started| started.pod == "redis-0").count();
    assert_eq!(starts, 1, "the old primary is there");
    proxy.signal("CONT");
    assert_undisturbed(&world, writer).await;
    assert_eq!(proxy.role().await.as_deref(), Some("master"), "it leads to the new one");
}
