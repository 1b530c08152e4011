//! Nodes in a snapshot: who reads them, and what other policies have there.

use pretty_assertions::assert_eq;

use super::*;
use crate::domain::{
    bytes::Bytes,
    node::{Node, Others},
};

/// A pod on node `worker-1` with a limit of 512 MiB, of that name and UID `NAME-uid`.
fn scheduled(name: &str) -> Value {
    let mut pod = pod(name, &Value::Null, false);
    pod["spec"]["nodeName"] = json!("worker-1");
    pod["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "512Mi"}});
    pod
}

impl Bench {
    /// What a policy of that UID sees of these pods, from caches.
    async fn cached(&self, uid: &str, pods: &[Value]) -> Vec<Node> {
        let policy = Arc::new(Policy { uid: uid.into(), ..Policy::clone(&self.policy) });
        let found = pods.iter().map(|pod| Arc::new(serde_json::from_value(pod.clone()).unwrap()));
        let digester = |_: &[Pod]| -> Digester { Arc::new(|_, _| 0) };
        let found: Vec<Arc<KubePod>> = found.collect();
        self.observer.cached(&policy, &found, None, &[], digester).await.expect("a snapshot").nodes
    }
}

fn worker(allocatable: Option<u64>, others: (usize, u64)) -> Vec<Node> {
    let others = Others { pods: others.0, take: Bytes::mib(others.1), incomplete: true };
    vec![Node { name: "worker-1".into(), allocatable: allocatable.map(Bytes::mib), others }]
}

#[tokio::test]
async fn a_live_look_waits_for_no_node_and_takes_what_is_known() {
    let bench = bench(vec![scheduled("redis-0")], 1);
    assert_eq!(bench.look().await.nodes, worker(None, (0, 0)), "nobody has read it yet");
    assert_eq!(bench.cached("p-1", &[scheduled("redis-0")]).await, worker(Some(1024), (0, 0)));
    assert_eq!(bench.look().await.nodes, worker(Some(1024), (0, 0)), "its pod is the same");
}

#[tokio::test]
async fn each_policy_sees_what_the_others_have_on_its_nodes() {
    let bench = bench(Vec::new(), 1);
    let (cart, shop) = ([scheduled("cart-0"), scheduled("cart-1")], [scheduled("shop-0"), scheduled("cart-1")]);
    assert_eq!(bench.cached("cart", &cart).await, worker(Some(1024), (0, 0)));
    assert_eq!(bench.cached("shop", &shop).await, worker(Some(1024), (1, 512)), "one of them is its own too");
    let unscheduled = pod("late-0", &Value::Null, false);
    assert_eq!(bench.cached("late", &[unscheduled]).await, []);
}
