//! Two replicas of the operator: one acts, the other finishes what the first has to leave, and nobody acts after his
//! time.

use std::time::Duration;

use crate::{
    end::assert_undisturbed,
    operator::{Operator, Options},
    world::{World, eventually},
};

/// The lease of production, and what a successor may need on top.
const LEASE: Duration = Duration::from_secs(15);
const RESUMED_WITHIN: Duration = Duration::from_secs(5);
/// A machine that stood still: longer than the lease.
const STALL: Duration = Duration::from_secs(30);

/// When the leader is disturbed.
#[derive(Clone, Copy, Debug)]
enum During {
    Await,
    Overlap,
}

impl During {
    async fn comes(self, world: &World) {
        match self {
            Self::Await => {
                let waits = async || (world.step().await? == "AwaitReplica").then_some(());
                eventually("a replica that is waited for", waits).await;
            }
            Self::Overlap => {
                // Both pods have the primary's label: FAILOVER is a second away.
                let label = |pod: &k8s_openapi::api::core::v1::Pod| {
                    let labels = pod.metadata.labels.as_ref();
                    labels.and_then(|labels| labels.get("redismemory.io/role")).is_some_and(|role| role == "primary")
                };
                let overlaps = async || (world.pods().await.iter().filter(|pod| label(pod)).count() == 2).then_some(());
                eventually("the overlap of the labels", overlaps).await;
            }
        }
    }
}

fn named(identity: &'static str) -> Options {
    Options { identity, ..Options::default() }
}

/// Disturbs the leader, and asserts that the other finishes, in time, and that the first changes nothing more.
async fn assert_succeeded(name: &str, during: During, signal: &str) {
    let world = World::new(name).await;
    let mut first = Operator::start(&world, named("operator-a")).await;
    eventually("a leader", async || first.leads().await.then_some(())).await;
    let second = Operator::start(&world, named("operator-b")).await;
    let writer = world.writer().await;
    world.apply_policy().await;
    during.comes(&world).await;
    assert_eq!(second.proxy.writes_since(Duration::ZERO).len(), 0, "a standby changed something");

    first.signal(signal);
    let (disturbed, stalled) = (second.proxy.now(), first.proxy.now());
    if signal == "STOP" {
        tokio::time::sleep(STALL).await;
        first.signal("CONT");
    }
    let resumed = eventually("the successor's first change", async || {
        second.proxy.writes_since(disturbed).first().map(|seen| seen.at)
    })
    .await;
    assert_undisturbed(&world, writer).await;

    let took = resumed.saturating_sub(disturbed);
    println!("{name}: resumed {:.1} s after SIG{signal}", took.as_secs_f32());
    assert!(took < LEASE + RESUMED_WITHIN, "resumed after {took:?}");
    match signal {
        "TERM" => assert!(first.ended().await.success(), "it stops in good order"),
        "KILL" => assert!(!first.ended().await.success()),
        _ => {
            // What was on the wire when it stopped had been sent in time; after that it sends nothing.
            let late = first.proxy.writes_since(stalled + Duration::from_millis(500));
            assert!(late.is_empty(), "changed after its lease was lost: {late:?}");
            assert!(first.try_ended().is_none() && !first.leads().await, "it stands by");
            assert!(second.leads().await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn a_leader_that_is_killed() {
    tokio::join!(
        assert_succeeded("kill-await", During::Await, "KILL"),
        assert_succeeded("kill-overlap", During::Overlap, "KILL"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn a_leader_that_is_asked_to_stop() {
    tokio::join!(
        assert_succeeded("term-await", During::Await, "TERM"),
        assert_succeeded("term-overlap", During::Overlap, "TERM"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn a_leader_that_stands_still_for_thirty_seconds() {
    tokio::join!(
        assert_succeeded("stall-await", During::Await, "STOP"),
        assert_succeeded("stall-overlap", During::Overlap, "STOP"),
    );
}
