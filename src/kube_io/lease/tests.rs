//! The election against a stand-in that keeps one Lease under optimistic concurrency, as the API server does.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Method;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::*;
use crate::kube_io::testing::{Answer, Log, Recorded, fake, refusal};

const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than what is left of the term when the API server hears again, shorter than a term.
const TOO_LATE: Duration = Duration::from_millis(400);

/// One Lease, and a switch that makes the API server deaf.
#[derive(Clone, Default)]
struct Server {
    lease: Arc<Mutex<Option<Value>>>,
    /// What a question for the operator's Deployment gets.
    deployment: Arc<Mutex<Option<Answer>>>,
    deaf: Arc<AtomicBool>,
    /// Writes happen, and are answered after the term.
    slow: Arc<AtomicBool>,
}

impl Server {
    fn client(&self) -> (kube::Client, Log) {
        let server = self.clone();
        fake(move |request| server.answer(request))
    }

    fn answer(&self, request: &Recorded) -> Answer {
        if self.deaf.load(Ordering::Relaxed) {
            return refusal(503, "ServiceUnavailable", "deaf", &json!([]));
        }
        if request.uri.contains("/deployments/") {
            return match &*self.deployment.lock().expect("no panic") {
                Some(answer) => answer.clone(),
                None => refusal(404, "NotFound", "not found", &json!([])),
            };
        }
        let mut lease = self.lease.lock().expect("no panic");
        match (&request.method, lease.as_mut()) {
            (&Method::POST, Some(_)) => refusal(409, "AlreadyExists", "exists", &json!([])),
            (&Method::POST, None) => {
                let mut new = request.body.clone();
                new["metadata"]["resourceVersion"] = json!("1");
                *lease = Some(new.clone());
                Answer::Http(201, new)
            }
            (_, None) => refusal(404, "NotFound", "not found", &json!([])),
            (&Method::GET, Some(lease)) => Answer::Http(200, lease.clone()),
            (_, Some(lease)) => {
                let patch = &request.body;
                let at = lease["metadata"]["resourceVersion"].clone();
                if patch["metadata"]["resourceVersion"] != at {
                    return refusal(409, "Conflict", "the object has been modified", &json!([]));
                }
                if patch["metadata"].get("ownerReferences").is_some() {
                    lease["metadata"]["ownerReferences"] = patch["metadata"]["ownerReferences"].clone();
                }
                for (field, value) in patch["spec"].as_object().into_iter().flatten() {
                    lease["spec"][field] = value.clone();
                }
                Self::touch(lease);
                if self.slow.load(Ordering::Relaxed) {
                    return Answer::Late(TOO_LATE, 200, lease.clone());
                }
                Answer::Http(200, lease.clone())
            }
        }
    }

    fn touch(lease: &mut Value) {
        let at: u64 = lease["metadata"]["resourceVersion"].as_str().expect("a version").parse().expect("a number");
        lease["metadata"]["resourceVersion"] = json!((at + 1).to_string());
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut lease = self.lease.lock().expect("no panic");
        let lease = lease.as_mut().expect("a lease");
        change(lease);
        Self::touch(lease);
    }

    fn spec(&self, field: &str) -> Value {
        self.lease.lock().expect("no panic").as_ref().expect("a lease")["spec"][field].clone()
    }
}

struct Contender {
    leadership: Leadership,
    stop: Option<oneshot::Sender<()>>,
}

impl Contender {
    /// Lease 2 s, renewed every 200 ms, writes until 1.4 s after a renewal.
    fn start(server: &Server, identity: &str) -> Self {
        let params = LeaseParams {
            owner: Some("operator".into()),
            duration: Duration::from_secs(2),
            renew: Duration::from_millis(200),
            margin: Duration::from_millis(600),
            retry: Duration::from_millis(50),
            ..LeaseParams::new("ops", "operator", identity)
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let leadership = run(params, server.client().0, Clock::start(), async move { drop(stopped.await) });
        Self { leadership: leadership.expect("usable parameters"), stop: Some(stop) }
    }

    async fn leads(&mut self) -> Fence {
        let led = self.leadership.fence.wait_for(|fence| fence.as_ref().is_some_and(Fence::is_leader));
        let fence = tokio::time::timeout(PATIENCE, led).await.expect("in time").expect("a running election");
        fence.clone().expect("a fence")
    }

    /// Leads under another fence than that one.
    async fn leads_again(&mut self, before: &Fence) -> Fence {
        tokio::time::timeout(PATIENCE, before.lost()).await.expect("in time");
        self.leads().await
    }

    async fn stop(mut self) {
        self.stop.take().expect("not stopped yet").send(()).expect("a running election");
        tokio::time::timeout(PATIENCE, self.leadership.task).await.expect("in time").expect("no panic");
    }
}

#[tokio::test]
async fn the_first_creates_the_lease_and_renews_it() {
    let server = Server::default();
    let clock = Clock::start();
    let mut first = Contender::start(&server, "a");
    let fence = first.leads().await;
    assert!(clock.uptime() >= Duration::from_secs(2), "it may have been deleted a moment ago: {:?}", clock.uptime());
    assert_eq!(server.spec("holderIdentity"), json!("a"));
    assert_eq!(server.spec("leaseDurationSeconds"), json!(2));
    assert_eq!(server.spec("leaseTransitions"), json!(0));
    let acquired = server.spec("acquireTime");
    let lease = Duration::from_secs(2);
    // Longer than the lease: without renewals the fence would be closed.
    let outlived = tokio::time::timeout(lease, fence.lost()).await;
    assert!(outlived.is_err(), "the term ended although every renewal succeeds");
    assert_eq!(fence.check(), Ok(()));
    assert_eq!(server.spec("acquireTime"), acquired);
    assert_ne!(server.spec("renewTime"), acquired);
}

#[tokio::test]
async fn a_lease_that_is_deleted_passes_on_after_the_holders_fence_has_closed() {
    let server = Server::default();
    let mut first = Contender::start(&server, "a");
    let fence = first.leads().await;
    *server.lease.lock().expect("no panic") = None;
    let mut second = Contender::start(&server, "b");
    tokio::select! {
        _led = first.leads_again(&fence) => {}
        _led = second.leads() => {}
    }
    assert_eq!(fence.check(), Err(super::super::fence::Fenced), "two leaders");
}

#[rstest]
#[case::there(Some(Answer::Http(200, json!({
    "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": { "name": "operator", "uid": "u-1" },
}))), json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "operator", "uid": "u-1" }]))]
#[case::not_there(None, Value::Null)]
#[case::not_allowed(Some(refusal(403, "Forbidden", "no", &json!([]))), Value::Null)]
#[tokio::test]
async fn the_lease_goes_with_the_deployment(#[case] deployment: Option<Answer>, #[case] owners: Value) {
    let server = Server::default();
    *server.deployment.lock().expect("no panic") = deployment;
    let mut only = Contender::start(&server, "a");
    only.leads().await;
    let lease = server.lease.lock().expect("no panic").clone().expect("a lease");
    assert_eq!(lease["metadata"]["ownerReferences"], owners);
}

/// The UIDs that the Lease goes with.
async fn goes_with(server: &Server, wanted: &Value) {
    let settled = async {
        loop {
            let lease = server.lease.lock().expect("no panic").clone().expect("a lease");
            if lease["metadata"]["ownerReferences"] == *wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("in time");
}

#[tokio::test]
async fn a_lease_that_carries_a_stop_outlives_the_deployment() {
    let server = Server::default();
    let deployment = |uid: &str| {
        let metadata = json!({ "name": "operator", "uid": uid });
        Some(Answer::Http(
            200,
            json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata }),
        ))
    };
    let owner = |uid: &str| json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "operator", "uid": uid }]);
    *server.deployment.lock().expect("no panic") = deployment("u-1");
    let mut first = Contender::start(&server, "a");
    let fence = first.leads().await;
    goes_with(&server, &owner("u-1")).await;
    server.change(|lease| lease["metadata"]["annotations"] = json!({ "redismemory.io/stop": "true" }));
    goes_with(&server, &json!([])).await;
    assert_eq!(fence.check(), Ok(()));
    first.stop().await;
    // Another Deployment: still stopped, and its own only when people take the stop back.
    *server.deployment.lock().expect("no panic") = deployment("u-2");
    let mut second = Contender::start(&server, "b");
    second.leads().await;
    assert!(*second.leadership.stop.borrow());
    server.change(|lease| lease["metadata"]["annotations"] = json!({}));
    goes_with(&server, &owner("u-2")).await;
}

#[tokio::test]
async fn a_release_hands_over_at_once_and_closes_the_fence_first() {
    let server = Server::default();
    let mut first = Contender::start(&server, "a");
    let fence = first.leads().await;
    let mut second = Contender::start(&server, "b");
    assert!(second.leadership.fence.borrow().is_none());
    let clock = Clock::start();
    first.stop().await;
    assert_eq!(fence.check(), Err(super::super::fence::Fenced));
    second.leads().await;
    assert!(clock.uptime() < Duration::from_secs(1), "waited for the expiry of a lease that was released");
    assert_eq!(server.spec("holderIdentity"), json!("b"));
    assert_eq!(server.spec("leaseTransitions"), json!(1));
}

#[tokio::test]
async fn a_dead_holder_is_succeeded_after_its_lease_and_not_before() {
    let server = Server::default();
    let mut first = Contender::start(&server, "a");
    first.leads().await;
    first.leadership.task.abort();
    let clock = Clock::start();
    let mut second = Contender::start(&server, "b");
    second.leads().await;
    // 2 s from the first look at the dead holder's last renewal.
    assert!(clock.uptime() >= Duration::from_secs(2), "{:?}", clock.uptime());
}

#[tokio::test]
async fn a_restarted_process_of_the_same_identity_takes_its_lease_back_at_once() {
    let server = Server::default();
    let mut first = Contender::start(&server, "a");
    first.leads().await;
    first.leadership.task.abort();
    let clock = Clock::start();
    let mut again = Contender::start(&server, "a");
    again.leads().await;
    assert!(clock.uptime() < Duration::from_secs(2), "waited for the expiry: {:?}", clock.uptime());
    assert_eq!(server.spec("leaseTransitions"), json!(0));
}

#[tokio::test]
async fn without_an_api_server_the_term_ends_a_margin_before_the_lease() {
    let server = Server::default();
    let mut first = Contender::start(&server, "a");
    let fence = first.leads().await;
    server.deaf.store(true, Ordering::Relaxed);
    let clock = Clock::start();
    tokio::time::timeout(PATIENCE, fence.lost()).await.expect("in time");
    assert!(clock.uptime() < Duration::from_secs(2), "outlived the lease itself: {:?}", clock.uptime());
    assert_eq!(fence.check(), Err(super::super::fence::Fenced));
    // It comes back: a new term, and the old fence stays closed.
    server.deaf.store(false, Ordering::Relaxed);
    let renewed = first.leads().await;
    assert_eq!(renewed.check(), Ok(()));
    assert_eq!(fence.check(), Err(super::super::fence::Fenced));
}

/// The term must not come back to life under a user who has seen it end: he would wait for a new one for ever.
#[tokio::test]
async fn a_renewal_that_is_answered_too_late_ends_the_term_and_begins_another() {
    let server = Server::default();
    let mut first = Contender::start(&server, "a");
    let fence = first.leads().await;
    let mut terms = first.leadership.fence.clone();
    terms.mark_unchanged();
    // No renewal for most of the term; then one that happens, and is answered when the term is over.
    server.deaf.store(true, Ordering::Relaxed);
    let nearly_over = Duration::from_millis(600) + TOO_LATE / 2;
    while fence.allowance().is_ok_and(|left| left > nearly_over) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.slow.store(true, Ordering::Relaxed);
    server.deaf.store(false, Ordering::Relaxed);
    tokio::time::timeout(PATIENCE, fence.lost()).await.expect("in time");
    server.slow.store(false, Ordering::Relaxed);
    tokio::time::timeout(PATIENCE, terms.changed()).await.expect("the user is told").expect("a running election");
    let next = first.leads().await;
    assert_eq!((fence.check(), next.check()), (Err(super::super::fence::Fenced), Ok(())));
    assert_eq!(server.spec("leaseTransitions"), json!(0), "nobody else has held it");
}

#[tokio::test]
async fn a_lease_that_another_has_taken_ends_the_term_at_the_next_renewal() {
    let server = Server::default();
    let mut first = Contender::start(&server, "a");
    let fence = first.leads().await;
    server.change(|lease| lease["spec"]["holderIdentity"] = json!("thief"));
    let clock = Clock::start();
    tokio::time::timeout(PATIENCE, fence.lost()).await.expect("in time");
    assert!(clock.uptime() < Duration::from_secs(1), "noticed only at the deadline: {:?}", clock.uptime());
    first.stop().await;
    assert_eq!(server.spec("holderIdentity"), json!("thief"), "what is not ours is not released");
}

#[tokio::test]
async fn somebody_elses_annotation_does_not_cost_the_lease() {
    let server = Server::default();
    let mut first = Contender::start(&server, "a");
    let fence = first.leads().await;
    server.change(|lease| lease["metadata"]["annotations"] = json!({ "seen": "by a person" }));
    let lost = tokio::time::timeout(Duration::from_secs(1), fence.lost()).await;
    assert!(lost.is_err(), "a conflict with a stranger ended the term");
}

#[tokio::test]
async fn a_stop_is_read_from_the_lease_while_it_is_held_and_when_a_term_begins() {
    let server = Server::default();
    let mut first = Contender::start(&server, "a");
    let fence = first.leads().await;
    assert!(!*first.leadership.stop.borrow());
    let told = |leadership: &Leadership, want: bool| {
        let mut stop = leadership.stop.clone();
        async move {
            let seen = stop.wait_for(|stop| *stop == want);
            assert!(tokio::time::timeout(PATIENCE, seen).await.is_ok_and(|seen| seen.is_ok()), "not told of {want}");
        }
    };
    server.change(|lease| lease["metadata"]["annotations"] = json!({ "redismemory.io/stop": "true" }));
    told(&first.leadership, true).await;
    assert_eq!(fence.check(), Ok(()), "the lease is kept: labels still are");
    // Who leads next knows before anything is done.
    first.stop().await;
    let mut second = Contender::start(&server, "b");
    second.leads().await;
    assert!(*second.leadership.stop.borrow());
    for value in [json!({ "redismemory.io/stop": "false" }), json!({})] {
        server.change(|lease| lease["metadata"]["annotations"] = value);
        told(&second.leadership, false).await;
    }
}

#[rstest]
#[case(LeaseParams::new("ops", "operator", "a"), Ok(()))]
#[case(LeaseParams::new("ops", "operator", "a").timing(Duration::from_secs(6), Duration::from_secs(2)), Ok(()))]
#[case(LeaseParams::new("ops", "operator", ""), Err(LeaseError::NoIdentity))]
#[case(
    LeaseParams::new("ops", "operator", "a").timing(Duration::from_secs(6), Duration::from_secs(4)),
    Err(LeaseError::Timing {
        duration: Duration::from_secs(6),
        renew: Duration::from_secs(4),
        usable: Duration::from_secs(4),
    })
)]
fn settings_that_cannot_work_are_refused(#[case] params: LeaseParams, #[case] want: Result<(), LeaseError>) {
    assert_eq!(params.check(), want);
}
