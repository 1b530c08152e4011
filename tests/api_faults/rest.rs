//! What the operator asks of the API server when there is nothing to do.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use crate::{
    end::assert_undisturbed,
    fault_proxy::{Kind, Seen},
    operator::{Operator, Options},
    world::World,
};

/// Requests each second, the lease included.
const MOST: f64 = 0.5;
/// Changes settle, and what was asked for once is known.
const SETTLED: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(65);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn after_its_work_it_asks_little_and_writes_nothing() {
    let world = World::new("rest").await;
    let operator = Operator::start(&world, Options::default()).await;
    let writer = world.writer().await;
    world.apply_policy().await;
    assert_undisturbed(&world, writer).await;
    tokio::time::sleep(SETTLED).await;
    let since = operator.proxy.now();
    let before = world.policy().await;
    tokio::time::sleep(WATCHED).await;
    let seen: Vec<Seen> = operator.proxy.seen().into_iter().filter(|seen| seen.at >= since).collect();
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    for seen in &seen {
        *kinds.entry(format!("{:?}", seen.call.kind)).or_default() += 1;
    }
    let count = u32::try_from(seen.len()).expect("few");
    let rate = f64::from(count) / WATCHED.as_secs_f64();
    println!("at rest: {rate:.2} requests a second, in {} s {kinds:?}", WATCHED.as_secs());
    assert!(rate <= MOST, "{rate:.2} requests a second at rest: {kinds:?}");
    let news = news(before, world.policy().await);
    let changes = seen.iter().filter(|seen| seen.call.kind.is_change()).count();
    assert_eq!(changes, 0, "it writes at rest: {kinds:?}; what is new in the policy:\n{news}");
    assert!(seen.iter().any(|seen| seen.call.kind == Kind::LeaseWrite), "the proxy counts");
}

/// The lines of the one that are not in the other, and the other way round.
fn news(before: Option<Value>, after: Option<Value>) -> String {
    let [before, after] = [before, after].map(|policy| format!("{policy:#?}"));
    let only = |sign: &str, one: &str, other: &str| {
        let lines = one.lines().filter(|line| !other.lines().any(|it| it == *line));
        lines.map(|line| format!("{sign} {}", line.trim())).collect::<Vec<_>>().join("\n")
    };
    [only("-", &before, &after), only("+", &after, &before)].join("\n")
}
