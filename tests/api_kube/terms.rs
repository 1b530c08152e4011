//! Leadership on a real Lease.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::DeleteParams};
use redis_memory_operator::kube_io::{
    fence::{Fence, Fenced},
    lease::{Leadership, LeaseParams, run},
};
use tokio::sync::oneshot;

use crate::sandbox::Sandbox;

const NAME: &str = "operator";
const PATIENCE: Duration = Duration::from_secs(60);

struct Contender {
    leadership: Leadership,
    stop: oneshot::Sender<()>,
}

impl Contender {
    /// Lease 6 s, renewed every second, writes until 4 s after a renewal.
    fn start(sandbox: &Sandbox, identity: &str) -> Self {
        let params =
            LeaseParams::new(&sandbox.namespace, NAME, identity).timing(Duration::from_secs(6), Duration::from_secs(1));
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move { drop(stopped.await) };
        let leadership = run(params, sandbox.client.clone(), sandbox.clock, stopped).expect("usable settings");
        Self { leadership, stop }
    }

    fn leads(&self) -> bool {
        self.leadership.fence.borrow().as_ref().is_some_and(Fence::is_leader)
    }

    async fn led(&mut self) -> Fence {
        let leads = self.leadership.fence.wait_for(|fence| fence.as_ref().is_some_and(Fence::is_leader));
        let fence = tokio::time::timeout(PATIENCE, leads).await.expect("in time").expect("a running election");
        fence.clone().expect("a fence")
    }
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server"]
async fn of_two_exactly_one_leads_and_a_release_hands_over() {
    let sandbox = Sandbox::new("lease").await;
    let mut contenders = [Contender::start(&sandbox, "a"), Contender::start(&sandbox, "b")];
    let [first, second] = &mut contenders;
    let fence = tokio::select! { fence = first.led() => fence, fence = second.led() => fence };
    // Longer than a lease: the leader renews, the other waits.
    let both = async {
        loop {
            assert!(!(contenders[0].leads() && contenders[1].leads()), "two leaders");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(8), both).await.is_err());
    assert_eq!(fence.check(), Ok(()), "the leader kept its term");

    let [first, second] = contenders;
    let (leader, mut standby) = if first.leads() { (first, second) } else { (second, first) };
    let released = sandbox.clock.uptime();
    leader.stop.send(()).expect("a running election");
    tokio::time::timeout(PATIENCE, leader.leadership.task).await.expect("in time").expect("no panic");
    assert_eq!(fence.check(), Err(Fenced));
    standby.led().await;
    let gap = sandbox.clock.uptime().saturating_sub(released);
    assert!(gap < Duration::from_secs(3), "took over {gap:?} after the release");

    let leases: Api<Lease> = sandbox.api();
    let spec = leases.get(NAME).await.expect("a Lease").spec.expect("a spec");
    assert_eq!((spec.lease_transitions, spec.lease_duration_seconds), (Some(1), Some(6)));
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server"]
async fn a_dead_leader_is_succeeded_after_its_fence_has_closed() {
    let sandbox = Sandbox::new("dead").await;
    let mut first = Contender::start(&sandbox, "a");
    let fence = first.led().await;
    first.leadership.task.abort();
    let mut second = Contender::start(&sandbox, "b");
    second.led().await;
    assert_eq!(fence.check(), Err(Fenced), "two leaders");
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server"]
async fn a_deleted_lease_ends_the_term_and_is_made_anew() {
    let sandbox = Sandbox::new("deleted").await;
    let mut only = Contender::start(&sandbox, "a");
    let fence = only.led().await;
    let leases: Api<Lease> = sandbox.api();
    leases.delete(NAME, &DeleteParams::default()).await.expect("deleted");
    tokio::time::timeout(PATIENCE, fence.lost()).await.expect("the term ends");
    only.led().await;
    assert!(leases.get_opt(NAME).await.expect("an answer").is_some());
}
