//! What many policies cost while there is nothing to do: memory, connections and requests of the operator as a process of
//! its own, on a real API server.
//!
//! `RMO_LONG=1` measures 1,000 policies for five minutes, which is what docs/performance.md publishes; `RMO_POLICIES` and
//! `RMO_OPERATOR` (another build of the operator) are for comparisons by hand.
#![cfg(test)]

#[path = "../common/api_server.rs"]
mod api_server;
#[path = "../common/long.rs"]
mod long;
#[path = "../common/metrics.rs"]
mod metrics;

mod fleet;
mod process;

use std::time::Duration;

use api_server::eventually;
use fleet::{Fleet, Size};
use long::is_long;
use process::{Cost, Operator};
use redis_memory_operator::clock::Clock;

/// Requests each second, the lease included.
const MOST_REQUESTS: f64 = 0.5;
/// Connections besides those of each namespace.
const MOST_CONNECTIONS: usize = 10;
/// Connections of each namespace.
const MOST_OF_A_NAMESPACE: usize = 5;
/// With [`MANY`] policies, in MiB that are not of files. An optimised build needs 25.
const MOST_MEMORY: f64 = 32.0;

/// Every day: enough to tell a cost of each policy from one of each namespace.
const FEW: Size = Size { policies: 60, namespaces: 3, watched: Duration::from_secs(60) };
/// `RMO_LONG=1`: longer than a watch lasts, so that its renewals are counted too.
const MANY: Size = Size { policies: 1000, namespaces: 10, watched: Duration::from_secs(300) };

#[allow(clippy::disallowed_methods, reason = "a test's own setting")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn size() -> Size {
    let size = if is_long() { MANY } else { FEW };
    let policies = setting("RMO_POLICIES").map_or(size.policies, |text| text.parse().expect("a number of policies"));
    Size { policies, ..size }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes API server"]
async fn idle_policies_cost_little_whatever_their_number() {
    let size = size();
    let fleet = Fleet::create(&size).await;
    let operator = Operator::start(&fleet.home);
    let clock = Clock::start();
    eventually("a status of every policy", async || fleet.is_judged().await.then_some(())).await;
    println!("every policy has a status after {:.1} s", clock.uptime().as_secs_f64());
    operator.is_at_rest().await;
    let Cost { cpu, memory, all_memory, connections, requests } = operator.cost(size.watched).await;
    println!(
        "{} policies in {} namespaces at rest: {memory:.1} MiB of its own ({all_memory:.1} with files), {connections} \
         connections, {requests:.2} requests a second, {cpu:.2} s of CPU a minute",
        size.policies, size.namespaces
    );
    assert!(requests <= MOST_REQUESTS, "{requests:.2} requests a second at rest\n{}", operator.requests_text().await);
    let most = MOST_CONNECTIONS + MOST_OF_A_NAMESPACE * size.namespaces;
    // The client keeps a connection that it needed at the beginning for a minute and a half.
    let few = async || (operator.connections() <= most).then_some(());
    eventually(&format!("at most {most} connections"), few).await;
    assert!(memory <= MOST_MEMORY, "{memory:.1} MiB");
    // What is over is cleaned up: with its last policy a namespace is not watched any more.
    fleet.end_policies().await;
    let left = async || operator.connections().le(&MOST_CONNECTIONS).then_some(());
    eventually("the end of the watches", left).await;
}
