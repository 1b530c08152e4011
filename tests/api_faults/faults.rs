//! An API server that loses replies, refuses, is slow or silent: the same end as without, no eviction twice, no hot loop.

use std::time::Duration;

use futures::future::join_all;

use crate::{
    common::long::is_long,
    end::assert_undisturbed,
    fault_proxy::{Call, Fault, FaultProxy, Kind, Seen, Times},
    operator::{Operator, Options},
    world::{REPLICAS, World, eventually},
};

/// At most so many reconciles of a policy in a minute, whatever fails.
const MOST_RECONCILES: u64 = 10;
const MINUTE: Duration = Duration::from_secs(60);

const fn answer(code: u16) -> Fault {
    Fault::Answer { code, retry_after: None }
}

fn of(kind: Kind) -> impl Fn(&Call) -> bool + Send + Sync + 'static {
    move |call| call.kind == kind
}

/// Everything but the lease and the watches.
fn ordinary(call: &Call) -> bool {
    !matches!(call.kind, Kind::LeaseWrite | Kind::LeaseRead | Kind::Watch)
}

/// Every eviction that reached the API server took effect, and there was one for each pod: none was repeated blindly.
fn assert_evicted_once(proxy: &FaultProxy) {
    let evictions: Vec<Seen> = proxy.of_kind(Kind::Evict).into_iter().filter(|seen| seen.status.is_some()).collect();
    let done = evictions.iter().filter(|seen| seen.status == Some(201)).count();
    assert_eq!(done, REPLICAS, "{evictions:?}");
}

/// The main job with faults that pass.
async fn assert_survives(name: &str, inject: impl Fn(&FaultProxy)) {
    let world = World::new(name).await;
    let operator = Operator::start(&world, Options::default()).await;
    inject(&operator.proxy);
    let writer = world.writer().await;
    world.apply_policy().await;
    assert_undisturbed(&world, writer).await;
    assert_evicted_once(&operator.proxy);
    assert!(operator.proxy.seen().iter().any(|seen| seen.fault.is_some()), "{name}: no fault was injected");
    println!("survived {name}");
}

/// The first so many of each of these kinds.
async fn assert_survives_each(name: &str, kinds: &[Kind], fault: Fault, times: Times) {
    assert_survives(name, |proxy| {
        for kind in kinds {
            proxy.inject(of(*kind), fault.clone(), times);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn replies_that_are_lost_after_the_effect() {
    let lose = |name, kinds, times| assert_survives_each(name, kinds, Fault::LoseReply, times);
    tokio::join!(
        // All of them: each is read back, and none is sent again.
        lose("lost-evict", &[Kind::Evict], Times::Always),
        lose("lost-journal", &[Kind::Journal, Kind::Finalizer], Times::First(4)),
        lose("lost-label", &[Kind::Label, Kind::Resize], Times::First(4)),
        lose("lost-status", &[Kind::Status, Kind::LeaseWrite, Kind::Event], Times::First(2)),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn refusals_that_pass() {
    use Kind::{Evict, Finalizer, Journal, Label, LeaseWrite, ReadPods, ReadServices, Resize, Status};
    let refuse = |name, kinds, code| assert_survives_each(name, kinds, answer(code), Times::First(3));
    tokio::join!(
        refuse("409", &[Journal, Status, Finalizer, Label, Resize], 409),
        refuse("500", &[Evict, Label, ReadServices], 500),
        refuse("503", &[Journal, LeaseWrite, Resize], 503),
        refuse("504", &[Status, ReadPods, Evict], 504),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn a_bad_hour_of_the_api_server() {
    tokio::join!(
        a_third_of_everything(),
        assert_survives("slow", |proxy| {
            proxy.inject(|call| call.kind.is_change(), Fault::Delay(Duration::from_millis(600)), Times::Always);
        }),
        watches_that_are_cut(),
        silence_longer_than_a_term(),
    );
}

/// Every third request fails for a minute: a look of seven requests seldom comes through, and what does is safe.
async fn a_third_of_everything() {
    let world = World::new("a-third").await;
    let operator = Operator::start(&world, Options::default()).await;
    operator.proxy.inject(|call| call.kind != Kind::Watch, answer(503), Times::Percent(30));
    let writer = world.writer().await;
    world.apply_policy().await;
    tokio::time::sleep(MINUTE).await;
    operator.proxy.heal();
    assert_undisturbed(&world, writer).await;
    assert_evicted_once(&operator.proxy);
}

async fn watches_that_are_cut() {
    let world = World::new("cut").await;
    let operator = Operator::start(&world, Options::default()).await;
    let writer = world.writer().await;
    world.apply_policy().await;
    let cuts = async {
        loop {
            tokio::time::sleep(Duration::from_secs(3)).await;
            operator.proxy.cut_watches();
        }
    };
    tokio::select! {
        () = cuts => {}
        _ = eventually("the end of the remediation", async || world.outcome().await) => {}
    }
    assert_undisturbed(&world, writer).await;
    assert_evicted_once(&operator.proxy);
    assert!(operator.proxy.of_kind(Kind::Watch).len() > 4, "watches were cut");
}

/// Nothing is answered for longer than a term of leadership: it ends, and the next one finishes.
async fn silence_longer_than_a_term() {
    let world = World::new("silence").await;
    let operator = Operator::start(&world, Options::default()).await;
    let writer = world.writer().await;
    world.apply_policy().await;
    eventually("a step under way", async || (world.step().await? == "Prove").then_some(())).await;
    operator.proxy.inject(|_| true, Fault::Blackhole, Times::Always);
    eventually("the end of the term", async || (!operator.leads().await).then_some(())).await;
    operator.proxy.heal();
    assert_undisturbed(&world, writer).await;
    assert_evicted_once(&operator.proxy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn retry_after_is_honoured() {
    /// Asked for 15 s; half a second is what a busy machine may blur.
    const QUIET: Duration = Duration::from_millis(14_500);
    let world = World::new("retry-after").await;
    let operator = Operator::start(&world, Options::default()).await;
    let overloaded = Fault::Answer { code: 429, retry_after: Some(15) };
    operator.proxy.inject(of(Kind::Journal), overloaded, Times::First(1));
    let writer = world.writer().await;
    world.apply_policy().await;
    assert_undisturbed(&world, writer).await;
    let seen = operator.proxy.seen();
    let refused = seen.iter().find(|seen| seen.fault.is_some()).expect("the 429").at;
    let quiet = |seen: &&Seen| seen.at > refused && seen.at < refused + QUIET;
    let early: Vec<&Seen> = seen.iter().filter(quiet).filter(|seen| ordinary(&seen.call)).collect();
    assert!(early.is_empty(), "asked to come back in 15 s, it came with {early:?}");
    assert_evicted_once(&operator.proxy);
}

/// A fault that does not pass: its name, the step that it begins in, which requests, and what is done to them.
type Lasting = (&'static str, Option<&'static str>, fn(&Call) -> bool, Fault);

/// A fault that does not pass: a minute of it makes no hot loop, and when it is over the job is done as if nothing had
/// happened.
async fn assert_patient((name, during, matches, fault): Lasting) {
    let world = World::new(name).await;
    let operator = Operator::start(&world, Options::default()).await;
    let writer = world.writer().await;
    if let Some(step) = during {
        world.apply_policy().await;
        eventually("the step", async || (world.step().await? == step).then_some(())).await;
        operator.proxy.inject(matches, fault, Times::Always);
    } else {
        operator.proxy.inject(matches, fault, Times::Always);
        world.apply_policy().await;
    }
    let hit = || operator.proxy.seen().into_iter().find(|seen| seen.fault.is_some());
    let first = eventually("the fault", async || hit()).await;
    let before = operator.reconciles().await;
    let since = operator.proxy.now();
    tokio::time::sleep(MINUTE.saturating_sub(since.saturating_sub(first.at))).await;
    let reconciles = operator.reconciles().await - before;
    println!("{name}: {reconciles} reconciles in a minute");
    assert!((1..=MOST_RECONCILES).contains(&reconciles), "{name}: {reconciles} reconciles in a minute");
    operator.proxy.heal();
    assert_undisturbed(&world, writer).await;
    assert_evicted_once(&operator.proxy);
}

/// Every one of them when the long list is wanted, else the first so many.
async fn assert_all_patient(cases: Vec<Lasting>, every_day: usize) {
    let count = if is_long() { cases.len() } else { every_day };
    join_all(cases.into_iter().take(count).map(assert_patient)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn no_hot_loop_while_one_kind_of_write_fails() {
    let slow_down = Fault::Answer { code: 429, retry_after: Some(10) };
    let cases: Vec<Lasting> = vec![
        ("always-409-journal", None, |call| call.kind == Kind::Journal, answer(409)),
        ("always-500-evict", None, |call| call.kind == Kind::Evict, answer(500)),
        ("always-409-status", None, |call| call.kind == Kind::Status, answer(409)),
        ("always-409-label", None, |call| call.kind == Kind::Label, answer(409)),
        ("always-429-evict", None, |call| call.kind == Kind::Evict, slow_down),
        ("always-503-label", None, |call| call.kind == Kind::Label, answer(503)),
        ("always-409-finalizer", None, |call| call.kind == Kind::Finalizer, answer(409)),
    ];
    assert_all_patient(cases, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn no_hot_loop_while_much_fails() {
    let cases: Vec<Lasting> = vec![
        ("always-403-resize", None, |call| call.kind == Kind::Resize, answer(403)),
        ("always-503", Some("Prove"), ordinary, answer(503)),
        ("always-silent", Some("Prove"), ordinary, Fault::Blackhole),
        ("always-500-reads", Some("AwaitReplica"), |call| call.kind == Kind::ReadServices, answer(500)),
        ("always-409", Some("Prove"), |call| call.kind.is_change(), answer(409)),
    ];
    assert_all_patient(cases, 2).await;
}
